use std::io::Write;

use super::*;

/// Loads a file with this text under these variables; gives the problem, if there is one.
fn check(text: &str, environment: &[(&str, &str)]) -> Result<Config, String> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    load(Some(file.path()), environment).map_err(|failure| failure.to_string())
}

#[test]
fn the_default_file_states_the_defaults() {
    let from_file = check(DEFAULT_CONFIG, &[]).unwrap();
    assert_eq!(serde_json::to_value(from_file).unwrap(), serde_json::to_value(Config::default()).unwrap());
}

#[test]
fn the_environment_overrides_the_file_and_ignores_other_variables() {
    let config = check(
        "[fees]\nparts_per_million = 1\n",
        &[
            ("STREAMBOOK_FEES__PARTS_PER_MILLION", "7000"),
            ("STREAMBOOK_PYTHON", "/x"),
            ("STREAMBOOK_DATA__DIR", "/d"),
        ],
    );
    let config = config.unwrap();
    assert_eq!((config.fees.parts_per_million, config.data.dir), (7_000, PathBuf::from("/d")));
}

#[test]
fn a_wrong_configuration_names_the_key_and_what_is_allowed() {
    let wrong = |text: &str, expect: &str| {
        let error = check(text, &[]).unwrap_err();
        assert!(error.contains(expect), "{error}");
    };
    wrong("[fees]\nparts_per_milion = 1\n", "parts_per_milion");
    wrong("[fees]\nparts_per_million = \"much\"\n", "parts_per_million");
    wrong("[fees]\nparts_per_million = 0.5\n", "parts_per_million");
    wrong("[logging]\nformat = \"xml\"\n", "`text`");
    wrong("[fees]\nparts_per_million = 1000001\n", "[fees] parts_per_million");
    wrong("[stripe]\ncurrencies = [\"USD\"]\n", "[stripe] currencies: `USD`");
    wrong("[[asset]]\nid = \"usdc:1\"\nscale = 6\n", "belongs in its [[chain]]");
    wrong("[wallet]\nxpub = \"xprv\"\n", "[wallet] xpub");
    let chain = "[[chain]]\nid = 1\nrpc = [\"http://127.0.0.1:1\"]\nconfirmations = 0\ntokens = []\n";
    wrong(chain, "`confirmations` is 0");
    wrong(chain, "[wallet] xpub is missing");
    wrong("[data\n", "TOML");
}
