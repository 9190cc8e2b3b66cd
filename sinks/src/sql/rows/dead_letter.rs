//! Dead letters.

use streambook_model::records::dead_letter::DeadLetter;

use crate::sql::{
    cell::Cell,
    error::SqlError,
    table::{Existing, Rows, Table},
};

static DEAD_LETTERS: Table = Table {
    name: "dead_letters",
    columns: &[
        "position",
        "id",
        "task",
        "topic",
        "partition",
        "\"offset\"",
        "code",
        "reason",
        "record_key",
        "record",
        "occurred_at",
    ],
    // Connectors have no lineage: they say a letter again when they are not sure of having said it.
    existing: Existing::Keep { key: "id" },
};

/// The rows of a batch's dead letters.
#[derive(Debug)]
pub(super) struct DeadLetterRows {
    letters: Rows,
}

impl Default for DeadLetterRows {
    fn default() -> Self {
        Self { letters: Rows::of(&DEAD_LETTERS) }
    }
}

impl DeadLetterRows {
    pub(super) fn take(&mut self, at: i64, letter: &DeadLetter) -> Result<(), SqlError> {
        self.letters.push([
            at.into(),
            Cell::text(letter.letter),
            Cell::text(&letter.task),
            Cell::text(&letter.topic),
            Cell::Integer(letter.partition.into()),
            Cell::unsigned(letter.offset)?,
            Cell::text(&letter.code),
            Cell::text(&letter.reason),
            Cell::Bytes(letter.key.clone()),
            Cell::Bytes(letter.record.clone()),
            letter.meta.occurred_at.into(),
        ]);
        Ok(())
    }

    pub(super) fn finish(self, rows: &mut Vec<Rows>) {
        rows.push(self.letters);
    }
}
