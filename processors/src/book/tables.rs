//! The book's state: which tables there are, and how a payment is found in them.

use serde::{Deserialize, Serialize};
use streambook_model::{
    bytes::{BlockHash, TxHash},
    chain::Inclusion,
    id::{MerchantId, PaymentId, RefundId},
    records::payment::Refund,
    time::Timestamp,
};
use streambook_runtime::{
    processor::Fault,
    state::{State, StateError},
    table::Table,
};

use super::{
    address::Addresses,
    amounts::Reserved,
    confirmations::{PaymentState, Split, Transfer},
    idempotency::{Kept, Queue, Queued},
    notifications::Subscription,
    settings::{Accepting, MerchantState},
};

/// Payments, by id.
const PAYMENTS: Table<PaymentState> = Table::new(1);
/// Transfers beyond those kept in the payment's own value, by payment and inclusion.
const TRANSFERS: Table<Transfer> = Table::new(2);
/// Refunds, by id.
pub(super) const REFUNDS: Table<Refund> = Table::new(3);
/// Card facts that were taken, by payment, kind and Stripe object.
pub(super) const CARD_FACTS: Table<TakenFact> = Table::new(4);
/// Deadlines of open card payments, by time and payment.
pub(super) const CARD_DEADLINES: Table<(Timestamp, PaymentId)> = Table::new(5);
/// Merchants, by id.
pub(super) const MERCHANTS: Table<MerchantState> = Table::new(6);
/// Endpoints that want messages, by merchant and mode.
pub(super) const SUBSCRIPTIONS: Table<Vec<Subscription>> = Table::new(7);
/// What can be paid, and how.
pub(super) const SETTINGS: Table<Accepting> = Table::new(8);
/// The partition's key for deposit addresses, and its counter.
pub(super) const ADDRESSES: Table<Addresses> = Table::new(9);
/// Answers remembered by idempotency key: by merchant, mode and key.
pub(super) const IDEMPOTENCY: Table<Kept> = Table::new(10);
/// The same in the order they were remembered, by number.
pub(super) const IDEMPOTENCY_QUEUE: Table<Queued> = Table::new(11);
/// Where that queue begins and ends.
pub(super) const IDEMPOTENCY_ENDS: Table<Queue> = Table::new(12);
/// Amounts that are a payment's own at an address that payments share: by chain, address, token and amount.
pub(super) const AMOUNTS: Table<Reserved> = Table::new(13);
/// Which payment a transaction is claimed for, by chain, transaction, shared address and token.
pub(super) const CLAIMED: Table<PaymentId> = Table::new(14);

/// A card fact that was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum TakenFact {
    /// It is booked.
    Booked,
    /// It waits for the fact it follows from.
    Held,
    /// It is a refund, booked like this.
    Refunded {
        /// The refund.
        refund: RefundId,
        /// What it was taken from.
        split: Split,
    },
}

/// The payment a command or fact is about.
pub(super) fn payment(state: &dyn State, id: PaymentId) -> Result<Option<PaymentState>, StateError> {
    PAYMENTS.get(state, id)
}

/// The payment a fact is about.
///
/// # Errors
/// A dead letter where there is no such payment, or it is another merchant's.
pub(super) fn payment_of_fact(
    state: &dyn State,
    id: PaymentId,
    merchant: MerchantId,
) -> Result<PaymentState, Fault> {
    payment(state, id)?.filter(|payment| payment.intent.merchant == merchant).ok_or_else(|| {
        Fault::dead_letter("unknown_payment", format!("{merchant} has no payment {id} in this book"))
    })
}

/// Keeps a payment.
pub(super) fn put_payment(state: &mut dyn State, payment: &PaymentState) -> Result<(), StateError> {
    PAYMENTS.put(state, payment.intent.id, payment)
}

type TransferKey = (PaymentId, BlockHash, TxHash, (u32, u32));

fn transfer_key(payment: PaymentId, of: &Inclusion) -> TransferKey {
    (payment, of.block_hash, of.tx_hash, (of.log_index, of.number))
}

/// A transfer that is not in its payment's own value.
pub(super) fn overflow_transfer(
    state: &dyn State,
    payment: PaymentId,
    inclusion: &Inclusion,
) -> Result<Option<Transfer>, StateError> {
    TRANSFERS.get(state, transfer_key(payment, inclusion))
}

/// Keeps a transfer outside its payment's own value.
pub(super) fn put_overflow_transfer(
    state: &mut dyn State,
    payment: PaymentId,
    transfer: &Transfer,
) -> Result<(), StateError> {
    TRANSFERS.put(state, transfer_key(payment, &transfer.inclusion), transfer)
}
