//! The chain connector: observes an EVM chain through ordinary nodes over JSON-RPC and says what it learned as a stream
//! of [`Observation`]s. It promises that every block it hands on was recomputed from what the node sent
//! ([`verify()`]), that each links to one handed on before, and that none is left out ([`Follower`]); a node that fails, lags or
//! lies costs time, never truth ([`pool`]). It has no cursor of its own: the log says where it resumes ([`Resume`]).
//!
//! | file | what |
//! |---|---|
//! | `answer`, `block_json`, `refusal`, `receipt_root`, `bloom`, `transactions`, `state_sync`, `transfers`, `verify` | is an answer believed, and what does it say (pure) |
//! | `follower`, `tree` | what to ask next and what to observe (pure) |
//! | `agreement`, `stall`, `progress` | what several nodes together say, what stands still, how fast it goes (pure) |
//! | `http`, `pace`, `rpc`, `health`, `pool`, `heads` | the nodes |
//! | `config`, `status`, `connector` | settings, what the operator sees, the loop |
//! | `second` | what a second node says of a block |
//! | `backfill` | blocks that the log keeps no longer, searched again on request |
//! | `resume`, `feed`, `ancestor` | from the log, to it, and which of its blocks the nodes still have |

pub mod agreement;
pub mod ancestor;
pub mod answer;
pub mod backfill;
mod block_json;
mod bloom;
pub mod config;
pub mod connector;
pub mod feed;
pub mod follower;
pub mod heads;
pub mod health;
pub mod http;
pub mod pace;
pub mod pool;
pub mod progress;
mod receipt_root;
pub mod refusal;
pub mod resume;
pub mod rpc;
mod second;
pub mod stall;
mod state_sync;
pub mod status;
mod transactions;
pub mod transfers;
mod tree;
pub mod types;
pub mod verify;

#[cfg(test)]
mod tests;

pub use config::{ChainConfig, ChainSettings, ConfigError, Finality, NodeUrl, TokenConfig, Transactions};
pub use connector::{RunError, run};
pub use feed::{Feed, FeedError};
pub use follower::{Follower, Resume, ResumeError};
pub use health::{Breaker, Marks};
pub use progress::Speed;
pub use resume::{ResumeFailure, branch, resume};
pub use stall::{Moving, Stall};
pub use status::{ChainState, ChainStatus, NodeStatus};
pub use types::{BlockId, BlockRef, Erc20Transfer, ForkBelowFinality, Observation, VerifiedBlock};
pub use verify::{verify, verify_json};
