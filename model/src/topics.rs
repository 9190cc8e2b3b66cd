//! The topics: their names, what partitions them, how long they are kept.

use crate::position::TopicName;

/// Partitions of a topic that is not said to have one: logical shards, the unit of scale.
pub const SHARDS: u16 = 16;

/// How long a topic's records are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// For ever: inboxes, from which everything else can be made again.
    Forever,
    /// As long as the operator's retention says: what can be made again, or is also in a sink.
    Retention,
}

/// One topic of the design.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TopicDef {
    /// Its name.
    pub name: &'static str,
    /// Its number of partitions, fixed for ever.
    pub partitions: u16,
    /// How long its records are kept.
    pub keep: Keep,
    /// What the records' key is, in words.
    pub key: &'static str,
    /// Whether downstream applications may rely on it.
    pub public: bool,
    /// Whose word counts that a record has arrived: the processor whose inbox it is, or the sink that keeps it. None where
    /// nobody needs it for long, or its repeats are known by its own id.
    pub receiver: Option<&'static str>,
}

const fn inbox(name: &'static str, partitions: u16, key: &'static str, receiver: &'static str) -> TopicDef {
    TopicDef { name, partitions, keep: Keep::Forever, key, public: false, receiver: Some(receiver) }
}

const fn public(name: &'static str, key: &'static str, receiver: Option<&'static str>) -> TopicDef {
    TopicDef { name, partitions: SHARDS, keep: Keep::Retention, key, public: true, receiver }
}

/// Blocks, heads and watches; read by `reorg`.
pub const CHAIN_INBOX: TopicDef = inbox("chain.inbox", SHARDS, "chain id", "reorg");
/// What `reorg` asks of the chains' connectors, and what has been answered. A connector keeps no cursor: what is asked and
/// not closed is open.
pub const CHAIN_REQUESTS: TopicDef = TopicDef {
    name: "chain.requests",
    partitions: SHARDS,
    keep: Keep::Retention,
    key: "chain id",
    public: false,
    receiver: None,
};
/// Stripe's events; read by `dedup`.
pub const STRIPE_INBOX: TopicDef = inbox("stripe.inbox", SHARDS, "payment intent or charge", "dedup");
/// Commands, facts, changes of settings, ticks; read by `book`.
pub const BOOK_INBOX: TopicDef = inbox("book.inbox", SHARDS, "merchant", "book");
/// Administration; read by `registry`.
pub const REGISTRY_INBOX: TopicDef = inbox("registry.inbox", 1, "merchant or endpoint", "registry");
/// Changes of merchants, keys, endpoints and settings; kept for ever, since the API and the sinks start from it.
pub const REGISTRY_EVENTS: TopicDef = inbox("registry.events", 1, "merchant, key or endpoint", "sql");
/// Answers to commands, a partition for each API instance.
pub const API_REPLIES: TopicDef = TopicDef {
    name: "api.replies",
    partitions: SHARDS,
    keep: Keep::Retention,
    key: "request",
    public: false,
    receiver: None,
};
/// Messages to the merchants' endpoints.
pub const WEBHOOKS_OUTBOX: TopicDef = inbox("webhooks.outbox", SHARDS, "endpoint", "webhooks");
/// Steps of the payments' lives.
pub const PAYMENTS_EVENTS: TopicDef = public("payments.events", "merchant", Some("sql"));
/// Balanced transactions.
pub const LEDGER_TRANSACTIONS: TopicDef = public("ledger.transactions", "merchant", Some("sql"));
/// Changes of watched transfers and of chain heads.
pub const CHAIN_TRANSFERS: TopicDef = public("chain.transfers", "chain id", Some("sql"));
/// Attempts to deliver webhooks.
pub const WEBHOOKS_ATTEMPTS: TopicDef = public("webhooks.attempts", "endpoint", None);
/// What could not be processed.
pub const DEAD_LETTERS: TopicDef = public("dead.letters", "origin", Some("sql"));

/// How far every task and sink is, where many processes share the log. One machine needs none.
pub const CHECKPOINTS: TopicDef = TopicDef {
    name: "checkpoints",
    partitions: 1,
    keep: Keep::Retention,
    key: "receiver",
    public: false,
    receiver: None,
};

/// Every topic of the books. [`CHECKPOINTS`] is beside them: it says nothing about money.
pub const ALL: [TopicDef; 13] = [
    CHAIN_INBOX,
    CHAIN_REQUESTS,
    STRIPE_INBOX,
    BOOK_INBOX,
    REGISTRY_INBOX,
    REGISTRY_EVENTS,
    API_REPLIES,
    WEBHOOKS_OUTBOX,
    PAYMENTS_EVENTS,
    LEDGER_TRANSACTIONS,
    CHAIN_TRANSFERS,
    WEBHOOKS_ATTEMPTS,
    DEAD_LETTERS,
];

/// The topic of the books of this name.
pub fn of(name: &TopicName) -> Option<TopicDef> {
    ALL.into_iter().find(|topic| topic.name == name.as_str())
}

impl TopicDef {
    /// The name as its type.
    pub fn topic(&self) -> TopicName {
        TopicName::constant(self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_valid_and_used_once() {
        let mut names: Vec<_> =
            ALL.iter().chain([&CHECKPOINTS]).map(|def| TopicName::new(def.name).unwrap()).collect();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), ALL.len() + 1);
    }
}
