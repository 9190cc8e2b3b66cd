//! The log on a Fluvio cluster, for many machines: what every replica has in memory is acknowledged, and what is read is
//! checked, record by record, against what was appended.
//!
//! Fluvio's own producer and consumer skip records, stall, and reconnect at the wrong offset (the design's `FLUVIO.md` has the
//! reproduced faults), so of the `fluvio` crate only the administration, the encoding and the requests are used; the
//! connections, the batches and the streams are here. `docs/fluvio.md` says what the cluster must be like and what it cannot
//! promise; `log/ENGINES.md` how each method of the trait is done.
//!
//! - `engine`: the handle. `cluster`: the controller. `topics`, `settings`: making and checking topics. `register`: making
//!   servers known. `rejoin`: bringing a stopped server's copies in step.
//! - `source`: one partition and its leader. `partition`: how this process uses it.
//! - `appender`: the way in. `follow`, `window`: the way out.
//! - `requests`, `connection`, `wire`, `names`: the protocol. `frame`: what is in a record.

mod appender;
mod backoff;
mod cluster;
mod connection;
mod engine;
mod follow;
mod frame;
mod health;
mod names;
mod options;
mod partition;
mod register;
mod rejoin;
mod requests;
mod settings;
mod source;
mod topics;
mod window;
mod wire;

pub mod bare;

pub use engine::FluvioLog;
pub use health::Trouble;
pub use options::FluvioOptions;
pub use register::{Server, register};
pub use rejoin::{Cut, Left, Rejoined, rejoin};
