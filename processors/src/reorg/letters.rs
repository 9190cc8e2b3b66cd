//! Dead letters about one transfer of a block whose other transfers are fine. The block itself is taken; the letter
//! carries it with this transfer alone.

use streambook_model::{
    codec,
    id::DeadLetterId,
    message::Message,
    records::{
        chain::{ChainBlock, TokenTransfer},
        dead_letter::DeadLetter,
    },
    topics,
};
use streambook_runtime::{
    processor::{Context, Fault},
    step::chain_of,
};

use super::{
    change::BlockRef,
    tables::{Block, Chain},
};

/// Puts a transfer aside with the reason. The letter's id is that of the transfer and the code, so one that is written
/// again, since its block became canonical again, is recognised.
pub(super) fn transfer(
    code: &'static str,
    reason: &str,
    transfer: &TokenTransfer,
    place: BlockRef,
    block: &Block,
    chain: &Chain,
    context: &mut Context<'_>,
) -> Result<(), Fault> {
    let place_text =
        format!("transaction {}, log {}, block {}", transfer.tx_hash, transfer.log_index, place.hash);
    let parts: [&[u8]; 4] = [
        code.as_bytes(),
        &chain.id.0.to_be_bytes(),
        place.hash.as_bytes(),
        &transfer.log_index.to_be_bytes(),
    ];
    let record = alone(transfer, place, block, chain, context);
    emit(code, format!("{reason} ({place_text})"), DeadLetterId::derive(&parts), &record, chain, context)
}

/// Writes a letter about a record. The reason names what an operator needs to find the money.
pub(super) fn emit(
    code: &'static str,
    reason: String,
    letter: DeadLetterId,
    record: &Message,
    chain: &Chain,
    context: &mut Context<'_>,
) -> Result<(), Fault> {
    let meta = context.meta(record.meta().occurred_at);
    let task = format!("reorg/{}", context.partition());
    let record = codec::encode(record).map_err(|error| {
        Fault::Stop(format!("a dead letter's record cannot be encoded: {}", chain_of(&error)))
    })?;
    let letter = DeadLetter {
        letter,
        task: task.clone(),
        topic: topics::CHAIN_INBOX.name.to_owned(),
        partition: context.partition().0,
        offset: meta.cause.map_or(0, |cause| cause.offset),
        meta,
        code: code.to_owned(),
        reason,
        key: chain.id.to_string().into_bytes(),
        record,
    };
    context.emit(topics::DEAD_LETTERS, task, letter);
    Ok(())
}

fn alone(
    transfer: &TokenTransfer,
    place: BlockRef,
    block: &Block,
    chain: &Chain,
    context: &Context<'_>,
) -> Message {
    let block = ChainBlock {
        meta: context.meta(block.time),
        chain: chain.id,
        number: place.number,
        hash: place.hash,
        parent_hash: block.parent,
        timestamp: block.time,
        transfers: vec![transfer.clone()],
    };
    block.into()
}
