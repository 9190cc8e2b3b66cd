//! [`Message`]: any record of any topic. A topic may hold several record types; the fingerprint at the start of the
//! encoded record tells which one it is.

use apache_avro::AvroSchema;
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    meta::Meta,
    records::{
        backfill::{BackfillClosed, BackfillRequested, ChainBackfill, RequestBackfill},
        book::{AcceptPayment, CancelPayment, ClaimPayment, CreatePayment, CreateRefund, Tick},
        chain::{
            ChainBlock, ChainFinalized, ChainFork, ChainHead, ChainRebuild, ChainStatus, ClaimRefused,
            DeadlinePassed, TransferEvent, WatchAddress, WatchTransaction,
        },
        checkpoint::Checkpoint,
        dead_letter::DeadLetter,
        ledger::LedgerTransaction,
        payment::PaymentEvent,
        registry::{
            ApiKeyChanged, EndpointChanged, MerchantChanged, PutApiKey, PutEndpoint, PutMerchant,
            PutSettings, SettingsChanged,
        },
        reply::CommandReply,
        stripe::{CardFact, StripeEvent},
        webhook::{WebhookAttempt, WebhookMessage},
    },
};

/// A type that is a record of its own, with its own schema file.
pub trait Record: Serialize + DeserializeOwned + AvroSchema + Into<Message> {
    /// The name of its schema and of its file in `schemas/avro/`.
    const NAME: &'static str;
}

// One list of the record types, so that a new one cannot be forgotten in any of the matches.
macro_rules! messages {
    ($($record:ident),* $(,)?) => {
        /// Any record of any topic.
        #[derive(Debug, Clone, PartialEq, Eq, Serialize)]
        #[serde(tag = "record")]
        #[expect(clippy::large_enum_variant, reason = "messages are moved once or twice; a box each would cost more")]
        pub enum Message {
            $(#[doc = concat!("A [`", stringify!($record), "`].")] $record($record),)*
        }

        $(
            impl Record for $record { const NAME: &'static str = stringify!($record); }
            impl From<$record> for Message { fn from(record: $record) -> Self { Self::$record(record) } }
        )*

        impl Message {
            /// The names of all record types.
            pub const NAMES: &'static [&'static str] = &[$(stringify!($record)),*];

            /// What the record says about itself.
            pub fn meta(&self) -> &Meta {
                match self { $(Self::$record(record) => &record.meta,)* }
            }

            /// The name of the record's type.
            pub fn name(&self) -> &'static str {
                match self { $(Self::$record(_) => stringify!($record),)* }
            }

            pub(crate) fn encode_with<E>(&self, encoder: &mut impl Encode<Error = E>) -> Result<(), E> {
                match self { $(Self::$record(record) => encoder.encode(record),)* }
            }

            pub(crate) fn decode_with<D: Decode>(name: &str, decoder: D) -> Option<Result<Self, D::Error>> {
                match name { $(stringify!($record) => Some(decoder.decode::<$record>().map(Self::$record)),)* _ => None }
            }

            #[cfg(test)]
            pub(crate) fn derived_schema(name: &str) -> Option<apache_avro::Schema> {
                match name { $(stringify!($record) => Some($record::get_schema()),)* _ => None }
            }
        }
    };
}

messages!(
    AcceptPayment,
    ApiKeyChanged,
    BackfillClosed,
    BackfillRequested,
    CancelPayment,
    CardFact,
    ChainBackfill,
    ChainBlock,
    ChainFinalized,
    ChainFork,
    ChainRebuild,
    ChainHead,
    ChainStatus,
    Checkpoint,
    ClaimPayment,
    ClaimRefused,
    CommandReply,
    CreatePayment,
    CreateRefund,
    DeadLetter,
    DeadlinePassed,
    EndpointChanged,
    LedgerTransaction,
    MerchantChanged,
    PaymentEvent,
    PutApiKey,
    PutEndpoint,
    PutMerchant,
    PutSettings,
    RequestBackfill,
    SettingsChanged,
    StripeEvent,
    Tick,
    TransferEvent,
    WatchAddress,
    WatchTransaction,
    WebhookAttempt,
    WebhookMessage,
);

/// Writes one record of a known type.
pub(crate) trait Encode {
    type Error;
    fn encode<R: Record>(&mut self, record: &R) -> Result<(), Self::Error>;
}

/// Reads one record of a known type.
pub(crate) trait Decode {
    type Error;
    fn decode<R: Record>(self) -> Result<R, Self::Error>;
}
