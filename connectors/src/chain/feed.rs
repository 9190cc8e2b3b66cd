//! Carries what the connector observes to `chain.inbox`. Guarantee: observations are appended in the order in which
//! they were made, none is left out, and a failing log stops the connector instead of losing one.
//!
//! The connector has no replayable input, so its records carry a natural id; the reorg processor drops repeats.

use std::sync::Arc;

use alloy_primitives::U256;
use streambook_log::Log;
use streambook_model::{
    bytes::{Address, BlockHash, TokenValue, TxHash},
    chain::{BlockNumber, ChainId},
    id::DeadLetterId,
    message::Message,
    meta::Meta,
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

use super::types::{BlockRef, Erc20Transfer, ForkBelowFinality, Observation, VerifiedBlock};

/// Why the feed ended.
#[derive(Debug, thiserror::Error)]
pub enum FeedError {
    /// The log did not take a record.
    #[error(transparent)]
    Publish(#[from] PublishError),
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
    publisher: Publisher,
    chain: ChainId,
    clock: Clock,
}

impl Feed {
    /// Appends to this log.
    pub fn new(log: Arc<dyn Log>, chain: ChainId, clock: Clock) -> Self {
        Self { publisher: Publisher::new(log), chain, clock }
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

    async fn append(&self, observations: &[Observation]) -> Result<(), FeedError> {
        let records = observations.iter().filter_map(|seen| self.record(seen).transpose());
        let records: Vec<Message> = records.collect::<Result<_, _>>()?;
        for letter in observations.iter().flat_map(|seen| self.unproven(seen)) {
            self.publisher.publish(topics::DEAD_LETTERS, letter.task.clone().as_bytes(), letter).await?;
        }
        if !records.is_empty() {
            let key = self.chain.to_string();
            self.publisher.publish_all(topics::CHAIN_INBOX, key.as_bytes(), &records).await?;
        }
        if let Some(head) = observations.iter().rev().find_map(head_of) {
            Metric::ChainAppended.set(head.number, &[("chain", self.chain.to_string())]);
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

    /// A transfer that one node alone vouches for is not credited and not forgotten: it is a dead letter.
    fn unproven<'a>(&'a self, observation: &'a Observation) -> impl Iterator<Item = DeadLetter> + 'a {
        let block = match observation {
            Observation::Block(block) => Some(block),
            _ => None,
        };
        block
            .into_iter()
            .flat_map(move |block| block.unproven.iter().map(move |moved| self.letter(block, moved)))
    }

    fn letter(&self, block: &VerifiedBlock, moved: &Erc20Transfer) -> DeadLetter {
        let place = BlockRef { number: block.number, hash: block.hash };
        let described = format!(
            "{} of {} from {} to {} in {} of block {}",
            moved.value, moved.token, moved.from, moved.to, moved.tx_hash, block.number
        );
        DeadLetter {
            meta: self.meta("unproven", &place),
            letter: DeadLetterId::derive(&[block.hash.as_slice(), &moved.log_index.to_be_bytes()]),
            task: format!("chain/{}", self.chain),
            topic: topics::CHAIN_INBOX.name.to_owned(),
            partition: 0,
            offset: 0,
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
