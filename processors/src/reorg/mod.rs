//! The reorg processor: turns blocks, heads and finality of chains into what has become of each watched transfer.
//!
//! It keeps, for each chain, the block tree above finality, the canonical branch, the transfers of a look-back window
//! and the watch list. A block says nothing about being canonical; a head moves the whole branch at once, whatever its
//! depth, and the move is a [`ChainChange`], so nothing here can forget the reorg. The guarantees:
//!
//! - For each watched transfer, folding the events in order gives what the canonical chain alone would give. Within one
//!   step the order is: orphaned (newest first), seen, confirmed, finalized, deadlines passed, then the chain's status.
//! - An inclusion is confirmed once. Orphaned ends it; if its block becomes canonical again, or its transaction is mined
//!   in another block, that is a new inclusion. A head that only moves back does not take a confirmation back: the
//!   transfer is still canonical.
//! - A policy without a depth is confirmed by the chain's `finalized` tag and by nothing else.
//! - A deadline that has passed stays passed, also when a reorganisation moves the chain's time back below it.
//! - A fork below finality halts that chain, in its state, so a restart does not forget it: its blocks, heads and
//!   watches are kept and lead to nothing until an operator acts ([`rebuild`]). Other chains go on.
//! - Money that cannot be matched (another accepted token on a watched address, a value that no payment has at an address
//!   that payments share, a value beyond 38 digits) is a dead letter with the transaction. Zero-value transfers and tokens
//!   that were never accepted are ignored.
//!
//! - What was sent before the look-back window is asked of the connector ([`backfill`]) where a watch is older than the
//!   window, and where an operator or a claim asks for it; each transfer is reported once, whatever is asked again.
//!
//! Hashes are compared, never heights. State is bounded: the tree by finality (or by [`FINAL_DEPTH`] blocks where a
//! chain reports none), the transfers by the look-back window, blocks that do not link by [`MAX_HELD`].

use streambook_model::{
    chain::ChainId,
    message::Message,
    topics::{self, TopicDef},
};
use streambook_runtime::{
    processor::{Context, Fault, Processor},
    state::{State, StateError},
};

use self::tables::{CHAINS, Chain};

mod backfill;
mod blocks;
mod change;
mod claims;
mod finality;
mod head;
mod letters;
mod queue;
mod rebuild;
mod report;
mod settings;
mod settle;
mod shared;
mod tables;
mod watches;

#[cfg(test)]
mod tests;

pub use self::change::{BlockRef, ChainChange, Unreconciled, reconcile};

/// Blocks that may wait for their parents, for each chain. Beyond it the task stops: the gap is not going to be filled.
pub const MAX_HELD: u32 = 10_000;

/// For a chain that has never reported finality: a block this far below the head is taken as final. The tree ends there
/// and confirmed transfers are said to be finalized, but a policy that asks for the tag is still not confirmed.
pub const FINAL_DEPTH: u64 = 1_024;

/// Deadlines reported with one record. What is left comes with the next one.
pub const MAX_DEADLINES: usize = 1_000;

/// Confirmations, and finalizations, reported with one record. What is left comes with the next one.
pub const MAX_SETTLED: usize = 5_000;

/// Watches that may come while a chain is halted. Beyond it they are dead letters, to be tried again when it goes on.
pub const MAX_HALTED_WATCHES: u32 = 100_000;

/// Backfills of a chain that can wait for an answer. Beyond it a request is a dead letter, to be tried again.
pub const MAX_OPEN_BACKFILLS: u32 = 1_000;

/// Transfers to one address a new watch is told of. If there are more, a dead letter says so.
pub const MAX_LOOK_BACK: usize = 10_000;

/// The processor. It has no settings of its own; those that change results are in its inbox.
#[derive(Debug, Clone, Copy, Default)]
pub struct Reorg;

impl Processor for Reorg {
    fn name(&self) -> &'static str {
        "reorg"
    }

    fn inbox(&self) -> TopicDef {
        topics::CHAIN_INBOX
    }

    fn process(&self, message: Message, context: &mut Context<'_>) -> Result<(), Fault> {
        match message {
            Message::SettingsChanged(changed) => settings::take(&changed.settings, context),
            Message::ChainBlock(block) => {
                on_chain(block.chain, context, |chain, context| blocks::take(block, chain, context))
            }
            Message::ChainHead(head) => {
                on_chain(head.chain, context, |chain, context| head::take(&head, chain, context))
            }
            Message::ChainFinalized(tag) => {
                on_chain(tag.chain, context, |chain, context| finality::take(&tag, chain, context))
            }
            Message::ChainFork(fork) => on_chain(fork.chain, context, |chain, context| {
                head::told_of_fork(&fork, chain, context);
                Ok(())
            }),
            Message::ChainRebuild(rebuild) => {
                on_chain(rebuild.chain, context, |chain, context| rebuild::take(&rebuild, chain, context))
            }
            Message::WatchTransaction(watch) => {
                on_chain(watch.chain, context, |chain, context| claims::take(&watch, chain, context))
            }
            Message::RequestBackfill(request) => {
                on_chain(request.chain, context, |chain, context| backfill::take(&request, chain, context))
            }
            Message::ChainBackfill(answer) => {
                on_chain(answer.chain, context, |chain, context| backfill::answered(&answer, chain, context))
            }
            Message::WatchAddress(watch) => {
                on_chain(watch.chain, context, |chain, context| watches::take(&watch, chain, context))
            }
            other => {
                Err(Fault::dead_letter("unexpected_record", format!("reorg does not take {}", other.name())))
            }
        }
    }

    fn alarms(&self, state: &dyn State) -> Result<Vec<String>, StateError> {
        let chains = CHAINS.scan_prefix(state, (), settings::MAX_CHAINS)?;
        let alarm = |chain: Chain| Some(format!("chain {} is halted: {}", chain.id, chain.halted?));
        Ok(chains.into_iter().filter_map(alarm).collect())
    }
}

/// Runs with the chain's small state, and writes it back if it has changed.
fn on_chain(
    id: ChainId,
    context: &mut Context<'_>,
    run: impl FnOnce(&mut Chain, &mut Context<'_>) -> Result<(), Fault>,
) -> Result<(), Fault> {
    let before = CHAINS.get(&context.state, id)?;
    let mut chain = before.clone().unwrap_or_else(|| Chain::new(id));
    run(&mut chain, context)?;
    if before.as_ref() != Some(&chain) {
        CHAINS.put(&mut context.state, id, &chain)?;
    }
    Ok(())
}
