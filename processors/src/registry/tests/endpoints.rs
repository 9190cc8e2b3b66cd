use streambook_log::partitioner::partition_of;
use streambook_model::topics::SHARDS;

use super::*;

fn deleted(name: &str) -> Endpoint {
    Endpoint { deleted_at: Some(Timestamp::from_millis(START + 1)), ..endpoint(name) }
}

#[test]
fn a_new_endpoint_is_told_to_everybody_and_to_its_merchants_book_with_its_secrets_still_sealed() {
    let mut scene = Scene::with_shop();
    let outcome = scene.endpoint(&endpoint("a"));
    assert_eq!(outcome.topics(), ["registry.events", "book.inbox"]);
    let book = partition_of(merchant("shop").id.to_string().as_bytes(), SHARDS);
    assert_eq!(outcome.said[1].0.partition, book);
    for (_, said) in &outcome.said {
        assert!(
            matches!(said, Message::EndpointChanged(changed) if changed.endpoint == endpoint("a")),
            "{said:?}"
        );
    }
    assert_eq!(outcome.accepted().endpoint, Some(endpoint("a")));
}

#[test]
fn an_endpoint_of_an_unknown_merchant_is_refused() {
    Scene::new().endpoint(&endpoint("a")).refused("unknown_merchant", 422, Some("merchant"));
}

#[test]
fn its_events_must_be_known_by_name_or_be_all() {
    let mut scene = Scene::with_shop();
    let wants =
        |events: &[&str]| Endpoint { events: events.iter().map(|&e| e.into()).collect(), ..endpoint("a") };
    scene.endpoint(&wants(&["payment.completed", "payment.sneezed"])).refused(
        "unknown_event",
        422,
        Some("events"),
    );
    scene.endpoint(&wants(&["payment.*"])).refused("unknown_event", 422, Some("events"));
    scene.endpoint(&wants(&[])).refused("events_missing", 422, Some("events"));
    scene.endpoint(&wants(&["*"])).accepted();
    scene.endpoint(&wants(&["payment.paid_late", "payment.reversed"])).accepted();
}

#[test]
fn it_has_one_secret_or_two_during_a_rotation() {
    let mut scene = Scene::with_shop();
    let with = |count| Endpoint { secrets: vec![endpoint("a").secrets[0].clone(); count], ..endpoint("a") };
    scene.endpoint(&with(0)).refused("secrets_out_of_range", 422, Some("secrets"));
    scene.endpoint(&with(3)).refused("secrets_out_of_range", 422, Some("secrets"));
    assert_eq!(scene.endpoint(&with(2)).accepted().endpoint.unwrap().secrets.len(), 2);
}

#[test]
fn it_can_change_and_be_disabled_and_the_same_again_says_nothing() {
    let mut scene = Scene::with_shop();
    scene.endpoint(&endpoint("a")).accepted();
    let disabled = Endpoint { disabled: Some("gone (410)".into()), ..endpoint("a") };
    assert_eq!(scene.endpoint(&disabled).said.len(), 2);
    let again = scene.endpoint(&disabled);
    assert!(again.said.is_empty());
    assert_eq!(again.accepted().endpoint, Some(disabled));
}

#[test]
fn a_deleted_endpoint_stays_as_it_is() {
    let mut scene = Scene::with_shop();
    scene.endpoint(&endpoint("a")).accepted();
    assert_eq!(scene.endpoint(&deleted("a")).said.len(), 2);
    scene.endpoint(&endpoint("a")).refused("endpoint_deleted", 409, Some("id"));
    let later = Endpoint { url: "https://elsewhere.example".into(), ..deleted("a") };
    let again = scene.endpoint(&later);
    assert!(again.said.is_empty());
    assert_eq!(again.accepted().endpoint, Some(deleted("a")));
}

#[test]
fn what_never_was_cannot_be_deleted_and_another_merchants_or_modes_endpoint_is_unknown() {
    let mut scene = Scene::with_shop();
    scene.merchant(&merchant("other")).accepted();
    scene.endpoint(&deleted("never")).refused("unknown_endpoint", 404, Some("id"));
    scene.endpoint(&endpoint("a")).accepted();
    let stolen = Endpoint { merchant: merchant("other").id, ..endpoint("a") };
    scene.endpoint(&stolen).refused("unknown_endpoint", 404, Some("id"));
    let live = Endpoint { livemode: true, ..endpoint("a") };
    scene.endpoint(&live).refused("unknown_endpoint", 404, Some("id"));
}

#[test]
fn a_merchant_has_at_most_20_endpoints_and_deleting_one_makes_room() {
    let mut scene = Scene::with_shop();
    scene.merchant(&merchant("other")).accepted();
    for number in 0..20 {
        scene.endpoint(&endpoint(&format!("e{number}"))).accepted();
    }
    scene.endpoint(&endpoint("more")).refused("too_many_endpoints", 409, Some("merchant"));
    scene.endpoint(&Endpoint { merchant: merchant("other").id, ..endpoint("theirs") }).accepted();
    scene.endpoint(&deleted("e3")).accepted();
    scene.endpoint(&endpoint("more")).accepted();
}
