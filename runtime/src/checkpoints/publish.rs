//! Publishes what the receivers of this process have taken, once it is on this machine's disk.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use streambook_log::{Log, LogError, embedded::EmbeddedLog};
use streambook_model::{
    message::Message,
    meta::Meta,
    position::{Partition, TopicPartition},
    records::checkpoint::{Checkpoint, CheckpointInput, CheckpointSource},
    topics,
};
use tokio_util::sync::CancellationToken;

use super::{Board, Inputs, Received};
use crate::{
    clock::Clock,
    health::{Condition, Health},
    lineage,
    processor::Processor,
    publisher::{PublishError, Publisher},
    state::StateError,
    step::{chain_of, task_name},
    store::TaskStore,
};

/// How often it is looked whether something changed.
const EVERY: Duration = Duration::from_secs(1);
/// What has not changed is said again so often, so that others see that it lives.
const AGAIN: Duration = Duration::from_secs(10);
/// The publisher's name in health.
const NAME: &str = "checkpoints";

/// What a process says of itself.
#[derive(Debug, Clone)]
pub struct Process {
    /// Its name; no two that run share one.
    pub name: String,
    /// Where its health and metrics are.
    pub address: String,
}

/// Says how far the tasks and sinks of this process are.
pub struct Checkpoints {
    process: Process,
    store: Arc<EmbeddedLog>,
    publisher: Publisher,
    tasks: Vec<(Arc<dyn Processor>, Partition)>,
    board: Board,
    clock: Clock,
    health: Health,
    said: BTreeMap<String, (Said, Instant)>,
}

/// What is said of one receiver.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Said {
    inputs: Inputs,
    condition: Condition,
}

#[derive(Debug, thiserror::Error)]
enum CheckpointError {
    #[error("cannot read how far the tasks are")]
    Read(#[from] StateError),
    #[error("cannot open how far the tasks are")]
    Open(#[from] LogError),
    #[error("cannot publish")]
    Publish(#[from] PublishError),
}

impl Checkpoints {
    /// Of these tasks, whose state is in `store`, and the sinks on `board`; published to `log`.
    pub fn new(
        process: Process,
        (store, log): (Arc<EmbeddedLog>, Arc<dyn Log>),
        tasks: Vec<(Arc<dyn Processor>, Partition)>,
        board: Board,
        (clock, health): (Clock, Health),
    ) -> Self {
        let publisher = Publisher::new(log);
        Self { process, store, publisher, tasks, board, clock, health, said: BTreeMap::new() }
    }

    /// Runs until it is told to stop; the last word is said after that.
    pub async fn run(mut self, stop: CancellationToken) {
        loop {
            let is_last = stop.is_cancelled();
            let condition = match self.publish().await {
                Ok(()) => Condition::Running,
                Err(error) => Condition::Troubled { reason: chain_of(&error) },
            };
            self.health.report(NAME, condition);
            if is_last {
                return;
            }
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(EVERY) => {}
            }
        }
    }

    async fn publish(&mut self) -> Result<(), CheckpointError> {
        let (mut news, mut messages) = (Vec::new(), Vec::new());
        for (receiver, said) in self.all()? {
            let known = self.said.get(&receiver);
            if known.is_none_or(|(before, at)| *before != said || at.elapsed() >= AGAIN) {
                messages.push(Message::from(self.checkpoint(&receiver, &said)));
                news.push((receiver, said));
            }
        }
        if messages.is_empty() {
            return Ok(());
        }
        // What is said must survive a power cut here: senders forget it.
        self.store.synced_to(self.store.written_position()).await?;
        let key = self.process.name.as_bytes();
        let published = self.publisher.publish_all(topics::CHECKPOINTS, key, &messages).await?;
        self.publisher.synced(&published, topics::CHECKPOINTS).await?;
        self.said.extend(news.into_iter().map(|(receiver, said)| (receiver, (said, Instant::now()))));
        Ok(())
    }

    fn all(&self) -> Result<Vec<(String, Said)>, CheckpointError> {
        let mut all = self.board.all();
        for (processor, partition) in &self.tasks {
            all.push(self.task(&**processor, *partition)?);
        }
        let conditions = self.health.conditions();
        let said = |(receiver, inputs)| {
            let condition = conditions.get(&receiver).cloned().unwrap_or(Condition::Running);
            (receiver, Said { inputs, condition })
        };
        Ok(all.into_iter().map(said).collect())
    }

    /// Opened anew each time: a store remembers what it has read, since only its own task writes it.
    fn task(
        &self,
        processor: &dyn Processor,
        partition: Partition,
    ) -> Result<(String, Inputs), CheckpointError> {
        let store = TaskStore::open(Arc::clone(&self.store), processor.name(), partition)?;
        let receiver = task_name(processor, partition);
        let (next, marks) = (store.next_offset()?, lineage::received(&store)?);
        let inbox = TopicPartition::new(processor.inbox().topic(), partition);
        let received = Received { receiver: receiver.clone(), next, marks };
        Ok((receiver, Inputs::from([(inbox, received)])))
    }

    fn checkpoint(&self, receiver: &str, said: &Said) -> Checkpoint {
        let now = (self.clock)();
        let id = format!("{}:{receiver}:{}", self.process.name, now.millis());
        let (condition, reason) = match &said.condition {
            Condition::Running => ("running", None),
            Condition::Troubled { reason } => ("troubled", Some(reason.clone())),
            Condition::Stopped { reason } => ("stopped", Some(reason.clone())),
        };
        Checkpoint {
            meta: Meta { source: None, id, occurred_at: now, recorded_at: now, cause: None, trace: None },
            process: self.process.name.clone(),
            address: self.process.address.clone(),
            receiver: receiver.to_owned(),
            condition: condition.to_owned(),
            reason,
            inputs: said.inputs.iter().map(|(at, received)| input(at, received)).collect(),
        }
    }
}

fn input(at: &TopicPartition, received: &Received) -> CheckpointInput {
    let source = |(task, mark): (&String, &lineage::Mark)| CheckpointSource {
        task: task.clone(),
        seq: mark.seq,
        chain: mark.chain,
    };
    CheckpointInput {
        topic: at.topic.to_string(),
        partition: at.partition.0,
        next_offset: received.next.0,
        sources: received.marks.iter().map(source).collect(),
    }
}
