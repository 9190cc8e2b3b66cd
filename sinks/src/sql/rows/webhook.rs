//! Attempts to deliver webhooks.

use streambook_model::records::webhook::WebhookAttempt;

use crate::sql::{
    cell::Cell,
    error::SqlError,
    table::{Existing, Rows, Table},
};

static ATTEMPTS: Table = Table {
    name: "webhook_attempts",
    columns: &[
        "position",
        "id",
        "event",
        "event_type",
        "endpoint",
        "merchant",
        "number",
        "outcome",
        "status_code",
        "error",
        "duration_ms",
        "next_attempt_at",
        "occurred_at",
    ],
    // The webhook sink is no task and has no lineage: it says an attempt again when it is not sure of having said it.
    existing: Existing::Keep { key: "id" },
};

/// The rows of a batch's attempts.
#[derive(Debug)]
pub(super) struct WebhookRows {
    attempts: Rows,
}

impl Default for WebhookRows {
    fn default() -> Self {
        Self { attempts: Rows::of(&ATTEMPTS) }
    }
}

impl WebhookRows {
    pub(super) fn take(&mut self, at: i64, attempt: &WebhookAttempt) -> Result<(), SqlError> {
        self.attempts.push([
            at.into(),
            Cell::text(attempt.attempt),
            Cell::text(attempt.event),
            Cell::text(&attempt.event_type),
            Cell::text(attempt.endpoint),
            Cell::text(attempt.merchant),
            attempt.number.into(),
            Cell::word(&attempt.outcome)?,
            Cell::maybe_integer(attempt.status_code),
            Cell::maybe_text(attempt.error.as_ref()),
            attempt.duration_ms.into(),
            Cell::maybe_time(attempt.next_attempt_at),
            attempt.meta.occurred_at.into(),
        ]);
        Ok(())
    }

    pub(super) fn finish(self, rows: &mut Vec<Rows>) {
        rows.push(self.attempts);
    }
}
