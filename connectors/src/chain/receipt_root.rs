//! Receipts as the receipts root covers them: `[outcome, cumulative gas, bloom, logs]` in RLP, behind the type
//! byte of EIP-2718, with the two fields that OP-stack deposits add. The encoding is generic in the type, so that a
//! chain's own transaction types (Arbitrum, the OP stack) need no list here. Source: Yellow Paper 4.3.1, EIP-658,
//! EIP-2718, OP-stack specification "Deposits".

use alloy_primitives::{B256, Bloom};
use alloy_rlp::{BufMut, Encodable, Header};
use alloy_trie::root::ordered_trie_root_with_encoder;

use super::answer::{LogAnswer, ReceiptAnswer};

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
pub(crate) struct RootedReceipt<'a> {
    pub(crate) kind: u64,
    pub(crate) outcome: Outcome,
    pub(crate) cumulative_gas: u64,
    pub(crate) logs: &'a [LogAnswer],
    /// Of `logs`.
    pub(crate) bloom: Bloom,
    /// Nonce and version of an OP-stack deposit from Canyon on; before it neither is covered.
    pub(crate) deposit: Option<(u64, u64)>,
}

impl RootedReceipt<'_> {
    /// Each list's length stands before its fields, so it is known before they are written.
    fn encode(&self, out: &mut Vec<u8>) {
        if let Ok(kind @ 1..=0x7f) = u8::try_from(self.kind) {
            out.put_u8(kind);
        }
        let logs = Header { list: true, payload_length: self.logs.iter().map(log_length).sum() };
        let deposit = self.deposit.map_or(0, |(nonce, version)| nonce.length() + version.length());
        let (outcome, gas) = (self.outcome.length(), self.cumulative_gas.length());
        let payload_length = outcome + gas + self.bloom.length() + logs.length_with_payload() + deposit;
        Header { list: true, payload_length }.encode(out);
        self.outcome.encode(out);
        self.cumulative_gas.encode(out);
        self.bloom.encode(out);
        logs.encode(out);
        self.logs.iter().for_each(|log| encode_log(log, out));
        if let Some((nonce, version)) = self.deposit {
            nonce.encode(out);
            version.encode(out);
        }
    }
}

impl Encodable for Outcome {
    fn encode(&self, out: &mut dyn BufMut) {
        match self {
            Self::Status(status) => (*status == TransactionStatus::Success).encode(out),
            Self::StateRoot(root) => root.encode(out),
        }
    }

    fn length(&self) -> usize {
        match self {
            Self::Status(_) => 1,
            Self::StateRoot(root) => root.length(),
        }
    }
}

/// `[address, topics, data]`
fn log_header(log: &LogAnswer) -> Header {
    let payload_length = log.address.length() + log.topics.length() + log.data.length();
    Header { list: true, payload_length }
}

fn log_length(log: &LogAnswer) -> usize {
    log_header(log).length_with_payload()
}

fn encode_log(log: &LogAnswer, out: &mut Vec<u8>) {
    log_header(log).encode(out);
    log.address.encode(out);
    log.topics.encode(out);
    log.data.encode(out);
}

/// The root of the trie that maps each receipt's position to its encoding.
pub(crate) fn receipts_root(receipts: &[RootedReceipt<'_>]) -> B256 {
    ordered_trie_root_with_encoder(receipts, |receipt, out| receipt.encode(out))
}
