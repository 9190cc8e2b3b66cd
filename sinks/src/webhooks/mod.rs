//! Delivers messages to the merchants' endpoints, at least once, signed (Standard Webhooks), with a stable id.
//!
//! Two halves share one store. The *sink* moves its position in the outbox and puts messages into the delivery queue in
//! one commit, so nothing is lost between them and a delivery that is tried again blocks nobody. The *courier* takes what
//! is due, endpoint by endpoint in turn, and commits each attempt's result together with its public record. A crash
//! between an endpoint's answer and that commit leads to one more delivery with the same id; never to one less.
//!
//! No address inside the network is reachable unless the operator lists it; this is decided on the resolved address,
//! when connecting. Redirects are not followed. Answers are read up to a limit, in a limited time.

mod address;
mod config;
mod courier;
mod queue;
mod schedule;
mod service;
mod signature;
mod sink;

pub use self::{
    address::{AddressRule, Forbidden},
    config::WebhooksConfig,
    courier::Courier,
    queue::{DeliveryQueue, QueueError},
    signature::{SigningSecret, sign},
    sink::WebhooksSink,
};

#[cfg(test)]
mod tests;
