//! Decides what to ask a node next and what to observe, from what was observed before. Pure: no clock, no network.
//!
//! Guarantee, whatever the nodes report: each block is observed once (until it is forgotten below finality), after
//! its parent; a `Head` names an observed block, and comes after all blocks of its branch, so a reorganisation of
//! several blocks is one switch; a `Finalized` block is an ancestor of the head and never goes back. Blocks are
//! told apart by hash. Heights decide only how to ask (by number while catching up, by parent hash to find a fork)
//! and when to doubt a report: an ancestor of the head is a node that lags, not a reorganisation, and a branch that is
//! not longer than one already left is believed once it is reported several times in a row.

mod report;
#[cfg(test)]
mod tests;

use alloy_primitives::BlockHash;

use super::tree::Tree;
use super::types::{BlockId, BlockRef, ForkBelowFinality, Observation, VerifiedBlock};

/// Blocks observed while catching up before a `Head` lets the consumers proceed.
const BLOCKS_PER_HEAD: u64 = 100;

/// A longer way to the reported head is asked for by number, a shorter one by parent hash.
const LONGEST_WALK_TO_HEAD: u64 = 8;

/// A step asks for at most so many blocks by number, then looks at the head anew.
const LONGEST_RANGE: u64 = 1_024;

/// What is known from the log when the connector starts.
#[derive(Debug, Clone, Default)]
pub struct Resume {
    /// The blocks that were observed and not yet final, with the finalized one; parents first.
    pub recent: Vec<BlockId>,
    /// The last `Head` that was observed.
    pub head: Option<BlockRef>,
    /// The last `Finalized` that was observed.
    pub finalized: Option<BlockRef>,
}

/// What is known from the log names a head or a finalized block that is not among the recent blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("block {} ({}) is the head or final and is not among the recent blocks", block.number, block.hash)]
pub struct ResumeError {
    /// The block.
    pub block: BlockRef,
}

/// What to ask a node next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Ask for the canonical blocks at these heights, ends included, and hand them over in this order.
    Fetch {
        /// The first height.
        from: u64,
        /// The last height.
        to: u64,
    },
    /// Ask for the block with this hash: the parent of one that does not link yet, or a new head.
    WalkBack(BlockHash),
    /// This look at the head is done.
    Done,
    /// Nothing can be done before the next look at the head.
    Wait(Wait),
}

/// Why there is nothing to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// The node's head is the observed one.
    UpToDate,
    /// The chain has not reached the start block.
    BeforeStart,
    /// The node's head is below the observed one on the same branch, or below finality.
    NodeLags,
    /// The node reports a branch that is not longer than the observed one; it has to say so again.
    Doubtful,
}

/// What a step leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// To be appended in this order.
    pub observations: Vec<Observation>,
    /// What to do then.
    pub next: Next,
}

/// Why a block cannot be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FollowError {
    /// Another block than the one asked for.
    #[error("block {} ({}) was not asked for", block.number, block.hash)]
    NotAskedFor {
        /// What was handed over.
        block: BlockRef,
    },
    /// A block whose height is not one below that of its child.
    #[error("block {} ({}) is the parent of one at height {child}", block.number, block.hash)]
    HeightGap {
        /// The parent.
        block: BlockRef,
        /// The child's height.
        child: u64,
    },
    /// The chain must stop.
    #[error(transparent)]
    Fork(#[from] ForkBelowFinality),
}

#[derive(Debug, Clone, Copy)]
enum Mode {
    Idle,
    /// Waiting for the canonical block at `next`.
    Range {
        next: u64,
        to: u64,
    },
    /// Waiting for the block `want`; then the range goes on at `next` when there was one.
    Walk {
        want: BlockHash,
        then: Option<(u64, u64)>,
    },
}

/// The state of one chain's observation.
#[derive(Debug, Clone)]
pub struct Follower {
    start: u64,
    remembered: u64,
    tree: Tree,
    head: Option<BlockRef>,
    tip: Option<BlockRef>,
    safe: Option<BlockRef>,
    finalized: Option<BlockRef>,
    mode: Mode,
    pending: Vec<VerifiedBlock>,
    blocks_since_head: u64,
    doubts: u32,
}

impl Follower {
    /// A chain that is read from `start` on, as far as it was observed before. `remembered` is how many blocks
    /// below the head others may link to where finality does not bound them.
    ///
    /// # Errors
    /// [`ResumeError`] when what was observed does not hang together.
    pub fn new(start: u64, remembered: u64, resume: Resume) -> Result<Self, ResumeError> {
        let mut tree = Tree::default();
        resume.recent.into_iter().for_each(|block| tree.insert(block));
        let missing =
            [resume.head, resume.finalized].into_iter().flatten().find(|block| !tree.contains(block.hash));
        if let Some(block) = missing {
            return Err(ResumeError { block });
        }
        // Left branches below finality are in the log too; to a node that is stuck on one they must be as unknown after
        // a restart as they were before it.
        resume.finalized.into_iter().for_each(|floor| tree.prune_to(floor));
        // An older head can stand last in the log where it was appended twice.
        let head = resume.head.filter(|head| tree.contains(head.hash)).or(resume.finalized);
        Ok(Self {
            start,
            remembered,
            tree,
            head,
            tip: head,
            safe: None,
            finalized: resume.finalized,
            mode: Mode::Idle,
            pending: Vec::new(),
            blocks_since_head: 0,
            doubts: 0,
        })
    }

    /// The last observed head.
    pub fn head(&self) -> Option<BlockRef> {
        self.head
    }

    /// The last observed finalized block.
    pub fn finalized(&self) -> Option<BlockRef> {
        self.finalized
    }

    /// Takes a block that [`Next`] asked for.
    ///
    /// # Errors
    /// [`FollowError::Fork`] stops the chain; the others are a wrong answer, after which to [`Follower::abandon`].
    pub fn on_block(&mut self, block: VerifiedBlock) -> Result<Step, FollowError> {
        let then = self.expect(&block)?;
        self.check_finality(&block)?;
        if !self.links(&block)? {
            let parent = block.parent_hash;
            self.check_floor(&block)?;
            self.pending.push(block);
            self.mode = Mode::Walk { want: parent, then };
            return Ok(Step { observations: Vec::new(), next: Next::WalkBack(parent) });
        }
        let mut observations = Vec::new();
        self.observe(block, &mut observations);
        while let Some(child) = self.pending.pop() {
            self.observe(child, &mut observations);
        }
        let next = self.proceed(then, &mut observations);
        Ok(Step { observations, next })
    }

    /// Gives up what was asked for, after a node failed. What was observed stays; a `Head` makes it count when it
    /// prolongs the observed branch.
    pub fn abandon(&mut self) -> Option<Observation> {
        self.mode = Mode::Idle;
        self.pending.clear();
        let (head, tip) = (self.head, self.tip?);
        let prolongs = head.is_none_or(|head| self.tree.is_ancestor(head, tip.hash));
        if prolongs {
            return self.observe_head(tip);
        }
        self.tip = head;
        None
    }

    /// Takes back the last `Head`, which was not handed on, since not enough nodes say the same. Its blocks stay observed: a
    /// block says nothing about being canonical.
    pub fn disown_head(&mut self, before: Option<BlockRef>) {
        self.head = before;
        if matches!(self.mode, Mode::Idle) {
            self.tip = before;
        }
    }

    /// Makes the blocks observed so far count while catching up; to be called now and then.
    pub fn flush_head(&mut self) -> Option<Observation> {
        match (self.mode, self.tip) {
            (Mode::Range { .. }, Some(tip)) => self.observe_head(tip),
            _ => None,
        }
    }

    /// Checks that the block is the one waited for; gives the range that is left after it.
    fn expect(&self, block: &VerifiedBlock) -> Result<Option<(u64, u64)>, FollowError> {
        let reference = block.id().reference();
        let child = self.pending.last().map(|child| child.number);
        match (self.mode, child) {
            (Mode::Range { next, to }, _) if block.number == next => {
                Ok(next.checked_add(1).map(|next| (next, to)))
            }
            (Mode::Walk { want, .. }, Some(child))
                if want == block.hash && block.number.checked_add(1) != Some(child) =>
            {
                Err(FollowError::HeightGap { block: reference, child })
            }
            (Mode::Walk { want, then }, _) if want == block.hash => Ok(then),
            _ => Err(FollowError::NotAskedFor { block: reference }),
        }
    }

    /// True when the block stands at the start or on an observed block.
    fn links(&self, block: &VerifiedBlock) -> Result<bool, FollowError> {
        match self.tree.get(block.parent_hash) {
            Some(parent) if parent.number.checked_add(1) != Some(block.number) => {
                Err(FollowError::HeightGap { block: parent.reference(), child: block.number })
            }
            Some(_) => Ok(true),
            None => Ok(block.number == self.start),
        }
    }

    /// A block at the finalized height or below that was not observed is another chain's.
    fn check_finality(&self, block: &VerifiedBlock) -> Result<(), ForkBelowFinality> {
        match self.finalized {
            Some(floor) if block.number <= floor.number && !self.tree.contains(block.hash) => {
                Err(ForkBelowFinality { floor, found: block.id().reference() })
            }
            _ => Ok(()),
        }
    }

    /// A block just above the floor whose parent is not known leads to a fork below it.
    fn check_floor(&self, block: &VerifiedBlock) -> Result<(), ForkBelowFinality> {
        let Some(floor) = self.finalized.or_else(|| self.tree.oldest()) else { return Ok(()) };
        let parent = BlockRef { number: block.number.saturating_sub(1), hash: block.parent_hash };
        if parent.number <= floor.number {
            return Err(ForkBelowFinality { floor, found: parent });
        }
        Ok(())
    }

    fn observe(&mut self, block: VerifiedBlock, observations: &mut Vec<Observation>) {
        self.tip = Some(block.id().reference());
        if self.tree.contains(block.hash) {
            return;
        }
        self.tree.insert(block.id());
        self.blocks_since_head = self.blocks_since_head.saturating_add(1);
        observations.push(Observation::Block(Box::new(block)));
    }

    /// Goes on with the range, or ends the step with the head it reached.
    fn proceed(&mut self, then: Option<(u64, u64)>, observations: &mut Vec<Observation>) -> Next {
        let tip = self.tip;
        if let Some((next, to)) = then.filter(|(next, to)| next <= to) {
            self.mode = Mode::Range { next, to };
            if self.blocks_since_head >= BLOCKS_PER_HEAD {
                observations.extend(tip.and_then(|tip| self.observe_head(tip)));
            }
            return Next::Fetch { from: next, to };
        }
        self.mode = Mode::Idle;
        observations.extend(tip.and_then(|tip| self.observe_head(tip)));
        Next::Done
    }

    fn observe_head(&mut self, tip: BlockRef) -> Option<Observation> {
        self.blocks_since_head = 0;
        self.tip = Some(tip);
        if self.head == Some(tip) {
            return None;
        }
        self.head = Some(tip);
        self.tree.prune_below(tip.number.saturating_sub(self.remembered));
        Some(Observation::Head(tip))
    }
}
