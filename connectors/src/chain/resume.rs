//! Where a connector goes on: from what `chain.inbox` holds of its chain. Guarantee: what it finds was appended, so
//! nothing is skipped; what was observed and not appended is observed again. Where an operator has rebuilt the chain on a
//! block, that block is the head and final, and nothing older counts but it: what stood above it is observed again.

use std::collections::HashMap;

use alloy_primitives::BlockHash;
use streambook_log::{Log, LogError, ReadLimit, Visibility, partitioner::partition_of};
use streambook_model::{
    chain::ChainId,
    codec::{self, CodecError},
    message::Message,
    position::{Offset, TopicPartition},
    topics,
};

use super::{
    follower::Resume,
    types::{BlockId, BlockRef},
};

/// Records read at once, going backwards.
const CHUNK: u64 = 1_000;
/// Enough blocks to find a fork's ancestor in; older ones are settled for practical purposes where a chain has no
/// finality tag. As many as the connector remembers unless told otherwise, so that a restart forgets nothing; chains of four
/// blocks a second are final after some 5,000.
const BLOCKS: usize = 16_384;
/// Blocks that an operator can go back at most, as many as the reorg processor takes back at once.
const BRANCH: usize = 100_000;

/// What the log holds cannot be used to go on.
#[derive(Debug, thiserror::Error)]
pub enum ResumeFailure {
    /// The log cannot be read.
    #[error("cannot read the chain's inbox")]
    Read(#[from] LogError),
    /// A record cannot be decoded.
    #[error("a record of the chain's inbox cannot be decoded")]
    Decode(#[from] CodecError),
}

/// Reads the chain's inbox backwards until the last head, the last finalized block and the blocks down to it are found.
///
/// # Errors
/// [`ResumeFailure`] when the inbox cannot be read.
pub async fn resume(log: &dyn Log, chain: ChainId) -> Result<Resume, ResumeFailure> {
    let inbox = inbox(chain);
    let bounds = log.bounds(&inbox, Visibility::Written).await?;
    let mut found = Found { chain, ..Found::default() };
    let mut end = bounds.end.0;
    while end > bounds.first.0 && !found.is_enough() {
        let start = end.saturating_sub(CHUNK).max(bounds.first.0);
        found.take_chunk(chunk(log, &inbox, start, end).await?);
        end = start;
    }
    Ok(found.into_resume())
}

/// The branch of the last head in the log, newest first, as far down as the log holds it, and at most [`BRANCH`] blocks. It goes
/// below the last final block and below blocks the chain was rebuilt on: a fork can begin deeper than those.
///
/// # Errors
/// [`ResumeFailure`] when the inbox cannot be read.
pub async fn branch(log: &dyn Log, chain: ChainId) -> Result<Vec<BlockId>, ResumeFailure> {
    let inbox = inbox(chain);
    let bounds = log.bounds(&inbox, Visibility::Written).await?;
    let mut found = Found { chain, is_history: true, ..Found::default() };
    let (mut branch, mut known) = (Vec::new(), HashMap::new());
    let mut end = bounds.end.0;
    while end > bounds.first.0 && branch.len() < BRANCH {
        let start = end.saturating_sub(CHUNK).max(bounds.first.0);
        found.take_chunk(chunk(log, &inbox, start, end).await?);
        known.extend(found.blocks.drain(..).map(|block| (block.hash, block)));
        extend(&mut branch, found.head, &known);
        end = start;
    }
    Ok(branch)
}

/// Adds the blocks that are known below the branch's last one, or below the head.
fn extend(branch: &mut Vec<BlockId>, head: Option<BlockRef>, known: &HashMap<BlockHash, BlockId>) {
    let mut next = branch.last().map(|block| block.parent).or(head.map(|head| head.hash));
    while let Some(block) = next.and_then(|hash| known.get(&hash)).filter(|_| branch.len() < BRANCH) {
        branch.push(*block);
        next = Some(block.parent);
    }
}

/// The partition of the chain's inbox.
pub(super) fn inbox(chain: ChainId) -> TopicPartition {
    let partition = partition_of(chain.to_string().as_bytes(), topics::CHAIN_INBOX.partitions);
    TopicPartition::new(topics::CHAIN_INBOX.topic(), partition)
}

async fn chunk(
    log: &dyn Log,
    inbox: &TopicPartition,
    start: u64,
    end: u64,
) -> Result<Vec<Message>, ResumeFailure> {
    let mut messages = Vec::new();
    let mut next = start;
    while next < end {
        let limit =
            ReadLimit { records: usize::try_from(end - next).unwrap_or(usize::MAX), ..ReadLimit::default() };
        let records = log.read(inbox, Offset(next), limit, Visibility::Written).await?;
        let Some(last) = records.last() else { break };
        next = last.offset.0 + 1;
        for record in &records {
            messages.push(codec::decode(&record.value)?);
        }
    }
    Ok(messages)
}

/// What was found so far, newest first.
#[derive(Default)]
struct Found {
    chain: ChainId,
    head: Option<BlockRef>,
    finalized: Option<BlockRef>,
    /// The block that an operator has rebuilt the chain on; what is older than that was before it.
    root: Option<BlockRef>,
    /// Blocks from before a rebuild count as well.
    is_history: bool,
    blocks: Vec<BlockId>,
}

impl Found {
    fn take_chunk(&mut self, messages: Vec<Message>) {
        for message in messages.into_iter().rev() {
            match message {
                Message::ChainBlock(block) if block.chain == self.chain => self.take_block(BlockId {
                    number: block.number.0,
                    hash: (*block.hash.as_bytes()).into(),
                    parent: (*block.parent_hash.as_bytes()).into(),
                }),
                Message::ChainRebuild(rebuild) if rebuild.chain == self.chain && self.root.is_none() => {
                    let root = BlockRef { number: rebuild.number.0, hash: (*rebuild.hash.as_bytes()).into() };
                    self.root = Some(root);
                    self.head = self.head.or(self.root);
                    self.finalized = self.finalized.or(self.root);
                }
                Message::ChainHead(head) if head.chain == self.chain && self.head.is_none() => {
                    self.head =
                        Some(BlockRef { number: head.number.0, hash: (*head.hash.as_bytes()).into() });
                }
                Message::ChainFinalized(block) if block.chain == self.chain && self.finalized.is_none() => {
                    self.finalized =
                        Some(BlockRef { number: block.number.0, hash: (*block.hash.as_bytes()).into() });
                }
                _ => {}
            }
        }
    }

    fn take_block(&mut self, block: BlockId) {
        if self.is_history || self.root.is_none_or(|root| root.hash == block.hash) {
            self.blocks.push(block);
        }
    }

    fn holds(&self, block: Option<BlockRef>) -> bool {
        block.is_some_and(|wanted| self.blocks.iter().any(|block| block.hash == wanted.hash))
    }

    fn is_enough(&self) -> bool {
        self.holds(self.head) && (self.holds(self.finalized) || self.blocks.len() >= BLOCKS)
    }

    fn into_resume(mut self) -> Resume {
        // A finalized block further back than what was read is below every block that is known.
        let finalized = self.finalized.filter(|_| self.holds(self.finalized));
        self.blocks.reverse();
        Resume { recent: self.blocks, head: self.head, finalized }
    }
}
