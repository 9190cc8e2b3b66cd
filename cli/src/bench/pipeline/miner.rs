//! The chain: puts deposits into blocks and appends them as the chain connector's feed does, a block, the head and the
//! finalized block in one append. Blocks come at a steady pace while something is to be paid or confirmed.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use streambook_model::{
    bytes::{Address, BlockHash, TokenValue, TxHash},
    chain::BlockNumber,
    message::Message,
    meta::Meta,
    records::chain::{ChainBlock, ChainFinalized, ChainHead, TokenTransfer},
    topics,
};
use streambook_runtime::{clock, publisher::Publisher};
use tokio::{sync::mpsc, time::MissedTickBehavior};

use super::{
    ChainPace,
    commands::Deposit,
    plant::{CHAIN, TOKEN, meta},
};

/// Who pays.
const PAYER: Address = Address::new([0xbb; 20]);

/// When each block was appended.
#[derive(Debug, Clone, Default)]
pub(super) struct Mined(Arc<Mutex<Vec<Instant>>>);

impl Mined {
    /// When the block that confirms transfers of this one was appended.
    pub(super) fn confirmed_at(&self, included: BlockNumber, confirmations: u32) -> Option<Instant> {
        let number = included.0.saturating_add(u64::from(confirmations.saturating_sub(1)));
        self.0.lock().get(usize::try_from(number).ok()?).copied()
    }
}

/// Makes blocks.
pub(super) struct Miner {
    publisher: Publisher,
    pace: ChainPace,
    mined: Mined,
    /// The next block's number.
    next: u64,
    /// The last block with a transfer.
    last_paid: u64,
}

impl Miner {
    /// At block zero.
    pub(super) fn new(publisher: Publisher, pace: ChainPace, mined: Mined) -> Self {
        Self { publisher, pace, mined, next: 0, last_paid: 0 }
    }

    /// Runs until nobody can send deposits any more, or the log fails.
    pub(super) async fn run(mut self, mut deposits: mpsc::Receiver<Deposit>) -> anyhow::Result<()> {
        let mut ticks = tokio::time::interval(Duration::from_millis(self.pace.block_ms.max(1)));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let mut paid = Vec::new();
            while paid.len() < self.pace.block_transfers {
                let Ok(deposit) = deposits.try_recv() else { break };
                paid.push(deposit);
            }
            if deposits.is_closed() && paid.is_empty() {
                return Ok(());
            }
            if !paid.is_empty() || self.next < self.last_paid + u64::from(self.pace.confirmations) {
                self.mine(&paid).await?;
            }
        }
    }

    async fn mine(&mut self, paid: &[Deposit]) -> anyhow::Result<()> {
        let number = self.next;
        let mut records = vec![self.block(number, paid), head(number)];
        let finalized =
            number.checked_sub(self.pace.finalized_after).filter(|_| self.pace.finalized_after > 0);
        records.extend(finalized.map(finality));
        if !paid.is_empty() {
            self.last_paid = number;
        }
        self.next += 1;
        self.mined.0.lock().push(Instant::now());
        self.publisher.publish_all(topics::CHAIN_INBOX, CHAIN.to_string().as_bytes(), &records).await?;
        Ok(())
    }

    fn block(&self, number: u64, paid: &[Deposit]) -> Message {
        // Whole seconds, as a block's header has them.
        let seconds = u64::try_from(clock::system()().millis() / 1_000).unwrap_or_default();
        let timestamp = streambook_model::time::Timestamp::from_seconds(seconds).unwrap_or_default();
        let transfers = paid.iter().zip(0_u32..).map(|(deposit, index)| transfer(number, index, deposit));
        ChainBlock {
            meta: Meta { occurred_at: timestamp, ..meta(&format!("{CHAIN}:block:{}", hash(number))) },
            chain: CHAIN,
            number: BlockNumber(number),
            hash: hash(number),
            parent_hash: number.checked_sub(1).map_or(BlockHash::ZERO, hash),
            timestamp,
            transfers: transfers.collect(),
        }
        .into()
    }
}

fn head(number: u64) -> Message {
    let meta = meta(&format!("{CHAIN}:head:{}", hash(number)));
    ChainHead { meta, chain: CHAIN, number: BlockNumber(number), hash: hash(number) }.into()
}

fn finality(number: u64) -> Message {
    let meta = meta(&format!("{CHAIN}:finalized:{}", hash(number)));
    ChainFinalized { meta, chain: CHAIN, number: BlockNumber(number), hash: hash(number) }.into()
}

fn transfer(block: u64, log_index: u32, deposit: &Deposit) -> TokenTransfer {
    let mut value = [0; 32];
    value[16..].copy_from_slice(&deposit.amount.units().to_be_bytes());
    let tx_hash =
        Sha256::new().chain_update(block.to_be_bytes()).chain_update(log_index.to_be_bytes()).finalize();
    TokenTransfer {
        token: TOKEN,
        from: PAYER,
        to: deposit.address,
        value: TokenValue::new(value),
        tx_hash: TxHash::new(tx_hash.into()),
        log_index,
    }
}

fn hash(number: u64) -> BlockHash {
    BlockHash::new(Sha256::digest(number.to_be_bytes()).into())
}
