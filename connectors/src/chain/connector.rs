//! Drives the observation of one chain: looks at the head, asks the nodes for what the follower wants to know, and
//! hands on what it observes. Guarantee: nothing is skipped and nothing unverified is handed on; every failure of
//! the nodes is tried again for ever, with growing pauses, and shows in the status; the connector ends only when
//! it is asked to, when nobody takes its observations, or when the chain forks below finality. It keeps no cursor:
//! what it handed on and the log appended is where it resumes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use alloy_primitives::Address;
use futures::{Stream, StreamExt, stream};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::config::{ChainSettings, Finality};
use super::follower::{FollowError, Follower, Next, Resume, ResumeError, Step, Wait};
use super::pool::{NoAnswer, Pool, Sender};
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

impl From<FollowError> for Interrupted {
    fn from(error: FollowError) -> Self {
        match error {
            FollowError::Fork(fork) => Self::Ended(RunError::Fork(fork)),
            other => Self::WrongBlock(other),
        }
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
    let pool = Arc::new(Pool::new(&settings).map_err(RunError::Client)?);
    let follower =
        Follower::new(settings.start_block, settings.remembered_blocks, resume).map_err(RunError::Resume)?;
    let mut driver = Driver { settings, pool, follower, out, status, last_head: Instant::now() };
    let ended = stop.run_until_cancelled(driver.follow()).await;
    let (reason, result) = match ended {
        None => ("asked to stop".to_owned(), Ok(())),
        Some(RunError::Fork(fork)) => (fork.to_string(), Err(RunError::Fork(fork))),
        Some(error) => (error.to_string(), Err(error)),
    };
    driver.show(ChainState::Stopped { reason });
    result
}

struct Driver {
    settings: ChainSettings,
    pool: Arc<Pool>,
    follower: Follower,
    out: mpsc::Sender<Observation>,
    status: watch::Sender<ChainStatus>,
    last_head: Instant,
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
        let head = self.pool.head().await?;
        self.status.send_modify(|status| status.head = Some(head.number));
        let step = self.follower.on_head(head);
        let mut next = self.take(step).await?;
        let pace = loop {
            next = match next {
                Next::Fetch { from, to } => {
                    self.show(ChainState::Backfilling { next: from, to: head.number });
                    self.fetch(from, to).await?
                }
                Next::WalkBack(hash) => {
                    let answer = self.pool.block(Wanted::Hash(hash)).await?;
                    self.accept(answer).await?
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

    /// Asks for many blocks at once and takes them in order.
    async fn fetch(&mut self, from: u64, to: u64) -> Result<Next, Interrupted> {
        let mut blocks = Box::pin(self.blocks(from, to));
        let mut next = Next::Fetch { from, to };
        while let (Next::Fetch { .. }, Some(answer)) = (next, blocks.next().await) {
            next = self.accept(answer?).await?;
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

    async fn accept(&mut self, (sender, mut block): Answer) -> Result<Next, Interrupted> {
        let tokens: Vec<Address> = self.settings.tokens.iter().map(|token| token.address).collect();
        keep_tokens(&mut block, &tokens);
        match self.follower.on_block(block) {
            Ok(step) => self.take(step).await,
            Err(error) => {
                self.pool.does_not_fit(sender, &error);
                Err(error.into())
            }
        }
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
        if let TagAnswer::Block(safe) = self.pool.tag(Tag::Safe).await? {
            let observation = self.follower.on_safe(safe);
            self.hand_on(observation).await?;
        }
        let mut problem = None;
        match self.pool.tag(Tag::Finalized).await? {
            TagAnswer::Block(block) => {
                let observation = self.follower.on_finalized(block).map_err(FollowError::Fork)?;
                self.hand_on(observation).await?;
            }
            TagAnswer::Unsupported { reason } => {
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
