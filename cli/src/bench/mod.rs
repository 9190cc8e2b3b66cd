//! Reproducible measurements of the real parts: the log, the pipeline from a command to a committed row, and the HTTP
//! surface. Every figure is of work that was checked to be complete; a measurement whose work does not end, or ends
//! with dead letters, is an error and prints no figures.

mod directory;
mod figures;
mod usage;

pub(crate) mod chain;
pub(crate) mod clickhouse;
pub(crate) mod http;
pub(crate) mod log;
pub(crate) mod pipeline;
pub(crate) mod sql;

pub(crate) use self::{directory::Directory, figures::Latency};

/// The account key m/44'/60'/0' of the public test mnemonic "test test test test test test test test test test test junk".
/// Nobody sends money to addresses below it.
const TEST_XPUB: &str = "xpub6Ce9NcJvTk36xtLSrJLZqE7wtgA5deCeYs7rSQtreh4cj6ByPtrg9sD7V2FNFLPnf8heNP3FGkeV9qwfzvZNSd54JoNXVsXFYSYwHsnJxqP";
