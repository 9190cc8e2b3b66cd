//! Six real reorganisations of Ethereum mainnet, as hashes and heights in their order of arrival with the depth that was
//! observed. Parents are not published: the blocks of a height are linked so that they form the recorded fork, the
//! first arrival of a height to the branch that lost and the last to the one that stayed. In one case a block's child
//! arrived before it, as it did in reality.

use std::path::PathBuf;

use serde::Deserialize;
use streambook_model::{
    bytes::BlockHash,
    chain::{BlockNumber, ChainId},
    message::Message,
    records::chain::{ChainBlock, ChainHead},
};

use super::world::{World, time_at};

#[derive(Deserialize)]
struct Recorded {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    #[serde(default)]
    arrivals: Vec<(u64, BlockHash)>,
    expected: Expected,
}

#[derive(Deserialize)]
struct Expected {
    start: u64,
    end: u64,
    depth: u32,
    blocks: usize,
    replaced: usize,
}

#[derive(Clone, Copy)]
struct Placed {
    number: u64,
    hash: BlockHash,
    parent: BlockHash,
}

impl Case {
    /// The hash that arrived as the `nth` of its height, or one made up where none was recorded.
    fn hash(&self, number: u64, nth: usize) -> BlockHash {
        let recorded = self.arrivals.iter().filter(|(height, _)| *height == number).nth(nth);
        let made_up = || {
            let mut bytes = [0; 32];
            bytes[..8].copy_from_slice(&number.to_be_bytes());
            bytes[8..16].copy_from_slice(&(nth as u64 + 1).to_be_bytes());
            BlockHash::new(bytes)
        };
        recorded.map_or_else(made_up, |(_, hash)| *hash)
    }

    /// The losing branch, uncles beside its first block, and the branch that stayed, which ends one block further up.
    fn blocks(&self) -> Vec<Placed> {
        let Expected { start, end, replaced, depth, .. } = self.expected;
        let uncles = replaced - usize::try_from(depth).unwrap();
        let base = self.hash(start - 1, 0);
        let mut placed = vec![Placed { number: start - 1, hash: base, parent: self.hash(start - 2, 0) }];
        let (mut lost, mut stayed) = (base, base);
        for number in start..=end {
            let beside = if number == start { uncles } else { 0 };
            let below = lost;
            let hash = self.hash(number, 0);
            placed.push(Placed { number, hash, parent: std::mem::replace(&mut lost, hash) });
            for uncle in 0..beside {
                placed.push(Placed { number, hash: self.hash(number, 1 + uncle), parent: below });
            }
            let hash = self.hash(number, 1 + beside);
            placed.push(Placed { number, hash, parent: std::mem::replace(&mut stayed, hash) });
        }
        placed.push(Placed { number: end + 1, hash: self.hash(end + 1, 0), parent: stayed });
        let arrival = |block: &Placed| self.arrivals.iter().position(|(_, hash)| *hash == block.hash);
        // Some cases name a few arrivals only; those blocks come by height.
        if placed.iter().all(|block| arrival(block).is_some()) {
            placed.sort_by_key(arrival);
        }
        placed
    }

    /// Replays the arrivals; the first block of each height is a head, as a node that follows the longest chain has it.
    /// Gives the deepest reorganisation and the heights of the heads.
    fn replay(&self) -> (u32, Vec<u64>) {
        let mut world = World::new();
        let (mut highest, mut depth, mut heads) = (0, 0, Vec::new());
        for block in self.blocks() {
            let meta = world.bench.meta();
            let (number, hash, parent_hash) = (BlockNumber(block.number), block.hash, block.parent);
            let timestamp = time_at(block.number);
            let arrived = ChainBlock {
                meta,
                chain: ChainId(1),
                number,
                hash,
                parent_hash,
                timestamp,
                transfers: Vec::new(),
            };
            let mut outputs = world.bench.feed(arrived);
            if block.number > highest {
                highest = block.number;
                let meta = world.bench.meta();
                outputs.extend(world.bench.feed(ChainHead { meta, chain: ChainId(1), number, hash }));
            }
            for (_, message) in outputs {
                if let Message::ChainStatus(status) = message {
                    assert_eq!(status.halted, None);
                    depth = depth.max(status.reorg_depth);
                    heads.push(status.head_number.0);
                }
            }
        }
        (depth, heads)
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the test reads recorded data; a processor reads none")]
fn the_recorded_reorganisations_replay_to_their_depths() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../../shared/data/chain/reorg-trees/flashbots-mainnet-2021.json");
    let Ok(text) = std::fs::read_to_string(&path) else {
        println!(
            "NOT RUN: the recorded reorganisations are not at ../shared/data/chain/reorg-trees beside the project; put the shared data there"
        );
        return;
    };
    let recorded: Recorded = serde_json::from_str(&text).unwrap();
    assert_eq!(recorded.cases.len(), 6);
    for case in &recorded.cases {
        let in_fork = |block: &Placed| (case.expected.start..=case.expected.end).contains(&block.number);
        assert_eq!(case.blocks().into_iter().filter(in_fork).count(), case.expected.blocks, "{}", case.name);
        let (depth, heads) = case.replay();
        assert_eq!(depth, case.expected.depth, "{}", case.name);
        assert_eq!(heads.last(), Some(&(case.expected.end + 1)), "{}", case.name);
    }
}
