//! Fuzz targets for everything that reads bytes from outside.
//!
//! A target is a property of any input whatsoever: reading it never panics, what is accepted survives being written and
//! read again with the same meaning, a refusal names what is wrong, and a signature holds for no other bytes. It says no
//! by panicking. Two searches use the same targets: `cargo test` tries the committed corpus and some thousand inputs
//! that follow from it and a seed ([`mutate`]), and `make fuzz` lets libFuzzer look for new paths for as long as told.
//!
//! | file | what |
//! |---|---|
//! | `targets/*` | one property each |
//! | `corpus`, `corpus/*` | real inputs to begin with |
//! | `mutate` | inputs that are nearly right, from a seed |
//! | `bin/fuzz` | libFuzzer's entry |

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::missing_panics_doc,
    reason = "a target says no by panicking"
)]

pub mod corpus;
pub mod mutate;
pub mod samples;
pub mod targets;

/// Checks one input; panics where the property does not hold.
pub type Check = Box<dyn FnMut(&[u8])>;

/// A property with its name.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Its name, that of its folder in `corpus/` too.
    pub name: &'static str,
    /// Sets up what the property needs. What is dropped with the check is cleaned up.
    pub prepare: fn() -> Check,
}

/// All targets.
pub const TARGETS: [Target; 9] = [
    Target { name: "api", prepare: targets::api::prepare },
    Target { name: "avro", prepare: || Box::new(targets::avro::check) },
    Target { name: "config", prepare: targets::config::prepare },
    Target { name: "cursors", prepare: targets::cursors::prepare },
    Target { name: "json_rpc", prepare: targets::json_rpc::prepare },
    Target { name: "postings", prepare: || Box::new(targets::postings::check) },
    Target { name: "stripe_event", prepare: || Box::new(targets::stripe_event::check) },
    Target { name: "stripe_signature", prepare: || Box::new(targets::stripe_signature::check) },
    Target { name: "webhook_signature", prepare: || Box::new(targets::webhook_signature::check) },
];

/// The target of this name.
#[must_use]
pub fn target(name: &str) -> Option<Target> {
    TARGETS.into_iter().find(|target| target.name == name)
}
