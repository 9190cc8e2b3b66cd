//! One value on its way into or out of a row, and rows read by column order. Neither knows a dialect.

use std::{fmt::Display, str::FromStr, vec::IntoIter};

use serde::{Serialize, de::DeserializeOwned};
use streambook_model::{bytes::FixedBytes, money::Amount, time::Timestamp};

use super::error::SqlError;

/// A value of a column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Cell {
    /// Absent.
    Null,
    /// A whole number.
    Integer(i64),
    /// Yes or no.
    Flag(bool),
    /// An amount in the smallest unit.
    Amount(Amount),
    /// Text.
    Text(String),
    /// Bytes.
    Bytes(Vec<u8>),
}

/// What stands in for a zero character, which PostgreSQL's text cannot hold and SQLite's ends at.
const ZERO_SHOWN: &str = "\u{2400}";

impl Cell {
    /// A value's text form. A zero character in it is shown as `␀`, the same in every dialect.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "ids are copied and names borrowed; both are given as they are"
    )]
    pub(crate) fn text(value: impl ToString) -> Self {
        let text = value.to_string();
        Self::Text(if text.contains('\0') { text.replace('\0', ZERO_SHOWN) } else { text })
    }

    /// Text or nothing.
    pub(crate) fn maybe_text(value: Option<impl ToString>) -> Self {
        value.map_or(Self::Null, Self::text)
    }

    /// A number or nothing.
    pub(crate) fn maybe_integer(value: Option<impl Into<i64>>) -> Self {
        value.map_or(Self::Null, |value| Self::Integer(value.into()))
    }

    /// An unsigned number; an error beyond 63 bits.
    pub(crate) fn unsigned(value: u64) -> Result<Self, SqlError> {
        signed(value).map(Self::Integer)
    }

    /// A time or nothing, in milliseconds.
    pub(crate) fn maybe_time(value: Option<Timestamp>) -> Self {
        value.map_or(Self::Null, Self::from)
    }

    /// The bytes of a hash.
    pub(crate) fn hash<const N: usize, K>(value: &FixedBytes<N, K>) -> Self {
        Self::Bytes(value.as_bytes().to_vec())
    }

    /// A value as JSON.
    pub(crate) fn json(value: &impl Serialize) -> Result<Self, SqlError> {
        let unfit =
            |error: serde_json::Error| SqlError::Unfit(format!("a record cannot be stated as JSON: {error}"));
        serde_json::to_string(value).map(Self::Text).map_err(unfit)
    }

    /// The one word that a unit variant is in JSON, for example `completed`.
    pub(crate) fn word(value: &impl Serialize) -> Result<Self, SqlError> {
        match Self::json(value)? {
            Self::Text(text) => Ok(Self::Text(text.trim_matches('"').to_owned())),
            other => Ok(other),
        }
    }
}

impl From<Timestamp> for Cell {
    fn from(value: Timestamp) -> Self {
        Self::Integer(value.millis())
    }
}

impl From<Amount> for Cell {
    fn from(value: Amount) -> Self {
        Self::Amount(value)
    }
}

impl From<bool> for Cell {
    fn from(value: bool) -> Self {
        Self::Flag(value)
    }
}

impl From<i64> for Cell {
    fn from(value: i64) -> Self {
        Self::Integer(value)
    }
}

impl From<u32> for Cell {
    fn from(value: u32) -> Self {
        Self::Integer(value.into())
    }
}

/// An unsigned number as SQL's signed one.
pub(crate) fn signed(value: u64) -> Result<i64, SqlError> {
    i64::try_from(value).map_err(|_| SqlError::Unfit(format!("{value} does not fit a 64-bit signed column")))
}

/// A row being read, column by column in the order of the `SELECT`.
#[derive(Debug)]
pub(crate) struct Row {
    operation: &'static str,
    cells: IntoIter<Cell>,
}

impl Row {
    /// A row of these values.
    pub(crate) fn new(operation: &'static str, cells: Vec<Cell>) -> Self {
        Self { operation, cells: cells.into_iter() }
    }

    /// A number or nothing.
    pub(crate) fn maybe_integer(&mut self) -> Result<Option<i64>, SqlError> {
        match self.cells.next() {
            Some(Cell::Null) => Ok(None),
            Some(Cell::Integer(value)) => Ok(Some(value)),
            other => Err(self.damaged(format!("expected a number, found {other:?}"))),
        }
    }

    /// A number.
    pub(crate) fn integer(&mut self) -> Result<i64, SqlError> {
        self.maybe_integer()?.ok_or_else(|| self.damaged("expected a number, found nothing"))
    }

    /// A number of a narrower type.
    pub(crate) fn number<T: TryFrom<i64>>(&mut self) -> Result<T, SqlError> {
        let value = self.integer()?;
        T::try_from(value).map_err(|_| self.damaged(format!("{value} is out of range")))
    }

    /// A number of a narrower type, or nothing.
    pub(crate) fn maybe_number<T: TryFrom<i64>>(&mut self) -> Result<Option<T>, SqlError> {
        let Some(value) = self.maybe_integer()? else { return Ok(None) };
        T::try_from(value).map(Some).map_err(|_| self.damaged(format!("{value} is out of range")))
    }

    /// A flag.
    pub(crate) fn flag(&mut self) -> Result<bool, SqlError> {
        match self.cells.next() {
            Some(Cell::Flag(value)) => Ok(value),
            Some(Cell::Integer(value)) => Ok(value != 0),
            other => Err(self.damaged(format!("expected a flag, found {other:?}"))),
        }
    }

    /// An amount: a number of its own in PostgreSQL, text in SQLite.
    pub(crate) fn amount(&mut self) -> Result<Amount, SqlError> {
        match self.cells.next() {
            Some(Cell::Amount(value)) => Ok(value),
            Some(Cell::Text(text)) => {
                let units = text.parse::<i128>().ok().and_then(|units| Amount::new(units).ok());
                units.ok_or_else(|| self.damaged(format!("`{text}` is not an amount")))
            }
            other => Err(self.damaged(format!("expected an amount, found {other:?}"))),
        }
    }

    /// A time.
    pub(crate) fn time(&mut self) -> Result<Timestamp, SqlError> {
        self.integer().map(Timestamp::from_millis)
    }

    /// A time or nothing.
    pub(crate) fn maybe_time(&mut self) -> Result<Option<Timestamp>, SqlError> {
        Ok(self.maybe_integer()?.map(Timestamp::from_millis))
    }

    /// Text or nothing.
    pub(crate) fn maybe_text(&mut self) -> Result<Option<String>, SqlError> {
        match self.cells.next() {
            Some(Cell::Null) => Ok(None),
            Some(Cell::Text(value)) => Ok(Some(value)),
            other => Err(self.damaged(format!("expected text, found {other:?}"))),
        }
    }

    /// Text.
    pub(crate) fn text(&mut self) -> Result<String, SqlError> {
        self.maybe_text()?.ok_or_else(|| self.damaged("expected text, found nothing"))
    }

    /// A value by its text form.
    pub(crate) fn parsed<T: FromStr<Err: Display>>(&mut self) -> Result<T, SqlError> {
        let text = self.text()?;
        text.parse().map_err(|error: T::Err| self.damaged(error.to_string()))
    }

    /// A value by its text form, or nothing.
    pub(crate) fn maybe_parsed<T: FromStr<Err: Display>>(&mut self) -> Result<Option<T>, SqlError> {
        let Some(text) = self.maybe_text()? else { return Ok(None) };
        text.parse().map(Some).map_err(|error: T::Err| self.damaged(error.to_string()))
    }

    /// A unit variant by its word.
    pub(crate) fn word<T: DeserializeOwned>(&mut self) -> Result<T, SqlError> {
        let word = self.text()?;
        serde_json::from_value(word.into()).map_err(|error| self.damaged(error.to_string()))
    }

    /// A value by its JSON.
    pub(crate) fn json<T: DeserializeOwned>(&mut self) -> Result<T, SqlError> {
        let text = self.text()?;
        serde_json::from_str(&text).map_err(|error| self.damaged(error.to_string()))
    }

    /// Bytes.
    pub(crate) fn bytes(&mut self) -> Result<Vec<u8>, SqlError> {
        match self.cells.next() {
            Some(Cell::Bytes(value)) => Ok(value),
            other => Err(self.damaged(format!("expected bytes, found {other:?}"))),
        }
    }

    /// A hash by its bytes.
    pub(crate) fn hash<const N: usize, K>(&mut self) -> Result<FixedBytes<N, K>, SqlError> {
        let bytes = self.bytes()?;
        let length = bytes.len();
        let fixed =
            bytes.try_into().map_err(|_| self.damaged(format!("expected {N} bytes, found {length}")))?;
        Ok(FixedBytes::new(fixed))
    }

    /// The error for a value that is not what it should be.
    pub(crate) fn damaged(&self, reason: impl Into<String>) -> SqlError {
        SqlError::Stored { operation: self.operation, reason: reason.into() }
    }
}
