//! The answer to a command, on `api.replies`.

use std::collections::HashSet;

use apache_avro::{
    AvroSchema, AvroSchemaComponent, Schema,
    schema::{Name, NamespaceRef},
};
use serde::{Deserialize, Serialize};

use crate::{
    avro,
    id::RequestId,
    meta::Meta,
    records::{
        payment::{Payment, Refund},
        registry::{ApiKey, Endpoint, Merchant},
    },
};

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CommandOutcome {
    /// It was carried out.
    Accepted,
    /// The same idempotency key had carried it out before; this is that result.
    Replayed,
    /// It changed nothing; `problem` says why.
    Rejected,
}

impl AvroSchemaComponent for CommandOutcome {
    fn get_schema_in_ctxt(known: &mut HashSet<Name>, namespace: NamespaceRef) -> Schema {
        avro::enumeration("CommandOutcome", &["accepted", "replayed", "rejected"], known, namespace)
    }
}

/// Why a command was rejected, for a problem document (RFC 9457).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, AvroSchema)]
#[avro(namespace = "streambook")]
pub struct Problem {
    /// A stable code, for example `payment_not_cancelable`.
    pub code: String,
    /// The HTTP status the API answers with.
    pub status: u16,
    /// The field of the request it is about.
    pub field: Option<String>,
    /// What is wrong and what to do about it.
    pub detail: String,
}

/// The answer to one command. Exactly one of the objects is set when it was not rejected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, AvroSchema)]
#[avro(namespace = "streambook")]
pub struct CommandReply {
    /// About the record.
    pub meta: Meta,
    /// The request it answers.
    pub request: RequestId,
    /// How it ended.
    pub outcome: CommandOutcome,
    /// Why it was rejected.
    #[serde(default)]
    pub problem: Option<Problem>,
    /// The payment, for a payment command.
    #[serde(default)]
    pub payment: Option<Payment>,
    /// The refund, for a refund command.
    #[serde(default)]
    pub refund: Option<Refund>,
    /// The merchant, for a merchant command.
    #[serde(default)]
    pub merchant: Option<Merchant>,
    /// The key, for a key command.
    #[serde(default)]
    pub api_key: Option<ApiKey>,
    /// The endpoint, for an endpoint command.
    #[serde(default)]
    pub endpoint: Option<Endpoint>,
}
