//! The node's own limit: the requests that the connector sends, through the same HTTP client, the answers read and thrown away.

use std::time::Instant;

use futures::{StreamExt, TryStreamExt, stream};
use serde_json::{Value, json};

use super::{
    Reading,
    node::{History, Node},
    usage,
};

/// Asks for each block and then, as the connector does, for its receipts by hash.
pub(super) async fn read(
    node: &Node,
    history: &History,
    in_flight: usize,
    whole: bool,
) -> anyhow::Result<Reading> {
    let (begun, cpu) = (Instant::now(), usage::cpu());
    let blocks = (0_u64..).zip(history.hashes.iter().cloned());
    let url = node.url();
    let tasks = stream::iter(blocks).map(|(number, hash)| {
        let (client, url) = (node.client().clone(), url.clone());
        // A task each, as in the connector, so that both use as many threads.
        let task = tokio::spawn(async move {
            let block = json!([format!("{number:#x}"), whole]);
            ask(&client, &url, "eth_getBlockByNumber", block).await?;
            ask(&client, &url, "eth_getBlockReceipts", json!([hash])).await
        });
        async move { anyhow::Ok(task.await??) }
    });
    let read: Vec<usize> = tasks.buffered(in_flight).try_collect().await?;
    let took = begun.elapsed();
    anyhow::ensure!(read.iter().all(|bytes| *bytes > 2), "the node sent an empty answer");
    Ok(Reading::of(u64::try_from(read.len())?, history.transfers, took, usage::cpu().saturating_sub(cpu)))
}

async fn ask(client: &reqwest::Client, url: &str, method: &str, params: Value) -> reqwest::Result<usize> {
    let request = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
    let body = client.post(url).json(&request).send().await?.bytes().await?;
    Ok(body.len())
}
