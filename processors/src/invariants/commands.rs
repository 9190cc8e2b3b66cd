//! What commands may do: nothing when they are rejected, and nothing twice.

use streambook_model::{bytes::ContentHash, records::reply::CommandOutcome};

use super::{Check, Invariant, ensure};

/// What an idempotency key was used for before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeySeen {
    /// Nothing.
    Never,
    /// This request, with this result.
    Same {
        /// Whether the result now is the result then.
        is_result_the_same: bool,
    },
    /// Another request.
    Other,
}

impl KeySeen {
    /// What a key means, given the request and the result that it was accepted for before; results as their hashes.
    pub fn of(
        before: Option<(ContentHash, ContentHash)>,
        (request, result): (ContentHash, ContentHash),
    ) -> Self {
        match before {
            None => Self::Never,
            Some((asked, given)) if asked == request => Self::Same { is_result_the_same: given == result },
            Some(_) => Self::Other,
        }
    }
}

/// [`Invariant::KeyGivesTheSame`]: how a command with this key ended, `code` being that of its problem.
pub fn key_gives_the_same(key: &str, seen: KeySeen, outcome: CommandOutcome, code: Option<&str>) -> Check {
    let is_conflict = outcome == CommandOutcome::Rejected && code == Some("idempotency_key_reused");
    let holds = match seen {
        KeySeen::Never => !is_conflict,
        KeySeen::Same { is_result_the_same } => outcome == CommandOutcome::Replayed && is_result_the_same,
        KeySeen::Other => is_conflict,
    };
    ensure(holds, Invariant::KeyGivesTheSame, || {
        format!(
            "the key {key} was seen as {seen:?} and its command ended {outcome:?} {}",
            code.unwrap_or_default()
        )
    })
}

/// [`Invariant::RejectedCommandChangesNothing`], given the first key of the state that the command's step changed, outside
/// the runtime's own table.
pub fn rejected_command_changes_nothing(outcome: CommandOutcome, changed: Option<&[u8]>) -> Check {
    let holds = outcome != CommandOutcome::Rejected || changed.is_none();
    ensure(holds, Invariant::RejectedCommandChangesNothing, || {
        format!("a rejected command changed the state at {}", hex::encode(changed.unwrap_or_default()))
    })
}
