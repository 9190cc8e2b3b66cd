//! Merchants.

use streambook_model::{
    id::MerchantId,
    records::registry::{Merchant, MerchantChanged},
    topics,
};
use streambook_runtime::{processor::Context, state::State, table::Table};

use super::verdict::{No, Refused, Stored};

const MERCHANTS: Table<Merchant> = Table::new(4);

/// Adds a merchant, or changes its name or settlement. When it was created stays as it was.
pub(super) fn put(context: &mut Context<'_>, wanted: &Merchant) -> Result<Stored, No> {
    let mut merchant = wanted.clone();
    let known = MERCHANTS.get(&context.state, merchant.id)?;
    check(&merchant)?;
    if let Some(known) = &known {
        merchant.created_at = known.created_at;
    }
    if known.as_ref() != Some(&merchant) {
        MERCHANTS.put(&mut context.state, merchant.id, &merchant)?;
        say(context, &merchant);
    }
    Ok(Stored::Merchant(merchant))
}

fn check(merchant: &Merchant) -> Result<(), Refused> {
    if merchant.name.trim().is_empty() {
        return Err(Refused::invalid(
            "name_missing",
            "name",
            "a merchant needs a name for people to know it by",
        ));
    }
    if merchant.settlement.trim().is_empty() {
        let detail = "name the set of posting templates its books use, for example `custodial`";
        return Err(Refused::invalid("settlement_missing", "settlement", detail));
    }
    Ok(())
}

fn say(context: &mut Context<'_>, merchant: &Merchant) {
    for topic in [topics::REGISTRY_EVENTS, topics::BOOK_INBOX] {
        let changed = MerchantChanged { meta: context.meta(context.now()), merchant: merchant.clone() };
        context.emit(topic, merchant.id.to_string(), changed);
    }
}

/// Refuses a merchant that does not exist.
pub(super) fn require(state: &dyn State, merchant: MerchantId) -> Result<(), No> {
    if MERCHANTS.get(state, merchant)?.is_some() {
        return Ok(());
    }
    let detail = format!("there is no merchant {merchant}: create it first");
    Err(Refused::invalid("unknown_merchant", "merchant", detail).into())
}
