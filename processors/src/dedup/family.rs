//! What is known of a family: the objects of one payment intent (or of one charge without an intent).

use serde::{Deserialize, Serialize};
use streambook_runtime::{
    processor::{Context, Fault},
    state::{State, StateError},
    table::Table,
};

use super::{claims::Claim, owner::Owner};

const FAMILIES: Table<Family> = Table::new(2);

/// A family's state.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Family {
    /// Whose it is, once an event has named it.
    pub(super) owner: Option<Owner>,
    /// Whether its payment has succeeded.
    pub(super) paid: bool,
    /// How many of its events are on hold.
    pub(super) held: u16,
}

impl Family {
    /// Takes an owner that an event names; says whether it is news. A second, different one is a contradiction.
    pub(super) fn learn(&mut self, owner: Owner) -> Result<bool, Fault> {
        match self.owner {
            None => {
                self.owner = Some(owner);
                Ok(true)
            }
            Some(known) if known == owner => Ok(false),
            Some(known) => Err(Fault::dead_letter(
                "conflicting_owner",
                format!(
                    "it names {} of {}, its family belongs to {} of {}: correct the metadata in Stripe",
                    owner.payment, owner.merchant, known.payment, known.merchant
                ),
            )),
        }
    }

    /// The owner these claims can be booked for now; `None` while it is unknown or the payment they presuppose has not
    /// been seen to succeed.
    pub(super) fn ready(&self, claims: &[Claim]) -> Option<Owner> {
        self.owner.filter(|_| self.paid || !presuppose_payment(claims))
    }
}

/// Whether the claims speak of a payment that must have succeeded before, and do not say so themselves.
fn presuppose_payment(claims: &[Claim]) -> bool {
    !claims.iter().any(Claim::is_about_the_payment_itself)
}

pub(super) fn load(state: &dyn State, key: &str) -> Result<Family, StateError> {
    Ok(FAMILIES.get(state, key)?.unwrap_or_default())
}

/// Writes the family if it has changed; nothing is kept of a family that nothing is known of.
pub(super) fn store(context: &mut Context<'_>, key: &str, family: &Family) -> Result<(), Fault> {
    if load(&context.state, key)? == *family {
        return Ok(());
    }
    if *family == Family::default() {
        FAMILIES.delete(&mut context.state, key);
        return Ok(());
    }
    Ok(FAMILIES.put(&mut context.state, key, family)?)
}
