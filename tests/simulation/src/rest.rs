//! How everything comes to rest: no more faults, every request answered, every event delivered, every block observed,
//! every deadline passed, every transfer final where the chain knows finality and deep enough where it does not.

use crate::{
    chain::Chain,
    machine::{Engine, Weather},
    tasks::Outcome,
    violation::{Check, Violation},
    world::World,
};

/// Rounds after which a system that still has something to do will never be done.
const ROUNDS: usize = 10_000;
/// Blocks that make everything confirmed and final: more than the deepest finality and the deepest policy.
const BLOCKS: u64 = 16;
/// Seconds after which every deadline has passed.
const LONGEST_DEADLINE: u64 = 600;

impl World {
    /// Lets everything come to rest.
    pub fn come_to_rest(&mut self) -> Check {
        self.machine.weather = Weather::Calm;
        for slot in &mut self.tasks.slots {
            slot.zombie = None;
            slot.stuck_until = 0;
        }
        self.clients.send_delayed(usize::MAX, &mut self.machine)?;
        // A chain that ends below the head that was observed looks like a node that lags; it has to grow again.
        self.grow(Chain::blocks_to_be_believed)?;
        self.settle()?;
        self.pass_time(LONGEST_DEADLINE);
        self.grow(|_| BLOCKS)?;
        self.settle()?;
        // What was sent before a watch and is forgotten is found when it is asked for.
        for chain in &self.chains {
            chain.ask_for_old(100, &mut self.machine)?;
        }
        self.settle()
    }

    fn grow(&mut self, blocks: impl Fn(&Chain) -> u64) -> Check {
        let most = self.chains.iter().map(&blocks).max().unwrap_or(0);
        for _ in 0..most {
            self.pass_time(1);
            let now = self.machine.now();
            self.chains.iter_mut().try_for_each(|chain| chain.grow_empty(now))?;
        }
        Ok(())
    }

    /// Until nobody has anything left to do.
    fn settle(&mut self) -> Check {
        for _ in 0..ROUNDS {
            self.observe_chains()?;
            self.cards.deliver(&mut self.machine)?;
            self.add_stripe_tasks();
            self.work_until_idle()?;
            self.search_chains()?;
            self.listen()?;
            if self.clients.are_answered() && self.cards.are_heard() {
                return self.work_until_idle();
            }
            self.pass_time(1);
            self.clients.retry(&mut self.machine)?;
        }
        Err(Violation::new("everything_comes_to_rest", "requests or events are still open"))
    }

    fn observe_chains(&mut self) -> Check {
        for chain in &mut self.chains {
            let mut polls = 0;
            while !chain.is_followed() {
                chain.poll(&mut self.machine)?;
                chain.rebuild(&mut self.machine)?;
                polls += 1;
                if polls > ROUNDS {
                    let detail = format!("the connector of chain {} does not reach its head", chain.id);
                    return Err(Violation::new("everything_comes_to_rest", detail));
                }
            }
        }
        Ok(())
    }

    /// Until no request for old blocks is open.
    fn search_chains(&mut self) -> Check {
        for index in 0..self.chains.len() {
            while let Some(chain) = self.chains.get(index)
                && chain.search(&mut self.machine)?
            {
                self.work_until_idle()?;
            }
        }
        Ok(())
    }

    /// Until no task has a record to take or an output to deliver.
    pub fn work_until_idle(&mut self) -> Check {
        for _ in 0..ROUNDS {
            let mut busy = false;
            for index in 0..self.tasks.slots.len() {
                while self.tasks.work(index, &mut self.machine)? == Outcome::Worked {
                    busy = true;
                }
                while self.machine.engine == Engine::Distributed
                    && self.tasks.deliver(index, &mut self.machine)
                {
                    busy = true;
                }
            }
            if !busy {
                return Ok(());
            }
        }
        Err(Violation::new("everything_comes_to_rest", "the tasks never become idle"))
    }
}
