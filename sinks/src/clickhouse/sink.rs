//! The sink: a batch is planned, its rows are inserted, counted, and then it is done. What is open at a start is carried out
//! first, from the log.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use streambook_log::Log;
use streambook_model::{
    position::{Offset, TopicPartition},
    topics::{self, TopicDef},
};
use streambook_runtime::{
    clock::Clock,
    lineage::{Gaps, Marks as LineageMarks},
    metrics::Metric,
    sink::{Batch, Sink, SinkError},
};
use tokio::sync::watch;

use super::{
    config::ClickHouseConfig,
    error::ClickHouseError,
    marks::Marks,
    plan::{Plan, TopicIds},
    ranges::{self, Stage},
    rebuild,
    rows::Rows,
    schema,
    service::Service,
};

/// The topics in ClickHouse: the public ones, and of the others what analysts ask for and nothing else says: blocks,
/// Stripe's events and facts, commands and their answers, names and scales.
const INPUTS: [TopicDef; 10] = [
    topics::PAYMENTS_EVENTS,
    topics::LEDGER_TRANSACTIONS,
    topics::CHAIN_TRANSFERS,
    topics::WEBHOOKS_ATTEMPTS,
    topics::DEAD_LETTERS,
    topics::REGISTRY_EVENTS,
    topics::API_REPLIES,
    topics::CHAIN_INBOX,
    topics::STRIPE_INBOX,
    topics::BOOK_INBOX,
];

/// Writes to ClickHouse. The only writer of its database.
pub struct ClickHouseSink {
    service: Service,
    log: Arc<dyn Log>,
    clock: Clock,
    age: Duration,
    /// Tells this writer from any other.
    writer: u64,
    topics: TopicIds,
    positions: watch::Sender<BTreeMap<TopicPartition, Offset>>,
    marks: Marks,
    gaps: Gaps,
    /// The number of the last batch that is done.
    batch: u64,
    /// The plan that is being carried out.
    open: Option<Open>,
}

/// A plan, and how far it is known to have got.
#[derive(Debug, Clone)]
struct Open {
    plan: Plan,
    is_stored: bool,
    tokens: Tokens,
}

/// What the open plan's inserts are known by, each table's its own.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tokens {
    plan: String,
    /// How often the server confirmed rows of a table that were not there. Each time the table's token becomes another,
    /// since the one that was used may be remembered without its rows.
    missed: BTreeMap<&'static str, u32>,
}

impl Tokens {
    /// The token of this table's insert.
    pub(crate) fn of(&self, table: &'static str) -> String {
        format!("{}.{}", self.plan, self.missed.get(table).copied().unwrap_or_default())
    }

    fn missed(&mut self, error: &ClickHouseError) {
        if let ClickHouseError::Missing { table, .. } = error {
            let times = self.missed.entry(table).or_default();
            *times = times.saturating_add(1);
        }
    }
}

impl Open {
    fn new(plan: Plan, topics: &TopicIds, is_stored: bool) -> Self {
        let tokens = Tokens { plan: plan.token(topics), missed: BTreeMap::new() };
        Self { plan, is_stored, tokens }
    }
}

impl ClickHouseSink {
    /// Prepares the sink. Nothing is sent: a server that is down is waited for when the sink runs.
    pub fn new(config: &ClickHouseConfig, log: Arc<dyn Log>, clock: Clock) -> Result<Self, ClickHouseError> {
        Ok(Self {
            service: Service::new(config)?,
            log,
            clock,
            age: config.batch_age(),
            writer: rand::random(),
            topics: TopicIds::new(),
            positions: watch::Sender::default(),
            marks: Marks::default(),
            gaps: Gaps::Stop,
            batch: 0,
            open: None,
        })
    }

    /// The same sink on a log whose senders resend what it loses.
    #[must_use]
    pub fn with_gaps(self, gaps: Gaps) -> Self {
        Self { gaps, ..self }
    }

    /// Follows the positions: the next offset of each partition, once its records are there.
    pub fn progress(&self) -> watch::Receiver<BTreeMap<TopicPartition, Offset>> {
        self.positions.subscribe()
    }

    /// Makes the schema, reads how far everything got, and carries out what was planned and may not be done.
    async fn start(&mut self) -> Result<(), ClickHouseError> {
        schema::migrate(&self.service).await?;
        self.topics = rebuild::topic_ids(&self.log, &INPUTS).await?;
        let stored = ranges::load(&self.service).await?;
        rebuild::check_log(&self.log, &stored, &self.topics).await?;
        if stored.batch == 0 {
            ranges::check_empty(&self.service).await?;
        }
        self.positions.send_replace(stored.positions);
        self.marks = stored.marks;
        self.batch = stored.batch;
        if let Some(plan) = stored.open {
            self.batch = plan.batch.saturating_sub(1);
            let batch = rebuild::batch(&self.log, &plan).await?;
            Metric::ClickHouseRebuilt.count(1, &[]);
            self.open = Some(Open::new(plan, &self.topics, true));
            self.carry_out(&batch).await?;
        }
        Ok(())
    }

    async fn write_batch(&mut self, batch: &Batch) -> Result<(), ClickHouseError> {
        self.plan(batch).await?;
        self.carry_out(batch).await
    }

    /// Stores the batch's ranges, unless that was done when this batch was tried before.
    async fn plan(&mut self, batch: &Batch) -> Result<(), ClickHouseError> {
        let open = match self.open.take() {
            Some(open) if open.plan.is_for(batch) => open,
            Some(open) => {
                let text = format!("batch {} is not done and another one was given", open.plan.batch);
                self.open = Some(open);
                return Err(ClickHouseError::Contradiction(text));
            }
            None => {
                self.follows(batch)?;
                let plan = Plan::of(self.batch.saturating_add(1), (self.clock)(), batch)?;
                Open::new(plan, &self.topics, false)
            }
        };
        let open = self.open.insert(open);
        if !open.is_stored {
            let around = (&self.marks, &self.topics, self.writer);
            ranges::store(&self.service, &open.plan, Stage::Planned, around).await?;
            ranges::check_alone(&self.service, &open.plan, self.writer).await?;
            open.is_stored = true;
        }
        Ok(())
    }

    /// Whether a batch begins where the last one ended.
    fn follows(&self, batch: &Batch) -> Result<(), ClickHouseError> {
        let positions = self.positions.borrow();
        for (from, first) in &batch.before {
            if let Some(next) = positions.get(from).filter(|next| *next != first) {
                return Err(ClickHouseError::Contradiction(format!(
                    "{from}: the database is at offset {next} and this batch starts at {first}"
                )));
            }
        }
        Ok(())
    }

    /// Inserts the rows of the open plan, which this batch was read for, counts them, and moves the positions.
    async fn carry_out(&mut self, batch: &Batch) -> Result<(), ClickHouseError> {
        let Some(Open { plan, tokens, .. }) = self.open.clone() else { return Ok(()) };
        let judged = self.marks.judge(batch, self.gaps)?;
        let rows = Rows::of(plan.batch, &judged.taken);
        rows.insert(&self.service, &tokens).await?;
        if let Err(error) = rows.check(&self.service, plan.batch).await {
            if let Some(open) = &mut self.open {
                open.tokens.missed(&error);
            }
            return Err(error);
        }
        let around = (&judged.after, &self.topics, self.writer);
        ranges::store(&self.service, &plan, Stage::Done, around).await?;
        ranges::check_done(&self.service, &plan).await?;
        self.positions.send_modify(|positions| positions.extend(batch.after.clone()));
        self.marks = judged.after;
        self.batch = plan.batch;
        self.open = None;
        Ok(())
    }
}

#[async_trait]
impl Sink for ClickHouseSink {
    fn name(&self) -> &'static str {
        "clickhouse"
    }

    fn inputs(&self) -> Vec<TopicDef> {
        INPUTS.to_vec()
    }

    fn gathers_for(&self) -> Duration {
        self.age
    }

    fn marks(&self) -> LineageMarks {
        self.marks.all()
    }

    async fn positions(&mut self) -> Result<BTreeMap<TopicPartition, Offset>, SinkError> {
        let started = self.start().await;
        started.map_err(|error| error.into_sink_error("starting on ClickHouse"))?;
        Ok(self.positions.borrow().clone())
    }

    async fn write(&mut self, batch: &Batch) -> Result<(), SinkError> {
        self.write_batch(batch).await.map_err(|error| error.into_sink_error("writing a batch to ClickHouse"))
    }
}
