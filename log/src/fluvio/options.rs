//! How a Fluvio cluster is reached.

use std::time::Duration;

/// Settings of a [`FluvioLog`](super::FluvioLog).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FluvioOptions {
    /// The public address of the cluster's controller (SC), `host:port`.
    pub endpoint: String,
    /// How many servers (SPUs) keep a copy of each partition of the topics that are made. An append is acknowledged when all
    /// have it. At least 1; with 1, a lost disk is a lost log.
    pub replication: u16,
    /// How long the cluster may take to answer when the log is opened, and to make a topic.
    pub patience: Duration,
}

impl FluvioOptions {
    /// The cluster at this endpoint, two copies of everything, half a minute of patience.
    pub fn new(endpoint: impl Into<String>) -> Self {
        Self { endpoint: endpoint.into(), replication: 2, patience: Duration::from_secs(30) }
    }
}
