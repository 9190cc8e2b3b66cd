//! The book as its inbox sees it: scripts of facts and commands on one side, events, messages, replies and balances on the
//! other. Every script feeds each record twice; the second time must change nothing.

mod cards;
mod chain;
mod claims;
mod commands;
mod matching;
mod oracle;
mod script;
mod shop;
mod terms;
