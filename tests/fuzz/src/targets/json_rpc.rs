//! What a node answers: a line with the answer about a block, a line with the one about its receipts. Reading never
//! panics, and what is believed of a block whose hash is known is what that block holds, whatever the node sent with it.

use std::collections::BTreeMap;

use alloy_primitives::{B256, U64};
use serde_json::value::RawValue;
use streambook_connectors::chain::{
    Erc20Transfer, VerifiedBlock,
    answer::{BlockAnswer, ReceiptAnswer},
    http::{HttpError, read_envelope},
    types::TransactionsProof,
    verify,
    verify::verify_header,
};
use streambook_runtime::step::chain_of;

use crate::{Check, corpus};

/// The id of every request.
const ID: u64 = 1;
/// The chain that the answers are of.
const CHAIN: u64 = 31_337;

/// The blocks of the corpus that are believed, by hash.
type Known = BTreeMap<B256, VerifiedBlock>;

/// Sets up the blocks that are known.
#[must_use]
pub fn prepare() -> Check {
    let inputs = corpus::of("json_rpc");
    let blocks = inputs.iter().filter_map(|(_, input)| read(input));
    let known: Known = blocks.map(|block| (block.hash, block)).collect();
    assert!(known.len() > 1, "the corpus has no blocks that are believed");
    Box::new(move |data| check(data, &known))
}

fn check(data: &[u8], known: &Known) {
    envelope::<U64>(data);
    let Some(block) = read(data) else { return };
    if let Some(right) = known.get(&block.hash) {
        assert_eq!((block.number, block.parent_hash), (right.number, right.parent_hash));
        assert_eq!(block.timestamp, right.timestamp);
        let proven =
            block.transactions == TransactionsProof::Proven && right.transactions == block.transactions;
        let covered = |transfer: &Erc20Transfer| {
            let Erc20Transfer { token, from, to, value, tx_hash, tx_index, log_index, tx_to } =
                transfer.clone();
            // The hash of the block covers a transaction only where the node sent the whole of it.
            let of_transaction = proven.then_some((tx_hash, tx_to));
            (token, from, to, value, tx_index, log_index, of_transaction)
        };
        let of = |block: &VerifiedBlock| block.transfers.iter().map(covered).collect::<Vec<_>>();
        assert_eq!(of(&block), of(right), "another content under the hash {}", block.hash);
    }
}

/// The block, where it is believed.
fn read(data: &[u8]) -> Option<VerifiedBlock> {
    let mut lines = data.splitn(2, |byte| *byte == b'\n');
    let json = envelope::<Box<RawValue>>(lines.next()?);
    let receipts = lines.next().and_then(envelope::<Vec<ReceiptAnswer>>);
    let block = BlockAnswer::read(&json?)
        .inspect_err(|error| assert!(!error.what.is_empty() && !chain_of(error).is_empty()))
        .ok()?;
    let header = verify_header(&block);
    let verified = verify(CHAIN, &block, &receipts?)
        .inspect_err(|refusal| assert!(!refusal.disagreements.is_empty(), "a refusal without a reason"))
        .ok()?;
    header.expect("a block that is believed has a header that is");
    assert_eq!((verified.hash, verified.number), (block.header.hash_slow(), block.header.number));
    Some(verified)
}

fn envelope<T: serde::de::DeserializeOwned>(line: &[u8]) -> Option<T> {
    match read_envelope(200, line, ID) {
        Ok(result) => result,
        Err(HttpError::Rpc { message, .. }) => {
            assert!(message.chars().count() <= 200, "a node's words are cut");
            None
        }
        Err(error) => {
            assert!(!chain_of(&error).is_empty());
            None
        }
    }
}
