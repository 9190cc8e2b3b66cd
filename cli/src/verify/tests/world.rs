//! A directory as a running Streambook leaves it: merchants, payments by card, Stripe's fees, refunds, a webhook endpoint;
//! all taken by the real tasks and carried to SQLite by the real sink.

use std::{
    io::{self, ErrorKind},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use serde::de::DeserializeOwned;
use serde_json::json;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, sqlite::SqliteConnectOptions};
use streambook_log::{
    Log, ReadLimit, Retention, TopicSpec, Visibility,
    embedded::{EmbeddedLog, EmbeddedOptions},
};
use streambook_model::{
    asset::Asset,
    id::{EndpointId, MerchantId, PaymentId, RefundId, RequestId},
    message::Message,
    meta::Meta,
    money::Amount,
    position::{Offset, Partition, TopicPartition},
    records::{
        book::{Caller, CreatePayment, CreateRefund, ReplyTo},
        payment::PaymentMethod,
        registry::{Administrator, Endpoint, Merchant, PutEndpoint, PutMerchant, PutSettings, SealedSecret},
        settings::{FeeSchedule, Settings},
        stripe::{CardFact, CardFactKind},
    },
    time::Timestamp,
    topics,
};
use streambook_processors::{
    book::{BookProcessor, ledger::BUILTIN_POSTINGS},
    dedup::Dedup,
    registry::Registry,
    reorg::Reorg,
};
use streambook_runtime::{
    clock,
    health::Health,
    lineage::Gaps,
    processor::Processor,
    publisher::Publisher,
    runner::{Runner, supervise},
    sink_runner::SinkRunner,
    store::TaskStore,
};
use streambook_sinks::sql::{SqlConfig, SqlSink};
use tokio_util::sync::CancellationToken;

use crate::verify::{Report, VerifyFailure, progress::Silent, verify_directory};

pub(super) const MERCHANTS: u64 = 5;
pub(super) const PAYMENTS: u64 = 40;
const NOW: i64 = 1_700_000_000_000;

/// A data directory that nobody has open.
pub(super) struct World {
    directory: tempfile::TempDir,
}

pub(super) fn processors() -> Vec<Arc<dyn Processor>> {
    vec![Arc::new(Registry), Arc::new(Reorg), Arc::new(Dedup), Arc::new(BookProcessor)]
}

pub(super) fn merchant(number: u64) -> MerchantId {
    MerchantId::derive(&[b"merchant", &(number % MERCHANTS).to_be_bytes()])
}

fn payment(number: u64) -> PaymentId {
    PaymentId::derive(&[&number.to_be_bytes()])
}

fn meta(id: impl Into<String>) -> Meta {
    let now = Timestamp::from_millis(NOW);
    Meta { source: None, id: id.into(), occurred_at: now, recorded_at: now, cause: None, trace: None }
}

impl World {
    /// A world in which everything has happened and come to rest.
    pub(super) async fn new() -> Self {
        let world = Self::without_sql(PAYMENTS).await;
        world.fill_sql().await;
        world
    }

    /// The same before the SQL sink has run.
    pub(super) async fn without_sql(payments: u64) -> Self {
        let world = Self { directory: tempfile::tempdir().unwrap() };
        std::fs::create_dir(world.path().join("sql")).unwrap();
        let log = world.open();
        for def in topics::ALL {
            let spec =
                TopicSpec { name: def.topic(), partitions: def.partitions, retention: Retention::Forever };
            log.ensure_topic(&spec).await.unwrap();
        }
        let running = Running::start(&log);
        administer(&log).await;
        running.rest(&log).await;
        trade(&log, payments).await;
        running.rest(&log).await;
        running.stop().await;
        world
    }

    /// More payments, taken by the tasks and not by the SQL sink; those with known numbers are answered and book nothing.
    pub(super) async fn trade_on(&self, payments: u64) {
        let log = self.open();
        let running = Running::start(&log);
        trade(&log, payments).await;
        running.rest(&log).await;
        running.stop().await;
    }

    pub(super) fn open(&self) -> Arc<EmbeddedLog> {
        EmbeddedLog::open(self.log_options()).unwrap()
    }

    fn log_options(&self) -> EmbeddedOptions {
        EmbeddedOptions::new(self.directory.path().join("log"))
    }

    /// Verifies the directory by its path.
    pub(super) async fn verify_closed(&self) -> Result<Report, VerifyFailure> {
        verify_directory(
            self.log_options(),
            &processors(),
            Some(&SqlConfig::at(&self.database())),
            &mut Silent,
        )
        .await
    }

    pub(super) fn path(&self) -> PathBuf {
        self.directory.path().to_owned()
    }

    pub(super) fn database(&self) -> PathBuf {
        self.directory.path().join("sql/books.db")
    }

    /// A copy of the database beside the first.
    pub(super) fn copy_database(&self) -> tempfile::TempDir {
        let copy = tempfile::tempdir_in(self.directory.path()).unwrap();
        copy_files(&self.directory.path().join("sql"), copy.path());
        copy
    }

    /// Runs the real sink until it has taken everything.
    pub(super) async fn fill_sql(&self) {
        self.fill(&SqlConfig::at(&self.database())).await;
    }

    /// The same with this database.
    pub(super) async fn fill(&self, config: &SqlConfig) {
        fill(&self.open(), config, Gaps::Stop).await;
    }

    /// The same once more, in a directory of its own.
    pub(super) fn copy(&self) -> Self {
        let directory = tempfile::tempdir().unwrap();
        copy_files(self.directory.path(), directory.path());
        Self { directory }
    }
}

/// Runs the real sink until it has taken everything of this log.
pub(super) async fn fill(log: &Arc<EmbeddedLog>, config: &SqlConfig, gaps: Gaps) {
    let sink = SqlSink::open(config).await.unwrap().with_gaps(gaps);
    let (reads, stop) = (sink.reads(), CancellationToken::new());
    let limit = ReadLimit { records: 5_000, bytes: 8 << 20 };
    let fed =
        SinkRunner::new(Arc::<EmbeddedLog>::clone(log), sink, limit, clock::system(), Health::default());
    let sink = tokio::spawn(fed.run(stop.clone()));
    let mut wanted = 0;
    let topics = [topics::LEDGER_TRANSACTIONS, topics::PAYMENTS_EVENTS, topics::REGISTRY_EVENTS];
    for topic in topics {
        for number in 0..topic.partitions {
            let at = TopicPartition::new(topic.topic(), Partition(number));
            wanted += log.bounds(&at, Visibility::Written).await.unwrap().records();
        }
    }
    let taken = async || {
        let positions = reads.positions().await.unwrap();
        let ours = positions.iter().filter(|(at, _)| topics.iter().any(|topic| topic.topic() == at.topic));
        ours.map(|(_, next)| next.0).sum::<u64>()
    };
    while taken().await != wanted {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    stop.cancel();
    sink.await.unwrap();
    reads.close().await;
}

fn options(database: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new().filename(database).busy_timeout(Duration::from_secs(10))
}

/// Changes a database as somebody with the file in their hands can.
pub(super) async fn tamper(database: &Path, sql: &str) {
    let mut connection = options(database).foreign_keys(false).connect().await.unwrap();
    for table in ["ledger_entries", "ledger_transactions", "payment_events"] {
        for action in ["update", "delete"] {
            let trigger = format!("DROP TRIGGER IF EXISTS {table}_no_{action}");
            sqlx::query(AssertSqlSafe(trigger)).execute(&mut connection).await.unwrap();
        }
    }
    let done = sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut connection).await.unwrap();
    assert!(done.rows_affected() > 0, "{sql} changed nothing");
    connection.close().await.unwrap();
}

/// Copies a directory. The threads of a store that was just closed may still be removing files they have replaced: then
/// it is begun again.
pub(super) fn copy_files(from: &Path, to: &Path) {
    loop {
        match try_to_copy(from, to) {
            Err(error) if error.kind() == ErrorKind::NotFound => std::fs::remove_dir_all(to).unwrap(),
            copied => return copied.unwrap(),
        }
    }
}

fn try_to_copy(from: &Path, to: &Path) -> io::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let (path, target) = (entry.as_ref().unwrap().path(), to.join(entry?.file_name()));
        if path.is_dir() {
            try_to_copy(&path, &target)?;
        } else {
            std::fs::copy(path, target)?;
        }
    }
    Ok(())
}

/// All tasks, running.
struct Running {
    stop: CancellationToken,
    tasks: Vec<tokio::task::JoinHandle<()>>,
    health: Health,
}

impl Running {
    fn start(log: &Arc<EmbeddedLog>) -> Self {
        let (stop, health) = (CancellationToken::new(), Health::default());
        let mut tasks = Vec::new();
        for processor in processors() {
            for number in 0..processor.inbox().partitions {
                let processor = Arc::clone(&processor);
                let at = Partition(number);
                let runner = Runner::new(Arc::clone(log), processor, at, Arc::new(now), health.clone());
                tasks.push(tokio::spawn(supervise(runner, stop.clone())));
            }
        }
        Self { stop, tasks, health }
    }

    /// Waits until every task has taken its whole inbox, in two looks of which the second sees no new records.
    async fn rest(&self, log: &Arc<EmbeddedLog>) {
        let mut before = None;
        loop {
            assert_eq!(self.health.stopped(), []);
            let now = at_rest(log);
            if now.is_some() && now == before {
                return;
            }
            before = now;
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn stop(self) {
        self.stop.cancel();
        for task in self.tasks {
            task.await.unwrap();
        }
    }
}

fn now() -> Timestamp {
    Timestamp::from_millis(NOW)
}

/// How many records all inboxes have, if they are all taken.
fn at_rest(log: &Arc<EmbeddedLog>) -> Option<u64> {
    let mut records = 0;
    for processor in processors() {
        for number in 0..processor.inbox().partitions {
            let at = TopicPartition::new(processor.inbox().topic(), Partition(number));
            let store = TaskStore::open(Arc::clone(log), processor.name(), at.partition).unwrap();
            let end = log.written_end(&at).unwrap();
            if store.next_offset().unwrap() != end {
                return None;
            }
            records += end.0;
        }
    }
    Some(records)
}

pub(super) async fn administer(log: &Arc<EmbeddedLog>) {
    let publisher = Publisher::new(Arc::<EmbeddedLog>::clone(log));
    let settings = Settings {
        version: 0,
        assets: vec![Asset { id: "usd".parse().unwrap(), scale: 2, contract: None }],
        chains: Vec::new(),
        fee: FeeSchedule { parts_per_million: 5_000 },
        xpub: None,
        postings: BUILTIN_POSTINGS.to_owned(),
        tiers: Vec::new(),
        exact_amount_grace_seconds: 86_400,
    };
    let administrator = Administrator { key: None, reply: None, idempotency: None };
    let mut commands = vec![Message::from(PutSettings { meta: meta("settings"), settings })];
    for number in 0..MERCHANTS {
        let id = merchant(number);
        let created_at = Timestamp::from_millis(NOW);
        let shop = Merchant {
            id,
            name: "Shop".into(),
            settlement: "custodial".into(),
            created_at,
            addresses: Vec::new(),
            tolerance: None,
        };
        let administrator = administrator.clone();
        commands.push(
            PutMerchant { meta: meta(format!("merchant-{number}")), administrator, merchant: shop }.into(),
        );
    }
    let endpoint = Endpoint {
        id: EndpointId::derive(&[b"endpoint"]),
        merchant: merchant(0),
        livemode: true,
        url: "https://example.com/hook".into(),
        events: vec!["*".into()],
        secrets: vec![SealedSecret { nonce: vec![1; 24], ciphertext: vec![2; 48] }],
        disabled: None,
        created_at: Timestamp::from_millis(NOW),
        deleted_at: None,
    };
    commands.push(PutEndpoint { meta: meta("endpoint"), administrator, endpoint }.into());
    publisher.publish_all(topics::REGISTRY_INBOX, b"administration", &commands).await.unwrap();
}

/// Payments with what Stripe says of them, in the order in which a merchant's book hears of it.
pub(super) async fn trade(log: &Arc<EmbeddedLog>, payments: u64) {
    let publisher = Publisher::new(Arc::<EmbeddedLog>::clone(log));
    for number in 0..payments {
        let records = trades(number);
        publisher
            .publish_all(topics::BOOK_INBOX, merchant(number).to_string().as_bytes(), &records)
            .await
            .unwrap();
    }
}

fn trades(number: u64) -> Vec<Message> {
    let amount = Amount::new(i128::from(1_000 + number * 7)).unwrap();
    let mut records = vec![create(number, amount), fact(number, CardFactKind::Succeeded, amount)];
    if number.is_multiple_of(5) {
        records.push(fact(number, CardFactKind::FeeKnown, Amount::new(59).unwrap()));
    }
    if number.is_multiple_of(4) {
        records.push(refund(number));
    }
    records
}

fn caller(number: u64) -> Caller {
    let reply = ReplyTo { partition: 3, request: RequestId::derive(&[&number.to_be_bytes()]) };
    Caller { merchant: merchant(number), livemode: true, reply, idempotency: None }
}

fn create(number: u64, amount: Amount) -> Message {
    let command = CreatePayment {
        meta: meta(format!("create-{number}")),
        caller: caller(number),
        payment: payment(number),
        amount,
        asset: "usd".parse().unwrap(),
        method: PaymentMethod::Card,
        reference_id: Some(format!("order-{number}")),
        description: None,
        metadata: empty(),
        expires_in_seconds: 3_600,
        matching: None,
        payer: None,
    };
    command.into()
}

fn fact(number: u64, kind: CardFactKind, amount: Amount) -> Message {
    let fact = CardFact {
        meta: meta(format!("{kind:?}-{number}")),
        kind,
        merchant: merchant(number),
        payment: payment(number),
        livemode: true,
        object: format!("obj_{number}"),
        asset: "usd".parse().unwrap(),
        amount,
        reason: None,
    };
    fact.into()
}

fn refund(number: u64) -> Message {
    let command = CreateRefund {
        meta: meta(format!("refund-{number}")),
        caller: caller(number),
        refund: RefundId::derive(&[&number.to_be_bytes()]),
        payment: payment(number),
        amount: Some(Amount::new(100).unwrap()),
        destination: None,
        reference: Some(format!("re_{number}")),
        reason: Some("asked for".into()),
    };
    command.into()
}

fn empty<T: DeserializeOwned>() -> T {
    serde_json::from_value(json!({})).unwrap()
}

/// The records of a partition.
pub(super) async fn records(log: &EmbeddedLog, at: &TopicPartition) -> Vec<streambook_log::Record> {
    log.read(at, Offset(0), ReadLimit::default(), Visibility::Written).await.unwrap()
}

/// The first partition of a topic that has records, past partition 0 only if that is empty.
pub(super) async fn busy(log: &EmbeddedLog, topic: topics::TopicDef) -> TopicPartition {
    for number in 0..topic.partitions {
        let at = TopicPartition::new(topic.topic(), Partition(number));
        if !records(log, &at).await.is_empty() {
            return at;
        }
    }
    panic!("{} is empty", topic.name);
}
