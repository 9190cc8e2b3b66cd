//! What is asked of a running `up` by other commands on its machine.
//!
//! A log that is open cannot be opened by another process, so the one that has it answers, by the same code, on a Unix socket in
//! the data directory: whoever may open the directory may ask. A connection is one request, one JSON document on a line; the
//! answer is one document a line, the last of which ends it ([`said`]). A request whose asker goes away is given up; what it has
//! appended stays.

mod client;
mod place;
mod said;
mod server;

pub(crate) use self::{
    client::{ask_chains, verify},
    server::{Server, Services},
};
