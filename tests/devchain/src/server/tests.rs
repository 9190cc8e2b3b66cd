//! The server as a client sees it: requests over HTTP, answers decoded into alloy's types, and every
//! commitment of a block recomputed from what was sent.

use std::time::Duration;

use alloy_consensus::proofs::{calculate_receipt_root, calculate_transaction_root};
use alloy_consensus::{ReceiptEnvelope, Transaction as _};
use alloy_primitives::{Address, B256, Bloom, TxHash, U64, U256, logs_bloom};
use alloy_rpc_types_eth::{Block, Log, Transaction, TransactionReceipt};
use reqwest::{Client, StatusCode};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::chain::{ChainSettings, DevChain, Limits, ReorgOptions};
use crate::live::LiveBlock;
use crate::node::{DevNode, NodeError};
use crate::transaction::TRANSFER_TOPIC;
use crate::transfer::{Transfer, TransferRequest};

const TOKEN: Address = Address::with_last_byte(1);
const ROUTER: Address = Address::with_last_byte(2);
const PAYER: Address = Address::with_last_byte(3);
const SHOP: Address = Address::with_last_byte(4);

/// A running node and a client of it.
struct Bed {
    node: DevNode,
    client: Client,
}

impl Bed {
    async fn start() -> Self {
        Self::over(DevChain::new(31_337, 1_700_000_000)).await
    }

    async fn over(chain: DevChain) -> Self {
        Self { node: DevNode::start(chain, 0).await.unwrap(), client: Client::new() }
    }

    async fn post(&self, body: String) -> (StatusCode, String) {
        let request = self.client.post(self.node.url()).header("content-type", "application/json").body(body);
        let response = request.send().await.unwrap();
        (response.status(), response.text().await.unwrap())
    }

    async fn raw(&self, body: Value) -> Value {
        serde_json::from_str(&self.post(body.to_string()).await.1).unwrap()
    }

    async fn respond(&self, method: &str, params: Value) -> Value {
        self.raw(json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})).await
    }

    async fn ask<T: DeserializeOwned>(&self, method: &str, params: Value) -> T {
        let mut response = self.respond(method, params).await;
        assert!(response.get("error").is_none(), "{method}: {response}");
        serde_json::from_value(response["result"].take()).unwrap()
    }

    async fn error_code(&self, method: &str, params: Value) -> i64 {
        let response = self.respond(method, params).await;
        assert!(response.get("result").is_none(), "{method}: {response}");
        response["error"]["code"].as_i64().unwrap()
    }

    async fn block(&self, tag: &str) -> Block {
        self.ask("eth_getBlockByNumber", json!([tag, true])).await
    }

    async fn receipts(&self, block: B256) -> Vec<TransactionReceipt> {
        self.ask("eth_getBlockReceipts", json!([block])).await
    }

    /// Fetches the block and recomputes all its commitments.
    async fn check(&self, hash: B256) {
        let block: Block = self.ask("eth_getBlockByHash", json!([hash, true])).await;
        let receipts = self.receipts(hash).await;
        assert_eq!(block.header.hash, hash);
        assert_eq!(block.header.inner.hash_slow(), hash);
        let transactions: Vec<_> = block.transactions.as_transactions().unwrap_or_default().to_vec();
        assert_eq!(transactions.len(), receipts.len());
        for (transaction, receipt) in transactions.iter().zip(&receipts) {
            assert_eq!(receipt.transaction_hash, *transaction.inner.tx_hash());
            assert_eq!(receipt.from, transaction.inner.signer());
            assert_eq!(receipt.to, transaction.inner.to());
            assert_eq!(receipt.block_hash, Some(hash));
        }
        let envelopes: Vec<_> = transactions.into_iter().map(Transaction::into_inner).collect();
        assert_eq!(calculate_transaction_root(&envelopes), block.header.transactions_root);
        check_receipts(&block, &receipts);
    }
}

fn check_receipts(block: &Block, receipts: &[TransactionReceipt]) {
    let mut bloom = Bloom::ZERO;
    let mut cumulative = 0;
    let mut log_indexes = 0..;
    for receipt in receipts {
        cumulative += receipt.gas_used;
        assert_eq!(receipt.inner.cumulative_gas_used(), cumulative);
        for log in receipt.inner.logs() {
            assert_eq!(log.log_index, log_indexes.next());
            assert_eq!(log.transaction_hash, Some(receipt.transaction_hash));
        }
        let own = logs_bloom(receipt.inner.logs().iter().map(|log| &log.inner));
        assert_eq!(receipt.inner.logs_bloom(), &own);
        bloom.accrue_bloom(&own);
    }
    let plain: Vec<ReceiptEnvelope> =
        receipts.iter().map(|receipt| receipt.inner.clone().map_logs(|log| log.inner)).collect();
    assert_eq!(calculate_receipt_root(&plain), block.header.receipts_root);
    assert_eq!(bloom, block.header.logs_bloom);
    assert_eq!(cumulative, block.header.gas_used);
}

fn pay(value: u64) -> TransferRequest {
    TransferRequest::direct(TOKEN, PAYER, SHOP, U256::from(value))
}

fn mixed() -> Vec<TransferRequest> {
    let transfer = |to, value: u64| Transfer { token: TOKEN, from: PAYER, to, value: U256::from(value) };
    vec![
        pay(10),
        TransferRequest::routed(
            PAYER,
            ROUTER,
            vec![transfer(SHOP, 1), transfer(ROUTER, 2), transfer(SHOP, 0)],
        ),
        TransferRequest::failed(TOKEN, PAYER, SHOP, U256::from(5)),
        TransferRequest::routed(PAYER, ROUTER, Vec::new()),
    ]
}

#[tokio::test]
async fn every_commitment_recomputes_from_what_the_server_sends() {
    let bed = Bed::start().await;
    let genesis = bed.node.chain().lock().genesis().hash();
    bed.check(genesis).await;
    for round in 0..3 {
        let mined: Value = bed.ask("dev_mine", json!({"transfers": mixed()})).await;
        assert_eq!(mined["transactions"].as_array().unwrap().len(), 4);
        let block = bed.block("latest").await;
        assert_eq!((block.header.number, block.transactions.len()), (round + 1, 4));
        bed.check(block.header.hash).await;
    }
    // More than 128 transactions, where the trie's keys grow to two bytes.
    let many: Vec<_> = (0..300).map(pay).collect();
    bed.ask::<Value>("dev_mine", json!({"transfers": many})).await;
    let block = bed.block("latest").await;
    assert_eq!(block.transactions.len(), 300);
    bed.check(block.header.hash).await;
}

#[tokio::test]
async fn tags_numbers_and_hashes_name_blocks() {
    let bed = Bed::start().await;
    bed.ask::<Value>("dev_mine", json!([{"count": 5}])).await;
    bed.ask::<Value>("dev_finalize", json!({"number": 2})).await;
    bed.ask::<Value>("dev_finalize", json!({"safe": "0x3"})).await;
    for (tag, number) in
        [("latest", 5), ("pending", 5), ("safe", 3), ("finalized", 2), ("earliest", 0), ("0x4", 4)]
    {
        assert_eq!(bed.block(tag).await.header.number, number, "{tag}");
    }
    assert_eq!(bed.ask::<U64>("eth_blockNumber", json!([])).await, U64::from(5));
    let absent = json!(B256::repeat_byte(9));
    assert_eq!(bed.ask::<Value>("eth_getBlockByNumber", json!(["0x6", false])).await, Value::Null);
    assert_eq!(bed.ask::<Value>("eth_getBlockByHash", json!([absent, false])).await, Value::Null);
    assert_eq!(bed.ask::<Value>("eth_getBlockReceipts", json!([absent])).await, Value::Null);
    assert_eq!(bed.ask::<Value>("eth_getTransactionReceipt", json!([absent])).await, Value::Null);
    let by_tag: Vec<TransactionReceipt> = bed.ask("eth_getBlockReceipts", json!(["latest"])).await;
    assert!(by_tag.is_empty());
}

#[tokio::test]
async fn the_node_says_who_it_is() {
    let bed = Bed::start().await;
    assert_eq!(bed.ask::<String>("eth_chainId", json!([])).await, "0x7a69");
    assert_eq!(bed.ask::<String>("net_version", json!([])).await, "31337");
    assert!(!bed.ask::<bool>("eth_syncing", json!([])).await);
    let version = bed.ask::<String>("web3_clientVersion", Value::Null).await;
    assert!(version.starts_with("streambook-devchain/"), "{version}");
}

#[tokio::test]
async fn a_transaction_is_pending_then_mined_then_orphaned_then_back() {
    let bed = Bed::start().await;
    let hash: TxHash = bed.ask("dev_transfer", json!(pay(7))).await;
    let waiting: Transaction = bed.ask("eth_getTransactionByHash", json!([hash])).await;
    assert_eq!((waiting.block_number, waiting.inner.signer()), (None, PAYER));

    let mined: Value = bed.ask("dev_mine", json!({})).await;
    let receipt: TransactionReceipt = bed.ask("eth_getTransactionReceipt", json!([hash])).await;
    assert_eq!(json!(receipt.block_hash), mined["blocks"][0]["hash"]);
    assert_eq!((receipt.to, receipt.inner.status()), (Some(TOKEN), true));

    bed.ask::<Value>("dev_reorg", json!({"depth": 1})).await;
    assert_eq!(bed.ask::<Value>("eth_getTransactionReceipt", json!([hash])).await, Value::Null);
    let orphan = receipt.block_hash.unwrap();
    assert_eq!(
        bed.receipts(orphan).await,
        std::slice::from_ref(&receipt),
        "an orphan is still there by its hash"
    );
    let strict = json!([{"blockHash": orphan, "requireCanonical": true}]);
    assert_eq!(bed.error_code("eth_getBlockReceipts", strict).await, -32_000);

    bed.ask::<Value>("dev_switchTo", json!({"hash": orphan})).await;
    let back: TransactionReceipt = bed.ask("eth_getTransactionReceipt", json!([hash])).await;
    assert_eq!(back, receipt);
}

#[tokio::test]
async fn a_reorg_over_json_rpc_carries_the_same_transaction_into_another_block() {
    let bed = Bed::start().await;
    let hash = bed.node.transfer(&pay(7)).unwrap();
    let old = bed.node.mine().unwrap();
    let blocks = json!([{"contents": [{"new": pay(1)}]}, {"contents": [{"known": hash}]}]);
    let reorged: Value = bed.ask("dev_reorg", json!({"depth": "0x1", "blocks": blocks})).await;
    assert_eq!(reorged["orphaned"], json!([old]));
    let receipt: TransactionReceipt = bed.ask("eth_getTransactionReceipt", json!([hash])).await;
    assert_eq!((receipt.block_number, receipt.transaction_hash), (Some(2), hash));
    bed.check(receipt.block_hash.unwrap()).await;

    bed.ask::<Value>("dev_finalize", json!({})).await;
    assert_eq!(bed.error_code("dev_reorg", json!({"depth": 1})).await, -32_000);
    let forced = json!({"depth": 1, "belowFinality": "force", "dropped": "requeue"});
    bed.ask::<Value>("dev_reorg", forced).await;
    assert_eq!(bed.node.chain().lock().pending_count(), 1);
}

#[tokio::test]
async fn logs_are_found_by_block_range_address_and_topics() {
    let bed = Bed::start().await;
    bed.ask::<Value>("dev_mine", json!({"transfers": mixed()})).await;
    bed.ask::<Value>("dev_mine", json!({"transfers": [pay(20)]})).await;
    let count = async |filter: Value| bed.ask::<Vec<Log>>("eth_getLogs", json!([filter])).await.len();
    assert_eq!(count(json!({"fromBlock": "earliest"})).await, 5);
    assert_eq!(count(json!({})).await, 1, "without a range, the latest block");
    assert_eq!(count(json!({"fromBlock": "0x1", "toBlock": "0x1", "address": TOKEN})).await, 4);
    assert_eq!(count(json!({"fromBlock": "0x0", "toBlock": "0xff", "address": [ROUTER]})).await, 0);
    let to_shop = json!([TRANSFER_TOPIC, null, SHOP.into_word()]);
    assert_eq!(count(json!({"fromBlock": "0x0", "topics": to_shop})).await, 4);
    let hash = bed.block("0x1").await.header.hash;
    let logs: Vec<Log> = bed.ask("eth_getLogs", json!([{"blockHash": hash}])).await;
    let in_receipts: Vec<Log> =
        bed.receipts(hash).await.iter().flat_map(|receipt| receipt.inner.logs().to_vec()).collect();
    assert_eq!(logs, in_receipts);
    let unknown = json!([{"blockHash": B256::ZERO}]);
    assert_eq!(bed.error_code("eth_getLogs", unknown).await, -32_000);
    let backwards = json!([{"fromBlock": "0x2", "toBlock": "0x1"}]);
    assert_eq!(bed.error_code("eth_getLogs", backwards).await, -32_602);
    let wide = json!([{"fromBlock": "0x0", "toBlock": "0xffffff"}]);
    assert_eq!(bed.error_code("eth_getLogs", wide).await, -32_005);
}

#[tokio::test]
async fn pruned_blocks_are_null_and_a_log_query_over_them_is_refused() {
    let limits = Limits { blocks: 4, ..Limits::default() };
    let settings = ChainSettings { limits, ..ChainSettings::new(1, 0) };
    let bed = Bed::over(DevChain::with_settings(settings)).await;
    bed.ask::<Value>("dev_mine", json!({"count": 10})).await;
    assert_eq!(bed.ask::<Value>("eth_getBlockByNumber", json!(["0x6", false])).await, Value::Null);
    assert_eq!(bed.block("0x7").await.header.number, 7);
    assert_eq!(bed.block("earliest").await.header.number, 0);
    assert_eq!(bed.error_code("eth_getLogs", json!([{"fromBlock": "0x6"}])).await, -32_000);
    assert!(bed.ask::<Vec<Log>>("eth_getLogs", json!([{"fromBlock": "0x7"}])).await.is_empty());
}

#[tokio::test]
async fn a_declared_token_answers_calls() {
    let bed = Bed::start().await;
    bed.ask::<Value>("dev_declareToken", json!({"address": TOKEN, "symbol": "TUSD", "decimals": 6})).await;
    bed.ask::<Value>("dev_mine", json!({"transfers": [pay(7), pay(5)]})).await;
    let call = async |to: Address, data: &str| {
        bed.ask::<String>("eth_call", json!([{"to": to, "data": data}, "latest"])).await
    };
    assert_eq!(call(TOKEN, "0x313ce567").await, format!("0x{:064x}", 6));
    let balance_of =
        |account: Address| format!("0x70a08231{:0>64}", account.to_string().trim_start_matches("0x"));
    assert_eq!(call(TOKEN, &balance_of(SHOP)).await, format!("0x{:064x}", 12));
    assert_eq!(call(TOKEN, &balance_of(PAYER)).await, format!("0x{:064x}", 0));
    let symbol = format!("0x{:064x}{:064x}{:0<64}", 32, 4, "54555344");
    assert_eq!(call(TOKEN, "0x95d89b41").await, symbol);
    assert_eq!(call(ROUTER, "0x313ce567").await, "0x");
    assert_eq!(bed.error_code("eth_call", json!([{"to": TOKEN, "data": "0x00000000"}])).await, 3);
    let past = json!([{"to": TOKEN, "data": "0x313ce567"}, "0x0"]);
    assert_eq!(bed.error_code("eth_call", past).await, -32_000);
}

#[tokio::test]
async fn a_batch_is_answered_in_order_with_errors_in_place() {
    let bed = Bed::start().await;
    let batch = json!([
        {"jsonrpc": "2.0", "id": "a", "method": "eth_chainId"},
        {"jsonrpc": "2.0", "method": "dev_mine"},
        {"jsonrpc": "2.0", "id": 2, "method": "no_such"},
        {"id": 3},
        7,
        {"jsonrpc": "2.0", "id": 4, "method": "eth_blockNumber"},
    ]);
    let answers = bed.raw(batch).await;
    let summary: Vec<_> = answers
        .as_array()
        .unwrap()
        .iter()
        .map(|answer| (answer["id"].clone(), answer["error"]["code"].clone(), answer["result"].clone()))
        .collect();
    assert_eq!(
        summary,
        [
            (json!("a"), Value::Null, json!("0x7a69")),
            (json!(2), json!(-32_601), Value::Null),
            (json!(3), json!(-32_600), Value::Null),
            (Value::Null, json!(-32_600), Value::Null),
            (json!(4), Value::Null, json!("0x1")),
        ]
    );
    let notification = json!([{"jsonrpc": "2.0", "method": "dev_mine"}]).to_string();
    assert_eq!(bed.post(notification).await, (StatusCode::NO_CONTENT, String::new()));
    let largest = json!(vec![json!({"jsonrpc": "2.0", "id": 1, "method": "eth_chainId"}); 1_000]);
    assert_eq!(bed.raw(largest).await.as_array().unwrap().len(), 1_000);
    let too_large = json!(vec![json!({"jsonrpc": "2.0", "id": 1, "method": "eth_chainId"}); 1_001]);
    assert_eq!(bed.raw(too_large).await["error"]["code"], json!(-32_600));
    assert_eq!(bed.raw(json!([])).await["error"]["code"], json!(-32_600));
}

#[tokio::test]
async fn wrong_requests_get_proper_errors_and_change_nothing() {
    let bed = Bed::start().await;
    let (status, body) = bed.post("{not json".to_owned()).await;
    let body: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(
        (status, &body["error"]["code"], &body["id"]),
        (StatusCode::OK, &json!(-32_700), &Value::Null)
    );
    for (method, params) in [
        ("eth_getBlockByNumber", json!([])),
        ("eth_getBlockByNumber", json!(["newest", true])),
        ("eth_getBlockByNumber", json!(["latest", true, 1])),
        ("eth_getBlockByHash", json!(["0x12", true])),
        ("eth_getLogs", json!([{"surprise": 1}])),
        ("eth_chainId", json!({})),
        ("dev_mine", json!({"surprise": 1})),
        ("dev_mine", json!({"count": 0})),
        ("dev_mine", json!({"transfers": [{"kind": "direct"}]})),
        ("dev_reorg", json!({})),
        ("dev_reorg", json!({"depth": 1_000_000})),
    ] {
        assert_eq!(bed.error_code(method, params.clone()).await, -32_602, "{method} {params}");
    }
    assert_eq!(bed.error_code("dev_reorg", json!({"depth": 1})).await, -32_000);
    assert_eq!(bed.node.chain().lock().head().reference().number, 0);
}

#[tokio::test]
async fn bodies_are_limited_and_must_be_declared_as_json() {
    let bed = Bed::start().await;
    let (status, body) = bed.post(" ".repeat(11 * 1024 * 1024)).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
    assert!(serde_json::from_str::<Value>(&body).unwrap()["error"]["code"].is_i64());
    let form = bed.client.post(bed.node.url()).header("content-type", "text/plain").body("{}");
    assert_eq!(form.send().await.unwrap().status(), StatusCode::UNSUPPORTED_MEDIA_TYPE);
}

#[tokio::test]
async fn the_miner_mines_what_is_queued_until_it_is_stopped() {
    let bed = Bed::start().await;
    let hash = bed.node.transfer(&pay(7)).unwrap();
    assert!(matches!(bed.node.auto_mine(Duration::ZERO), Err(NodeError::ZeroInterval)));
    let miner = bed.node.auto_mine(Duration::from_millis(1)).unwrap();
    while bed.node.chain().lock().head().reference().number < 3 {
        tokio::task::yield_now().await;
    }
    let blocks = miner.stop().await.unwrap();
    assert_eq!(bed.node.chain().lock().head().reference().number, blocks);
    let receipt: TransactionReceipt = bed.ask("eth_getTransactionReceipt", json!([hash])).await;
    assert_eq!(receipt.block_number, Some(1));
    bed.node.reorg(2, vec![LiveBlock::default()], ReorgOptions::default()).unwrap();
    assert_eq!(bed.node.chain().lock().head().reference().number, blocks - 1);
    assert!(bed.block("latest").await.header.timestamp > 1_700_000_000, "blocks carry the wall clock's time");
}

#[tokio::test]
async fn a_node_stops_and_frees_its_port() {
    let bed = Bed::start().await;
    let url = bed.node.url();
    let port = url.rsplit(':').next().unwrap().parse().unwrap();
    let taken = DevNode::start(DevChain::new(1, 0), port).await;
    assert!(matches!(taken, Err(NodeError::Listen { .. })));
    assert_eq!(bed.ask::<String>("eth_chainId", json!([])).await, "0x7a69");
    bed.node.shutdown().await.unwrap();
    assert!(bed.client.post(&url).send().await.is_err());
}
