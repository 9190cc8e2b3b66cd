//! Finds the token transfers in a receipt's events, and keeps those of accepted tokens. Guarantee: an event is a
//! transfer when it is exactly what EIP-20 describes: the topic of `Transfer(address,address,uint256)`, two indexed
//! addresses and one word of data. An ERC-721 transfer has four topics and is not one.

use alloy_primitives::{Address, B256, U256, b256};

use super::answer::{LogAnswer, ReceiptAnswer};
use super::receipt_root::{Outcome, TransactionStatus};
use super::types::{Erc20Transfer, VerifiedBlock};

/// keccak256("Transfer(address,address,uint256)"), checked by a test.
pub const TRANSFER_TOPIC: B256 = b256!("ddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef");

/// The transfers among a receipt's events, in their order. A failed transaction moved nothing, though it may have
/// events (Polygon logs its fee).
pub(crate) fn transfers_of(
    receipt: &ReceiptAnswer,
    tx_index: u64,
    tx_to: Option<Address>,
) -> impl Iterator<Item = Erc20Transfer> {
    let failed = Outcome::of(receipt) == Some(Outcome::Status(TransactionStatus::Failure));
    let logs = if failed { [].as_slice() } else { receipt.logs.as_slice() };
    logs.iter().filter_map(move |log| transfer(receipt, tx_index, tx_to, log))
}

fn transfer(
    receipt: &ReceiptAnswer,
    tx_index: u64,
    tx_to: Option<Address>,
    log: &LogAnswer,
) -> Option<Erc20Transfer> {
    let [topic, from, to] = log.topics.as_slice() else { return None };
    let word: [u8; 32] = log.data.as_ref().try_into().ok()?;
    if *topic != TRANSFER_TOPIC {
        return None;
    }
    Some(Erc20Transfer {
        token: log.address,
        from: address_in(from)?,
        to: address_in(to)?,
        value: U256::from_be_bytes(word),
        tx_hash: receipt.transaction_hash,
        tx_index,
        log_index: log.log_index.to(),
        tx_to,
    })
}

/// The address in an indexed topic: a word whose first twelve bytes are zero (Solidity ABI). Anything else is not
/// an address, and cutting it down to one would credit somebody the event does not name.
fn address_in(word: &B256) -> Option<Address> {
    let padded = word.as_slice().iter().take(12).all(|byte| *byte == 0);
    padded.then(|| Address::from_word(*word))
}

/// Keeps the transfers of the accepted tokens only. The block's proof is not touched: it was given for all of them.
pub fn keep_tokens(block: &mut VerifiedBlock, tokens: &[Address]) {
    block.transfers.retain(|transfer| tokens.contains(&transfer.token));
    block.unproven.retain(|transfer| tokens.contains(&transfer.token));
}
