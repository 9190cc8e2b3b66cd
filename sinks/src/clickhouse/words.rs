//! The words of enumerations as ClickHouse's columns hold them: those of the records' JSON, without going through JSON
//! for every row.

use streambook_model::records::{
    chain::TransferStatus,
    payment::{PaymentMethod, PaymentStatus},
    reply::CommandOutcome,
    stripe::CardFactKind,
    webhook::AttemptOutcome,
};

/// Where a payment stands.
pub(crate) const fn status(status: PaymentStatus) -> &'static str {
    match status {
        PaymentStatus::Pending => "pending",
        PaymentStatus::Confirming => "confirming",
        PaymentStatus::Completed => "completed",
        PaymentStatus::Expired => "expired",
        PaymentStatus::Failed => "failed",
        PaymentStatus::Canceled => "canceled",
        PaymentStatus::Underpaid => "underpaid",
        PaymentStatus::Overpaid => "overpaid",
        PaymentStatus::PaidLate => "paid_late",
        PaymentStatus::Reversed => "reversed",
        PaymentStatus::Disputed => "disputed",
    }
}

/// How it is paid.
pub(crate) const fn method(method: PaymentMethod) -> &'static str {
    match method {
        PaymentMethod::Chain => "chain",
        PaymentMethod::Card => "card",
    }
}

/// What has become of a transfer.
pub(crate) const fn transfer(status: TransferStatus) -> &'static str {
    match status {
        TransferStatus::Seen => "seen",
        TransferStatus::Confirmed => "confirmed",
        TransferStatus::Orphaned => "orphaned",
        TransferStatus::Finalized => "finalized",
    }
}

/// What happened to a card payment's money.
pub(crate) const fn fact(kind: CardFactKind) -> &'static str {
    match kind {
        CardFactKind::Succeeded => "succeeded",
        CardFactKind::FeeKnown => "fee_known",
        CardFactKind::Failed => "failed",
        CardFactKind::Refunded => "refunded",
        CardFactKind::DisputeOpened => "dispute_opened",
        CardFactKind::DisputeFee => "dispute_fee",
        CardFactKind::DisputeWon => "dispute_won",
        CardFactKind::DisputeLost => "dispute_lost",
        CardFactKind::RefundFailed => "refund_failed",
    }
}

/// How an attempt ended.
pub(crate) const fn attempt(outcome: AttemptOutcome) -> &'static str {
    match outcome {
        AttemptOutcome::Delivered => "delivered",
        AttemptOutcome::Failed => "failed",
        AttemptOutcome::Exhausted => "exhausted",
    }
}

/// How a command ended.
pub(crate) const fn outcome(outcome: CommandOutcome) -> &'static str {
    match outcome {
        CommandOutcome::Accepted => "accepted",
        CommandOutcome::Replayed => "replayed",
        CommandOutcome::Rejected => "rejected",
    }
}

#[cfg(test)]
mod tests {
    use serde::{Deserialize, Serialize};

    use super::*;

    /// Reading the word back gives the value it was made from.
    fn holds<'a, T: Serialize + for<'d> Deserialize<'d>>(word: &'a str, value: &T) -> bool {
        serde_json::to_value(value).expect("states a word") == *word
    }

    #[test]
    fn words_are_those_of_the_json() {
        use streambook_model::records::payment::PaymentEventType;
        for event in PaymentEventType::ALL {
            let word = event.name().trim_start_matches("payment.");
            // Most events are named after the status they lead to.
            if let Ok(value) = serde_json::from_value::<PaymentStatus>(word.into()) {
                assert!(holds(status(value), &value), "{word}");
            }
        }
        for value in [PaymentMethod::Chain, PaymentMethod::Card] {
            assert!(holds(method(value), &value));
        }
        use TransferStatus::{Confirmed, Finalized, Orphaned, Seen};
        for value in [Seen, Confirmed, Orphaned, Finalized] {
            assert!(holds(transfer(value), &value));
        }
        use CardFactKind::{
            DisputeFee, DisputeLost, DisputeOpened, DisputeWon, Failed, FeeKnown, RefundFailed, Refunded,
            Succeeded,
        };
        for value in [
            Succeeded,
            FeeKnown,
            Failed,
            Refunded,
            DisputeOpened,
            DisputeFee,
            DisputeWon,
            DisputeLost,
            RefundFailed,
        ] {
            assert!(holds(fact(value), &value));
        }
        for value in [AttemptOutcome::Delivered, AttemptOutcome::Failed, AttemptOutcome::Exhausted] {
            assert!(holds(attempt(value), &value));
        }
        for value in [CommandOutcome::Accepted, CommandOutcome::Replayed, CommandOutcome::Rejected] {
            assert!(holds(outcome(value), &value));
        }
    }
}
