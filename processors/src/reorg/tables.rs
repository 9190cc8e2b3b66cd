//! What the processor keeps, by chain. Values are small, and written once or a few times in their lives; the one larger
//! value, a block's transfers, is never rewritten.

use serde::{Deserialize, Serialize};
use streambook_model::{
    asset::AssetId,
    bytes::{Address, BlockHash, TxHash},
    chain::{BlockNumber, ChainId, ConfirmationPolicy, Inclusion},
    id::{MerchantId, PaymentId},
    money::Amount,
    records::chain::{ExactAmount, TokenTransfer},
    time::Timestamp,
};
use streambook_runtime::{
    processor::{Context, Fault},
    table::Table,
};

use super::{change::BlockRef, queue::Queue};

/// By chain.
pub(super) const CHAINS: Table<Chain> = Table::new(1);
/// The asset of a contract, by (chain, contract). An asset that was accepted once stays, so that what is still paid
/// for it is matched.
pub(super) const TOKENS: Table<AssetId> = Table::new(2);
/// By (chain, hash).
pub(super) const BLOCKS: Table<Block> = Table::new(3);
/// A block's transfers worth more than nothing, by (chain, hash); absent where there are none.
pub(super) const TRANSFERS: Table<Vec<TokenTransfer>> = Table::new(4);
/// Every block, by (chain, height, hash): the order in which they are forgotten.
pub(super) const HEIGHTS: Table<BlockRef> = Table::new(5);
/// Blocks that do not link yet, by (chain, parent, hash).
pub(super) const WAITING: Table<BlockRef> = Table::new(6);
/// The canonical block's hash, by (chain, height).
pub(super) const CANONICAL: Table<BlockHash> = Table::new(7);
/// Transfers by receiver, by (chain, receiver, (height, hash, log index)): of all blocks, canonical or not.
pub(super) const RECENT: Table<Recent> = Table::new(8);
/// The last block of [`RECENT`], by height and hash, that holds a transfer to a receiver, by (chain, receiver). Blocks are
/// forgotten in this order, so there is one as long as there is anything to find. Most addresses are watched before
/// anything is sent to them, and a look at one key says so, where a range has to be looked for in every run of the store.
pub(super) const LAST_RECENT: Table<BlockRef> = Table::new(17);
/// The watches of an address, one for each token at most, by (chain, address). None at all, but a value: payments share the
/// address, and are told apart by [`EXACT`].
pub(super) const WATCHES: Table<Vec<Watch>> = Table::new(9);
/// Deadlines not yet passed, by (chain, deadline, payment).
pub(super) const DEADLINES: Queue<Timestamp, PaymentId, Due> = Queue::new(10);
/// Inclusions waiting for depth, by (chain, height at which they confirm, (height, log index)).
pub(super) const CONFIRMING: Queue<BlockNumber, (BlockNumber, u32), Open> = Queue::new(11);
/// Inclusions waiting for the `finalized` tag to confirm them, by (chain, height, log index).
pub(super) const UNFINAL: Queue<BlockNumber, u32, Open> = Queue::new(12);
/// Confirmed inclusions that are not final yet, by (chain, height, log index).
pub(super) const CONFIRMED: Queue<BlockNumber, u32, Open> = Queue::new(13);

/// Watches that came while the chain was halted and have not looked back yet, by (chain, address, token). 14 is the queues'.
pub(super) const HALTED: Table<HaltedWatch> = Table::new(15);

/// Watches of addresses that payments share, by (chain, address, (token, amount, the time it ends)). Those of one amount have
/// times that do not meet, so the first that does not end before a transfer's time is the only one that can be its own.
pub(super) const EXACT: Table<ExactWatch> = Table::new(30);
/// Those of [`EXACT`] that came while the chain was halted and have not looked back yet, by the same key.
pub(super) const HALTED_EXACT: Table<ExactWatch> = Table::new(31);
/// Backfills that are asked for and not answered, by (chain, number).
pub(super) const BACKFILLS: Table<Backfill> = Table::new(18);
/// What became of transfers that an answered backfill held, by (chain, receiver, (height, hash, log index)): another answer may
/// hold them again, and their blocks are not kept.
pub(super) const BACKFILLED: Table<Told> = Table::new(19);
/// Of addresses that payments share: the height from which on what comes in a token is judged when its block becomes canonical,
/// since a payment watches it, by (chain, address, token). What nobody's amount is has been put aside then.
pub(super) const JUDGED_FROM: Table<BlockNumber> = Table::new(35);

/// Claimed transactions, by (chain, transaction, (address, token)).
pub(super) const CLAIMS: Table<Claim> = Table::new(32);
/// Transfers that were counted for a claim, by (chain, block, log index): whose they are does not change, also if a payment
/// with their exact amount comes later.
pub(super) const CLAIMED: Table<Watch> = Table::new(33);
/// Those of [`CLAIMS`] that came while the chain was halted, by the same key.
pub(super) const HALTED_CLAIMS: Table<Claim> = Table::new(34);

/// The look-back window of a chain until the settings name it. The connector may be ahead of the settings, and what it
/// brings meanwhile must not be forgotten.
const LOOK_BACK_SECONDS: u32 = 24 * 60 * 60;

/// How a chain stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Chain {
    pub(super) id: ChainId,
    /// The version of the settings that named the chain last; `None` while none has.
    pub(super) settings: Option<u32>,
    pub(super) look_back_seconds: u32,
    pub(super) head: Option<Head>,
    /// The block below which the canonical branch cannot change. At first it is the parent of the first block, which is
    /// itself not in the tree, so that the first block can be replaced.
    pub(super) floor: Option<BlockRef>,
    /// The height of the first block that was ever read.
    pub(super) first_block: Option<BlockNumber>,
    /// The block the chain's `finalized` tag has reached.
    pub(super) finalized: Option<BlockRef>,
    /// Why the chain has stopped.
    pub(super) halted: Option<String>,
    /// The last head, while its block does not link or the chain is halted.
    pub(super) pending_head: Option<BlockRef>,
    /// The last finalized block, while the head is not there yet.
    pub(super) pending_finalized: Option<BlockRef>,
    /// How many blocks do not link.
    pub(super) held: u32,
    /// No block is kept below this height.
    pub(super) pruned_below: BlockNumber,
    /// The latest time of a block that was kept and is forgotten.
    pub(super) forgotten_until: Option<Timestamp>,
    /// How many backfills were ever asked for, and how many are open.
    pub(super) backfills: u64,
    pub(super) open_backfills: u32,
}

/// The canonical head.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Head {
    pub(super) block: BlockRef,
    pub(super) time: Timestamp,
}

/// A block of the tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Block {
    pub(super) number: BlockNumber,
    pub(super) parent: BlockHash,
    pub(super) time: Timestamp,
    /// How many times it has become canonical.
    pub(super) times_canonical: u32,
    /// Whether it has transfers, so that most blocks need no second look-up.
    pub(super) has_transfers: bool,
    /// Whether all its ancestors down to the final block are known.
    pub(super) linked: bool,
    /// The chain's settings when it came, since they say which tokens the connector looks at.
    pub(super) settings: Option<u32>,
}

/// Where a transfer to an address is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Recent {
    pub(super) block: BlockRef,
    pub(super) log_index: u32,
}

/// Who is told of transfers of a token to an address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Watch {
    pub(super) merchant: MerchantId,
    pub(super) payment: PaymentId,
    pub(super) asset: AssetId,
    pub(super) token: Address,
    pub(super) deadline: Timestamp,
    pub(super) policy: ConfirmationPolicy,
    /// The lowest height whose transfers it is told of by itself: the lowest block that was kept when it looked back. None
    /// where there was no block yet, so that it is told of everything from the first one on, and while it has not looked back.
    pub(super) known_from: Option<BlockNumber>,
}

/// Who is told of transfers of an exact amount to an address that others share.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ExactWatch {
    pub(super) address: Address,
    pub(super) watch: Watch,
    pub(super) exact: ExactAmount,
    /// It came while the chain was halted, and has been told of nothing.
    pub(super) waits: bool,
}

/// Who is told of what one transaction sends to an address that payments share.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Claim {
    pub(super) tx_hash: TxHash,
    pub(super) address: Address,
    pub(super) payer: Address,
    pub(super) from: Timestamp,
    pub(super) until: Timestamp,
    pub(super) watch: Watch,
    /// It came while the chain was halted, and has been told of nothing.
    pub(super) waits: bool,
    /// Its transaction is being looked up among the blocks that are kept no longer.
    pub(super) looked_up: bool,
}

/// A watch that has not looked back yet, whether it is its address's first, and when it was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct HaltedWatch {
    pub(super) address: Address,
    pub(super) token: Address,
    pub(super) is_first: bool,
    pub(super) made_at: Timestamp,
}

/// A search that the connector was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Backfill {
    pub(super) merchant: MerchantId,
    pub(super) payment: PaymentId,
    pub(super) address: Address,
    pub(super) token: Address,
    pub(super) top: BlockRef,
    pub(super) search: Search,
}

/// What is searched for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Search {
    pub(super) since: Option<Timestamp>,
    pub(super) from: Option<BlockNumber>,
    pub(super) tx_hash: Option<TxHash>,
    pub(super) payer: Option<Address>,
    /// The payment's exact amount, where others share its address.
    pub(super) exact: Option<ExactAmount>,
    /// The transaction is claimed.
    pub(super) is_claim: bool,
}

/// What became of a transfer that an answer held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Told {
    /// It was reported for the payment whose it is.
    Counted,
    /// It was put aside. A payment whose amount it has may still come.
    PutAside,
}

/// A deadline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Due {
    pub(super) deadline: Timestamp,
    pub(super) merchant: MerchantId,
    pub(super) payment: PaymentId,
}

/// A watched transfer in a canonical block: all that is needed to report on it again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Open {
    pub(super) merchant: MerchantId,
    pub(super) payment: PaymentId,
    pub(super) asset: AssetId,
    pub(super) token: Address,
    pub(super) from: Address,
    pub(super) to: Address,
    pub(super) amount: Amount,
    pub(super) block_time: Timestamp,
    pub(super) inclusion: Inclusion,
    pub(super) policy: ConfirmationPolicy,
}

impl Chain {
    /// A chain nothing is known of.
    pub(super) const fn new(id: ChainId) -> Self {
        Self {
            id,
            settings: None,
            look_back_seconds: LOOK_BACK_SECONDS,
            head: None,
            floor: None,
            first_block: None,
            finalized: None,
            halted: None,
            pending_head: None,
            pending_finalized: None,
            held: 0,
            pruned_below: BlockNumber(0),
            forgotten_until: None,
            backfills: 0,
            open_backfills: 0,
        }
    }

    /// The blocks from a height to the head, both included; 0 above the head.
    pub(super) fn confirmations(&self, number: BlockNumber) -> u32 {
        let above = self.head.and_then(|head| head.block.number.0.checked_sub(number.0));
        above.map_or(0, |above| u32::try_from(above.saturating_add(1)).unwrap_or(u32::MAX))
    }
}

impl Open {
    /// Where it stands in the tables ordered by height.
    pub(super) const fn by_height(&self, chain: ChainId) -> (ChainId, BlockNumber, u32) {
        (chain, self.inclusion.block_number, self.inclusion.log_index)
    }

    /// Where it stands among those that wait for depth.
    pub(super) fn by_confirmation(
        &self,
        chain: ChainId,
        depth: u32,
    ) -> (ChainId, BlockNumber, (BlockNumber, u32)) {
        let number = self.inclusion.block_number;
        (chain, confirms_at(number, depth), (number, self.inclusion.log_index))
    }
}

/// The head's height at which a block has `depth` confirmations. Its own counts, so a depth of 0 is one of 1.
pub(super) fn confirms_at(number: BlockNumber, depth: u32) -> BlockNumber {
    BlockNumber(number.0.saturating_add(u64::from(depth.saturating_sub(1))))
}

/// A block that must be in the tree.
pub(super) fn block_of(chain: &Chain, hash: &BlockHash, context: &Context<'_>) -> Result<Block, Fault> {
    let block = BLOCKS.get(&context.state, (chain.id, hash))?;
    block.ok_or_else(|| Fault::Stop(format!("the state of chain {} lacks block {hash}", chain.id)))
}

/// A block's transfers, in log order.
pub(super) fn transfers_of(
    chain: &Chain,
    block: &Block,
    hash: &BlockHash,
    context: &Context<'_>,
) -> Result<Vec<TokenTransfer>, Fault> {
    if !block.has_transfers {
        return Ok(Vec::new());
    }
    let transfers = TRANSFERS.get(&context.state, (chain.id, hash))?;
    transfers.ok_or_else(|| {
        Fault::Stop(format!("the state of chain {} lacks the transfers of block {hash}", chain.id))
    })
}
