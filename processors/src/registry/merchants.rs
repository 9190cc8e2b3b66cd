//! Merchants. An address that was once a merchant's own is that merchant's for ever: payments that share it are told apart
//! by amounts which its book alone gives out, and money can come to it at any time.

use std::collections::BTreeSet;

use streambook_model::{
    asset::AssetId,
    bytes::Address,
    id::MerchantId,
    records::registry::{FixedAddress, Merchant, MerchantChanged, Tolerance},
    topics,
};
use streambook_runtime::{processor::Context, state::State, table::Table};

use super::{
    settings,
    verdict::{No, Refused, Stored},
};

/// The most that a tolerance can be: a tenth of the amount.
const TOLERANCE_MAX_PPM: u32 = 100_000;

const MERCHANTS: Table<Merchant> = Table::new(4);
/// Whose address it is, by chain and address.
const OWNERS: Table<MerchantId> = Table::new(8);

/// Adds a merchant, or changes what can be changed. When it was created stays as it was.
pub(super) fn put(context: &mut Context<'_>, wanted: &Merchant) -> Result<Stored, No> {
    let mut merchant = wanted.clone();
    merchant.addresses.sort_by_key(|fixed| fixed.chain);
    if let Some(tolerance) = &mut merchant.tolerance {
        tolerance.amounts.sort_by(|a, b| a.asset.cmp(&b.asset));
    }
    let known = MERCHANTS.get(&context.state, merchant.id)?;
    check(&merchant)?;
    check_addresses(context, &merchant)?;
    check_tolerance(context, merchant.tolerance.as_ref())?;
    if let Some(known) = &known {
        merchant.created_at = known.created_at;
    }
    if known.as_ref() != Some(&merchant) {
        for fixed in &merchant.addresses {
            OWNERS.put(&mut context.state, (fixed.chain, fixed.address), &merchant.id)?;
        }
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

fn check_addresses(context: &Context<'_>, merchant: &Merchant) -> Result<(), No> {
    let settings = settings::in_force(&context.state)?;
    let assets = settings.map(|settings| settings.assets).unwrap_or_default();
    if let Some(pair) = merchant.addresses.windows(2).find(|pair| pair[0].chain == pair[1].chain) {
        return Err(wrong_address(&format!(
            "chain {} is there twice: keep one address for it",
            pair[0].chain
        )));
    }
    for FixedAddress { chain, address } in &merchant.addresses {
        let is_token = |(id, contract): (&AssetId, Option<Address>)| {
            id.chain() == Some(*chain) && contract == Some(*address)
        };
        if *address == Address::ZERO || assets.iter().any(|asset| is_token((&asset.id, asset.contract))) {
            let detail = format!(
                "what is sent to {address} is lost: give an address that the merchant has the key of"
            );
            return Err(wrong_address(&detail));
        }
        if OWNERS.get(&context.state, (*chain, *address))?.is_some_and(|owner| owner != merchant.id) {
            let detail = format!(
                "{address} on chain {chain} is or was another merchant's, and payments to the two could not be told apart: \
                 give another address"
            );
            return Err(Refused::conflict("address_taken", Some("addresses"), detail).into());
        }
    }
    Ok(())
}

fn wrong_address(detail: &str) -> No {
    Refused::invalid("invalid_address", "addresses", detail).into()
}

fn check_tolerance(context: &Context<'_>, tolerance: Option<&Tolerance>) -> Result<(), No> {
    let Some(tolerance) = tolerance else { return Ok(()) };
    let wrong = |detail: String| Err(Refused::invalid("invalid_tolerance", "tolerance", detail).into());
    if tolerance.parts_per_million > TOLERANCE_MAX_PPM {
        return wrong(format!("parts_per_million is above {TOLERANCE_MAX_PPM}, which is a tenth: give less"));
    }
    let known = settings::in_force(&context.state)?.map(|settings| settings.assets).unwrap_or_default();
    let mut seen = BTreeSet::new();
    for least in &tolerance.amounts {
        if !least.amount.is_positive() {
            return wrong(format!("the amount of {} is not more than zero: leave it out", least.asset));
        }
        if known.iter().all(|asset| asset.id != least.asset) {
            return wrong(format!("{} is not an asset here: name one that is", least.asset));
        }
        if !seen.insert(&least.asset) {
            return wrong(format!("{} is there twice: keep one", least.asset));
        }
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
