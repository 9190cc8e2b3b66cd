//! Keeps memory bounded.
//!
//! The store moves a keyspace's written data to a table when that keyspace alone has much of it. With hundreds of
//! keyspaces each holding a little, the sum would grow without such a limit being reached, and with it the journal that
//! has to be read at the next start. This thread watches the sum and has the largest ones written out.

use std::sync::Arc;
use std::time::Duration;

use fjall::{AbstractTree, Keyspace};
use parking_lot::{Condvar, Mutex};

use super::shared::Shared;

/// How often the sum is looked at.
const INTERVAL: Duration = Duration::from_millis(20);

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
        if shared.db.write_buffer_size() <= shared.options.write_buffer_bytes {
            continue;
        }
        let keyspaces: Vec<Keyspace> = shared.keyspaces.lock().values().cloned().collect();
        if let Err(error) = shrink(&keyspaces, shared.options.write_buffer_bytes) {
            shared.failed(error);
            return;
        }
    }
}

/// Has the largest memtables written out until half of the limit is left.
fn shrink(keyspaces: &[Keyspace], limit_bytes: u64) -> Result<(), fjall::Error> {
    let mut sizes: Vec<(u64, &Keyspace)> =
        keyspaces.iter().map(|keyspace| (keyspace.tree.active_memtable().size(), keyspace)).collect();
    sizes.sort_unstable_by_key(|(size, _)| std::cmp::Reverse(*size));
    let mut left: u64 = sizes.iter().map(|(size, _)| size).sum();
    for (size, keyspace) in sizes {
        if left <= limit_bytes / 2 {
            break;
        }
        if keyspace.sealed_memtable_count() == 0 {
            keyspace.rotate_memtable()?;
        }
        left = left.saturating_sub(size);
    }
    Ok(())
}
