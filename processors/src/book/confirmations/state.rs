//! What is known of a payment: one small value, read and written once for each fact.

use serde::{Deserialize, Serialize};
use streambook_model::{
    asset::AssetId,
    bytes::{Address, TxHash},
    chain::{ChainId, ConfirmationPolicy},
    id::{MerchantId, PaymentId, TransactionId},
    metadata::Metadata,
    money::{Amount, AmountError},
    records::{
        chain::ExactAmount,
        payment::{PaymentMethod, PaymentStatus},
        settings::FeeSchedule,
        stripe::CardFactKind,
    },
    time::Timestamp,
};

use super::transfer::Transfer;

/// Transfers kept in the payment's own value and shown in its snapshots. Further ones count in every sum and are kept in
/// a table of their own, so that a flood of dust does not grow the value that each fact rewrites.
pub(crate) const TRANSFERS_KEPT: usize = 100;

/// Acceptances kept of a payment, those of the highest amounts. Where a reorganisation takes back more than the lowest of
/// them covers, the money waits for the merchant's word again.
const ACCEPTANCES_KEPT: usize = 100;

/// What was agreed when the payment was created; it never changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Intent {
    pub(crate) id: PaymentId,
    pub(crate) merchant: MerchantId,
    pub(crate) livemode: bool,
    /// The set of posting templates, frozen.
    pub(crate) settlement: String,
    pub(crate) method: PaymentMethod,
    pub(crate) asset: AssetId,
    pub(crate) scale: u8,
    pub(crate) amount: Amount,
    /// The fee schedule, frozen.
    pub(crate) fee: FeeSchedule,
    pub(crate) chain: Option<ChainIntent>,
    pub(crate) reference_id: Option<String>,
    pub(crate) description: Option<String>,
    pub(crate) metadata: Metadata,
    pub(crate) created_at: Timestamp,
    pub(crate) expires_at: Timestamp,
}

/// Where and how a chain payment is to be paid.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ChainIntent {
    pub(crate) chain: ChainId,
    pub(crate) token: Address,
    pub(crate) address: Address,
    /// The address's path below the operator's extended public key; empty where the address is the merchant's own.
    pub(crate) path: String,
    /// The confirmation policy, frozen.
    pub(crate) policy: ConfirmationPolicy,
}

/// What was agreed beside the intent: how transfers are matched, and by how much they may differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Terms {
    /// What the merchant asked for, where the amount is another.
    pub(crate) price: Option<Amount>,
    /// By how much what is received may differ from the amount; always less than the amount.
    pub(crate) tolerance: Amount,
    /// Which transfers to a shared address are this payment's.
    pub(crate) exact: Option<ExactAmount>,
    /// Whose transactions can be claimed for it.
    pub(crate) payer: Option<Address>,
}

/// Everything observed of a payment, and what was done about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PaymentState {
    pub(crate) intent: Intent,
    /// How many events it has had.
    pub(crate) version: u32,
    /// The status said last.
    pub(crate) status: PaymentStatus,
    pub(crate) tally: Tally,
    /// The first transfers, in the order they were first seen.
    pub(crate) transfers: Vec<Transfer>,
    /// How many more there are, in their own table.
    pub(crate) overflow: u32,
    /// Inclusions that could still be taken back.
    pub(crate) unfinal: u32,
    pub(crate) deadline_passed: bool,
    pub(crate) canceled: bool,
    /// It has been completed or overpaid before: losing that is a reversal.
    pub(crate) once_completed: bool,
    /// What the merchant accepted, by what was confirmed then, rising.
    pub(crate) accepted: Vec<Accepted>,
    /// Why the card was declined for good.
    pub(crate) failure: Option<String>,
    pub(crate) disputes_opened: u32,
    pub(crate) disputes_won: u32,
    pub(crate) applied: Applied,
    pub(crate) refunds: Split,
    pub(crate) completed_at: Option<Timestamp>,
    /// Card facts that came before the fact they follow from.
    pub(crate) held: Vec<CardMoney>,
    /// What else was agreed.
    pub(crate) terms: Terms,
    /// Transactions that were claimed.
    pub(crate) claims: Vec<Claim>,
}

/// A claimed transaction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Claim {
    pub(crate) tx_hash: TxHash,
    /// Why it does not count, if that is known.
    pub(crate) refused: Option<String>,
}

/// Sums over the transfers, by what they mean for the payment. A card's charges count as confirmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Tally {
    /// Confirmed, in a block up to the deadline.
    pub(crate) in_time: Amount,
    /// Confirmed, in a later block.
    pub(crate) late: Amount,
    /// Not yet confirmed, in a block up to the deadline.
    pub(crate) seen_in_time: Amount,
    /// Not yet confirmed, in a later block.
    pub(crate) seen_late: Amount,
}

impl Tally {
    /// All that is confirmed.
    pub(crate) fn confirmed(&self) -> Result<Amount, AmountError> {
        self.in_time.plus(self.late)
    }

    /// All that is confirmed or seen.
    pub(crate) fn received(&self) -> Result<Amount, AmountError> {
        self.confirmed()?.plus(self.seen_in_time)?.plus(self.seen_late)
    }
}

/// The merchant took the money as it was. It is in force as long as at least that much is confirmed; when a reorganisation
/// takes some back, the acceptance before it is in force again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Accepted {
    /// What was confirmed then.
    pub(crate) confirmed: Amount,
    /// That, less what had been refunded of it unapplied: what the acceptance applies.
    pub(crate) net: Amount,
}

/// Money divided into what was applied to the payment and what was not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Split {
    /// Of the merchant's available money.
    pub(crate) applied: Amount,
    /// Of the money that waits in clearing.
    pub(crate) unapplied: Amount,
}

impl Split {
    pub(crate) fn total(&self) -> Result<Amount, AmountError> {
        self.applied.plus(self.unapplied)
    }

    pub(crate) fn plus(&self, other: &Self) -> Result<Self, AmountError> {
        let (applied, unapplied) = (self.applied.plus(other.applied)?, self.unapplied.plus(other.unapplied)?);
        Ok(Self { applied, unapplied })
    }

    pub(crate) fn minus(&self, other: &Self) -> Result<Self, AmountError> {
        let (applied, unapplied) =
            (self.applied.minus(other.applied)?, self.unapplied.minus(other.unapplied)?);
        Ok(Self { applied, unapplied })
    }
}

/// What has been applied: postings that can still be reversed, newest last, and the sum of all.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Applied {
    /// Still reversible.
    pub(crate) open: Vec<Application>,
    /// Everything in force, sealed or not.
    pub(crate) gross: Amount,
    /// The fees in it.
    pub(crate) fee: Amount,
    /// How many were ever posted, for their natural ids.
    pub(crate) count: u32,
}

/// One posting of `payment.applied`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Application {
    pub(crate) transaction: TransactionId,
    pub(crate) gross: Amount,
    pub(crate) fee: Amount,
}

/// One money fact of a card payment, without what the payment knows itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CardMoney {
    pub(crate) kind: CardFactKind,
    pub(crate) object: String,
    pub(crate) amount: Amount,
    pub(crate) reason: Option<String>,
    pub(crate) occurred_at: Timestamp,
}

impl PaymentState {
    /// A payment nothing has been observed of.
    pub(crate) fn new(intent: Intent, terms: Terms) -> Self {
        Self {
            intent,
            version: 0,
            status: PaymentStatus::Pending,
            tally: Tally::default(),
            transfers: Vec::new(),
            overflow: 0,
            unfinal: 0,
            deadline_passed: false,
            canceled: false,
            once_completed: false,
            accepted: Vec::new(),
            failure: None,
            disputes_opened: 0,
            disputes_won: 0,
            applied: Applied::default(),
            refunds: Split::default(),
            completed_at: None,
            held: Vec::new(),
            terms,
            claims: Vec::new(),
        }
    }

    /// The acceptance in force.
    pub(crate) fn acceptance(&self, confirmed: Amount) -> Option<&Accepted> {
        self.accepted.iter().rfind(|accepted| accepted.confirmed <= confirmed)
    }

    /// Takes the money as it is. Another acceptance of as much is replaced.
    pub(crate) fn accept(&mut self) -> Result<(), AmountError> {
        let confirmed = self.tally.confirmed()?;
        let net = confirmed.minus(self.refunds.unapplied)?;
        self.accepted.retain(|accepted| accepted.confirmed != confirmed);
        let place = self.accepted.partition_point(|accepted| accepted.confirmed < confirmed);
        self.accepted.insert(place, Accepted { confirmed, net });
        if self.accepted.len() > ACCEPTANCES_KEPT {
            self.accepted.remove(0);
        }
        Ok(())
    }

    /// What is applied for good: of a card payment all, of a chain payment nothing.
    pub(crate) fn sealed(&self) -> Result<Amount, AmountError> {
        self.applied.open.iter().try_fold(self.applied.gross, |sealed, open| sealed.minus(open.gross))
    }

    /// Confirmed money that is neither applied nor refunded: it waits in clearing. Negative where a reorganisation took
    /// back what had been refunded.
    pub(crate) fn unapplied(&self) -> Result<Amount, AmountError> {
        self.tally.confirmed()?.minus(self.applied.gross)?.minus(self.refunds.unapplied)
    }

    /// Takes a refund of this amount first from what was never applied, the rest from what was.
    pub(crate) fn split_refund(&self, amount: Amount) -> Result<Split, AmountError> {
        let unapplied = self.unapplied()?.max(Amount::ZERO).min(amount);
        Ok(Split { applied: amount.minus(unapplied)?, unapplied })
    }
}
