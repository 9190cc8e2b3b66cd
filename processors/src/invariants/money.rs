//! No money event is lost: each leaves a posting or a reason.

use streambook_model::{
    id::PaymentId,
    message::Message,
    records::{
        chain::{TransferEvent, TransferStatus},
        stripe::{CardFact, CardFactKind},
    },
};

use super::{Check, Invariant, ensure};

/// A record that says that money moved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Money {
    /// Its natural id: the same money event has the same one.
    pub name: String,
    /// Whether it must be posted at once. Otherwise it may also be kept, until the event that it follows from arrives, or
    /// because what it takes back was never posted.
    pub is_posted_at_once: bool,
}

/// What a money event has left behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Traces {
    /// Ledger transactions.
    pub posted: usize,
    /// It is a dead letter, with its reason.
    pub is_dead_letter: bool,
    /// The same event was taken before.
    pub was_taken: bool,
    /// The state remembers it.
    pub is_remembered: bool,
}

impl Money {
    /// The money event that a record of a book's inbox is, if it is one.
    pub fn of(message: &Message) -> Option<Self> {
        match message {
            Message::TransferEvent(event) => Self::of_transfer(event),
            Message::CardFact(fact) => Self::of_card(fact),
            _ => None,
        }
    }

    fn of_transfer(event: &TransferEvent) -> Option<Self> {
        let is_posted_at_once = match event.status {
            TransferStatus::Confirmed => event.amount.is_positive(),
            TransferStatus::Orphaned => false,
            TransferStatus::Seen | TransferStatus::Finalized => return None,
        };
        let of = &event.inclusion;
        let name = format!(
            "{:?}:{}:{}:{}:{}:{}:{}",
            event.status, event.payment, event.chain, of.block_hash, of.tx_hash, of.log_index, of.number
        );
        Some(Self { name, is_posted_at_once })
    }

    fn of_card(fact: &CardFact) -> Option<Self> {
        if fact.kind == CardFactKind::Failed {
            return None;
        }
        let is_posted_at_once = fact.kind == CardFactKind::Succeeded && fact.amount.is_positive();
        Some(Self { name: name_of(fact.kind, fact.payment, &fact.object), is_posted_at_once })
    }

    /// The name of the money event that a command books, where it names Stripe's object for it.
    pub(super) fn of_command(command: &Message) -> Option<String> {
        let Message::CreateRefund(refund) = command else { return None };
        Some(name_of(CardFactKind::Refunded, refund.payment, refund.reference.as_ref()?))
    }
}

fn name_of(kind: CardFactKind, payment: PaymentId, object: &str) -> String {
    format!("{kind:?}:{payment}:{object}")
}

/// [`Invariant::MoneyIsPostedOrExplained`].
pub fn money_is_posted_or_explained(money: &Money, traces: Traces) -> Check {
    let explained = traces.is_dead_letter || traces.was_taken;
    let kept = traces.is_remembered && !money.is_posted_at_once;
    ensure(traces.posted > 0 || explained || kept, Invariant::MoneyIsPostedOrExplained, || {
        format!("the money event {} left no posting and no reason", money.name)
    })
}
