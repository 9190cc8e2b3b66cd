//! Reads the configuration: the file, then `STREAMBOOK_SECTION__KEY` from the environment on top of it.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use config::{Environment, File, FileFormat};

use super::Config;

/// Why there is no usable configuration.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigFailure {
    /// The file cannot be read.
    #[error("cannot read the configuration file {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A key is unknown, or its value is of another kind.
    #[error("{origin}: {message}")]
    Parse {
        /// The file, or the environment.
        origin: String,
        /// What is wrong.
        message: String,
    },
    /// It can be read and cannot be used.
    #[error("{origin}:\n  {}", .problems.join("\n  "))]
    Invalid {
        /// The file, or the environment.
        origin: String,
        /// Each with its key and the remedy.
        problems: Vec<String>,
    },
}

/// The prefix of overriding variables; a section and a key follow, joined by two underscores.
const PREFIX: &str = "STREAMBOOK_";

/// Reads and checks the configuration. Without a file the defaults hold.
pub(crate) fn load(
    file: Option<&Path>,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<Config, ConfigFailure> {
    let origin = file.map_or("the environment".to_owned(), |path| path.display().to_string());
    let mut sources = config::Config::builder();
    if let Some(path) = file {
        let text = std::fs::read_to_string(path);
        let text = text.map_err(|source| ConfigFailure::Read { path: path.to_owned(), source })?;
        sources = sources.add_source(File::from_str(&text, FileFormat::Toml));
    }
    let wrong = |message: String| {
        let message = message.trim().replace('\n', " ");
        ConfigFailure::Parse { origin: origin.clone(), message }
    };
    let merged = sources.add_source(overrides(environment)).build().and_then(config::Config::try_deserialize);
    let merged: toml::Table = merged.map_err(|error| wrong(error.to_string()))?;
    // By TOML's own rules: the `config` crate would round 0.5 to an integer, and not say which words a key takes.
    let config: Config = merged.try_into().map_err(|error: toml::de::Error| wrong(error.to_string()))?;
    let problems = config.problems();
    if problems.is_empty() { Ok(config) } else { Err(ConfigFailure::Invalid { origin, problems }) }
}

/// Only variables that name a section and a key: others of the prefix belong to scripts.
fn overrides(environment: impl IntoIterator<Item = (String, String)>) -> Environment {
    let named = |(name, value): (String, String)| {
        let rest = name.strip_prefix(PREFIX)?;
        rest.contains("__").then(|| (rest.to_owned(), value))
    };
    let variables: HashMap<_, _> = environment.into_iter().filter_map(named).collect();
    Environment::default()
        .separator("__")
        .try_parsing(true)
        .list_separator(",")
        .with_list_parse_key("stripe.webhook_secrets")
        .with_list_parse_key("stripe.currencies")
        .with_list_parse_key("webhooks.allowed_networks")
        .source(Some(variables))
}
