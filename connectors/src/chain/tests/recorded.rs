//! Real blocks of real nodes: every right answer is accepted with exactly the recorded transfers, every wrong one is
//! refused for the right reason. The data lies beside the project, in `../shared/data/chain`.

use std::io::Read;
use std::path::PathBuf;

use alloy_primitives::{Address, U256, address, keccak256};
use serde_json::Value;

use crate::chain::answer::ReceiptAnswer;
use crate::chain::refusal::Disagreement;
use crate::chain::state_sync::state_sync_hash;
use crate::chain::transfers::{TRANSFER_TOPIC, keep_tokens, transfers_of};
use crate::chain::types::{TransactionsProof, VerifiedBlock};
use crate::chain::verify::{VerifyError, verify_json};

/// The recorded file as JSON; `None`, with a word about what is missing, when the data is not there.
fn recorded(path: &str) -> Option<Value> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/chain");
    let Ok(bytes) = std::fs::read(folder.join(path)) else {
        println!(
            "NOT CHECKED: shared/data/chain/{path} is missing; put the shared data folder beside the project"
        );
        return None;
    };
    let mut text = String::new();
    if path.ends_with(".gz") {
        flate2::read::GzDecoder::new(bytes.as_slice()).read_to_string(&mut text).unwrap();
    } else {
        text = String::from_utf8(bytes).unwrap();
    }
    let json: Value = serde_json::from_str(&text).unwrap();
    Some(json.get("result").cloned().unwrap_or(json))
}

fn check(chain_id: u64, block: &Value, receipts: &Value) -> Result<VerifiedBlock, Vec<Disagreement>> {
    match verify_json(chain_id, &block.to_string(), &receipts.to_string()) {
        Ok(block) => Ok(block),
        Err(VerifyError::Refused(refusal)) => Err(refusal.disagreements),
        Err(VerifyError::Unreadable(error)) => panic!("{error}: {}", error.source),
    }
}

fn token(chain_id: u64, name: &str) -> Address {
    match (chain_id, name) {
        (1, "USDT") => address!("dac17f958d2ee523a2206206994597c13d831ec7"),
        (1, "USDC") => address!("a0b86991c6218b36c1d19d4a2e9eb0ce3606eb48"),
        (137, "USDC.e") => address!("2791bca1f2de4661ed88a30c99a7a9449aa84174"),
        (137, "USDT") => address!("c2132d05d31c914a87c6611c10748aeb04b58e8f"),
        (42161, "USDT") => address!("fd086bc7cd5c481dcc9c85ebe478a1c0b69fcbb9"),
        (42161, "USDC") => address!("af88d065e77c8cc2239327c5edb3a432268e5831"),
        other => panic!("no address for {other:?}"),
    }
}

/// (chain, block, the block's file, the receipts' file, are all transaction types known)
const RIGHT: [(u64, u64, &str, &str); 5] = [
    (
        1,
        15_753_009,
        "ethereum/eth_getBlockByNumber_15753009_full.json.gz",
        "ethereum/eth_getBlockReceipts_15753009.json.gz",
    ),
    (
        1,
        17_053_184,
        "ethereum/eth_getBlockByNumber_17053184_full.json.gz",
        "ethereum/eth_getBlockReceipts_17053184.json.gz",
    ),
    (1, 18_000_000, "ethereum/18000000/block.json.gz", "ethereum/18000000/receipts.json.gz"),
    (137, 50_000_000, "polygon/50000000/block.json.gz", "polygon/50000000/receipts.json.gz"),
    (42_161, 150_000_000, "arbitrum/150000000/block.json", "arbitrum/150000000/receipts.json.gz"),
];

#[test]
fn right_blocks_are_accepted_with_exactly_the_expected_transfers() {
    let Some(expected) = recorded("expected.json") else { return };
    let expected = expected.as_array().unwrap();
    assert_eq!(expected.len(), RIGHT.len());
    for (chain_id, number, block, receipts) in RIGHT {
        let (Some(block), Some(receipts)) = (recorded(block), recorded(receipts)) else { return };
        let verified =
            check(chain_id, &block, &receipts).unwrap_or_else(|reasons| panic!("{number}: {reasons:?}"));
        let expected =
            expected.iter().find(|entry| entry["block"] == number && entry["chain_id"] == chain_id);
        compare(&verified, expected.unwrap());
        let proof =
            if chain_id == 42_161 { TransactionsProof::UnknownType(0x6a) } else { TransactionsProof::Proven };
        assert_eq!((verified.transactions, verified.unproven.len()), (proof, 0), "{number}");
    }
}

fn compare(block: &VerifiedBlock, expected: &Value) {
    assert_eq!(expected["hash"], block.hash.to_string());
    assert_eq!(expected["parent_hash"], block.parent_hash.to_string());
    let mut listed = Vec::new();
    for (name, figures) in expected["tokens"].as_object().unwrap() {
        let token = token(block.chain_id, name);
        listed.push(token);
        let transfers: Vec<_> = block.transfers.iter().filter(|transfer| transfer.token == token).collect();
        let sum: U256 = transfers.iter().map(|transfer| transfer.value).sum();
        let zero = transfers.iter().filter(|transfer| transfer.value.is_zero()).count();
        let direct = transfers.iter().filter(|transfer| transfer.tx_to == Some(token)).count();
        let found = [transfers.len(), zero, direct];
        let figure = |key: &str| usize::try_from(figures[key].as_u64().unwrap()).unwrap();
        assert_eq!(
            found,
            ["transfers", "zero_value", "direct_call"].map(figure),
            "{name} in {}",
            block.number
        );
        assert_eq!(figures["sum_base_units"], sum.to_string(), "{name} in {}", block.number);
    }
    let mut filtered = block.clone();
    keep_tokens(&mut filtered, &listed);
    let others = block.transfers.len() - filtered.transfers.len();
    assert_eq!(expected["erc20_transfer_events_of_other_contracts"], others, "in {}", block.number);
}

#[test]
fn blocks_from_before_byzantium_are_checked_by_their_state_roots() {
    let blocks = [
        (1_000_000, "ethereum/1000000/block.json", "ethereum/1000000/receipts.json"),
        (4_369_999, "ethereum/4369999/block.json.gz", "ethereum/4369999/receipts.json.gz"),
    ];
    for (number, block, receipts) in blocks {
        let (Some(block), Some(receipts)) = (recorded(block), recorded(receipts)) else { return };
        let verified = check(1, &block, &receipts).unwrap_or_else(|reasons| panic!("{number}: {reasons:?}"));
        assert_eq!(verified.number, number);
        let mut without_root = receipts.clone();
        without_root[0].as_object_mut().unwrap().remove("root");
        let reasons = check(1, &block, &without_root).unwrap_err();
        assert!(reasons.contains(&Disagreement::ReceiptOutcome { index: 0 }), "{reasons:?}");
        let mut other_root = receipts.clone();
        other_root[0]["root"] = Value::from(keccak256(b"another state").to_string());
        let reasons = check(1, &block, &other_root).unwrap_err();
        assert!(matches!(reasons.as_slice(), [Disagreement::ReceiptsRoot { .. }]), "{reasons:?}");
    }
}

#[test]
fn a_changed_header_or_transaction_list_is_refused_by_name() {
    let file = |name: &str| recorded(&format!("optimism-tampered/post-shanghai-{name}.json.gz"));
    let (Some(right), Some(header), Some(list)) =
        (file("success"), file("bad-receipts-hash"), file("bad-transactions"))
    else {
        return;
    };
    // The receipts of this block are not recorded, so their count and root disagree in each of the three.
    let about_the_block = |block: &Value| {
        let reasons = check(5, block, &Value::Array(Vec::new())).unwrap_err();
        reasons.into_iter().filter(|reason| !is_about_receipts(reason)).collect::<Vec<_>>()
    };
    assert_eq!(about_the_block(&right), []);
    assert!(matches!(about_the_block(&header).as_slice(), [Disagreement::HeaderHash { .. }]));
    assert!(
        matches!(about_the_block(&list).as_slice(), [Disagreement::TransactionsRoot { .. }]),
        "{:?}",
        about_the_block(&list)
    );
}

fn is_about_receipts(reason: &Disagreement) -> bool {
    use Disagreement::{LogsBloom, ReceiptCount, ReceiptsRoot};
    matches!(reason, ReceiptCount { .. } | LogsBloom | ReceiptsRoot { .. })
}

#[test]
fn real_wrong_answers_of_a_node_are_refused_each_for_its_reason() {
    let file = |path: &str| recorded(&format!("inconsistent-cronos/{path}"));
    let cases = [
        (
            "68216/block.json.gz",
            "68216/receipts.json",
            Disagreement::ReceiptCount { transactions: 2, receipts: 1 },
        ),
        ("68216/block.json.gz", "68216/receipts.json", Disagreement::LogsBloom),
        (
            "6541/block.json.gz",
            "6541/receipts.json",
            Disagreement::ReceiptCount { transactions: 1, receipts: 0 },
        ),
        ("11446765/block.json", "11446765/receipts.json.gz", Disagreement::LogsBloom),
    ];
    for (block, receipts, reason) in cases {
        let (Some(block), Some(receipts)) = (file(block), file(receipts)) else { return };
        let reasons = check(25, &block, &receipts).unwrap_err();
        assert!(reasons.contains(&reason), "{reason:?} is not among {reasons:?}");
    }
    // A Cosmos chain: nothing else is wrong with these two, but header and root never recompute.
    for (block, receipts) in
        [("6542/block.json.gz", "6542/receipts.json"), ("68215/block.json.gz", "68215/receipts.json.gz")]
    {
        let (Some(block), Some(receipts)) = (file(block), file(receipts)) else { return };
        let reasons = check(25, &block, &receipts).unwrap_err();
        assert!(
            reasons.iter().any(|reason| matches!(reason, Disagreement::HeaderHash { .. })),
            "{reasons:?}"
        );
        assert!(!reasons.contains(&Disagreement::LogsBloom), "{reasons:?}");
    }
}

#[test]
fn linked_blocks_of_one_answer_link() {
    let Some(batch) = recorded("consecutive/block-18000000.json.gz") else { return };
    let ids: Vec<_> = batch
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| {
            let json = serde_json::value::to_raw_value(&entry["result"]).unwrap();
            let block = crate::chain::answer::BlockAnswer::read(&json).unwrap();
            crate::chain::verify::verify_header(&block).unwrap();
            block.id()
        })
        .collect();
    assert_eq!(ids.len(), 2);
    assert_eq!(ids[0].hash, ids[1].parent);
}

#[test]
fn every_way_to_change_a_receipt_or_an_event_is_refused() {
    let (Some(block), Some(receipts)) =
        (recorded("ethereum/18000000/block.json.gz"), recorded("ethereum/18000000/receipts.json.gz"))
    else {
        return;
    };
    let other_hash = Value::from(keccak256(b"other").to_string());
    let with_logs =
        receipts.as_array().unwrap().iter().position(|receipt| receipt["logs"][1].is_object()).unwrap();
    type Change = Box<dyn Fn(&mut Value)>;
    let changes: Vec<(&str, Change)> = vec![
        ("log dropped", Box::new(move |all| drop(all[with_logs]["logs"].as_array_mut().unwrap().remove(0)))),
        ("amount", Box::new(move |all| all[with_logs]["logs"][0]["data"] = Value::from("0x01"))),
        ("receipts swapped", Box::new(|all| all.as_array_mut().unwrap().swap(3, 4))),
        ("receipt dropped", Box::new(|all| drop(all.as_array_mut().unwrap().pop()))),
        ("removed", Box::new(move |all| all[with_logs]["logs"][0]["removed"] = Value::from(true))),
        ("log index", Box::new(move |all| all[with_logs]["logs"][0]["logIndex"] = Value::from("0x999"))),
        ("log's block", {
            let hash = other_hash.clone();
            Box::new(move |all| all[with_logs]["logs"][0]["blockHash"] = hash.clone())
        }),
        ("log's transaction", {
            let hash = other_hash.clone();
            Box::new(move |all| all[with_logs]["logs"][0]["transactionHash"] = hash.clone())
        }),
        ("receipt's block", {
            let hash = other_hash.clone();
            Box::new(move |all| all[0]["blockHash"] = hash.clone())
        }),
        ("receipt's transaction", {
            let hash = other_hash.clone();
            Box::new(move |all| all[0]["transactionHash"] = hash.clone())
        }),
        ("receipt's position", Box::new(|all| all[0]["transactionIndex"] = Value::from("0x7"))),
        ("status", Box::new(|all| all[0]["status"] = Value::from("0x0"))),
        ("gas", Box::new(|all| all[0]["cumulativeGasUsed"] = Value::from("0x1"))),
    ];
    for (name, change) in changes {
        let mut changed = receipts.clone();
        change(&mut changed);
        assert_ne!(changed, receipts, "{name}");
        assert!(check(1, &block, &changed).is_err(), "{name} was accepted");
    }
    let mut relabelled = block;
    relabelled["transactions"][0]["hash"] = other_hash;
    let reasons = check(1, &relabelled, &receipts).unwrap_err();
    assert!(matches!(reasons[0], Disagreement::TransactionHash { index: 0, .. }), "{reasons:?}");
}

#[test]
fn a_state_sync_receipt_is_known_and_its_transfers_are_not_proven() {
    let Some(receipt) = recorded("polygon/state_sync_receipt_38656992.json") else { return };
    let receipt: ReceiptAnswer = serde_json::from_value(receipt).unwrap();
    let expected = state_sync_hash(receipt.block_number.to(), receipt.block_hash);
    assert_eq!(receipt.transaction_hash, expected);
    assert!(transfers_of(&receipt, 0, receipt.to).count() > 0);

    let (Some(block), Some(receipts)) =
        (recorded("polygon/50000000/block.json.gz"), recorded("polygon/50000000/receipts.json.gz"))
    else {
        return;
    };
    let honest = check(137, &block, &receipts).unwrap();
    let (mut block, mut receipts) = (block, receipts);
    let hash = state_sync_hash(honest.number, honest.hash).to_string();
    let Some(mut added) = recorded("polygon/state_sync_receipt_38656992.json") else { return };
    added["transactionHash"] = Value::from(hash.clone());
    receipts.as_array_mut().unwrap().push(added);
    block["transactions"].as_array_mut().unwrap().push(serde_json::json!({ "hash": hash, "type": "0x0" }));
    let with_sync = check(137, &block, &receipts).unwrap();
    assert_eq!(with_sync.transfers, honest.transfers);
    assert!(!with_sync.unproven.is_empty());
}

#[test]
fn the_transfer_topic_is_the_hash_of_its_signature() {
    assert_eq!(TRANSFER_TOPIC, keccak256(b"Transfer(address,address,uint256)"));
}
