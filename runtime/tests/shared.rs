//! A task, its outbox and a receiver on a log that they share: what the log loses is sent again, a store that is lost is made
//! again, a task that runs twice does no harm. The shared log is a second embedded one, behind faults.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use streambook_log::{
    Appended, Bounds, Log, LogError, NewRecord, ReadLimit, Record, Retention, Topic, TopicSpec, Visibility,
    embedded::{EmbeddedLog, EmbeddedOptions},
};
use streambook_model::{
    codec,
    message::Message,
    meta::Meta,
    position::{Offset, Partition, TopicName, TopicPartition},
    records::book::Tick,
    time::Timestamp,
    topics::{self, TopicDef},
};
use streambook_runtime::{
    checkpoints::{Board, Checkpoints, Process, View},
    clock,
    health::Health,
    lineage::{Gaps, Mark, Marks, Verdict, judge},
    outbox::Outbox,
    processor::{Context, Fault, Processor},
    runner::{Runner, supervise},
    sink::{Batch, Sink, SinkError},
    sink_runner::SinkRunner,
    table::Table,
};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Numbers the ticks it takes.
struct Counter;

const COUNT: Table<i64> = Table::new(1);

impl Processor for Counter {
    fn name(&self) -> &'static str {
        "book"
    }

    fn inbox(&self) -> TopicDef {
        topics::BOOK_INBOX
    }

    fn process(&self, message: Message, context: &mut Context<'_>) -> Result<(), Fault> {
        let Message::Tick(tick) = message else { return Err(Fault::dead_letter("unexpected", "not a tick")) };
        let count = COUNT.get(&context.state, ())?.unwrap_or(0) + 1;
        COUNT.put(&mut context.state, (), &count)?;
        let meta = context.meta(tick.now);
        context.emit(topics::PAYMENTS_EVENTS, b"one key", Tick { meta, now: Timestamp::from_millis(count) });
        Ok(())
    }
}

/// The shared log, which can acknowledge appends to the output and forget them.
struct Forgetful {
    log: Arc<EmbeddedLog>,
    forgets: AtomicUsize,
}

#[async_trait]
impl Log for Forgetful {
    async fn ensure_topic(&self, spec: &TopicSpec) -> Result<Topic, LogError> {
        self.log.ensure_topic(spec).await
    }

    async fn topics(&self) -> Result<Vec<Topic>, LogError> {
        self.log.topics().await
    }

    async fn topic(&self, name: &TopicName) -> Result<Topic, LogError> {
        self.log.topic(name).await
    }

    async fn append(&self, to: &TopicPartition, records: Vec<NewRecord>) -> Result<Appended, LogError> {
        let forgets = |left: usize| left.checked_sub(1);
        let is_output = to.topic == topics::PAYMENTS_EVENTS.topic();
        if is_output && self.forgets.fetch_update(Ordering::SeqCst, Ordering::SeqCst, forgets).is_ok() {
            let base = self.log.bounds(to, Visibility::Written).await?.end;
            return Ok(Appended { base, records: records.len() as u64, position: 0 });
        }
        self.log.append(to, records).await
    }

    async fn synced(&self, appended: &Appended) -> Result<(), LogError> {
        self.log.synced(appended).await
    }

    async fn read(
        &self,
        from: &TopicPartition,
        offset: Offset,
        limit: ReadLimit,
        visibility: Visibility,
    ) -> Result<Vec<Record>, LogError> {
        self.log.read(from, offset, limit, visibility).await
    }

    async fn wait(
        &self,
        on: &TopicPartition,
        offset: Offset,
        visibility: Visibility,
    ) -> Result<(), LogError> {
        self.log.wait(on, offset, visibility).await
    }

    async fn wait_synced(&self, on: &BTreeMap<TopicPartition, Offset>) -> Result<(), LogError> {
        self.log.wait_synced(on).await
    }

    async fn bounds(&self, of: &TopicPartition, visibility: Visibility) -> Result<Bounds, LogError> {
        self.log.bounds(of, visibility).await
    }

    async fn trim(&self, partition: &TopicPartition, before: Offset) -> Result<(), LogError> {
        self.log.trim(partition, before).await
    }
}

/// Keeps what it takes, as the SQL sink does.
#[derive(Clone, Default)]
struct Keeper(Arc<Mutex<Kept>>);

#[derive(Default)]
struct Kept {
    numbers: Vec<i64>,
    marks: Marks,
    positions: BTreeMap<TopicPartition, Offset>,
}

#[async_trait]
impl Sink for Keeper {
    fn name(&self) -> &'static str {
        "sql"
    }

    fn inputs(&self) -> Vec<TopicDef> {
        vec![topics::PAYMENTS_EVENTS]
    }

    async fn positions(&mut self) -> Result<BTreeMap<TopicPartition, Offset>, SinkError> {
        Ok(self.0.lock().unwrap().positions.clone())
    }

    fn marks(&self) -> Marks {
        self.0.lock().unwrap().marks.clone()
    }

    async fn write(&mut self, batch: &Batch) -> Result<(), SinkError> {
        let mut kept = self.0.lock().unwrap();
        for record in &batch.records {
            let Message::Tick(tick) = &*record.message else { panic!("not a tick") };
            let source = tick.meta.source.as_ref().unwrap();
            let key = (record.from.clone(), source.task.clone());
            let last = kept.marks.get(&key).copied().unwrap_or(Mark::START);
            if judge(last, source, Gaps::AwaitResend).unwrap() == Verdict::Take {
                kept.numbers.push(tick.now.millis());
                kept.marks.insert(key, Mark { seq: source.seq, chain: source.chain });
            }
        }
        kept.positions.extend(batch.after.clone());
        Ok(())
    }
}

async fn with_topics(path: &Path) -> Arc<EmbeddedLog> {
    let log = EmbeddedLog::open(EmbeddedOptions::new(path)).unwrap();
    for def in topics::ALL.iter().chain([&topics::CHECKPOINTS]) {
        let spec = TopicSpec { name: def.topic(), partitions: def.partitions, retention: Retention::Forever };
        log.ensure_topic(&spec).await.unwrap();
    }
    log
}

/// A process: a part on the shared log with a store of its own.
struct Part {
    store: Arc<EmbeddedLog>,
    health: Health,
    stop: CancellationToken,
    running: JoinSet<()>,
}

const PARTITION: Partition = Partition(3);

impl Part {
    async fn processors(shared: &Arc<Forgetful>, store: &Path, name: &str) -> Self {
        let mut part = Self::new(with_topics(store).await);
        let (log, view) = (Self::log(shared), View::default());
        let outbox =
            Outbox::new(Arc::clone(&part.store), Arc::clone(&log), view.clone(), part.health.clone());
        let runner = Runner::new(
            Arc::clone(&part.store),
            Arc::new(Counter),
            PARTITION,
            clock::system(),
            part.health.clone(),
        );
        let runner = runner.on(Arc::clone(&log), outbox.room());
        part.running.spawn(supervise(runner, part.stop.clone()));
        part.running.spawn(view.run(log, part.health.clone(), part.stop.clone()));
        part.running.spawn(outbox.run(part.stop.clone()));
        part.tell(shared, name, vec![(Arc::new(Counter), PARTITION)], Board::default());
        part
    }

    async fn sink(shared: &Arc<Forgetful>, store: &Path, keeper: &Keeper) -> Self {
        let mut part = Self::new(with_topics(store).await);
        let board = Board::default();
        let limit = ReadLimit::default();
        let runner =
            SinkRunner::new(Self::log(shared), keeper.clone(), limit, clock::system(), part.health.clone());
        part.running.spawn(runner.telling(board.clone()).run(part.stop.clone()));
        part.tell(shared, "sink", Vec::new(), board);
        part
    }

    fn new(store: Arc<EmbeddedLog>) -> Self {
        let (health, stop) = (Health::default(), CancellationToken::new());
        Self { store, health, stop, running: JoinSet::new() }
    }

    fn log(shared: &Arc<Forgetful>) -> Arc<dyn Log> {
        Arc::<Forgetful>::clone(shared)
    }

    fn tell(
        &mut self,
        shared: &Arc<Forgetful>,
        name: &str,
        tasks: Vec<(Arc<dyn Processor>, Partition)>,
        board: Board,
    ) {
        let process = Process { name: name.to_owned(), address: String::new() };
        let stores = (Arc::clone(&self.store), Self::log(shared));
        let around = (clock::system(), self.health.clone());
        let checkpoints = Checkpoints::new(process, stores, tasks, board, around);
        self.running.spawn(checkpoints.run(self.stop.clone()));
    }

    /// Ends without a word more, as far as a process can do so to itself.
    async fn end(mut self) {
        self.running.shutdown().await;
    }

    async fn held(&self) -> u64 {
        let at = TopicPartition::new(
            topics::PAYMENTS_EVENTS.topic(),
            streambook_log::partitioner::partition_of(b"one key", topics::PAYMENTS_EVENTS.partitions),
        );
        self.store.bounds(&at, Visibility::Written).await.unwrap().records()
    }

    fn assert_well(&self) {
        assert_eq!(self.health.stopped(), Vec::new());
    }
}

async fn feed(shared: &Forgetful, count: i64) {
    let inbox = TopicPartition::new(topics::BOOK_INBOX.topic(), PARTITION);
    for now in 0..count {
        let now = Timestamp::from_millis(now);
        let meta = Meta {
            source: None,
            id: now.to_string(),
            occurred_at: now,
            recorded_at: now,
            cause: None,
            trace: None,
        };
        let value = codec::encode(&Message::from(Tick { meta, now })).unwrap();
        shared.append(&inbox, vec![NewRecord::new(&b"k"[..], value)]).await.unwrap();
    }
}

/// Waits until a state is reached; a minute without it is a failure.
async fn until<F: Future<Output = bool>>(what: &str, mut reached: impl FnMut() -> F) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
    while !reached().await {
        assert!(tokio::time::Instant::now() < deadline, "not reached: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

struct World {
    directory: tempfile::TempDir,
    shared: Arc<Forgetful>,
    keeper: Keeper,
}

impl World {
    async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let log = with_topics(&directory.path().join("shared")).await;
        let shared = Arc::new(Forgetful { log, forgets: AtomicUsize::new(0) });
        Self { directory, shared, keeper: Keeper::default() }
    }

    fn store(&self, name: &str) -> std::path::PathBuf {
        self.directory.path().join(name)
    }

    async fn until_kept(&self, count: i64) {
        let expected: Vec<i64> = (1..=count).collect();
        let kept = || self.keeper.0.lock().unwrap().numbers.clone();
        until("every number is kept", async || kept().len() >= expected.len()).await;
        assert_eq!(kept(), expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_arrived_is_forgotten_and_nothing_before() {
    let world = World::new().await;
    let part = Part::processors(&world.shared, &world.store("p"), "p").await;
    feed(&world.shared, 20).await;
    until("all is sent", async || part.held().await == 20).await;
    let sink = Part::sink(&world.shared, &world.store("s"), &world.keeper).await;
    world.until_kept(20).await;
    until("the outbox is empty", async || part.held().await == 0).await;
    part.assert_well();
    sink.end().await;
    part.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_log_acknowledged_and_forgot_is_sent_again() {
    let world = World::new().await;
    let sink = Part::sink(&world.shared, &world.store("s"), &world.keeper).await;
    let part = Part::processors(&world.shared, &world.store("p"), "p").await;
    feed(&world.shared, 5).await;
    world.until_kept(5).await;
    world.shared.forgets.store(1, Ordering::SeqCst);
    feed(&world.shared, 1).await;
    until("one append was forgotten", async || world.shared.forgets.load(Ordering::SeqCst) == 0).await;
    feed(&world.shared, 10).await;
    world.until_kept(16).await;
    until("the outbox is empty", async || part.held().await == 0).await;
    part.assert_well();
    part.end().await;
    sink.end().await;
}

/// Nothing comes after it, so nobody reads past it.
#[tokio::test(flavor = "multi_thread")]
async fn the_last_record_that_the_log_forgot_is_sent_again_though_nothing_follows() {
    let world = World::new().await;
    let sink = Part::sink(&world.shared, &world.store("s"), &world.keeper).await;
    let part = Part::processors(&world.shared, &world.store("p"), "p").await;
    feed(&world.shared, 5).await;
    world.until_kept(5).await;
    world.shared.forgets.store(1, Ordering::SeqCst);
    feed(&world.shared, 1).await;
    until("it was forgotten", async || world.shared.forgets.load(Ordering::SeqCst) == 0).await;
    world.until_kept(6).await;
    until("the outbox is empty", async || part.held().await == 0).await;
    part.assert_well();
    part.end().await;
    sink.end().await;
}

/// The database is another than the one that said how far it was: it takes everything from the log, and what comes then.
#[tokio::test(flavor = "multi_thread")]
async fn an_emptied_database_gets_everything_again() {
    let mut world = World::new().await;
    let sink = Part::sink(&world.shared, &world.store("s"), &world.keeper).await;
    let part = Part::processors(&world.shared, &world.store("p"), "p").await;
    feed(&world.shared, 5).await;
    world.until_kept(5).await;
    until("the outbox is empty", async || part.held().await == 0).await;
    sink.end().await;
    feed(&world.shared, 5).await;
    until("all is sent", async || part.held().await == 5).await;
    world.keeper = Keeper::default();
    let sink = Part::sink(&world.shared, &world.store("s"), &world.keeper).await;
    world.shared.forgets.store(1, Ordering::SeqCst);
    feed(&world.shared, 1).await;
    until("one append was forgotten", async || world.shared.forgets.load(Ordering::SeqCst) == 0).await;
    feed(&world.shared, 4).await;
    world.until_kept(15).await;
    until("the outbox is empty", async || part.held().await == 0).await;
    part.assert_well();
    part.end().await;
    sink.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_whose_store_is_lost_or_that_runs_twice_changes_nothing() {
    let world = World::new().await;
    let sink = Part::sink(&world.shared, &world.store("s"), &world.keeper).await;
    let first = Part::processors(&world.shared, &world.store("p"), "p").await;
    feed(&world.shared, 10).await;
    world.until_kept(10).await;
    let twin = Part::processors(&world.shared, &world.store("twin"), "twin").await;
    feed(&world.shared, 10).await;
    world.until_kept(20).await;
    until("the twin is through", async || twin.held().await == 0).await;
    first.assert_well();
    first.end().await;
    twin.end().await;
    let again = Part::processors(&world.shared, &world.store("empty"), "p").await;
    feed(&world.shared, 10).await;
    world.until_kept(30).await;
    again.assert_well();
    again.end().await;
    sink.end().await;
}
