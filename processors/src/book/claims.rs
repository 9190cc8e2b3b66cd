//! What the chain says of a claimed transaction that does not count. One that does count says so by its transfers.

use streambook_model::records::chain::ClaimRefused;
use streambook_runtime::processor::{Context, Fault};

use super::{
    settle::{self, Tell},
    tables::{self, CLAIMED},
};

/// A claim is refused: the payment says why, and the transaction can be claimed for another one.
pub(super) fn refused(context: &mut Context<'_>, event: &ClaimRefused) -> Result<(), Fault> {
    let mut payment = tables::payment_of_fact(&context.state, event.payment, event.merchant)?;
    let Some(claim) = payment.claims.iter_mut().find(|claim| claim.tx_hash == event.tx_hash) else {
        let reason = format!("{} was never claimed for {}", event.tx_hash, event.payment);
        return Err(Fault::dead_letter("unknown_claim", reason));
    };
    if claim.refused.as_ref() == Some(&event.reason) {
        return Ok(());
    }
    claim.refused = Some(event.reason.clone());
    if let Some(chain) = &payment.intent.chain {
        let key = (event.chain, event.tx_hash, (chain.address, chain.token));
        if CLAIMED.get(&context.state, key)? == Some(event.payment) {
            CLAIMED.delete(&mut context.state, key);
        }
    }
    settle::settle(context, &mut payment, event.meta.occurred_at, Tell::Amounts)
}
