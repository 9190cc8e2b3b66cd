//! The surface as callers meet it: the real router, log, registry view, replies and SQLite; the book and the registry are
//! small stand-ins that accept everything and know idempotency keys.

mod commands;
mod harness;
mod merchants;
mod operation;
mod pictures;
mod processors;
mod reads;
mod refusals;
