//! Checkpoints: how far every task and sink is, told to those who send to it.
//!
//! - [`Board`], [`Checkpoints`]: what the receivers of this process have taken, and its publication.
//! - [`View`]: what the receivers of all processes have taken.

mod board;
mod publish;
mod view;

use std::{collections::BTreeMap, time::Instant};

use streambook_model::{
    position::{Offset, Partition, TopicPartition},
    topics::{BOOK_INBOX, CHAIN_INBOX, REGISTRY_INBOX, STRIPE_INBOX, TopicDef},
};

pub use self::{
    board::Board,
    publish::{Checkpoints, Process},
    view::{View, latest},
};
use crate::lineage::Mark;

/// What a receiver has taken of one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    /// The task or sink.
    pub receiver: String,
    /// The first offset it has not taken.
    pub next: Offset,
    /// The last record it took from each task.
    pub marks: BTreeMap<String, Mark>,
}

/// What is known of a receiver, by its own words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heard {
    /// What it has taken.
    pub received: Received,
    /// When it last spoke; never, where it was not heard of.
    pub at: Option<Instant>,
    /// Whether it said that it takes what comes: it has not stopped, and does not wait for a database.
    pub goes_on: bool,
}

/// Whose word counts for a partition: an inbox has a task of its own, another topic a sink that reads all of it.
pub fn receiver_of(topic: &TopicDef, partition: Partition) -> Option<String> {
    let receiver = topic.receiver?;
    let is_inbox = [CHAIN_INBOX, STRIPE_INBOX, BOOK_INBOX, REGISTRY_INBOX].contains(topic);
    Some(if is_inbox { format!("{receiver}/{partition}") } else { receiver.to_owned() })
}

/// What was taken, by partition.
type Inputs = BTreeMap<TopicPartition, Received>;
