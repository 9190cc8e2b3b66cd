//! Tests of the connector: on recorded blocks (`recorded`), and of the running connector against scripted nodes
//! (`driver`, and `several` for what several nodes say; `subscriptions` for WebSocket). `consumer` checks what every receiver of observations may rely on.

pub(crate) mod blocks;
mod configuration;
pub(crate) mod consumer;
mod deposits;
pub(super) mod driver;
mod letters;
mod madhugiri;
mod mutations;
pub(super) mod node;
mod recorded;
mod several;
mod subscriptions;
