//! How another branch becomes the canonical one.
//!
//! Everything that changes the canonical branch goes through `adopt`, mining included, so balances, the
//! pending queue and finality follow it in one place.

use std::collections::HashSet;
use std::sync::Arc;

use alloy_primitives::B256;
use serde::Serialize;

use super::settings::{BelowFinality, Dropped, ReorgOptions};
use super::tokens::Step;
use super::{BlockSpec, ChainError, DevChain};
use crate::block::{BlockRef, DevBlock};

/// What a reorganisation did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Reorged {
    /// The last block both branches share.
    pub ancestor: u64,
    /// Blocks that left the canonical branch, lowest first.
    pub orphaned: Vec<BlockRef>,
    /// Blocks that joined it, lowest first; the last is the new head.
    pub adopted: Vec<BlockRef>,
}

/// A branch that hangs on the canonical one.
struct Branch {
    ancestor: u64,
    blocks: Vec<Arc<DevBlock>>,
}

impl DevChain {
    /// Replaces the last `depth` blocks by new ones, of any number. The new branch has other hashes even
    /// if its blocks have the same contents and times.
    ///
    /// # Errors
    /// [`ChainError::EmptyReorg`], [`ChainError::BelowGenesis`], [`ChainError::UnknownNumber`] when the
    /// blocks below the fork are pruned, [`ChainError::BelowFinalized`] unless forced, and those of
    /// [`Self::extend`]; blocks made before the failing one then stay as orphans.
    pub fn reorg(
        &mut self,
        depth: u64,
        replacement: &[BlockSpec],
        options: ReorgOptions,
    ) -> Result<Reorged, ChainError> {
        let ancestor = self.reorg_ancestor(depth, replacement)?;
        self.check_finality(ancestor.number, options.below_finality)?;
        let mut tip = ancestor;
        for spec in replacement {
            tip = self.add_on(tip.hash, spec)?;
        }
        self.switch_to(tip.hash, options)
    }

    /// Makes the branch that ends with `hash` canonical, whether it was so before or never. A canonical
    /// block becomes the head, and those after it orphans.
    ///
    /// # Errors
    /// [`ChainError::UnknownBlock`] when the block, or one between it and the canonical branch, is not
    /// kept; [`ChainError::BelowFinalized`] unless forced.
    pub fn switch_to(&mut self, hash: B256, options: ReorgOptions) -> Result<Reorged, ChainError> {
        let branch = self.branch_to(hash)?;
        self.check_finality(branch.ancestor, options.below_finality)?;
        let adopted = branch.blocks.iter().map(|block| block.reference()).collect();
        let orphaned = self.adopt(branch.ancestor, branch.blocks);
        if options.dropped == Dropped::Requeue {
            self.requeue(branch.ancestor, &orphaned);
        }
        self.prune();
        let orphaned = orphaned.iter().map(|block| block.reference()).collect();
        Ok(Reorged { ancestor: branch.ancestor, orphaned, adopted })
    }

    /// Cuts the canonical branch above `ancestor`, puts `blocks` there, and returns what was cut.
    pub(super) fn adopt(&mut self, ancestor: u64, blocks: Vec<Arc<DevBlock>>) -> Vec<Arc<DevBlock>> {
        let cut = self.canonical.cut_above(ancestor);
        let orphaned: Vec<_> = cut.iter().filter_map(|block| self.store.get(block.hash)).cloned().collect();
        for block in &orphaned {
            self.tokens.step(block, Step::Revert);
        }
        self.head = self.canonical_block(ancestor).unwrap_or_else(|| Arc::clone(&self.genesis));
        for block in blocks {
            self.tokens.step(&block, Step::Apply);
            self.canonical.push(block.hash());
            block.transactions().iter().for_each(|transaction| self.pending.remove(transaction.hash()));
            self.head = block;
        }
        self.finality = self.finality.at_head(self.head.reference().number, self.settings.finality);
        orphaned
    }

    fn reorg_ancestor(&self, depth: u64, replacement: &[BlockSpec]) -> Result<BlockRef, ChainError> {
        let head = self.head.reference().number;
        if depth == 0 || replacement.is_empty() {
            return Err(ChainError::EmptyReorg);
        }
        let number = head.checked_sub(depth).ok_or(ChainError::BelowGenesis { depth, head })?;
        let ancestor = self.canonical.at(number).ok_or(ChainError::UnknownNumber(number))?;
        Ok(BlockRef { number, hash: ancestor })
    }

    const fn check_finality(&self, ancestor: u64, below: BelowFinality) -> Result<(), ChainError> {
        let finalized = self.finality.finalized;
        match below {
            BelowFinality::Refuse if ancestor < finalized => {
                Err(ChainError::BelowFinalized { ancestor, finalized })
            }
            BelowFinality::Refuse | BelowFinality::Force => Ok(()),
        }
    }

    fn branch_to(&self, hash: B256) -> Result<Branch, ChainError> {
        let mut blocks = Vec::new();
        let mut block = self.store.get(hash).ok_or(ChainError::UnknownBlock(hash))?;
        while !self.canonical.contains(block.reference()) {
            blocks.push(Arc::clone(block));
            let parent = block.header().parent_hash;
            block = self.store.get(parent).ok_or(ChainError::UnknownBlock(parent))?;
        }
        blocks.reverse();
        Ok(Branch { ancestor: block.reference().number, blocks })
    }

    /// Puts the transactions of orphaned blocks back into the queue, unless the new branch has them. The
    /// queue's limit does not hold here: what comes back was once accepted, and the blocks kept bound it.
    fn requeue(&mut self, ancestor: u64, orphaned: &[Arc<DevBlock>]) {
        let included: HashSet<_> = self
            .canonical_blocks(ancestor.saturating_add(1))
            .flat_map(|block| block.transactions().iter().map(|transaction| transaction.hash()))
            .collect();
        let dropped = orphaned.iter().flat_map(|block| block.transactions());
        for transaction in dropped.filter(|transaction| !included.contains(&transaction.hash())) {
            self.pending.push(Arc::clone(transaction));
        }
    }
}
