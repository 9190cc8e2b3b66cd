//! Receipts as the receipts root covers them: `[outcome, cumulative gas, bloom, logs]` in RLP, behind the type
//! byte of EIP-2718, with the two fields that OP-stack deposits add. The encoding is generic in the type, so that a
//! chain's own transaction types (Arbitrum, the OP stack) need no list here. Source: Yellow Paper 4.3.1, EIP-658,
//! EIP-2718, OP-stack specification "Deposits".

use alloy_primitives::{B256, Bloom, Log, LogData};
use alloy_rlp::{BufMut, Encodable, Header};
use alloy_trie::root::ordered_trie_root_with_encoder;

use super::answer::ReceiptAnswer;

/// Type byte of an OP-stack deposit.
pub(crate) const DEPOSIT: u64 = 0x7e;

/// What a receipt says of the transaction's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// EIP-658, from Byzantium on.
    Status(TransactionStatus),
    /// Before Byzantium a receipt holds the state root instead. It does not tell success from failure; a failed
    /// transaction has no events, so an event is proof enough that its transaction succeeded.
    StateRoot(B256),
}

impl Outcome {
    /// `None` when the receipt has neither a status of 0 or 1 nor a state root.
    pub(crate) fn of(receipt: &ReceiptAnswer) -> Option<Self> {
        match receipt.status.map(|status| status.to::<u64>()) {
            Some(1) => Some(Self::Status(TransactionStatus::Success)),
            Some(0) => Some(Self::Status(TransactionStatus::Failure)),
            Some(_) => None,
            None => B256::try_from(receipt.root.as_ref()?.as_ref()).ok().map(Self::StateRoot),
        }
    }
}

/// EIP-658.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TransactionStatus {
    /// 1
    Success,
    /// 0
    Failure,
}

/// The fields of a receipt that the receipts root covers.
#[derive(Debug)]
pub(crate) struct RootedReceipt {
    pub(crate) kind: u64,
    pub(crate) outcome: Outcome,
    pub(crate) cumulative_gas: u64,
    pub(crate) logs: Vec<Log<LogData>>,
    /// Of `logs`.
    pub(crate) bloom: Bloom,
    /// Nonce and version of an OP-stack deposit from Canyon on; before it neither is covered.
    pub(crate) deposit: Option<(u64, u64)>,
}

impl RootedReceipt {
    fn encode(&self, out: &mut Vec<u8>) {
        if let Ok(kind @ 1..=0x7f) = u8::try_from(self.kind) {
            out.put_u8(kind);
        }
        let mut fields = Vec::with_capacity(512);
        match self.outcome {
            Outcome::Status(status) => (status == TransactionStatus::Success).encode(&mut fields),
            Outcome::StateRoot(root) => root.encode(&mut fields),
        }
        self.cumulative_gas.encode(&mut fields);
        self.bloom.encode(&mut fields);
        self.logs.encode(&mut fields);
        if let Some((nonce, version)) = self.deposit {
            nonce.encode(&mut fields);
            version.encode(&mut fields);
        }
        Header { list: true, payload_length: fields.len() }.encode(out);
        out.put_slice(&fields);
    }
}

/// The root of the trie that maps each receipt's position to its encoding.
pub(crate) fn receipts_root(receipts: &[RootedReceipt]) -> B256 {
    ordered_trie_root_with_encoder(receipts, |receipt, out| receipt.encode(out))
}
