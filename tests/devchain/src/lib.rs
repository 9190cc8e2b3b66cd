//! A small EVM-like chain for development, tests and benchmarks.
//!
//! It makes blocks with correct headers, blooms, transaction and receipt roots, carries ERC-20 transfers on
//! request, and reorganises to any depth. It executes no contracts and checks no signatures or balances: a
//! test says what happened, and the chain records it in the form in which a real node would show it.
//!
//! Two layers:
//! - [`DevChain`] is pure: the same calls give the same hashes. It has no clock, no randomness and no I/O.
//! - [`DevNode`] puts it behind JSON-RPC over HTTP on `127.0.0.1`, with the wall clock and a miner.
//!
//! ```
//! use alloy_primitives::{Address, U256};
//! use streambook_devchain::{BlockSpec, DevChain, ReorgOptions, TransferRequest};
//!
//! let [token, payer, shop] = [1, 2, 3].map(Address::with_last_byte);
//! let mut chain = DevChain::new(31_337, 1_700_000_000);
//! let payment = TransferRequest::direct(token, payer, shop, U256::from(12_500_000));
//! let paid = chain.mine(1_700_000_012, &[payment])?;
//! assert_eq!(chain.balance_of(token, shop), U256::from(12_500_000));
//!
//! chain.reorg(1, &[BlockSpec::of(1_700_000_013, &[])], ReorgOptions::default())?;
//! assert_eq!(chain.balance_of(token, shop), U256::ZERO);
//!
//! chain.switch_to(paid.hash, ReorgOptions::default())?;
//! assert_eq!(chain.head().reference(), paid);
//! # Ok::<(), streambook_devchain::ChainError>(())
//! ```

mod block;
mod chain;
mod live;
mod node;
mod render;
mod server;
mod transaction;
mod transfer;

pub use block::{BASE_FEE_WEI, BLOCK_GAS_LIMIT, BlockRef, DevBlock};
pub use chain::{
    BelowFinality, BlockSpec, ChainError, ChainSettings, Content, DevChain, Dropped, FinalityRule, Included,
    Limits, ReorgOptions, Reorged, Token,
};
pub use live::{LiveBlock, LiveChain};
pub use node::{AutoMiner, DevNode, NodeError};
pub use render::{
    Detail, rpc_block, rpc_logs, rpc_pending_transaction, rpc_receipt, rpc_receipts, rpc_transaction,
};
pub use transaction::{DevTransaction, Outcome, TRANSFER_TOPIC};
pub use transfer::{Transfer, TransferRequest};
