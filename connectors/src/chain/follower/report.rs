//! What the follower makes of a node's reports: its head, and its `safe` and `finalized` blocks. Guarantee: a report
//! alone never takes a block back; it only leads to asking for the blocks that show it.

use super::{Follower, LONGEST_RANGE, LONGEST_WALK_TO_HEAD, Mode, Next, Step, Wait};
use crate::chain::types::{BlockId, BlockRef, ForkBelowFinality, Observation};

/// How often in a row a branch that is not longer than the observed one is reported before it is believed.
const REPORTS_TO_BELIEVE: u32 = 3;

impl Follower {
    /// Takes the head that a node reports.
    pub fn on_head(&mut self, reported: BlockId) -> Step {
        self.mode = Mode::Idle;
        self.pending.clear();
        let target = reported.reference();
        let Some(head) = self.head else {
            if self.tree.contains(target.hash) {
                return Step {
                    observations: self.observe_head(target).into_iter().collect(),
                    next: Next::Done,
                };
            }
            return Step::asking(self.begin(target));
        };
        if target == head {
            return self.wait(Wait::UpToDate);
        }
        let known = self.tree.contains(target.hash);
        let below_floor = self.floor().is_some_and(|floor| target.number < floor);
        if (known && self.tree.is_ancestor(target, head.hash)) || (!known && below_floor) {
            return self.wait(Wait::NodeLags);
        }
        if target.number < head.number || (known && target.number == head.number) {
            self.doubts = self.doubts.saturating_add(1);
            if self.doubts < REPORTS_TO_BELIEVE {
                return Step::asking(Next::Wait(Wait::Doubtful));
            }
        }
        self.doubts = 0;
        if known {
            return Step { observations: self.observe_head(target).into_iter().collect(), next: Next::Done };
        }
        Step::asking(self.approach(head, target))
    }

    /// Takes the `finalized` block that a node reports. One that is not reached yet, or that another node already
    /// passed, says nothing new.
    ///
    /// # Errors
    /// [`ForkBelowFinality`] when it contradicts the finalized block at the same height.
    pub fn on_finalized(&mut self, reported: BlockRef) -> Result<Option<Observation>, ForkBelowFinality> {
        if let Some(floor) = self.finalized {
            if floor.number == reported.number && floor.hash != reported.hash {
                return Err(ForkBelowFinality { floor, found: reported });
            }
            if reported.number <= floor.number {
                return Ok(None);
            }
        }
        if !self.is_canonical(reported) {
            return Ok(None);
        }
        self.finalized = Some(reported);
        self.tree.prune_to(reported);
        Ok(Some(Observation::Finalized(reported)))
    }

    /// Takes the `safe` block that a node reports. It goes back only when its branch was left.
    pub fn on_safe(&mut self, reported: BlockRef) -> Option<Observation> {
        let moved = self.safe.is_none_or(|safe| reported.number > safe.number || !self.is_canonical(safe));
        let above_finality = self.finalized.is_none_or(|floor| reported.number >= floor.number);
        if !moved || !above_finality || self.safe == Some(reported) || !self.is_canonical(reported) {
            return None;
        }
        self.safe = Some(reported);
        Some(Observation::Safe(reported))
    }

    fn is_canonical(&self, block: BlockRef) -> bool {
        self.head
            .is_some_and(|head| self.tree.contains(block.hash) && self.tree.is_ancestor(block, head.hash))
    }

    /// The height below which an unknown head can only be a node that lags far behind.
    fn floor(&self) -> Option<u64> {
        self.finalized.or_else(|| self.tree.oldest()).map(|block| block.number)
    }

    fn wait(&mut self, wait: Wait) -> Step {
        self.doubts = 0;
        Step::asking(Next::Wait(wait))
    }

    fn begin(&mut self, target: BlockRef) -> Next {
        if target.number < self.start {
            return Next::Wait(Wait::BeforeStart);
        }
        self.range(self.start, target.number)
    }

    /// The way from the observed head to a block that is not known.
    fn approach(&mut self, head: BlockRef, target: BlockRef) -> Next {
        if target.number.saturating_sub(head.number) <= LONGEST_WALK_TO_HEAD {
            self.mode = Mode::Walk { want: target.hash, then: None };
            return Next::WalkBack(target.hash);
        }
        self.range(head.number.saturating_add(1), target.number)
    }

    fn range(&mut self, from: u64, target: u64) -> Next {
        let to = target.min(from.saturating_add(LONGEST_RANGE - 1));
        self.mode = Mode::Range { next: from, to };
        Next::Fetch { from, to }
    }
}

impl Step {
    fn asking(next: Next) -> Self {
        Self { observations: Vec::new(), next }
    }
}
