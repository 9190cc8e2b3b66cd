//! How the canonical branch changes when the head moves: a pure function from two heads and a way to look up parents to
//! a [`ChainChange`]. It compares hashes; heights only say which side to walk next.

use serde::{Deserialize, Serialize};
use streambook_model::{bytes::BlockHash, chain::BlockNumber};

/// A block by height and hash. Two blocks are the same if their hashes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockRef {
    /// Its height.
    pub number: BlockNumber,
    /// Its hash.
    pub hash: BlockHash,
}

/// What a move of the head does to the canonical branch. Each side holds at least one block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChainChange {
    /// The branch grew.
    Committed {
        /// The blocks that became canonical, oldest first.
        new: Vec<BlockRef>,
    },
    /// Part of the branch was replaced.
    Reorged {
        /// The blocks that are no longer canonical, newest first.
        old: Vec<BlockRef>,
        /// The blocks that became canonical, oldest first.
        new: Vec<BlockRef>,
    },
    /// The head moved back to one of its ancestors.
    Reverted {
        /// The blocks that are no longer canonical, newest first.
        old: Vec<BlockRef>,
    },
}

impl ChainChange {
    /// The blocks to take back, newest first, and those to add, oldest first.
    pub fn into_sides(self) -> (Vec<BlockRef>, Vec<BlockRef>) {
        match self {
            Self::Committed { new } => (Vec::new(), new),
            Self::Reorged { old, new } => (old, new),
            Self::Reverted { old } => (old, Vec::new()),
        }
    }
}

/// Why two heads do not lead to a change.
#[derive(Debug, PartialEq, Eq)]
pub enum Unreconciled<E> {
    /// The new branch leaves the old one below the final block.
    BelowFinality {
        /// The new branch's block at the final block's height, or the new head where that is lower.
        block: BlockRef,
    },
    /// A block of one of the branches is not in the tree.
    Missing(BlockHash),
    /// A parent could not be looked up.
    Lookup(E),
}

/// Walks from both heads to their common ancestor, which is `floor` or above. `old` descends from `floor` or is it;
/// `parent` gives the hash of a block's parent. Ends after as many steps as both branches have blocks above `floor`.
pub fn reconcile<E>(
    floor: BlockRef,
    old: BlockRef,
    new: BlockRef,
    mut parent: impl FnMut(&BlockHash) -> Result<Option<BlockHash>, E>,
) -> Result<ChainChange, Unreconciled<E>> {
    let (mut left, mut right) = (old, new);
    let (mut old, mut new) = (Vec::new(), Vec::new());
    while left != right {
        if left != floor && left.number >= right.number {
            old.push(left);
            left = below(left, &mut parent)?;
        } else if right.number <= floor.number {
            return Err(Unreconciled::BelowFinality { block: right });
        } else {
            new.push(right);
            right = below(right, &mut parent)?;
        }
    }
    new.reverse();
    Ok(match (old.is_empty(), new.is_empty()) {
        (true, _) => ChainChange::Committed { new },
        (false, true) => ChainChange::Reverted { old },
        (false, false) => ChainChange::Reorged { old, new },
    })
}

fn below<E>(
    block: BlockRef,
    parent: &mut impl FnMut(&BlockHash) -> Result<Option<BlockHash>, E>,
) -> Result<BlockRef, Unreconciled<E>> {
    let hash = parent(&block.hash).map_err(Unreconciled::Lookup)?.ok_or(Unreconciled::Missing(block.hash))?;
    let number = block.number.0.checked_sub(1).ok_or(Unreconciled::Missing(block.hash))?;
    Ok(BlockRef { number: BlockNumber(number), hash })
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, convert::Infallible};

    use super::*;

    /// `a3` is the block of branch `a` at height 3.
    fn block(name: &str) -> BlockRef {
        let mut hash = [0; 32];
        hash[..name.len()].copy_from_slice(name.as_bytes());
        BlockRef { number: BlockNumber(name[1..].parse().unwrap()), hash: BlockHash::new(hash) }
    }

    fn names(blocks: &[BlockRef]) -> String {
        let name =
            |b: &BlockRef| String::from_utf8_lossy(b.hash.as_bytes()).trim_end_matches('\0').to_owned();
        blocks.iter().map(name).collect::<Vec<_>>().join(" ")
    }

    /// The tree g0 ← a1 ← a2 ← a3 and a1 ← b2 ← b3 ← b4, and x1 ← x2 from elsewhere.
    fn change(floor: &str, old: &str, new: &str) -> Result<ChainChange, Unreconciled<Infallible>> {
        let links = ["a1 g0", "a2 a1", "a3 a2", "b2 a1", "b3 b2", "b4 b3", "x1 x0", "x2 x1", "y3 y2"];
        let link =
            |text: &str| text.split_once(' ').map(|(child, parent)| (block(child).hash, block(parent).hash));
        let parents: BTreeMap<[u8; 32], BlockHash> =
            links.iter().filter_map(|l| link(l)).map(|(c, p)| (*c.as_bytes(), p)).collect();
        reconcile(block(floor), block(old), block(new), |hash| Ok(parents.get(hash.as_bytes()).copied()))
    }

    fn check(floor: &str, old: &str, new: &str, expect: &str) {
        let said = match change(floor, old, new) {
            Ok(ChainChange::Committed { new }) => format!("committed {}", names(&new)),
            Ok(ChainChange::Reorged { old, new }) => format!("took back {} for {}", names(&old), names(&new)),
            Ok(ChainChange::Reverted { old }) => format!("reverted {}", names(&old)),
            Err(Unreconciled::BelowFinality { block }) => format!("forks at or below {}", names(&[block])),
            Err(Unreconciled::Missing(_)) => "missing".to_owned(),
        };
        assert_eq!(said, expect);
    }

    #[test]
    fn a_head_further_up_commits_the_blocks_between_oldest_first() {
        check("g0", "a1", "a3", "committed a2 a3");
        check("g0", "g0", "a1", "committed a1");
    }

    #[test]
    fn a_head_on_another_branch_takes_back_newest_first_whatever_the_heights() {
        check("g0", "a3", "b4", "took back a3 a2 for b2 b3 b4");
        check("g0", "a3", "b2", "took back a3 a2 for b2");
        check("g0", "a2", "b2", "took back a2 for b2");
        check("g0", "b4", "a2", "took back b4 b3 b2 for a2");
    }

    #[test]
    fn a_head_at_an_ancestor_reverts() {
        check("g0", "a3", "a1", "reverted a3 a2");
        check("a1", "b4", "a1", "reverted b4 b3 b2");
    }

    #[test]
    fn a_fork_may_leave_at_the_final_block_and_not_below() {
        check("a1", "a3", "b3", "took back a3 a2 for b2 b3");
        check("a2", "a3", "b4", "forks at or below b2");
        check("a2", "a2", "b2", "forks at or below b2");
        check("a2", "a3", "a1", "forks at or below a1");
        check("g0", "a3", "x2", "forks at or below x0");
    }

    #[test]
    fn a_branch_with_a_hole_is_not_reconciled() {
        check("g0", "a3", "y3", "missing");
    }
}
