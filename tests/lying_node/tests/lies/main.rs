//! The chain connector before lying nodes: whatever they say, what reaches the log is the chain's truth, and all of it is
//! there once honest answers can be had. The truth is asked from the real node directly, by other calls than the
//! connector's.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::large_futures,
    reason = "a test stops at what it did not expect, and its futures are few"
)]

mod anvil;
mod devchain;
mod observed;
mod rebuild;
mod truth;
