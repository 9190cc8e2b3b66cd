//! What the connector asks one node: its chain, its head, its `safe` and `finalized` blocks, and whole blocks.
//! Guarantee: a block that is returned has been verified, is the one that was asked for, and its receipts were asked
//! for by the block's hash, so a reorganisation between two requests cannot mix two branches. A `null` for a
//! block that was announced is a lagging node, never a block without transfers.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use alloy_primitives::{BlockHash, TxHash, U64};
use futures::{StreamExt, TryStreamExt, stream};
use serde::Deserialize;
use serde_json::{Value, json};
use url::{Host, Url};

use super::answer::{BlockAnswer, ReceiptAnswer};
use super::config::Transactions;
use super::http::{Endpoint, HttpError};
use super::refusal::Refusal;
use super::types::{BlockId, BlockRef, VerifiedBlock};
use super::verify::{verify, verify_header};

/// Receipts asked for at once where a node sends them only one by one.
const SINGLE_RECEIPTS_IN_FLIGHT: usize = 8;

/// Which block is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// The canonical block at a height.
    Number(u64),
    /// The block with a hash, canonical or not.
    Hash(BlockHash),
    /// The block behind a tag of the execution API.
    Tag(&'static str),
}

impl std::fmt::Display for Wanted {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Number(number) => write!(formatter, "block {number}"),
            Self::Hash(hash) => write!(formatter, "block {hash}"),
            Self::Tag(tag) => write!(formatter, "the {tag} block"),
        }
    }
}

/// A block that the consensus layer vouches for (execution API, block tags).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tag {
    /// Unlikely to be taken back.
    Safe,
    /// Taken back only if the network breaks its rules.
    Finalized,
}

impl Tag {
    /// The tag's name in the execution API.
    pub fn name(self) -> &'static str {
        match self {
            Self::Safe => "safe",
            Self::Finalized => "finalized",
        }
    }
}

/// What a node has at a height.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// The canonical block.
    At(BlockId),
    /// Nothing yet: this is its head.
    Below(BlockId),
}

/// Where a receipt says that its transaction is.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Located {
    block_number: U64,
    block_hash: BlockHash,
}

/// A node's answer about a tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TagAnswer {
    /// The block.
    Block(BlockRef),
    /// The node has no such block, or does not know the tag.
    Unsupported {
        /// The node's words.
        reason: String,
    },
}

/// Why a node did not give what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The request failed.
    #[error("{method} failed")]
    Request {
        /// The JSON-RPC method.
        method: &'static str,
        /// Why.
        #[source]
        source: HttpError,
    },
    /// The node does not have what was announced; it, or another node behind the same URL, is behind.
    #[error("the node does not have {what} of {wanted} yet")]
    Lagging {
        /// The block or its receipts.
        what: &'static str,
        /// Which block.
        wanted: Wanted,
    },
    /// Another block came.
    #[error("asked for {wanted}, the node sent block {} ({})", sent.number, sent.hash)]
    OtherBlock {
        /// Which block was asked for.
        wanted: Wanted,
        /// What came.
        sent: BlockRef,
    },
    /// The answer contradicts itself.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The node did not send whole transactions although asked to.
    #[error(
        "the node sent only the hashes of the transactions of {wanted}; set `transactions = \"hashes\"` to accept that"
    )]
    HashesOnly {
        /// Which block.
        wanted: Wanted,
    },
    /// The node serves another chain.
    #[error("the node serves chain {found}, not {expected}")]
    WrongChain {
        /// The configured EIP-155 id.
        expected: u64,
        /// The node's.
        found: u64,
    },
}

/// What a node's failure says of the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It may work again soon.
    Unavailable,
    /// It refuses the request itself: a key, a limit or a setting has to change.
    Rejecting,
    /// It refuses because it is asked too often.
    Throttled,
    /// It is behind.
    Lagging,
    /// It sent something that is wrong.
    Lying,
    /// It follows another chain than the one that is settled.
    Forked,
    /// It serves another chain and is not asked again.
    WrongChain,
}

impl NodeError {
    /// What the failure says of the node.
    pub fn fault(&self) -> Fault {
        match self {
            Self::Request { source: HttpError::Unreadable(_) | HttpError::OtherRequest, .. } => Fault::Lying,
            Self::Request { source, .. } if source.is_throttled() => Fault::Throttled,
            Self::Request { source, .. } if source.is_retryable() => Fault::Unavailable,
            Self::Request { .. } | Self::HashesOnly { .. } => Fault::Rejecting,
            Self::Lagging { .. } => Fault::Lagging,
            Self::OtherBlock { .. } | Self::Refused(_) => Fault::Lying,
            Self::WrongChain { .. } => Fault::WrongChain,
        }
    }
}

/// One node.
#[derive(Debug)]
pub struct NodeRpc {
    endpoint: Endpoint,
    chain_id: u64,
    transactions: Transactions,
    /// Set once the node said that it lacks `eth_getBlockReceipts`.
    lacks_block_receipts: AtomicBool,
}

impl NodeRpc {
    /// A node of the chain behind an endpoint.
    pub fn new(endpoint: Endpoint, chain_id: u64, transactions: Transactions) -> Self {
        Self { endpoint, chain_id, transactions, lacks_block_receipts: AtomicBool::new(false) }
    }

    async fn call<T: serde::de::DeserializeOwned>(
        &self,
        method: &'static str,
        params: Value,
    ) -> Result<Option<T>, NodeError> {
        let result = self.endpoint.call(method, &params).await;
        result.map_err(|source| NodeError::Request { method, source })
    }

    /// Checks that the node serves the configured chain.
    ///
    /// # Errors
    /// [`NodeError::WrongChain`], or that the node cannot be asked.
    pub async fn check_chain(&self) -> Result<(), NodeError> {
        let found: Option<U64> = self.call("eth_chainId", json!([])).await?;
        let found: u64 = found.unwrap_or_default().to();
        if found == self.chain_id {
            return Ok(());
        }
        Err(NodeError::WrongChain { expected: self.chain_id, found })
    }

    /// The block that the node regards as the head of the canonical chain.
    ///
    /// # Errors
    /// [`NodeError`].
    pub async fn head(&self) -> Result<BlockId, NodeError> {
        let wanted = Wanted::Tag("latest");
        let block: Option<BlockAnswer> = self.call("eth_getBlockByNumber", json!(["latest", false])).await?;
        verified_header(&block.ok_or(NodeError::Lagging { what: "the header", wanted })?)
    }

    /// The canonical block at a height, or the head where the node has not reached it.
    ///
    /// # Errors
    /// [`NodeError`].
    pub async fn place(&self, number: u64) -> Result<Place, NodeError> {
        let wanted = Wanted::Number(number);
        let asked = self.call("eth_getBlockByNumber", json!([U64::from(number), false])).await?;
        let block: BlockAnswer = match asked {
            Some(block) => block,
            None => return self.head().await.map(Place::Below),
        };
        let block = verified_header(&block)?;
        if block.number == number {
            return Ok(Place::At(block));
        }
        Err(NodeError::OtherBlock { wanted, sent: block.reference() })
    }

    /// In which block the node has a transaction; `None` where it knows none. Its word alone: the block has to be read.
    ///
    /// # Errors
    /// [`NodeError`].
    pub async fn locate(&self, transaction: TxHash) -> Result<Option<BlockRef>, NodeError> {
        let found: Option<Located> = self.call("eth_getTransactionReceipt", json!([transaction])).await?;
        Ok(found.map(|found| BlockRef { number: found.block_number.to(), hash: found.block_hash }))
    }

    /// Requests a second the node is held to, once it has refused for the rate.
    pub fn requests_per_second(&self) -> Option<u32> {
        self.endpoint.requests_per_second()
    }

    /// The block behind a tag, or that the node has none.
    ///
    /// # Errors
    /// [`NodeError`] when the request does not get through or the block contradicts itself.
    pub async fn tag(&self, tag: Tag) -> Result<TagAnswer, NodeError> {
        let unsupported = |reason: String| Ok(TagAnswer::Unsupported { reason });
        let asked = self.call("eth_getBlockByNumber", json!([tag.name(), false])).await;
        let block: BlockAnswer = match asked {
            Ok(Some(block)) => block,
            Ok(None) => return unsupported(format!("the node has no {} block", tag.name())),
            Err(NodeError::Request { source: error, .. }) if error.is_refusal() => {
                return unsupported(format!(
                    "the node does not answer about the {} block: {error}",
                    tag.name()
                ));
            }
            Err(error) => return Err(error),
        };
        verified_header(&block).map(|block| TagAnswer::Block(block.reference()))
    }

    /// A block with its receipts, verified.
    ///
    /// # Errors
    /// [`NodeError`].
    pub async fn block(&self, wanted: Wanted) -> Result<VerifiedBlock, NodeError> {
        let block = self.block_answer(wanted).await?;
        let receipts = self.receipts(wanted, &block).await?;
        if receipts.is_empty() && !block.transactions.is_empty() {
            return Err(NodeError::Lagging { what: "the receipts", wanted });
        }
        Ok(verify(self.chain_id, &block, &receipts)?)
    }

    async fn block_answer(&self, wanted: Wanted) -> Result<BlockAnswer, NodeError> {
        let full = self.transactions == Transactions::Full;
        let (method, params) = match wanted {
            Wanted::Number(number) => ("eth_getBlockByNumber", json!([U64::from(number), full])),
            Wanted::Hash(hash) => ("eth_getBlockByHash", json!([hash, full])),
            Wanted::Tag(tag) => ("eth_getBlockByNumber", json!([tag, full])),
        };
        let block: Option<BlockAnswer> = self.call(method, params).await?;
        let block = block.ok_or(NodeError::Lagging { what: "the header", wanted })?;
        let asked_for = match wanted {
            Wanted::Number(number) => block.header.number == number,
            Wanted::Hash(hash) => block.hash == hash,
            Wanted::Tag(_) => true,
        };
        if !asked_for {
            return Err(NodeError::OtherBlock { wanted, sent: block.id().reference() });
        }
        if full && block.transactions.iter().any(|transaction| transaction.full().is_none()) {
            return Err(NodeError::HashesOnly { wanted });
        }
        Ok(block)
    }

    async fn receipts(&self, wanted: Wanted, block: &BlockAnswer) -> Result<Vec<ReceiptAnswer>, NodeError> {
        if !self.lacks_block_receipts.load(Ordering::Relaxed) {
            let asked: Result<Option<Vec<ReceiptAnswer>>, _> =
                self.call("eth_getBlockReceipts", json!([block.hash])).await;
            match asked {
                Err(NodeError::Request { source, .. }) if source.is_method_not_found() => {
                    self.lacks_block_receipts.store(true, Ordering::Relaxed);
                }
                // The receipts of this block are more than the node sends at once; one by one they are not.
                Err(NodeError::Request { source, .. }) if source.is_too_large() => {}
                Err(error) => return Err(error),
                Ok(receipts) => {
                    return receipts.ok_or(NodeError::Lagging { what: "the receipts", wanted });
                }
            }
        }
        self.single_receipts(wanted, block).await
    }

    /// The receipts one by one. They hold all events, so `eth_getLogs` would add nothing that is verified.
    async fn single_receipts(
        &self,
        wanted: Wanted,
        block: &BlockAnswer,
    ) -> Result<Vec<ReceiptAnswer>, NodeError> {
        let hashes: Vec<_> = block.transactions.iter().map(|transaction| transaction.hash()).collect();
        stream::iter(hashes)
            .map(|hash| async move {
                let receipt = self.call("eth_getTransactionReceipt", json!([hash])).await?;
                receipt.ok_or(NodeError::Lagging { what: "a receipt", wanted })
            })
            .buffered(SINGLE_RECEIPTS_IN_FLIGHT)
            .try_collect()
            .await
    }
}

fn verified_header(block: &BlockAnswer) -> Result<BlockId, NodeError> {
    verify_header(block)?;
    Ok(block.id())
}

/// The HTTP client for a node. A node on this machine is not reached through a proxy.
///
/// # Errors
/// The TLS set-up failed.
pub fn http_client(timeout: Duration, url: &Url) -> Result<reqwest::Client, reqwest::Error> {
    let local = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    let builder = reqwest::Client::builder();
    let builder = if local { builder.no_proxy() } else { builder };
    builder
        .connect_timeout(timeout)
        .redirect(reqwest::redirect::Policy::none())
        .pool_idle_timeout(Duration::from_secs(60))
        .build()
}
