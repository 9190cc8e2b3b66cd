//! A transaction as the chain keeps it: a real EIP-1559 envelope with its hash, its sender and what it
//! does when it is executed.
//!
//! Signatures are a constant and nobody checks them: the sender is whoever the request names. The hash is
//! the Keccak-256 of the encoded envelope, as on any chain, and the nonce is the chain-wide count of
//! transactions made, so two requests that are equal in every field still get two hashes.

use alloy_consensus::{Signed, TxEip1559, TxEnvelope};
use alloy_eips::eip2930::AccessList;
use alloy_primitives::{Address, B256, Bytes, Log, LogData, Signature, TxKind, U256, b256, keccak256};

use crate::transfer::{Transfer, TransferRequest};

/// `keccak256("Transfer(address,address,uint256)")`, the first topic of every transfer log (ERC-20).
pub const TRANSFER_TOPIC: B256 = b256!("ddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef");

/// What every transaction costs, in gas (the yellow paper's intrinsic gas).
const BASE_GAS: u64 = 21_000;
/// What each token movement costs on top, in gas; a typical value for an ERC-20 token.
const GAS_PER_TRANSFER: u64 = 30_000;
/// What a reverted call has used on top when it stops, in gas.
const GAS_OF_REVERT: u64 = 3_000;
/// The tip every transaction offers, in wei per gas.
const PRIORITY_FEE_WEI: u128 = 1_000_000;

/// Whether the transaction changed anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Status 1: the logs stand.
    Succeeded,
    /// Status 0: no logs.
    Reverted,
}

/// A transaction that can be put into a block, or into several blocks of different branches.
#[derive(Clone, Debug)]
pub struct DevTransaction {
    /// The envelope, whose hash is computed once.
    pub envelope: TxEnvelope,
    /// The sender.
    pub sender: Address,
    /// The contract the transaction is sent to.
    pub receiver: Address,
    /// Whether it succeeds.
    pub outcome: Outcome,
    /// The logs it emits, in order.
    pub logs: Vec<Log>,
    /// The gas it uses.
    pub gas_used: u64,
}

impl DevTransaction {
    /// Makes the transaction for a request. It offers twice the base fee and a tip.
    pub(crate) fn new(request: &TransferRequest, chain_id: u64, nonce: u64, base_fee_wei: u64) -> Self {
        let plan = Plan::of(request);
        let tx = TxEip1559 {
            chain_id,
            nonce,
            gas_limit: plan.gas_used,
            max_fee_per_gas: u128::from(base_fee_wei) * 2 + PRIORITY_FEE_WEI,
            max_priority_fee_per_gas: PRIORITY_FEE_WEI,
            to: TxKind::Call(plan.receiver),
            value: U256::ZERO,
            access_list: AccessList::default(),
            input: plan.input,
        };
        let envelope = TxEnvelope::Eip1559(Signed::new_unhashed(tx, unchecked_signature()));
        // Asked for here so that the hash is computed once and shared by everyone who reads it.
        let _ = envelope.tx_hash();
        let Plan { sender, receiver, outcome, logs, gas_used, .. } = plan;
        Self { envelope, sender, receiver, outcome, logs, gas_used }
    }

    /// The transaction's hash.
    #[must_use]
    pub fn hash(&self) -> B256 {
        *self.envelope.tx_hash()
    }
}

/// What a request comes to, before it has a nonce.
struct Plan {
    sender: Address,
    receiver: Address,
    outcome: Outcome,
    logs: Vec<Log>,
    gas_used: u64,
    input: Bytes,
}

impl Plan {
    fn of(request: &TransferRequest) -> Self {
        match request {
            TransferRequest::Direct { token, from, to, value } => Self {
                sender: *from,
                receiver: *token,
                outcome: Outcome::Succeeded,
                logs: vec![transfer_log(&Transfer { token: *token, from: *from, to: *to, value: *value })],
                gas_used: BASE_GAS + GAS_PER_TRANSFER,
                input: transfer_call(*to, *value),
            },
            TransferRequest::Failed { token, from, to, value } => Self {
                sender: *from,
                receiver: *token,
                outcome: Outcome::Reverted,
                logs: Vec::new(),
                gas_used: BASE_GAS + GAS_OF_REVERT,
                input: transfer_call(*to, *value),
            },
            TransferRequest::Routed { sender, router, transfers } => Self {
                sender: *sender,
                receiver: *router,
                outcome: Outcome::Succeeded,
                logs: transfers.iter().map(transfer_log).collect(),
                gas_used: transfers.iter().fold(BASE_GAS, |gas, _| gas.saturating_add(GAS_PER_TRANSFER)),
                // What a router is asked is its own affair; no reader of transfers may look at it.
                input: Bytes::new(),
            },
        }
    }
}

/// The signature under every transaction: well-formed, and of nobody.
const fn unchecked_signature() -> Signature {
    Signature::new(U256::ONE, U256::ONE, false)
}

/// The ERC-20 `Transfer` log of one movement.
fn transfer_log(transfer: &Transfer) -> Log {
    let topics = vec![TRANSFER_TOPIC, transfer.from.into_word(), transfer.to.into_word()];
    let data = Bytes::copy_from_slice(&transfer.value.to_be_bytes::<32>());
    Log { address: transfer.token, data: LogData::new_unchecked(topics, data) }
}

/// Call data of `transfer(address,uint256)`.
fn transfer_call(to: Address, value: U256) -> Bytes {
    let mut input = Vec::with_capacity(68);
    input.extend(selector("transfer(address,uint256)"));
    input.extend(to.into_word());
    input.extend(value.to_be_bytes::<32>());
    input.into()
}

/// The first four bytes of a function signature's Keccak-256 hash (Solidity ABI).
pub(crate) fn selector(signature: &str) -> [u8; 4] {
    let [a, b, c, d, ..] = keccak256(signature).0;
    [a, b, c, d]
}
