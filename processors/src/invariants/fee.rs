//! What a payment is credited with is divided without a remainder.

use streambook_model::{
    money::Amount,
    records::ledger::{AccountId, LedgerTransaction},
};

use super::{Check, Invariant, Violation, ensure};
use crate::book::ledger::TemplateName;

/// The parts that received money is divided into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parts {
    /// The whole.
    pub gross: Amount,
    /// The merchant's.
    pub net: Amount,
    /// The platform's.
    pub fee: Amount,
}

/// [`Invariant::GrossIsNetAndFee`]; none of them negative.
pub fn gross_is_net_and_fee(parts: Parts) -> Check {
    let Parts { gross, net, fee } = parts;
    let holds = net.plus(fee) == Ok(gross) && net >= Amount::ZERO && fee >= Amount::ZERO;
    ensure(holds, Invariant::GrossIsNetAndFee, || format!("gross {gross}, net {net}, fee {fee}"))
}

impl Parts {
    /// The parts as the entries of a `payment.applied`, or of its reversal, state them; `None` for other templates, and
    /// for an operator's own set that uses accounts whose part in it is not known here.
    ///
    /// # Errors
    /// Where the merchant's debt for the fee is not the platform's fee (direct settlement), and where a part leaves the
    /// range.
    pub fn of(transaction: &LedgerTransaction) -> Result<Option<Self>, Violation> {
        if transaction.template != TemplateName::PaymentApplied.as_str() {
            return Ok(None);
        }
        let Some(sums) = Sums::of(transaction) else { return Ok(None) };
        let violated = |detail| Violation { invariant: Invariant::GrossIsNetAndFee, detail };
        let parts = sums.parts(transaction.reverses.is_some());
        let parts = parts.ok_or_else(|| {
            violated(format!(
                "{}: the fee that is due is not the fee that is booked",
                transaction.transaction
            ))
        })?;
        Ok(Some(parts))
    }
}

/// Units on each account, debits positive.
#[derive(Default)]
struct Sums {
    clearing: i128,
    available: i128,
    revenue: i128,
    fees_due: i128,
    fees: i128,
}

impl Sums {
    fn of(transaction: &LedgerTransaction) -> Option<Self> {
        let mut sums = Self::default();
        for entry in &transaction.entries {
            let sum = match name(&entry.account)? {
                "clearing" => &mut sums.clearing,
                "available" => &mut sums.available,
                "revenue" => &mut sums.revenue,
                "fees_due" => &mut sums.fees_due,
                "fees" => &mut sums.fees,
                _ => return None,
            };
            *sum = sum.checked_add(entry.amount.units())?;
        }
        Some(sums)
    }

    /// Custodial books credit the merchant with the net; direct ones with the gross, and the merchant owes the fee.
    fn parts(&self, is_reversal: bool) -> Option<Parts> {
        let sign = if is_reversal { -1 } else { 1 };
        if self.revenue != 0 && self.fees_due.checked_add(self.fees)? != 0 {
            return None;
        }
        let credited = self.available.checked_add(self.revenue)?.checked_add(self.fees_due)?;
        let amount = |units: i128| Amount::new(units.checked_mul(sign)?).ok();
        Some(Parts {
            gross: amount(self.clearing)?,
            net: amount(credited.checked_neg()?)?,
            fee: amount(self.fees.checked_neg()?)?,
        })
    }
}

/// An account's name below its owner: `live/merchant/mer_…/clearing` and `test/platform/fees/3`.
pub(super) fn name(account: &AccountId) -> Option<&str> {
    let mut parts = account.as_str().split('/').skip(1);
    match parts.next()? {
        "merchant" => parts.nth(1),
        _ => parts.next(),
    }
}
