//! The connectors: what brings facts from outside into the inboxes. Each says in its own module what it promises;
//! none decides what a fact means for anybody's money.

pub mod chain;
pub mod stripe;
