//! A search of old blocks for what was sent to a payment.

use anyhow::bail;
use serde::{Deserialize, Serialize};
use streambook_model::{
    bytes::{Address, TxHash},
    chain::{BlockNumber, ChainId},
    id::PaymentId,
    message::Message,
    meta::Meta,
    records::{backfill::RequestBackfill, chain::WatchAddress},
    time::Timestamp,
    topics,
};
use streambook_runtime::clock;

use super::{
    Chains,
    log::{append, last},
};

/// What is searched for.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Backfill {
    /// The payment whose address is looked for.
    pub(crate) payment: PaymentId,
    /// Blocks of an earlier time are not searched.
    pub(crate) since: Option<Timestamp>,
    /// Blocks of a lower height are not searched.
    pub(crate) from: Option<BlockNumber>,
    /// Only this transaction is looked up.
    pub(crate) transaction: Option<TxHash>,
}

/// It is searched for.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Searching {
    pub(crate) chain: ChainId,
    pub(crate) payment: PaymentId,
    pub(crate) address: Address,
}

impl Backfill {
    pub(super) async fn ask(self, chains: &Chains) -> anyhow::Result<Searching> {
        let watch = self.watch(chains).await?;
        let now = clock::system()();
        let id = format!("{}:backfill:{}:{}", watch.chain, self.payment, now.millis());
        let request = RequestBackfill {
            meta: Meta { source: None, id, occurred_at: now, recorded_at: now, cause: None, trace: None },
            chain: watch.chain,
            payment: self.payment,
            address: watch.address,
            token: watch.token,
            since: self.since,
            from_number: self.from,
            tx_hash: self.transaction,
            payer: None,
            exact: watch.exact,
        };
        append(&chains.log, watch.chain, request).await?;
        Ok(Searching { chain: watch.chain, payment: self.payment, address: watch.address })
    }

    /// The payment's watch, as its book asked for it.
    async fn watch(&self, chains: &Chains) -> anyhow::Result<WatchAddress> {
        for chain in &chains.configured {
            let found = last(&*chains.log, ChainId(chain.id), topics::CHAIN_INBOX, |message| match message {
                Message::WatchAddress(watch) if watch.payment == self.payment => Some(watch),
                _ => None,
            });
            if let Some(watch) = found.await? {
                return Ok(watch);
            }
        }
        bail!(
            "no [[chain]] watches an address for {}: is it a chain payment of this data directory?",
            self.payment
        )
    }
}
