//! Event ids: repeats, contradictions, and how long they are remembered.

use super::{super::seen, *};

const DAY: i64 = 24 * HOUR;

fn quiet(number: usize) -> StripeEvent {
    event(&format!("evt_{number}"), "customer.updated", &json!({"id": "cus_1", "object": "customer"}))
}

#[test]
fn the_same_event_with_another_content_is_a_contradiction_and_the_first_stands() {
    let mut scene = Scene::new();
    scene.feed(event("evt_1", "charge.succeeded", &charge()));
    assert_eq!(
        scene.feed(event("evt_1", "charge.succeeded", &with(charge(), "description", json!("other")))),
        []
    );
    assert_eq!(scene.codes(), ["conflicting_event"]);
    assert_eq!(scene.feed(event("evt_1", "charge.succeeded", &charge())), []);
    assert_eq!(scene.codes().len(), 1);
}

#[test]
fn an_event_is_remembered_for_35_days_and_its_facts_for_ever() {
    let mut scene = Scene::new();
    let first = event("evt_1", "charge.succeeded", &charge());
    scene.feed(first.clone());
    scene.at(START + 35 * DAY - 1);
    scene.feed(quiet(2));
    assert_eq!(seen::arrival(&scene.bench.state, &first).unwrap(), seen::Arrival::Repeat);
    scene.at(START + 36 * DAY);
    scene.feed(quiet(3));
    assert_eq!(seen::arrival(&scene.bench.state, &first).unwrap(), seen::Arrival::First);
    assert_eq!(scene.feed(first), []);
}

#[test]
fn forgetting_is_spread_over_the_records_that_follow_and_forgets_everything_old() {
    let mut scene = Scene::new();
    for number in 0..200 {
        scene.feed(quiet(number));
    }
    scene.at(START + 36 * DAY);
    let known = |scene: &Scene| {
        let arrival = |number| seen::arrival(&scene.bench.state, &quiet(number)).unwrap();
        (0..200).filter(|number| arrival(*number) == seen::Arrival::Repeat).count()
    };
    for (number, left) in [(1_000, 136), (1_001, 72), (1_002, 8), (1_003, 0)] {
        scene.feed(quiet(number));
        assert_eq!(known(&scene), left);
    }
}
