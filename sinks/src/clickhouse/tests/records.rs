//! Records as the processors write them.

use std::collections::BTreeMap;

use streambook_model::{
    bytes::{Address, BlockHash, ContentHash, TxHash},
    chain::{BlockNumber, ChainId, ConfirmationPolicy, Inclusion},
    id::{
        AttemptId, DeadLetterId, EndpointId, EventId, MerchantId, PaymentId, RefundId, RequestId,
        TransactionId,
    },
    message::Message,
    meta::Meta,
    metadata::Metadata,
    money::Amount,
    records::{
        book::{Caller, CancelPayment, ReplyTo},
        chain::{ChainBlock, ChainStatus, TransferEvent, TransferStatus},
        dead_letter::DeadLetter,
        ledger::{AccountId, Entry, LedgerTransaction},
        payment::{Payment, PaymentEvent, PaymentEventType, PaymentMethod, PaymentStatus, Refund},
        registry::{Merchant, MerchantChanged, SettingsChanged},
        reply::{CommandOutcome, CommandReply, Problem},
        settings::{FeeSchedule, Settings},
        stripe::{CardFact, CardFactKind, StripeEvent},
        webhook::{AttemptOutcome, WebhookAttempt},
    },
    time::Timestamp,
};

/// 2030-03-01 10:00:00 UTC: no retention reaches it.
pub(super) const START: i64 = 1_898_589_600_000;
pub(super) const CHAIN: ChainId = ChainId(31_337);

/// So many seconds after the start.
pub(super) fn after(seconds: i64) -> Timestamp {
    Timestamp::from_millis(START + seconds * 1_000)
}

pub(super) fn amount(units: i128) -> Amount {
    Amount::new(units).unwrap()
}

pub(super) fn merchant(number: u8) -> MerchantId {
    MerchantId::from_bits([number; 16])
}

pub(super) fn meta(seconds: i64) -> Meta {
    let (occurred_at, recorded_at) = (after(seconds), after(seconds));
    Meta { source: None, id: format!("at {seconds}"), occurred_at, recorded_at, cause: None, trace: None }
}

/// A payment on the chain, of tokens with six places.
pub(super) fn on_chain(number: u8, owner: MerchantId, units: i128, created: i64) -> Payment {
    Payment {
        id: PaymentId::from_bits([number; 16]),
        merchant: owner,
        livemode: true,
        version: 0,
        status: PaymentStatus::Pending,
        method: PaymentMethod::Chain,
        asset: "usdc:31337".parse().unwrap(),
        scale: 6,
        amount: amount(units),
        amount_received: Amount::ZERO,
        amount_confirmed: Amount::ZERO,
        amount_refunded: Amount::ZERO,
        fee: Amount::ZERO,
        chain: Some(CHAIN),
        token: Some(Address::new([6; 20])),
        deposit_address: Some(Address::new([number; 20])),
        derivation_path: None,
        policy: Some(ConfirmationPolicy { depth: Some(3) }),
        confirmations: 0,
        reference_id: Some(format!("ORDER_{number}")),
        description: None,
        metadata: Metadata(BTreeMap::from([("cart".to_owned(), number.to_string())])),
        transfers: Vec::new(),
        failure: None,
        created_at: after(created),
        expires_at: after(created + 1_800),
        completed_at: None,
        price: None,
        tolerance: None,
        matching: None,
        reserved_until: None,
        payer: None,
        claims: Vec::new(),
    }
}

/// A card payment in dollars.
pub(super) fn by_card(number: u8, owner: MerchantId, cents: i128, created: i64) -> Payment {
    Payment {
        method: PaymentMethod::Card,
        asset: "usd".parse().unwrap(),
        scale: 2,
        chain: None,
        token: None,
        deposit_address: None,
        policy: None,
        ..on_chain(number, owner, cents, created)
    }
}

/// The next event of a payment, and the payment after it.
pub(super) fn event(
    payment: &mut Payment,
    event_type: PaymentEventType,
    status: PaymentStatus,
    seconds: i64,
) -> Message {
    payment.version += 1;
    payment.status = status;
    let event = EventId::derive(&[payment.id.bits(), &payment.version.to_be_bytes()]);
    PaymentEvent { meta: meta(seconds), event, event_type, payment: payment.clone(), refund: None }.into()
}

/// A refund of a payment, as its event.
pub(super) fn refunded(payment: &mut Payment, units: i128, seconds: i64) -> Message {
    payment.amount_refunded = payment.amount_refunded.plus(amount(units)).unwrap();
    let refund = Refund {
        id: RefundId::derive(&[payment.id.bits(), &seconds.to_be_bytes()]),
        payment: payment.id,
        merchant: payment.merchant,
        livemode: payment.livemode,
        asset: payment.asset.clone(),
        scale: payment.scale,
        amount: amount(units),
        destination: None,
        reference: None,
        reason: None,
        created_at: after(seconds),
    };
    let status = payment.status;
    match event(payment, PaymentEventType::Refunded, status, seconds) {
        Message::PaymentEvent(event) => PaymentEvent { refund: Some(refund), ..event }.into(),
        other => other,
    }
}

/// A transaction about a payment; a line is an account below the payment's mode, its amount, its balance after it, and its
/// number in the account.
pub(super) fn transaction(
    payment: &Payment,
    template: &str,
    lines: &[(&str, i128, i128, u64)],
    seconds: i64,
) -> Message {
    let owner = payment.merchant;
    let entry = |(name, units, balance, version): &(&str, i128, i128, u64)| Entry {
        account: AccountId::new(match name.split_once('/') {
            Some(("merchant", rest)) => format!("live/merchant/{owner}/{rest}"),
            _ => format!("live/{name}/0"),
        }),
        asset: payment.asset.clone(),
        amount: amount(*units),
        balance: amount(*balance),
        version: *version,
    };
    let transaction =
        TransactionId::derive(&[payment.id.bits(), template.as_bytes(), &seconds.to_be_bytes()]);
    LedgerTransaction {
        meta: meta(seconds),
        transaction,
        merchant: owner,
        livemode: payment.livemode,
        sequence: 1,
        template: template.to_owned(),
        template_version: 1,
        payment: Some(payment.id),
        refund: None,
        event: format!("{template} at {seconds}"),
        reverses: None,
        occurred_at: after(seconds),
        entries: lines.iter().map(entry).collect(),
        previous_hash: ContentHash::new([1; 32]),
        hash: ContentHash::new([2; 32]),
    }
    .into()
}

/// What has become of a payment's transfer, in its `inclusion`th block.
pub(super) fn transfer(
    payment: &Payment,
    inclusion: u8,
    status: TransferStatus,
    confirmations: u32,
    seconds: i64,
) -> Message {
    TransferEvent {
        meta: meta(seconds),
        status,
        chain: CHAIN,
        merchant: payment.merchant,
        payment: payment.id,
        inclusion: Inclusion {
            block_hash: BlockHash::new([inclusion; 32]),
            block_number: BlockNumber(inclusion.into()),
            tx_hash: TxHash::new([*payment.id.bits().first().unwrap(); 32]),
            log_index: 0,
            number: 1,
        },
        asset: payment.asset.clone(),
        token: Address::new([6; 20]),
        from: Address::new([8; 20]),
        to: Address::new([7; 20]),
        amount: payment.amount,
        block_time: after(seconds),
        confirmations,
    }
    .into()
}

pub(super) fn head(number: u64, reorg_depth: u32, seconds: i64) -> Message {
    ChainStatus {
        meta: meta(seconds),
        chain: CHAIN,
        head_number: BlockNumber(number),
        head_hash: BlockHash::new([3; 32]),
        head_time: after(seconds),
        finalized_number: number.checked_sub(10).map(BlockNumber),
        reorg_depth,
        halted: None,
    }
    .into()
}

pub(super) fn block(number: u64, seconds: i64) -> Message {
    ChainBlock {
        meta: meta(seconds),
        chain: CHAIN,
        number: BlockNumber(number),
        hash: BlockHash::new([9; 32]),
        parent_hash: BlockHash::new([8; 32]),
        timestamp: after(seconds),
        transfers: Vec::new(),
    }
    .into()
}

pub(super) fn fact(payment: &Payment, kind: CardFactKind, units: i128, seconds: i64) -> Message {
    CardFact {
        meta: meta(seconds),
        kind,
        merchant: payment.merchant,
        payment: payment.id,
        livemode: payment.livemode,
        object: format!("dp_{}", payment.id),
        asset: payment.asset.clone(),
        amount: amount(units),
        reason: None,
    }
    .into()
}

pub(super) fn stripe_event(number: u32, seconds: i64) -> Message {
    StripeEvent {
        meta: meta(seconds),
        event: format!("evt_{number}"),
        event_type: "charge.succeeded".to_owned(),
        family: format!("pi_{number}"),
        livemode: true,
        created: after(seconds - 1),
        content_hash: ContentHash::new([1; 32]),
        payload: "{\"secret\": true}".to_owned(),
    }
    .into()
}

/// An attempt to deliver a payment's latest event.
pub(super) fn attempt(
    payment: &Payment,
    version: u32,
    (number, outcome): (u32, AttemptOutcome),
    duration_ms: u32,
    seconds: i64,
) -> Message {
    let event = EventId::derive(&[payment.id.bits(), &version.to_be_bytes()]);
    WebhookAttempt {
        meta: meta(seconds),
        attempt: AttemptId::derive(&[event.bits(), &number.to_be_bytes()]),
        event,
        event_type: "payment.completed".to_owned(),
        endpoint: EndpointId::from_bits([1; 16]),
        merchant: payment.merchant,
        number,
        outcome,
        status_code: if outcome == AttemptOutcome::Delivered { Some(200) } else { Some(503) },
        error: None,
        duration_ms,
        next_attempt_at: None,
    }
    .into()
}

fn request(number: u8) -> RequestId {
    RequestId::from_bits([number; 16])
}

pub(super) fn cancel(payment: &Payment, number: u8, seconds: i64) -> Message {
    let reply = ReplyTo { partition: 0, request: request(number) };
    let caller = Caller { merchant: payment.merchant, livemode: true, reply, idempotency: None };
    CancelPayment { meta: meta(seconds), caller, payment: payment.id }.into()
}

pub(super) fn reply(number: u8, code: Option<&str>, seconds: i64) -> Message {
    let problem =
        code.map(|code| Problem { code: code.to_owned(), status: 409, field: None, detail: String::new() });
    let outcome = if problem.is_some() { CommandOutcome::Rejected } else { CommandOutcome::Accepted };
    CommandReply {
        meta: meta(seconds),
        request: request(number),
        outcome,
        problem,
        payment: None,
        refund: None,
        merchant: None,
        api_key: None,
        endpoint: None,
    }
    .into()
}

pub(super) fn letter(number: u8, seconds: i64) -> Message {
    DeadLetter {
        meta: meta(seconds),
        letter: DeadLetterId::from_bits([number; 16]),
        task: "book/0".to_owned(),
        topic: "book.inbox".to_owned(),
        partition: 0,
        offset: number.into(),
        code: "unknown_payment".to_owned(),
        reason: "there is no such payment".to_owned(),
        key: Vec::new(),
        record: vec![1, 2, 3],
    }
    .into()
}

pub(super) fn named(id: MerchantId, name: &str) -> Message {
    let settlement = "custodial".to_owned();
    let merchant = Merchant {
        id,
        name: name.to_owned(),
        settlement,
        created_at: after(0),
        addresses: Vec::new(),
        tolerance: None,
    };
    MerchantChanged { meta: meta(0), merchant }.into()
}

/// The assets of these tests.
pub(super) fn settings() -> Message {
    let asset =
        |id: &str, scale| streambook_model::asset::Asset { id: id.parse().unwrap(), scale, contract: None };
    let settings = Settings {
        version: 1,
        assets: vec![asset("usd", 2), asset("usdc:31337", 6)],
        chains: Vec::new(),
        fee: FeeSchedule { parts_per_million: 5_000 },
        xpub: None,
        postings: String::new(),
        tiers: Vec::new(),
        exact_amount_grace_seconds: 86_400,
    };
    SettingsChanged { meta: meta(0), settings }.into()
}
