//! The payment as the public sees it.

use streambook_model::{
    money::{Amount, AmountError},
    records::payment::{
        ClaimStatus, Matching, Payment, PaymentClaim, PaymentStatus, PaymentTransfer, PaymentTransferStatus,
    },
};

use super::{
    state::{Claim, PaymentState},
    transfer::Transfer,
};

/// Why a claim is neither matched nor refused.
const WAITS: &str = "it was not seen since the payment was created; it counts when it comes, in a block up to `reserved_until`";

impl PaymentState {
    /// The payment as it was in the answer to its creation. It follows from what was agreed, so that answer need not be kept.
    pub(crate) fn as_created(&self) -> Payment {
        let (of, terms) = (&self.intent, &self.terms);
        let chain = of.chain.as_ref();
        Payment {
            id: of.id,
            merchant: of.merchant,
            livemode: of.livemode,
            version: 1,
            status: PaymentStatus::Pending,
            method: of.method,
            asset: of.asset.clone(),
            scale: of.scale,
            amount: of.amount,
            amount_received: Amount::ZERO,
            amount_confirmed: Amount::ZERO,
            amount_refunded: Amount::ZERO,
            fee: Amount::ZERO,
            chain: chain.map(|chain| chain.chain),
            token: chain.map(|chain| chain.token),
            deposit_address: chain.map(|chain| chain.address),
            derivation_path: chain.map(|chain| chain.path.clone()).filter(|path| !path.is_empty()),
            policy: chain.map(|chain| chain.policy),
            confirmations: 0,
            reference_id: of.reference_id.clone(),
            description: of.description.clone(),
            metadata: of.metadata.clone(),
            transfers: Vec::new(),
            failure: None,
            created_at: of.created_at,
            expires_at: of.expires_at,
            completed_at: None,
            price: terms.price,
            tolerance: Some(terms.tolerance).filter(|tolerance| tolerance.is_positive()),
            matching: terms.exact.map(|_| Matching::ExactAmount),
            reserved_until: terms.exact.map(|exact| exact.until),
            payer: terms.payer,
            claims: Vec::new(),
        }
    }

    /// The payment as it is now.
    pub(crate) fn snapshot(&self) -> Result<Payment, AmountError> {
        let counts = |transfer: &&Transfer| transfer.status != PaymentTransferStatus::Orphaned;
        let confirmations = self.transfers.iter().filter(counts).map(|transfer| transfer.confirmations).min();
        Ok(Payment {
            version: self.version,
            status: self.status,
            amount_received: self.tally.received()?,
            amount_confirmed: self.tally.confirmed()?,
            amount_refunded: self.refunds.total()?,
            fee: self.applied.fee,
            confirmations: confirmations.unwrap_or(0),
            transfers: self.transfers.iter().map(shown).collect(),
            failure: self.failure.clone().filter(|_| self.status == PaymentStatus::Failed),
            completed_at: self.completed_at,
            claims: self.claims.iter().map(|claim| self.shown_claim(claim)).collect(),
            ..self.as_created()
        })
    }
}

impl PaymentState {
    /// A claim is matched as long as transfers of its transaction count.
    fn shown_claim(&self, claim: &Claim) -> PaymentClaim {
        let counts = |transfer: &Transfer| {
            transfer.inclusion.tx_hash == claim.tx_hash && transfer.status != PaymentTransferStatus::Orphaned
        };
        let (status, reason) = match &claim.refused {
            _ if self.transfers.iter().any(counts) => (ClaimStatus::Matched, None),
            Some(reason) => (ClaimStatus::Refused, Some(reason.clone())),
            None => (ClaimStatus::Waiting, Some(WAITS.to_owned())),
        };
        PaymentClaim { tx_hash: claim.tx_hash, status, reason }
    }
}

fn shown(transfer: &Transfer) -> PaymentTransfer {
    PaymentTransfer {
        tx_hash: transfer.inclusion.tx_hash,
        block_number: transfer.inclusion.block_number,
        log_index: transfer.inclusion.log_index,
        amount: transfer.amount,
        status: transfer.status,
    }
}
