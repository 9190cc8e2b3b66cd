//! Runs processors: exactly once, in the order of their inbox, with their state, outputs and offset committed together.
//!
//! - [`processor`]: what a processor is and what it may do.
//! - [`state`], [`table`]: its state.
//! - [`lineage`]: what makes a repeat harmless and a gap visible.
//! - [`step`]: one record through one processor; pure.

pub mod lineage;
pub mod processor;
pub mod state;
pub mod step;
pub mod table;
