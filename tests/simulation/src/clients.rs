//! The merchants and the API instances in front of them: commands with idempotency keys, repeated with the same and with
//! other bodies, retried when no answer comes. An answer is given once it is synced, and never taken back.

use std::collections::BTreeMap;

use bytes::Bytes;
use sha2::{Digest, Sha256};
use streambook_log::partitioner::partition_of;
use streambook_model::{
    bytes::{Address, ContentHash, TxHash},
    codec,
    id::{MerchantId, PaymentId, RefundId, RequestId},
    message::Message,
    metadata::Metadata,
    money::Amount,
    position::{Partition, TopicPartition},
    records::{
        book::{
            AcceptPayment, Caller, CancelPayment, ClaimPayment, CreatePayment, CreateRefund, Idempotency,
            ReplyTo,
        },
        payment::{Matching, Payment, PaymentMethod},
    },
    topics,
};

use crate::{
    cards::Cards,
    chain::{Chain, Target},
    machine::{Machine, Weather},
    mutation::Mutation,
    operator::asset_of,
    violation::{Check, Violation},
    wallet,
};

/// API instances.
const INSTANCES: u16 = 3;
/// How long a client waits for an answer, in milliseconds, before it asks again.
const PATIENCE_MS: i64 = 5_000;

/// Payments that can be paid at a time.
const TARGETS: usize = 40;

/// What a client wants.
#[derive(Debug, Clone)]
enum Body {
    Create {
        amount: Amount,
        asset: String,
        method: PaymentMethod,
        expires: u32,
        matching: Option<Matching>,
        payer: Option<Address>,
    },
    Claim {
        payment: PaymentId,
        tx_hash: TxHash,
    },
    Cancel(PaymentId),
    Accept(PaymentId),
    Refund {
        payment: PaymentId,
        amount: Option<Amount>,
        destination: Option<String>,
        reference: Option<String>,
    },
}

/// One request of a client.
#[derive(Debug, Clone)]
struct Request {
    merchant: MerchantId,
    livemode: bool,
    key: Option<String>,
    body: Body,
    instance: u16,
    record: Option<Message>,
    sent_ms: i64,
    answered: bool,
}

/// The clients, and what they were told.
#[derive(Default)]
pub struct Clients {
    requests: Vec<Request>,
    by_id: BTreeMap<RequestId, usize>,
    /// Every answer that a client was given.
    pub acknowledged: BTreeMap<RequestId, Bytes>,
    cursors: BTreeMap<u16, u64>,
    /// Commands that a slow instance has not appended yet: the key and the record.
    delayed: Vec<(String, Message)>,
    /// How often more each instance that is stuck does not read its answers.
    stuck: BTreeMap<u16, u64>,
    /// Every payment that a client was told of.
    pub payments: Vec<Payment>,
}

impl Clients {
    /// Some client does something.
    pub fn act(
        &mut self,
        merchants: &[MerchantId],
        chains: &[Chain],
        cards: &mut Cards,
        machine: &mut Machine,
    ) -> Check {
        let Some(merchant) = machine.random.pick(merchants).copied() else { return Ok(()) };
        let request = match machine.random.below(20) {
            0 | 1 => self.again(machine),
            2 => self.other_body(machine),
            _ => self.something_new(merchant, chains, cards, machine)?,
        };
        let Some(request) = request else { return Ok(()) };
        self.requests.push(request);
        self.send(self.requests.len() - 1, machine)
    }

    fn something_new(
        &self,
        merchant: MerchantId,
        chains: &[Chain],
        cards: &mut Cards,
        machine: &mut Machine,
    ) -> Result<Option<Request>, Violation> {
        let payment = machine.random.pick(&self.payments).cloned();
        let (body, livemode) = match (machine.random.below(10), payment) {
            (0..=4, _) | (_, None) => (Self::create(chains, machine)?, machine.random.chance(20)),
            (5, Some(payment)) => (Body::Cancel(payment.id), payment.livemode),
            (6 | 7, Some(payment)) if payment.reserved_until.is_some() => {
                let tx_hash = claimed(&payment, chains, machine);
                (Body::Claim { payment: payment.id, tx_hash }, payment.livemode)
            }
            (6 | 7, Some(payment)) => (Body::Accept(payment.id), payment.livemode),
            (_, Some(payment)) => (Self::refund(&payment, cards, machine)?, payment.livemode),
        };
        let of =
            |id: PaymentId| self.payments.iter().find(|payment| payment.id == id).map(|found| found.merchant);
        let owner = match &body {
            Body::Cancel(id)
            | Body::Accept(id)
            | Body::Claim { payment: id, .. }
            | Body::Refund { payment: id, .. } => of(*id),
            Body::Create { .. } => None,
        };
        // Now and then somebody asks for what is another's.
        let merchant = owner.filter(|_| machine.random.chance(96)).unwrap_or(merchant);
        let key = machine.random.chance(60).then(|| format!("key-{}", machine.random.below(100_000)));
        let instance = u16::try_from(machine.random.below(u64::from(INSTANCES))).unwrap_or(0);
        let (record, sent_ms, answered) = (None, 0, false);
        Ok(Some(Request { merchant, livemode, key, body, instance, record, sent_ms, answered }))
    }

    fn create(chains: &[Chain], machine: &mut Machine) -> Result<Body, Violation> {
        let expires = u32::try_from(machine.random.between(60, 400)).unwrap_or(60);
        if machine.random.chance(30) || chains.is_empty() {
            let units = i128::from(machine.random.between(50, 20_000));
            let asset = if machine.random.chance(80) { "usd" } else { "jpy" };
            return Ok(Body::Create {
                amount: amount(units)?,
                asset: asset.into(),
                method: PaymentMethod::Card,
                expires,
                matching: None,
                payer: None,
            });
        }
        let units = [1_000, 999, 20_001, 123_456_789].get(machine.random.index(4)).copied().unwrap_or(1_000);
        let chain = machine.random.pick(chains);
        let asset = chain.map_or_else(String::new, asset_of);
        let asset = if machine.random.chance(3) { "doge:7".to_owned() } else { asset };
        let matching = machine.random.chance(50).then_some(Matching::ExactAmount);
        // Short and of few prices, so that an amount is given again within the run.
        let exact = matching.is_some() && machine.random.chance(90);
        let (units, expires) = if exact { (1_000, 60) } else { (units, expires) };
        // Most payments are paid by the first of them.
        let payer = if machine.random.chance(80) { 0x11 } else { 0x22 };
        let payer = Address::new(alloy_primitives::Address::with_last_byte(payer).into_array());
        let payer = Some(payer).filter(|_| matching.is_some() && machine.random.chance(60));
        let (amount, method) = (amount(units)?, PaymentMethod::Chain);
        Ok(Body::Create { amount, asset, method, expires, matching, payer })
    }

    fn refund(payment: &Payment, cards: &mut Cards, machine: &mut Machine) -> Result<Body, Violation> {
        let part = amount((payment.amount.units() / 3).max(1))?;
        let wanted = [None, Some(part), Some(payment.amount), Some(amount(1)?)];
        let mut asked = wanted.get(machine.random.index(4)).copied().flatten();
        let (mut destination, mut reference) = (None, None);
        if payment.method == PaymentMethod::Chain {
            let address = Address::new([0x99; 20]).to_checksum();
            destination = machine.random.chance(92).then_some(address);
        } else {
            // The merchant refunds at Stripe and records that here; Stripe reports it too.
            let units = asked.unwrap_or(part);
            let made = cards.refund_by_merchant(payment.id, units.units(), machine);
            asked = asked.or(made.is_some().then_some(units));
            reference = made
                .or_else(|| machine.random.chance(80).then(|| format!("re_none{}", machine.random.below(9))));
        }
        Ok(Body::Refund { payment: payment.id, amount: asked, destination, reference })
    }

    /// The same request again, under its key.
    fn again(&self, machine: &mut Machine) -> Option<Request> {
        let request = machine.random.pick(&self.requests).filter(|request| request.key.is_some())?.clone();
        machine.faults.count("request repeated");
        Some(Request { record: None, answered: false, ..request })
    }

    /// Another request under a key that was used.
    fn other_body(&self, machine: &mut Machine) -> Option<Request> {
        let mut request = self.again(machine)?;
        if let Body::Create { expires, .. } = &mut request.body {
            *expires += 1;
            machine.faults.count("key reused for another request");
        }
        Some(request)
    }

    fn send(&mut self, index: usize, machine: &mut Machine) -> Check {
        let Some(request) = self.requests.get_mut(index) else { return Ok(()) };
        // Without a key only the very same record is safe to send again.
        let anew = request.record.is_none() || (request.key.is_some() && machine.random.chance(50));
        if anew {
            let id = RequestId::from_bits(machine.random.id());
            request.record = Some(request.record(id, machine)?);
            self.by_id.insert(id, index);
        }
        request.sent_ms = machine.now().millis();
        let Some(record) = &request.record else { return Ok(()) };
        let key = request.merchant.to_string();
        if machine.fault("command delayed", 6) {
            self.delayed.push((key, record.clone()));
            return Ok(());
        }
        machine.append(topics::BOOK_INBOX, &key, record)?;
        if machine.fault("command appended twice", 5) {
            machine.append(topics::BOOK_INBOX, &key, record)?;
        }
        Ok(())
    }

    /// Appends some of the commands that were held up, in any order. What was appended meanwhile is not late, they are.
    pub fn send_delayed(&mut self, most: usize, machine: &mut Machine) -> Check {
        for _ in 0..most.min(self.delayed.len()) {
            let (key, record) = self.delayed.swap_remove(machine.random.index(self.delayed.len()));
            machine.append(topics::BOOK_INBOX, &key, &record)?;
        }
        Ok(())
    }

    /// The machine stopped, and with it its API instances: what they had not appended is gone.
    pub fn crash(&mut self) {
        self.delayed.clear();
        self.stuck.clear();
    }

    /// Sends again what was not answered. Says whether there was any.
    pub fn retry(&mut self, machine: &mut Machine) -> Result<bool, Violation> {
        let now = machine.now().millis();
        let waiting = |request: &Request| !request.answered && now - request.sent_ms > PATIENCE_MS;
        let due: Vec<_> = self
            .requests
            .iter()
            .enumerate()
            .filter(|(_, request)| waiting(request))
            .map(|(index, _)| index)
            .collect();
        for index in &due {
            machine.faults.count("request retried");
            self.send(*index, machine)?;
        }
        Ok(!due.is_empty())
    }

    /// Whether every request was answered.
    pub fn are_answered(&self) -> bool {
        self.requests.iter().all(|request| request.answered)
    }

    /// The API instances read the answers that survive a crash, and tell the clients.
    pub fn listen(&mut self, machine: &mut Machine) {
        for instance in 0..INSTANCES {
            if self.is_stuck(instance, machine) {
                continue;
            }
            let partition = TopicPartition::new(topics::API_REPLIES.topic(), Partition(instance));
            let disk = machine.disk.lock();
            let safe = disk.synced_end(&partition);
            let end = if machine.has(Mutation::AcknowledgeBeforeSync) { disk.end(&partition) } else { safe };
            let cursor = self.cursors.entry(instance).or_default();
            *cursor = (*cursor).min(end);
            let limit = usize::try_from(end - *cursor).unwrap_or(0);
            let records = disk.read(&partition, *cursor, limit);
            *cursor = end;
            drop(disk);
            for record in records {
                self.hear(&record.value);
            }
        }
    }

    fn is_stuck(&mut self, instance: u16, machine: &mut Machine) -> bool {
        if machine.weather == Weather::Calm {
            return false;
        }
        let times = self.stuck.entry(instance).or_default();
        if *times == 0 && machine.fault("API instance stuck", 3) {
            *times = machine.random.between(2, 12);
        }
        *times = times.saturating_sub(1);
        *times > 0
    }

    fn hear(&mut self, value: &Bytes) {
        let Ok(Message::CommandReply(reply)) = codec::decode(value) else { return };
        let index = self.by_id.get(&reply.request);
        let Some(request) = index.and_then(|index| self.requests.get_mut(*index)) else { return };
        request.answered = true;
        self.acknowledged.entry(reply.request).or_insert_with(|| value.clone());
        if let Some(payment) = reply.payment
            && self.payments.iter().all(|known| known.id != payment.id)
        {
            self.payments.push(payment);
        }
    }

    /// Where money can be sent to on a chain: the deposit addresses of payments, and one that is not given out yet.
    pub fn targets(&self, chain: &Chain, merchants: &[MerchantId], machine: &mut Machine) -> Vec<Target> {
        let of_chain =
            self.payments.iter().rev().filter(|payment| payment.chain == Some(chain.id)).take(TARGETS);
        let mut targets: Vec<_> = of_chain
            .filter_map(|payment| {
                let address = payment.deposit_address?.as_bytes().into();
                let (amount, deadline) = (payment.amount.units(), payment.expires_at);
                let shared = payment.reserved_until.is_some();
                Some(Target { address, amount, deadline, early: false, shared })
            })
            .collect();
        // Somebody guesses an amount that a later payment will have: its time begins a minute before it is made.
        let shared = |target: &&Target| target.shared;
        let guessed = targets.iter().find(shared).copied().filter(|_| machine.random.chance(60));
        let amount = 1_001 + i128::from(machine.random.below(3));
        targets.extend(guessed.map(|target| Target { amount, ..target }));
        if machine.weather == Weather::Stormy && machine.random.chance(25) {
            targets
                .extend(machine.random.pick(merchants).and_then(|merchant| self.early(*merchant, machine)));
        }
        targets
    }

    fn early(&self, merchant: MerchantId, machine: &Machine) -> Option<Target> {
        let Partition(partition) =
            partition_of(merchant.to_string().as_bytes(), topics::BOOK_INBOX.partitions);
        let given = self.payments.iter().filter_map(|payment| {
            let (of, counter) = payment.derivation_path.as_deref()?.split_once('/')?;
            (of == partition.to_string()).then(|| counter.parse::<u32>().ok())?
        });
        let next = given.max().map_or(0, |highest| highest + 1);
        let address = wallet::address(partition, next)?;
        let deadline = machine.now();
        Some(Target {
            address: address.as_bytes().into(),
            amount: 1_000,
            deadline,
            early: true,
            shared: false,
        })
    }
}

impl Request {
    fn record(&self, id: RequestId, machine: &mut Machine) -> Result<Message, Violation> {
        let meta = machine.meta(id.to_string());
        let idempotency = self.key.clone().map(|key| Idempotency { key, request_hash: self.hash() });
        let reply = ReplyTo { partition: self.instance, request: id };
        let caller = Caller { merchant: self.merchant, livemode: self.livemode, reply, idempotency };
        Ok(match self.body.clone() {
            Body::Create { amount, asset, method, expires, matching, payer } => {
                Message::from(CreatePayment {
                    meta,
                    caller,
                    payment: PaymentId::from_bits(machine.random.id()),
                    amount,
                    asset: asset.parse().map_err(|_| Violation::new("simulator", asset))?,
                    method,
                    reference_id: None,
                    description: None,
                    metadata: Metadata::default(),
                    expires_in_seconds: expires,
                    matching,
                    payer,
                })
            }
            Body::Cancel(payment) => CancelPayment { meta, caller, payment }.into(),
            Body::Claim { payment, tx_hash } => ClaimPayment { meta, caller, payment, tx_hash }.into(),
            Body::Accept(payment) => AcceptPayment { meta, caller, payment }.into(),
            Body::Refund { payment, amount, destination, reference } => {
                let refund = RefundId::from_bits(machine.random.id());
                CreateRefund { meta, caller, refund, payment, amount, destination, reference, reason: None }
                    .into()
            }
        })
    }

    fn hash(&self) -> ContentHash {
        ContentHash::new(Sha256::digest(format!("{:?}", self.body)).into())
    }
}

/// A transaction that somebody says has paid a payment: one of the last that sent something to its address, or one that there
/// is not.
fn claimed(payment: &Payment, chains: &[Chain], machine: &mut Machine) -> TxHash {
    let address = payment.deposit_address.map(|address| *address.as_bytes());
    let chain = chains.iter().find(|chain| Some(chain.id) == payment.chain);
    let sent = chain.map(|chain| chain.sent_to(address.unwrap_or_default())).unwrap_or_default();
    let known = machine.random.pick(&sent).copied().filter(|_| machine.random.chance(85));
    TxHash::new(known.unwrap_or([0xcd; 32]))
}

/// An amount of so many units.
pub fn amount(units: i128) -> Result<Amount, Violation> {
    Amount::new(units).map_err(|error| Violation::new("simulator", error.to_string()))
}
