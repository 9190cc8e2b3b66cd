//! Exact amounts: payments that share their merchant's address are told apart by their value. Each gets the price and a
//! small increment, so that no two that are open at the address have the same amount.
//!
//! - The increment is at least one unit, so a transfer of a round price is never taken for another payment's; at most
//!   [`INCREMENTS_MAX`] units and a hundredth of the price, so the search and what the payer bears are bounded.
//! - An amount belongs to its payment from a little before its creation until the grace time after its deadline, by block
//!   time, whatever becomes of the payment. Two payments with one amount have times that do not meet, so a transfer is
//!   never two payments'.
//! - An address belongs to one merchant (the registry sees to it), and so to one book: what is decided here is decided once.

use serde::{Deserialize, Serialize};
use streambook_model::{
    bytes::Address, chain::ChainId, id::PaymentId, money::Amount, records::chain::ExactAmount,
    time::Timestamp,
};
use streambook_runtime::processor::{Context, Fault};

use super::tables::AMOUNTS;

/// The largest increment in smallest units, and so the most amounts of one price that can be open at an address.
const INCREMENTS_MAX: i128 = 9_999;
/// The price's share that an increment can be: a hundredth.
const SHARE: i128 = 100;
/// By how much a chain's clock may be behind ours: a transfer in a block that is dated so much before the payment's creation
/// can be a transfer for it.
const CLOCKS_APART_SECONDS: u32 = 60;

/// An amount that is a payment's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Reserved {
    amount: Amount,
    payment: PaymentId,
    until: Timestamp,
}

/// Where amounts must differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shared {
    pub(super) chain: ChainId,
    pub(super) address: Address,
    pub(super) token: Address,
}

/// Why a price has no amount of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoAmount {
    /// A hundredth of it is less than one unit.
    TooSmall,
    /// All amounts that it could have are other payments'.
    AllTaken,
}

/// Makes the smallest free amount above a price the payment's own, until a time.
pub(super) fn reserve(
    context: &mut Context<'_>,
    at: Shared,
    payment: PaymentId,
    price: Amount,
    until: Timestamp,
) -> Result<Result<ExactAmount, NoAmount>, Fault> {
    let most = (price.units() / SHARE).min(INCREMENTS_MAX);
    if most < 1 {
        return Ok(Err(NoAmount::TooSmall));
    }
    let from = before(context.now());
    let Some(amount) = free(context, at, price, most, from)? else { return Ok(Err(NoAmount::AllTaken)) };
    AMOUNTS.put(&mut context.state, key(at, amount), &Reserved { amount, payment, until })?;
    Ok(Ok(ExactAmount { amount, from, until }))
}

fn key(at: Shared, amount: Amount) -> (ChainId, Address, (Address, Amount)) {
    (at.chain, at.address, (at.token, amount))
}

/// The earliest block time of a payment that is created now.
fn before(now: Timestamp) -> Timestamp {
    Timestamp::from_millis(now.millis().saturating_sub(i64::from(CLOCKS_APART_SECONDS) * 1_000))
}

/// The smallest amount above the price that nobody has, or whose time ends before `from`.
fn free(
    context: &Context<'_>,
    at: Shared,
    price: Amount,
    most: i128,
    from: Timestamp,
) -> Result<Option<Amount>, Fault> {
    // A price at the end of the range has no amount above it.
    let Ok(end) = price.plus(Amount::new(most.saturating_add(1))?) else { return Ok(None) };
    let mut candidate = price.plus(Amount::new(1)?)?;
    let limit = usize::try_from(most).unwrap_or(usize::MAX);
    for reserved in AMOUNTS.scan(&context.state, key(at, candidate), key(at, end), limit)? {
        if reserved.amount > candidate || reserved.until < from {
            break;
        }
        candidate = reserved.amount.plus(Amount::new(1)?)?;
    }
    Ok(Some(candidate).filter(|candidate| *candidate < end))
}
