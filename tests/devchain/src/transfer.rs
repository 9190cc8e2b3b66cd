//! What a caller asks the chain to carry: token transfers, in the shapes that a payment watcher meets.
//!
//! The chain's tokens are faucets: a sender needs no balance, because a test says what happened and the
//! chain only has to record it in the form of a real one.

use alloy_primitives::{Address, U256};
use serde::{Deserialize, Serialize};

/// One ERC-20 movement; becomes one `Transfer(address,address,uint256)` log of the token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Transfer {
    /// The token contract, which is the address the log is emitted from.
    pub token: Address,
    /// The account that is debited; the zero address mints.
    pub from: Address,
    /// The account that is credited; the zero address burns.
    pub to: Address,
    /// The amount in the token's smallest unit.
    pub value: U256,
}

/// One transaction to be made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase", deny_unknown_fields)]
pub enum TransferRequest {
    /// A transaction sent to the token itself, with one `Transfer` log.
    Direct {
        /// The token contract, which is also the receiver of the transaction.
        token: Address,
        /// The sender of the transaction and of the tokens.
        from: Address,
        /// The receiver of the tokens.
        to: Address,
        /// The amount in the token's smallest unit.
        value: U256,
    },
    /// A transaction sent to another contract that moves tokens, any number of times: the transaction's
    /// receiver is not the token, its sender need not be the payer, and it has several logs.
    Routed {
        /// The sender of the transaction.
        sender: Address,
        /// The contract that the transaction is sent to.
        router: Address,
        /// The movements in the order of their logs.
        transfers: Vec<Transfer>,
    },
    /// A transaction sent to the token that reverts: status 0, no logs, no balance changed.
    Failed {
        /// The token contract.
        token: Address,
        /// The sender of the transaction.
        from: Address,
        /// The receiver the call data names.
        to: Address,
        /// The amount the call data names.
        value: U256,
    },
}

impl TransferRequest {
    /// A transaction to `token` that moves `value` between two accounts.
    #[must_use]
    pub const fn direct(token: Address, from: Address, to: Address, value: U256) -> Self {
        Self::Direct { token, from, to, value }
    }

    /// A transaction to `token` that reverts.
    #[must_use]
    pub const fn failed(token: Address, from: Address, to: Address, value: U256) -> Self {
        Self::Failed { token, from, to, value }
    }

    /// A transaction from `sender` to `router` that makes all of `transfers`.
    #[must_use]
    pub const fn routed(sender: Address, router: Address, transfers: Vec<Transfer>) -> Self {
        Self::Routed { sender, router, transfers }
    }
}
