//! The embedded engine: topics, task state and offsets in one [fjall](https://docs.rs/fjall) store in one directory.
//!
//! What it guarantees beyond [`Log`]:
//! - [`EmbeddedLog::commit`] changes state and appends records in one step: after a crash all of it is there or none,
//!   and whatever is there, everything committed before it is there too.
//! - Written means handed to the operating system: killing the process loses nothing written. Synced means on disk;
//!   only that is acknowledged. Syncs are shared.
//! - Memory and the time to open are bounded by the options, not by the size of the log. Ends of partitions are found
//!   from their last records.
//! - After a failed write or sync the log accepts no more writes, says why, and goes on reading. Opening it again finds
//!   everything acknowledged. A torn end of the journal is cut off; damage to what was acknowledged is an error, when the
//!   log is opened or when the record is read.
//!
//! One directory belongs to one [`EmbeddedLog`] at a time.

mod check;
mod commit;
mod engine;
mod failure;
mod frame;
mod gate;
mod journal;
mod keeper;
mod marker;
mod open;
mod options;
mod partition;
mod read;
mod recent;
mod retention;
mod shared;
mod state;
mod topics;

#[cfg(test)]
mod tests;

pub use commit::{Commit, Committed, MAX_RECORD_BYTES, StateWrite};
pub use engine::EmbeddedLog;
pub use gate::Syncs;
pub use options::{Clock, EmbeddedOptions};
pub use state::{MAX_KEY_BYTES, Pair, StateKeyspace};

#[allow(unused_imports, reason = "named in the documentation above")]
use crate::Log;
