//! A block of the development chain as the connector believes it: what `verify` would have made of a node's answers, without
//! the way through JSON, which has tests of its own.

use alloy_primitives::{Address, B256, U256};
use streambook_connectors::chain::{Erc20Transfer, VerifiedBlock, types::TransactionsProof};
use streambook_devchain::{DevBlock, Outcome, TRANSFER_TOPIC};

/// A block as `verify` would hand it on.
pub fn verified(block: &DevBlock) -> VerifiedBlock {
    let mut transfers = Vec::new();
    let mut log_index = 0;
    for (tx_index, made) in (0_u64..).zip(block.transactions()) {
        if made.outcome == Outcome::Reverted {
            continue;
        }
        for log in &made.logs {
            transfers.extend(transfer(log, made.hash(), tx_index, log_index));
            log_index += 1;
        }
    }
    let header = block.header();
    VerifiedBlock {
        chain_id: 0,
        number: header.number,
        hash: block.hash(),
        parent_hash: header.parent_hash,
        timestamp: header.timestamp,
        transfers,
        unproven: Vec::new(),
        transactions: TransactionsProof::Proven,
    }
}

fn transfer(
    log: &alloy_primitives::Log,
    tx_hash: B256,
    tx_index: u64,
    log_index: u64,
) -> Option<Erc20Transfer> {
    let [topic, from, to] = log.topics() else { return None };
    (*topic == TRANSFER_TOPIC).then(|| Erc20Transfer {
        token: log.address,
        from: Address::from_word(*from),
        to: Address::from_word(*to),
        value: U256::from_be_slice(&log.data.data),
        tx_hash,
        tx_index,
        log_index,
        tx_to: None,
    })
}
