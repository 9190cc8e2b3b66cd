//! Drives the observation of one chain: looks at the head, asks the nodes for what the follower wants to know, and
//! hands on what it observes. Guarantee: nothing is skipped and nothing unverified is handed on; every failure of
//! the nodes is tried again for ever, with growing pauses, and shows in the status; the connector ends only when
//! it is asked to, when nobody takes its observations, or when the chain forks below finality. It keeps no cursor:
//! what it handed on and the log appended is where it resumes.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use alloy_primitives::Address;
use futures::{Stream, StreamExt, stream};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::config::{ChainSettings, Finality};
use super::follower::{FollowError, Follower, Next, Resume, ResumeError, Step, Wait};
use super::pool::{NoAnswer, Pool, Sender, error_chain};
use super::rpc::{Tag, TagAnswer, Wanted};
use super::status::{ChainState, ChainStatus, height};
use super::transfers::keep_tokens;
use super::types::{ForkBelowFinality, Observation, VerifiedBlock};

/// While catching up, consumers learn of a new head at least this often.
const HEAD_INTERVAL: Duration = Duration::from_millis(500);

/// Why the connector ended without having been asked to.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The HTTP client could not be set up.
    #[error("the connection to the nodes could not be prepared")]
    Client(#[source] reqwest::Error),
    /// What the log says about the chain does not hang together.
    #[error("the chain cannot be resumed")]
    Resume(#[source] ResumeError),
    /// Nobody receives the observations.
    #[error("nobody takes the observations any more")]
    OutputClosed,
    /// The chain stops: its nodes contradict what is final.
    #[error("the chain forked below finality")]
    Fork(#[source] ForkBelowFinality),
}

/// Why a step ended early.
enum Interrupted {
    NoAnswer(NoAnswer),
    WrongBlock(FollowError),
    Ended(RunError),
}

impl From<NoAnswer> for Interrupted {
    fn from(error: NoAnswer) -> Self {
        Self::NoAnswer(error)
    }
}

/// A block and the node that sent it.
type Answer = (Sender, VerifiedBlock);

/// How a step ended.
enum Pace {
    /// There may be more to learn at once.
    Again,
    /// Nothing more before the next look at the head.
    Rest,
}

/// Observes a chain until `stop` is cancelled. `out` should be bounded: a slow receiver slows the connector down.
///
/// # Errors
/// [`RunError`], after the status says `Stopped` with the reason.
pub async fn run(
    settings: ChainSettings,
    resume: Resume,
    out: mpsc::Sender<Observation>,
    stop: CancellationToken,
    status: watch::Sender<ChainStatus>,
) -> Result<(), RunError> {
    let (shown, start_block, remembered) = (status.clone(), settings.start_block, settings.remembered_blocks);
    let ended = match (Pool::new(&settings), Follower::new(start_block, remembered, resume)) {
        (Err(error), _) => Some(RunError::Client(error)),
        (_, Err(error)) => Some(RunError::Resume(error)),
        (Ok(pool), Ok(follower)) => {
            let pool = Arc::new(pool);
            let mut driver = Driver {
                settings,
                pool,
                follower,
                out,
                status,
                last_head: Instant::now(),
                forked: BTreeSet::new(),
            };
            stop.run_until_cancelled(driver.follow()).await
        }
    };
    let reason = ended.as_ref().map_or_else(|| "asked to stop".to_owned(), |error| error_chain(error));
    shown.send_modify(|status| status.state = ChainState::Stopped { reason });
    ended.map_or(Ok(()), Err)
}

struct Driver {
    settings: ChainSettings,
    pool: Arc<Pool>,
    follower: Follower,
    out: mpsc::Sender<Observation>,
    status: watch::Sender<ChainStatus>,
    last_head: Instant,
    /// The nodes whose latest blocks led below finality. The chain stops when no other node is left: one node alone
    /// may be on a fork, or lie.
    forked: BTreeSet<Sender>,
}

impl Driver {
    async fn follow(&mut self) -> RunError {
        loop {
            let pause = match self.step().await {
                Ok(Pace::Again) => continue,
                Ok(Pace::Rest) => self.settings.poll_interval,
                Err(Interrupted::Ended(error)) => return self.end(error).await,
                Err(Interrupted::NoAnswer(error)) => match self.give_up(error.to_string()).await {
                    Ok(()) => self.pause_until(error.retry_at),
                    Err(error) => return error,
                },
                Err(Interrupted::WrongBlock(error)) => match self.give_up(error.to_string()).await {
                    Ok(()) => self.settings.poll_interval,
                    Err(error) => return error,
                },
            };
            tokio::time::sleep(pause).await;
        }
    }

    /// One look at the head, and everything that follows from it.
    async fn step(&mut self) -> Result<Pace, Interrupted> {
        let (mut claimant, head) = self.pool.head().await?;
        self.status.send_modify(|status| status.head = Some(head.number));
        let step = self.follower.on_head(head);
        let mut next = self.take(step).await?;
        let pace = loop {
            next = match next {
                Next::Fetch { from, to } => {
                    self.show(ChainState::Backfilling { next: from, to: head.number });
                    self.fetch(from, to, &mut claimant).await?
                }
                Next::WalkBack(hash) => {
                    // Whoever sends it: it belongs to the branch that the claimant named.
                    let (_, block) = self.pool.block(Wanted::Hash(hash)).await?;
                    self.accept(claimant, block).await?
                }
                Next::Done => break Pace::Again,
                Next::Wait(wait) => {
                    self.show(state_of(wait, head.number));
                    break Pace::Rest;
                }
            };
        };
        self.look_at_tags().await?;
        Ok(pace)
    }

    /// Asks for many blocks at once and takes them in order. Who says which block is canonical at a height claims the
    /// branch.
    async fn fetch(&mut self, from: u64, to: u64, claimant: &mut Sender) -> Result<Next, Interrupted> {
        let mut blocks = Box::pin(self.blocks(from, to));
        let mut next = Next::Fetch { from, to };
        while let (Next::Fetch { .. }, Some(answer)) = (next, blocks.next().await) {
            let (sender, block) = answer?;
            *claimant = sender;
            next = self.accept(sender, block).await?;
            if self.last_head.elapsed() >= HEAD_INTERVAL {
                let head = self.follower.flush_head();
                self.hand_on(head).await?;
            }
        }
        Ok(next)
    }

    /// Verified blocks in order of height. Each is asked for and verified in a task of its own, which ends with
    /// the stream.
    fn blocks(&self, from: u64, to: u64) -> impl Stream<Item = Result<Answer, NoAnswer>> + Send + use<> {
        let pool = Arc::clone(&self.pool);
        stream::iter(from..=to)
            .map(move |number| {
                let pool = Arc::clone(&pool);
                let task = tokio::spawn(async move { pool.block(Wanted::Number(number)).await });
                AbortOnDropHandle::new(task)
            })
            .buffered(self.settings.max_in_flight)
            .map(|joined| {
                let ended = |error| NoAnswer { reason: format!("a request ended: {error}"), retry_at: None };
                joined.map_err(ended).and_then(|answer| answer)
            })
    }

    async fn accept(&mut self, claimant: Sender, mut block: VerifiedBlock) -> Result<Next, Interrupted> {
        let tokens: Vec<Address> = self.settings.tokens.iter().map(|token| token.address).collect();
        keep_tokens(&mut block, &tokens);
        match self.follower.on_block(block) {
            Ok(step) => {
                if !step.observations.is_empty() {
                    self.forked.remove(&claimant);
                }
                self.take(step).await
            }
            Err(error) => Err(self.does_not_fit(claimant, error)),
        }
    }

    /// Turns to the other nodes, or stops the chain when all of them are below finality.
    fn does_not_fit(&mut self, sender: Sender, error: FollowError) -> Interrupted {
        self.pool.does_not_fit(sender, &error);
        if let FollowError::Fork(fork) = error {
            self.forked.insert(sender);
            if !self.pool.has_others(&self.forked) {
                return Interrupted::Ended(RunError::Fork(fork));
            }
        }
        Interrupted::WrongBlock(error)
    }

    async fn take(&mut self, step: Step) -> Result<Next, Interrupted> {
        self.hand_on(step.observations).await?;
        Ok(step.next)
    }

    async fn hand_on(
        &mut self,
        observations: impl IntoIterator<Item = Observation>,
    ) -> Result<(), Interrupted> {
        for observation in observations {
            if let Observation::Head(_) = observation {
                self.last_head = Instant::now();
            }
            let sent = self.out.send(observation).await;
            sent.map_err(|_| Interrupted::Ended(RunError::OutputClosed))?;
        }
        let (head, finalized) = (height(self.follower.head()), height(self.follower.finalized()));
        self.status.send_modify(|status| (status.appended, status.finalized) = (head, finalized));
        Ok(())
    }

    async fn look_at_tags(&mut self) -> Result<(), Interrupted> {
        if let (_, TagAnswer::Block(safe)) = self.pool.tag(Tag::Safe).await? {
            let observation = self.follower.on_safe(safe);
            self.hand_on(observation).await?;
        }
        let mut problem = None;
        match self.pool.tag(Tag::Finalized).await? {
            (sender, TagAnswer::Block(block)) => match self.follower.on_finalized(block) {
                Ok(observation) => self.hand_on(observation).await?,
                Err(fork) => return Err(self.does_not_fit(sender, FollowError::Fork(fork))),
            },
            (_, TagAnswer::Unsupported { reason }) => {
                problem = Some(reason).filter(|_| self.settings.finality == Finality::Finalized);
            }
        }
        self.status.send_modify(|status| status.finality_problem = problem);
        Ok(())
    }

    /// Leaves the step as it is; what was observed in it counts.
    async fn give_up(&mut self, reason: String) -> Result<(), RunError> {
        self.show(ChainState::Waiting { reason });
        let head = self.follower.abandon();
        match self.hand_on(head).await {
            Err(Interrupted::Ended(error)) => Err(error),
            _ => Ok(()),
        }
    }

    /// The last observation of a chain that stops, so that the log remembers why.
    async fn end(&mut self, error: RunError) -> RunError {
        if let RunError::Fork(fork) = &error
            && self.out.send(Observation::ForkBelowFinality(*fork)).await.is_err()
        {
            return RunError::OutputClosed;
        }
        error
    }

    fn pause_until(&self, retry_at: Option<Instant>) -> Duration {
        let pause = retry_at.map(|at| at.saturating_duration_since(Instant::now()));
        pause.unwrap_or(self.settings.retry.1).max(Duration::from_millis(1))
    }

    fn show(&self, state: ChainState) {
        let nodes = self.pool.status();
        self.status.send_modify(|status| (status.state, status.nodes) = (state, nodes));
    }
}

fn state_of(wait: Wait, head: u64) -> ChainState {
    let waiting = |reason: String| ChainState::Waiting { reason };
    match wait {
        Wait::UpToDate | Wait::Doubtful => ChainState::Following,
        Wait::BeforeStart => waiting(format!("the chain is at block {head}, below the start block")),
        Wait::NodeLags => waiting(format!("the node is behind: its head is block {head}")),
    }
}
