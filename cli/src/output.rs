//! What commands print: results on standard output, tables for people and JSON for machines; everything else on standard
//! error.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "the one place that prints")]

use std::process::ExitCode;

use comfy_table::{ContentArrangement, Table, presets::NOTHING};
use serde::Serialize;
use streambook_runtime::step::chain_of;

/// Prints a line of result.
pub(crate) fn line(text: impl AsRef<str>) {
    println!("{}", text.as_ref());
}

/// Prints a line for people, beside the result.
pub(crate) fn note(text: impl AsRef<str>) {
    eprintln!("{}", text.as_ref());
}

/// Prints a result for machines, on one line.
pub(crate) fn json(value: &impl Serialize) -> anyhow::Result<()> {
    line(serde_json::to_string(value)?);
    Ok(())
}

/// Prints a table.
pub(crate) fn table(header: &[&str], rows: impl IntoIterator<Item = Vec<String>>) {
    let mut table = Table::new();
    table.load_style(NOTHING).set_content_arrangement(ContentArrangement::Dynamic).set_header(header);
    table.add_rows(rows);
    println!("{table}");
}

/// Ends a command that failed, with one line that holds the whole chain of causes.
pub(crate) fn failed(error: &anyhow::Error) -> ExitCode {
    eprintln!("streambook: {}", chain_of(error.as_ref()));
    ExitCode::FAILURE
}
