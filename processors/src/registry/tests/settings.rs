use std::collections::BTreeSet;

use streambook_model::{
    asset::Asset,
    bytes::Address,
    chain::{ChainId, ConfirmationPolicy},
    money::Amount,
    records::{
        registry::PutSettings,
        settings::{ChainSettings, FeeSchedule, PolicyTier, Settings},
    },
    topics::SHARDS,
};

use super::*;

fn chain(id: u64) -> ChainSettings {
    ChainSettings {
        id: ChainId(id),
        policy: ConfirmationPolicy { depth: Some(3) },
        look_back_seconds: 86_400,
    }
}

fn asset(id: &str, contract: Option<u8>) -> Asset {
    Asset { id: id.parse().unwrap(), scale: 6, contract: contract.map(|byte| Address::new([byte; 20])) }
}

pub(super) fn settings() -> Settings {
    Settings {
        version: 0,
        assets: vec![asset("usd", None), asset("usdc:1", Some(1))],
        chains: vec![chain(1)],
        fee: FeeSchedule { parts_per_million: 5_000 },
        xpub: None,
        postings: "# templates".into(),
        tiers: Vec::new(),
        exact_amount_grace_seconds: 86_400,
    }
}

pub(super) fn put(scene: &mut Scene, settings: &Settings) -> Outcome {
    let meta = scene.bench.meta();
    scene.twice(PutSettings { meta, settings: settings.clone() })
}

fn said(outcome: &Outcome) -> Vec<&Settings> {
    let settings = outcome.said.iter().map(|(_, said)| match said {
        Message::SettingsChanged(changed) => &changed.settings,
        other => panic!("{other:?}"),
    });
    settings.collect()
}

#[test]
fn settings_are_told_once_to_everybody_to_every_book_and_to_every_chain() {
    let mut scene = Scene::new();
    let outcome = put(&mut scene, &settings());
    let expect = Settings { version: 1, ..settings() };
    assert!(said(&outcome).iter().all(|said| **said == expect));
    let to: BTreeSet<_> = outcome.said.iter().map(|(to, _)| (to.topic.as_str(), to.partition.0)).collect();
    let shards = |topic| (0..SHARDS).map(move |partition| (topic, partition));
    let everybody = shards("book.inbox").chain(shards("chain.inbox")).chain([("registry.events", 0)]);
    assert_eq!(to, everybody.collect());
    assert_eq!(outcome.said.len(), to.len());
}

#[test]
fn versions_count_changes_whatever_the_record_says_and_the_same_content_is_no_change() {
    let mut scene = Scene::new();
    put(&mut scene, &settings());
    assert!(put(&mut scene, &Settings { version: 9, ..settings() }).said.is_empty());
    let other_order = Settings { assets: settings().assets.into_iter().rev().collect(), ..settings() };
    assert!(put(&mut scene, &other_order).said.is_empty());
    let fee = FeeSchedule { parts_per_million: 0 };
    assert_eq!(said(&put(&mut scene, &Settings { fee, ..settings() }))[0].version, 2);
    assert_eq!(said(&put(&mut scene, &settings()))[0].version, 3);
}

#[test]
fn settings_that_cannot_be_right_are_dead_letters_that_say_what_to_do() {
    for (bad, says) in [
        (
            Settings { assets: vec![asset("usd", None), asset("usd", None)], ..settings() },
            "usd is listed twice",
        ),
        (
            Settings { assets: vec![asset("usdc:1", None)], ..settings() },
            "usdc:1 is on a chain and has no contract",
        ),
        (Settings { assets: vec![asset("usdc", Some(1))], ..settings() }, "usdc has a contract and no chain"),
        (
            Settings { assets: vec![asset("usdc:56", Some(1))], ..settings() },
            "chain 56, which is not among the chains",
        ),
        (
            Settings { assets: vec![asset("usdc:1", Some(1)), asset("dai:1", Some(1))], ..settings() },
            "that another asset of its chain has",
        ),
        (Settings { chains: vec![chain(1), chain(1)], ..settings() }, "chains: 1 is listed twice"),
        (
            Settings {
                chains: vec![ChainSettings { policy: ConfirmationPolicy { depth: Some(0) }, ..chain(1) }],
                ..settings()
            },
            "depth 0",
        ),
        (Settings { fee: FeeSchedule { parts_per_million: 1_000_001 }, ..settings() }, "more than 1000000"),
        (Settings { postings: " \n".into(), ..settings() }, "postings is empty"),
    ] {
        let mut scene = Scene::new();
        let outcome = put(&mut scene, &bad);
        let letter = outcome.letter.unwrap();
        assert_eq!(letter.code, "invalid_settings");
        assert!(letter.reason.contains(says), "{}", letter.reason);
        assert!(outcome.said.is_empty());
        assert_eq!(said(&put(&mut scene, &settings()))[0].version, 1);
    }
}

/// `usdc:1 100 finalized`, or a depth; `!` behind it where the operator wants a weaker one.
fn tier(text: &str) -> PolicyTier {
    let words: Vec<_> = text.split(' ').collect();
    PolicyTier {
        asset: words[0].parse().unwrap(),
        from: Amount::new(words[1].parse().unwrap()).unwrap(),
        policy: ConfirmationPolicy { depth: words[2].parse().ok() },
        allow_weaker: words.get(3) == Some(&"!"),
    }
}

fn check_tiers(tiers: &[&str], refused: Option<&str>) {
    let mut scene = Scene::new();
    let with = Settings { tiers: tiers.iter().map(|text| tier(text)).collect(), ..settings() };
    let outcome = put(&mut scene, &with);
    match refused {
        None => {
            let said = said(&outcome)[0].tiers.clone();
            assert!(said.is_sorted_by_key(|tier| (tier.asset.clone(), tier.from)), "{said:?}");
            assert_eq!(said.len(), tiers.len());
        }
        Some(says) => {
            let letter = outcome.letter.unwrap();
            assert_eq!(letter.code, "invalid_settings");
            assert!(letter.reason.contains(says), "{}", letter.reason);
        }
    }
}

/// The chain's own policy is a depth of 3.
#[test]
fn more_money_never_waits_for_less_unless_the_operator_says_so() {
    check_tiers(&["usdc:1 1000 finalized", "usdc:1 100 12"], None);
    check_tiers(&["usdc:1 100 3", "usdc:1 1000 3"], None);
    check_tiers(
        &["usdc:1 100 2"],
        Some("waits for 2 confirmations, less than the 3 confirmations before it"),
    );
    check_tiers(&["usdc:1 100 finalized", "usdc:1 1000 500"], Some("less than the `finalized` before it"));
    check_tiers(&["usdc:1 100 finalized", "usdc:1 1000 500 !"], None);
    check_tiers(&["usdc:1 100 2 !", "usdc:1 1000 3"], None);
}

#[test]
fn tiers_that_mean_nothing_are_refused() {
    check_tiers(&["usdc:1 100 5", "usdc:1 100 6"], Some("is there twice"));
    check_tiers(&["usdc:1 0 5"], Some("more than zero"));
    check_tiers(&["usdc:1 100 0 !"], Some("depth 0"));
    check_tiers(&["usdc:56 100 5"], Some("not a token of a chain here"));
    check_tiers(&["usd 100 5"], Some("not a token of a chain here"));
}
