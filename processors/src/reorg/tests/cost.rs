//! What a record costs, in operations on the state.

use std::cell::Cell;

use bytes::Bytes;
use streambook_log::Record;
use streambook_model::{
    codec,
    message::Message,
    position::{Offset, Partition},
};
use streambook_runtime::{
    state::{MemoryState, Pairs, State, StateError},
    step::Task,
};

use super::world::{World, block, hash, height};
use crate::reorg::Reorg;
use streambook_model::{chain::ChainId, records::chain::ChainHead};

/// Counts what a step asks of the state it stands on.
#[derive(Default)]
struct Counting {
    state: MemoryState,
    operations: Cell<usize>,
}

impl Counting {
    fn count(&self) {
        self.operations.set(self.operations.get() + 1);
    }

    fn cost(&mut self, message: impl Into<Message>) -> usize {
        self.operations.set(0);
        let value = codec::encode(&message.into()).unwrap().into();
        let record = Record { offset: Offset(7), appended_at_ms: 0, key: Bytes::new(), value };
        Task::new(&Reorg, Partition(0)).step(&record, self).unwrap();
        self.operations.get()
    }
}

impl State for Counting {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StateError> {
        self.count();
        self.state.get(key)
    }

    fn scan(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Pairs, StateError> {
        self.count();
        self.state.scan(from, to, limit)
    }

    fn put(&mut self, key: Bytes, value: Bytes) {
        self.count();
        self.state.put(key, value);
    }

    fn delete(&mut self, key: Bytes) {
        self.count();
        self.state.delete(key);
    }
}

fn head(world: &World, name: &str) -> ChainHead {
    ChainHead { meta: world.bench.meta(), chain: ChainId(1), number: height(name), hash: hash(name) }
}

#[test]
fn a_transfer_costs_a_few_operations_and_a_head_with_nothing_due_a_handful() {
    let mut world = World::new();
    for number in 0..500 {
        world.run(&format!("watch p{number} depth=2"));
    }
    world.run("block a10 on a9");
    world.run("head a10");
    let mut counting = Counting { state: world.bench.state.clone(), ..Counting::default() };
    let transfers: Vec<String> = (0..500).map(|number| format!("p{number}=5")).collect();
    let full = block(world.bench.meta(), ChainId(1), "a11", "a10", &transfers.join(","));
    let after = block(world.bench.meta(), ChainId(1), "a12", "a11", "");
    let idle = block(world.bench.meta(), ChainId(1), "a13", "a12", "");

    // One written, and one looked at and written again, for each.
    let taken = counting.cost(full.clone());
    assert!(taken <= 500 * 3 + 20, "a block with 500 transfers cost {taken}");
    let again = counting.cost(full);
    assert!(again <= 6, "a repeat cost {again}");
    // One look at the watch and one open inclusion for each.
    let seen = counting.cost(head(&world, "a11"));
    assert!(seen <= 500 * 2 + 40, "the head with 500 transfers cost {seen}");
    counting.cost(after);
    // One removed and one written for each.
    let confirmed = counting.cost(head(&world, "a12"));
    assert!(confirmed <= 500 * 2 + 40, "the head with 500 confirmations cost {confirmed}");
    let quiet = counting.cost(idle);
    assert!(quiet <= 20, "a block without transfers cost {quiet}");
    let nothing_due = counting.cost(head(&world, "a13"));
    assert!(nothing_due <= 30, "a head with nothing due cost {nothing_due}");
}
