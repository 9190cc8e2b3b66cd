//! What a real node says of its chain, asked directly with `eth_getLogs` by block hash, and remembered, since a node may forget
//! what it left behind.

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// (receiver, value) of each transfer of a block, in log order, as lowercase hex.
pub(crate) type Transfers = Vec<(String, String)>;

/// `keccak256("Transfer(address,address,uint256)")`.
const TRANSFER: &str = "0xddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef";

/// The node, and what it ever said.
pub(crate) struct Truth {
    url: String,
    token: String,
    client: reqwest::Client,
    /// By block hash: every block that was ever canonical when it was asked.
    pub(crate) known: BTreeMap<String, Transfers>,
    /// The hashes of the canonical blocks, by height.
    pub(crate) canonical: Vec<String>,
}

impl Truth {
    pub(crate) fn of(url: &str, token: &str) -> Self {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let (url, token) = (url.to_owned(), token.to_lowercase());
        Self { url, token, client, known: BTreeMap::new(), canonical: Vec::new() }
    }

    pub(crate) async fn call(&self, method: &str, params: Value) -> Value {
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        let mut answer: Value =
            self.client.post(&self.url).json(&body).send().await.unwrap().json().await.unwrap();
        assert!(answer["error"].is_null(), "{method}: {}", answer["error"]);
        answer["result"].take()
    }

    /// Asks for the canonical branch as it is now.
    pub(crate) async fn look(&mut self) {
        let head = self.call("eth_blockNumber", json!([])).await;
        let head = u64::from_str_radix(head.as_str().unwrap().trim_start_matches("0x"), 16).unwrap();
        let mut canonical = Vec::new();
        for number in 0..=head {
            let block = self.call("eth_getBlockByNumber", json!([format!("{number:#x}"), false])).await;
            let hash = block["hash"].as_str().unwrap().to_owned();
            if !self.known.contains_key(&hash) {
                let filter = json!([{ "blockHash": hash, "address": self.token, "topics": [TRANSFER] }]);
                let logs = self.call("eth_getLogs", filter).await;
                let transfers = logs.as_array().unwrap().iter().map(transfer).collect();
                self.known.insert(hash.clone(), transfers);
            }
            canonical.push(hash);
        }
        self.canonical = canonical;
    }
}

fn transfer(log: &Value) -> (String, String) {
    let to = log["topics"][2].as_str().unwrap();
    (format!("0x{}", &to[26..]).to_lowercase(), log["data"].as_str().unwrap().to_lowercase())
}
