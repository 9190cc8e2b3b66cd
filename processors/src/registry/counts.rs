//! How many live keys and endpoints a merchant has, and the limits.

use streambook_runtime::{processor::Context, state::StateError, table::Table};

/// By (what is counted, whose).
const LIVE: Table<u16> = Table::new(3);

/// What is counted.
#[derive(Debug, Clone, Copy)]
pub(super) enum Counted {
    ApiKeys,
    Endpoints,
}

impl Counted {
    /// The most that one merchant may have live at once.
    pub(super) const fn limit(self) -> u16 {
        match self {
            Self::ApiKeys => 100,
            Self::Endpoints => 20,
        }
    }
}

/// Whether a thing is live before and after a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    Added,
    Ended,
    Neither,
}

impl Change {
    /// From a thing's liveness before and after.
    pub(super) const fn between(before: Option<Life>, after: Life) -> Self {
        match (before, after) {
            (None | Some(Life::Over), Life::Live) => Self::Added,
            (Some(Life::Live), Life::Over) => Self::Ended,
            _ => Self::Neither,
        }
    }
}

/// Whether a key or endpoint is in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Life {
    Live,
    Over,
}

/// How many are live.
pub(super) fn live(context: &Context<'_>, what: Counted, whose: &str) -> Result<u16, StateError> {
    Ok(LIVE.get(&context.state, (what as u16, whose))?.unwrap_or(0))
}

/// Counts a change; says whether the limit allows it.
pub(super) fn allow(
    context: &mut Context<'_>,
    what: Counted,
    whose: &str,
    change: Change,
) -> Result<bool, StateError> {
    let key = (what as u16, whose);
    let live = LIVE.get(&context.state, key)?.unwrap_or(0);
    let after = match change {
        Change::Neither => return Ok(true),
        Change::Added if live >= what.limit() => return Ok(false),
        Change::Added => live.saturating_add(1),
        Change::Ended => live.saturating_sub(1),
    };
    LIVE.put(&mut context.state, key, &after)?;
    Ok(true)
}
