//! `streambook schemas check`.

use std::{path::PathBuf, process::ExitCode};

use anyhow::Context;
use clap::Subcommand;
use streambook_model::compatibility::{self, SchemaFile};

use crate::output;

/// Check the schemas of the records.
#[derive(Subcommand)]
pub(crate) enum Schemas {
    /// Check that every schema can read, and be read by, every version that was ever published.
    #[command(after_help = "Example:\n  streambook schemas check --dir schemas/avro")]
    Check {
        /// A directory of `Name.avsc` and `history/Name.N.avsc`; without one, the schemas in this program are checked.
        #[arg(long, value_name = "DIR")]
        dir: Option<PathBuf>,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
}

impl Schemas {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let Self::Check { dir, json } = self;
        let (current, past) = match dir {
            Some(dir) => (read(&dir)?, read(&dir.join("history"))?),
            None => (compatibility::current(), compatibility::past()),
        };
        let problems = compatibility::check(&current, &past);
        match json {
            true => output::json(
                &serde_json::json!({ "schemas": current.len(), "past": past.len(), "problems": problems }),
            )?,
            false => {
                problems.iter().for_each(output::line);
                output::line(format!(
                    "schemas: {} current, {} published versions, {} problems",
                    current.len(),
                    past.len(),
                    problems.len()
                ));
            }
        }
        Ok(if problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

fn read(dir: &std::path::Path) -> anyhow::Result<Vec<SchemaFile>> {
    let entries = std::fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))?;
    let mut files = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "avsc") {
            let text =
                std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
            let name = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
            files.push(SchemaFile { name, text });
        }
    }
    files.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(files)
}
