//! Where the corpus comes from: the records and Stripe bodies of a simulated run, blocks of the development chain as a node
//! answers them, and what no run leads to, written out. `UPDATE_CORPUS=1 cargo test -p streambook-fuzz --test corpus`
//! writes the files anew; inputs that were added by hand stay.

use std::collections::BTreeMap;

use alloy_primitives::{Address, U256};
use serde_json::{Value, json};
use streambook_devchain::{Detail, DevBlock, DevChain, Transfer, TransferRequest, rpc_block, rpc_receipts};
use streambook_model::{
    bytes::{BlockHash, ContentHash, LineageHash, TokenValue, TxHash},
    chain::{BlockNumber, ChainId},
    codec,
    id::{ApiKeyId, AttemptId, EndpointId, EventId, MerchantId, PaymentId},
    message::Message,
    meta::Meta,
    money::Amount,
    records::{
        backfill::{
            BackfillClosed, BackfillRequested, BackfillRest, BackfilledBlock, ChainBackfill, RequestBackfill,
        },
        chain::{ChainFork, ChainRebuild, ExactAmount, TokenTransfer},
        checkpoint::{Checkpoint, CheckpointInput, CheckpointSource},
        registry::{Administrator, ApiKey, ApiKeyChanged, PutApiKey, Scope},
        webhook::{AttemptOutcome, WebhookAttempt},
    },
    time::Timestamp,
};
use streambook_simulation::{history::History, world::World};

/// Inputs by file name.
pub type Inputs = BTreeMap<String, Vec<u8>>;

const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);
/// Runs that together emit every type of record there is in a simulation.
const SEEDS: u64 = 12;
/// Actions of each.
const ACTIONS: usize = 250;

/// A record of every type, with lineage and without, and a body of every type of Stripe's events.
#[must_use]
pub fn records_and_stripe_events() -> (Inputs, Inputs) {
    let (mut records, mut events) = (Inputs::new(), Inputs::new());
    for seed in 0..SEEDS {
        for message in simulated(seed) {
            if let Message::StripeEvent(event) = &message {
                events
                    .entry(format!("{}.json", event.event_type))
                    .or_insert(event.payload.clone().into_bytes());
            }
            add(&mut records, &message);
        }
    }
    written_out().iter().for_each(|message| add(&mut records, message));
    (records, events)
}

fn add(records: &mut Inputs, message: &Message) {
    let lineage = if message.meta().source.is_some() { "-emitted" } else { "" };
    let encoded = || codec::encode(message).expect("a sample is a record");
    records.entry(format!("{}{lineage}", message.name())).or_insert_with(encoded);
}

fn simulated(seed: u64) -> Vec<Message> {
    let mut world = World::new(seed, None).expect("the world is set up");
    for _ in 0..ACTIONS {
        world.act().expect("the run goes well");
    }
    world.come_to_rest().expect("and comes to rest");
    let history = History::read(&world.machine).expect("its log is read");
    history.log.into_values().flatten().map(|entry| entry.message).collect()
}

/// Records that the simulation has no part for.
fn written_out() -> Vec<Message> {
    let meta = Meta {
        source: None,
        id: "sample".into(),
        occurred_at: NOW,
        recorded_at: NOW,
        cause: None,
        trace: Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".into()),
    };
    let api_key = ApiKey {
        id: ApiKeyId::derive(&[b"key"]),
        merchant: Some(MerchantId::derive(&[b"shop"])),
        scopes: vec![Scope::Read, Scope::Write],
        livemode: false,
        key_hash: ContentHash::new([3; 32]),
        hint: "wxyz".into(),
        created_at: NOW,
        revoked_at: None,
    };
    let administrator = Administrator { key: Some(api_key.id), reply: None, idempotency: None };
    let attempt = WebhookAttempt {
        meta: meta.clone(),
        attempt: AttemptId::derive(&[b"attempt"]),
        event: EventId::derive(&[b"event"]),
        event_type: "payment.completed".into(),
        endpoint: EndpointId::derive(&[b"endpoint"]),
        merchant: MerchantId::derive(&[b"shop"]),
        number: 2,
        outcome: AttemptOutcome::Failed,
        status_code: Some(503),
        error: Some("the endpoint answered 503".into()),
        duration_ms: 17,
        next_attempt_at: Some(NOW),
    };
    let fork = ChainFork {
        meta: meta.clone(),
        chain: ChainId(1),
        floor_number: BlockNumber(10),
        floor_hash: BlockHash::new([1; 32]),
        found_number: BlockNumber(10),
        found_hash: BlockHash::new([2; 32]),
    };
    let rebuild = ChainRebuild {
        meta: meta.clone(),
        chain: ChainId(1),
        number: BlockNumber(9),
        hash: BlockHash::new([3; 32]),
    };
    let checkpoint = Checkpoint {
        meta: meta.clone(),
        process: "books-0".into(),
        address: "http://127.0.0.1:9101".into(),
        receiver: "book/3".into(),
        condition: "troubled".into(),
        reason: Some("a node is down".into()),
        inputs: vec![CheckpointInput {
            topic: "book.inbox".into(),
            partition: 3,
            next_offset: 42,
            sources: vec![CheckpointSource {
                task: "reorg/1".into(),
                seq: 7,
                chain: LineageHash::new([4; 16]),
            }],
        }],
    };
    let mut written = backfills(&meta);
    written.extend([
        checkpoint.into(),
        rebuild.into(),
        ApiKeyChanged { meta: meta.clone(), api_key: api_key.clone() }.into(),
        PutApiKey { meta, administrator, api_key }.into(),
        attempt.into(),
        fork.into(),
    ]);
    written
}

/// A search of old blocks: asked for, passed on, answered, closed.
fn backfills(meta: &Meta) -> Vec<Message> {
    let (meta, chain, payment) = (meta.clone(), ChainId(1), PaymentId::derive(&[b"payment"]));
    let (address, token) =
        (streambook_model::bytes::Address::new([5; 20]), streambook_model::bytes::Address::new([6; 20]));
    let transfer = TokenTransfer {
        token,
        from: address,
        to: address,
        value: TokenValue::new([1; 32]),
        tx_hash: TxHash::new([7; 32]),
        log_index: 3,
    };
    let block = BackfilledBlock {
        number: BlockNumber(8),
        hash: BlockHash::new([8; 32]),
        parent_hash: BlockHash::new([9; 32]),
        timestamp: NOW,
        transfers: vec![transfer],
    };
    let request = RequestBackfill {
        meta: meta.clone(),
        chain,
        payment,
        address,
        token,
        since: Some(NOW),
        from_number: Some(BlockNumber(7)),
        tx_hash: Some(TxHash::new([7; 32])),
        payer: Some(address),
        exact: Some(ExactAmount { amount: Amount::ZERO, from: NOW, until: NOW }),
    };
    let requested = BackfillRequested {
        meta: meta.clone(),
        chain,
        request: 1,
        merchant: MerchantId::derive(&[b"shop"]),
        payment,
        address,
        top_number: BlockNumber(9),
        top_hash: BlockHash::new([4; 32]),
        since: None,
        from_number: None,
        tx_hash: None,
    };
    let (from_number, problem) = (Some(BlockNumber(7)), Some("no node has block 6".to_owned()));
    let answer = ChainBackfill {
        meta: meta.clone(),
        chain,
        request: 1,
        from_number,
        blocks: vec![block],
        problem: problem.clone(),
        not_found: true,
        rest: Some(BackfillRest { number: BlockNumber(6), hash: BlockHash::new([3; 32]) }),
    };
    let closed = BackfillClosed { meta, chain, request: 1, payment, from_number, reported: 1, problem };
    vec![request.into(), requested.into(), answer.into(), closed.into()]
}

/// Answers about blocks with no, one and several transfers, whole and with hashes only, and answers that are none.
#[must_use]
pub fn node_answers() -> Inputs {
    let mut inputs = Inputs::new();
    let mut chain = DevChain::new(31_337, 1_700_000_000);
    for (name, requests) in [("empty", Vec::new()), ("direct", vec![direct(5)]), ("mixed", mixed())] {
        chain.mine(1_700_000_012, &requests).expect("the block is made");
        for (detail, kind) in [(Detail::Full, "full"), (Detail::Hashes, "hashes")] {
            inputs.insert(format!("{name}-{kind}.jsonl"), answers(chain.head(), detail));
        }
    }
    let others = [
        ("null", json!({"jsonrpc": "2.0", "id": 1, "result": null})),
        ("chain-id", json!({"jsonrpc": "2.0", "id": 1, "result": "0x7a69"})),
        ("error", json!({"jsonrpc": "2.0", "id": 1, "error": {"code": -32005, "message": "limit exceeded"}})),
    ];
    inputs.extend(others.map(|(name, json)| (format!("{name}.jsonl"), json.to_string().into_bytes())));
    inputs
}

fn answers(block: &DevBlock, detail: Detail) -> Vec<u8> {
    let answer = |result: Value| json!({"jsonrpc": "2.0", "id": 1, "result": result}).to_string();
    let value = |result: serde_json::Result<Value>| result.expect("an answer is JSON");
    let block_answer = answer(value(serde_json::to_value(rpc_block(block, detail))));
    let receipts = answer(value(serde_json::to_value(rpc_receipts(block))));
    format!("{block_answer}\n{receipts}").into_bytes()
}

fn direct(units: u64) -> TransferRequest {
    let (token, from, to) =
        (Address::repeat_byte(0xa0), Address::repeat_byte(0x11), Address::repeat_byte(0x22));
    TransferRequest::direct(token, from, to, U256::from(units))
}

fn mixed() -> Vec<TransferRequest> {
    let (token, from, to) =
        (Address::repeat_byte(0xa0), Address::repeat_byte(0x11), Address::repeat_byte(0x22));
    let moved = |units: u64| Transfer { token, from, to, value: U256::from(units) };
    let router = Address::repeat_byte(0x77);
    vec![
        direct(7),
        TransferRequest::failed(token, from, to, U256::from(9_u64)),
        TransferRequest::routed(from, router, vec![moved(1), moved(2)]),
    ]
}
