//! Blocks of Polygon from Madhugiri on: the state-sync transaction is one of the block's, of type 0x7f, and both roots and the
//! bloom cover it (PIP-74). A node shows the transaction without the data that its encoding holds, so its hash is the node's
//! word; its receipt is not. The blocks are encoded here, from PIP-74 and Bor's sources, not by the code under test.

use alloy_consensus::{Header, TxEnvelope};
use alloy_eips::eip2718::Encodable2718;
use alloy_primitives::{Address, B256, Bloom, BloomInput, Bytes, U64, keccak256};
use alloy_rlp::{Encodable, Header as RlpHeader};
use alloy_trie::root::ordered_trie_root_encoded;
use serde_json::{Value, json};

use super::blocks::{TOKEN, block};
use crate::chain::refusal::Disagreement;
use crate::chain::state_sync::{may_be_in, state_sync_hash};
use crate::chain::transfers::TRANSFER_TOPIC;
use crate::chain::types::{TransactionsProof, VerifiedBlock};
use crate::chain::verify::{VerifyError, verify_json};

const POLYGON: u64 = 137;
/// The first block of the fork, which begins a sprint.
const NUMBER: u64 = 80_084_800;
const PAID: u64 = 200;

fn list(fields: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    RlpHeader { list: true, payload_length: fields.len() }.encode(&mut out);
    out.extend_from_slice(fields);
    out
}

/// `0x7f || rlp([[id, contract, data, transaction on Ethereum], …])`
fn state_sync_transaction() -> Vec<u8> {
    let mut event = Vec::new();
    3_000_000_u64.encode(&mut event);
    Address::with_last_byte(0x10).encode(&mut event);
    Bytes::from_static(b"deposit").encode(&mut event);
    B256::with_last_byte(9).encode(&mut event);
    [vec![0x7f], list(&list(&event))].concat()
}

fn field<T: serde::de::DeserializeOwned>(of: &Value, name: &str) -> T {
    serde_json::from_value(of[name].clone()).unwrap()
}

fn bloom_of(receipt: &Value) -> Bloom {
    let mut bloom = Bloom::ZERO;
    for log in receipt["logs"].as_array().unwrap() {
        bloom.accrue(BloomInput::Raw(field::<Address>(log, "address").as_slice()));
        field::<Vec<B256>>(log, "topics")
            .iter()
            .for_each(|topic| bloom.accrue(BloomInput::Raw(topic.as_slice())));
    }
    bloom
}

/// `type || rlp([status, cumulative gas, bloom, logs])`, without the type where it is 0.
fn receipt_bytes(receipt: &Value) -> Vec<u8> {
    let mut logs = Vec::new();
    for log in receipt["logs"].as_array().unwrap() {
        let mut one = Vec::new();
        field::<Address>(log, "address").encode(&mut one);
        field::<Vec<B256>>(log, "topics").encode(&mut one);
        field::<Bytes>(log, "data").encode(&mut one);
        logs.extend(list(&one));
    }
    let mut fields = Vec::new();
    1_u64.encode(&mut fields);
    field::<U64>(receipt, "cumulativeGasUsed").encode(&mut fields);
    bloom_of(receipt).encode(&mut fields);
    fields.extend(list(&logs));
    let kind = field::<U64>(receipt, "type").to::<u8>();
    [if kind == 0 { vec![] } else { vec![kind] }, list(&fields)].concat()
}

fn state_sync_receipt(hash: B256, position: usize, block: B256) -> Value {
    let position = format!("{position:#x}");
    let topics = [TRANSFER_TOPIC, B256::ZERO, Address::with_last_byte(0x77).into_word()];
    let log = json!({
        "address": TOKEN, "topics": topics, "data": B256::from(alloy_primitives::U256::from(PAID)), "logIndex": position,
        "blockHash": block, "blockNumber": format!("{NUMBER:#x}"),
        "transactionHash": hash, "transactionIndex": position, "removed": false,
    });
    json!({
        "type": "0x7f", "status": "0x1", "from": Address::ZERO, "to": Address::ZERO, "gasUsed": "0x0",
        "cumulativeGasUsed": "0x186a0", "logs": [log],
        "blockHash": block, "blockNumber": format!("{NUMBER:#x}"),
        "transactionHash": hash, "transactionIndex": position,
    })
}

/// A block with two transfers and a state-sync transaction with one, and its receipts, as Bor's JSON-RPC shows them.
fn covered() -> (Value, Value) {
    let ordinary = block(None, 1, &[50, 51]);
    let (mut json, mut receipts) = (ordinary.json, ordinary.receipts);
    let encoded = state_sync_transaction();
    let hash = keccak256(&encoded);
    let mut transactions: Vec<_> = json["transactions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|transaction| serde_json::from_value::<TxEnvelope>(transaction.clone()).unwrap().encoded_2718())
        .collect();
    transactions.push(encoded);
    receipts.as_array_mut().unwrap().push(state_sync_receipt(hash, 2, B256::ZERO));
    let all = receipts.as_array().unwrap();
    let header = Header {
        number: NUMBER,
        transactions_root: ordered_trie_root_encoded(&transactions),
        receipts_root: ordered_trie_root_encoded(&all.iter().map(receipt_bytes).collect::<Vec<_>>()),
        logs_bloom: all.iter().fold(Bloom::ZERO, |bloom, receipt| bloom | bloom_of(receipt)),
        ..serde_json::from_value(json.clone()).unwrap()
    };
    let mut listed = json["transactions"].take();
    listed.as_array_mut().unwrap().push(json!({
        "type": "0x7f", "hash": hash, "from": Address::ZERO, "to": Address::ZERO, "nonce": "0x0", "gas": "0x0",
        "gasPrice": "0x0", "value": "0x0", "input": "0x", "v": "0x0", "r": "0x0", "s": "0x0", "transactionIndex": "0x2",
    }));
    let block_hash = header.hash_slow();
    let mut json = serde_json::to_value(&header).unwrap();
    json["hash"] = json!(block_hash);
    json["transactions"] = listed;
    for receipt in receipts.as_array_mut().unwrap() {
        of_block(receipt, block_hash);
        receipt["logs"].as_array_mut().unwrap().iter_mut().for_each(|log| of_block(log, block_hash));
    }
    (json, receipts)
}

fn of_block(answer: &mut Value, hash: B256) {
    answer["blockHash"] = json!(hash);
    answer["blockNumber"] = json!(format!("{NUMBER:#x}"));
}

fn hashes_only(mut block: Value) -> Value {
    let listed = block["transactions"].as_array().unwrap();
    block["transactions"] = listed.iter().map(|transaction| transaction["hash"].clone()).collect();
    block
}

fn check(block: &Value, receipts: &Value) -> Result<VerifiedBlock, Vec<Disagreement>> {
    match verify_json(POLYGON, &block.to_string(), &receipts.to_string()) {
        Ok(block) => Ok(block),
        Err(VerifyError::Refused(refusal)) => Err(refusal.disagreements),
        Err(VerifyError::Unreadable(error)) => panic!("{error}: {}", error.source),
    }
}

#[test]
fn a_state_sync_transfer_that_the_roots_cover_is_proven_in_both_modes() {
    let (block, receipts) = covered();
    for (block, proof) in [
        (block.clone(), TransactionsProof::UnknownType(0x7f)),
        (hashes_only(block), TransactionsProof::HashesOnly),
    ] {
        let verified = check(&block, &receipts).unwrap();
        let values: Vec<_> = verified.transfers.iter().map(|transfer| transfer.value.to::<u64>()).collect();
        assert_eq!((values, verified.unproven.len()), (vec![50, 51, PAID], 0));
        assert_eq!(verified.transactions, proof);
    }
}

#[test]
fn no_second_node_is_needed_where_the_roots_cover_state_sync() {
    for (chain, first) in [(POLYGON, NUMBER), (80_002, 28_899_616)] {
        assert!(may_be_in(chain, first - 16) && !may_be_in(chain, first - 15));
        assert!(!may_be_in(chain, first) && !may_be_in(chain, first + 16));
    }
    assert!(!may_be_in(1, 16));
}

#[test]
fn a_covered_state_sync_receipt_cannot_be_left_out_or_changed() {
    let (block, receipts) = covered();
    for block in [block.clone(), hashes_only(block)] {
        let mut without = receipts.clone();
        without.as_array_mut().unwrap().pop();
        let reasons = check(&block, &without).unwrap_err();
        let is_root = |reason: &Disagreement| matches!(reason, Disagreement::ReceiptsRoot { .. });
        assert!(reasons.iter().any(is_root), "{reasons:?}");
        let mut more = receipts.clone();
        more[2]["logs"][0]["data"] = json!(B256::repeat_byte(1));
        let reasons = check(&block, &more).unwrap_err();
        assert!(reasons.iter().any(is_root), "{reasons:?}");
    }
}

/// Nodes were released that send the transaction in its old form as well: the same deposit under two hashes.
#[test]
fn a_receipt_of_the_old_form_beside_the_covered_one_is_refused_and_never_money() {
    let (block, mut receipts) = covered();
    let hash = serde_json::from_value(block["hash"].clone()).unwrap();
    let old = state_sync_hash(NUMBER, hash);
    receipts.as_array_mut().unwrap().push(state_sync_receipt(old, 3, hash));
    for mut block in [block.clone(), hashes_only(block)] {
        let reasons = check(&block, &receipts).unwrap_err();
        assert!(
            reasons.contains(&Disagreement::ReceiptCount { transactions: 3, receipts: 4 }),
            "{reasons:?}"
        );
        block["transactions"].as_array_mut().unwrap().push(json!(old));
        let reasons = check(&block, &receipts).unwrap_err();
        assert!(matches!(reasons.as_slice(), [.., Disagreement::ReceiptsRoot { .. }]), "{reasons:?}");
    }
}

#[test]
fn a_receipt_of_a_type_that_nobody_knows_is_covered_by_the_root_or_refused() {
    let (mut block, mut receipts) = covered();
    receipts[2]["type"] = json!("0x55");
    let reasons = check(&hashes_only(block.clone()), &receipts).unwrap_err();
    assert!(matches!(reasons.as_slice(), [Disagreement::ReceiptsRoot { .. }]), "{reasons:?}");
    block["transactions"][2]["type"] = json!("0x55");
    let reasons = check(&block, &receipts).unwrap_err();
    assert!(matches!(reasons.as_slice(), [Disagreement::ReceiptsRoot { .. }]), "{reasons:?}");
}
