//! `dedup`: from Stripe's events, which come at least once and in any order, to money facts, each exactly once.
//!
//! It guarantees: the set of facts a payment leads to depends only on which events arrived, never on their order or
//! their number; a fact goes to the payment that the intent's or charge's metadata names, never to a guess; and a
//! payment's `Succeeded` comes before anything that presupposes it. Every event ends as facts, as a stored reason
//! (dead letter), or as one of the listed event types that say nothing about money, which are counted.
//!
//! An event is read for what its *object's state* says, not for its type: a charge that succeeded says so in
//! `charge.succeeded`, `charge.updated` and `charge.refunded` alike, and each says it once ([`booked`]). What cannot be
//! said yet, because nobody knows whose it is or because the payment's success has not been seen, is held ([`held`])
//! for at most 24 hours of record time.
//!
//! State: event ids for 35 days; events on hold, at most 100 for each family; a few bytes for each family and each
//! fact for ever, as the books have. The work for one record is bounded by the families' bound on held events.

mod booked;
mod claims;
mod family;
mod held;
mod kinds;
mod letter;
mod object;
mod owner;
mod seen;

use serde_json::Value;
use streambook_model::{
    message::Message,
    records::stripe::StripeEvent,
    time::Timestamp,
    topics::{self, TopicDef},
};
use streambook_runtime::{
    processor::{Context, Fault, Processor},
    state::{State, StateError},
    table::Table,
};

use self::{booked::Origin, claims::Claim, kinds::Reading, object::Object, owner::Owner, seen::Arrival};

/// How often each event type that says nothing about money has come.
const COUNTS: Table<u64> = Table::new(1);

/// The processor of `stripe.inbox`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Dedup;

impl Processor for Dedup {
    fn name(&self) -> &'static str {
        "dedup"
    }

    fn inbox(&self) -> TopicDef {
        topics::STRIPE_INBOX
    }

    fn process(&self, message: Message, context: &mut Context<'_>) -> Result<(), Fault> {
        match message {
            Message::StripeEvent(event) => take(&event, context),
            Message::Tick(tick) => held::expire(tick.now, context),
            other => Err(Fault::dead_letter(
                "unexpected_record",
                format!("`{}` has no business in stripe.inbox: append it to its own topic", other.name()),
            )),
        }
    }

    fn next_deadline(&self, state: &dyn State) -> Result<Option<Timestamp>, StateError> {
        held::next_deadline(state)
    }
}

fn take(event: &StripeEvent, context: &mut Context<'_>) -> Result<(), Fault> {
    seen::prune(context)?;
    if seen::arrival(&context.state, event)? == Arrival::Repeat {
        return Ok(());
    }
    seen::remember(context, event)?;
    let reading = kinds::reading(&event.event_type)?;
    if reading != Reading::Money {
        count(context, &event.event_type)?;
    }
    if reading == Reading::Nothing {
        return Ok(());
    }
    let said = Said::read(event)?;
    let mut family = family::load(&context.state, &event.family)?;
    let learnt = said.owner.map_or(Ok(false), |owner| family.learn(owner))?;
    let paid_before = family.paid;
    let origin = Origin { offset: letter::offset(context), event };
    if !said.claims.is_empty() {
        match family.ready(&said.claims) {
            Some(owner) => booked::book(context, &mut family, owner, &origin, &said.claims)?,
            None => held::hold(context, &mut family, event)?,
        }
    }
    if learnt || family.paid != paid_before {
        held::release(context, &event.family, &mut family)?;
    }
    family::store(context, &event.family, &family)
}

fn count(context: &mut Context<'_>, event_type: &str) -> Result<(), StateError> {
    let count = COUNTS.get(&context.state, event_type)?.unwrap_or(0);
    COUNTS.put(&mut context.state, event_type, &count.saturating_add(1))
}

/// What one event says.
struct Said {
    claims: Vec<Claim>,
    owner: Option<Owner>,
}

impl Said {
    fn read(event: &StripeEvent) -> Result<Self, Fault> {
        let root: Value = serde_json::from_str(&event.payload).map_err(|error| {
            Fault::dead_letter("malformed_event", format!("the payload is not JSON: {error}"))
        })?;
        let object = root.pointer("/data/object").unwrap_or(&Value::Null);
        let object = Object::new(object, "data.object")?;
        let claims = match kinds::reading(&event.event_type)? {
            Reading::Money => claims::read(&event.event_type, &object)?,
            Reading::Owner | Reading::Nothing => Vec::new(),
        };
        Ok(Self { claims, owner: owner::named(&object, event.livemode)? })
    }
}

#[cfg(test)]
mod tests;
