//! Stand-ins for the registry and the book: they accept every command in the order of its inbox and answer as the real ones
//! do, with what follows from it first and its reply last.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use streambook_log::{Log, Offset, Partition, ReadLimit, TopicPartition, Visibility};
use streambook_model::{
    bytes::Address,
    codec,
    id::{Id, MerchantId},
    message::Message,
    meta::{Cause, Meta},
    money::Amount,
    records::{
        book::{Caller, CreatePayment, CreateRefund, ReplyTo},
        payment::{
            ClaimStatus, Payment, PaymentClaim, PaymentEvent, PaymentEventType, PaymentMethod, PaymentStatus,
            Refund,
        },
        registry::{ApiKeyChanged, EndpointChanged, MerchantChanged},
        reply::{CommandOutcome, CommandReply, Problem},
    },
    time::Timestamp,
    topics::{API_REPLIES, BOOK_INBOX, PAYMENTS_EVENTS, REGISTRY_EVENTS, REGISTRY_INBOX},
};
use streambook_runtime::publisher::Publisher;

use crate::position::shard;

pub(super) const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

pub(super) fn meta(cause: Option<Cause>) -> Meta {
    Meta { source: None, id: "test".into(), occurred_at: NOW, recorded_at: NOW, cause, trace: None }
}

/// A processor's stand-in at one partition.
pub(super) struct Processor {
    log: Arc<dyn Log>,
    publisher: Publisher,
    /// While set, commands are left unanswered.
    silent: Arc<AtomicBool>,
    answered: BTreeMap<String, (Vec<u8>, Payment)>,
}

impl Processor {
    pub(super) fn new(log: &Arc<dyn Log>, silent: &Arc<AtomicBool>) -> Self {
        let publisher = Publisher::new(Arc::clone(log));
        Self { log: Arc::clone(log), publisher, silent: Arc::clone(silent), answered: BTreeMap::new() }
    }

    pub(super) async fn run_registry(self) {
        self.run(TopicPartition::new(REGISTRY_INBOX.topic(), Partition(0))).await;
    }

    pub(super) async fn run_book(self, merchant: MerchantId) {
        self.run(TopicPartition::new(BOOK_INBOX.topic(), shard(merchant))).await;
    }

    async fn run(mut self, inbox: TopicPartition) {
        let mut next = Offset(0);
        loop {
            self.log.wait(&inbox, next, Visibility::Written).await.unwrap();
            for record in
                self.log.read(&inbox, next, ReadLimit::default(), Visibility::Written).await.unwrap()
            {
                let cause = Cause { partition: inbox.partition.0, offset: record.offset.0 };
                next = record.offset.plus(1);
                if !self.silent.load(Ordering::SeqCst) {
                    self.process(codec::decode(&record.value).unwrap(), cause).await;
                }
            }
        }
    }

    async fn process(&mut self, message: Message, cause: Cause) {
        match message {
            Message::PutMerchant(put) => {
                let changed = MerchantChanged { meta: meta(Some(cause)), merchant: put.merchant.clone() };
                self.publisher.publish(REGISTRY_EVENTS, b"", changed).await.unwrap();
                let to = put.administrator.reply.unwrap();
                self.reply(to, CommandReply { merchant: Some(put.merchant), ..accepted(to) }).await;
            }
            Message::PutApiKey(put) => {
                let changed = ApiKeyChanged { meta: meta(Some(cause)), api_key: put.api_key.clone() };
                self.publisher.publish(REGISTRY_EVENTS, b"", changed).await.unwrap();
                let to = put.administrator.reply.unwrap();
                self.reply(to, CommandReply { api_key: Some(put.api_key), ..accepted(to) }).await;
            }
            Message::PutEndpoint(put) => {
                let changed = EndpointChanged { meta: meta(Some(cause)), endpoint: put.endpoint.clone() };
                self.publisher.publish(REGISTRY_EVENTS, b"", changed).await.unwrap();
                let to = put.administrator.reply.unwrap();
                self.reply(to, CommandReply { endpoint: Some(put.endpoint), ..accepted(to) }).await;
            }
            Message::CreatePayment(command) => self.create(command, cause).await,
            Message::CreateRefund(command) => self.refund(command, cause).await,
            Message::CancelPayment(command) => self.reject(&command.caller).await,
            Message::ClaimPayment(command) => {
                let to = command.caller.reply;
                let mut claimed = payment(&create_of(&command.caller, command.payment));
                let (tx_hash, status) = (command.tx_hash, ClaimStatus::Waiting);
                claimed.claims = vec![PaymentClaim { tx_hash, status, reason: None }];
                self.reply(to, CommandReply { payment: Some(claimed), ..accepted(to) }).await;
            }
            other => panic!("no stand-in for {}", other.name()),
        }
    }

    async fn create(&mut self, command: CreatePayment, cause: Cause) {
        let to = command.caller.reply;
        if let Some(idempotency) = &command.caller.idempotency {
            let hash = idempotency.request_hash.as_bytes().to_vec();
            if let Some((known, payment)) = self.answered.get(&idempotency.key) {
                let outcome = CommandOutcome::Replayed;
                let replayed = CommandReply { outcome, payment: Some(payment.clone()), ..accepted(to) };
                match *known == hash {
                    true => self.reply(to, replayed).await,
                    false => self.reject(&command.caller).await,
                }
                return;
            }
            self.answered.insert(idempotency.key.clone(), (hash, payment(&command)));
        }
        let payment = payment(&command);
        self.say(PaymentEventType::Created, payment.clone(), None, cause).await;
        self.reply(to, CommandReply { payment: Some(payment), ..accepted(to) }).await;
    }

    async fn refund(&mut self, command: CreateRefund, cause: Cause) {
        let refund = Refund {
            id: command.refund,
            payment: command.payment,
            merchant: command.caller.merchant,
            livemode: command.caller.livemode,
            asset: "usdc:31337".parse().unwrap(),
            scale: 6,
            amount: command.amount.unwrap(),
            destination: command.destination,
            reference: command.reference,
            reason: command.reason,
            created_at: NOW,
        };
        let create = create_of(&command.caller, command.payment);
        let refunded = Payment { version: 2, amount_refunded: refund.amount, ..payment(&create) };
        self.say(PaymentEventType::Refunded, refunded, Some(refund.clone()), cause).await;
        let to = command.caller.reply;
        self.reply(to, CommandReply { refund: Some(refund), ..accepted(to) }).await;
    }

    async fn say(
        &self,
        event_type: PaymentEventType,
        payment: Payment,
        refund: Option<Refund>,
        cause: Cause,
    ) {
        let event = Id::derive_beside(payment.id.bits(), &[event_type.name().as_bytes()]);
        let key = payment.merchant.to_string();
        let event = PaymentEvent { meta: meta(Some(cause)), event, event_type, payment, refund };
        self.publisher.publish(PAYMENTS_EVENTS, key.as_bytes(), event).await.unwrap();
    }

    async fn reject(&self, caller: &Caller) {
        let problem =
            Problem { code: "not_possible".into(), status: 409, field: None, detail: "not now".into() };
        let outcome = CommandOutcome::Rejected;
        self.reply(caller.reply, CommandReply { outcome, problem: Some(problem), ..accepted(caller.reply) })
            .await;
    }

    async fn reply(&self, to: ReplyTo, reply: CommandReply) {
        let partition = TopicPartition::new(API_REPLIES.topic(), Partition(to.partition));
        self.publisher.publish_to(&partition, b"", &reply.into()).await.unwrap();
    }
}

fn accepted(to: ReplyTo) -> CommandReply {
    CommandReply {
        meta: meta(None),
        request: to.request,
        outcome: CommandOutcome::Accepted,
        problem: None,
        payment: None,
        refund: None,
        merchant: None,
        api_key: None,
        endpoint: None,
    }
}

fn create_of(caller: &Caller, payment: streambook_model::id::PaymentId) -> CreatePayment {
    CreatePayment {
        meta: meta(None),
        caller: caller.clone(),
        payment,
        amount: Amount::new(12_500_000).unwrap(),
        asset: "usdc:31337".parse().unwrap(),
        method: PaymentMethod::Chain,
        reference_id: None,
        description: None,
        metadata: Default::default(),
        expires_in_seconds: 1_800,
        matching: None,
        payer: None,
    }
}

fn payment(command: &CreatePayment) -> Payment {
    Payment {
        id: command.payment,
        merchant: command.caller.merchant,
        livemode: command.caller.livemode,
        version: 1,
        status: PaymentStatus::Pending,
        method: command.method,
        asset: command.asset.clone(),
        scale: 6,
        amount: command.amount,
        amount_received: Amount::ZERO,
        amount_confirmed: Amount::ZERO,
        amount_refunded: Amount::ZERO,
        fee: Amount::ZERO,
        chain: command.asset.chain(),
        token: command.asset.chain().map(|_| Address::new([1; 20])),
        deposit_address: command.asset.chain().map(|_| Address::new([2; 20])),
        derivation_path: None,
        policy: None,
        confirmations: 0,
        reference_id: command.reference_id.clone(),
        description: command.description.clone(),
        metadata: command.metadata.clone(),
        transfers: Vec::new(),
        failure: None,
        created_at: NOW,
        expires_at: NOW.plus_seconds(command.expires_in_seconds),
        completed_at: None,
        price: None,
        tolerance: None,
        matching: command.matching,
        reserved_until: None,
        payer: command.payer,
        claims: Vec::new(),
    }
}
