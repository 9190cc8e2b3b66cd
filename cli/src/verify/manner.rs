//! Whether the log is at rest while it is verified, or goes on beside it, and who shares it.

use std::{thread::available_parallelism, time::Duration};

use streambook_runtime::lineage::Gaps;

/// How the work is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    /// Nobody else has the log: it is at rest, and all cores are free.
    Alone,
    /// The log's owner goes on: what it adds after the start is not looked at, and it has the right of way.
    Beside,
    /// Many processes share the log: a copy of it is verified, in which records may occur again, and early.
    Shared,
}

/// How long a thread that has no right of way works before it rests, and rests.
const STRETCH: Duration = Duration::from_millis(20);

impl Manner {
    /// Threads that work at one time.
    pub(super) fn threads(self) -> usize {
        match self {
            Self::Alone | Self::Shared => available_parallelism().map_or(1, std::num::NonZero::get),
            Self::Beside => 1,
        }
    }

    /// How long to rest after working for so long without; nothing while there is no need.
    pub(super) fn rest(self, worked: Duration) -> Option<Duration> {
        // No longer than a stretch: on a busy machine most of the time was spent waiting for a turn.
        (self == Self::Beside && worked >= STRETCH).then_some(STRETCH)
    }

    /// What a gap in a task's records means.
    pub(super) const fn gaps(self) -> Gaps {
        match self {
            Self::Alone | Self::Beside => Gaps::Stop,
            Self::Shared => Gaps::AwaitResend,
        }
    }
}
