//! Deliveries to real HTTP servers on loopback, from a real store.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode},
    routing::post,
};
use streambook_log::{
    Log, ReadLimit, Retention, TopicSpec, Visibility,
    embedded::{EmbeddedLog, EmbeddedOptions},
};
use streambook_model::{
    codec,
    id::{EndpointId, EventId, MerchantId},
    message::Message,
    meta::Meta,
    position::{Offset, Partition, TopicPartition},
    records::{
        registry::{Endpoint, EndpointChanged},
        webhook::{AttemptOutcome, WebhookAttempt, WebhookMessage},
    },
    time::Timestamp,
    topics,
};
use streambook_runtime::{
    clock, health::Health, lineage::Gaps, publisher::Publisher, secrets::SecretKey, sink_runner::SinkRunner,
};
use tokio_util::sync::CancellationToken;

use super::*;

const SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";

/// A merchant's server: what it received, and what it answers next.
#[derive(Clone)]
struct Receiver {
    url: String,
    received: Arc<Mutex<Vec<(HeaderMap, String)>>>,
    answers: Arc<Mutex<Vec<StatusCode>>>,
    delay: Duration,
}

async fn receive(State(receiver): State<Receiver>, headers: HeaderMap, body: Bytes) -> StatusCode {
    tokio::time::sleep(receiver.delay).await;
    receiver.received.lock().unwrap().push((headers, String::from_utf8(body.to_vec()).unwrap()));
    receiver.answers.lock().unwrap().pop().unwrap_or(StatusCode::OK)
}

async fn receiver(answers: &[u16], delay: Duration) -> Receiver {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let answers = answers.iter().rev().map(|code| StatusCode::from_u16(*code).unwrap()).collect();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    let receiver = Receiver { url, received: Arc::default(), answers: Arc::new(Mutex::new(answers)), delay };
    let app = Router::new().route("/hook", post(receive)).with_state(receiver.clone());
    tokio::spawn(async move { axum::serve(listener, app).await });
    receiver
}

impl Receiver {
    fn bodies(&self) -> Vec<String> {
        self.received.lock().unwrap().iter().map(|(_, body)| body.clone()).collect()
    }
}

fn key() -> SecretKey {
    SecretKey::from_bytes(&[5; 32])
}

fn meta(id: &str) -> Meta {
    let now = clock::system()();
    Meta { source: None, id: id.into(), occurred_at: now, recorded_at: now, cause: None, trace: None }
}

struct Bench {
    log: Arc<EmbeddedLog>,
    publisher: Publisher,
    health: Health,
    stop: CancellationToken,
    running: Vec<tokio::task::JoinHandle<()>>,
}

impl Bench {
    async fn start(path: &std::path::Path, config: WebhooksConfig) -> Self {
        let log = EmbeddedLog::open(EmbeddedOptions::new(path)).unwrap();
        for def in topics::ALL {
            let spec =
                TopicSpec { name: def.topic(), partitions: def.partitions, retention: Retention::Forever };
            log.ensure_topic(&spec).await.unwrap();
        }
        let (health, stop) = (Health::default(), CancellationToken::new());
        let queue = DeliveryQueue::open(Arc::clone(&log), Gaps::Stop).unwrap();
        let shared: Arc<dyn Log> = Arc::<EmbeddedLog>::clone(&log);
        let sink = WebhooksSink::new(Arc::clone(&queue));
        let sink =
            SinkRunner::new(Arc::clone(&shared), sink, ReadLimit::default(), clock::system(), health.clone());
        let courier = Courier::new(queue, config, key(), clock::system(), health.clone()).unwrap();
        let running = vec![tokio::spawn(sink.run(stop.clone())), tokio::spawn(courier.run(stop.clone()))];
        Self { log, publisher: Publisher::new(shared), health, stop, running }
    }

    async fn end(self) {
        self.stop.cancel();
        for task in self.running {
            task.await.unwrap();
        }
        assert!(self.health.stopped().is_empty(), "{:?}", self.health.stopped());
    }

    async fn endpoint(&self, name: &str, url: &str) -> EndpointId {
        let id = EndpointId::derive(&[name.as_bytes()]);
        let sealed = key().seal([9; 24], id.to_string().as_bytes(), SECRET.as_bytes()).unwrap();
        let endpoint = Endpoint {
            id,
            merchant: MerchantId::derive(&[b"m"]),
            livemode: false,
            url: url.into(),
            events: vec!["*".into()],
            secrets: vec![sealed],
            disabled: None,
            created_at: Timestamp::from_millis(0),
            deleted_at: None,
        };
        let change = EndpointChanged { meta: meta(name), endpoint };
        self.publisher.publish(topics::REGISTRY_EVENTS, name.as_bytes(), change).await.unwrap();
        id
    }

    async fn message(&self, endpoint: EndpointId, body: &str) {
        let message = WebhookMessage {
            meta: meta(body),
            event: EventId::derive(&[body.as_bytes()]),
            event_type: "payment.completed".into(),
            endpoint,
            merchant: MerchantId::derive(&[b"m"]),
            body: body.into(),
        };
        self.publisher
            .publish(topics::WEBHOOKS_OUTBOX, endpoint.to_string().as_bytes(), message)
            .await
            .unwrap();
    }

    async fn attempts(&self) -> Vec<WebhookAttempt> {
        let mut attempts = Vec::new();
        for number in 0..topics::WEBHOOKS_ATTEMPTS.partitions {
            let partition = TopicPartition::new(topics::WEBHOOKS_ATTEMPTS.topic(), Partition(number));
            let read = self
                .log
                .read(&partition, Offset(0), ReadLimit::default(), Visibility::Written)
                .await
                .unwrap();
            attempts.extend(read.iter().map(|record| match codec::decode(&record.value).unwrap() {
                Message::WebhookAttempt(attempt) => attempt,
                other => panic!("{other:?}"),
            }));
        }
        attempts
    }

    async fn until_attempts(&self, count: usize) -> Vec<WebhookAttempt> {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
        loop {
            let attempts = self.attempts().await;
            if attempts.len() >= count {
                return attempts;
            }
            assert!(tokio::time::Instant::now() < deadline, "{} of {count} attempts", attempts.len());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

fn config(pauses: &[u32]) -> WebhooksConfig {
    WebhooksConfig {
        allowed_networks: vec!["127.0.0.0/8".parse().unwrap()],
        retry_after_seconds: pauses.to_vec(),
        ..WebhooksConfig::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_is_delivered_signed_with_its_events_id() {
    let dir = tempfile::tempdir().unwrap();
    let server = receiver(&[], Duration::ZERO).await;
    let bench = Bench::start(dir.path(), config(&[])).await;
    let endpoint = bench.endpoint("a", &server.url).await;
    bench.message(endpoint, r#"{"x":1}"#).await;
    let attempts = bench.until_attempts(1).await;
    assert_eq!((attempts[0].outcome, attempts[0].status_code), (AttemptOutcome::Delivered, Some(200)));
    let (headers, body) = server.received.lock().unwrap()[0].clone();
    let header = |name: &str| headers[name].to_str().unwrap().to_owned();
    let sent_at = Timestamp::from_millis(header("webhook-timestamp").parse::<i64>().unwrap() * 1_000);
    let expect = sign(&[SigningSecret::parse(SECRET).unwrap()], &header("webhook-id"), sent_at, &body);
    assert_eq!((header("webhook-signature"), header("webhook-id")), (expect, attempts[0].event.to_string()));
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_is_tried_again_on_schedule_and_given_up_after_the_last_attempt() {
    let dir = tempfile::tempdir().unwrap();
    let server = receiver(&[500, 302, 404], Duration::ZERO).await;
    let bench = Bench::start(dir.path(), config(&[0, 0])).await;
    let endpoint = bench.endpoint("a", &server.url).await;
    bench.message(endpoint, "m").await;
    let outcomes: Vec<_> =
        bench.until_attempts(3).await.iter().map(|a| (a.number, a.outcome, a.status_code)).collect();
    let expect = [
        (1, AttemptOutcome::Failed, Some(500)),
        (2, AttemptOutcome::Failed, Some(302)),
        (3, AttemptOutcome::Exhausted, Some(404)),
    ];
    assert_eq!(outcomes, expect, "a redirect is not followed, and nothing is retried for ever");
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_endpoint_with_a_backlog_delays_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let slow = receiver(&[], Duration::from_secs(20)).await;
    let quick = receiver(&[], Duration::ZERO).await;
    let bench = Bench::start(dir.path(), config(&[])).await;
    let (to_slow, to_quick) =
        (bench.endpoint("slow", &slow.url).await, bench.endpoint("quick", &quick.url).await);
    for number in 0..200 {
        bench.message(to_slow, &format!("s{number}")).await;
    }
    for number in 0..100 {
        bench.message(to_quick, &format!("q{number}")).await;
    }
    bench.until_attempts(100).await;
    assert_eq!((quick.bodies().len(), slow.bodies().len()), (100, 0));
    bench.stop.cancel();
}

#[tokio::test(flavor = "multi_thread")]
async fn no_address_inside_the_network_is_connected_to() {
    let dir = tempfile::tempdir().unwrap();
    let server = receiver(&[], Duration::ZERO).await;
    let bench =
        Bench::start(dir.path(), WebhooksConfig { retry_after_seconds: vec![], ..WebhooksConfig::default() })
            .await;
    let literal = bench.endpoint("literal", &server.url.replace("http:", "https:")).await;
    let named = bench
        .endpoint("named", &server.url.replace("http:", "https:").replace("127.0.0.1", "localhost"))
        .await;
    bench.message(literal, "l").await;
    bench.message(named, "n").await;
    let mut errors: Vec<_> =
        bench.until_attempts(2).await.into_iter().filter_map(|attempt| attempt.error).collect();
    errors.sort();
    assert!(errors.iter().all(|error| error.contains("allowed_networks")), "{errors:?}");
    assert!(server.bodies().is_empty());
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_survives_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let server = receiver(&[500], Duration::ZERO).await;
    let bench = Bench::start(dir.path(), config(&[1])).await;
    let endpoint = bench.endpoint("a", &server.url).await;
    bench.message(endpoint, "m").await;
    bench.until_attempts(1).await;
    bench.end().await;

    let bench = Bench::start(dir.path(), config(&[1])).await;
    let attempts = bench.until_attempts(2).await;
    assert_eq!((attempts[1].number, attempts[1].outcome), (2, AttemptOutcome::Delivered));
    assert_eq!(server.bodies(), ["m", "m"]);
    bench.end().await;
}
