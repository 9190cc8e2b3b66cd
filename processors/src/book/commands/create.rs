//! Creating a payment: its terms are checked against the settings in force and frozen.

use streambook_model::{
    asset::{Asset, currency_scale},
    records::{
        book::{Caller, CreatePayment},
        chain::WatchAddress,
        payment::{PaymentEventType, PaymentMethod},
    },
    topics,
};
use streambook_runtime::processor::Context;

use super::{
    super::{
        confirmations::{Intent, PaymentState},
        deadlines,
        reply::{self, Answer, Denied},
        settings::Accepting,
        settle,
        tables::{self, MERCHANTS, SETTINGS},
    },
    Done, is_callers, terms,
};

/// The shortest and the longest time a payment can be open, in seconds: a minute, and seven days.
const EXPIRES_IN_SECONDS: std::ops::RangeInclusive<u32> = 60..=7 * 24 * 60 * 60;

pub(super) fn decide(context: &mut Context<'_>, command: CreatePayment) -> Result<Done, Denied> {
    if let Some(known) = tables::payment(&context.state, command.payment)? {
        return again(&known, &command.caller);
    }
    let merchant = MERCHANTS.get(&context.state, command.caller.merchant)?;
    let merchant = merchant.ok_or_else(|| reply::not_found("merchant"))?;
    let accepting = SETTINGS.get(&context.state, ())?;
    let (accepting, asset) = accepted(accepting, &command)?;
    if !accepting.has_set(&merchant.settlement) {
        let detail = format!("there are no posting templates for the settlement `{}`", merchant.settlement);
        return Err(reply::conflict("unknown_settlement", format!("{detail}; the operator must set it up")));
    }
    let paying = match command.method {
        PaymentMethod::Chain => terms::on_chain(context, &accepting, &merchant, &asset, &command)?,
        PaymentMethod::Card => card_allowed(&asset).and_then(|()| terms::by_card(&command))?,
    };
    let created_at = context.now();
    let intent = Intent {
        id: command.payment,
        merchant: command.caller.merchant,
        livemode: command.caller.livemode,
        settlement: merchant.settlement,
        method: command.method,
        asset: asset.id,
        scale: asset.scale,
        amount: paying.amount,
        fee: accepting.fee,
        chain: paying.chain,
        reference_id: command.reference_id,
        description: command.description,
        metadata: command.metadata,
        created_at,
        expires_at: created_at.plus_seconds(command.expires_in_seconds),
    };
    let mut payment = PaymentState::new(intent, paying.terms);
    watch(context, &payment)?;
    settle::announce(context, &mut payment, PaymentEventType::Created, None, created_at)?;
    tables::put_payment(&mut context.state, &payment)?;
    Ok(Done::now(Answer::Payment(payment.snapshot()?)))
}

/// The same command a second time gives the same payment. Ids are random, so another merchant's can only be a mistake.
fn again(known: &PaymentState, caller: &Caller) -> Result<Done, Denied> {
    if is_callers(known, caller) {
        Ok(Done::before(Answer::Payment(known.as_created())))
    } else {
        Err(reply::conflict("payment_id_taken", "this payment id is in use; send the request again"))
    }
}

/// Checks the terms that every method has.
fn accepted(accepting: Option<Accepting>, command: &CreatePayment) -> Result<(Accepting, Asset), Denied> {
    let asset = accepting.as_ref().and_then(|accepting| accepting.asset(&command.asset).cloned());
    let (Some(accepting), Some(asset)) = (accepting, asset) else {
        let detail =
            format!("`{}` is not accepted here; use an asset of the operator's settings", command.asset);
        return Err(reply::invalid("asset_not_accepted", "asset", detail));
    };
    if !command.amount.is_positive() {
        return Err(reply::invalid("invalid_amount", "amount", "the amount must be more than zero"));
    }
    if !EXPIRES_IN_SECONDS.contains(&command.expires_in_seconds) {
        let detail = format!("give {} to {} seconds", EXPIRES_IN_SECONDS.start(), EXPIRES_IN_SECONDS.end());
        return Err(reply::invalid("invalid_expires_in", "expires_in", detail));
    }
    Ok((accepting, asset))
}

fn card_allowed(asset: &Asset) -> Result<(), Denied> {
    if currency_scale(asset.id.as_str()) == Some(asset.scale) {
        return Ok(());
    }
    let detail =
        format!("`{}` cannot be paid by card; use a currency such as `usd`, or the method `chain`", asset.id);
    Err(reply::invalid("asset_not_payable_by_card", "asset", detail))
}

/// Asks for what will be reported of the payment: transfers from its chain, or a tick at its deadline.
fn watch(context: &mut Context<'_>, payment: &PaymentState) -> Result<(), Denied> {
    let intent = &payment.intent;
    let Some(chain) = &intent.chain else { return Ok(deadlines::watch(&mut context.state, intent)?) };
    let watch = WatchAddress {
        meta: context.meta(intent.created_at),
        chain: chain.chain,
        merchant: intent.merchant,
        payment: intent.id,
        address: chain.address,
        asset: intent.asset.clone(),
        token: chain.token,
        deadline: intent.expires_at,
        policy: chain.policy,
        exact: payment.terms.exact,
    };
    context.emit(topics::CHAIN_INBOX, chain.chain.to_string(), watch);
    Ok(())
}
