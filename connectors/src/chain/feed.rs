//! Carries what the connector observes to `chain.inbox`. Guarantee: observations are appended in the order in which
//! they were made, none is left out, and a failing log stops the connector instead of losing one.
//!
//! The connector has no replayable input, so its records carry a natural id; the reorg processor drops repeats.

use std::sync::Arc;

use alloy_primitives::U256;
use streambook_log::{Log, LogError, Visibility};
use streambook_model::{
    bytes::{Address, BlockHash, TokenValue, TxHash},
    chain::{BlockNumber, ChainId},
    id::DeadLetterId,
    message::Message,
    meta::Meta,
    position::{Offset, TopicPartition},
    records::{
        chain::{ChainBlock, ChainFinalized, ChainFork, ChainHead, TokenTransfer},
        dead_letter::DeadLetter,
    },
    time::Timestamp,
    topics,
};
use streambook_runtime::{
    clock::Clock,
    metrics::Metric,
    publisher::{PublishError, Publisher},
};
use tokio::sync::mpsc;

use super::{
    resume,
    types::{BlockRef, Erc20Transfer, ForkBelowFinality, Observation, VerifiedBlock},
};

/// Why the feed ended.
#[derive(Debug, thiserror::Error)]
pub enum FeedError {
    /// The log did not take a record.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// The end of the inbox cannot be told.
    #[error("cannot tell where {} ends", topics::CHAIN_INBOX.name)]
    Bounds(#[source] LogError),
    /// A verified block says something our records cannot state; a guess in its place would be worse than a stop.
    #[error("{what} of block {number} ({hash}) cannot be stated in a record")]
    Unstatable {
        /// What it is.
        what: &'static str,
        /// The block's height.
        number: u64,
        /// The block's hash.
        hash: alloy_primitives::B256,
    },
}

/// Most observations of one append.
const BATCH: usize = 64;

/// Appends what is observed of one chain.
pub struct Feed {
    log: Arc<dyn Log>,
    publisher: Publisher,
    chain: ChainId,
    inbox: TopicPartition,
    clock: Clock,
}

impl Feed {
    /// Appends to this log.
    pub fn new(log: Arc<dyn Log>, chain: ChainId, clock: Clock) -> Self {
        let publisher = Publisher::new(Arc::clone(&log));
        Self { log, publisher, chain, inbox: resume::inbox(chain), clock }
    }

    /// Runs until the connector ends.
    ///
    /// # Errors
    /// When an observation cannot be appended. The connector then finds its receiver gone and ends too.
    pub async fn run(&self, mut observations: mpsc::Receiver<Observation>) -> Result<(), FeedError> {
        let mut batch = Vec::with_capacity(BATCH);
        while observations.recv_many(&mut batch, BATCH).await > 0 {
            self.append(&batch).await?;
            batch.clear();
        }
        Ok(())
    }

    /// A block with letters begins an append of its own, so that the inbox ends where its record will be.
    async fn append(&self, observations: &[Observation]) -> Result<(), FeedError> {
        for part in observations.chunk_by(|_, next| unproven(next).is_none()) {
            self.append_letters(part.first().and_then(unproven)).await?;
            self.append_records(part).await?;
        }
        if let Some(head) = observations.iter().rev().find_map(head_of) {
            Metric::ChainAppended.set(head.number, &[("chain", self.chain.to_string())]);
        }
        Ok(())
    }

    /// Before the block, so that a crash between the two loses no letter. A letter that is said again has the same id.
    async fn append_letters(&self, block: Option<&VerifiedBlock>) -> Result<(), FeedError> {
        let Some(block) = block else { return Ok(()) };
        let bounds = self.log.bounds(&self.inbox, Visibility::Written).await.map_err(FeedError::Bounds)?;
        for moved in &block.unproven {
            let letter = self.letter(block, moved, bounds.end);
            self.publisher.publish(topics::DEAD_LETTERS, letter.task.clone().as_bytes(), letter).await?;
        }
        Ok(())
    }

    async fn append_records(&self, observations: &[Observation]) -> Result<(), FeedError> {
        let records = observations.iter().filter_map(|seen| self.record(seen).transpose());
        let records: Vec<Message> = records.collect::<Result<_, _>>()?;
        if !records.is_empty() {
            let key = self.chain.to_string();
            self.publisher.publish_all(topics::CHAIN_INBOX, key.as_bytes(), &records).await?;
        }
        Ok(())
    }

    /// The record of an observation. `Safe` has none: no policy is decided by it.
    fn record(&self, observation: &Observation) -> Result<Option<Message>, FeedError> {
        Ok(match observation {
            Observation::Block(block) => Some(self.block(block)?.into()),
            Observation::Head(head) => Some(Message::from(ChainHead {
                meta: self.meta("head", head),
                chain: self.chain,
                number: BlockNumber(head.number),
                hash: hash(head.hash),
            })),
            Observation::Finalized(block) => Some(Message::from(ChainFinalized {
                meta: self.meta("finalized", block),
                chain: self.chain,
                number: BlockNumber(block.number),
                hash: hash(block.hash),
            })),
            Observation::ForkBelowFinality(fork) => Some(self.fork(fork).into()),
            Observation::Safe(_) => None,
        })
    }

    fn block(&self, block: &VerifiedBlock) -> Result<ChainBlock, FeedError> {
        let place = BlockRef { number: block.number, hash: block.hash };
        let unstatable = |what| FeedError::Unstatable { what, number: block.number, hash: block.hash };
        let timestamp =
            Timestamp::from_seconds(block.timestamp).ok_or_else(|| unstatable("the timestamp"))?;
        let transfers: Option<Vec<_>> = block.transfers.iter().map(transfer).collect();
        Ok(ChainBlock {
            meta: Meta { occurred_at: timestamp, ..self.meta("block", &place) },
            chain: self.chain,
            number: BlockNumber(block.number),
            hash: hash(block.hash),
            parent_hash: hash(block.parent_hash),
            timestamp,
            transfers: transfers.ok_or_else(|| unstatable("a log index"))?,
        })
    }

    fn fork(&self, fork: &ForkBelowFinality) -> ChainFork {
        ChainFork {
            meta: self.meta("fork", &fork.found),
            chain: self.chain,
            floor_number: BlockNumber(fork.floor.number),
            floor_hash: hash(fork.floor.hash),
            found_number: BlockNumber(fork.found.number),
            found_hash: hash(fork.found.hash),
        }
    }

    /// A transfer that one node alone vouches for is not credited and not forgotten: it is a dead letter, which says where
    /// its block's record follows in the inbox, unless another writer comes in between.
    fn letter(&self, block: &VerifiedBlock, moved: &Erc20Transfer, offset: Offset) -> DeadLetter {
        let place = BlockRef { number: block.number, hash: block.hash };
        let described = format!(
            "{} of {} from {} to {} in {} of block {}",
            moved.value, moved.token, moved.from, moved.to, moved.tx_hash, block.number
        );
        DeadLetter {
            meta: self.meta("unproven", &place),
            letter: DeadLetterId::derive(&[block.hash.as_slice(), &moved.log_index.to_be_bytes()]),
            task: format!("chain/{}", self.chain),
            topic: self.inbox.topic.as_str().to_owned(),
            partition: self.inbox.partition.0,
            offset: offset.0,
            code: "unproven_transfer".to_owned(),
            reason: format!(
                "the receipts root does not cover this transfer, so one node's word is not enough: {described}"
            ),
            key: self.chain.to_string().into_bytes(),
            record: described.into_bytes(),
        }
    }

    fn meta(&self, kind: &str, block: &BlockRef) -> Meta {
        let now = (self.clock)();
        let id = format!("{}:{kind}:{}", self.chain, block.hash);
        Meta { source: None, id, occurred_at: now, recorded_at: now, cause: None, trace: None }
    }
}

/// The block, where it has transfers that are set apart.
fn unproven(observation: &Observation) -> Option<&VerifiedBlock> {
    match observation {
        Observation::Block(block) if !block.unproven.is_empty() => Some(block),
        _ => None,
    }
}

fn head_of(observation: &Observation) -> Option<BlockRef> {
    match observation {
        Observation::Head(head) => Some(*head),
        _ => None,
    }
}

/// `None` where the log index does not fit; more than 2^32 events do not fit into a block's gas.
pub(super) fn transfer(seen: &Erc20Transfer) -> Option<TokenTransfer> {
    Some(TokenTransfer {
        token: Address::new(seen.token.into_array()),
        from: Address::new(seen.from.into_array()),
        to: Address::new(seen.to.into_array()),
        value: value(seen.value),
        tx_hash: TxHash::new(seen.tx_hash.0),
        log_index: u32::try_from(seen.log_index).ok()?,
    })
}

fn value(value: U256) -> TokenValue {
    TokenValue::new(value.to_be_bytes())
}

pub(super) fn hash(hash: alloy_primitives::B256) -> BlockHash {
    BlockHash::new(hash.0)
}
