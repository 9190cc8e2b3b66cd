//! Where and how a chain payment is paid: its address, its amount, its tolerance and its confirmation policy.

use streambook_model::{
    asset::Asset,
    bytes::Address,
    chain::ChainId,
    money::Amount,
    records::{book::CreatePayment, chain::ExactAmount, payment::Matching, settings::ChainSettings},
};
use streambook_runtime::processor::Context;

use super::super::{
    address,
    amounts::{self, NoAmount, Shared},
    confirmations::{ChainIntent, Terms},
    reply::{self, Denied},
    settings::{Accepting, MerchantState},
};

/// What a payment is to be paid with.
pub(super) struct Paying {
    pub(super) chain: Option<ChainIntent>,
    pub(super) terms: Terms,
    /// What is to be paid.
    pub(super) amount: Amount,
}

/// The terms of a payment by card.
pub(super) fn by_card(command: &CreatePayment) -> Result<Paying, Denied> {
    if command.payer.is_some() {
        let detail = "a card payment has no transactions to claim; leave it out, or use the method `chain`";
        return Err(reply::invalid("payer_not_needed", "payer_address", detail));
    }
    if command.matching.is_some() {
        let detail =
            "a card payment is not matched by its transfers; leave it out, or use the method `chain`";
        return Err(reply::invalid("matching_not_for_cards", "matching", detail));
    }
    Ok(Paying { chain: None, terms: Terms::default(), amount: command.amount })
}

/// The terms of a payment on a chain. Nothing is changed where they are denied.
pub(super) fn on_chain(
    context: &mut Context<'_>,
    accepting: &Accepting,
    merchant: &MerchantState,
    asset: &Asset,
    command: &CreatePayment,
) -> Result<Paying, Denied> {
    let (Some(chain), Some(token)) = (asset.id.chain(), asset.contract) else {
        let detail =
            format!("`{}` is not on a chain; use a token such as `usdc:1`, or the method `card`", asset.id);
        return Err(reply::invalid("asset_not_on_chain", "asset", detail));
    };
    let settings = accepting.chain(chain).ok_or_else(|| unavailable("its chain is not configured"))?;
    let tolerance = merchant.tolerance(&asset.id, command.amount)?;
    if command.amount.plus(tolerance).is_err() {
        return Err(reply::invalid("invalid_amount", "amount", "the amount is too large to be kept exactly"));
    }
    let at = At { chain: settings, token };
    if command.payer.is_some() && command.matching != Some(Matching::ExactAmount) {
        let detail = "only payments with the matching `exact_amount` are claimed; leave it out";
        return Err(reply::invalid("payer_not_needed", "payer_address", detail));
    }
    match command.matching.unwrap_or_default() {
        Matching::DepositAddress => own_address(context, accepting, at, command, tolerance),
        Matching::ExactAmount => {
            let address = merchant.address(chain).ok_or_else(|| no_address(chain))?;
            shared_address(context, accepting, at, address, command, tolerance)
        }
    }
}

/// The chain and the token.
#[derive(Clone, Copy)]
struct At<'a> {
    chain: &'a ChainSettings,
    token: Address,
}

fn own_address(
    context: &mut Context<'_>,
    accepting: &Accepting,
    at: At<'_>,
    command: &CreatePayment,
    tolerance: Amount,
) -> Result<Paying, Denied> {
    let deposit = address::next(context)?;
    let deposit =
        deposit.ok_or_else(|| unavailable("there is no extended public key to derive addresses from"))?;
    let policy = accepting.policy(at.chain, &command.asset, command.amount);
    let (chain, token, address, path) = (at.chain.id, at.token, deposit.address, deposit.path);
    let chain = Some(ChainIntent { chain, token, address, path, policy });
    let terms = Terms { tolerance, ..Terms::default() };
    Ok(Paying { chain, terms, amount: command.amount })
}

fn shared_address(
    context: &mut Context<'_>,
    accepting: &Accepting,
    at: At<'_>,
    address: Address,
    command: &CreatePayment,
    tolerance: Amount,
) -> Result<Paying, Denied> {
    let exact = exact_amount(context, accepting, at, address, command)?;
    let (policy, amount) = (accepting.policy(at.chain, &command.asset, exact.amount), exact.amount);
    let (chain, token, path) = (at.chain.id, at.token, String::new());
    let chain = Some(ChainIntent { chain, token, address, path, policy });
    let (price, exact, payer) = (Some(command.amount), Some(exact), command.payer);
    let terms = Terms { price, tolerance, exact, payer };
    Ok(Paying { chain, terms, amount })
}

fn exact_amount(
    context: &mut Context<'_>,
    accepting: &Accepting,
    at: At<'_>,
    address: Address,
    command: &CreatePayment,
) -> Result<ExactAmount, Denied> {
    let shared = Shared { chain: at.chain.id, address, token: at.token };
    let deadline = context.now().plus_seconds(command.expires_in_seconds);
    let until = deadline.plus_seconds(accepting.grace_seconds);
    amounts::reserve(context, shared, command.payment, command.amount, until)?.map_err(|none| match none {
        NoAmount::TooSmall => {
            let detail = "it is below 100 of the asset's smallest units, so a hundredth of it cannot tell payments apart; \
                          ask for more, or use the matching `deposit_address`";
            reply::invalid("amount_too_small", "amount", detail)
        }
        NoAmount::AllTaken => {
            let detail = "every amount that this price can have belongs to another payment at the merchant's address; \
                          wait until some of their times have passed, or use the matching `deposit_address`";
            reply::conflict("no_free_amount", detail)
        }
    })
}

fn no_address(chain: ChainId) -> Denied {
    let detail = format!(
        "the merchant has no address of its own on chain {chain}; the operator can give it one, or use the matching \
         `deposit_address`"
    );
    reply::invalid("no_fixed_address", "matching", detail)
}

fn unavailable(why: &str) -> Denied {
    let detail =
        format!("this asset cannot be paid on its chain at the moment: {why}; the operator must set it up");
    reply::conflict("chain_payments_unavailable", detail)
}
