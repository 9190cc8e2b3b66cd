//! The real router over a log and a database in a temporary folder, without any processor behind it: a command that is
//! accepted is appended and answered with `202`. The API's own checks are all there is between a request and the log.

use std::{net::SocketAddr, num::NonZeroU32, sync::Arc};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::ConnectInfo,
    http::{HeaderValue, Request, StatusCode, request::Builder},
};
use serde_json::Value;
use sha2::{Digest, Sha256};
use streambook_api::{ApiConfig, ApiParts, ApiState, IngestRefusal, Reading, StripeIngest, Surface, router};
use streambook_connectors::stripe::{
    ingest::{Ingested, ingest},
    signature::Secrets,
};
use streambook_log::{
    Log, ReadLimit, Retention, TopicSpec, Visibility,
    embedded::{EmbeddedLog, EmbeddedOptions},
};
use streambook_model::{
    asset::Asset,
    bytes::{Address, ContentHash},
    chain::{ChainId, ConfirmationPolicy},
    codec,
    id::{ApiKeyId, MerchantId},
    message::Message,
    meta::Meta,
    position::{Offset, Partition, TopicPartition},
    records::{
        registry::{ApiKey, ApiKeyChanged, Merchant, MerchantChanged, Scope, SettingsChanged},
        settings::{ChainSettings, FeeSchedule, Settings},
    },
    time::Timestamp,
    topics::{self, REGISTRY_EVENTS, TopicDef},
};
use streambook_processors::book::ledger::BUILTIN_POSTINGS;
use streambook_runtime::{health::Health, publisher::Publisher, secrets::SecretKey};
use streambook_sinks::sql::{SqlConfig, SqlSink};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio_util::sync::{CancellationToken, DropGuard};
use tower::ServiceExt;

/// The key of a merchant that may do everything with its own.
pub const SHOP: &str = "sk_test_shop";
/// The operator's key.
pub const ADMIN: &str = "sk_test_admin";
/// Stripe's signing secret.
pub const STRIPE_SECRET: &str = "whsec_fuzz";
/// The clock.
pub const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);
/// Where commands and events go.
const INBOXES: [TopicDef; 3] = [topics::BOOK_INBOX, topics::REGISTRY_INBOX, topics::STRIPE_INBOX];

/// A running API.
pub struct Server {
    runtime: Runtime,
    router: Router,
    log: Arc<dyn Log>,
    /// How far each inbox has been read.
    read: Vec<(TopicPartition, Offset)>,
    // Dropped last to first would close the folder under the log.
    _stop: DropGuard,
    _folder: TempDir,
}

/// What a request was answered with.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The content type.
    pub content_type: String,
    /// The body.
    pub body: Vec<u8>,
}

impl Answer {
    /// The body as JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// What holds of every answer: no server error, JSON, and of an error that it says what is wrong and where.
    pub fn check(&self) {
        assert!(!self.status.is_server_error(), "{} {}", self.status, String::from_utf8_lossy(&self.body));
        if !self.status.is_client_error() {
            return;
        }
        let document = self.json();
        let text = |name: &str| document.get(name).and_then(Value::as_str).unwrap_or_default();
        assert_eq!(self.content_type, "application/problem+json", "{document}");
        assert!(!text("code").is_empty() && !text("detail").is_empty(), "{document}");
        assert!(
            text("code") != "invalid_field" || !text("field").is_empty(),
            "no field is named: {document}"
        );
    }
}

impl Server {
    /// Starts an API with a merchant, its key and the operator's.
    #[must_use]
    pub fn start() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let stop = CancellationToken::new();
        let (log, router) = runtime.block_on(parts(&folder, &stop));
        let inboxes = INBOXES.iter().flat_map(|topic| {
            (0..topic.partitions).map(|number| TopicPartition::new(topic.topic(), Partition(number)))
        });
        let read = inboxes.map(|inbox| (inbox, Offset(0))).collect();
        Self { runtime, router, log, read, _stop: stop.drop_guard(), _folder: folder }
    }

    /// Answers a request. `None` where it is none.
    pub fn ask(&self, request: Builder, body: Vec<u8>) -> Option<Answer> {
        let peer = ConnectInfo(SocketAddr::from(([127, 0, 0, 1], 9)));
        let request: Request<Body> = request.extension(peer).body(body.into()).ok()?;
        let router = self.router.clone();
        Some(self.runtime.block_on(async {
            let response = router.oneshot(request).await.unwrap_or_else(|never| match never {});
            let (parts, body) = response.into_parts();
            let body = to_bytes(body, 1 << 22).await.expect("the answer is read").to_vec();
            let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
            let content_type = parts.headers.get("content-type").map_or_else(String::new, text);
            Answer { status: parts.status, content_type, body }
        }))
    }

    /// The records that were appended to the inboxes since the last time.
    pub fn appended(&mut self) -> Vec<Message> {
        let mut found = Vec::new();
        for (inbox, next) in &mut self.read {
            let reading = self.log.read(inbox, *next, ReadLimit::default(), Visibility::Written);
            for record in self.runtime.block_on(reading).expect("the inbox is read") {
                *next = Offset(record.offset.0 + 1);
                found.push(codec::decode(&record.value).expect("what the API appends decodes"));
            }
        }
        found
    }
}

async fn parts(folder: &TempDir, stop: &CancellationToken) -> (Arc<dyn Log>, Router) {
    let options = EmbeddedOptions::new(folder.path().join("log"));
    let log: Arc<dyn Log> = EmbeddedLog::open(options).expect("the log opens");
    for topic in topics::ALL {
        let spec =
            TopicSpec { name: topic.topic(), partitions: topic.partitions, retention: Retention::Forever };
        log.ensure_topic(&spec).await.expect("the topic is there");
    }
    fill_registry(&log).await;
    let sink =
        SqlSink::open(&SqlConfig::at(&folder.path().join("sql.db"))).await.expect("the database opens");
    let parts = ApiParts {
        config: config(),
        log: Arc::clone(&log),
        surface: Surface { api: true, stripe: true },
        reading: Some(Reading { reads: sink.reads(), progress: sink.progress() }),
        clock: Arc::new(|| NOW),
        health: Health::default(),
        secret_key: SecretKey::from_bytes(&[7; 32]),
        allowed_networks: Vec::new(),
        stripe: Some(stripe()),
        metrics: Arc::new(String::new),
        instance: Partition(0),
    };
    let state = ApiState::start(parts, stop).await.expect("the API starts");
    state.registry_is_read().await;
    (log, router(state))
}

/// No limit on the rate, and no wait for answers that nobody gives.
fn config() -> ApiConfig {
    let many = NonZeroU32::new(1_000_000_000).expect("not zero");
    ApiConfig {
        reply_timeout_ms: 10,
        read_wait_ms: 0,
        key_requests_per_second: many,
        key_burst: many,
        address_requests_per_second: many,
        address_burst: many,
        ..ApiConfig::default()
    }
}

/// As the program wires it: the real check of Stripe's deliveries.
fn stripe() -> StripeIngest {
    let secrets = Secrets::new(vec![STRIPE_SECRET.to_owned()]).expect("a usable secret");
    Arc::new(move |signature, body, now| {
        let header = Some(signature).filter(|signature| !signature.is_empty());
        match ingest(header, body, &secrets, now) {
            Ok(Ingested::Append { key, event }) => Ok(Some((key.into_bytes(), *event))),
            Ok(Ingested::Ignored { .. }) => Ok(None),
            Err(refusal) => {
                Err(IngestRefusal { status: refusal.status, code: refusal.code, detail: refusal.detail })
            }
        }
    })
}

async fn fill_registry(log: &Arc<dyn Log>) {
    let meta = Meta {
        source: None,
        id: "fuzz".into(),
        occurred_at: NOW,
        recorded_at: NOW,
        cause: None,
        trace: None,
    };
    let shop = MerchantId::derive(&[b"shop"]);
    let merchant = Merchant {
        id: shop,
        name: "shop".into(),
        settlement: "custodial".into(),
        created_at: NOW,
        addresses: Vec::new(),
        tolerance: None,
    };
    let mut records: Vec<Message> = vec![
        SettingsChanged { meta: meta.clone(), settings: settings() }.into(),
        MerchantChanged { meta: meta.clone(), merchant }.into(),
    ];
    let keys = [
        (ADMIN, None, vec![Scope::Admin]),
        (SHOP, Some(shop), vec![Scope::Read, Scope::Write, Scope::Refund]),
    ];
    for (secret, merchant, scopes) in keys {
        let api_key = ApiKey {
            id: ApiKeyId::derive(&[secret.as_bytes()]),
            merchant,
            scopes,
            livemode: false,
            key_hash: ContentHash::new(Sha256::digest(secret).into()),
            hint: String::new(),
            created_at: NOW,
            revoked_at: None,
        };
        records.push(ApiKeyChanged { meta: meta.clone(), api_key }.into());
    }
    let publisher = Publisher::new(Arc::clone(log));
    let written =
        publisher.publish_all(REGISTRY_EVENTS, b"", &records).await.expect("the registry is written");
    // The API reads what is synced: without the wait it may find the registry empty, and every key unknown.
    publisher.synced(&written, REGISTRY_EVENTS).await.expect("the registry is synced");
}

fn settings() -> Settings {
    let asset = |id: &str, scale, contract| Asset { id: id.parse().expect("an asset"), scale, contract };
    Settings {
        version: 1,
        assets: vec![asset("usd", 2, None), asset("usdc:31337", 6, Some(Address::new([1; 20])))],
        chains: vec![ChainSettings {
            id: ChainId(31_337),
            policy: ConfirmationPolicy { depth: Some(3) },
            look_back_seconds: 86_400,
        }],
        fee: FeeSchedule { parts_per_million: 5_000 },
        xpub: None,
        postings: BUILTIN_POSTINGS.to_owned(),
        tiers: Vec::new(),
        exact_amount_grace_seconds: 86_400,
    }
}
