//! The ClickHouse sink: everything an analyst asks about, in tables made for it, and views that answer.
//!
//! - Exactly once without transactions: the ranges of a batch are stored before its rows are inserted. After a crash the
//!   same ranges are read from the log again and give the same rows under the same `insert_deduplication_token`, so an
//!   insert that had happened changes nothing. Positions are in ClickHouse, beside the rows they belong to.
//! - What a repeat could still leave behind (a deduplication window that was overrun, a part that came twice) is the same
//!   row under the same key of a `ReplacingMergeTree`. Every view reads with `FINAL`.
//! - Before a position moves, the batch's records are counted in the tables: an answer is not believed.
//! - Two writers on one database are found out at the next batch, and stop.
//!
//! From top to bottom: [`config`](ClickHouseConfig), `sink`, `plan` and `ranges` (what is written next, and how far it
//! got), `rows` (from records to rows), `native` (from rows to bytes), `service` (one request), `schema` and `views` (SQL).

mod config;
mod error;
mod inserts;
mod marks;
mod native;
mod plan;
mod ranges;
mod rebuild;
mod rows;
mod schema;
mod service;
mod sink;
#[cfg(test)]
mod tests;
mod words;

pub use config::{ClickHouseConfig, ClickHouseConfigError, Compression};
pub use error::ClickHouseError;
pub use native::NativeError;
pub use sink::ClickHouseSink;
