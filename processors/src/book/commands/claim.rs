//! Claiming a transaction: somebody says that it has paid a payment whose address others share, with another amount than the
//! exact one. It counts if the payment's own payer sent it, which was said when the payment was created; so nobody can claim
//! what another has sent.

use streambook_model::records::{
    book::ClaimPayment,
    chain::{ExactAmount, WatchTransaction},
};
use streambook_model::{bytes::Address, topics};
use streambook_runtime::processor::Context;

use super::{
    super::{
        confirmations::{ChainIntent, Claim, PaymentState},
        reply::{self, Answer, Denied},
        settle::{self, Tell},
        tables::CLAIMED,
    },
    Done, load,
};

/// Transactions that can be claimed for one payment.
const CLAIMS_MAX: usize = 10;

pub(super) fn decide(context: &mut Context<'_>, command: &ClaimPayment) -> Result<Done, Denied> {
    let mut payment = load(context, &command.caller, command.payment)?;
    if payment.claims.iter().any(|claim| claim.tx_hash == command.tx_hash && claim.refused.is_none()) {
        return Ok(Done::before(Answer::Payment(payment.snapshot()?)));
    }
    let (chain, exact, payer) = claimable(&payment)?;
    if context.now() > exact.until {
        let detail = "the payment's time for late transfers is over; a dead letter says what came, return it or book it by hand";
        return Err(reply::conflict("claim_too_late", detail));
    }
    payment.claims.retain(|claim| claim.tx_hash != command.tx_hash);
    if payment.claims.len() >= CLAIMS_MAX {
        let detail =
            format!("{CLAIMS_MAX} transactions are claimed for this payment already; no more can be");
        return Err(reply::conflict("too_many_claims", detail));
    }
    let key = (chain.chain, command.tx_hash, (chain.address, chain.token));
    if CLAIMED.get(&context.state, key)?.is_some_and(|owner| owner != payment.intent.id) {
        let detail = "the transaction is claimed for another payment; one transaction pays one claim";
        return Err(reply::conflict("transaction_claimed", detail));
    }
    CLAIMED.put(&mut context.state, key, &payment.intent.id)?;
    payment.claims.push(Claim { tx_hash: command.tx_hash, refused: None });
    watch(context, &payment, &chain, exact, payer, command);
    let now = context.now();
    settle::settle(context, &mut payment, now, Tell::Amounts)?;
    Ok(Done::now(Answer::Payment(payment.snapshot()?)))
}

/// What a claim needs of the payment.
fn claimable(payment: &PaymentState) -> Result<(ChainIntent, ExactAmount, Address), Denied> {
    let (Some(chain), Some(exact)) = (&payment.intent.chain, payment.terms.exact) else {
        let detail = "only a payment with the matching `exact_amount` is claimed; whatever comes to an address of a payment's \
                      own counts without";
        return Err(reply::conflict("payment_not_claimable", detail));
    };
    let payer = payment.terms.payer.ok_or_else(|| {
        let detail =
            "the payment was created without `payer_address`, so nobody's transactions can be claimed for it";
        reply::conflict("payer_address_missing", detail)
    })?;
    Ok((chain.clone(), exact, payer))
}

fn watch(
    context: &mut Context<'_>,
    payment: &PaymentState,
    chain: &ChainIntent,
    exact: ExactAmount,
    payer: Address,
    command: &ClaimPayment,
) {
    let watch = WatchTransaction {
        meta: context.meta(context.now()),
        chain: chain.chain,
        merchant: payment.intent.merchant,
        payment: payment.intent.id,
        address: chain.address,
        asset: payment.intent.asset.clone(),
        token: chain.token,
        tx_hash: command.tx_hash,
        payer,
        deadline: payment.intent.expires_at,
        from: exact.from,
        until: exact.until,
        policy: chain.policy,
    };
    context.emit(topics::CHAIN_INBOX, chain.chain.to_string(), watch);
}
