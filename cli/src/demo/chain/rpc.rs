//! JSON-RPC to a node on this machine: one call at a time, with a time limit, and a node's error as an error.

use std::time::Duration;

use anyhow::{Context, bail};
use serde_json::{Value, json};

/// How long a node on this machine may take to answer.
const TIMEOUT: Duration = Duration::from_secs(20);

/// A call to be made.
pub(super) struct Call {
    pub(super) method: &'static str,
    pub(super) params: Value,
}

impl Call {
    pub(super) fn new(method: &'static str, params: Value) -> Self {
        Self { method, params }
    }
}

/// A node.
pub(super) struct Rpc {
    url: String,
    client: reqwest::Client,
}

impl Rpc {
    pub(super) fn new(url: String) -> anyhow::Result<Self> {
        let client = reqwest::Client::builder().no_proxy().timeout(TIMEOUT).build();
        Ok(Self { url, client: client.context("cannot prepare the HTTP client")? })
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// Makes the call; gives its result.
    pub(super) async fn call(&self, call: Call) -> anyhow::Result<Value> {
        let Call { method, params } = call;
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        let answer = self.client.post(&self.url).json(&body).send().await;
        let answer = answer.with_context(|| format!("the local chain does not answer {method}"))?;
        let mut answer: Value =
            answer.json().await.with_context(|| format!("{method}: the answer is not JSON"))?;
        if let Some(error) = answer.get("error") {
            bail!(
                "the local chain refuses {method}: {}",
                error["message"].as_str().unwrap_or("no reason given")
            );
        }
        Ok(answer["result"].take())
    }

    /// Makes a call that answers with a text, such as a transaction's hash.
    pub(super) async fn text(&self, call: Call) -> anyhow::Result<String> {
        let method = call.method;
        let result = self.call(call).await?;
        result
            .as_str()
            .map(str::to_owned)
            .with_context(|| format!("{method}: expected a text, found {result}"))
    }

    /// The height and the time of the head, in Unix seconds.
    pub(super) async fn head(&self) -> anyhow::Result<(u64, u64)> {
        let block = self.call(Call::new("eth_getBlockByNumber", json!(["latest", false]))).await?;
        Ok((quantity(&block["number"])?, quantity(&block["timestamp"])?))
    }

    /// A transaction's receipt, once it is in a block.
    pub(super) async fn receipt(&self, transaction: &str) -> anyhow::Result<Option<Value>> {
        let receipt = self.call(Call::new("eth_getTransactionReceipt", json!([transaction]))).await?;
        Ok((!receipt.is_null()).then_some(receipt))
    }
}

/// A number as JSON-RPC writes it: hexadecimal behind `0x`.
pub(super) fn quantity(value: &Value) -> anyhow::Result<u64> {
    let digits = value.as_str().and_then(|text| text.strip_prefix("0x"));
    let number = digits.and_then(|digits| u64::from_str_radix(digits, 16).ok());
    number.with_context(|| format!("expected a hexadecimal number, found {value}"))
}
