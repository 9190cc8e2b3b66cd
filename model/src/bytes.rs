//! Fixed-size byte strings of a chain: addresses, hashes, raw token values. In JSON they are `0x` and hex digits
//! ("DATA" of the Ethereum JSON-RPC specification), in Avro `fixed`.

use std::{borrow::Cow, cmp::Ordering, collections::HashSet, fmt, hash, marker::PhantomData, str::FromStr};

use apache_avro::{
    AvroSchemaComponent, Schema,
    schema::{FixedSchema, Name, NamespaceRef},
};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// What a [`FixedBytes`] holds; gives the name of its Avro `fixed`.
pub trait Kind: 'static {
    /// The Avro name, for example `BlockHash`.
    const NAME: &'static str;
}

/// The kinds of fixed byte strings.
pub mod kind {
    /// A 20-byte account or contract address.
    pub enum Address {}
    /// The keccak-256 hash of a block header.
    pub enum Block {}
    /// The keccak-256 hash of a signed transaction.
    pub enum Tx {}
    /// A 256-bit big-endian unsigned token value, as a contract's log carries it.
    pub enum TokenValue {}
    /// A SHA-256 over canonical content.
    pub enum Content {}
    /// The running hash over a task's outputs.
    pub enum Lineage {}
}

macro_rules! names {
    ($($kind:ident = $name:literal),* $(,)?) => { $(impl Kind for kind::$kind { const NAME: &'static str = $name; })* };
}
names!(
    Address = "Address",
    Block = "BlockHash",
    Tx = "TxHash",
    TokenValue = "TokenValue",
    Content = "ContentHash",
    Lineage = "LineageHash",
);

/// An account or contract address on an EVM chain.
pub type Address = FixedBytes<20, kind::Address>;
/// A block's hash.
pub type BlockHash = FixedBytes<32, kind::Block>;
/// A transaction's hash.
pub type TxHash = FixedBytes<32, kind::Tx>;
/// A token value as the chain states it: 256 bits, big-endian, unsigned.
pub type TokenValue = FixedBytes<32, kind::TokenValue>;
/// A SHA-256 over content.
pub type ContentHash = FixedBytes<32, kind::Content>;
/// 128 bits of a task's running output hash.
pub type LineageHash = FixedBytes<16, kind::Lineage>;

/// `N` bytes of kind `K`.
pub struct FixedBytes<const N: usize, K> {
    bytes: [u8; N],
    kind: PhantomData<fn() -> K>,
}

/// Text that is not `0x` and the right number of hex digits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected `0x` and {digits} hex digits ({name})")]
pub struct InvalidBytes {
    name: &'static str,
    digits: usize,
}

impl<const N: usize, K> FixedBytes<N, K> {
    /// All zero bits.
    pub const ZERO: Self = Self::new([0; N]);

    /// Wraps bytes.
    pub const fn new(bytes: [u8; N]) -> Self {
        Self { bytes, kind: PhantomData }
    }

    /// The bytes.
    pub const fn as_bytes(&self) -> &[u8; N] {
        &self.bytes
    }
}

impl Address {
    /// Mixed-case text with the checksum of EIP-55, for people and wallets.
    pub fn to_checksum(&self) -> String {
        alloy_primitives::Address::from(self.bytes).to_checksum(None)
    }
}

impl<const N: usize, K> Clone for FixedBytes<N, K> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<const N: usize, K> Copy for FixedBytes<N, K> {}
impl<const N: usize, K> PartialEq for FixedBytes<N, K> {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}
impl<const N: usize, K> Eq for FixedBytes<N, K> {}
impl<const N: usize, K> PartialOrd for FixedBytes<N, K> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl<const N: usize, K> Ord for FixedBytes<N, K> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.bytes.cmp(&other.bytes)
    }
}
impl<const N: usize, K> hash::Hash for FixedBytes<N, K> {
    fn hash<H: hash::Hasher>(&self, state: &mut H) {
        self.bytes.hash(state);
    }
}

impl<const N: usize, K> fmt::Display for FixedBytes<N, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{}", hex::encode(self.bytes))
    }
}

impl<const N: usize, K> fmt::Debug for FixedBytes<N, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl<const N: usize, K: Kind> FromStr for FixedBytes<N, K> {
    type Err = InvalidBytes;

    fn from_str(text: &str) -> Result<Self, InvalidBytes> {
        let invalid = InvalidBytes { name: K::NAME, digits: N * 2 };
        let digits = text.strip_prefix("0x").ok_or_else(|| invalid.clone())?;
        let mut bytes = [0; N];
        hex::decode_to_slice(digits, &mut bytes).map_err(|_| invalid)?;
        Ok(Self::new(bytes))
    }
}

impl<const N: usize, K> Serialize for FixedBytes<N, K> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(self)
        } else {
            serializer.serialize_bytes(&self.bytes)
        }
    }
}

impl<'de, const N: usize, K: Kind> Deserialize<'de> for FixedBytes<N, K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            return Cow::<'de, str>::deserialize(deserializer)?.parse().map_err(de::Error::custom);
        }
        let bytes = serde_bytes::ByteArray::<N>::deserialize(deserializer)?;
        Ok(Self::new(bytes.into_array()))
    }
}

impl<const N: usize, K: Kind> AvroSchemaComponent for FixedBytes<N, K> {
    fn get_schema_in_ctxt(named: &mut HashSet<Name>, namespace: NamespaceRef) -> Schema {
        crate::avro::named(K::NAME, named, namespace, |name| {
            Schema::Fixed(FixedSchema::builder().name(name).size(N).build())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_shown_with_its_eip_55_checksum() -> Result<(), InvalidBytes> {
        let address: Address = "0x5aaeb6053f3e94c9b9a09f33669435e7ef1beaed".parse()?;
        assert_eq!(address.to_checksum(), "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed");
        assert!("5aaeb6053f3e94c9b9a09f33669435e7ef1beaed".parse::<Address>().is_err());
        assert!("0x5aae".parse::<Address>().is_err());
        Ok(())
    }
}
