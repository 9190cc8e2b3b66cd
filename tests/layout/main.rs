//! The layout's promises that no compiler checks: arrows between crates point one way, every crate takes part in the
//! workspace's lints, processors know nothing that is not pure, dashboards and documents name metrics that there are.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod grafana;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use streambook_processors::invariants::Invariant;
use toml::Table;

/// Which crates of ours each crate may depend on (design, "Layout").
const ARROWS: [(&str, &[&str]); 13] = [
    ("model", &[]),
    ("log", &["model"]),
    ("runtime", &["log", "model"]),
    ("processors", &["runtime", "model"]),
    ("connectors", &["runtime", "log", "model"]),
    ("sinks", &["runtime", "log", "model"]),
    ("api", &["runtime", "log", "sinks", "model"]),
    ("cli", &["api", "connectors", "devchain", "log", "model", "processors", "runtime", "sinks"]),
    ("tests/devchain", &[]),
    ("tests/fluvio_cluster", &["log"]),
    ("tests/lying_node", &[]),
    ("tests/simulation", &["connectors", "devchain", "log", "model", "processors", "runtime"]),
    (
        "tests/fuzz",
        &["api", "connectors", "devchain", "log", "model", "processors", "runtime", "simulation", "sinks"],
    ),
];

/// What processors and the vocabulary must not be able to reach.
const IMPURE: [&str; 12] = [
    "tokio",
    "reqwest",
    "axum",
    "sqlx",
    "fjall",
    "rand",
    "time",
    "tempfile",
    "futures",
    "hyper",
    "clickhouse",
    "fluvio",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn manifest(folder: &str) -> Table {
    fs::read_to_string(root().join(folder).join("Cargo.toml")).unwrap().parse().unwrap()
}

fn members() -> Vec<String> {
    let workspace = manifest("");
    workspace["workspace"]["members"]
        .as_array()
        .unwrap()
        .iter()
        .map(|m| m.as_str().unwrap().to_owned())
        .collect()
}

fn dependencies(folder: &str) -> Vec<String> {
    let manifest = manifest(folder);
    manifest
        .get("dependencies")
        .and_then(|found| found.as_table())
        .map(|t| t.keys().cloned().collect())
        .unwrap_or_default()
}

#[test]
fn arrows_between_crates_point_one_way() {
    let allowed: BTreeMap<_, _> = ARROWS.into_iter().collect();
    for member in members() {
        let allowed = allowed.get(member.as_str()).unwrap_or_else(|| panic!("{member} is not in the layout"));
        for dependency in dependencies(&member) {
            if let Some(ours) = dependency.strip_prefix("streambook-") {
                assert!(allowed.contains(&ours), "{member} must not depend on {ours}");
            }
        }
    }
}

#[test]
fn every_crate_takes_part_in_the_workspaces_lints_and_versions() {
    for member in members() {
        let manifest = manifest(&member);
        assert_eq!(manifest["lints"]["workspace"].as_bool(), Some(true), "{member} forgot the lints");
        assert_eq!(manifest["package"]["rust-version"]["workspace"].as_bool(), Some(true), "{member}");
        for section in ["dependencies", "dev-dependencies"] {
            let Some(dependencies) = manifest.get(section).and_then(|found| found.as_table()) else {
                continue;
            };
            for (name, dependency) in dependencies {
                let own = dependency.get("workspace").and_then(toml::Value::as_bool);
                assert_eq!(own, Some(true), "{member}: the version of {name} belongs in the workspace");
            }
        }
    }
}

#[test]
fn the_vocabulary_and_the_processors_can_reach_nothing_impure() {
    for (folder, may) in [("model", &["time"][..]), ("processors", &[])] {
        for dependency in dependencies(folder) {
            let impure = IMPURE.contains(&dependency.as_str()) && !may.contains(&dependency.as_str());
            assert!(!impure, "{folder} must not depend on {dependency}");
        }
    }
}

/// The lints refuse clocks, floats, I/O and hash maps in those two crates; this holds the lints themselves in place.
#[test]
fn the_pure_crates_keep_their_lints() {
    for folder in ["model", "processors"] {
        let lints = fs::read_to_string(root().join(folder).join("clippy.toml")).unwrap();
        for refused in ["SystemTime::now", "Instant::now", "collections::HashMap", "f64", "std::fs::write"] {
            assert!(lints.contains(refused), "{folder}/clippy.toml no longer refuses {refused}");
        }
    }
}

/// No money is a float: the words do not occur in the crates that compute it.
#[test]
fn no_float_occurs_where_money_is_computed() {
    let mut files = Vec::new();
    for folder in ["model/src", "processors/src"] {
        collect(&root().join(folder), &mut files);
    }
    assert!(files.len() > 50, "the sources were not found");
    // What serde offers a codec has to have a name; these two refuse it.
    let refuses = [root().join("model/src/codec/read.rs"), root().join("model/src/codec/write.rs")];
    for file in files.into_iter().filter(|file| !refuses.contains(file)) {
        let text = fs::read_to_string(&file).unwrap();
        for (number, line) in text.lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            let float = ["f64", "f32"]
                .iter()
                .any(|word| code.split(|c: char| !c.is_alphanumeric()).any(|w| w == *word));
            assert!(!float, "{}:{}: {line}", file.display(), number + 1);
        }
    }
}

/// The table in `docs/testing.md` says who checks which invariant; where it says yes, the code does.
#[test]
fn every_invariant_is_checked_where_the_table_says() {
    let sources = |folders: &[&str]| {
        let mut files = Vec::new();
        folders.iter().for_each(|folder| collect(&root().join(folder), &mut files));
        files.iter().map(|file| fs::read_to_string(file).unwrap()).collect::<String>()
    };
    // The audits call the predicates for whoever uses the audit.
    let audits: String = ["audit", "steps"]
        .map(|file| fs::read_to_string(root().join(format!("processors/src/invariants/{file}.rs"))).unwrap())
        .concat();
    let places =
        [sources(&["tests/simulation/src"]), sources(&["cli/src/verify"]), sources(&["processors/src/book"])];
    assert!(places[..2].iter().all(|source| source.contains("BookAudit")), "who checks without the audit?");
    let table = fs::read_to_string(root().join("docs/testing.md")).unwrap();
    for invariant in Invariant::ALL {
        let row = table.lines().find(|line| line.starts_with(&format!("| `{invariant}` |")));
        let row = row.unwrap_or_else(|| panic!("{invariant} is not in docs/testing.md"));
        let cells: Vec<_> = row.split('|').map(str::trim).collect();
        for (cell, (source, is_run_time)) in cells[2..5].iter().zip(places.iter().zip([false, false, true])) {
            if cell.strip_prefix("no: ").is_some_and(|reason| reason.len() > 10) {
                continue;
            }
            assert_eq!(*cell, "yes", "{invariant}: say yes, or no and why");
            let (variant, function) = (format!("Invariant::{invariant:?}"), format!("{invariant}("));
            let is_checked = match is_run_time {
                true => source.contains(&variant),
                false => {
                    source.contains(&variant) || [source, &audits].iter().any(|it| it.contains(&function))
                }
            };
            assert!(is_checked, "{invariant} is not checked where the table says so: {row}");
        }
    }
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}
