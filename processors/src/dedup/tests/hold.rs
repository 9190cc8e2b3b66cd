//! Events that cannot be booked yet.

use streambook_model::{codec, records::book::Tick};
use streambook_runtime::processor::Processor;

use super::{
    super::held::{EXPIRED_MAX, HELD_MAX},
    *,
};

fn tick(scene: &mut Scene, millis: i64) -> Vec<Short> {
    scene.at(millis);
    let tick = Tick { meta: scene.bench.meta(), now: Timestamp::from_millis(millis) };
    scene.take(tick)
}

fn deadline(scene: &Scene) -> Option<i64> {
    Dedup.next_deadline(&scene.bench.state).unwrap().map(Timestamp::millis)
}

#[test]
fn a_refund_before_its_charge_waits_for_it_and_then_follows_it() {
    let mut scene = Scene::new();
    assert_eq!(scene.twice(event("evt_1", "refund.created", &refund("re_1", "succeeded", 3_000))), []);
    assert_eq!(deadline(&scene), Some(START + 24 * HOUR));
    let said = scene.twice(event("evt_2", "charge.succeeded", &charge()));
    assert_eq!(said, [short("Succeeded", "ch_1", 10_000), short("Refunded", "re_1", 3_000)]);
    assert_eq!(deadline(&scene), None);
}

#[test]
fn a_charge_that_names_nobody_waits_for_the_intent_and_is_booked_before_what_came_earlier() {
    let mut scene = Scene::new();
    scene.feed(event("evt_1", "refund.created", &refund("re_1", "succeeded", 3_000)));
    assert_eq!(scene.twice(event("evt_2", "charge.succeeded", &with(charge(), "metadata", json!({})))), []);
    let said = scene.twice(event("evt_3", "payment_intent.created", &intent("requires_payment_method")));
    assert_eq!(said, [short("Succeeded", "ch_1", 10_000), short("Refunded", "re_1", 3_000)]);
}

#[test]
fn a_refund_of_a_known_owner_waits_until_the_payment_is_seen_to_succeed() {
    let mut scene = Scene::new();
    scene.feed(event("evt_1", "payment_intent.created", &intent("requires_payment_method")));
    assert_eq!(scene.twice(event("evt_2", "refund.created", &refund("re_1", "succeeded", 1))), []);
    assert_eq!(tick(&mut scene, START + 24 * HOUR), []);
    assert_eq!(scene.codes(), ["unpaid_payment"]);
}

#[test]
fn an_owner_may_be_named_by_the_charge_inside_a_refund() {
    let mut scene = Scene::new();
    let expanded = with(refund("re_1", "succeeded", 5), "charge", charge());
    assert_eq!(scene.feed(event("evt_1", "refund.created", &expanded)), []);
    let said = scene.feed(event("evt_2", "charge.succeeded", &with(charge(), "metadata", json!({}))));
    assert_eq!(said, [short("Succeeded", "ch_1", 10_000), short("Refunded", "re_1", 5)]);
}

#[test]
fn after_a_day_without_an_owner_an_event_is_put_aside_whole_and_can_be_retried() {
    let mut scene = Scene::new();
    let waiting = event("evt_1", "refund.created", &refund("re_1", "succeeded", 3_000));
    scene.feed(waiting.clone());
    assert_eq!(tick(&mut scene, START + 24 * HOUR - 1), []);
    assert!(scene.letters.is_empty());
    tick(&mut scene, START + 24 * HOUR);
    assert_eq!(scene.codes(), ["unknown_owner"]);
    let letter = &scene.letters[0];
    assert_eq!((letter.task.as_str(), letter.topic.as_str()), ("dedup/3", "stripe.inbox"));
    assert_eq!((letter.partition, letter.offset, letter.key.as_slice()), (3, 0, b"pi_1".as_slice()));
    let Message::StripeEvent(kept) = codec::decode(&letter.record).unwrap() else { panic!("not the event") };
    assert_eq!(kept.payload, waiting.payload);
    assert_eq!(deadline(&scene), None);
    scene.feed(event("evt_2", "charge.succeeded", &charge()));
    assert_eq!(scene.feed(waiting), [short("Refunded", "re_1", 3_000)]);
}

#[test]
fn a_family_holds_a_bounded_number_of_events_and_a_tick_gives_up_a_bounded_number() {
    let mut scene = Scene::new();
    for number in 0..=HELD_MAX {
        let refund = refund(&format!("re_{number}"), "succeeded", 1);
        scene.feed(event(&format!("evt_{number}"), "refund.created", &refund));
    }
    assert_eq!(scene.codes(), ["too_many_held"]);
    let due = START + 24 * HOUR;
    tick(&mut scene, due);
    assert_eq!(scene.letters.len(), 1 + EXPIRED_MAX);
    assert_eq!(deadline(&scene), Some(due), "what is left is due still");
    tick(&mut scene, due);
    assert_eq!(scene.letters.len(), 1 + usize::from(HELD_MAX));
    assert_eq!(deadline(&scene), None);
}

#[test]
fn a_contradiction_in_an_event_that_waited_does_not_stop_the_one_that_releases_it() {
    let mut scene = Scene::new();
    let live =
        StripeEvent { livemode: true, ..event("evt_1", "refund.created", &refund("re_1", "succeeded", 1)) };
    scene.feed(live);
    assert_eq!(
        scene.feed(event("evt_2", "charge.succeeded", &charge())),
        [short("Succeeded", "ch_1", 10_000)]
    );
    assert_eq!(scene.codes(), ["conflicting_livemode"]);
    assert_eq!(scene.letters[0].offset, 0);
    assert_eq!(deadline(&scene), None);
}
