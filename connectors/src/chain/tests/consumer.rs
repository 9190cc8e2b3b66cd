//! A receiver of observations that holds the connector to its promises.

use std::collections::HashMap;

use alloy_primitives::BlockHash;

use crate::chain::types::{BlockId, BlockRef, Observation, VerifiedBlock};

#[derive(Debug, Default)]
pub(crate) struct Consumer {
    pub(crate) start: u64,
    pub(crate) blocks: HashMap<BlockHash, VerifiedBlock>,
    pub(crate) order: Vec<BlockId>,
    pub(crate) heads: Vec<BlockRef>,
    pub(crate) finalized: Option<BlockRef>,
}

impl Consumer {
    pub(crate) fn starting_at(start: u64) -> Self {
        Self { start, ..Self::default() }
    }

    pub(crate) fn take(&mut self, observation: Observation) {
        match observation {
            Observation::Block(block) => self.take_block(*block),
            Observation::Head(head) => {
                assert!(self.blocks.contains_key(&head.hash), "head {head:?} was not observed as a block");
                assert_ne!(self.heads.last(), Some(&head), "the same head twice in a row");
                self.heads.push(head);
            }
            Observation::Safe(block) => assert!(self.is_canonical(block), "safe {block:?} is off the branch"),
            Observation::Finalized(block) => {
                assert!(self.is_canonical(block), "finalized {block:?} is off the branch");
                assert!(self.finalized.is_none_or(|floor| floor.number < block.number), "finality went back");
                self.finalized = Some(block);
            }
            Observation::ForkBelowFinality(fork) => panic!("{fork}"),
        }
    }

    fn take_block(&mut self, block: VerifiedBlock) {
        let links = block.number == self.start || self.blocks.contains_key(&block.parent_hash);
        assert!(links, "block {} was observed before its parent", block.number);
        self.order.push(block.id());
        let number = block.number;
        assert!(self.blocks.insert(block.hash, block).is_none(), "block {number} was observed twice");
    }

    fn is_canonical(&self, block: BlockRef) -> bool {
        self.canonical().iter().any(|id| id.hash == block.hash)
    }

    /// The branch of the latest head, from the start on.
    pub(crate) fn canonical(&self) -> Vec<BlockId> {
        let mut branch = Vec::new();
        let mut at = self.heads.last().map(|head| head.hash);
        while let Some(block) = at.and_then(|hash| self.blocks.get(&hash)) {
            branch.push(block.id());
            at = Some(block.parent_hash);
        }
        branch.reverse();
        branch
    }

    pub(crate) fn head(&self) -> Option<BlockHash> {
        self.heads.last().map(|head| head.hash)
    }
}
