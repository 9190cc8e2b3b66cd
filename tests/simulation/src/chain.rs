//! The chains and how the connector sees them. The chain is the development chain's pure core; the connector's
//! decisions, its feed into the log and its resumption are the real ones. In between stand nodes that lag behind, fail in
//! the middle of an answer, and are on a branch that was left.

use std::{collections::BTreeSet, sync::Arc};

use alloy_primitives::{Address, B256, U256};
use streambook_connectors::chain::{
    BlockId, BlockRef, Feed, Follower, Observation, Resume, VerifiedBlock,
    backfill::{Requests, of_address},
    branch,
    follower::{FollowError, Next, Step},
    resume,
    transfers::keep_tokens,
};
use streambook_devchain::{
    BelowFinality, BlockSpec, ChainSettings, Content, DevBlock, DevChain, Dropped, FinalityRule, Limits,
    ReorgOptions, Transfer, TransferRequest,
};
use streambook_log::partitioner::partition_of;
use streambook_model::{
    bytes::BlockHash,
    chain::{BlockNumber, ChainId},
    codec,
    message::Message,
    position::TopicPartition,
    records::{
        backfill::{BackfillRequested, BackfillRest, BackfilledBlock, ChainBackfill, RequestBackfill},
        chain::{ChainRebuild, WatchAddress},
    },
    time::Timestamp,
    topics,
};
use tokio::sync::mpsc;

use crate::{
    log::{SimulatedLog, ready},
    machine::{Machine, Weather},
    mutation::Mutation,
    verified::verified,
    violation::{Check, Violation},
};

/// The last byte of the address of somebody who pays before an address was given out.
pub const EARLY: u8 = 0xee;
/// The first block the connector reads.
const START: u64 = 1;
/// Blocks that others may link to.
const REMEMBERED: u64 = 4_096;
/// Seconds by which a block's time may be ahead of the clock.
const AHEAD: u64 = 3;
/// A look-back window that is longer than a run.
pub const DAY: u32 = 86_400;
/// The most steps of one look at the head.
const STEPS: usize = 400;

/// Somewhere money can be sent to.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// The address.
    pub address: Address,
    /// What is expected there.
    pub amount: i128,
    /// Until when.
    pub deadline: Timestamp,
    /// Whether the address was not given out yet.
    pub early: bool,
    /// Whether it is the address of other payments too.
    pub shared: bool,
}

/// What a node knows: a head and the final block below it.
#[derive(Debug, Clone, Copy)]
struct View {
    head: BlockRef,
    finalized: BlockRef,
}

/// A node that answers and learns nothing new.
#[derive(Debug, Clone, Copy)]
struct Stuck {
    node: usize,
    view: View,
    looks: u64,
}

/// A chain, its nodes and its connector.
pub struct Chain {
    /// Its id.
    pub id: ChainId,
    /// The chain itself.
    pub blocks: DevChain,
    /// The token that payments are made in.
    pub token: Address,
    /// An accepted token of another asset.
    pub other: Address,
    /// Whether its nodes answer for the `finalized` tag.
    pub has_tags: bool,
    /// For how long blocks are kept that are final.
    pub look_back_seconds: u32,
    views: Vec<View>,
    nodes: usize,
    /// A node that does not move on: which one, where it stands, and for how many more looks.
    stuck: Option<Stuck>,
    forked: BTreeSet<usize>,
    /// Whether this chain breaks its own rules now and then, and whether it has.
    unruly: bool,
    broken: bool,
    /// The connector has found that every node left a final block, and waits for the operator.
    halted: bool,
    follower: Option<Follower>,
    highest: u64,
    /// The highest head there ever was.
    tallest: u64,
    heads: Vec<B256>,
    /// Addresses that money was sent to.
    paid: BTreeSet<Address>,
}

impl Chain {
    /// A chain of one block after its genesis.
    pub fn new(id: u64, machine: &mut Machine, final_depth: Option<u64>) -> Result<Self, Violation> {
        let time = seconds(machine.now());
        // A chain that breaks its rules must have final blocks to leave, with payments in them.
        let unruly = final_depth.is_some() && machine.random.chance(25);
        let final_depth = if unruly { final_depth.map(|depth| depth / 3) } else { final_depth };
        // Below the blocks that are kept there is no way out of a fork, so a chain of this kind keeps its rules.
        let short = final_depth.is_some() && !unruly && machine.random.chance(50);
        let finality = final_depth.map_or(FinalityRule::OnRequest, |finalized| FinalityRule::Depth {
            safe: finalized / 2,
            finalized,
        });
        let limits = Limits { blocks: 10_000, transactions: 10_000, pending: 1_000 };
        let settings = ChainSettings { chain_id: id, genesis_time: time, limits, finality };
        let mut chain = Self {
            id: ChainId(id),
            blocks: DevChain::with_settings(settings),
            token: Address::repeat_byte(0xa0 + u8::try_from(id % 8).unwrap_or(0)),
            other: Address::repeat_byte(0xb0 + u8::try_from(id % 8).unwrap_or(0)),
            has_tags: final_depth.is_some(),
            look_back_seconds: if short {
                u32::try_from(machine.random.between(2, 40)).unwrap_or(DAY)
            } else {
                DAY
            },
            views: Vec::new(),
            nodes: 3,
            stuck: None,
            forked: BTreeSet::new(),
            unruly,
            broken: false,
            halted: false,
            follower: None,
            highest: 0,
            tallest: 0,
            heads: Vec::new(),
            paid: BTreeSet::new(),
        };
        chain.mine(time, &[])?;
        Ok(chain)
    }

    fn mine(&mut self, time: u64, transfers: &[TransferRequest]) -> Check {
        let time = time.max(self.blocks.head().header().timestamp);
        for transfer in transfers {
            self.blocks.submit(transfer).map_err(|error| Violation::new("simulator", error.to_string()))?;
        }
        self.blocks.mine_pending(time).map_err(|error| Violation::new("simulator", error.to_string()))?;
        self.remember();
        Ok(())
    }

    fn remember(&mut self) {
        let head = self.blocks.head().reference();
        let finalized = self.blocks.canonical_block(self.blocks.finalized());
        let finalized = finalized.map_or(head, |block| block.reference());
        self.heads.push(head.hash);
        self.tallest = self.tallest.max(head.number);
        self.views.push(View {
            head: BlockRef { number: head.number, hash: head.hash },
            finalized: BlockRef { number: finalized.number, hash: finalized.hash },
        });
    }

    /// The next block, with some payments.
    pub fn grow(&mut self, targets: &[Target], machine: &mut Machine) -> Check {
        let count = machine.random.index(4);
        // Most addresses are paid once or twice, some again and again.
        let paid = &self.paid;
        let open = targets
            .iter()
            .filter(|target| target.shared || !paid.contains(&target.address) || machine.random.chance(30));
        let open: Vec<_> = open.copied().collect();
        let mut transfers: Vec<_> = (0..count).filter_map(|_| self.payment(&open, machine)).collect();
        let mut time = seconds(machine.now());
        if let Some(target) = self.due(targets, machine) {
            // In time to the second, or one second late.
            time = seconds(target.deadline) + u64::from(machine.random.chance(40));
            machine.faults.count("block at a deadline");
            let value = U256::from(target.amount.unsigned_abs());
            let from = Address::with_last_byte(0x22);
            transfers.push(TransferRequest::direct(self.token, from, target.address, value));
        }
        let early = targets.iter().find(|target| target.early).map(|target| target.address);
        let early = transfers.iter().filter(|made| early.is_some() && receiver(made) == early).count();
        (0..early).for_each(|_| machine.faults.count("paid before its watch"));
        self.paid.extend(transfers.iter().filter_map(receiver));
        self.mine(time, &transfers)
    }

    /// Now and then a payment whose deadline the next block can stand at.
    fn due(&self, targets: &[Target], machine: &mut Machine) -> Option<Target> {
        let (first, last) = (self.blocks.head().header().timestamp, seconds(machine.now()) + AHEAD);
        let fits = |target: &&Target| !target.early && (first..=last).contains(&seconds(target.deadline));
        let due: Vec<_> = targets.iter().filter(fits).copied().collect();
        machine.random.chance(50).then(|| machine.random.pick(&due).copied()).flatten()
    }

    /// The canonical chain's last transactions with a transfer to an address.
    pub fn sent_to(&self, address: [u8; 20]) -> Vec<[u8; 32]> {
        // Where blocks are soon forgotten, more of them that are.
        let last = if self.look_back_seconds == DAY { 20 } else { 60 };
        let first = self.blocks.head().reference().number.saturating_sub(last).max(1);
        let mut sent = Vec::new();
        for block in self.blocks.canonical_blocks(first) {
            for made in block.transactions() {
                let is_to = |log: &alloy_primitives::Log| {
                    log.topics().get(2).is_some_and(|to| Address::from_word(*to).into_array() == address)
                };
                if made.logs.iter().any(is_to) {
                    sent.push(made.hash().0);
                }
            }
        }
        sent
    }

    /// How many blocks lift the chain above any head that it has left.
    pub fn blocks_to_be_believed(&self) -> u64 {
        self.tallest.saturating_sub(self.blocks.head().reference().number) + 1
    }

    /// An empty block now.
    pub fn grow_empty(&mut self, now: Timestamp) -> Check {
        self.mine(seconds(now), &[])
    }

    /// Replaces some blocks, often few, sometimes down to just above finality.
    pub fn reorganise(&mut self, targets: &[Target], machine: &mut Machine) {
        let head = self.blocks.head().reference().number;
        let most = head.saturating_sub(self.blocks.finalized().max(START)).min(30);
        if most == 0 {
            return;
        }
        let depth = match machine.random.below(100) {
            0..80 => machine.random.between(1, most.min(5)),
            80..92 => machine.random.between(1, most),
            _ => most,
        };
        let specs = self.replacement(head - depth, depth, targets, machine);
        let dropped = if machine.random.chance(70) { Dropped::Requeue } else { Dropped::Forget };
        if self.blocks.reorg(depth, &specs, ReorgOptions { dropped, ..ReorgOptions::default() }).is_ok() {
            machine.faults.count(if depth > 5 { "deep reorganisation" } else { "reorganisation" });
            if head - depth == self.blocks.finalized() {
                machine.faults.count("reorganisation just above finality");
            }
            self.remember();
        }
    }

    /// A chain that breaks its own rules: every node leaves blocks that were final.
    pub fn break_the_rules(&mut self, targets: &[Target], machine: &mut Machine) {
        let (head, finalized) = (self.blocks.head().reference().number, self.blocks.finalized());
        if !self.unruly || finalized <= START {
            return;
        }
        let ancestor = machine.random.between(START.max(finalized.saturating_sub(12)), finalized - 1);
        let specs = self.replacement(ancestor, head - ancestor, targets, machine);
        let dropped = if machine.random.chance(70) { Dropped::Requeue } else { Dropped::Forget };
        let options = ReorgOptions { below_finality: BelowFinality::Force, dropped };
        if self.blocks.reorg(head - ancestor, &specs, options).is_ok() {
            machine.faults.count("fork below finality");
            self.broken = true;
            // The operator waits until the nodes are of one mind.
            self.views.clear();
            self.stuck = None;
            self.remember();
        }
    }

    /// Whether it waits for the operator.
    pub fn is_halted(&self) -> bool {
        self.halted
    }

    /// The operator lets a halted chain go on from the highest block that log and nodes have in common, as `streambook
    /// chain rebuild` does.
    pub fn rebuild(&mut self, machine: &mut Machine) -> Check {
        if !self.halted {
            return Ok(());
        }
        let log = SimulatedLog(Arc::clone(&machine.disk));
        let found = ready(branch(&log, self.id)).map(|found| found.map_err(|error| error.to_string()));
        let branch = found.unwrap_or_else(|| Err("the search waits".to_owned()));
        let branch = branch.map_err(|error| Violation::new("the_operator_finds_a_way_out", error))?;
        let is_common = |block: &&BlockId| {
            let canonical = self.blocks.canonical_block(block.number);
            canonical.is_some_and(|canonical| canonical.hash() == block.hash)
        };
        let Some(root) = branch.iter().find(is_common) else {
            return Err(Violation::new(
                "the_operator_finds_a_way_out",
                "log and nodes have no block in common",
            ));
        };
        let rebuild = ChainRebuild {
            meta: machine.meta(format!("{}:rebuild:{}", self.id, root.hash)),
            chain: self.id,
            number: BlockNumber(root.number),
            hash: BlockHash::new(root.hash.0),
        };
        machine.append(topics::CHAIN_INBOX, &self.id.to_string(), &rebuild.into())?;
        machine.disk.lock().sync();
        machine.faults.count("chain rebuilt");
        self.stop_connector();
        Ok(())
    }

    /// The operator asks for what was sent to some payments, or to all, before their watches looked back.
    pub fn ask_for_old(&self, share: u64, machine: &mut Machine) -> Check {
        if self.look_back_seconds == DAY {
            return Ok(());
        }
        for watch in self.watches(machine)? {
            if !machine.random.chance(share) {
                continue;
            }
            let id = format!("{}:backfill:{}:{}", self.id, watch.payment, machine.random.clone().bits());
            let request = RequestBackfill {
                meta: machine.meta(id),
                chain: self.id,
                payment: watch.payment,
                address: watch.address,
                token: watch.token,
                since: None,
                from_number: Some(BlockNumber(START)),
                tx_hash: None,
                payer: None,
                exact: watch.exact,
            };
            machine.append(topics::CHAIN_INBOX, &self.id.to_string(), &request.into())?;
            machine.faults.count("search asked for");
        }
        Ok(())
    }

    fn watches(&self, machine: &Machine) -> Result<Vec<WatchAddress>, Violation> {
        let partition = partition_of(self.id.to_string().as_bytes(), topics::CHAIN_INBOX.partitions);
        let inbox = TopicPartition::new(topics::CHAIN_INBOX.topic(), partition);
        let mut watches = Vec::new();
        for record in machine.disk.lock().read(&inbox, 0, usize::MAX) {
            let message = codec::decode(&record.value);
            let message = message.map_err(|error| Violation::new("simulator", error.to_string()))?;
            if let Message::WatchAddress(watch) = message
                && watch.chain == self.id
            {
                watches.push(watch);
            }
        }
        Ok(watches)
    }

    /// The connector answers the oldest request that is open; says whether there was one.
    pub fn search(&self, machine: &mut Machine) -> Result<bool, Violation> {
        let log = SimulatedLog(Arc::clone(&machine.disk));
        let mut requests = Requests::new(self.id);
        match ready(requests.read(&log)) {
            Some(Ok(())) => {}
            other => return Err(Violation::new("simulator", format!("the requests: {other:?}"))),
        }
        let Some(asked) = requests.open().next().cloned() else { return Ok(false) };
        let (blocks, problem) = match asked.tx_hash {
            Some(hash) => self.look_up(&asked, B256::new(*hash.as_bytes()), machine),
            None => (self.old_blocks(&asked), None),
        };
        let (blocks, rest) = if asked.tx_hash.is_none() { part(blocks, machine) } else { (blocks, None) };
        let answer = ChainBackfill {
            meta: machine.meta(format!("{}:backfill:{}", self.id, asked.request)),
            chain: self.id,
            request: asked.request,
            from_number: Some(BlockNumber(START)),
            blocks,
            not_found: problem.is_some(),
            problem,
            rest,
        };
        let is_repeated = machine.random.chance(20);
        if is_repeated {
            machine.faults.count("search answered twice");
        }
        for _ in 0..=u8::from(is_repeated) {
            machine.append(topics::CHAIN_INBOX, &self.id.to_string(), &answer.clone().into())?;
        }
        Ok(true)
    }

    /// Transfers to the address, from the highest block of the request down.
    fn old_blocks(&self, asked: &BackfillRequested) -> Vec<BackfilledBlock> {
        let (mut found, mut next) = (Vec::new(), B256::new(*asked.top_hash.as_bytes()));
        while let Some(block) = self.blocks.block(next).filter(|block| block.header().number >= START) {
            if asked.since.is_some_and(|since| block.header().timestamp < seconds(since)) {
                break;
            }
            found.extend(of_address(&self.with_tokens(&block), Address::new(*asked.address.as_bytes())));
            next = block.header().parent_hash;
        }
        found.reverse();
        found
    }

    /// What a transaction has sent to the address, in its block; why not where it is in no block that is asked for.
    fn look_up(
        &self,
        asked: &BackfillRequested,
        transaction: B256,
        machine: &mut Machine,
    ) -> (Vec<BackfilledBlock>, Option<String>) {
        machine.faults.count("claimed transaction looked up");
        let holds =
            |block: &&Arc<DevBlock>| block.transactions().iter().any(|made| made.hash() == transaction);
        let found = self.blocks.canonical_blocks(START).find(holds);
        let Some(block) = found.filter(|block| block.header().number <= asked.top_number.0) else {
            return (Vec::new(), Some("it is in none of the blocks that are asked for".into()));
        };
        let mut block = self.with_tokens(block);
        block.transfers.retain(|transfer| transfer.tx_hash == transaction);
        let nothing = BackfilledBlock {
            number: BlockNumber(block.number),
            hash: BlockHash::new(block.hash.0),
            parent_hash: BlockHash::new(block.parent_hash.0),
            timestamp: Timestamp::from_seconds(block.timestamp).unwrap_or_default(),
            transfers: Vec::new(),
        };
        let address = Address::new(*asked.address.as_bytes());
        (vec![of_address(&block, address).unwrap_or(nothing)], None)
    }

    fn with_tokens(&self, block: &DevBlock) -> VerifiedBlock {
        let mut block = verified(block);
        keep_tokens(&mut block, &[self.token, self.other]);
        block
    }

    fn replacement(
        &self,
        ancestor: u64,
        depth: u64,
        targets: &[Target],
        machine: &mut Machine,
    ) -> Vec<BlockSpec> {
        let mut orphans: Vec<B256> = (ancestor + 1..=ancestor + depth)
            .filter_map(|number| self.blocks.canonical_block(number))
            .flat_map(|block| block.transactions().iter().map(|made| made.hash()).collect::<Vec<_>>())
            .collect();
        let now = seconds(machine.now());
        let mut time = self.blocks.canonical_block(ancestor).map_or(now, |block| block.header().timestamp);
        let count = machine.random.between(1, depth + 2);
        let mut specs = Vec::new();
        for _ in 0..count {
            time = machine.random.between(time, now.max(time));
            let mut contents = Vec::new();
            while !orphans.is_empty() && machine.random.chance(50) {
                let known = machine.random.index(orphans.len());
                contents.push(Content::Known(orphans.swap_remove(known)));
            }
            if machine.random.chance(25) {
                contents.extend(self.payment(targets, machine).map(Content::New));
            }
            specs.push(BlockSpec { timestamp: time, contents });
        }
        specs
    }

    /// Makes a branch canonical that was so before.
    pub fn switch_back(&mut self, machine: &mut Machine) {
        let recent = self.heads.len().saturating_sub(12);
        let Some(hash) = self.heads.get(recent..).and_then(|heads| machine.random.pick(heads)).copied()
        else {
            return;
        };
        // The connector's start block stays where it is.
        let options = ReorgOptions { dropped: Dropped::Requeue, ..ReorgOptions::default() };
        if hash != self.blocks.head().hash() && self.blocks.switch_to(hash, options).is_ok() {
            machine.faults.count("blocks canonical again");
            self.remember();
        }
    }

    /// One transaction, in one of the shapes a payment watcher meets.
    fn payment(&self, targets: &[Target], machine: &mut Machine) -> Option<TransferRequest> {
        let target = *machine.random.pick(targets)?;
        let from = Address::with_last_byte(if target.early { EARLY } else { 0x11 });
        let direct = |token, units: i128| {
            TransferRequest::direct(token, from, target.address, U256::from(units.unsigned_abs()))
        };
        let part = (target.amount / 2).max(1);
        Some(match machine.random.below(20) {
            0..8 => direct(self.token, target.amount),
            8..11 => direct(self.token, part),
            11 => direct(self.token, target.amount - 1),
            12 => direct(self.token, target.amount + 7),
            13 => direct(self.token, 0),
            14 => direct(Address::repeat_byte(0xcc), target.amount),
            15 => direct(self.other, target.amount),
            16 if machine.random.chance(20) => {
                TransferRequest::direct(self.token, from, target.address, U256::MAX)
            }
            17 => TransferRequest::failed(self.token, from, target.address, U256::from(part.unsigned_abs())),
            _ => self.routed(from, targets, machine),
        })
    }

    /// One transaction that pays several addresses, or one several times.
    fn routed(&self, from: Address, targets: &[Target], machine: &mut Machine) -> TransferRequest {
        let count = machine.random.between(2, 4);
        let moved = (0..count).filter_map(|_| {
            let target = machine.random.pick(targets)?;
            let from = if target.early { Address::with_last_byte(EARLY) } else { from };
            let value = U256::from((target.amount / 2).max(1).unsigned_abs());
            Some(Transfer { token: self.token, from, to: target.address, value })
        });
        let transfers = moved.collect();
        TransferRequest::routed(from, Address::repeat_byte(0x77), transfers)
    }

    /// The connector's process ends; what it knew is gone.
    pub fn stop_connector(&mut self) {
        self.follower = None;
        self.forked.clear();
        // A fork is found again where it is still there.
        self.halted = false;
    }

    /// One look of the connector at a node's head.
    pub fn poll(&mut self, machine: &mut Machine) -> Check {
        if self.halted {
            return Ok(());
        }
        let node = machine.random.index(self.nodes);
        let Some(view) = self.view(node, machine) else { return Ok(()) };
        let mut follower = match self.follower.take() {
            Some(follower) => follower,
            None => self.resumed(view, machine)?,
        };
        let mut seen = Vec::new();
        let looked = self.look(&mut follower, view, &mut seen, machine);
        if let Err(FollowError::Fork(fork)) = looked {
            self.forked.insert(node);
            let by_all = self.forked.len() == self.nodes;
            if by_all && !self.broken {
                return Err(Violation::new("no_false_fork", fork.to_string()));
            }
            let last = if by_all { Some(Observation::ForkBelowFinality(fork)) } else { follower.abandon() };
            seen.extend(last);
        } else if !seen.is_empty() {
            self.forked.clear();
        }
        if machine.fault("connector stopped", 2) {
            let kept = machine.random.index(seen.len() + 1);
            seen.truncate(kept);
        } else {
            self.follower = Some(follower);
        }
        if machine.has(Mutation::CompareHeights) {
            seen.retain(|seen| !matches!(seen, Observation::Head(head) if head.number <= self.highest));
            let highest = seen.iter().filter_map(|seen| match seen {
                Observation::Head(head) => Some(head.number),
                _ => None,
            });
            self.highest = highest.max().unwrap_or(0).max(self.highest);
        }
        if matches!(seen.last(), Some(Observation::ForkBelowFinality(_))) {
            self.halted = true;
            self.follower = None;
        }
        let repeats = 1 + usize::from(machine.fault("connector appended twice", 4));
        (0..repeats).try_for_each(|_| self.feed(&seen, machine))?;
        self.contradict(seen, machine)
    }

    /// Now and then a block is appended again and says something else of itself than before.
    fn contradict(&self, seen: Vec<Observation>, machine: &mut Machine) -> Check {
        let block = seen.into_iter().find_map(|seen| match seen {
            Observation::Block(block) => Some(block),
            _ => None,
        });
        let Some(mut block) = block else { return Ok(()) };
        if !machine.fault("conflicting block", 3) {
            return Ok(());
        }
        block.timestamp += 1;
        self.feed(&[Observation::Block(block)], machine)
    }

    /// Whether the connector has nothing more to learn.
    pub fn is_followed(&self) -> bool {
        let head = self.blocks.head().hash();
        let observed = self.follower.as_ref().and_then(Follower::head).map(|head| head.hash);
        let finalized = self.follower.as_ref().and_then(Follower::finalized).map_or(0, |block| block.number);
        observed == Some(head) && (!self.has_tags || finalized == self.blocks.finalized())
    }

    /// What a node says now: the first is up to date, the others lag, and one of them may be stuck.
    fn view(&mut self, node: usize, machine: &mut Machine) -> Option<View> {
        if machine.weather == Weather::Calm {
            self.stuck = None;
        }
        if let Some(stuck) = self.stuck.filter(|stuck| stuck.node == node) {
            self.stuck = (stuck.looks > 0).then(|| Stuck { looks: stuck.looks - 1, ..stuck });
            return Some(stuck.view);
        }
        let view = self.lagging_view(node, machine)?;
        if node > 0 && machine.fault("node stuck", 3) {
            self.stuck = Some(Stuck { node, view, looks: machine.random.between(3, 30) });
        }
        Some(view)
    }

    fn lagging_view(&self, node: usize, machine: &mut Machine) -> Option<View> {
        let lag = if node == 0 || machine.weather == Weather::Calm { 0 } else { machine.random.index(4) };
        if lag > 0 {
            machine.faults.count("node lagged");
        }
        self.views.get(self.views.len().checked_sub(1 + lag)?).copied()
    }

    fn resumed(&self, view: View, machine: &Machine) -> Result<Follower, Violation> {
        let known = if machine.has(Mutation::ResumeAtTheNodesHead) {
            let recent = self.blocks.block(view.head.hash).map(|block| verified(&block).id());
            Resume { recent: recent.into_iter().collect(), head: Some(view.head), finalized: None }
        } else {
            let log = SimulatedLog(Arc::clone(&machine.disk));
            let found = ready(resume(&log, self.id)).map(|found| found.map_err(|error| error.to_string()));
            let found = found.unwrap_or_else(|| Err("the resumption waits".to_owned()));
            found.map_err(|error| Violation::new("the_connector_resumes", error))?
        };
        let follower = Follower::new(START, REMEMBERED, known);
        follower.map_err(|error| Violation::new("the_connector_resumes", error.to_string()))
    }

    fn look(
        &self,
        follower: &mut Follower,
        view: View,
        seen: &mut Vec<Observation>,
        machine: &mut Machine,
    ) -> Result<(), FollowError> {
        let Some(head) = self.blocks.block(view.head.hash) else { return Ok(()) };
        let Step { observations, mut next } = follower.on_head(verified(&head).id());
        seen.extend(observations);
        for _ in 0..STEPS {
            let block = match next {
                Next::Done | Next::Wait(_) => break,
                Next::Fetch { from, .. } => self.at_height(view.head, from),
                Next::WalkBack(hash) => self.blocks.block(hash),
            };
            let Some(block) = block.filter(|_| !machine.fault("node failed", 2)) else {
                seen.extend(follower.abandon());
                return Ok(());
            };
            let block = self.with_tokens(&block);
            let step = follower.on_block(block)?;
            seen.extend(step.observations);
            next = step.next;
        }
        if self.has_tags {
            seen.extend(follower.on_finalized(view.finalized)?);
        }
        Ok(())
    }

    /// The block at a height of the branch that ends with `head`.
    fn at_height(&self, head: BlockRef, number: u64) -> Option<Arc<DevBlock>> {
        let mut block = self.blocks.block(head.hash)?;
        while block.header().number > number {
            block = self.blocks.block(block.header().parent_hash)?;
        }
        (block.header().number == number).then_some(block)
    }

    /// Appends through the connector's real feed.
    fn feed(&self, seen: &[Observation], machine: &Machine) -> Check {
        if seen.is_empty() {
            return Ok(());
        }
        let now = machine.now();
        let log = Arc::new(SimulatedLog(Arc::clone(&machine.disk)));
        let feed = Feed::new(log, self.id, Arc::new(move || now));
        let (send, receive) = mpsc::channel(seen.len());
        for observation in seen {
            send.try_send(observation.clone())
                .map_err(|error| Violation::new("simulator", error.to_string()))?;
        }
        drop(send);
        match ready(feed.run(receive)) {
            Some(Ok(())) => Ok(()),
            Some(Err(error)) => Err(Violation::new("simulator", error.to_string())),
            None => Err(Violation::new("simulator", "the feed waits")),
        }
    }
}

/// Now and then an answer is full before all is in it: the highest blocks, and where the search goes on.
fn part(
    mut blocks: Vec<BackfilledBlock>,
    machine: &mut Machine,
) -> (Vec<BackfilledBlock>, Option<BackfillRest>) {
    if blocks.len() < 2 || !machine.random.chance(30) {
        return (blocks, None);
    }
    let kept = blocks.split_off(machine.random.index(blocks.len() - 1) + 1);
    machine.faults.count("search answered in parts");
    // The next block down is the parent of the lowest that is in it.
    let lowest = kept.first();
    let rest = lowest.map(|lowest| BackfillRest {
        number: BlockNumber(lowest.number.0.saturating_sub(1)),
        hash: lowest.parent_hash,
    });
    (kept, rest)
}

/// Whom a transaction pays first.
fn receiver(request: &TransferRequest) -> Option<Address> {
    match request {
        TransferRequest::Direct { to, .. } => Some(*to),
        TransferRequest::Routed { transfers, .. } => transfers.first().map(|transfer| transfer.to),
        TransferRequest::Failed { .. } => None,
    }
}

/// Whole seconds since 1970.
pub fn seconds(at: Timestamp) -> u64 {
    u64::try_from(at.millis() / 1_000).unwrap_or(0)
}
