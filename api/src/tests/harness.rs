//! One API over a log and a database in a temporary folder, and what a test asks of it.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::ConnectInfo,
    http::{HeaderMap, Method, Request, StatusCode},
};
use serde_json::Value;
use streambook_log::{
    Log, Partition, ReadLimit, Retention, TopicPartition, TopicSpec, Visibility,
    embedded::{EmbeddedLog, EmbeddedOptions},
};
use streambook_model::{
    asset::Asset,
    bytes::{Address, ContentHash},
    chain::{ChainId, ConfirmationPolicy},
    id::{ApiKeyId, MerchantId},
    message::Message,
    records::{
        registry::{ApiKey, ApiKeyChanged, Merchant, MerchantChanged, Scope},
        settings::{ChainSettings, FeeSchedule, Settings},
        stripe::StripeEvent,
    },
    topics::{self, REGISTRY_EVENTS},
};
use streambook_runtime::{health::Health, publisher::Publisher, secrets::SecretKey, sink_runner::SinkRunner};
use streambook_sinks::sql::{SqlConfig, SqlSink};
use tempfile::TempDir;
use tokio_util::sync::{CancellationToken, DropGuard};
use tower::ServiceExt;

use super::processors::{NOW, Processor, meta};
use crate::{
    ApiConfig, ApiParts, ApiState, IngestRefusal, Reading, StripeIngest, Surface, auth::hash_of, router,
};

pub(super) const ADMIN: &str = "sk_test_admin";
pub(super) const SHOP: &str = "sk_test_shop";
pub(super) const SHOP_LIVE: &str = "sk_live_shop";
pub(super) const READER: &str = "sk_test_reader";
pub(super) const OTHER: &str = "sk_test_other";
pub(super) const REVOKED: &str = "sk_test_revoked";

pub(super) struct Api {
    router: Router,
    pub(super) log: Arc<dyn Log>,
    pub(super) health: Health,
    pub(super) shop: MerchantId,
    pub(super) state: ApiState,
    silent: Arc<AtomicBool>,
    stopping: CancellationToken,
    _stop: DropGuard,
    _folder: TempDir,
}

pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) text: String,
    pub(super) bytes: Vec<u8>,
}

impl Answer {
    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// Status, code and field of a problem, after checking that it is a whole problem document.
    pub(super) fn problem(&self) -> (u16, String, String) {
        let json = self.json();
        assert_eq!(self.header("content-type"), "application/problem+json", "{}", self.text);
        assert_eq!(json["status"], self.status.as_u16());
        assert_eq!(json["request_id"], self.header("x-request-id"));
        assert!(json["type"].as_str().unwrap().ends_with(json["code"].as_str().unwrap()));
        assert!(!json["detail"].as_str().unwrap().is_empty() && !json["title"].as_str().unwrap().is_empty());
        let text = |name: &str| json[name].as_str().unwrap_or_default().to_owned();
        (self.status.as_u16(), text("code"), text("field"))
    }
}

/// A request in the making.
pub(super) struct Ask {
    request: axum::http::request::Builder,
    body: Body,
}

impl Ask {
    pub(super) fn new(method: Method, path: &str) -> Self {
        let peer = ConnectInfo(SocketAddr::from(([127, 0, 0, 1], 9)));
        Self { request: Request::builder().method(method).uri(path).extension(peer), body: Body::empty() }
    }

    pub(super) fn get(path: &str) -> Self {
        Self::new(Method::GET, path)
    }

    pub(super) fn post(path: &str, json: &str) -> Self {
        Self::new(Method::POST, path).header("content-type", "application/json").body(json.to_owned())
    }

    pub(super) fn key(self, key: &str) -> Self {
        self.header("authorization", &format!("Bearer {key}"))
    }

    pub(super) fn header(self, name: &str, value: &str) -> Self {
        Self { request: self.request.header(name, value), ..self }
    }

    pub(super) fn method(self, method: Method) -> Self {
        Self { request: self.request.method(method), ..self }
    }

    pub(super) fn body(self, body: impl Into<Body>) -> Self {
        Self { body: body.into(), ..self }
    }
}

impl Api {
    pub(super) async fn start() -> Self {
        Self::with(|_| {}).await
    }

    /// An API with other settings.
    pub(super) async fn with(change: impl FnOnce(&mut ApiConfig)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let log: Arc<dyn Log> = EmbeddedLog::open(EmbeddedOptions::new(folder.path().join("log"))).unwrap();
        for topic in topics::ALL {
            let spec = TopicSpec {
                name: topic.topic(),
                partitions: topic.partitions,
                retention: Retention::Forever,
            };
            log.ensure_topic(&spec).await.unwrap();
        }
        let (shop, other) = (MerchantId::derive(&[b"shop"]), MerchantId::derive(&[b"other"]));
        fill_registry(&log, shop, other).await;
        let (health, stop, silent) =
            (Health::default(), CancellationToken::new(), Arc::new(AtomicBool::new(false)));
        tokio::spawn(Processor::new(&log, &silent).run_registry());
        tokio::spawn(Processor::new(&log, &silent).run_book(shop));
        let sink = SqlSink::open(&SqlConfig::at(&folder.path().join("sql.db"))).await.unwrap();
        let (reads, progress) = (sink.reads(), sink.progress());
        let clock: streambook_runtime::clock::Clock = Arc::new(|| NOW);
        let runner =
            SinkRunner::new(Arc::clone(&log), sink, ReadLimit::default(), Arc::clone(&clock), health.clone());
        tokio::spawn(runner.run(stop.clone()));
        let mut config = ApiConfig::default();
        change(&mut config);
        let parts = ApiParts {
            config,
            log: Arc::clone(&log),
            surface: Surface { api: true, stripe: true },
            reading: Some(Reading { reads, progress }),
            clock,
            health: health.clone(),
            secret_key: SecretKey::from_bytes(&[7; 32]),
            allowed_networks: vec!["127.0.0.0/8".parse().unwrap()],
            stripe: Some(stripe()),
            metrics: Arc::new(|| "streambook_up 1\n".to_owned()),
            instance: Partition(0),
        };
        let state = ApiState::start(parts, &stop).await.unwrap();
        let api = Self {
            router: router(state.clone()),
            log,
            health,
            shop,
            state,
            silent,
            stopping: stop.clone(),
            _stop: stop.drop_guard(),
            _folder: folder,
        };
        api.until_ready().await;
        api
    }

    async fn until_ready(&self) {
        let caught_up = async {
            while !self.state.registry().is_caught_up() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(10), caught_up)
            .await
            .expect("the registry is read");
    }

    /// Leaves commands unanswered from now on.
    pub(super) fn silence(&self) {
        self.silent.store(true, Ordering::SeqCst);
    }

    /// Stops the tasks behind the handlers.
    pub(super) fn stop(&self) {
        self.stopping.cancel();
    }

    pub(super) async fn ask(&self, ask: Ask) -> Answer {
        Self::ask_router(&self.router, ask).await
    }

    pub(super) async fn ask_router(router: &Router, ask: Ask) -> Answer {
        let response = router.clone().oneshot(ask.request.body(ask.body).unwrap()).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = to_bytes(body, 1 << 22).await.unwrap();
        Answer {
            status: parts.status,
            headers: parts.headers,
            text: String::from_utf8_lossy(&bytes).into_owned(),
            bytes: bytes.to_vec(),
        }
    }

    /// How many records all the inboxes hold.
    pub(super) async fn appended(&self) -> u64 {
        let mut records = 0;
        for topic in [topics::BOOK_INBOX, topics::REGISTRY_INBOX, topics::STRIPE_INBOX] {
            for number in 0..topic.partitions {
                let partition = TopicPartition::new(topic.topic(), Partition(number));
                records += self.log.bounds(&partition, Visibility::Written).await.unwrap().end.0;
            }
        }
        records
    }

    /// A payment of the shop's, created through the API.
    pub(super) async fn payment(&self) -> String {
        let answer = self.ask(Ask::post("/v1/payments", PAYMENT).key(SHOP)).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text);
        answer.json()["id"].as_str().unwrap().to_owned()
    }
}

pub(super) const PAYMENT: &str = r#"{"amount": "12.50", "asset": "usdc:31337", "reference_id": "ORDER_1"}"#;

async fn fill_registry(log: &Arc<dyn Log>, shop: MerchantId, other: MerchantId) {
    let publisher = Publisher::new(Arc::clone(log));
    let settings =
        streambook_model::records::registry::SettingsChanged { meta: meta(None), settings: settings() };
    let mut records: Vec<Message> = vec![settings.into()];
    for (id, name) in [(shop, "shop"), (other, "other")] {
        let merchant = Merchant {
            id,
            name: name.into(),
            settlement: "custodial".into(),
            created_at: NOW,
            addresses: Vec::new(),
            tolerance: None,
        };
        records.push(MerchantChanged { meta: meta(None), merchant }.into());
    }
    let all = vec![Scope::Read, Scope::Write, Scope::Refund];
    let keys = [
        (ADMIN, None, vec![Scope::Admin]),
        (SHOP, Some(shop), all.clone()),
        (SHOP_LIVE, Some(shop), all.clone()),
        (READER, Some(shop), vec![Scope::Read]),
        (OTHER, Some(other), all.clone()),
        (REVOKED, Some(shop), all),
    ];
    for (secret, merchant, scopes) in keys {
        let api_key = ApiKey {
            id: ApiKeyId::derive(&[secret.as_bytes()]),
            merchant,
            scopes,
            livemode: secret.starts_with("sk_live_"),
            key_hash: hash_of(secret),
            hint: String::new(),
            created_at: NOW,
            revoked_at: (secret == REVOKED).then_some(NOW),
        };
        records.push(ApiKeyChanged { meta: meta(None), api_key }.into());
    }
    let written = publisher.publish_all(REGISTRY_EVENTS, b"", &records).await.unwrap();
    // The API reads what is synced: without the wait it may find the registry empty, and every key unknown.
    publisher.synced(&written, REGISTRY_EVENTS).await.unwrap();
}

fn settings() -> Settings {
    let asset = |id: &str, scale, contract| Asset { id: id.parse().unwrap(), scale, contract };
    Settings {
        version: 1,
        assets: vec![asset("usdc:31337", 6, Some(Address::new([1; 20])))],
        chains: vec![ChainSettings {
            id: ChainId(31_337),
            policy: ConfirmationPolicy { depth: Some(3) },
            look_back_seconds: 86_400,
        }],
        fee: FeeSchedule { parts_per_million: 5_000 },
        xpub: None,
        postings: "[custodial]\n[direct]\n".to_owned(),
        tiers: Vec::new(),
        exact_amount_grace_seconds: 86_400,
    }
}

/// Takes bodies signed `good`; `ignored` ones need no processing.
fn stripe() -> StripeIngest {
    Arc::new(|signature, body, now| match signature {
        "good" => Ok(Some((b"pi_1".to_vec(), stripe_event(body, now)))),
        "ignored" => Ok(None),
        _ => Err(IngestRefusal {
            status: 400,
            code: "invalid_signature",
            detail: "check the signing secret".into(),
        }),
    })
}

fn stripe_event(body: &[u8], now: streambook_model::time::Timestamp) -> StripeEvent {
    StripeEvent {
        meta: meta(None),
        event: "evt_1".into(),
        event_type: "charge.succeeded".into(),
        family: "pi_1".into(),
        livemode: false,
        created: now,
        content_hash: ContentHash::ZERO,
        payload: String::from_utf8_lossy(body).into_owned(),
    }
}
