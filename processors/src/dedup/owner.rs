//! Whose payment an event is about: what the metadata of the intent or the charge names. Streambook writes both pairs
//! when it makes the intent, and Stripe copies them to the charge.

use serde::{Deserialize, Serialize};
use streambook_model::id::{MerchantId, PaymentId};
use streambook_runtime::processor::Fault;

use super::object::Object;

/// The metadata key that names the merchant.
const MERCHANT: &str = "streambook_merchant";
/// The metadata key that names the payment.
const PAYMENT: &str = "streambook_payment";

/// Whose payment a family is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Owner {
    pub(super) merchant: MerchantId,
    pub(super) payment: PaymentId,
    pub(super) livemode: bool,
}

/// Whom the object names: an intent or a charge itself, or the one expanded inside a refund or a dispute.
pub(super) fn named(object: &Object<'_>, livemode: bool) -> Result<Option<Owner>, Fault> {
    if matches!(object.optional_text("object"), Some("payment_intent" | "charge")) {
        return in_metadata(object, livemode);
    }
    for name in ["payment_intent", "charge"] {
        if let Some(owner) = object.expanded(name)?.map_or(Ok(None), |inner| in_metadata(&inner, livemode))? {
            return Ok(Some(owner));
        }
    }
    Ok(None)
}

fn in_metadata(object: &Object<'_>, livemode: bool) -> Result<Option<Owner>, Fault> {
    let Some(metadata) = object.expanded("metadata")? else { return Ok(None) };
    let (merchant, payment) = (metadata.optional_text(MERCHANT), metadata.optional_text(PAYMENT));
    if merchant.is_none() && payment.is_none() {
        return Ok(None);
    }
    let merchant = merchant.and_then(|text| text.parse().ok());
    let payment = payment.and_then(|text| text.parse().ok());
    Ok(Some(Owner {
        merchant: merchant.ok_or_else(|| metadata.malformed(MERCHANT, "the merchant's id, `mer_…`"))?,
        payment: payment.ok_or_else(|| metadata.malformed(PAYMENT, "the payment's id, `pay_…`"))?,
        livemode,
    }))
}
