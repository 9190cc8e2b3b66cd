//! Random block trees, heads, watches and finality against an oracle that knows only the final canonical chain, and
//! since when each of its blocks has been canonical.

use std::collections::BTreeMap;

use proptest::prelude::*;
use streambook_model::{
    chain::ChainId,
    message::Message,
    records::chain::{ChainBlock, ChainFinalized, ChainHead, TransferEvent, TransferStatus},
};

use super::world::{World, block, hash, height};

/// The deepest reorganisation.
const DEEPEST: u64 = 6;
/// The payments, and their policies.
const POLICIES: [Option<u32>; 5] = [Some(1), Some(2), Some(4), None, Some(3)];

#[derive(Debug, Clone)]
enum Op {
    /// A block on some block near the head, with transfers to some payments. Some come after their child and the head.
    Grow { on: usize, pays: Vec<(usize, u64)>, late: bool },
    /// The head moves to some block near it.
    Head { to: usize },
    /// A payment's watch arrives.
    Watch { payment: usize },
    /// Finality moves up, so many blocks below the head.
    Final { below: u64 },
}

fn op() -> impl Strategy<Value = Op> {
    let pays = prop::collection::vec((0..POLICIES.len(), 0_u64..9), 0..4);
    prop_oneof![
        6 => (any::<prop::sample::Index>(), pays, prop::bool::weighted(0.2))
            .prop_map(|(on, pays, late)| Op::Grow { on: on.index(1000), pays, late }),
        5 => any::<prop::sample::Index>().prop_map(|to| Op::Head { to: to.index(1000) }),
        2 => (0..POLICIES.len()).prop_map(|payment| Op::Watch { payment }),
        1 => (0_u64..4).prop_map(|below| Op::Final { below }),
    ]
}

/// The tree, the head, and since when what is canonical: no tables, no walks from two sides.
#[derive(Default)]
struct Oracle {
    parents: BTreeMap<String, String>,
    pays: BTreeMap<String, Vec<(usize, u64)>>,
    order: Vec<String>,
    head: String,
    finalized: String,
    watched: Vec<usize>,
    times: BTreeMap<String, u32>,
    /// For each payment and block on the branch: the highest head since both were there.
    highest: BTreeMap<(usize, String), u64>,
}

/// What must be said at last, by (payment, transaction, log index): the block, the inclusion number, how far it came.
type Standing = BTreeMap<(String, String, u32), (String, u32, &'static str)>;

impl Oracle {
    fn path(&self, tip: &str) -> Vec<String> {
        let mut path = Vec::new();
        let mut at = Some(tip.to_owned());
        while let Some(name) = at {
            at = self.parents.get(&name).filter(|parent| self.parents.contains_key(*parent)).cloned();
            path.push(name);
        }
        path.reverse();
        path
    }

    /// The blocks a head could move to: near the head, above what is final.
    fn near(&self) -> Vec<String> {
        let top = height(&self.head).0;
        let reachable = |name: &&String| {
            let path = self.path(name);
            let shared =
                self.path(&self.head).iter().filter(|block| path.contains(block)).map(|b| height(b).0).max();
            path.contains(&self.finalized) && shared.is_some_and(|shared| shared + DEEPEST >= top)
        };
        self.order.iter().filter(reachable).cloned().collect()
    }

    fn moved(&mut self, head: &str) {
        let before = self.path(&self.head);
        let path = self.path(head);
        let was_empty = self.times.is_empty();
        for name in path.iter().filter(|name| was_empty || !before.contains(name)) {
            *self.times.entry(name.clone()).or_default() += 1;
        }
        self.head = head.to_owned();
        self.highest.retain(|(_, block), _| path.contains(block));
        self.raise();
    }

    fn raise(&mut self) {
        let top = height(&self.head).0;
        for payment in self.watched.clone() {
            for name in self.path(&self.head) {
                let highest = self.highest.entry((payment, name)).or_default();
                *highest = top.max(*highest);
            }
        }
    }

    fn standing(&self) -> Standing {
        let mut standing = Standing::new();
        let finalized = height(&self.finalized).0;
        for name in self.path(&self.head) {
            let Some(times) = self.times.get(&name) else { continue };
            for (index, (payment, value)) in (0_u32..).zip(self.pays.get(&name).into_iter().flatten()) {
                let Some(highest) = self.highest.get(&(*payment, name.clone())) else { continue };
                if *value == 0 {
                    continue;
                }
                let at = height(&name).0;
                let confirmed = match POLICIES[*payment] {
                    Some(depth) => highest + 1 >= at + u64::from(depth),
                    None => at <= finalized,
                };
                let stage = match (confirmed, at <= finalized) {
                    (true, true) => "finalized",
                    (true, false) => "confirmed",
                    (false, _) => "seen",
                };
                let key = (format!("p{payment}"), format!("p{payment}={value}"), index);
                standing.insert(key, (name.clone(), *times, stage));
            }
        }
        standing
    }
}

/// Folds what was said; each step must follow from the one before.
fn fold(standing: &mut Standing, event: &TransferEvent) -> Result<(), TestCaseError> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end_matches('\0').to_owned();
    let inclusion = &event.inclusion;
    let key = (text(event.to.as_bytes()), text(inclusion.tx_hash.as_bytes()), inclusion.log_index);
    let block = text(inclusion.block_hash.as_bytes());
    let here = |stage| Some((block.clone(), inclusion.number, stage));
    let before = standing.get(&key).cloned();
    match event.status {
        TransferStatus::Seen => {
            prop_assert_eq!(before, None, "seen twice: {:?}", event);
            standing.extend(here("seen").map(|now| (key, now)));
        }
        TransferStatus::Confirmed => {
            prop_assert_eq!(before, here("seen"), "{:?}", event);
            standing.extend(here("confirmed").map(|now| (key, now)));
        }
        TransferStatus::Finalized => {
            prop_assert_eq!(before, here("confirmed"), "{:?}", event);
            standing.extend(here("finalized").map(|now| (key, now)));
        }
        TransferStatus::Orphaned => {
            prop_assert!(before == here("seen") || before == here("confirmed"), "{:?}", event);
            standing.remove(&key);
        }
    }
    Ok(())
}

struct Run {
    world: World,
    oracle: Oracle,
    said: Standing,
}

impl Run {
    fn start() -> Self {
        let mut run = Self { world: World::new(), oracle: Oracle::default(), said: Standing::new() };
        run.oracle.parents.insert("g1".into(), "g0".into());
        run.oracle.order.push("g1".into());
        run.oracle.finalized = "g1".into();
        run.oracle.head = "g1".into();
        let first = block(run.world.bench.meta(), ChainId(1), "g1", "g0", "");
        run.world.bench.feed(first);
        run.feed_head("g1").unwrap();
        run.oracle.moved("g1");
        run
    }

    fn feed(&mut self, message: impl Into<Message>) -> Result<(), TestCaseError> {
        for (to, message) in self.world.bench.feed(message) {
            match message {
                Message::TransferEvent(event) if to.topic.as_str() == "book.inbox" => {
                    fold(&mut self.said, &event)?;
                }
                Message::ChainStatus(status) => prop_assert_eq!(status.halted, None),
                Message::DeadLetter(letter) => prop_assert!(false, "{}: {}", letter.code, letter.reason),
                _ => {}
            }
        }
        Ok(())
    }

    fn feed_head(&mut self, name: &str) -> Result<(), TestCaseError> {
        let meta = self.world.bench.meta();
        self.feed(ChainHead { meta, chain: ChainId(1), number: height(name), hash: hash(name) })
    }

    fn grow(&mut self, on: usize, pays: &[(usize, u64)], late: bool) -> Result<(), TestCaseError> {
        let near = self.oracle.near();
        let parent = near[on % near.len()].clone();
        let made = self.make(&parent, pays);
        if !late {
            return self.feed(made.1);
        }
        let child = self.make(&made.0, &[]);
        self.feed(child.1.clone())?;
        self.feed_head(&child.0)?;
        self.feed(child.1)?;
        self.feed(made.1)?;
        self.oracle.moved(&child.0);
        Ok(())
    }

    /// A new block. A transaction is mined once on a branch, so what its ancestors hold is left out.
    fn make(&mut self, parent: &str, pays: &[(usize, u64)]) -> (String, ChainBlock) {
        let branch = self.oracle.path(parent);
        let mined: Vec<_> = branch.iter().filter_map(|name| self.oracle.pays.get(name)).flatten().collect();
        let pays: Vec<_> = pays.iter().filter(|pay| !mined.contains(pay)).copied().collect();
        let name = name_for(self.oracle.order.len(), height(parent).0 + 1);
        let text: Vec<String> = pays.iter().map(|(payment, value)| format!("p{payment}={value}")).collect();
        let made = block(self.world.bench.meta(), ChainId(1), &name, parent, &text.join(","));
        self.oracle.parents.insert(name.clone(), parent.to_owned());
        self.oracle.pays.insert(name.clone(), pays);
        self.oracle.order.push(name.clone());
        (name, made)
    }

    fn step(&mut self, op: &Op) -> Result<(), TestCaseError> {
        match op {
            Op::Grow { on, pays, late } => self.grow(*on, pays, *late)?,
            Op::Head { to } => {
                let near = self.oracle.near();
                let target = near[to % near.len()].clone();
                self.feed_head(&target)?;
                self.oracle.moved(&target);
            }
            Op::Watch { payment } => {
                let watch =
                    self.world.watch(ChainId(1), &format!("p{payment}"), "usdc", POLICIES[*payment], 1_000);
                self.feed(watch)?;
                if !self.oracle.watched.contains(payment) {
                    self.oracle.watched.push(*payment);
                }
                self.oracle.raise();
            }
            Op::Final { below } => {
                let path = self.oracle.path(&self.oracle.head);
                let lowest = height(&self.oracle.finalized).0;
                let target = height(&self.oracle.head).0.saturating_sub(*below).max(lowest);
                let Some(name) = path.iter().find(|name| height(name).0 == target).cloned() else {
                    return Ok(());
                };
                let meta = self.world.bench.meta();
                self.feed(ChainFinalized {
                    meta,
                    chain: ChainId(1),
                    number: height(&name),
                    hash: hash(&name),
                })?;
                self.oracle.finalized = name;
            }
        }
        prop_assert_eq!(&self.said, &self.oracle.standing(), "after {:?}", op);
        Ok(())
    }
}

/// Letters count the blocks, digits are the height, as the names in the scripts.
fn name_for(serial: usize, height: u64) -> String {
    let letters: String = serial.to_string().bytes().map(|digit| char::from(b'a' + (digit - b'0'))).collect();
    format!("{letters}{height}")
}

proptest! {
    /// After every step, what was said adds up to what the canonical chain alone gives.
    #[test]
    fn what_was_said_adds_up_to_the_canonical_chain(ops in prop::collection::vec(op(), 1..60)) {
        let mut run = Run::start();
        for op in &ops {
            run.step(op)?;
        }
    }
}
