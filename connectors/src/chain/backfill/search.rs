//! Searches final blocks for transfers to an address. Guarantee: every block is verified as any other, and is the request's
//! highest block or an ancestor of it, hash by hash; a block that a node sends in its place is asked for again by its hash. A
//! transaction that is looked up alone is too far away for that: its block is verified, and that it is the chain's the nodes
//! must say together, as of a head.

use alloy_primitives::{Address, B256};
use futures::{StreamExt, stream};
use streambook_model::records::backfill::{BackfillRequested, BackfillRest, BackfilledBlock};
use streambook_model::{chain::BlockNumber, time::Timestamp};

use super::super::agreement::{Verdict, judge};
use super::super::config::ChainSettings;
use super::super::feed;
use super::super::pool::{NoAnswer, Pool, Sender};
use super::super::rpc::Wanted;
use super::super::second;
use super::super::transfers::keep_tokens;
use super::super::types::{BlockRef, Erc20Transfer, VerifiedBlock};

/// Questions on their way at once: the search leaves the nodes room for following the chain.
const IN_FLIGHT: usize = 4;
/// Blocks of one search.
const MOST_BLOCKS: u64 = 1_000_000;
/// Transfers of one answer, about. What is below is another request.
const MOST_TRANSFERS: usize = 2_000;

/// What a search has found.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    /// Blocks with transfers, lowest first.
    pub(super) blocks: Vec<BackfilledBlock>,
    /// The lowest block that was searched.
    pub(super) from: Option<u64>,
    /// Why not all was searched.
    pub(super) problem: Option<String>,
    /// The transaction is in none of the blocks that are asked for.
    pub(super) not_found: bool,
    /// Where the search goes on, where this is full.
    pub(super) rest: Option<BackfillRest>,
}

/// One chain's searches.
pub(super) struct Search<'a> {
    /// The chain.
    pub(super) settings: &'a ChainSettings,
    /// Nodes that only searches ask: that one lacks old blocks must not count against it elsewhere.
    pub(super) pool: &'a Pool,
    /// The contracts of the tokens.
    pub(super) tokens: &'a [Address],
}

impl Search<'_> {
    /// Down from the walk's next block to its last. After an error it goes on where it was.
    ///
    /// # Errors
    /// [`NoAnswer`] when a block cannot be had now.
    pub(super) async fn walk(&self, walk: &mut Walk, mut at: impl FnMut(u64)) -> Result<Found, NoAnswer> {
        if let Some((low, high)) = walk.ahead() {
            let in_flight = self.settings.max_in_flight.min(IN_FLIGHT);
            let heights = stream::iter((low..=high).rev());
            let blocks = heights.map(|number| self.pool.block(Wanted::Number(number), None));
            let mut blocks = std::pin::pin!(blocks.buffered(in_flight));
            while let Some(answer) = blocks.next().await {
                let mut answer = answer?;
                if answer.1.hash != walk.expected {
                    answer = self.pool.block(Wanted::Hash(walk.expected), None).await?;
                }
                let block = self.proven(answer).await?;
                at(block.number);
                if !walk.take(&block) {
                    break;
                }
            }
        }
        Ok(walk.end())
    }

    async fn proven(&self, (sender, mut block): (Sender, VerifiedBlock)) -> Result<VerifiedBlock, NoAnswer> {
        keep_tokens(&mut block, self.tokens);
        if second::is_needed(self.settings, &block) {
            return second::ask(self.pool, (sender, block), None, self.tokens).await;
        }
        Ok(block)
    }

    /// One transaction, wherever it is. Where it is each node says for itself, until a block holds it.
    ///
    /// # Errors
    /// [`NoAnswer`] when nodes cannot be asked now, or do not agree on the block.
    pub(super) async fn look_up(
        &self,
        asked: &BackfillRequested,
        transaction: B256,
    ) -> Result<Found, NoAnswer> {
        let said = self.pool.locate(transaction).await?;
        let mut places: Vec<_> = said.into_iter().filter_map(|(node, place)| Some((node, place?))).collect();
        places.dedup_by_key(|(_, place)| *place);
        if places.is_empty() {
            return Ok(Found::nowhere(format!("no node knows the transaction {transaction}")));
        }
        let mut failed = None;
        for (claimant, place) in places {
            match self.look_into(asked, transaction, claimant, place).await {
                Ok(found) => return Ok(found),
                Err(error) => failed = Some(error),
            }
        }
        // There is at least one place, so one of them failed.
        failed.map_or_else(|| Ok(Found::nowhere(format!("no node knows {transaction}"))), Err)
    }

    async fn look_into(
        &self,
        asked: &BackfillRequested,
        transaction: B256,
        claimant: Sender,
        place: BlockRef,
    ) -> Result<Found, NoAnswer> {
        let (number, start) = (place.number, self.settings.start_block);
        if number < start {
            return Ok(Found::problem(below_start(number, start)));
        }
        if number > asked.top_number.0 {
            let known = format!("the transaction is in block {number}, of which the watch is told by itself");
            return Ok(Found::nowhere(known));
        }
        self.check_canonical(claimant, place).await?;
        let answer = self.pool.block(Wanted::Hash(place.hash), Some(claimant)).await?;
        let mut block = self.proven(answer).await?;
        block.transfers.retain(|transfer| transfer.tx_hash == transaction);
        block.unproven.retain(|transfer| transfer.tx_hash == transaction);
        let mut walk = Walk::new(asked, number);
        walk.keep(&block);
        let found = walk.end();
        // That it moves nothing is an answer as well, and as well proven.
        let is_nothing = found.blocks.is_empty() && found.problem.is_none();
        Ok(if is_nothing { Found { blocks: bare(&block).into_iter().collect(), ..found } } else { found })
    }

    async fn check_canonical(&self, claimant: Sender, place: BlockRef) -> Result<(), NoAnswer> {
        let opinions = self.pool.opinions(Some(claimant), place).await;
        match judge(self.settings.agreement, opinions.into_iter().map(|(_, opinion)| opinion)) {
            Verdict::Believed => Ok(()),
            verdict => Err(NoAnswer {
                reason: format!("the nodes do not agree on block {}: {verdict:?}", place.number),
                retry_at: None,
            }),
        }
    }
}

impl Found {
    pub(super) fn problem(problem: String) -> Self {
        Self { problem: Some(problem), ..Self::default() }
    }

    /// Of a transaction: it is not where it is looked for.
    fn nowhere(problem: String) -> Self {
        Self { not_found: true, ..Self::problem(problem) }
    }
}

fn below_start(wanted: u64, start: u64) -> String {
    format!("block {wanted} is below block {start}, from which the chain is read (`start_block`)")
}

/// The part of a block that an answer holds: the transfers to an address that are worth more than nothing. None where there
/// are none.
pub fn of_address(block: &VerifiedBlock, address: Address) -> Option<BackfilledBlock> {
    let is_ours = |transfer: &&Erc20Transfer| transfer.to == address && !transfer.value.is_zero();
    // More than 2^32 events do not fit into a block's gas.
    let transfers: Vec<_> = block.transfers.iter().filter(is_ours).filter_map(feed::transfer).collect();
    bare(block).filter(|_| !transfers.is_empty()).map(|bare| BackfilledBlock { transfers, ..bare })
}

/// The block without its transfers. A time beyond all calendars does not fit into a header.
fn bare(block: &VerifiedBlock) -> Option<BackfilledBlock> {
    Some(BackfilledBlock {
        number: BlockNumber(block.number),
        hash: feed::hash(block.hash),
        parent_hash: feed::hash(block.parent_hash),
        timestamp: Timestamp::from_seconds(block.timestamp)?,
        transfers: Vec::new(),
    })
}

/// A search on its way down. Pure.
pub(super) struct Walk {
    address: Address,
    since: Option<Timestamp>,
    wanted_from: Option<u64>,
    start_block: u64,
    /// The hash of the block that is taken next, and its height; no height when there is none.
    expected: B256,
    next: Option<u64>,
    taken: u64,
    transfers: usize,
    most_transfers: usize,
    found: Vec<BackfilledBlock>,
    rest: Option<BackfillRest>,
    /// The lowest block that was taken.
    from: Option<u64>,
    problems: Vec<String>,
}

impl Walk {
    pub(super) fn new(asked: &BackfillRequested, start_block: u64) -> Self {
        Self {
            address: Address::new(*asked.address.as_bytes()),
            since: asked.since,
            wanted_from: asked.from_number.map(|number| number.0),
            start_block,
            expected: B256::new(*asked.top_hash.as_bytes()),
            next: Some(asked.top_number.0),
            taken: 0,
            transfers: 0,
            most_transfers: MOST_TRANSFERS,
            found: Vec::new(),
            rest: None,
            from: None,
            problems: Vec::new(),
        }
    }

    /// How many blocks it has taken.
    pub(super) fn taken(&self) -> u64 {
        self.taken
    }

    /// The heights ahead of it; none when it is done.
    fn ahead(&self) -> Option<(u64, u64)> {
        let lowest = self.start_block.max(self.wanted_from.unwrap_or(0));
        self.next.filter(|next| *next >= lowest).map(|next| (lowest, next))
    }

    /// Takes the next block down; false when no more is wanted.
    fn take(&mut self, block: &VerifiedBlock) -> bool {
        let time = Timestamp::from_seconds(block.timestamp);
        if self.since.is_some_and(|since| time.is_none_or(|time| time < since)) {
            self.next = None;
            return false;
        }
        self.keep(block);
        self.from = Some(block.number);
        self.taken = self.taken.saturating_add(1);
        self.expected = block.parent_hash;
        self.next = block.number.checked_sub(1);
        self.check_limits(block.number);
        self.check_start();
        self.ahead().is_some()
    }

    fn check_limits(&mut self, number: u64) {
        let (taken, transfers) = (self.taken, self.transfers);
        if taken >= MOST_BLOCKS {
            self.problems.push(format!(
                "the search ended at block {number} after {taken} blocks; what is below was not searched"
            ));
            self.next = None;
        } else if transfers >= self.most_transfers && self.ahead().is_some() {
            let hash = feed::hash(self.expected);
            self.rest = self.next.map(|next| BackfillRest { number: BlockNumber(next), hash });
            self.next = None;
        }
    }

    /// An answer is full after so many transfers.
    #[cfg(test)]
    pub(super) fn full_after(self, most_transfers: usize) -> Self {
        Self { most_transfers, ..self }
    }

    /// Below the start block nothing is read. That is a problem where a time or a height was wanted that is below it.
    fn check_start(&mut self) {
        let Some(next) = self.next.filter(|next| *next < self.start_block) else { return };
        self.next = None;
        if self.since.is_some() || self.wanted_from.is_some_and(|wanted| wanted < self.start_block) {
            self.problems.push(below_start(next, self.start_block));
        }
    }

    fn keep(&mut self, block: &VerifiedBlock) {
        let number = block.number;
        for transfer in block.unproven.iter().filter(|transfer| transfer.to == self.address) {
            self.problems.push(format!(
                "the receipts root does not cover transaction {} of block {number}, and one node's word is not enough",
                transfer.tx_hash
            ));
        }
        let found = of_address(block, self.address);
        self.transfers =
            self.transfers.saturating_add(found.as_ref().map_or(0, |found| found.transfers.len()));
        self.found.extend(found);
    }

    /// What was found so far.
    fn end(&mut self) -> Found {
        self.check_start();
        self.found.reverse();
        let problem = (!self.problems.is_empty()).then(|| self.problems.join("; "));
        let (blocks, from, rest) = (std::mem::take(&mut self.found), self.from, self.rest);
        Found { blocks, from, problem, not_found: false, rest }
    }

    /// What was found so far, where the next block cannot be had.
    pub(super) fn give_up(&mut self, reason: &str) -> Found {
        let next = self.next.unwrap_or_default();
        self.problems.push(format!("block {next} and what is below it could not be searched: {reason}"));
        self.next = None;
        self.end()
    }
}
