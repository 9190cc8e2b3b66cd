//! The schedule: who does something next, and which fault happens, all by chance from the seed.

use std::sync::Arc;

use parking_lot::Mutex;
use streambook_log::partitioner::partition_of;
use streambook_model::{position::Partition, topics};

use crate::{
    cards::Cards,
    chain::Chain,
    clients::Clients,
    disk::{Disk, Durability, Torn},
    faults::Faults,
    machine::{Engine, Machine, Weather},
    mutants::{BOOK, DEDUP, REGISTRY, REORG},
    mutation::Mutation,
    operator::Operator,
    random::Random,
    tasks::{Outcome, Tasks},
    violation::{Check, Violation},
};

/// When every run begins, in milliseconds since 1970.
const BEGIN_MS: i64 = 1_700_000_000_000;

/// One simulated system and what is around it.
pub struct World {
    /// What all parts share.
    pub machine: Machine,
    /// The tasks.
    pub tasks: Tasks,
    /// The chains.
    pub chains: Vec<Chain>,
    /// The operator.
    pub operator: Operator,
    /// The merchants' programs.
    pub clients: Clients,
    /// Stripe.
    pub cards: Cards,
    /// Actions so far.
    pub steps: u64,
}

impl World {
    /// The world of a seed, set up and at rest.
    pub fn new(seed: u64, mutation: Option<Mutation>) -> Result<Self, Violation> {
        let mut random = Random::new(seed);
        let engine = if random.chance(50) { Engine::Embedded } else { Engine::Distributed };
        let durability = match engine {
            Engine::Embedded => Durability::OnSync,
            Engine::Distributed => Durability::AtOnce,
        };
        let disk = Arc::new(Mutex::new(Disk::new(durability, BEGIN_MS)));
        let (faults, weather) = (Faults::default(), Weather::Calm);
        let mut machine = Machine { disk, random, faults, mutation, engine, weather };
        let mut chains = Vec::new();
        for number in 0..machine.random.between(1, 2) {
            let finality = machine.random.chance(75).then(|| machine.random.between(6, 14));
            chains.push(Chain::new(31_337 + number, &mut machine, finality)?);
        }
        let operator = Operator::set_up(&chains, &mut machine)?;
        let (clients, cards) = (Clients::default(), Cards::default());
        let tasks = Tasks::new(mutation);
        let mut world = Self { machine, tasks, chains, operator, clients, cards, steps: 0 };
        world.add_tasks();
        world.work_until_idle()?;
        world.machine.weather = Weather::Stormy;
        Ok(world)
    }

    /// Tasks run where there is something for them; the other partitions' tasks would have settings and no more.
    fn add_tasks(&mut self) {
        let of = |key: String, topic: topics::TopicDef| partition_of(key.as_bytes(), topic.partitions);
        self.tasks.add(REGISTRY, Partition(0));
        for merchant in &self.operator.merchants {
            self.tasks.add(BOOK, of(merchant.to_string(), topics::BOOK_INBOX));
        }
        for chain in &self.chains {
            self.tasks.add(REORG, of(chain.id.to_string(), topics::CHAIN_INBOX));
        }
    }

    /// The tasks of the partitions that Stripe's events have gone to.
    pub fn add_stripe_tasks(&mut self) {
        let stripe: Vec<_> = {
            let disk = self.machine.disk.lock();
            let of_stripe = disk.partitions().filter(|of| of.topic.as_str() == topics::STRIPE_INBOX.name);
            of_stripe.map(|of| of.partition).collect()
        };
        for partition in stripe {
            self.tasks.add(DEDUP, partition);
        }
    }

    /// Something happens.
    pub fn act(&mut self) -> Check {
        self.steps += 1;
        match self.machine.random.below(100) {
            0..34 => self.work(),
            34..46 => self.deliver(),
            46..54 => {
                self.clients.act(&self.operator.merchants, &self.chains, &mut self.cards, &mut self.machine)
            }
            54..67 => self.blocks(),
            67..77 => self.poll(),
            77..85 => self.stripe(),
            85..93 => self.listen(),
            93..96 => {
                let most = if self.machine.random.chance(10) { 120 } else { 12 };
                let seconds = self.machine.random.between(1, most);
                self.pass_time(seconds);
                Ok(())
            }
            96 => self.operator.change(&mut self.machine),
            97 => {
                self.clients.send_delayed(3, &mut self.machine)?;
                self.clients.retry(&mut self.machine).map(drop)
            }
            _ => self.break_something(),
        }
    }

    fn work(&mut self) -> Check {
        let index = self.machine.random.index(self.tasks.slots.len());
        let Some(slot) = self.tasks.slots.get_mut(index) else { return Ok(()) };
        if slot.stuck_until > self.steps {
            return Ok(());
        }
        if self.machine.fault("task stuck", 1) {
            slot.stuck_until = self.steps + self.machine.random.between(20, 120);
            return Ok(());
        }
        match (self.tasks.work(index, &mut self.machine)?, self.machine.engine) {
            (Outcome::Crashed, Engine::Embedded) => self.crash(),
            (Outcome::Crashed, Engine::Distributed) => self.tasks.move_task(index, &mut self.machine),
            (Outcome::Idle | Outcome::Worked, _) => {}
        }
        Ok(())
    }

    fn deliver(&mut self) -> Check {
        let index = self.machine.random.index(self.tasks.slots.len());
        if self.machine.engine == Engine::Embedded {
            return self.work();
        }
        if self.tasks.slots.get(index).is_some_and(|slot| slot.zombie.is_some())
            && self.machine.random.chance(50)
        {
            return self.tasks.work_as_zombie(index, &mut self.machine);
        }
        self.tasks.deliver(index, &mut self.machine);
        Ok(())
    }

    fn blocks(&mut self) -> Check {
        let index = self.machine.random.index(self.chains.len());
        let Some(chain) = self.chains.get_mut(index) else { return Ok(()) };
        let targets = self.clients.targets(chain, &self.operator.merchants, &mut self.machine);
        match self.machine.random.below(20) {
            0..14 => chain.grow(&targets, &mut self.machine)?,
            14..18 => chain.reorganise(&targets, &mut self.machine),
            18 => chain.switch_back(&mut self.machine),
            _ => chain.break_the_rules(&targets, &mut self.machine),
        }
        self.pass_time(1);
        Ok(())
    }

    /// The connector looks at its chain.
    pub fn poll(&mut self) -> Check {
        let index = self.machine.random.index(self.chains.len());
        let Some(chain) = self.chains.get_mut(index) else { return Ok(()) };
        if chain.is_halted() && self.machine.random.chance(30) {
            return chain.rebuild(&mut self.machine);
        }
        if self.machine.random.chance(20) {
            return chain.search(&mut self.machine).map(drop);
        }
        if self.machine.random.chance(10) {
            return chain.ask_for_old(20, &mut self.machine);
        }
        chain.poll(&mut self.machine)
    }

    fn stripe(&mut self) -> Check {
        if self.machine.random.chance(35) {
            self.cards.happen(&self.clients.payments, &mut self.machine);
        }
        self.cards.deliver(&mut self.machine)?;
        self.add_stripe_tasks();
        Ok(())
    }

    /// A sync, and everybody outside hears what it covers.
    pub fn listen(&mut self) -> Check {
        // Without the sync, only what an earlier one covers leaves the system.
        if self.machine.weather == Weather::Calm || self.machine.random.chance(70) {
            self.machine.disk.lock().sync();
        }
        self.clients.listen(&mut self.machine);
        self.cards.hear(&self.machine);
        self.cards.follow(&self.clients.payments);
        Ok(())
    }

    /// The clock moves.
    pub fn pass_time(&mut self, seconds: u64) {
        self.machine.disk.lock().now_ms += i64::try_from(seconds).unwrap_or(0) * 1_000;
    }

    fn break_something(&mut self) -> Check {
        match self.machine.engine {
            Engine::Embedded => {
                self.machine.faults.count("machine crashed");
                self.crash();
            }
            Engine::Distributed => {
                self.machine.faults.count("task moved");
                let index = self.machine.random.index(self.tasks.slots.len());
                self.tasks.move_task(index, &mut self.machine);
            }
        }
        Ok(())
    }

    /// The whole process stops (embedded engine) and starts again.
    fn crash(&mut self) {
        let unsynced = self.machine.disk.lock().unsynced();
        let keep = self.machine.random.index(unsynced + 1);
        if keep < unsynced {
            self.machine.faults.count("unsynced writes lost");
        }
        if keep < unsynced && self.machine.random.chance(50) {
            // The first lost commit had begun to reach the disk; opening finds it incomplete and drops it whole.
            self.machine.faults.count("commit torn");
        }
        let torn = match self.machine.mutation {
            Some(Mutation::KeepTornCommit) => Torn::AppendsKept,
            _ => Torn::Dropped,
        };
        let undone = self.machine.disk.lock().crash(keep, torn);
        self.tasks.crash(undone, &self.machine);
        self.chains.iter_mut().for_each(Chain::stop_connector);
        // What survived may have been heard of; the rest was not answered.
        self.cards.crash();
        self.clients.crash();
    }
}
