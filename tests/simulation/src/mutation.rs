//! Deliberate defects, one at a time, to show that the checks see them: a check that nothing can fail proves nothing.
//!
//! Those of the runtime are carried out by the simulated runtime and disk, those of a processor or connector by a
//! wrapper that changes what it is given. Production code has no hook for them.

/// A part that is broken on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mutation {
    /// Receivers take every record, repeats too.
    DropReceiverCheck,
    /// State and offset are committed first, outputs in a commit of their own.
    CommitStateBeforeOutputs,
    /// Outputs are committed first, state and offset in a commit of their own.
    CommitOutputsBeforeState,
    /// After a restart a task goes on one record too late.
    OffsetOneTooHigh,
    /// After a restart a task goes on one record too early.
    OffsetOneTooLow,
    /// The API answers as soon as the answer is written.
    AcknowledgeBeforeSync,
    /// Stripe is told 200 before its event is synced.
    AcknowledgeStripeBeforeSync,
    /// A torn commit is half kept after a crash: its appends stay, its state does not.
    KeepTornCommit,
    /// Outputs to one destination are delivered in any order.
    DeliverOutOfOrder,
    /// A snapshot leaves out the outputs that were not delivered yet.
    SnapshotWithoutOutbox,
    /// A deadline's tick is handed to the processor and not appended.
    TickOutsideTheLog,
    /// An old owner goes on with other code than the new one.
    ZombieRunsOtherCode,
    /// The connector goes on from the node's head instead of the log's.
    ResumeAtTheNodesHead,
    /// The connector compares heights: a head that is not higher is not news.
    CompareHeights,
    /// A block that is canonical for the second time is not taken back again.
    ForgetSecondReorg,
    /// A block's time counts as late one second too early.
    LateOneSecondEarly,
    /// The fee is one millionth too high.
    WrongFee,
    /// A watch does not look back.
    SkipLookBack,
    /// A card's fee is never booked.
    DropCardFee,
    /// One webhook message of each event is left out.
    DropWebhook,
    /// A merchant's tolerance is a thousandth more than it said.
    WrongTolerance,
    /// An exact amount is matched for a day longer than it is reserved.
    MatchAfterTheReservation,
    /// A transfer one unit above the exact amount is taken for it.
    MatchOneUnitMore,
    /// What anybody has sent can be claimed, as far as it is of the first payer.
    ClaimAnySender,
    /// A search counts what the watch was told of when it came.
    CountFoundAgain,
    /// A search finds nothing at an address that payments share.
    SkipSharedSearch,
}

impl Mutation {
    /// All of them.
    pub const ALL: [Self; 26] = [
        Self::DropReceiverCheck,
        Self::CommitStateBeforeOutputs,
        Self::CommitOutputsBeforeState,
        Self::OffsetOneTooHigh,
        Self::OffsetOneTooLow,
        Self::AcknowledgeBeforeSync,
        Self::AcknowledgeStripeBeforeSync,
        Self::KeepTornCommit,
        Self::DeliverOutOfOrder,
        Self::SnapshotWithoutOutbox,
        Self::TickOutsideTheLog,
        Self::ZombieRunsOtherCode,
        Self::ResumeAtTheNodesHead,
        Self::CompareHeights,
        Self::ForgetSecondReorg,
        Self::LateOneSecondEarly,
        Self::WrongFee,
        Self::SkipLookBack,
        Self::DropCardFee,
        Self::DropWebhook,
        Self::WrongTolerance,
        Self::MatchAfterTheReservation,
        Self::MatchOneUnitMore,
        Self::ClaimAnySender,
        Self::CountFoundAgain,
        Self::SkipSharedSearch,
    ];
}
