use super::*;

fn revoked(name: &str, millis: i64) -> ApiKey {
    ApiKey { revoked_at: Some(Timestamp::from_millis(millis)), ..key(name) }
}

#[test]
fn a_new_key_is_told_to_everybody_but_not_to_the_books() {
    let mut scene = Scene::with_shop();
    let outcome = scene.key(&key("a"));
    assert_eq!(outcome.topics(), ["registry.events"]);
    assert!(matches!(&outcome.said[0].1, Message::ApiKeyChanged(changed) if changed.api_key == key("a")));
    assert_eq!(outcome.accepted().api_key, Some(key("a")));
}

#[test]
fn a_key_of_an_unknown_merchant_is_refused_and_an_operators_key_needs_none() {
    let mut scene = Scene::new();
    scene.key(&key("a")).refused("unknown_merchant", 422, Some("merchant"));
    let operator = ApiKey { merchant: None, scopes: vec![Scope::Admin], ..key("o") };
    assert_eq!(scene.key(&operator).accepted().api_key, Some(operator));
}

#[test]
fn a_key_needs_scopes_and_a_merchants_key_is_never_the_operators() {
    let mut scene = Scene::with_shop();
    scene.key(&ApiKey { scopes: vec![], ..key("a") }).refused("scopes_missing", 422, Some("scopes"));
    let admin = ApiKey { scopes: vec![Scope::Read, Scope::Admin], ..key("a") };
    scene.key(&admin).refused("scope_not_allowed", 422, Some("scopes"));
}

#[test]
fn a_key_is_revoked_once_and_for_ever() {
    let mut scene = Scene::with_shop();
    scene.key(&key("a")).accepted();
    assert_eq!(scene.key(&revoked("a", START + 1)).said.len(), 1);
    let again = scene.key(&revoked("a", START + 2));
    assert!(again.said.is_empty());
    assert_eq!(again.accepted().api_key, Some(revoked("a", START + 1)));
    scene.key(&key("a")).refused("api_key_revoked", 409, Some("revoked_at"));
}

#[test]
fn nothing_else_of_a_key_can_change_and_another_merchants_key_is_unknown() {
    let mut scene = Scene::with_shop();
    scene.merchant(&merchant("other")).accepted();
    scene.key(&key("a")).accepted();
    for changed in [
        ApiKey { scopes: vec![Scope::Refund], ..key("a") },
        ApiKey { livemode: true, ..key("a") },
        ApiKey { key_hash: ContentHash::new([2; 32]), ..key("a") },
    ] {
        scene.key(&changed).refused("api_key_fixed", 409, None);
    }
    let stolen = ApiKey { merchant: Some(merchant("other").id), ..revoked("a", START) };
    scene.key(&stolen).refused("unknown_api_key", 404, Some("id"));
}

#[test]
fn a_merchant_has_at_most_100_live_keys_and_revoking_one_makes_room() {
    let mut scene = Scene::with_shop();
    for number in 0..100 {
        scene.key(&key(&format!("k{number}"))).accepted();
    }
    scene.key(&key("more")).refused("too_many_api_keys", 409, Some("merchant"));
    scene.key(&revoked("k7", START)).accepted();
    scene.key(&key("more")).accepted();
    scene.key(&key("still more")).refused("too_many_api_keys", 409, Some("merchant"));
}

#[test]
fn of_two_first_keys_the_one_that_came_first_counts() {
    let mut scene = Scene::new();
    scene.administrator.reply = None;
    let first = |name: &str| ApiKey { merchant: None, scopes: vec![Scope::Admin], ..key(name) };
    let said = scene.key(&first("one"));
    assert_eq!((said.topics(), said.letter.is_none()), (vec!["registry.events"], true));
    let said = scene.key(&first("two"));
    assert!(said.topics().is_empty());
    assert_eq!(said.letter.unwrap().code, "first_key_exists");
    // One that an administrator asks for is another.
    let mut asked = Scene::new();
    asked.key(&first("one")).accepted();
    asked.key(&first("two")).accepted();
}
