use super::*;

#[test]
fn the_same_idempotency_key_and_request_is_carried_out_once_and_answered_with_the_first_result() {
    let mut scene = Scene::new();
    scene.idempotent("k1", 1);
    scene.merchant(&merchant("shop")).accepted();
    // A retry through another API instance mints another id.
    let retried = scene.merchant_once(&Merchant { id: MerchantId::derive(&[b"second"]), ..merchant("shop") });
    assert!(retried.said.is_empty());
    let reply = retried.reply.unwrap();
    assert_eq!((reply.outcome, reply.merchant), (CommandOutcome::Replayed, Some(merchant("shop"))));
}

#[test]
fn the_first_result_is_answered_even_after_the_thing_has_changed() {
    let mut scene = Scene::new();
    scene.idempotent("k1", 1);
    scene.merchant(&merchant("shop")).accepted();
    scene.administrator.idempotency = None;
    scene.merchant(&Merchant { name: "new".into(), ..merchant("shop") }).accepted();
    scene.idempotent("k1", 1);
    assert_eq!(scene.merchant_once(&merchant("shop")).reply.unwrap().merchant, Some(merchant("shop")));
}

#[test]
fn the_same_key_for_another_request_is_a_conflict() {
    let mut scene = Scene::new();
    scene.idempotent("k1", 1);
    scene.merchant(&merchant("shop")).accepted();
    scene.idempotent("k1", 2);
    scene.merchant(&merchant("other")).refused("idempotency_key_reused", 409, Some("Idempotency-Key"));
}

#[test]
fn two_administrators_keys_do_not_meet() {
    let mut scene = Scene::new();
    scene.idempotent("k1", 1);
    scene.merchant(&merchant("shop")).accepted();
    scene.administrator.key = Some(ApiKeyId::derive(&[b"other"]));
    scene.idempotent("k1", 2);
    scene.merchant(&merchant("other")).accepted();
}

#[test]
fn a_key_is_free_again_after_24_hours() {
    let mut scene = Scene::new();
    scene.idempotent("k1", 1);
    scene.merchant(&merchant("shop")).accepted();
    scene.idempotent("k1", 2);
    scene.bench.at(START + 24 * HOUR - 1);
    scene.merchant(&merchant("other")).refused("idempotency_key_reused", 409, Some("Idempotency-Key"));
    scene.bench.at(START + 24 * HOUR);
    scene.merchant(&merchant("other")).accepted();
}

#[test]
fn a_refused_request_leaves_its_key_free() {
    let mut scene = Scene::new();
    scene.idempotent("k1", 1);
    scene.key(&key("a")).refused("unknown_merchant", 422, Some("merchant"));
    scene.idempotent("k1", 2);
    scene.merchant(&merchant("shop")).accepted();
}

#[test]
fn a_record_that_is_appended_again_after_a_later_change_does_not_take_it_back() {
    let mut scene = Scene::with_shop();
    let (meta, administrator) = (scene.bench.meta(), scene.administrator.clone());
    let first =
        PutMerchant { meta, administrator, merchant: Merchant { name: "first".into(), ..merchant("shop") } };
    scene.twice(first.clone()).accepted();
    scene.merchant(&Merchant { name: "second".into(), ..merchant("shop") }).accepted();
    assert!(scene.feed(first.clone()).said.is_empty());
    let other = PutMerchant { merchant: merchant("other"), ..first };
    scene.feed(other).refused("request_id_reused", 409, None);
    let unchanged = scene.merchant(&Merchant { name: "second".into(), ..merchant("shop") });
    assert!(unchanged.said.is_empty(), "the second name stands");
}

#[test]
fn old_requests_are_forgotten() {
    let mut scene = Scene::with_shop();
    for number in 0..50 {
        scene.idempotent(&format!("k{number}"), 1);
        scene.key(&key(&format!("k{number}"))).accepted();
    }
    let before = super::super::requests::remembered(&scene.bench.state);
    assert_eq!(before, 101);
    scene.administrator.idempotency = None;
    scene.bench.at(START + 25 * HOUR);
    for number in 0..8 {
        scene.merchant(&merchant(&format!("m{number}"))).accepted();
    }
    assert_eq!(super::super::requests::remembered(&scene.bench.state), 8);
}

impl Scene {
    fn merchant_once(&mut self, merchant: &Merchant) -> Outcome {
        let (meta, administrator) = (self.bench.meta(), self.administrator.clone());
        self.feed(PutMerchant { meta, administrator, merchant: merchant.clone() })
    }
}
