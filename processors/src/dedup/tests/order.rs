//! The order and number of arrivals do not matter.

use std::collections::BTreeSet;

use proptest::prelude::*;
use streambook_runtime::processor::Processor;

use super::*;

/// A payment's whole life: paid, partly refunded, a refund that failed, disputed, won with its fee returned.
fn life() -> Vec<StripeEvent> {
    let settled = with(charge(), "balance_transaction", balance_transaction("txn_1", 10_000, 320));
    let bare = with(charge(), "metadata", json!({}));
    let out = balance_transaction("txn_d", -10_000, 1_500);
    let back = balance_transaction("txn_b", 10_000, -1_500);
    let settled_refund = with(
        refund("re_1", "succeeded", 3_000),
        "balance_transaction",
        balance_transaction("txn_re", -3_000, 0),
    );
    let objects = [
        ("payment_intent.created", intent("requires_payment_method")),
        ("charge.failed", with(bare.clone(), "status", json!("failed"))),
        ("charge.succeeded", bare),
        ("charge.updated", settled.clone()),
        ("payment_intent.succeeded", intent("succeeded")),
        ("refund.created", refund("re_1", "pending", 3_000)),
        ("refund.updated", settled_refund),
        (
            "charge.refunded",
            with(
                settled,
                "refunds",
                json!({"data": [refund("re_1", "succeeded", 3_000), refund("re_2", "succeeded", 200)]}),
            ),
        ),
        ("refund.failed", refund("re_2", "failed", 200)),
        ("charge.dispute.created", dispute("needs_response", &[])),
        ("charge.dispute.funds_withdrawn", dispute("needs_response", std::slice::from_ref(&out))),
        ("charge.dispute.closed", dispute("won", std::slice::from_ref(&out))),
        ("charge.dispute.funds_reinstated", dispute("won", &[out, back])),
    ];
    objects
        .iter()
        .enumerate()
        .map(|(number, (kind, object))| event(&format!("evt_{number}"), kind, object))
        .collect()
}

fn expected() -> BTreeSet<Short> {
    BTreeSet::from([
        short("Succeeded", "ch_1", 10_000),
        short("FeeKnown", "txn_1", 320),
        short("Refunded", "re_1", 3_000),
        short("Refunded", "re_2", 200),
        short("RefundFailed", "re_2", 200),
        short("DisputeOpened", "dp_1", 10_000),
        short("DisputeFee", "txn_d", 1_500),
        short("DisputeWon", "dp_1", 10_000),
    ])
}

fn arrivals() -> impl Strategy<Value = Vec<usize>> {
    let count = life().len();
    prop::collection::vec(0..count, 0..count)
        .prop_map(move |repeats| repeats.into_iter().chain(0..count).collect::<Vec<_>>())
        .prop_shuffle()
}

proptest! {
    /// Any order, any repeats: the same facts, each once, the payment's success before what presupposes it, a refund
    /// and a dispute before what takes them back.
    #[test]
    fn any_order_with_any_repeats_says_the_same_facts_once(arrivals in arrivals()) {
        let (life, mut scene) = (life(), Scene::new());
        for index in arrivals {
            scene.feed(life[index].clone());
        }
        let said: Vec<_> = scene.facts.iter().map(shorten).collect();
        prop_assert_eq!(said.len(), expected().len());
        prop_assert_eq!(said.iter().cloned().collect::<BTreeSet<_>>(), expected());
        prop_assert_eq!(&said[0].0, "Succeeded");
        let place = |kind: &str| said.iter().position(|fact| fact.0 == kind);
        prop_assert!(place("DisputeOpened") < place("DisputeWon"));
        let refunded = said.iter().position(|fact| *fact == short("Refunded", "re_2", 200));
        prop_assert!(refunded < place("RefundFailed"));
        prop_assert_eq!(scene.codes(), ["fee_returned"]);
        prop_assert_eq!(Dedup.next_deadline(&scene.bench.state).unwrap(), None);
    }
}

/// Whether a charge was in time must not depend on which of its events comes first.
#[test]
fn a_charge_happened_when_stripe_made_it_whichever_event_says_so() {
    let made = with(charge(), "created", json!(1_600_000_000));
    let mut scene = Scene::new();
    scene.feed(event("evt_late", "charge.updated", &made));
    let [fact] = scene.facts.as_slice() else { panic!("one fact: {:?}", scene.facts) };
    assert_eq!(fact.meta.occurred_at, Timestamp::from_millis(1_600_000_000_000));
}
