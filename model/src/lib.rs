//! The vocabulary every part of Streambook shares: ids, assets and exact money, positions in the log,
//! record types and their Avro encoding. Depends on nothing else of ours, touches no clock and does no I/O.

pub mod asset;
pub mod avro;
pub mod bytes;
pub mod chain;
pub mod codec;
pub mod compatibility;
pub mod id;
pub mod message;
pub mod meta;
pub mod metadata;
pub mod money;
pub mod payment_json;
pub mod peek;
pub mod position;
pub mod records;
pub mod time;
pub mod topics;
