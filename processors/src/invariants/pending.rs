//! What is received and not yet confirmed.

use std::fmt::Display;

use streambook_model::money::Amount;

use super::{Before, Check, Invariant, ensure};

/// [`Invariant::PendingIsNeverNegative`], of a payment.
pub fn pending_is_never_negative(payment: impl Display, received: Amount, confirmed: Amount) -> Check {
    let holds = Amount::ZERO <= confirmed && confirmed <= received;
    ensure(holds, Invariant::PendingIsNeverNegative, || {
        format!("{payment}: {confirmed} is confirmed of {received} received")
    })
}

/// [`Invariant::PendingIsResolvedOnce`], given whether the inclusion was resolved in the same way before.
pub fn pending_is_resolved_once(inclusion: impl Display, before: Before) -> Check {
    ensure(before == Before::Never, Invariant::PendingIsResolvedOnce, || {
        format!("{inclusion} is resolved a second time")
    })
}
