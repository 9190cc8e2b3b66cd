//! Stripe: objects with lifecycles, and events about them that arrive out of order and more than once, as Stripe's do
//! (<https://docs.stripe.com/webhooks#event-ordering>). An event is sent until it is acknowledged.

use serde_json::{Value, json};
use streambook_connectors::stripe::event::{Parsed, parse};
use streambook_model::{
    bytes::ContentHash,
    id::{MerchantId, PaymentId},
    message::Message,
    records::payment::{Payment, PaymentMethod},
    topics,
};

use crate::{
    chain::seconds,
    machine::{Machine, Weather},
    mutation::Mutation,
    violation::{Check, Violation},
};

/// How a dispute stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Not decided.
    Open,
    /// The merchant has the money back.
    Won,
    /// It has not.
    Lost,
}

/// A charge that succeeded.
#[derive(Debug, Clone)]
pub struct Charge {
    /// What was captured.
    pub gross: i64,
    /// Stripe's fee.
    pub fee: i64,
    /// When, in seconds since 1970.
    pub created: u64,
}

/// A refund.
#[derive(Debug, Clone)]
pub struct CardRefund {
    /// Stripe's id.
    pub id: String,
    /// How much.
    pub amount: i64,
    /// It failed after it had succeeded.
    pub failed: bool,
}

/// A dispute of the whole charge.
#[derive(Debug, Clone)]
pub struct Dispute {
    /// How it stands.
    pub verdict: Verdict,
    /// Stripe's fee for it.
    pub fee: i64,
}

/// The Stripe objects of one payment.
#[derive(Debug, Clone)]
pub struct Card {
    /// The payment.
    pub payment: PaymentId,
    merchant: MerchantId,
    livemode: bool,
    number: usize,
    currency: String,
    /// The charge, once there is one.
    pub charge: Option<Charge>,
    /// The refunds.
    pub refunds: Vec<CardRefund>,
    /// The dispute.
    pub dispute: Option<Dispute>,
    /// The intent was canceled.
    pub canceled: bool,
}

struct Event {
    body: String,
    /// The position at which it was appended.
    position: Option<u64>,
    acknowledged: bool,
}

/// All of Stripe.
#[derive(Default)]
pub struct Cards {
    /// The payments by card.
    pub cards: Vec<Card>,
    events: Vec<Event>,
}

impl Cards {
    /// Merchants make intents for payments they were told of.
    pub fn follow(&mut self, payments: &[Payment]) {
        for payment in payments.iter().filter(|payment| payment.method == PaymentMethod::Card) {
            if self.cards.iter().any(|card| card.payment == payment.id) {
                continue;
            }
            self.cards.push(Card {
                payment: payment.id,
                merchant: payment.merchant,
                livemode: payment.livemode,
                number: self.cards.len(),
                currency: payment.asset.as_str().to_owned(),
                charge: None,
                refunds: Vec::new(),
                dispute: None,
                canceled: false,
            });
        }
    }

    /// Something happens to one of the payments.
    pub fn happen(&mut self, payments: &[Payment], machine: &mut Machine) {
        let index = machine.random.index(self.cards.len());
        let Some(card) = self.cards.get(index) else { return };
        match (&card.charge, card.canceled) {
            (None, false) if machine.random.chance(75) => {
                let asked = payments.iter().find(|payment| payment.id == card.payment);
                let asked = asked.and_then(|payment| i64::try_from(payment.amount.units()).ok()).unwrap_or(1);
                self.charge(index, asked, machine);
            }
            (None, false) => self.cancel(index, machine),
            (Some(_), _) => self.after_the_charge(index, machine),
            (None, true) => {}
        }
    }

    fn charge(&mut self, index: usize, asked: i64, machine: &mut Machine) {
        let gross = match machine.random.below(10) {
            0 => (asked / 2).max(1),
            1 => asked + 5,
            _ => asked,
        };
        let created = seconds(machine.now());
        let fee = gross * 29 / 1_000 + 1;
        let Some(card) = self.cards.get_mut(index) else { return };
        card.charge = Some(Charge { gross, fee, created });
        let (plain, settled) = (card.charge_object(None), card.charge_object(Some(fee)));
        let intent = card.intent_object("succeeded");
        let later = created + machine.random.below(90);
        self.emit(index, "payment_intent.succeeded", &intent, created);
        self.emit(index, "charge.succeeded", &plain, created);
        self.emit(index, "charge.updated", &settled, later);
    }

    fn cancel(&mut self, index: usize, machine: &Machine) {
        let Some(card) = self.cards.get_mut(index) else { return };
        card.canceled = true;
        let intent = card.intent_object("canceled");
        let failed = card.intent_object("requires_payment_method");
        let now = seconds(machine.now());
        self.emit(index, "payment_intent.payment_failed", &failed, now);
        self.emit(index, "payment_intent.canceled", &intent, now);
    }

    fn after_the_charge(&mut self, index: usize, machine: &mut Machine) {
        let now = seconds(machine.now());
        let Some(card) = self.cards.get_mut(index) else { return };
        match machine.random.below(6) {
            0 => {
                let units = machine.random.between(1, 400);
                if self.refund(index, i64::try_from(units).unwrap_or(1), now).is_some() {
                    machine.faults.count("card refund");
                }
            }
            1 => {
                let refund = card.refunds.iter_mut().find(|refund| !refund.failed);
                let Some(refund) = refund else { return };
                refund.failed = true;
                let refund = refund.clone();
                let object = card.refund_object(&refund, "failed");
                machine.faults.count("card refund failed");
                self.emit(index, "refund.failed", &object, now);
            }
            2 if card.dispute.is_none() => {
                card.dispute = Some(Dispute { verdict: Verdict::Open, fee: 1_500 });
                let object = card.dispute_object("needs_response");
                machine.faults.count("dispute opened");
                self.emit(index, "charge.dispute.created", &object, now);
                self.emit(index, "charge.dispute.funds_withdrawn", &object, now);
            }
            3 => {
                let Some(dispute) = card.dispute.as_mut().filter(|dispute| dispute.verdict == Verdict::Open)
                else {
                    return;
                };
                let won = machine.random.chance(50);
                dispute.verdict = if won { Verdict::Won } else { Verdict::Lost };
                let object = card.dispute_object(if won { "won" } else { "lost" });
                machine.faults.count(if won { "dispute won" } else { "dispute lost" });
                self.emit(index, "charge.dispute.closed", &object, now);
            }
            _ => {}
        }
    }

    /// The merchant refunds at Stripe, and will record it under the id that this gives.
    pub fn refund_by_merchant(
        &mut self,
        payment: PaymentId,
        units: i128,
        machine: &Machine,
    ) -> Option<String> {
        let index = self.cards.iter().position(|card| card.payment == payment)?;
        self.refund(index, i64::try_from(units).ok()?, seconds(machine.now()))
    }

    fn refund(&mut self, index: usize, amount: i64, now: u64) -> Option<String> {
        let card = self.cards.get_mut(index)?;
        let taken: i64 = card.refunds.iter().map(|refund| refund.amount).sum();
        if taken + amount > card.charge.as_ref()?.gross || card.dispute.is_some() {
            return None;
        }
        let id = format!("re_{}_{}", card.number, card.refunds.len());
        let refund = CardRefund { id: id.clone(), amount, failed: false };
        card.refunds.push(refund.clone());
        let object = card.refund_object(&refund, "succeeded");
        let charge = card.charge_object(card.charge.as_ref().map(|charge| charge.fee));
        self.emit(index, "refund.created", &object, now);
        self.emit(index, "charge.refunded", &charge, now);
        Some(id)
    }

    fn emit(&mut self, index: usize, event_type: &str, object: &Value, created: u64) {
        let livemode = self.cards.get(index).is_some_and(|card| card.livemode);
        let id = format!("evt_{}", self.events.len());
        let body = json!({"id": id, "object": "event", "type": event_type, "livemode": livemode, "created": created,
                          "data": {"object": object}});
        self.events.push(Event { body: body.to_string(), position: None, acknowledged: false });
    }

    /// Stripe delivers one event, in any order, perhaps one it has delivered before.
    pub fn deliver(&mut self, machine: &mut Machine) -> Check {
        let again = machine.weather == Weather::Stormy && machine.random.chance(20);
        let open = |event: &Event| !event.acknowledged && event.position.is_none();
        let ready: Vec<_> = (0..self.events.len())
            .filter(|index| self.events.get(*index).is_some_and(|event| again || open(event)))
            .collect();
        let Some(index) = machine.random.pick(&ready).copied() else { return Ok(()) };
        let Some(event) = self.events.get_mut(index) else { return Ok(()) };
        machine.faults.count(if event.position.is_some() { "Stripe event repeated" } else { "Stripe event" });
        let parsed = parse(event.body.as_bytes(), machine.now());
        let parsed = parsed.map_err(|error| Violation::new("simulator", format!("{error:?}")))?;
        let Parsed::Known(known) = parsed else { return Ok(()) };
        let key = known.family.clone();
        let record = Message::from(*known);
        event.position = Some(machine.append(topics::STRIPE_INBOX, &key, &record)?);
        if let Message::StripeEvent(mut other) = record
            && machine.fault("conflicting Stripe event", 4)
        {
            other.content_hash = ContentHash::ZERO;
            machine.append(topics::STRIPE_INBOX, &key, &Message::from(other))?;
        }
        if machine.has(Mutation::AcknowledgeStripeBeforeSync) {
            event.acknowledged = true;
        }
        Ok(())
    }

    /// Stripe hears of what survives a crash, and sends again what it heard nothing of.
    pub fn hear(&mut self, machine: &Machine) {
        let disk = machine.disk.lock();
        for event in &mut self.events {
            event.acknowledged |= event.position.is_some_and(|position| disk.is_synced(position));
        }
    }

    /// The machine stopped: requests that were not answered have failed.
    pub fn crash(&mut self) {
        for event in self.events.iter_mut().filter(|event| !event.acknowledged) {
            event.position = None;
        }
    }

    /// Whether every event was acknowledged.
    pub fn are_heard(&self) -> bool {
        self.events.iter().all(|event| event.acknowledged)
    }
}

impl Card {
    fn metadata(&self) -> Value {
        json!({"streambook_merchant": self.merchant.to_string(), "streambook_payment": self.payment.to_string()})
    }

    fn intent_id(&self) -> String {
        format!("pi_{}", self.number)
    }

    fn intent_object(&self, status: &str) -> Value {
        let gross = self.charge.as_ref().map_or(0, |charge| charge.gross);
        json!({"id": self.intent_id(), "object": "payment_intent", "status": status, "amount": gross.max(1),
               "amount_received": gross, "currency": self.currency, "metadata": self.metadata(),
               "latest_charge": self.charge.as_ref().map(|_| format!("ch_{}", self.number)),
               "cancellation_reason": "abandoned"})
    }

    fn charge_object(&self, fee: Option<i64>) -> Value {
        let (gross, created) = self.charge.as_ref().map_or((0, 0), |charge| (charge.gross, charge.created));
        let id = format!("txn_{}", self.number);
        let transaction = match fee {
            Some(fee) => self.transaction(&id, gross, fee),
            None => json!(id),
        };
        let refunds: Vec<_> =
            self.refunds.iter().map(|refund| self.refund_object(refund, refund.status())).collect();
        json!({"id": format!("ch_{}", self.number), "object": "charge", "status": "succeeded", "captured": true,
               "amount": gross, "amount_captured": gross, "currency": self.currency, "created": created,
               "payment_intent": self.intent_id(), "balance_transaction": transaction, "metadata": self.metadata(),
               "refunds": {"object": "list", "data": refunds}})
    }

    fn refund_object(&self, refund: &CardRefund, status: &str) -> Value {
        json!({"id": refund.id, "object": "refund", "status": status, "amount": refund.amount,
               "currency": self.currency, "charge": format!("ch_{}", self.number),
               "payment_intent": self.intent_id(), "balance_transaction": format!("txn_{}", refund.id)})
    }

    fn dispute_object(&self, status: &str) -> Value {
        let gross = self.charge.as_ref().map_or(0, |charge| charge.gross);
        let (fee, verdict) =
            self.dispute.as_ref().map_or((0, Verdict::Open), |dispute| (dispute.fee, dispute.verdict));
        let mut moved = vec![self.transaction(&format!("txn_dp_{}", self.number), -gross, fee)];
        if verdict == Verdict::Won {
            moved.push(self.transaction(&format!("txn_dw_{}", self.number), gross, 0));
        }
        json!({"id": format!("dp_{}", self.number), "object": "dispute", "status": status, "amount": gross,
               "currency": self.currency, "charge": format!("ch_{}", self.number),
               "payment_intent": self.intent_id(), "reason": "fraudulent", "balance_transactions": moved})
    }

    fn transaction(&self, id: &str, amount: i64, fee: i64) -> Value {
        json!({"id": id, "object": "balance_transaction", "amount": amount, "fee": fee, "net": amount - fee,
               "currency": self.currency})
    }
}

impl CardRefund {
    const fn status(&self) -> &'static str {
        if self.failed { "failed" } else { "succeeded" }
    }
}
