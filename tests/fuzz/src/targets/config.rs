//! The configuration: a file's text, and after a line `---` variables of the environment, `NAME=value` each. Whatever is
//! read and written again reads the same; a refusal names where it is from and what is wrong.

use std::path::PathBuf;

use crate::Check;

/// The binary's own module, from its source: a program has no library that could be depended on.
#[path = "../../../../cli/src/config/mod.rs"]
#[allow(dead_code, unused_imports, reason = "the program uses more of it, the tests of the module too")]
mod program;

use program::{Config, load};

/// Sets up a folder for the file.
#[must_use]
pub fn prepare() -> Check {
    let folder = tempfile::tempdir().expect("a folder for the file");
    Box::new(move |data| check(data, &folder.path().join("streambook.toml")))
}

fn check(data: &[u8], file: &PathBuf) {
    let text = String::from_utf8_lossy(data);
    let (text, variables) = text.split_once("\n---\n").unwrap_or((&text, ""));
    let variables = variables.lines().filter_map(|line| line.split_once('='));
    let variables: Vec<_> = variables.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let Some(config) = read(text, variables, file) else { return };
    assert!(config.problems().is_empty(), "what is loaded can be used");
    let written = toml::to_string(&config).expect("what was read can be written");
    let again = read(&written, Vec::new(), file).expect("and read again");
    assert_eq!(toml::to_string(&again).ok(), Some(written));
}

fn read(text: &str, variables: Vec<(String, String)>, file: &PathBuf) -> Option<Config> {
    std::fs::write(file, text).expect("the file is written");
    match load(Some(file), variables) {
        Ok(config) => Some(config),
        Err(failure) => {
            let words = failure.to_string();
            let (origin, reason) = words.split_once(':').expect("a refusal says where it is from");
            assert!(origin.ends_with("streambook.toml") && !reason.trim().is_empty(), "{words}");
            None
        }
    }
}
