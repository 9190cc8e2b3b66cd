//! The blocks that were observed and may still be built upon, by hash. Guarantee: bounded by pruning; once pruned to
//! a finalized block, every block in it is that block or descends from it, so to link to the tree is to link above
//! finality.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use alloy_primitives::BlockHash;

use super::types::{BlockId, BlockRef};

/// Observed blocks.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tree {
    blocks: HashMap<BlockHash, BlockId>,
    heights: BTreeMap<u64, BTreeSet<BlockHash>>,
}

impl Tree {
    pub(crate) fn insert(&mut self, block: BlockId) {
        self.blocks.insert(block.hash, block);
        self.heights.entry(block.number).or_default().insert(block.hash);
    }

    pub(crate) fn contains(&self, hash: BlockHash) -> bool {
        self.blocks.contains_key(&hash)
    }

    pub(crate) fn get(&self, hash: BlockHash) -> Option<&BlockId> {
        self.blocks.get(&hash)
    }

    /// The lowest remembered block, any of them when several stand at that height.
    pub(crate) fn oldest(&self) -> Option<BlockRef> {
        let (number, hashes) = self.heights.first_key_value()?;
        hashes.first().map(|hash| BlockRef { number: *number, hash: *hash })
    }

    /// True when `ancestor` is `block` or stands below it on the same branch.
    pub(crate) fn is_ancestor(&self, ancestor: BlockRef, block: BlockHash) -> bool {
        let mut at = block;
        while let Some(found) = self.blocks.get(&at) {
            if found.number <= ancestor.number {
                return found.hash == ancestor.hash;
            }
            at = found.parent;
        }
        false
    }

    /// Forgets every block below the height.
    pub(crate) fn prune_below(&mut self, number: u64) {
        while let Some(entry) = self.heights.first_entry() {
            if *entry.key() >= number {
                return;
            }
            for hash in entry.remove() {
                self.blocks.remove(&hash);
            }
        }
    }

    /// Forgets every block that neither is the given one nor descends from it.
    pub(crate) fn prune_to(&mut self, root: BlockRef) {
        self.prune_below(root.number);
        let mut kept = BTreeSet::from([root.hash]);
        let blocks = &mut self.blocks;
        for (number, hashes) in &mut self.heights {
            hashes.retain(|hash| {
                let Some(block) = blocks.get(hash) else { return false };
                let keep = *hash == root.hash || (*number > root.number && kept.contains(&block.parent));
                if keep {
                    kept.insert(*hash);
                } else {
                    blocks.remove(hash);
                }
                keep
            });
        }
        self.heights.retain(|_, hashes| !hashes.is_empty());
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.blocks.len()
    }
}
