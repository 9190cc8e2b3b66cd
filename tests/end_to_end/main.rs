//! The whole system from outside: the real binary as a child process, a chain, a webhook receiver, Stripe's deliveries.
//!
//! Every test has a directory, ports and a process of its own, waits for states and never for a while, and leaves its
//! directory behind when it fails. Scenarios about chains are written once and run twice: on the development chain, which
//! needs nothing, and on anvil, a real EVM. A part that is not installed is named loudly ([`parts`]); nothing is skipped
//! in silence.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::large_futures,
    clippy::print_stderr,
    reason = "a test stops at what it did not expect and says so, and its futures are few"
)]

mod anvil;
mod api;
mod cards;
mod chain;
mod chains;
mod clickhouse;
mod cluster;
mod cluster_commands;
mod command;
mod database;
mod devchain;
mod downstream;
mod full_disk;
mod gate;
mod hook;
mod idempotency;
mod isolation;
mod kill;
mod live_verify;
mod matching;
mod money;
mod outages;
mod part;
mod parts;
mod place;
mod postgres;
mod receiver;
mod requests;
mod scenarios;
mod settings;
mod shop;
mod stage;
mod startup;
mod streambook;
mod stripe;
mod tampering;
mod traffic;
mod waiting;
mod webhooks;
