//! How an embedded log is opened: where, with how much memory, and by which clock.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Milliseconds since 1970. Replaced in tests that need to say what time it is.
pub type Clock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// Settings of an [`EmbeddedLog`](super::EmbeddedLog). Memory is bounded by the sum of its byte settings (the write
/// buffer twice over while it is being flushed), whatever the size of the log.
#[derive(Clone)]
pub struct EmbeddedOptions {
    /// The directory; created if absent.
    pub path: PathBuf,
    /// Bytes of written data held in memory before it is moved to tables. Writers wait at twice this.
    pub write_buffer_bytes: u64,
    /// Bytes of table blocks cached for reads.
    pub cache_bytes: u64,
    /// Bytes of sealed journals kept before the data in them is forced into tables; at least 64 MiB (raised to it).
    pub journal_bytes: u64,
    /// Bytes of recently appended records kept in memory for readers at the end of a partition, all partitions together.
    pub recent_bytes: usize,
    /// How long written data may stay unsynced when nobody waits for it.
    pub sync_interval: Duration,
    /// The clock that stamps appended records.
    pub clock: Clock,
}

impl EmbeddedOptions {
    /// The defaults, in this directory: 64 MiB each of write buffer, block cache, journals and recent records, a sync at
    /// least every 10 ms.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            write_buffer_bytes: 64 << 20,
            cache_bytes: 64 << 20,
            journal_bytes: 64 << 20,
            recent_bytes: 64 << 20,
            sync_interval: Duration::from_millis(10),
            clock: Arc::new(system_clock),
        }
    }
}

fn system_clock() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
