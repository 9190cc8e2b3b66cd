//! Rows in the binary form that `COPY` takes
//! (<https://www.postgresql.org/docs/15/sql-copy.html>, "Binary Format"). A cell's kind alone decides its bytes: `BIGINT` for
//! numbers, `BOOLEAN` for flags, `NUMERIC` for amounts, and the bytes themselves for text, JSON and bytes.

use super::{super::cell::Cell, numeric};

/// The signature, no flags, no header extension.
const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// In place of a number of columns: the end.
const TRAILER: [u8; 2] = (-1_i16).to_be_bytes();
/// In place of a length: nothing.
const NULL: [u8; 4] = (-1_i32).to_be_bytes();

/// Rows of `columns` cells each. None where a cell is longer than the form can say (2 GiB).
pub(super) fn encode(cells: &[Cell], columns: usize) -> Option<Vec<u8>> {
    let width = i16::try_from(columns).ok()?;
    let mut bytes = Vec::with_capacity(HEADER.len() + cells.len() * 24);
    bytes.extend_from_slice(HEADER);
    for row in cells.chunks(columns.max(1)) {
        bytes.extend_from_slice(&width.to_be_bytes());
        for cell in row {
            append(cell, &mut bytes)?;
        }
    }
    bytes.extend_from_slice(&TRAILER);
    Some(bytes)
}

fn append(cell: &Cell, to: &mut Vec<u8>) -> Option<()> {
    match cell {
        Cell::Null => to.extend_from_slice(&NULL),
        Cell::Integer(value) => sized(&value.to_be_bytes(), to)?,
        Cell::Flag(value) => sized(&[u8::from(*value)], to)?,
        Cell::Text(value) => sized(value.as_bytes(), to)?,
        Cell::Bytes(value) => sized(value, to)?,
        Cell::Amount(value) => {
            let mut number = Vec::with_capacity(28);
            numeric::encode(*value, &mut number);
            sized(&number, to)?;
        }
    }
    Some(())
}

fn sized(value: &[u8], to: &mut Vec<u8>) -> Option<()> {
    to.extend_from_slice(&i32::try_from(value.len()).ok()?.to_be_bytes());
    to.extend_from_slice(value);
    Some(())
}
