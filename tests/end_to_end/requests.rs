//! Requests that break a rule: each is answered with a problem document that names the field and the remedy, and the log
//! holds afterwards exactly what it held before.

use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use crate::{
    api::{Answer, Api},
    chain::TestChain,
    devchain::Development,
    settings::Settings,
    shop::{self, Shop},
    streambook::Streambook,
};

/// Checks that an answer is a complete problem document.
#[track_caller]
pub(crate) fn is_problem(what: &str, answer: &Answer, status: u16, field: Option<&str>) {
    let body = &answer.body;
    assert_eq!(answer.status, status, "{what}: {body}");
    assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{what}");
    assert_eq!(body["status"], status, "{what}: {body}");
    assert_eq!(body["field"].as_str(), field, "{what}: {body}");
    assert!(body["code"].as_str().is_some_and(|code| !code.is_empty()), "{what}: {body}");
    assert!(body["type"].as_str().is_some_and(|link| link.starts_with("https://")), "{what}: {body}");
    assert!(body["detail"].as_str().is_some_and(|detail| detail.len() > 15), "{what}: no remedy: {body}");
    assert!(body["request_id"].as_str().is_some(), "{what}: {body}");
    assert_eq!(answer.header("x-request-id"), body["request_id"].as_str(), "{what}");
}

/// A request that must be refused.
struct Refused {
    what: String,
    request: RequestBuilder,
    status: u16,
    field: Option<&'static str>,
}

/// Requests to be refused, by one caller.
struct Refusals<'a> {
    api: &'a Api,
    list: Vec<Refused>,
}

impl Refusals<'_> {
    fn add(&mut self, what: &str, request: RequestBuilder, status: u16, field: Option<&'static str>) {
        self.list.push(Refused { what: what.to_owned(), request, status, field });
    }

    fn get(&mut self, path: &str, status: u16, field: Option<&'static str>) {
        self.add(path, self.api.request(Method::GET, path), status, field);
    }

    fn post(&mut self, path: &str, body: &Value, status: u16, field: Option<&'static str>) {
        let what = format!("{path} {}", body.to_string().chars().take(120).collect::<String>());
        self.add(&what, self.api.request(Method::POST, path).json(body), status, field);
    }

    /// A good payment with these members instead of the good ones; null takes one out.
    fn payment(&mut self, changed: &Value, field: &'static str) {
        let mut body = good();
        for (name, value) in changed.as_object().unwrap() {
            match value {
                Value::Null => drop(body.as_object_mut().unwrap().remove(name)),
                value => body[name] = value.clone(),
            }
        }
        self.post("/v1/payments", &body, 422, Some(field));
    }

    fn raw(&mut self, what: &str, body: impl Into<reqwest::Body>, status: u16, field: Option<&'static str>) {
        let request =
            self.api.request(Method::POST, "/v1/payments").header("Content-Type", "application/json");
        self.add(what, request.body(body), status, field);
    }

    async fn send(self) {
        for Refused { what, request, status, field } in self.list {
            is_problem(&what, &self.api.send(request).await, status, field);
        }
    }
}

fn good() -> Value {
    json!({ "amount": "12.50", "asset": "usdc:31337", "method": "chain", "reference_id": "ORDER_1", "metadata": {} })
}

fn fields(refusals: &mut Refusals<'_>) {
    for amount in ["0", "-1", "0.0000001", "abc", "", "1e3", "1,5", " 1", "1.", "NaN"] {
        refusals.payment(&json!({ "amount": amount }), "amount");
    }
    refusals.payment(&json!({ "amount": "9".repeat(60) }), "amount");
    refusals.payment(&json!({ "amount": 12.5 }), "amount");
    refusals.payment(&json!({ "amount": null }), "amount");
    for asset in ["usdc:1", "usdc", "USDC:31337", "usdc:31337x", ""] {
        refusals.payment(&json!({ "asset": asset }), "asset");
    }
    refusals.payment(&json!({ "asset": "usd" }), "asset");
    refusals.payment(&json!({ "method": "card" }), "asset");
    refusals.payment(&json!({ "method": "cash" }), "method");
    refusals.payment(&json!({ "expires_in": 59 }), "expires_in");
    refusals.payment(&json!({ "expires_in": 604_801 }), "expires_in");
    refusals.payment(&json!({ "expires_in": "soon" }), "expires_in");
    refusals.payment(&json!({ "reference_id": "r".repeat(201) }), "reference_id");
    refusals.payment(&json!({ "description": "d".repeat(1_001) }), "description");
    refusals.payment(&json!({ "description": "a\u{0}b" }), "description");
    refusals.payment(&json!({ "metadata": { "a": 1 } }), "metadata.a");
    refusals.payment(&json!({ "metadata": { "k".repeat(41): "v" } }), "metadata");
    let many: serde_json::Map<_, _> = (0..51).map(|n| (n.to_string(), json!("v"))).collect();
    refusals.payment(&json!({ "metadata": many }), "metadata");
    refusals.payment(&json!({ "colour": "blue" }), "colour");
}

fn bodies(refusals: &mut Refusals<'_>) {
    refusals.raw("half a body", "{\"amount\": ", 400, None);
    refusals.raw("a list", r#"["1", "usdc:31337", "chain", null, null, {}, null]"#, 422, None);
    refusals.raw("twice", r#"{"amount":"1","amount":"2","asset":"usdc:31337"}"#, 422, Some("amount"));
    refusals.raw("not text", vec![b'"', 0xff, 0xfe, b'"'], 400, None);
    refusals.raw("deep", format!("{}{}", "[".repeat(10_000), "]".repeat(10_000)), 400, None);
    refusals.raw("too large", format!("{{\"description\": \"{}\"}}", "x".repeat(70_000)), 413, None);
    let xml =
        refusals.api.request(Method::POST, "/v1/payments").header("Content-Type", "text/xml").body("<a/>");
    refusals.add("another type", xml, 415, Some("Content-Type"));
    for key in ["k".repeat(256), String::new()] {
        let request = refusals.api.request(Method::POST, "/v1/payments").json(&good());
        refusals.add(
            "an idempotency key",
            request.header("Idempotency-Key", key),
            422,
            Some("Idempotency-Key"),
        );
    }
}

fn endpoints(refusals: &mut Refusals<'_>) {
    let mut url = |url: &str| {
        refusals.post("/v1/webhook-endpoints", &json!({ "url": url, "events": ["*"] }), 422, Some("url"));
    };
    for inside in
        ["http://example.com/hook", "https://10.0.0.1/", "https://192.168.1.1/", "https://169.254.169.254/"]
    {
        url(inside);
    }
    for wrong in ["https://[::1]/", "ftp://example.com/", "not an address", "https://user:pass@example.com/"]
    {
        url(wrong);
    }
    let events = |events: Value| json!({ "url": "https://example.com/hook", "events": events });
    refusals.post("/v1/webhook-endpoints", &events(json!([])), 422, Some("events"));
    refusals.post(
        "/v1/webhook-endpoints",
        &events(json!(["payment.created", "nope"])),
        422,
        Some("events[1]"),
    );
}

fn lists(refusals: &mut Refusals<'_>) {
    for list in ["payments", "events", "ledger/transactions", "webhook-endpoints"] {
        refusals.get(&format!("/v1/{list}?limit=0"), 422, Some("limit"));
        refusals.get(&format!("/v1/{list}?limit=101"), 422, Some("limit"));
        refusals.get(&format!("/v1/{list}?cursor=garbage"), 422, Some("cursor"));
        refusals.get(&format!("/v1/{list}?colour=blue"), 422, Some("colour"));
    }
    refusals.get("/v1/payments?status=happy", 422, Some("status"));
    refusals.get("/v1/payments?limit=1&limit=2", 422, Some("limit"));
    refusals.get("/v1/events?type=nope", 422, Some("type"));
    refusals.get("/v1/ledger/transactions?payment=nope", 422, Some("payment"));
    refusals.get("/v1/payments/nope", 404, None);
    refusals.get("/v1/payments/pay_00000000000000000000000000000000", 404, None);
    refusals.get("/v1/nothing", 404, None);
    let refund = json!({ "payment": "pay_00000000000000000000000000000000", "destination": "0x0" });
    refusals.post("/v1/refunds", &refund, 404, None);
    let delete = refusals.api.request(Method::DELETE, "/v1/payments");
    refusals.add("a method that is not there", delete, 405, None);
}

/// What a merchant's key may not do.
fn authority(refusals: &mut Refusals<'_>, other: &Shop) {
    refusals.post("/v1/merchants", &json!({ "name": "mine" }), 403, None);
    let own = json!({ "merchant": other.id, "scopes": ["read"], "mode": "live" });
    refusals.post("/v1/api-keys", &own, 403, None);
    refusals.get("/v1/api-keys", 403, None);
    let request = refusals.api.request(Method::POST, "/v1/payments").json(&good());
    let named = request.header("Streambook-Merchant", &other.id);
    refusals.add("in another merchant's name", named, 403, Some("Streambook-Merchant"));
}

async fn without_authority(anyone: &Api, reader: &Api, admin: &Api) {
    let mut refusals = Refusals { api: anyone, list: Vec::new() };
    refusals.post("/v1/payments", &good(), 401, Some("Authorization"));
    refusals.post("/v1/merchants", &json!({ "name": "mine" }), 401, Some("Authorization"));
    for value in ["Bearer sk_test_00000000000000000000000000000000", "Bearer", "Basic c2s6", "sk_test_x"] {
        let request =
            anyone.request(Method::POST, "/v1/payments").json(&good()).header("Authorization", value);
        refusals.add(value, request, 401, Some("Authorization"));
    }
    refusals.send().await;
    let mut refusals = Refusals { api: reader, list: Vec::new() };
    refusals.post("/v1/payments", &good(), 403, None);
    refusals.post(
        "/v1/webhook-endpoints",
        &json!({ "url": "https://example.com", "events": ["*"] }),
        403,
        None,
    );
    let refund = json!({ "payment": "pay_00000000000000000000000000000000" });
    refusals.post("/v1/refunds", &refund, 403, None);
    refusals.send().await;
    let mut refusals = Refusals { api: admin, list: Vec::new() };
    refusals.post("/v1/payments", &good(), 422, Some("Streambook-Merchant"));
    refusals.post("/v1/merchants", &json!({ "name": "" }), 422, Some("name"));
    refusals.post("/v1/merchants", &json!({ "name": "n".repeat(201) }), 422, Some("name"));
    let key =
        |merchant: Value, scopes: Value| json!({ "merchant": merchant, "scopes": scopes, "mode": "test" });
    refusals.post("/v1/api-keys", &key(Value::Null, json!(["read"])), 422, Some("merchant"));
    refusals.post(
        "/v1/api-keys",
        &key(json!("mer_00000000000000000000000000000000"), json!(["read"])),
        422,
        Some("merchant"),
    );
    refusals.post("/v1/api-keys", &key(Value::Null, json!([])), 422, Some("scopes"));
    refusals.post("/v1/api-keys", &key(Value::Null, json!(["all"])), 422, Some("scopes[0]"));
    refusals.send().await;
}

#[tokio::test]
async fn a_request_that_breaks_a_rule_is_refused_with_its_field_and_appends_nothing() {
    let chain = Development::start().await.unwrap();
    let mut streambook = Streambook::start(Settings::on(&chain)).await;
    streambook.until_ready().await;
    let (shop, other) = (Shop::open(&streambook, "one").await, Shop::open(&streambook, "two").await);
    let admin = streambook.admin();
    let reader = streambook.api().with_key(&shop::key(&admin, &shop.id, &["read"], "test").await);
    shop.ask("1", 600).await;
    let before = streambook.records().await;

    let mut refusals = Refusals { api: &shop.api, list: Vec::new() };
    fields(&mut refusals);
    bodies(&mut refusals);
    endpoints(&mut refusals);
    lists(&mut refusals);
    authority(&mut refusals, &other);
    refusals.send().await;
    without_authority(&streambook.api(), &reader, &admin).await;
    let large = json!({ "description": "x".repeat(70_000) });
    for api in [&shop.api, &streambook.api()] {
        let refused = api.post("/v1/payments", &large).await;
        // Its body was not read to its end, so the connection cannot be used again, and the caller must know.
        assert_eq!(refused.header("connection"), Some("close"), "{}", refused.body);
    }

    let after = streambook.records().await;
    for (topic, count) in &after {
        // Each start states the settings once more, and the registry drops what has not changed.
        let started = u64::from(topic == "registry.inbox");
        assert_eq!(*count, before[topic] + started, "{topic}");
    }
    streambook.stop_and_verify().await;
}

#[tokio::test]
async fn what_the_book_refuses_is_a_problem_document_too() {
    let chain = Development::start().await.unwrap();
    let streambook = Streambook::start(Settings::on(&chain)).await;
    streambook.until_ready().await;
    let shop = Shop::open(&streambook, "shop").await;
    let payment = shop.ask("1", 600).await;
    let nobodys = "/v1/payments/pay_00000000000000000000000000000000/cancel";
    is_problem("cancel nothing", &shop.api.post(nobodys, &json!({})).await, 404, None);
    let accept = format!("/v1/payments/{}/accept", payment.id);
    is_problem("accept nothing", &shop.api.post(&accept, &json!({})).await, 409, None);
    let refund = json!({ "payment": payment.id, "amount": "1", "destination": payment.address });
    is_problem("refund nothing", &shop.api.post("/v1/refunds", &refund).await, 409, None);
    let settlement = json!({ "name": "odd", "settlement": "barter" });
    is_problem(
        "no such templates",
        &streambook.admin().post("/v1/merchants", &settlement).await,
        422,
        Some("settlement"),
    );
    streambook.stop_and_verify().await;
}
