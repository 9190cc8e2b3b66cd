//! Records as the processors write them, and a feed that gives them offsets and lineage.

use std::collections::BTreeMap;

use streambook_model::{
    bytes::{Address, BlockHash, ContentHash, LineageHash, TxHash},
    chain::{BlockNumber, ChainId, ConfirmationPolicy, Inclusion},
    id::{AttemptId, DeadLetterId, EndpointId, EventId, MerchantId, PaymentId, RefundId, TransactionId},
    message::Message,
    meta::{Cause, Meta, Source},
    metadata::Metadata,
    money::Amount,
    position::{Offset, Partition, TopicPartition},
    records::{
        chain::{ChainStatus, TransferEvent, TransferStatus},
        dead_letter::DeadLetter,
        ledger::{AccountId, Entry, LedgerTransaction},
        payment::{Payment, PaymentEvent, PaymentEventType, PaymentMethod, PaymentStatus, Refund},
        registry::{Endpoint, EndpointChanged, Merchant, MerchantChanged, SealedSecret},
        webhook::{AttemptOutcome, WebhookAttempt},
    },
    time::Timestamp,
    topics::{self, TopicDef},
};
use streambook_runtime::sink::{Batch, Delivered};

pub(super) fn merchant(number: u8) -> MerchantId {
    MerchantId::derive(&[&[number]])
}

pub(super) fn payment_id(number: u64) -> PaymentId {
    PaymentId::derive(&[&number.to_be_bytes()])
}

pub(super) fn amount(units: i128) -> Amount {
    Amount::new(units).unwrap()
}

pub(super) fn meta(id: impl std::fmt::Display, cause: u64) -> Meta {
    Meta {
        source: None,
        id: id.to_string(),
        occurred_at: Timestamp::from_millis(1_000),
        recorded_at: Timestamp::from_millis(1_001),
        cause: Some(Cause { partition: 0, offset: cause }),
        trace: None,
    }
}

pub(super) fn payment(number: u64, owner: MerchantId) -> Payment {
    Payment {
        id: payment_id(number),
        merchant: owner,
        livemode: false,
        version: 1,
        status: PaymentStatus::Pending,
        method: PaymentMethod::Chain,
        asset: "usdc:31337".parse().unwrap(),
        scale: 6,
        amount: amount(12_500_000),
        amount_received: Amount::ZERO,
        amount_confirmed: Amount::ZERO,
        amount_refunded: Amount::ZERO,
        fee: Amount::ZERO,
        chain: Some(ChainId(31_337)),
        token: Some(Address::new([6; 20])),
        deposit_address: Some(Address::new([7; 20])),
        derivation_path: Some(format!("3/{number}")),
        policy: Some(ConfirmationPolicy { depth: Some(3) }),
        confirmations: 0,
        reference_id: Some(format!("ORDER_{number}")),
        description: Some("it's \"quoted\", ünïcode and 100%".to_owned()),
        metadata: Metadata(BTreeMap::from([("cart".to_owned(), "7".to_owned())])),
        transfers: Vec::new(),
        failure: None,
        created_at: Timestamp::from_millis(i64::try_from(number).unwrap() * 1_000),
        expires_at: Timestamp::from_millis(i64::try_from(number).unwrap() * 1_000 + 1_800_000),
        completed_at: None,
        price: None,
        tolerance: None,
        matching: None,
        reserved_until: None,
        payer: None,
        claims: Vec::new(),
    }
}

/// The payment after `version` events, in this status.
pub(super) fn at_version(payment: &Payment, version: u32, status: PaymentStatus) -> Payment {
    Payment { version, status, confirmations: version, ..payment.clone() }
}

pub(super) fn event(payment: &Payment, event_type: PaymentEventType) -> PaymentEvent {
    let event = EventId::derive_beside(payment.id.bits(), &[&payment.version.to_be_bytes()]);
    PaymentEvent { meta: meta(event, 0), event, event_type, payment: payment.clone(), refund: None }
}

pub(super) fn refund(payment: &Payment) -> Refund {
    Refund {
        id: RefundId::derive(&[payment.id.bits()]),
        payment: payment.id,
        merchant: payment.merchant,
        livemode: payment.livemode,
        asset: payment.asset.clone(),
        scale: payment.scale,
        amount: amount(5),
        destination: Some("0xabc".to_owned()),
        reference: None,
        reason: Some("asked for".to_owned()),
        created_at: Timestamp::from_millis(77),
    }
}

pub(super) fn account(owner: MerchantId, name: &str) -> String {
    format!("test/merchant/{owner}/{name}")
}

/// A transaction of one debit and one credit; `balance` is what the debited account has after it.
pub(super) fn transaction(payment: &Payment, sequence: u64, units: i128, balance: i128) -> LedgerTransaction {
    let entry = |name: &str, units: i128, balance: i128| Entry {
        account: AccountId::new(account(payment.merchant, name)),
        asset: payment.asset.clone(),
        amount: amount(units),
        balance: amount(balance),
        version: sequence,
    };
    let transaction = TransactionId::derive(&[payment.merchant.bits(), &sequence.to_be_bytes()]);
    LedgerTransaction {
        meta: meta(transaction, sequence),
        transaction,
        merchant: payment.merchant,
        livemode: payment.livemode,
        sequence,
        template: "transfer.received".to_owned(),
        template_version: 1,
        payment: Some(payment.id),
        refund: None,
        event: format!("31337:{sequence}"),
        reverses: None,
        occurred_at: Timestamp::from_millis(5),
        entries: vec![entry("clearing", units, balance), entry("available", -units, -balance)],
        previous_hash: ContentHash::new([1; 32]),
        hash: ContentHash::new([2; 32]),
    }
}

pub(super) fn endpoint_of(owner: MerchantId) -> Endpoint {
    Endpoint {
        id: EndpointId::derive(&[owner.bits()]),
        merchant: owner,
        livemode: false,
        url: "https://shop.example/hooks".to_owned(),
        events: vec!["*".to_owned()],
        secrets: vec![SealedSecret { nonce: b"nonce".to_vec(), ciphertext: b"sealed-secret".to_vec() }],
        disabled: None,
        created_at: Timestamp::from_millis(3),
        deleted_at: None,
    }
}

pub(super) fn endpoint_changed(endpoint: Endpoint) -> EndpointChanged {
    EndpointChanged { meta: meta(endpoint.id, 2), endpoint }
}

pub(super) fn merchant_changed(id: MerchantId, name: &str) -> MerchantChanged {
    let settlement = "custodial".to_owned();
    let merchant = Merchant {
        id,
        name: name.to_owned(),
        settlement,
        created_at: Timestamp::from_millis(1),
        addresses: Vec::new(),
        tolerance: None,
    };
    MerchantChanged { meta: meta(format!("{id}:{name}"), 1), merchant }
}

pub(super) fn attempt(endpoint: &Endpoint, number: u32) -> WebhookAttempt {
    let attempt = AttemptId::derive(&[endpoint.id.bits(), &number.to_be_bytes()]);
    WebhookAttempt {
        meta: meta(attempt, 0),
        attempt,
        event: EventId::derive(&[b"event"]),
        event_type: "payment.completed".to_owned(),
        endpoint: endpoint.id,
        merchant: endpoint.merchant,
        number,
        outcome: AttemptOutcome::Failed,
        status_code: Some(503),
        error: Some("answered 503".to_owned()),
        duration_ms: 12,
        next_attempt_at: Some(Timestamp::from_millis(9)),
    }
}

pub(super) fn letter(number: u64) -> DeadLetter {
    let letter = DeadLetterId::derive(&[&number.to_be_bytes()]);
    DeadLetter {
        meta: meta(letter, number),
        letter,
        task: "book/0".to_owned(),
        topic: "book.inbox".to_owned(),
        partition: 0,
        offset: number,
        code: "unknown_payment".to_owned(),
        reason: "there is no such payment".to_owned(),
        key: vec![0, 255],
        record: vec![1, 2, 3],
    }
}

pub(super) fn transfer(payment: &Payment, status: TransferStatus) -> TransferEvent {
    TransferEvent {
        meta: meta("transfer", 0),
        status,
        chain: ChainId(31_337),
        merchant: payment.merchant,
        payment: payment.id,
        inclusion: Inclusion {
            block_hash: BlockHash::new([4; 32]),
            block_number: BlockNumber(10),
            tx_hash: TxHash::new([5; 32]),
            log_index: 2,
            number: 1,
        },
        asset: payment.asset.clone(),
        token: Address::new([6; 20]),
        from: Address::new([8; 20]),
        to: Address::new([7; 20]),
        amount: payment.amount,
        block_time: Timestamp::from_millis(10_000),
        confirmations: 1,
    }
}

pub(super) fn head(number: u64) -> ChainStatus {
    ChainStatus {
        meta: meta(format!("head:{number}"), 0),
        chain: ChainId(31_337),
        head_number: BlockNumber(number),
        head_hash: BlockHash::new([3; 32]),
        head_time: Timestamp::from_millis(11_000),
        finalized_number: None,
        reorg_depth: 0,
        halted: None,
    }
}

/// Gives records the next offset of partition 0 of their topic, and lineage from one task.
#[derive(Debug, Default)]
pub(super) struct Feed {
    next: BTreeMap<TopicPartition, u64>,
}

impl Feed {
    pub(super) fn batch(&mut self, messages: impl IntoIterator<Item = Message>) -> Batch {
        let mut batch = Batch { records: Vec::new(), before: BTreeMap::new(), after: BTreeMap::new() };
        for mut message in messages {
            let at = partition_of(&message);
            let next = self.next.entry(at.clone()).or_default();
            set_source(&mut message, *next + 1);
            add(&mut batch, at, *next, message);
            *next += 1;
        }
        batch
    }

    /// A batch of records whose lineage stays as it is.
    pub(super) fn batch_as_is(&mut self, messages: impl IntoIterator<Item = Message>) -> Batch {
        let mut batch = Batch { records: Vec::new(), before: BTreeMap::new(), after: BTreeMap::new() };
        for message in messages {
            let at = partition_of(&message);
            let next = self.next.entry(at.clone()).or_default();
            add(&mut batch, at, *next, message);
            *next += 1;
        }
        batch
    }
}

fn add(batch: &mut Batch, at: TopicPartition, offset: u64, message: Message) {
    batch.before.entry(at.clone()).or_insert(Offset(offset));
    batch.after.insert(at.clone(), Offset(offset + 1));
    batch.records.push(Delivered { from: at, offset: Offset(offset), message: Box::new(message) });
}

pub(super) fn partition_zero(topic: &TopicDef) -> TopicPartition {
    TopicPartition::new(topic.topic(), Partition(0))
}

fn partition_of(message: &Message) -> TopicPartition {
    partition_zero(match message {
        Message::PaymentEvent(_) => &topics::PAYMENTS_EVENTS,
        Message::LedgerTransaction(_) => &topics::LEDGER_TRANSACTIONS,
        Message::TransferEvent(_) | Message::ChainStatus(_) => &topics::CHAIN_TRANSFERS,
        Message::WebhookAttempt(_) => &topics::WEBHOOKS_ATTEMPTS,
        Message::DeadLetter(_) => &topics::DEAD_LETTERS,
        _ => &topics::REGISTRY_EVENTS,
    })
}

/// Stamps the records that come from tasks.
pub(super) fn set_source(message: &mut Message, seq: u64) {
    let source = Some(Source { task: "book/0".to_owned(), seq, chain: LineageHash::new([1; 16]) });
    match message {
        Message::PaymentEvent(event) => event.meta.source = source,
        Message::LedgerTransaction(transaction) => transaction.meta.source = source,
        _ => {}
    }
}
