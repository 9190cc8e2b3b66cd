//! Tests of the reorg processor, through the runtime's own step.
//!
//! A script has one record a line and, after `|`, what it leads to. Blocks are named by branch and height (`b12`), their
//! time is ten seconds for each height, and a payment's name is also its address.

mod backfill;
mod claims;
mod cost;
mod property;
mod recorded;
mod rules;
mod shared;
mod shared_backfill;
mod watching;
mod world;
