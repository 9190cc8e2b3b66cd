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

/// A chain of id 1 whose own policy is 12 confirmations, and these tiers.
fn with_tiers(tiers: &str) -> Result<Config, String> {
    let chain = "[wallet]\nxpub = \"xpub6Ce9NcJvTk36xtLSrJLZqE7wtgA5deCeYs7rSQtreh4cj6ByPtrg9sD7V2FNFLPnf8heNP3FGkeV9qwfzvZNSd54JoNXVsXFYSYwHsnJxqP\"\n\
                 [[chain]]\nid = 1\nrpc = [\"http://127.0.0.1:1\"]\nconfirmations = 12\n\
                 tokens = [{ asset = \"usdc:1\", address = \"0xA0b86991c6218b36c1d19D4a2e9Eb0cE3606eB48\", decimals = 6 }]\n";
    let tiers =
        tiers.lines().map(|line| format!("[[tier]]\nasset = \"usdc:1\"\n{}\n", line.replace("; ", "\n")));
    check(&format!("{chain}{}", tiers.collect::<String>()), &[])
}

#[test]
fn tiers_are_read_at_their_assets_scale_and_in_order() {
    let config =
        with_tiers("from = \"5000\"; finality = \"finalized\"\nfrom = \"100.50\"; confirmations = 20")
            .unwrap();
    let tiers = config.tiers().unwrap();
    let read: Vec<_> = tiers.iter().map(|tier| (tier.from.units(), tier.policy.depth)).collect();
    assert_eq!(read, [(100_500_000, Some(20)), (5_000_000_000, None)]);
    assert!(config.needs_finality(1) && !config.needs_finality(11));
    assert!(!with_tiers("from = \"100\"; confirmations = 20").unwrap().needs_finality(1));
}

#[test]
fn a_wrong_tier_names_the_key_and_what_is_allowed() {
    let wrong = |tiers: &str, expect: &str| {
        let error = with_tiers(tiers).unwrap_err();
        assert!(error.contains(expect), "{error}");
    };
    wrong("from = \"100\"; confirmations = 11", "allow_weaker = true");
    wrong(
        "from = \"100\"; finality = \"finalized\"\nfrom = \"200\"; confirmations = 64",
        "allow_weaker = true",
    );
    wrong("from = \"100\"; confirmations = 20\nfrom = \"100.00\"; confirmations = 20", "there twice");
    wrong("from = \"100\"", "names no policy");
    wrong("from = \"100\"; confirmations = 0", "`confirmations` is 0");
    wrong("from = \"100\"; confirmations = 20; finality = \"finalized\"", "both set");
    wrong("from = \"0\"; confirmations = 20", "`from` is 0");
    wrong("from = \"0.0000001\"; confirmations = 20", "`from`");
    wrong("from = \"1\"; confirmations = 20; weaker = true", "weaker");
    with_tiers("from = \"100\"; confirmations = 11; allow_weaker = true").unwrap();
    let other = check("[[tier]]\nasset = \"usdc:1\"\nfrom = \"1\"\nconfirmations = 2\n", &[]).unwrap_err();
    assert!(other.contains("not among the tokens"), "{other}");
    let grace = check("[matching]\nexact_amount_grace_seconds = 99999999\n", &[]).unwrap_err();
    assert!(grace.contains("[matching] exact_amount_grace_seconds"), "{grace}");
}
