//! Keeps memory bounded: has written data moved to tables, of a keyspace that has much of it, and of the largest ones
//! when all together have. With hundreds of keyspaces each holding a little, the sum would grow without any limit of one
//! being reached, and with it the journal that has to be read at the next start.
//!
//! The store could watch each keyspace itself. It then puts a message into its worker's queue with every write beyond the
//! limit; once the queue is full, the worker, which writes to its own queue, waits for itself for ever and every writer for
//! the worker (fjall 3.1.13, `inner_rotate_memtable`; <https://github.com/fjall-rs/fjall/pull/323>). So the keyspaces are
//! made without a limit, and this thread asks, once for each keyspace until that is done.

use std::sync::Arc;
use std::time::Duration;

use fjall::{AbstractTree, Keyspace};
use parking_lot::{Condvar, Mutex};

use super::shared::Shared;

/// How often it is looked at.
const INTERVAL: Duration = Duration::from_millis(20);
/// The largest part of the write buffer one keyspace takes before it is written to a table.
const MEMTABLE_BYTES: u64 = 8 << 20;

/// Ends the thread.
#[derive(Default)]
pub(super) struct KeeperSwitch {
    closing: Mutex<bool>,
    wake: Condvar,
}

impl KeeperSwitch {
    pub(super) fn close(&self) {
        *self.closing.lock() = true;
        self.wake.notify_all();
    }

    /// Whether to go on, after the interval.
    fn next(&self) -> bool {
        let mut closing = self.closing.lock();
        if !*closing {
            self.wake.wait_for(&mut closing, INTERVAL);
        }
        !*closing
    }
}

/// Runs until closed or stopped.
pub(super) fn run(shared: &Shared, switch: &Arc<KeeperSwitch>) {
    while switch.next() && shared.stop.check().is_ok() {
        let limit = shared.options.write_buffer_bytes;
        let goal = if shared.db.write_buffer_size() > limit { limit / 2 } else { u64::MAX };
        let keyspaces: Vec<Keyspace> = shared.keyspaces.lock().values().cloned().collect();
        if let Err(error) = shrink(&keyspaces, goal) {
            shared.failed(error);
            return;
        }
    }
}

/// Has memtables written out: the largest until `goal` bytes are left, and every one that is too large.
fn shrink(keyspaces: &[Keyspace], goal: u64) -> Result<(), fjall::Error> {
    let mut sizes: Vec<(u64, &Keyspace)> =
        keyspaces.iter().map(|keyspace| (keyspace.tree.active_memtable().size(), keyspace)).collect();
    sizes.sort_unstable_by_key(|(size, _)| std::cmp::Reverse(*size));
    let mut left: u64 = sizes.iter().map(|(size, _)| size).sum();
    for (size, keyspace) in sizes {
        if left <= goal && size <= MEMTABLE_BYTES {
            break;
        }
        if keyspace.sealed_memtable_count() == 0 {
            keyspace.rotate_memtable()?;
        }
        left = left.saturating_sub(size);
    }
    Ok(())
}
