//! Assets: what an amount is an amount of.

use std::{borrow::Cow, collections::HashSet, fmt, str::FromStr, sync::Arc};

use apache_avro::{
    AvroSchema, AvroSchemaComponent, Schema,
    schema::{Name, NamespaceRef},
};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::{bytes::Address, chain::ChainId};

/// An asset's id: `usd`, `jpy`, `coins`, or with the chain it lives on, `usdc:1`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AssetId(Arc<str>);

/// Text that is not an asset id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not an asset: expected 1 to 16 of a-z and 0-9, and for a token `:` and its chain id, for example `usd` or `usdc:1`"
)]
pub struct InvalidAssetId(String);

impl AssetId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The chain a token lives on; `None` for money that is not on a chain.
    pub fn chain(&self) -> Option<ChainId> {
        self.0.split_once(':')?.1.parse().ok().map(ChainId)
    }
}

impl FromStr for AssetId {
    type Err = InvalidAssetId;

    fn from_str(text: &str) -> Result<Self, InvalidAssetId> {
        let (symbol, chain) =
            text.split_once(':').map_or((text, None), |(symbol, chain)| (symbol, Some(chain)));
        let symbol_fits = (1..=16).contains(&symbol.len())
            && symbol.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        let canonical = |chain: &str| chain.parse::<u64>().is_ok_and(|id| id > 0 && id.to_string() == chain);
        if !symbol_fits || !chain.is_none_or(canonical) {
            return Err(InvalidAssetId(text.chars().take(40).collect()));
        }
        Ok(Self(text.into()))
    }
}

impl fmt::Display for AssetId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for AssetId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for AssetId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for AssetId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Cow::<'de, str>::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl AvroSchemaComponent for AssetId {
    fn get_schema_in_ctxt(_: &mut HashSet<Name>, _: NamespaceRef) -> Schema {
        Schema::String
    }
}

/// An asset as the operator configured it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, AvroSchema)]
#[avro(namespace = "streambook")]
#[serde(deny_unknown_fields)]
pub struct Asset {
    /// Its id.
    pub id: AssetId,
    /// Decimal places: 2 for `usd`, 6 for USDC on Ethereum, 18 for USDC on BSC.
    pub scale: u8,
    /// The token contract, for an asset on a chain.
    #[serde(default)]
    pub contract: Option<Address>,
}

/// ISO 4217 currencies that Stripe settles without minor units (<https://docs.stripe.com/currencies#zero-decimal>).
const ZERO_DECIMAL: [&str; 15] =
    ["bif", "clp", "djf", "gnf", "jpy", "kmf", "krw", "mga", "pyg", "rwf", "vnd", "vuv", "xaf", "xof", "xpf"];
/// Currencies with three decimal places (<https://docs.stripe.com/currencies#three-decimal>).
const THREE_DECIMAL: [&str; 5] = ["bhd", "jod", "kwd", "omr", "tnd"];

/// The decimal places of an ISO 4217 currency in Stripe's amounts; `None` where the code is not three letters.
pub fn currency_scale(code: &str) -> Option<u8> {
    if code.len() != 3 || !code.bytes().all(|b| b.is_ascii_lowercase()) {
        return None;
    }
    Some(if ZERO_DECIMAL.contains(&code) {
        0
    } else if THREE_DECIMAL.contains(&code) {
        3
    } else {
        2
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_asset_id_has_one_spelling() {
        for good in ["usd", "coins", "usdc:1", "usdc:31337"] {
            assert!(good.parse::<AssetId>().is_ok(), "{good}");
        }
        for bad in
            ["", "USD", "usdc:", "usdc:01", "usdc:0", "usdc:x", ":1", "us d", "usdc:1:2", "abcdefghijklmnopq"]
        {
            assert!(bad.parse::<AssetId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn currencies_have_the_scale_stripe_uses() {
        assert_eq!(["usd", "jpy", "kwd", "usdc"].map(currency_scale), [Some(2), Some(0), Some(3), None]);
    }
}
