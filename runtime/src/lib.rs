//! Runs processors: exactly once, in the order of their inbox, with their state, outputs and offset committed together.
//!
//! - [`processor`]: what a processor is and what it may do.
//! - [`state`], [`table`]: its state.
//! - [`lineage`]: what makes a repeat harmless and a gap visible.
//! - [`checks`]: how often a processor's invariants were checked.
//! - [`step`]: one record through one processor; pure.
//! - [`store`], [`runner`], [`threads`]: the same step in production, on the embedded log, with its atomic commit.
//! - [`sink`], [`sink_runner`]: what carries results out.
//! - [`outbox`], [`checkpoints`]: what a log needs that many processes share.
//! - [`health`], [`metrics`]: what an operator sees.
//! - [`secrets`]: seals what must be kept and not be read.

pub mod checkpoints;
pub mod checks;
pub mod clock;
pub mod health;
pub mod lineage;
pub mod metrics;
mod missing;
pub mod outbox;
pub mod processor;
pub mod publisher;
pub mod runner;
pub mod secrets;
pub mod sink;
pub mod sink_runner;
pub mod state;
pub mod step;
pub mod store;
pub mod table;
pub mod threads;
