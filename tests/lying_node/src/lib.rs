//! A JSON-RPC proxy before a real node that is wrong in the ways in which real nodes are wrong: it drops logs, empties
//! answers, swaps receipts, serves stale heads, mixes forks, cuts connections, answers 429, and is slow.
//!
//! What it does to a question is decided by the seed, the question, and how often that question was asked: the same
//! seed is wrong in the same places, however requests overtake each other. Every lie is counted. It listens on
//! `127.0.0.1` and talks to the one node it was given.

mod lie;
mod mix;
mod node;
mod twist;

pub use lie::Lie;
pub use mix::Mix;
pub use node::{LyingNode, StartError};
