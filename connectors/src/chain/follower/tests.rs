//! The follower against a simulated chain: nodes that reorganise, go back, lag, flap and break off at any moment.

use std::collections::HashMap;

use alloy_primitives::{BlockHash, keccak256};
use proptest::prelude::*;

use super::{FollowError, Follower, Next, Resume, ResumeError, Step, Wait};
use crate::chain::tests::consumer::Consumer;
use crate::chain::types::{BlockId, BlockRef, Observation, TransactionsProof, VerifiedBlock};

const START: u64 = 5;

/// A node's view: all blocks there are, and its canonical branch from height 0.
#[derive(Clone)]
struct World {
    blocks: HashMap<BlockHash, BlockId>,
    canonical: Vec<BlockId>,
    left: Vec<Vec<BlockId>>,
    salt: u64,
}

impl World {
    fn of_height(height: u64) -> Self {
        let mut world = Self { blocks: HashMap::new(), canonical: Vec::new(), left: Vec::new(), salt: 0 };
        world.mine(height + 1);
        world
    }

    fn mine(&mut self, count: u64) {
        for _ in 0..count {
            self.salt += 1;
            let number = u64::try_from(self.canonical.len()).unwrap();
            let parent = self.canonical.last().map_or(BlockHash::ZERO, |block| block.hash);
            let hash = keccak256([number.to_be_bytes(), self.salt.to_be_bytes()].concat());
            let block = BlockId { number, hash, parent };
            self.blocks.insert(hash, block);
            self.canonical.push(block);
        }
    }

    /// Replaces the last `depth` blocks, not below `floor`, by `length` others.
    fn reorganise(&mut self, depth: usize, length: u64, floor: u64) {
        let lowest = usize::try_from(floor).unwrap() + 1;
        let keep = self.canonical.len().saturating_sub(depth).max(lowest).min(self.canonical.len());
        self.left.push(self.canonical.clone());
        self.canonical.truncate(keep);
        self.mine(length);
    }

    fn head(&self) -> BlockId {
        *self.canonical.last().unwrap()
    }

    fn at(&self, number: u64) -> Option<BlockId> {
        self.canonical.get(usize::try_from(number).unwrap()).copied()
    }
}

fn verified(block: BlockId) -> VerifiedBlock {
    VerifiedBlock {
        chain_id: 1,
        number: block.number,
        hash: block.hash,
        parent_hash: block.parent,
        timestamp: block.number,
        transfers: Vec::new(),
        unproven: Vec::new(),
        transactions: TransactionsProof::Proven,
    }
}

struct Run {
    follower: Follower,
    consumer: Consumer,
}

impl Run {
    fn new() -> Self {
        let follower = Follower::new(START, 1_000_000, Resume::default()).unwrap();
        Self { follower, consumer: Consumer::starting_at(START) }
    }

    fn take(&mut self, step: Step) -> Next {
        step.observations.into_iter().for_each(|observation| self.consumer.take(observation));
        step.next
    }

    /// One look at the head, given up after `patience` blocks.
    fn look(
        &mut self,
        world: &World,
        reported: BlockId,
        patience: usize,
    ) -> Result<Option<Wait>, FollowError> {
        let step = self.follower.on_head(reported);
        let mut next = self.take(step);
        for _ in 0..patience {
            let block = match next {
                Next::Done => return Ok(None),
                Next::Wait(wait) => return Ok(Some(wait)),
                Next::Fetch { from, .. } => world.at(from),
                Next::WalkBack(hash) => world.blocks.get(&hash).copied(),
            };
            let Some(block) = block else { break };
            let step = self.follower.on_block(verified(block))?;
            next = self.take(step);
        }
        let observation = self.follower.abandon();
        observation.into_iter().for_each(|observation| self.consumer.take(observation));
        Ok(None)
    }

    fn settle(&mut self, world: &World) {
        for _ in 0..50 {
            let wait = self.look(world, world.head(), usize::MAX).unwrap();
            if wait == Some(Wait::UpToDate) {
                return;
            }
        }
        panic!("the head was not reached in fifty looks");
    }

    fn assert_same_branch(&self, world: &World) {
        let expected: Vec<_> =
            world.canonical.iter().filter(|block| block.number >= START).copied().collect();
        assert_eq!(self.consumer.canonical(), expected);
    }
}

#[derive(Debug, Clone)]
enum Event {
    Mine(u64),
    Reorganise {
        depth: usize,
        length: u64,
    },
    /// The node returns to a branch it left.
    Return(usize),
    Look,
    /// A stale node behind the same URL answers about the head.
    Stale(usize),
    /// A node that is still on a branch that was left answers about the head.
    OtherBranch(usize),
    /// The node fails after some blocks.
    BreakOff(usize),
    Finalize(usize),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        3 => (1_u64..4).prop_map(Event::Mine),
        1 => (100_u64..300).prop_map(Event::Mine),
        4 => (1_usize..20, 0_u64..22).prop_map(|(depth, length)| Event::Reorganise { depth, length }),
        2 => any::<usize>().prop_map(Event::Return),
        6 => Just(Event::Look),
        2 => (1_usize..30).prop_map(Event::Stale),
        2 => any::<usize>().prop_map(Event::OtherBranch),
        2 => (0_usize..140).prop_map(Event::BreakOff),
        1 => (0_usize..40).prop_map(Event::Finalize),
    ]
}

fn happen(event: &Event, run: &mut Run, world: &mut World) {
    let floor = run.consumer.finalized.map_or(START, |block| block.number);
    let above_floor = |branch: &Vec<BlockId>| {
        run.consumer.finalized.is_none_or(|floor| branch.iter().any(|block| block.hash == floor.hash))
    };
    match *event {
        Event::Mine(count) => world.mine(count),
        Event::Reorganise { depth, length } => world.reorganise(depth, length, floor),
        Event::Return(pick) | Event::OtherBranch(pick) => {
            let candidates: Vec<_> =
                world.left.iter().filter(|branch| above_floor(branch)).cloned().collect();
            if candidates.is_empty() {
                return;
            }
            let branch = candidates[pick % candidates.len()].clone();
            let mut other = world.clone();
            other.canonical = branch;
            run.look(&other, other.head(), usize::MAX).unwrap();
            if matches!(event, Event::Return(_)) {
                let left = std::mem::replace(&mut world.canonical, other.canonical);
                world.left.push(left);
            }
        }
        Event::Look => drop(run.look(world, world.head(), usize::MAX).unwrap()),
        Event::Stale(behind) => {
            let index = world.canonical.len().saturating_sub(behind + 1);
            run.look(world, world.canonical[index], usize::MAX).unwrap();
        }
        Event::BreakOff(after) => drop(run.look(world, world.head(), after).unwrap()),
        Event::Finalize(depth) => {
            let index = world.canonical.len().saturating_sub(depth + 1);
            let observation = run.follower.on_finalized(world.canonical[index].reference()).unwrap();
            observation.into_iter().for_each(|observation| run.consumer.take(observation));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    /// The consumer checks at each observation that parents come first, that nothing comes twice and that a head is
    /// observed; at the end its branch is the node's.
    #[test]
    fn whatever_happens_the_observed_branch_ends_as_the_nodes(events in prop::collection::vec(event(), 1..40)) {
        let (mut run, mut world) = (Run::new(), World::of_height(START + 3));
        for event in events {
            happen(&event, &mut run, &mut world);
        }
        // A node that only went back looks like one that lags until it mines again.
        world.mine(1);
        run.settle(&world);
        run.assert_same_branch(&world);
    }
}

#[test]
fn catching_up_makes_heads_on_the_way() {
    let (mut run, world) = (Run::new(), World::of_height(START + 2_500));
    run.settle(&world);
    run.assert_same_branch(&world);
    assert!(run.consumer.heads.len() >= 25, "{} heads", run.consumer.heads.len());
}

#[test]
fn a_reorganisation_of_several_blocks_is_one_switch() {
    let (mut run, mut world) = (Run::new(), World::of_height(50));
    run.settle(&world);
    let (heads, blocks) = (run.consumer.heads.len(), run.consumer.order.len());
    world.reorganise(6, 6, START);
    run.settle(&world);
    run.assert_same_branch(&world);
    assert_eq!(run.consumer.heads.len(), heads + 1);
    let numbers: Vec<_> = run.consumer.order[blocks..].iter().map(|block| block.number).collect();
    assert_eq!(numbers, [45, 46, 47, 48, 49, 50]);
}

#[test]
fn an_ancestor_as_head_is_a_node_that_lags() {
    let (mut run, world) = (Run::new(), World::of_height(50));
    run.settle(&world);
    for _ in 0..10 {
        assert_eq!(run.look(&world, world.at(44).unwrap(), 9), Ok(Some(Wait::NodeLags)));
    }
    run.assert_same_branch(&world);
}

#[test]
fn a_shorter_branch_is_believed_when_it_is_reported_again_and_again() {
    let (mut run, mut world) = (Run::new(), World::of_height(50));
    run.settle(&world);
    let before = world.clone();
    world.reorganise(6, 2, START);
    assert_eq!(run.look(&world, world.head(), 9), Ok(Some(Wait::Doubtful)));
    assert_eq!(run.look(&world, world.head(), 9), Ok(Some(Wait::Doubtful)));
    assert_eq!(run.look(&before, before.head(), 9), Ok(Some(Wait::UpToDate)));
    assert_eq!(run.look(&world, world.head(), 9), Ok(Some(Wait::Doubtful)));
    run.assert_same_branch(&before);
    run.settle(&world);
    run.assert_same_branch(&world);
}

#[test]
fn a_fork_below_finality_stops_the_chain_and_a_node_far_behind_does_not() {
    let (mut run, mut world) = (Run::new(), World::of_height(60));
    run.settle(&world);
    let floor = world.at(40).unwrap().reference();
    assert_eq!(run.follower.on_finalized(floor), Ok(Some(Observation::Finalized(floor))));
    assert_eq!(run.look(&world, world.at(20).unwrap(), 9), Ok(Some(Wait::NodeLags)));
    world.reorganise(25, 30, START);
    let stopped = run.look(&world, world.head(), usize::MAX).unwrap_err();
    let expected = world.at(40).unwrap().reference();
    assert!(
        matches!(stopped, FollowError::Fork(fork) if fork.floor == floor && fork.found == expected),
        "{stopped}"
    );
    let stopped = run.follower.on_finalized(expected).unwrap_err();
    assert_eq!((stopped.floor, stopped.found), (floor, expected));
}

#[test]
fn without_finality_a_fork_below_what_is_remembered_stops_the_chain() {
    let mut world = World::of_height(300);
    let mut run = Run::new();
    run.follower = Follower::new(START, 100, Resume::default()).unwrap();
    run.settle(&world);
    assert_eq!(run.follower.tree.len(), 101);
    world.reorganise(150, 160, START);
    assert!(matches!(run.look(&world, world.head(), usize::MAX), Err(FollowError::Fork(_))));
}

#[test]
fn a_resumed_follower_goes_on_without_observing_anything_twice() {
    let (mut run, mut world) = (Run::new(), World::of_height(50));
    run.settle(&world);
    let resume = Resume { recent: run.consumer.order.clone(), head: run.follower.head(), finalized: None };
    run.follower = Follower::new(START, 1_000, resume).unwrap();
    assert_eq!(run.look(&world, world.head(), 9), Ok(Some(Wait::UpToDate)));
    world.reorganise(3, 5, START);
    run.settle(&world);
    run.assert_same_branch(&world);
}

#[test]
fn a_head_that_is_not_among_the_recent_blocks_cannot_be_resumed() {
    let head = BlockRef { number: 9, hash: keccak256(b"9") };
    let resume = Resume { recent: Vec::new(), head: Some(head), finalized: None };
    assert_eq!(Follower::new(START, 1_000, resume).err(), Some(ResumeError { block: head }));
}

#[test]
fn a_block_that_was_not_asked_for_is_refused_and_so_is_a_gap_in_heights() {
    let (mut run, mut world) = (Run::new(), World::of_height(20));
    run.settle(&world);
    world.mine(1);
    let head = world.head();
    assert_eq!(run.follower.on_head(head).next, Next::WalkBack(head.hash));
    let other = run.follower.on_block(verified(world.at(7).unwrap()));
    assert!(matches!(other, Err(FollowError::NotAskedFor { .. })), "{other:?}");
    let lifted = BlockId { number: head.number + 7, ..head };
    let lifted = run.follower.on_block(verified(lifted));
    assert!(matches!(lifted, Err(FollowError::HeightGap { .. })), "{lifted:?}");
}

#[test]
fn a_chain_below_its_start_block_is_waited_for() {
    let (mut run, mut world) = (Run::new(), World::of_height(START - 1));
    assert_eq!(run.look(&world, world.head(), 9), Ok(Some(Wait::BeforeStart)));
    world.mine(1);
    run.settle(&world);
    run.assert_same_branch(&world);
}

#[test]
fn safe_moves_with_its_branch_only() {
    let (mut run, mut world) = (Run::new(), World::of_height(50));
    run.settle(&world);
    let at = |world: &World, number| world.at(number).unwrap().reference();
    assert_eq!(run.follower.on_safe(at(&world, 45)), Some(Observation::Safe(at(&world, 45))));
    assert_eq!(run.follower.on_safe(at(&world, 44)), None);
    world.reorganise(10, 12, START);
    assert_eq!(run.follower.on_safe(at(&world, 43)), None);
    run.settle(&world);
    assert_eq!(run.follower.on_safe(at(&world, 43)), Some(Observation::Safe(at(&world, 43))));
}

/// A node that is stuck on a branch that was left below finality is told from one that reorganises, after a restart too.
#[test]
fn a_branch_below_finality_stays_forgotten_after_a_restart() {
    let mut world = World::of_height(7);
    let left = world.head();
    world.reorganise(2, 6, 0);
    let recent: Vec<_> = world.canonical[5..].iter().chain([&left]).copied().collect();
    let finalized = world.at(9).map(|block| block.reference());
    for head in [world.head(), world.at(8).unwrap()] {
        let resume = Resume { recent: recent.clone(), head: Some(head.reference()), finalized };
        let mut follower = Follower::new(START, 1_000_000, resume).unwrap();
        assert_eq!(follower.head().map(|head| head.number.max(9)), Some(head.number.max(9)));
        for _ in 0..5 {
            let step = follower.on_head(left);
            assert_eq!((step.observations, step.next), (Vec::new(), Next::Wait(Wait::NodeLags)));
        }
    }
}
