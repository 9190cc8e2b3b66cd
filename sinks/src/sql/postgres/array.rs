//! A column of many rows as one argument of a statement: PostgreSQL's binary form of an array
//! (`array_recv` in PostgreSQL's `src/backend/utils/adt/arrayfuncs.c`).

use sqlx::{
    Encode, Postgres as Dialect, Type,
    encode::IsNull,
    error::BoxDynError,
    postgres::{PgArgumentBuffer, PgTypeInfo},
};

use super::{super::cell::Cell, kind::Kind, numeric};

/// In place of a length: no value.
const NULL: [u8; 4] = (-1_i32).to_be_bytes();
/// How many dimensions an array has here.
const DIMENSIONS: i32 = 1;
/// Nothing is said of whether a value is absent: the server looks for itself.
const FLAGS: i32 = 0;
/// The index of the first value.
const FIRST: i32 = 1;

/// A column, encoded.
#[derive(Debug)]
pub(super) struct Column {
    kind: Kind,
    bytes: Vec<u8>,
}

impl Column {
    /// The values of a column. None where one is not of its kind, or longer than the form can say (2 GiB).
    pub(super) fn of<'c>(kind: Kind, cells: impl ExactSizeIterator<Item = &'c Cell>) -> Option<Self> {
        let count = i32::try_from(cells.len()).ok()?;
        let mut bytes = Vec::with_capacity(20 + cells.len().saturating_mul(16));
        for number in [DIMENSIONS, FLAGS] {
            bytes.extend_from_slice(&number.to_be_bytes());
        }
        bytes.extend_from_slice(&kind.element().0.to_be_bytes());
        for number in [count, FIRST] {
            bytes.extend_from_slice(&number.to_be_bytes());
        }
        for cell in cells {
            append(kind, cell, &mut bytes)?;
        }
        Some(Self { kind, bytes })
    }
}

fn append(kind: Kind, cell: &Cell, to: &mut Vec<u8>) -> Option<()> {
    match (kind, cell) {
        (_, Cell::Null) => to.extend_from_slice(&NULL),
        (Kind::Integer, Cell::Integer(value)) => sized(&value.to_be_bytes(), to)?,
        (Kind::Flag, Cell::Flag(value)) => sized(&[u8::from(*value)], to)?,
        (Kind::Text | Kind::Json, Cell::Text(value)) => sized(value.as_bytes(), to)?,
        (Kind::Bytes, Cell::Bytes(value)) => sized(value, to)?,
        (Kind::Amount, Cell::Amount(value)) => {
            let mut number = Vec::with_capacity(28);
            numeric::encode(*value, &mut number);
            sized(&number, to)?;
        }
        _ => return None,
    }
    Some(())
}

fn sized(value: &[u8], to: &mut Vec<u8>) -> Option<()> {
    to.extend_from_slice(&i32::try_from(value.len()).ok()?.to_be_bytes());
    to.extend_from_slice(value);
    Some(())
}

impl Type<Dialect> for Column {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(Kind::Text.array())
    }

    fn compatible(kind: &PgTypeInfo) -> bool {
        kind.oid().is_some_and(|oid| Kind::ALL.iter().any(|kind| kind.array() == oid))
    }
}

impl Encode<'_, Dialect> for Column {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        buffer.extend_from_slice(&self.bytes);
        Ok(IsNull::No)
    }

    fn produces(&self) -> Option<PgTypeInfo> {
        Some(PgTypeInfo::with_oid(self.kind.array()))
    }

    fn size_hint(&self) -> usize {
        self.bytes.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_is_its_type_its_length_and_its_values() {
        let cells = [Cell::Text("é".into()), Cell::Null, Cell::Text(String::new())];
        let expected: Vec<u8> = [
            &[0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 25, 0, 0, 0, 3, 0, 0, 0, 1][..],
            &[0, 0, 0, 2, 0xc3, 0xa9],
            &[0xff, 0xff, 0xff, 0xff],
            &[0, 0, 0, 0],
        ]
        .concat();
        assert_eq!(Column::of(Kind::Text, cells.iter()).unwrap().bytes, expected);
    }

    #[test]
    fn a_value_of_another_kind_is_refused() {
        assert!(Column::of(Kind::Integer, [Cell::Text("1".into())].iter()).is_none());
        assert!(Column::of(Kind::Text, [Cell::Bytes(vec![1])].iter()).is_none());
        assert!(Column::of(Kind::Integer, [Cell::Null].iter()).is_some());
    }
}
