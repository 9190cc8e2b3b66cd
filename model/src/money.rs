//! Exact money: an integer of an asset's smallest unit, never a float.
//!
//! Amounts hold up to 38 decimal digits, which is what Avro `decimal`, SQL `NUMERIC(38)` and ClickHouse
//! `Decimal(38)` hold as well; anything larger is an error where it enters, never a truncation.

use std::{borrow::Cow, collections::HashSet, fmt, str::FromStr};

use apache_avro::{
    AvroSchemaComponent, Schema,
    schema::{DecimalSchema, InnerDecimalSchema, Name, NamespaceRef},
};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The largest magnitude an amount can have: 38 nines.
const LIMIT: i128 = 10_i128.pow(38) - 1;

/// A signed number of smallest units of some asset.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Amount(i128);

/// An amount that cannot be stated or computed exactly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AmountError {
    /// More than 38 digits.
    #[error("the amount has more than 38 digits")]
    Overflow,
    /// Text that is not a decimal number.
    #[error("not a decimal number: use digits with at most one `.`, for example \"12.50\"")]
    NotANumber,
    /// More digits after the point than the asset has.
    #[error("more than {scale} digits after the point, which is what this asset has")]
    TooPrecise {
        /// The asset's number of decimal places.
        scale: u8,
    },
}

impl Amount {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// So many smallest units.
    pub const fn new(units: i128) -> Result<Self, AmountError> {
        if units > LIMIT || units < -LIMIT { Err(AmountError::Overflow) } else { Ok(Self(units)) }
    }

    /// The number of smallest units.
    pub const fn units(self) -> i128 {
        self.0
    }

    /// Whether it is exactly nothing.
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// Whether it is more than nothing.
    pub const fn is_positive(self) -> bool {
        self.0 > 0
    }

    /// The sum.
    pub fn plus(self, other: Self) -> Result<Self, AmountError> {
        self.0.checked_add(other.0).ok_or(AmountError::Overflow).and_then(Self::new)
    }

    /// The difference.
    pub fn minus(self, other: Self) -> Result<Self, AmountError> {
        self.0.checked_sub(other.0).ok_or(AmountError::Overflow).and_then(Self::new)
    }

    /// The same magnitude with the other sign; always possible, since the range is symmetric.
    #[must_use]
    pub const fn negated(self) -> Self {
        Self(-self.0)
    }

    /// Reads a decimal number such as `12.50` at an asset's scale. Exact over all 38 digits, which is why it does
    /// not go through a 28-digit decimal type. A sign, an exponent, spaces and a bare point are refused.
    pub fn parse_decimal(text: &str, scale: u8) -> Result<Self, AmountError> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        if !digits(whole) || !digits(fraction) {
            return Err(AmountError::NotANumber);
        }
        let fraction = fraction.trim_end_matches('0');
        let missing =
            usize::from(scale).checked_sub(fraction.len()).ok_or(AmountError::TooPrecise { scale })?;
        let units = format!("{whole}{fraction}{:0<missing$}", "");
        units.parse::<i128>().map_err(|_| AmountError::Overflow).and_then(Self::new)
    }

    /// The amount as a decimal number with exactly `scale` digits after the point.
    pub fn to_decimal(self, scale: u8) -> String {
        let scale = usize::from(scale);
        let digits = format!("{:0>width$}", self.0.unsigned_abs(), width = scale + 1);
        let (whole, fraction) = digits.split_at(digits.len() - scale);
        let sign = if self.0 < 0 { "-" } else { "" };
        if scale == 0 { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") }
    }

    /// Reads an unsigned 256-bit big-endian token value.
    pub fn from_token_value(value: &crate::bytes::TokenValue) -> Result<Self, AmountError> {
        let (high, low) = value.as_bytes().split_at(16);
        let low: [u8; 16] = low.try_into().map_err(|_| AmountError::Overflow)?;
        if high.iter().any(|byte| *byte != 0) {
            return Err(AmountError::Overflow);
        }
        i128::try_from(u128::from_be_bytes(low)).map_err(|_| AmountError::Overflow).and_then(Self::new)
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Amount {
    type Err = AmountError;

    /// Reads a whole number of smallest units.
    fn from_str(text: &str) -> Result<Self, AmountError> {
        text.parse::<i128>().map_err(|_| AmountError::NotANumber).and_then(Self::new)
    }
}

/// Two's complement, big-endian, without needless leading bytes: the bytes of an Avro `decimal`.
fn minimal_bytes(bytes: &[u8; 16]) -> &[u8] {
    let sign = if bytes[0] & 0x80 == 0 { 0x00 } else { 0xff };
    let mut start = 0;
    while start < 15 && bytes[start] == sign && (bytes[start + 1] ^ sign) & 0x80 == 0 {
        start += 1;
    }
    &bytes[start..]
}

fn from_minimal_bytes(bytes: &[u8]) -> Result<Amount, AmountError> {
    let sign = if bytes.first().is_some_and(|byte| byte & 0x80 != 0) { 0xff } else { 0x00 };
    let start = 16_usize.checked_sub(bytes.len()).ok_or(AmountError::Overflow)?;
    let mut wide = [sign; 16];
    wide[start..].copy_from_slice(bytes);
    Amount::new(i128::from_be_bytes(wide))
}

impl Serialize for Amount {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(self)
        } else {
            serializer.serialize_bytes(minimal_bytes(&self.0.to_be_bytes()))
        }
    }
}

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            return Cow::<'de, str>::deserialize(deserializer)?.parse().map_err(de::Error::custom);
        }
        let bytes = serde_bytes::ByteBuf::deserialize(deserializer)?;
        from_minimal_bytes(&bytes).map_err(de::Error::custom)
    }
}

impl AvroSchemaComponent for Amount {
    fn get_schema_in_ctxt(_: &mut HashSet<Name>, _: NamespaceRef) -> Schema {
        Schema::Decimal(DecimalSchema { precision: 38, scale: 0, inner: InnerDecimalSchema::Bytes })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(text: &str, scale: u8, expect: Result<i128, AmountError>) {
        assert_eq!(Amount::parse_decimal(text, scale).map(Amount::units), expect, "{text} at scale {scale}");
    }

    #[test]
    fn decimal_text_is_read_to_the_smallest_unit() {
        check("12.50", 6, Ok(12_500_000));
        check("12", 6, Ok(12_000_000));
        check("0.000001", 6, Ok(1));
        check("1.10", 1, Ok(11));
        check("7", 0, Ok(7));
        check("7.0", 0, Ok(7));
        check("0.0000001", 6, Err(AmountError::TooPrecise { scale: 6 }));
        for text in ["", ".", "1.", ".5", "-1", "+1", "1e3", " 1", "1 ", "1,5", "0x1", "1.2.3", "١"] {
            check(text, 6, Err(AmountError::NotANumber));
        }
        check(&"9".repeat(38), 0, Ok(LIMIT));
        check(&"9".repeat(38), 1, Err(AmountError::Overflow));
        check(&"9".repeat(400), 18, Err(AmountError::Overflow));
    }

    #[test]
    fn a_token_value_beyond_38_digits_is_refused() {
        let mut bytes = [0; 32];
        bytes[31] = 5;
        assert_eq!(Amount::from_token_value(&crate::bytes::TokenValue::new(bytes)).map(Amount::units), Ok(5));
        bytes[15] = 1;
        assert!(Amount::from_token_value(&crate::bytes::TokenValue::new(bytes)).is_err());
        bytes[15] = 0;
        bytes[16] = 0x80;
        assert!(Amount::from_token_value(&crate::bytes::TokenValue::new(bytes)).is_err());
    }

    proptest! {
        #[test]
        fn text_and_bytes_round_trip(units in -LIMIT..=LIMIT, scale in 0_u8..=30) {
            let amount = Amount::new(units).unwrap();
            prop_assert_eq!(from_minimal_bytes(minimal_bytes(&units.to_be_bytes())), Ok(amount));
            let positive = Amount::new(units.abs()).unwrap();
            prop_assert_eq!(Amount::parse_decimal(&positive.to_decimal(scale), scale), Ok(positive));
        }
    }
}
