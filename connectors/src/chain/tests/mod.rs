//! Tests of the connector: on recorded blocks (`recorded`), and of the running connector against scripted nodes
//! (`driver`). `consumer` checks what every receiver of observations may rely on.

pub(crate) mod blocks;
mod configuration;
pub(crate) mod consumer;
mod deposits;
mod driver;
mod mutations;
mod node;
mod recorded;
