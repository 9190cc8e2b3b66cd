//! The records of the topics. Each type here has its schema in `schemas/avro/`, which is the contract; a test holds
//! the two together. `meta` is always the first field.

pub mod backfill;
pub mod book;
pub mod chain;
pub mod checkpoint;
pub mod dead_letter;
pub mod ledger;
pub mod payment;
pub mod registry;
pub mod reply;
pub mod settings;
pub mod stripe;
pub mod webhook;
