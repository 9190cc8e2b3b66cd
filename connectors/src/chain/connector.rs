//! Drives the observation of one chain: looks at the head, asks the nodes for what the follower wants to know, and
//! hands on what it observes. Guarantee: nothing is skipped and nothing unverified is handed on; every failure of
//! the nodes is tried again for ever, with growing pauses, and shows in the status; the connector ends only when
//! it is asked to, when nobody takes its observations, or when the chain forks below finality. A head is handed on, and
//! finality moves, only when the nodes together say so ([`agreement`](super::agreement)). It keeps no cursor: what it
//! handed on and the log appended is where it resumes.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use alloy_primitives::Address;
use futures::{Stream, StreamExt, stream};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::agreement::{Opinion, Verdict, agreed_finality, judge};
use super::config::{ChainSettings, Finality};
use super::follower::{FollowError, Follower, Next, Resume, ResumeError, Step, Wait};
use super::heads::{HeadSignal, subscribe};
use super::pool::{NoAnswer, Pool, Sender, error_chain};
use super::progress::Progress;
use super::rpc::{Tag, TagAnswer, Wanted};
use super::second;
use super::stall::{Moving, Watchdog};
use super::status::{ChainState, ChainStatus, height};
use super::transfers::keep_tokens;
use super::types::{BlockRef, ForkBelowFinality, Observation, VerifiedBlock};

/// Blocks that wait for one before them, or for their turn to be asked for, as a multiple of those that are asked for: a block
/// that comes late leaves the node with as much to do as before.
const AHEAD: usize = 2;

/// While catching up, consumers learn of a new head at least this often.
const HEAD_INTERVAL: Duration = Duration::from_millis(500);

/// While nothing else happens, finality is looked at this often.
const TAG_INTERVAL: Duration = Duration::from_secs(1);

/// While catching up, the log says this often how far it is.
const REPORT_INTERVAL: Duration = Duration::from_secs(10);

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
            let mut driver = Driver::new(settings, pool, follower, out, status);
            stop.run_until_cancelled(driver.follow()).await
        }
    };
    let reason = ended.as_ref().map_or_else(|| "asked to stop".to_owned(), |error| error_chain(error));
    shown.send_modify(|status| status.state = ChainState::Stopped { reason });
    ended.map_or(Ok(()), Err)
}

struct Driver {
    settings: ChainSettings,
    /// The contracts whose transfers are observed.
    tokens: Vec<Address>,
    pool: Arc<Pool>,
    follower: Follower,
    out: mpsc::Sender<Observation>,
    status: watch::Sender<ChainStatus>,
    signal: Arc<HeadSignal>,
    _subscriptions: Vec<AbortOnDropHandle<()>>,
    watchdog: Watchdog,
    progress: Progress,
    reported: Option<Instant>,
    last_head: Instant,
    /// The head that finality was last looked at with, and when.
    looked_at_tags: Option<(Option<BlockRef>, Instant)>,
    /// The last head that was handed on.
    announced: Option<BlockRef>,
    /// Why the last head was not handed on.
    withheld: Option<String>,
    /// Which of the nodes is asked for the head, from the best on.
    turn: usize,
    /// The node that claims the branch which is being followed.
    claimant: Option<Sender>,
    /// The nodes whose blocks led below finality since the last head that was believed. The chain stops when no other node
    /// is left: one node alone may be on a fork, or lie.
    forked: BTreeSet<Sender>,
}

impl Driver {
    fn new(
        settings: ChainSettings,
        pool: Pool,
        follower: Follower,
        out: mpsc::Sender<Observation>,
        status: watch::Sender<ChainStatus>,
    ) -> Self {
        let signal = Arc::new(HeadSignal::default());
        let subscriptions = settings.subscriptions.iter().map(|url| {
            let task = subscribe(url.clone(), settings.request_timeout, Arc::clone(&signal));
            AbortOnDropHandle::new(tokio::spawn(task))
        });
        Self {
            _subscriptions: subscriptions.collect(),
            announced: follower.head(),
            tokens: settings.contracts(),
            settings,
            pool: Arc::new(pool),
            follower,
            out,
            status,
            signal,
            watchdog: Watchdog::default(),
            progress: Progress::default(),
            reported: None,
            last_head: Instant::now(),
            looked_at_tags: None,
            withheld: None,
            turn: 0,
            claimant: None,
            forked: BTreeSet::new(),
        }
    }

    async fn follow(&mut self) -> RunError {
        loop {
            let ended = self.step().await;
            if ended.is_err() {
                // What the best node announces may be what nobody has: the next one's head is looked at.
                self.turn = self.turn.wrapping_add(1);
            }
            let pause = match ended {
                Ok(Pace::Again) => continue,
                Ok(Pace::Rest) if self.withheld.is_some() => self.settings.poll_interval / 4,
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
            self.signal.wait(pause).await;
        }
    }

    /// One look at the head, and everything that follows from it.
    async fn step(&mut self) -> Result<Pace, Interrupted> {
        let (claimant, head) = self.pool.head(self.turn).await?;
        self.withheld = None;
        self.claimant = Some(claimant);
        if self.status.borrow().head.is_none_or(|known| known < head.number) {
            self.signal.found();
        }
        self.status.send_modify(|status| status.head = Some(head.number));
        let step = self.follower.on_head(head);
        let mut next = self.take(step).await?;
        let pace = loop {
            next = match next {
                Next::Fetch { from, to } => {
                    self.show_progress(from, head.number);
                    self.fetch(from, to, head.number).await?
                }
                Next::WalkBack(hash) => {
                    // Whoever sends it: it belongs to the branch that the claimant named.
                    let (sender, block) = self.pool.block(Wanted::Hash(hash), self.claimant).await?;
                    self.accept(sender, block).await?
                }
                Next::Done => break if self.withheld.is_some() { Pace::Rest } else { Pace::Again },
                Next::Wait(wait) => {
                    self.progress.arrived();
                    self.status.send_modify(|status| status.speed = None);
                    self.show(state_of(wait, head.number));
                    break Pace::Rest;
                }
            };
        };
        // Where a head is not believed, the branch of the next node is looked at: it may be the one, or be found wrong.
        self.turn = if self.withheld.is_some() { self.turn.wrapping_add(1) } else { 0 };
        if let Some(reason) = self.withheld.clone() {
            self.show(ChainState::Waiting { reason });
        }
        self.look_at_tags().await?;
        self.look_for_stalls();
        Ok(pace)
    }

    /// Asks for many blocks at once and takes them in order. Who says which block is canonical at a height claims the
    /// branch.
    async fn fetch(&mut self, from: u64, to: u64, head: u64) -> Result<Next, Interrupted> {
        let mut blocks = Box::pin(self.blocks(from, to));
        let mut next = Next::Fetch { from, to };
        while let (Next::Fetch { from, .. }, Some(answer)) = (next, blocks.next().await) {
            let (sender, block) = answer?;
            self.claimant = Some(sender);
            next = self.accept(sender, block).await?;
            self.progress.reached(from, Instant::now());
            if self.last_head.elapsed() >= HEAD_INTERVAL {
                self.show_progress(from, head);
                let head = self.follower.flush_head();
                self.hand_on(head).await?;
            }
        }
        Ok(next)
    }

    /// Verified blocks in order of height. Each is asked for and verified in a task of its own, which ends with
    /// the stream; no more at once than `max_in_flight`.
    fn blocks(&self, from: u64, to: u64) -> impl Stream<Item = Result<Answer, NoAnswer>> + Send + use<> {
        let (pool, claimant) = (Arc::clone(&self.pool), self.claimant);
        let turns = Arc::new(Semaphore::new(self.settings.max_in_flight));
        stream::iter(from..=to)
            .map(move |number| {
                let (pool, turns) = (Arc::clone(&pool), Arc::clone(&turns));
                let task = tokio::spawn(async move {
                    // Nobody closes the semaphore.
                    let _turn = turns.acquire().await;
                    pool.block(Wanted::Number(number), claimant).await
                });
                AbortOnDropHandle::new(task)
            })
            .buffered(self.settings.max_in_flight.saturating_mul(AHEAD))
            .map(|joined| {
                let ended = |error| NoAnswer { reason: format!("a request ended: {error}"), retry_at: None };
                joined.map_err(ended).and_then(|answer| answer)
            })
    }

    async fn accept(&mut self, sender: Sender, mut block: VerifiedBlock) -> Result<Next, Interrupted> {
        keep_tokens(&mut block, &self.tokens);
        if second::is_needed(&self.settings, &block) {
            block = second::ask(&self.pool, (sender, block), self.claimant, &self.tokens).await?;
        }
        let claimant = self.claimant.unwrap_or(sender);
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
            if let Observation::Head(head) = observation {
                self.last_head = Instant::now();
                if let Some(reason) = self.doubt(head).await {
                    self.follower.disown_head(self.announced);
                    self.withheld = Some(reason);
                    continue;
                }
                self.withheld = None;
                self.announced = Some(head);
                // The chain goes on above what is final; who left it before may have been wrong for a moment only.
                self.forked.clear();
                self.watchdog.note(Moving::Head, head, Instant::now());
            }
            let sent = self.out.send(observation).await;
            sent.map_err(|_| Interrupted::Ended(RunError::OutputClosed))?;
        }
        let (head, finalized) = (height(self.follower.head()), height(self.follower.finalized()));
        self.status.send_modify(|status| (status.appended, status.finalized) = (head, finalized));
        Ok(())
    }

    /// Why a head is not handed on: not enough nodes say the same.
    async fn doubt(&self, head: BlockRef) -> Option<String> {
        if self.settings.nodes.len() == 1 {
            return None;
        }
        let opinions = self.pool.opinions(self.claimant, head).await;
        let verdict = judge(self.settings.agreement, opinions.iter().map(|(_, opinion)| *opinion));
        let outvoted = |said| opinions.iter().filter(move |(_, opinion)| *opinion == said);
        let block = format!("block {} ({})", head.number, head.hash);
        match verdict {
            Verdict::Believed => {
                outvoted(Opinion::Contradicts).for_each(|(node, _)| self.pool.outvoted(*node, head));
                None
            }
            Verdict::Outvoted => {
                let claimants = outvoted(Opinion::Agrees).map(|(node, _)| *node).chain(self.claimant);
                claimants.for_each(|node| self.pool.outvoted(node, head));
                Some(format!("more nodes contradict {block} than agree with it"))
            }
            Verdict::Ahead => {
                self.claimant.into_iter().for_each(|node| self.pool.ahead_alone(node));
                Some(format!("the other nodes have not reached {block}"))
            }
            Verdict::Contested => Some(format!("the nodes contradict each other about {block}")),
            Verdict::TooFew => {
                let agreement = self.settings.agreement;
                Some(format!("fewer than {agreement} nodes have said that {block} is canonical"))
            }
        }
    }

    async fn look_at_tags(&mut self) -> Result<(), Interrupted> {
        let (head, now) = (self.follower.head(), Instant::now());
        let recent = self
            .looked_at_tags
            .is_some_and(|(known, at)| known == head && now.saturating_duration_since(at) < TAG_INTERVAL);
        if recent {
            return Ok(());
        }
        if let (_, TagAnswer::Block(safe)) = self.pool.tag(Tag::Safe).await? {
            self.watchdog.note(Moving::Safe, safe, now);
            let observation = self.follower.on_safe(safe);
            self.hand_on(observation).await?;
        }
        self.look_at_finality().await?;
        self.looked_at_tags = Some((head, now));
        Ok(())
    }

    /// All nodes are asked, since the word of one alone would confirm payments.
    async fn look_at_finality(&mut self) -> Result<(), Interrupted> {
        let (mut blocks, mut problem) = (Vec::new(), None);
        let (answers, silent) = self.pool.tags(Tag::Finalized).await;
        for (sender, answer) in answers {
            match answer {
                TagAnswer::Block(block) => blocks.push((sender, block)),
                TagAnswer::Unsupported { reason } => problem = Some(reason),
            }
        }
        let agreed = agreed_finality(self.settings.agreement, &blocks, silent);
        if let Some((sender, block)) = agreed {
            self.watchdog.note(Moving::Finalized, block, Instant::now());
            match self.follower.on_finalized(block) {
                Ok(observation) => self.hand_on(observation).await?,
                Err(fork) => return Err(self.does_not_fit(sender, FollowError::Fork(fork))),
            }
        }
        let problem = problem.filter(|_| agreed.is_none() && self.settings.finality == Finality::Finalized);
        self.status.send_modify(|status| status.finality_problem = problem);
        Ok(())
    }

    fn look_for_stalls(&self) {
        let stalls = self.watchdog.stalls(self.settings.stall_limits, Instant::now());
        let subscriptions = self.signal.open();
        self.status.send_if_modified(|status| {
            let changed = status.stalls != stalls || status.subscriptions != subscriptions;
            (status.stalls, status.subscriptions) = (stalls, subscriptions);
            changed
        });
    }

    /// Says how far catching up has come.
    fn show_progress(&mut self, next: u64, to: u64) {
        let (speed, now) = (self.progress.speed(to), Instant::now());
        self.status.send_modify(|status| status.speed = speed);
        self.show(ChainState::Backfilling { next, to });
        let due = self.reported.is_none_or(|at| now.saturating_duration_since(at) >= REPORT_INTERVAL);
        if let (true, Some(speed)) = (due, speed) {
            self.reported = Some(now);
            let (chain, blocks_per_second, seconds_left) =
                (self.settings.chain_id, speed.blocks_per_second, speed.seconds_left);
            tracing::info!(chain, next, to, blocks_per_second, seconds_left, "catching up");
        }
    }

    /// Leaves the step as it is; what was observed in it counts.
    async fn give_up(&mut self, reason: String) -> Result<(), RunError> {
        self.show(ChainState::Waiting { reason });
        self.look_for_stalls();
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
