//! The processors: pure functions from (state, record) to (state, outputs). They never touch a clock, a socket, a file
//! or a random number; a replay of an inbox gives the same outputs to the last byte.

pub mod book;
pub mod dedup;
pub mod invariants;
pub mod registry;
pub mod reorg;

#[cfg(test)]
mod testing;
