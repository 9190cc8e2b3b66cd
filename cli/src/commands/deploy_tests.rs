//! `deploy/` against the program: every command line of a part is one that it takes, and its configuration is one that it
//! starts with. What is only YAML is looked at by `tests/tools/test_deploy.py`.

use std::{collections::BTreeMap, fs, path::PathBuf};

use clap::{Parser, Subcommand};

use super::Command;
use crate::config::{Config, load};

#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

fn file(name: &str) -> String {
    let path = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy")).join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The command lines of the services that are this program, by their names.
fn commands() -> BTreeMap<String, Vec<String>> {
    let text = file("compose.yaml");
    let (_, services) = text.split_once("\nservices:\n").unwrap();
    let (mut name, mut is_ours, mut found) = (String::new(), false, BTreeMap::new());
    for line in services.lines() {
        if let Some(service) = line.strip_prefix("  ").and_then(|line| line.strip_suffix(':'))
            && !service.starts_with([' ', '#'])
        {
            (name, is_ours) = (service.to_owned(), false);
        }
        is_ours |= ["    <<: *streambook", "    <<: *server"].contains(&line);
        if let Some(command) = line.strip_prefix("    command: ").filter(|_| is_ours) {
            found.insert(name.clone(), serde_json::from_str(command).unwrap());
        }
    }
    found
}

fn parsed(arguments: &[String]) -> Command {
    let all = ["streambook".to_owned()].into_iter().chain(arguments.iter().cloned());
    Arguments::try_parse_from(all).unwrap_or_else(|error| panic!("{arguments:?}: {error}")).command
}

/// `deploy/streambook.toml` with what is commented out for these profiles.
fn config(sections: &[&str]) -> Config {
    let text = file("streambook.toml");
    let mut is_wanted = false;
    let mut lines = Vec::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# For ") {
            is_wanted = sections.iter().any(|section| rest.contains(&format!("`{section}`")));
            continue;
        }
        lines.push(line.strip_prefix("# ").filter(|_| is_wanted).unwrap_or(line));
    }
    let text = lines.join("\n").replace("xpub…", XPUB);
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("streambook.toml");
    fs::write(&path, text).unwrap();
    load(Some(&path), Vec::new()).unwrap()
}

/// The extended public key of BIP-32's first test vector.
const XPUB: &str = "xpub661MyMwAqRbcFtXgS5sYJABqqG9YLmC4Q1Rdap9gSE8NqtwybGhePY2gZ29ESFjqJoCu1Rupje8YtGqsefD265TMg7usUDFdp6W1EGMcet8";

#[test]
fn every_part_starts_with_its_command_and_the_configuration() {
    let commands = commands();
    assert_eq!(commands.len(), 11, "{commands:?}");
    let mut partitions = Vec::new();
    for (name, arguments) in &commands {
        let run = match parsed(arguments) {
            Command::Run(run) => run,
            Command::Cluster(_) => continue,
            _ => panic!("{name}: {arguments:?} is no part"),
        };
        let parts = run.parts().unwrap();
        let profile = [name.as_str()].into_iter().filter(|name| ["chain", "stripe"].contains(name));
        let profile: Vec<_> = profile.collect();
        super::run::check(&config(&profile), &parts).unwrap_or_else(|error| panic!("{name}: {error}"));
        if !profile.is_empty() {
            assert!(super::run::check(&config(&[]), &parts).is_err(), "{name} needs no profile");
        }
        partitions.extend((0..16).map(streambook_model::position::Partition).filter(|at| parts.runs(*at)));
    }
    partitions.sort_unstable();
    let all: Vec<_> = (0..16).map(streambook_model::position::Partition).collect();
    assert_eq!(partitions, all, "every partition is kept by one process");
}

#[test]
fn the_configuration_is_what_the_containers_are_called() {
    let (config, compose) = (config(&[]), file("compose.yaml"));
    let host =
        |address: &str| address.split("://").last().unwrap().split('@').next_back().unwrap().to_owned();
    for address in [config.log.endpoint.clone(), host(config.sql.url.secret()), host(&config.clickhouse.url)]
    {
        let (name, _) = address.split_once(':').unwrap();
        assert!(compose.contains(&format!("\n  {name}:\n")), "{address} is no service");
    }
    assert!(Arguments::try_parse_from(["streambook", "config", "check", "--config", "x"]).is_ok());
    assert!(Command::has_subcommand("cluster"));
}
