//! Searches old blocks for what the reorg processor asks for on `chain.requests`, and appends what it found to the chain's
//! inbox. Guarantee: it keeps no cursor; what is asked and not closed is searched, after a crash again, and the first answer
//! counts. A block that no node has is tried again with growing pauses, then the answer says so.

mod requests;
mod search;
#[cfg(test)]
mod tests;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use alloy_primitives::B256;
use streambook_log::Log;
use streambook_model::{
    chain::{BlockNumber, ChainId},
    meta::Meta,
    records::backfill::{BackfillRequested, ChainBackfill},
    topics,
};
use streambook_runtime::{
    clock::Clock,
    publisher::{PublishError, Publisher},
};

use self::search::{Found, Search, Walk};
pub use self::{
    requests::{Requests, RequestsError},
    search::of_address,
};
use super::{config::ChainSettings, pool::Pool};

/// Attempts before an answer says that it cannot be had.
const ATTEMPTS: u32 = 8;
/// While a search goes on, the log says this often how far it is.
const REPORT_INTERVAL: Duration = Duration::from_secs(10);

/// Why searches ended.
#[derive(Debug, thiserror::Error)]
pub enum BackfillError {
    /// The HTTP client could not be set up.
    #[error("the connection to the nodes could not be prepared")]
    Client(#[source] reqwest::Error),
    /// The requests cannot be read.
    #[error(transparent)]
    Requests(#[from] RequestsError),
    /// An answer could not be appended.
    #[error("an answer could not be appended")]
    Publish(#[from] PublishError),
}

/// What is searched beside the other, so that one transaction does not wait for a long way down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lane {
    /// Block by block.
    Walk,
    /// One transaction.
    LookUp,
}

impl Lane {
    fn takes(self, asked: &BackfillRequested) -> bool {
        (self == Self::LookUp) == asked.tx_hash.is_some()
    }
}

/// Answers a chain's requests for ever. `trouble` hears why a request cannot be answered now, and `None` when it can.
///
/// # Errors
/// [`BackfillError`].
pub async fn run(
    log: Arc<dyn Log>,
    settings: ChainSettings,
    clock: Clock,
    trouble: impl Fn(Lane, Option<String>),
) -> Result<std::convert::Infallible, BackfillError> {
    let pool = Pool::new(&settings).map_err(BackfillError::Client)?;
    let tokens = settings.contracts();
    let search = Search { settings: &settings, pool: &pool, tokens: &tokens };
    let lane = async |lane: Lane| answer_all(lane, &log, &search, &clock, &|why| trouble(lane, why)).await;
    tokio::select! {
        ended = lane(Lane::Walk) => ended,
        ended = lane(Lane::LookUp) => ended,
    }
}

async fn answer_all(
    lane: Lane,
    log: &Arc<dyn Log>,
    search: &Search<'_>,
    clock: &Clock,
    trouble: &impl Fn(Option<String>),
) -> Result<std::convert::Infallible, BackfillError> {
    let mut requests = Requests::new(ChainId(search.settings.chain_id));
    let publisher = Publisher::new(Arc::clone(log));
    loop {
        requests.read(&**log).await?;
        let Some(asked) = requests.open().find(|asked| lane.takes(asked)).cloned() else {
            requests.wait(&**log).await?;
            continue;
        };
        let found = persist(search, &asked, trouble).await;
        let answer = answer(&asked, found, clock);
        let key = asked.chain.to_string();
        publisher.publish(topics::CHAIN_INBOX, key.as_bytes(), answer).await?;
        requests.answered(asked.request);
    }
}

/// Searches until there is an answer, or for as often as makes sense.
async fn persist(search: &Search<'_>, asked: &BackfillRequested, trouble: &impl Fn(Option<String>)) -> Found {
    let (first, longest) = search.settings.retry;
    let (mut walk, mut at) = (Walk::new(asked, search.settings.start_block), progress(asked));
    let (mut failures, mut pause) = (0, first);
    loop {
        let before = walk.taken();
        let searched = match asked.tx_hash {
            Some(transaction) => search.look_up(asked, B256::new(*transaction.as_bytes())).await,
            None => search.walk(&mut walk, &mut at).await,
        };
        let error = match searched {
            Ok(found) => {
                trouble(None);
                return found;
            }
            Err(error) => error,
        };
        if walk.taken() > before {
            (failures, pause) = (0, first);
        }
        failures += 1;
        if failures >= ATTEMPTS {
            trouble(None);
            let reason = format!("tried {ATTEMPTS} times: {}", error.reason);
            return if asked.tx_hash.is_some() { Found::problem(reason) } else { walk.give_up(&reason) };
        }
        trouble(Some(format!("backfill {} for {}: {}", asked.request, asked.payment, error.reason)));
        let rested = error.retry_at.map(|at| at.saturating_duration_since(Instant::now()));
        tokio::time::sleep(rested.unwrap_or_default().max(pause)).await;
        pause = (pause * 2).min(longest);
    }
}

/// Says now and then how far a search is.
fn progress(asked: &BackfillRequested) -> impl FnMut(u64) + use<> {
    let (chain, request, top) = (asked.chain, asked.request, asked.top_number);
    let (begun, mut said) = (Instant::now(), Instant::now());
    move |reached| {
        if said.elapsed() >= REPORT_INTERVAL {
            said = Instant::now();
            let (seconds, searched) = (begun.elapsed().as_secs(), top.0.saturating_sub(reached));
            tracing::info!(%chain, request, reached, searched, seconds, "searching old blocks");
        }
    }
}

fn answer(asked: &BackfillRequested, found: Found, clock: &Clock) -> ChainBackfill {
    let now = clock();
    let id = format!("{}:backfill:{}", asked.chain, asked.request);
    ChainBackfill {
        meta: Meta { source: None, id, occurred_at: now, recorded_at: now, cause: None, trace: None },
        chain: asked.chain,
        request: asked.request,
        from_number: found.from.map(BlockNumber),
        blocks: found.blocks,
        problem: found.problem,
        not_found: found.not_found,
        rest: found.rest,
    }
}
