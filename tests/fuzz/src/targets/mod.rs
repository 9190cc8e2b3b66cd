//! The properties, one file each.

pub mod api;
pub mod avro;
pub mod config;
pub mod cursors;
pub mod json_rpc;
pub mod postings;
pub mod server;
pub mod stripe_event;
pub mod stripe_signature;
pub mod webhook_signature;
