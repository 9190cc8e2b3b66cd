//! `verify` beside a running `up`.
//!
//! The process that has the log open verifies it itself, by the same code, and says how far it is and what it found on a
//! Unix socket in the data directory: whoever may open the directory may ask, as for a verification without `up`. To
//! connect is to ask; the answer is one JSON document a line ([`said`]). One verification runs at a time, and one that
//! nobody listens to any more stops.

mod client;
mod place;
mod said;
mod server;

pub(crate) use self::{client::ask, server::Server};
