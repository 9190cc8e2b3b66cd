use streambook_log::partitioner::partition_of;
use streambook_model::{
    bytes::Address,
    chain::ChainId,
    money::Amount,
    records::registry::{AssetAmount, FixedAddress, Tolerance},
    topics::SHARDS,
};

use super::*;

#[test]
fn a_new_merchant_is_told_to_everybody_and_to_its_own_book_and_answered() {
    let mut scene = Scene::new();
    let outcome = scene.merchant(&merchant("shop"));
    assert_eq!(outcome.topics(), ["registry.events", "book.inbox"]);
    let book = partition_of(merchant("shop").id.to_string().as_bytes(), SHARDS);
    assert_eq!(outcome.said[1].0.partition, book);
    for (_, said) in &outcome.said {
        assert!(
            matches!(said, Message::MerchantChanged(changed) if changed.merchant == merchant("shop")),
            "{said:?}"
        );
    }
    assert_eq!(outcome.accepted().merchant, Some(merchant("shop")));
}

#[test]
fn the_same_merchant_again_says_nothing_and_is_answered() {
    let mut scene = Scene::with_shop();
    let outcome = scene.merchant(&merchant("shop"));
    assert!(outcome.said.is_empty());
    assert_eq!(outcome.accepted().merchant, Some(merchant("shop")));
}

#[test]
fn a_name_and_a_settlement_may_change_and_the_time_of_creation_stays() {
    let mut scene = Scene::with_shop();
    let renamed = Merchant { name: "Shop & Co".into(), settlement: "direct".into(), ..merchant("shop") };
    let sent = Merchant { created_at: Timestamp::from_millis(START + 5), ..renamed.clone() };
    let outcome = scene.merchant(&sent);
    assert_eq!(outcome.said.len(), 2);
    assert_eq!(outcome.accepted().merchant, Some(renamed));
}

#[test]
fn a_merchant_needs_a_name_and_a_settlement() {
    let mut scene = Scene::new();
    scene.merchant(&Merchant { name: " ".into(), ..merchant("shop") }).refused(
        "name_missing",
        422,
        Some("name"),
    );
    let without = Merchant { settlement: String::new(), ..merchant("shop") };
    scene.merchant(&without).refused("settlement_missing", 422, Some("settlement"));
}

#[test]
fn where_nobody_waits_a_refusal_is_a_dead_letter_and_an_acceptance_needs_no_answer() {
    let mut scene = Scene::new();
    scene.administrator.reply = None;
    let outcome = scene.merchant(&merchant("shop"));
    assert!(outcome.reply.is_none());
    assert_eq!(outcome.said.len(), 2);
    let outcome = scene.merchant(&Merchant { name: String::new(), ..merchant("shop") });
    assert_eq!(outcome.letter.unwrap().code, "name_missing");
}

#[test]
fn an_answer_to_a_partition_that_does_not_exist_is_a_dead_letter() {
    let mut scene = Scene::new();
    scene.administrator.reply =
        Some(ReplyTo { partition: SHARDS, request: RequestId::derive(&[b"request"]) });
    let outcome = scene.merchant(&merchant("shop"));
    assert_eq!(outcome.letter.unwrap().code, "unknown_reply_partition");
    assert!(outcome.said.is_empty());
}

#[test]
fn a_record_of_another_topic_is_a_dead_letter() {
    let mut scene = Scene::with_shop();
    let (_, changed) = scene.merchant(&merchant("other")).said.remove(0);
    let Message::MerchantChanged(mut changed) = changed else { panic!("{changed:?}") };
    changed.meta = scene.bench.meta();
    assert_eq!(scene.feed(changed).letter.unwrap().code, "unexpected_record");
}

fn with_addresses(name: &str, addresses: &[(u64, u8)]) -> Merchant {
    let addresses = addresses
        .iter()
        .map(|(chain, byte)| FixedAddress { chain: ChainId(*chain), address: Address::new([*byte; 20]) });
    Merchant { addresses: addresses.collect(), ..merchant(name) }
}

#[test]
fn a_merchant_has_one_address_for_each_chain_and_may_change_it() {
    let mut scene = Scene::with_shop();
    let stored = scene.merchant(&with_addresses("shop", &[(137, 9), (1, 8)])).accepted().merchant.unwrap();
    assert_eq!(stored, with_addresses("shop", &[(1, 8), (137, 9)]), "they are sorted by chain");
    scene.merchant(&with_addresses("shop", &[(1, 7)])).accepted();
    scene.merchant(&with_addresses("shop", &[(1, 8)])).accepted();
    scene.merchant(&with_addresses("shop", &[(1, 8), (1, 9)])).refused(
        "invalid_address",
        422,
        Some("addresses"),
    );
    scene.merchant(&with_addresses("shop", &[(1, 0)])).refused("invalid_address", 422, Some("addresses"));
}

#[test]
fn two_merchants_never_share_an_address_also_after_it_was_given_up() {
    let mut scene = Scene::with_shop();
    scene.merchant(&with_addresses("shop", &[(1, 8)])).accepted();
    scene.merchant(&with_addresses("other", &[(1, 8)])).refused("address_taken", 409, Some("addresses"));
    scene.merchant(&with_addresses("shop", &[])).accepted();
    scene.merchant(&with_addresses("other", &[(1, 8)])).refused("address_taken", 409, Some("addresses"));
    scene.merchant(&with_addresses("other", &[(137, 8)])).accepted();
}

#[test]
fn a_token_contract_is_nobodys_address() {
    let mut scene = Scene::with_shop();
    settings::put(&mut scene, &settings::settings());
    scene.merchant(&with_addresses("shop", &[(1, 1)])).refused("invalid_address", 422, Some("addresses"));
    scene.merchant(&with_addresses("shop", &[(137, 1)])).accepted();
}

#[test]
fn a_tolerance_is_at_most_a_tenth_and_of_assets_that_there_are() {
    let mut scene = Scene::with_shop();
    settings::put(&mut scene, &settings::settings());
    let least = |asset: &str, units| AssetAmount {
        asset: asset.parse().unwrap(),
        amount: Amount::new(units).unwrap(),
    };
    let with = |parts_per_million, amounts: &[AssetAmount]| Merchant {
        tolerance: Some(Tolerance { parts_per_million, amounts: amounts.to_vec() }),
        ..merchant("shop")
    };
    let (usd, usdc) = (least("usd", 1), least("usdc:1", 5));
    let stored = scene.merchant(&with(100_000, &[usdc.clone(), usd.clone()])).accepted().merchant.unwrap();
    assert_eq!(stored, with(100_000, &[usd.clone(), usdc.clone()]), "they are sorted by asset");
    for wrong in [
        with(100_001, &[]),
        with(0, &[least("usd", 0)]),
        with(0, &[least("dai:1", 1)]),
        with(0, &[usd.clone(), usdc, usd]),
    ] {
        scene.merchant(&wrong).refused("invalid_tolerance", 422, Some("tolerance"));
    }
}
