//! Messages to the merchants' endpoints, and what became of each attempt.

use std::collections::HashSet;

use apache_avro::{
    AvroSchema, AvroSchemaComponent, Schema,
    schema::{Name, NamespaceRef},
};
use serde::{Deserialize, Serialize};

use crate::{
    avro,
    id::{AttemptId, EndpointId, EventId, MerchantId},
    meta::Meta,
    time::Timestamp,
};

/// One message to one endpoint, on `webhooks.outbox`, keyed by endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, AvroSchema)]
#[avro(namespace = "streambook")]
pub struct WebhookMessage {
    /// About the record.
    pub meta: Meta,
    /// The event, sent as `webhook-id`: stable over retries and replays.
    pub event: EventId,
    /// Its type, for example `payment.completed`.
    pub event_type: String,
    /// The endpoint it goes to.
    pub endpoint: EndpointId,
    /// Whose endpoint it is.
    pub merchant: MerchantId,
    /// The JSON body, byte for byte as it is signed and sent.
    pub body: String,
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AttemptOutcome {
    /// The endpoint answered with 2xx.
    Delivered,
    /// It did not; another attempt follows.
    Failed,
    /// It did not, and this was the last attempt. The message is kept and can be replayed.
    Exhausted,
}

impl AvroSchemaComponent for AttemptOutcome {
    fn get_schema_in_ctxt(known: &mut HashSet<Name>, namespace: NamespaceRef) -> Schema {
        avro::enumeration("AttemptOutcome", &["delivered", "failed", "exhausted"], known, namespace)
    }
}

/// One attempt to deliver a message. Public on `webhooks.attempts`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, AvroSchema)]
#[avro(namespace = "streambook")]
pub struct WebhookAttempt {
    /// About the record.
    pub meta: Meta,
    /// The attempt's id.
    pub attempt: AttemptId,
    /// The event.
    pub event: EventId,
    /// Its type.
    pub event_type: String,
    /// The endpoint.
    pub endpoint: EndpointId,
    /// Whose endpoint it is.
    pub merchant: MerchantId,
    /// The number of the attempt, from 1.
    pub number: u32,
    /// How it ended.
    pub outcome: AttemptOutcome,
    /// The status the endpoint answered with, if it answered.
    pub status_code: Option<u16>,
    /// What went wrong, in words.
    pub error: Option<String>,
    /// How long it took, in milliseconds.
    pub duration_ms: u32,
    /// When the next attempt is due.
    pub next_attempt_at: Option<Timestamp>,
}
