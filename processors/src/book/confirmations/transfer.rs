//! One inclusion of one transfer, and what a report of it changes.

use serde::{Deserialize, Serialize};
use streambook_model::{
    chain::Inclusion,
    id::TransactionId,
    money::{Amount, AmountError},
    records::{
        chain::{TransferEvent, TransferStatus},
        payment::PaymentTransferStatus,
    },
    time::Timestamp,
};
use streambook_runtime::processor::Fault;

use super::state::{PaymentState, Tally};

/// An inclusion of a transfer, as far as it has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Transfer {
    pub(crate) inclusion: Inclusion,
    pub(crate) amount: Amount,
    pub(crate) block_time: Timestamp,
    pub(crate) status: PaymentTransferStatus,
    /// Confirmations when it was last reported.
    pub(crate) confirmations: u32,
    /// The chain's finality covers it.
    pub(crate) is_final: bool,
    /// What booked it, once it is confirmed.
    pub(crate) received: Option<TransactionId>,
}

/// What a report changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Nothing: it is a repeat.
    Repeat,
    /// It was seen for the first time.
    Seen,
    /// It is confirmed and must be booked.
    Confirmed,
    /// A reorganisation took it.
    Orphaned,
    /// It can no longer be taken back.
    Finalized,
}

/// Takes a report: the transfer after it, and what changed. `orphaned` ends an inclusion, since a block that becomes
/// canonical again is another inclusion.
///
/// # Errors
/// A dead letter where the report contradicts what is known: an orphan or finality of an inclusion that was never
/// reported, an amount that changed, finality of what was taken back. What was final can be taken back like everything
/// else: that happens when an operator rebuilds a chain which has left a final block, and the books follow the chain.
pub(crate) fn observe(known: Option<&Transfer>, event: &TransferEvent) -> Result<(Transfer, Step), Fault> {
    let Some(known) = known else { return first(event) };
    if (known.amount, known.block_time) != (event.amount, event.block_time) {
        let reason =
            format!("inclusion {:?} was reported with another amount or block time", event.inclusion);
        return Err(Fault::dead_letter("inclusion_changed", reason));
    }
    let step = match (known.status, event.status) {
        (PaymentTransferStatus::Seen, TransferStatus::Confirmed) => Step::Confirmed,
        (PaymentTransferStatus::Orphaned, TransferStatus::Finalized) => {
            let reason = format!("inclusion {:?} is final and was taken back", event.inclusion);
            return Err(Fault::dead_letter("orphan_finalized", reason));
        }
        (PaymentTransferStatus::Orphaned, _) => Step::Repeat,
        (_, TransferStatus::Orphaned) => Step::Orphaned,
        (_, TransferStatus::Finalized) if !known.is_final => Step::Finalized,
        _ => Step::Repeat,
    };
    Ok((known.after(step, event.confirmations), step))
}

fn first(event: &TransferEvent) -> Result<(Transfer, Step), Fault> {
    let (status, step) = match event.status {
        TransferStatus::Seen => (PaymentTransferStatus::Seen, Step::Seen),
        TransferStatus::Confirmed => (PaymentTransferStatus::Confirmed, Step::Confirmed),
        TransferStatus::Orphaned | TransferStatus::Finalized => {
            let reason = format!("nothing was ever reported of inclusion {:?}", event.inclusion);
            return Err(Fault::dead_letter("unknown_inclusion", reason));
        }
    };
    let transfer = Transfer {
        inclusion: event.inclusion,
        amount: event.amount,
        block_time: event.block_time,
        status,
        confirmations: event.confirmations,
        is_final: false,
        received: None,
    };
    Ok((transfer, step))
}

impl Transfer {
    fn after(&self, step: Step, confirmations: u32) -> Self {
        let mut next = self.clone();
        match step {
            Step::Repeat => return next,
            Step::Seen => next.status = PaymentTransferStatus::Seen,
            Step::Confirmed => next.status = PaymentTransferStatus::Confirmed,
            Step::Orphaned => (next.status, next.is_final) = (PaymentTransferStatus::Orphaned, false),
            Step::Finalized => next.is_final = true,
        }
        next.confirmations = confirmations;
        next
    }

    /// Whether a reorganisation could still take it back.
    fn is_open(&self) -> bool {
        self.status != PaymentTransferStatus::Orphaned && !self.is_final
    }
}

impl Tally {
    /// The sum this transfer belongs to; none once it is taken back.
    fn sum_of(&mut self, transfer: &Transfer, deadline: Timestamp) -> Option<&mut Amount> {
        match (transfer.status, transfer.block_time <= deadline) {
            (PaymentTransferStatus::Confirmed, true) => Some(&mut self.in_time),
            (PaymentTransferStatus::Confirmed, false) => Some(&mut self.late),
            (PaymentTransferStatus::Seen, true) => Some(&mut self.seen_in_time),
            (PaymentTransferStatus::Seen, false) => Some(&mut self.seen_late),
            (PaymentTransferStatus::Orphaned, _) => None,
        }
    }
}

impl PaymentState {
    /// Counts a transfer as it is now instead of as it was.
    pub(crate) fn recount(&mut self, before: Option<&Transfer>, after: &Transfer) -> Result<(), AmountError> {
        let deadline = self.intent.expires_at;
        if let Some(before) = before {
            if let Some(sum) = self.tally.sum_of(before, deadline) {
                *sum = sum.minus(before.amount)?;
            }
            self.unfinal = self.unfinal.saturating_sub(u32::from(before.is_open()));
        }
        if let Some(sum) = self.tally.sum_of(after, deadline) {
            *sum = sum.plus(after.amount)?;
        }
        self.unfinal = self.unfinal.saturating_add(u32::from(after.is_open()));
        Ok(())
    }
}
