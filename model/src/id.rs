//! Typed ids. One generic [`Id`] carries 128 bits and a kind; text form is the kind's prefix and 32 hex digits
//! (`pay_0192f1c2…`), which is also what Avro and JSON carry. Whoever accepts a request mints its ids
//! ([`Id::from_bits`], UUIDv7 bits, so ids sort by time); processors only ever [`Id::derive`] them from their
//! input, so a replay gives the same ids.

use std::{borrow::Cow, cmp::Ordering, collections::HashSet, fmt, hash, marker::PhantomData, str::FromStr};

use apache_avro::{
    AvroSchemaComponent, Schema,
    schema::{Name, NamespaceRef},
};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};
use sha2::{Digest, Sha256};

/// What an [`Id`] identifies; gives its prefix.
pub trait Kind: 'static {
    /// The text before the underscore, for example `pay`.
    const PREFIX: &'static str;
}

/// The kinds of ids.
pub mod kind {
    /// A payment (`pay_`).
    pub enum Payment {}
    /// A refund (`ref_`).
    pub enum Refund {}
    /// A merchant (`mer_`).
    pub enum Merchant {}
    /// An API key's public id (`key_`).
    pub enum ApiKey {}
    /// A webhook endpoint (`we_`).
    pub enum Endpoint {}
    /// A public event, the `webhook-id` of its deliveries (`evt_`).
    pub enum Event {}
    /// A ledger transaction (`txn_`).
    pub enum Transaction {}
    /// One request to the API, and the command it became (`req_`).
    pub enum Request {}
    /// A record that could not be processed (`dl_`).
    pub enum DeadLetter {}
    /// One delivery attempt of a webhook (`att_`).
    pub enum Attempt {}
}

macro_rules! prefixes {
    ($($kind:ident = $prefix:literal),* $(,)?) => { $(impl Kind for kind::$kind { const PREFIX: &'static str = $prefix; })* };
}
prefixes!(
    Payment = "pay",
    Refund = "ref",
    Merchant = "mer",
    ApiKey = "key",
    Endpoint = "we",
    Event = "evt",
    Transaction = "txn",
    Request = "req",
    DeadLetter = "dl",
    Attempt = "att",
);

/// A payment's id.
pub type PaymentId = Id<kind::Payment>;
/// A refund's id.
pub type RefundId = Id<kind::Refund>;
/// A merchant's id.
pub type MerchantId = Id<kind::Merchant>;
/// An API key's id (not the key itself).
pub type ApiKeyId = Id<kind::ApiKey>;
/// A webhook endpoint's id.
pub type EndpointId = Id<kind::Endpoint>;
/// A public event's id.
pub type EventId = Id<kind::Event>;
/// A ledger transaction's id.
pub type TransactionId = Id<kind::Transaction>;
/// An API request's id.
pub type RequestId = Id<kind::Request>;
/// A dead letter's id.
pub type DeadLetterId = Id<kind::DeadLetter>;
/// A delivery attempt's id.
pub type AttemptId = Id<kind::Attempt>;

/// 128 bits that identify one thing of kind `K`.
pub struct Id<K> {
    bits: [u8; 16],
    kind: PhantomData<fn() -> K>,
}

/// Text that is not an id of the expected kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not an id of this kind: expected `{prefix}_` and 32 hex digits")]
pub struct InvalidId {
    text: String,
    prefix: &'static str,
}

impl<K: Kind> Id<K> {
    /// Wraps bits minted elsewhere, for example those of a UUIDv7.
    pub const fn from_bits(bits: [u8; 16]) -> Self {
        Self { bits, kind: PhantomData }
    }

    /// The same id for the same parts, always: the first 128 bits of the SHA-256 of the kind and the
    /// length-prefixed parts.
    pub fn derive(parts: &[&[u8]]) -> Self {
        let mut hash = Sha256::new();
        hash.update(K::PREFIX.as_bytes());
        for part in parts {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        let digest: [u8; 32] = hash.finalize().into();
        let mut bits = [0; 16];
        bits.copy_from_slice(&digest[..16]);
        Self::from_bits(bits)
    }

    /// As [`Id::derive`], with the first half taken from another id: what belongs together stays together in an index
    /// that is sorted by id.
    pub fn derive_beside(origin: &[u8; 16], parts: &[&[u8]]) -> Self {
        let all: Vec<&[u8]> = std::iter::once(origin.as_slice()).chain(parts.iter().copied()).collect();
        let mut bits = Self::derive(&all).bits;
        bits[..8].copy_from_slice(&origin[..8]);
        Self::from_bits(bits)
    }

    fn digits<'a>(&self, room: &'a mut [u8; 32]) -> Option<&'a str> {
        hex::encode_to_slice(self.bits, room).ok()?;
        std::str::from_utf8(room).ok()
    }

    /// The bits, for use in keys of a store.
    pub const fn bits(&self) -> &[u8; 16] {
        &self.bits
    }
}

impl<K> Clone for Id<K> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<K> Copy for Id<K> {}
impl<K> PartialEq for Id<K> {
    fn eq(&self, other: &Self) -> bool {
        self.bits == other.bits
    }
}
impl<K> Eq for Id<K> {}
impl<K> PartialOrd for Id<K> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl<K> Ord for Id<K> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.bits.cmp(&other.bits)
    }
}
impl<K> hash::Hash for Id<K> {
    fn hash<H: hash::Hasher>(&self, state: &mut H) {
        self.bits.hash(state);
    }
}

impl<K: Kind> fmt::Display for Id<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut digits = [0; 32];
        f.write_str(K::PREFIX)?;
        f.write_str("_")?;
        f.write_str(self.digits(&mut digits).ok_or(fmt::Error)?)
    }
}

impl<K: Kind> fmt::Debug for Id<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl<K: Kind> FromStr for Id<K> {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let invalid = || InvalidId { text: text.chars().take(80).collect(), prefix: K::PREFIX };
        let digits =
            text.strip_prefix(K::PREFIX).and_then(|rest| rest.strip_prefix('_')).ok_or_else(invalid)?;
        let lower = digits.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        let mut bits = [0; 16];
        if !lower || hex::decode_to_slice(digits, &mut bits).is_err() {
            return Err(invalid());
        }
        Ok(Self::from_bits(bits))
    }
}

impl<K: Kind> Serialize for Id<K> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // Ids are a good part of each record, and formatting machinery would be most of the time of one.
        let mut digits = [0; 32];
        let digits = self.digits(&mut digits).ok_or_else(|| ser::Error::custom("an id has no text"))?;
        let mut text = String::with_capacity(K::PREFIX.len() + 33);
        text.push_str(K::PREFIX);
        text.push('_');
        text.push_str(digits);
        serializer.serialize_str(&text)
    }
}

impl<'de, K: Kind> Deserialize<'de> for Id<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

impl<K: Kind> AvroSchemaComponent for Id<K> {
    fn get_schema_in_ctxt(_: &mut HashSet<Name>, _: NamespaceRef) -> Schema {
        Schema::String
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_form_round_trips_and_names_its_kind() {
        let id = PaymentId::derive(&[b"a", b"b"]);
        assert!(id.to_string().starts_with("pay_"));
        assert_eq!(id.to_string().parse::<PaymentId>(), Ok(id));
        assert!(id.to_string().parse::<MerchantId>().is_err());
        assert!(id.to_string().to_uppercase().parse::<PaymentId>().is_err());
    }

    #[test]
    fn an_id_beside_another_shares_its_first_half_and_nothing_else() {
        let payment = PaymentId::derive(&[b"p"]);
        let events = [1_u8, 2].map(|version| EventId::derive_beside(payment.bits(), &[&[version]]));
        assert!(events.iter().all(|event| event.bits()[..8] == payment.bits()[..8]));
        assert_ne!(events[0].bits()[8..], events[1].bits()[8..]);
        assert_ne!(events[0].bits()[8..], payment.bits()[8..]);
    }

    #[test]
    fn parts_are_length_prefixed_so_they_cannot_run_together() {
        assert_ne!(EventId::derive(&[b"ab", b"c"]), EventId::derive(&[b"a", b"bc"]));
    }
}
