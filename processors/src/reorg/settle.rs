//! What is due after any change: confirmations reached, finality reached, deadlines passed, in this order. Each is a
//! look at the front of an ordered table, and reports a bounded number with one record; what is left comes with the next.

use streambook_model::{
    chain::BlockNumber,
    records::chain::{DeadlinePassed, TransferStatus},
    topics,
};
use streambook_runtime::processor::{Context, Fault};

use super::{
    MAX_DEADLINES, MAX_SETTLED, report,
    tables::{CONFIRMED, CONFIRMING, Chain, DEADLINES, Due, Head, Open, UNFINAL},
};

/// Reports all that is due. A chain that is halted, or has no head, has nothing due.
pub(super) fn all(chain: &Chain, context: &mut Context<'_>) -> Result<(), Fault> {
    let (None, Some(head)) = (&chain.halted, chain.head) else { return Ok(()) };
    confirm_by_depth(head, chain, context)?;
    if let Some(finalized) = chain.finalized {
        confirm_by_tag(finalized.number, chain, context)?;
    }
    // A chain that reports no finality has none but the bottom of its tree: what is below can no longer be taken back.
    if let Some(last) = chain.finalized.or(chain.floor) {
        finalize(last.number, chain, context)?;
    }
    pass_deadlines(head, chain, context)
}

fn confirm_by_depth(head: Head, chain: &Chain, context: &mut Context<'_>) -> Result<(), Fault> {
    let end = BlockNumber(head.block.number.0.saturating_add(1));
    for open in CONFIRMING.due(&mut context.state, chain.id, end, MAX_SETTLED)? {
        let depth = open.policy.depth.unwrap_or(1);
        CONFIRMING.delete(&mut context.state, open.by_confirmation(chain.id, depth));
        confirm(&open, chain, context)?;
    }
    Ok(())
}

/// Those whose policy names no depth are confirmed by the tag alone.
fn confirm_by_tag(finalized: BlockNumber, chain: &Chain, context: &mut Context<'_>) -> Result<(), Fault> {
    let end = BlockNumber(finalized.0.saturating_add(1));
    for open in UNFINAL.due(&mut context.state, chain.id, end, MAX_SETTLED)? {
        UNFINAL.delete(&mut context.state, open.by_height(chain.id));
        confirm(&open, chain, context)?;
    }
    Ok(())
}

fn confirm(open: &Open, chain: &Chain, context: &mut Context<'_>) -> Result<(), Fault> {
    report::emit(TransferStatus::Confirmed, open, chain, context);
    CONFIRMED.put(&mut context.state, open.by_height(chain.id), open)?;
    Ok(())
}

fn finalize(finalized: BlockNumber, chain: &Chain, context: &mut Context<'_>) -> Result<(), Fault> {
    let end = BlockNumber(finalized.0.saturating_add(1));
    for open in CONFIRMED.due(&mut context.state, chain.id, end, MAX_SETTLED)? {
        CONFIRMED.delete(&mut context.state, open.by_height(chain.id));
        report::emit(TransferStatus::Finalized, &open, chain, context);
    }
    Ok(())
}

fn pass_deadlines(head: Head, chain: &Chain, context: &mut Context<'_>) -> Result<(), Fault> {
    for due in DEADLINES.due(&mut context.state, chain.id, head.time, MAX_DEADLINES)? {
        DEADLINES.delete(&mut context.state, (chain.id, due.deadline, due.payment));
        pass(due, head, chain, context);
    }
    Ok(())
}

fn pass(due: Due, head: Head, chain: &Chain, context: &mut Context<'_>) {
    let passed = DeadlinePassed {
        meta: context.meta(head.time),
        chain: chain.id,
        merchant: due.merchant,
        payment: due.payment,
        block_time: head.time,
    };
    context.emit(topics::BOOK_INBOX, due.merchant.to_string(), passed);
}
