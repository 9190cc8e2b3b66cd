//! A node's own limit: the requests that the connector sends, through the same HTTP client, with nothing done with the answers;
//! and with verification off, the answers read and nothing of them recomputed.

use std::time::Instant;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use serde_json::{Value, json};
use streambook_connectors::chain::{
    answer::{BlockAnswer, ReceiptAnswer},
    http::read_envelope,
};

use super::{
    Reading,
    node::{History, Node},
    usage,
};

/// What is done with the answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Work {
    /// They are thrown away.
    Nothing,
    /// They are read into the connector's own types.
    Reading,
}

/// Which block is asked for, and which receipts.
pub(super) struct Wanted {
    pub(super) method: &'static str,
    pub(super) block: Value,
    pub(super) receipts: Value,
}

/// Asks for each block and then, as the connector does, for its receipts by hash.
pub(super) async fn read(
    node: &Node,
    history: &History,
    in_flight: usize,
    (whole, work): (bool, Work),
) -> anyhow::Result<Reading> {
    let blocks = (0_u64..).zip(&history.hashes).map(|(number, hash)| Wanted {
        method: "eth_getBlockByNumber",
        block: json!([format!("{number:#x}"), whole]),
        receipts: json!([hash]),
    });
    let (begun, cpu) = (Instant::now(), usage::cpu());
    let blocks = ask_all(node.client(), &node.url(), blocks, in_flight, work).await?;
    Ok(Reading::of(blocks, history.transfers, begun.elapsed(), usage::cpu().saturating_sub(cpu)))
}

/// Asks for these blocks; gives how many came.
pub(super) async fn ask_all(
    client: &reqwest::Client,
    url: &str,
    blocks: impl Iterator<Item = Wanted>,
    in_flight: usize,
    work: Work,
) -> anyhow::Result<u64> {
    let tasks = stream::iter(blocks).map(|wanted| {
        let (client, url) = (client.clone(), url.to_owned());
        // A task each, as in the connector, so that both use as many threads.
        let task = tokio::spawn(async move { block(&client, &url, &wanted, work).await });
        async move { anyhow::Ok(task.await??) }
    });
    tasks.buffered(in_flight).try_fold(0_u64, async |blocks, ()| anyhow::Ok(blocks.saturating_add(1))).await
}

async fn block(client: &reqwest::Client, url: &str, wanted: &Wanted, work: Work) -> anyhow::Result<()> {
    let block = ask(client, url, wanted.method, &wanted.block).await?;
    if work == Work::Reading {
        let _read: Option<BlockAnswer> = read_envelope(200, &block, 1)?;
    }
    let receipts = ask(client, url, "eth_getBlockReceipts", &wanted.receipts).await?;
    if work == Work::Reading {
        let _read: Option<Vec<ReceiptAnswer>> = read_envelope(200, &receipts, 1)?;
    }
    anyhow::ensure!(receipts.len() > 2, "the node sent an empty answer");
    Ok(())
}

async fn ask(client: &reqwest::Client, url: &str, method: &str, params: &Value) -> anyhow::Result<Bytes> {
    let request = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
    Ok(client.post(url).json(&request).send().await?.bytes().await?)
}
