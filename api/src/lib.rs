//! The HTTP surface.
//!
//! A request is authenticated, limited and checked for shape here, and nothing more: what it means is decided once, in the
//! log's order, by the book or the registry. A command is answered only after its reply is on disk, and with it everything
//! before it; a request that is refused appends nothing. Reads come from SQL and wait, bounded, for what the caller wrote.
//!
//! - [`state`], [`config`], [`server`]: what runs, with which limits.
//! - [`auth`], [`limits`], [`asked`], [`params`]: from a request to who asks for what.
//! - [`command`], [`replies`], [`position`]: from a command to its answer, and to reads that see it.
//! - [`registry_view`]: keys, merchants, endpoints and settings as the registry says.
//! - [`problem`], [`envelope`]: every error is a problem document, every answer names its request.
//! - one module for each resource, and [`openapi`] that describes them.

mod api_keys;
mod asked;
mod auth;
mod balances;
mod command;
pub mod config;
mod context;
mod cursor;
mod dead_letters;
mod envelope;
mod events;
mod health;
mod idempotency;
mod ingest_stripe;
mod ledger;
mod limits;
mod merchants;
mod openapi;
mod params;
mod payment_qr;
mod payments;
mod position;
mod problem;
mod qr;
mod refunds;
mod registry_view;
mod replies;
mod router;
mod server;
mod state;
mod url_rules;
mod views;
mod webhook_endpoints;

#[cfg(test)]
mod tests;

pub use self::{
    config::{ApiConfig, InvalidConfig},
    ingest_stripe::{IngestRefusal, StripeIngest},
    openapi::document,
    router::{operator_router, router},
    server::{ServeError, serve},
    state::{ApiParts, ApiState, MetricsText, Reading, StartError, Surface},
};
