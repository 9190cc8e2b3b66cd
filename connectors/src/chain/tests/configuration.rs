//! The settings as they stand in a configuration file.

use crate::chain::config::{ChainConfig, Finality, NodeUrl};

const GOOD: &str = r#"
id = 31337
rpc = ["http://127.0.0.1:8545"]
confirmations = 3
start_block = 0
tokens = [{ asset = "usdc:31337", address = "0x5fbdb2315678afecb367f032d93f642f64180aa3", decimals = 6 }]
"#;

fn problems(text: &str) -> Vec<String> {
    let config: ChainConfig = toml::from_str(text).unwrap();
    config.check().unwrap_err().iter().map(ToString::to_string).collect()
}

#[test]
fn the_example_of_the_manual_is_accepted() {
    let settings = toml::from_str::<ChainConfig>(GOOD).unwrap().check().unwrap();
    assert_eq!((settings.chain_id, settings.finality), (31_337, Finality::Confirmations(3)));
    let tagged = GOOD.replace("confirmations = 3", "finality = \"finalized\"");
    assert_eq!(
        toml::from_str::<ChainConfig>(&tagged).unwrap().check().unwrap().finality,
        Finality::Finalized
    );
}

#[test]
fn an_unknown_key_is_refused() {
    let error = toml::from_str::<ChainConfig>(&format!("confirmation = 3\n{GOOD}")).unwrap_err().to_string();
    assert!(error.contains("confirmation"), "{error}");
}

#[test]
fn every_problem_names_its_key_and_a_remedy() {
    let text = GOOD
        .replace("confirmations = 3", "max_in_flight = 0")
        .replace("http://", "ftp://")
        .replace("usdc:31337", "usdc:1");
    let problems = problems(&text).join("\n");
    for key in ["`confirmations`", "`max_in_flight`", "`rpc[0]`", "`tokens[0].asset`"] {
        assert!(problems.contains(key), "{key} is not in:\n{problems}");
    }
    assert_eq!(problems.lines().filter(|line| line.contains("; ")).count(), 4, "{problems}");
}

#[test]
fn a_node_url_never_shows_its_key() {
    let url = NodeUrl::new("https://user:secret@node.example:8443/v3/secret?key=secret".parse().unwrap());
    for shown in [url.to_string(), format!("{url:?}"), serde_json::to_string(&url).unwrap()] {
        assert!(shown.contains("https://node.example:8443/…") && !shown.contains("secret"), "{shown}");
    }
}
