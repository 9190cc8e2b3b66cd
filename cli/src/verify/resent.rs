//! Records that are in the shared log before one that they follow: their sender keeps all of them until they were taken in
//! order, and sends them again. It is waited for that; what does not come was lost.

use std::time::{Duration, Instant};

use streambook_log::Log;
use streambook_model::{
    peek,
    position::{Offset, TopicPartition},
};
use streambook_runtime::lineage::{Gaps, Mark, Verdict, judge};

use super::{
    mirror::arrived,
    report::{Difference, Halt},
};

/// Records of a task that have to come again.
#[derive(Debug)]
pub(crate) struct Awaited {
    pub(crate) at: TopicPartition,
    pub(crate) task: String,
    /// The last one that was in order.
    pub(crate) last: Mark,
    /// The highest number that was early.
    pub(crate) until: u64,
    /// Where the first one was that is still missing one before it.
    pub(crate) early: Offset,
    /// Where they are looked for.
    pub(crate) from: Offset,
}

/// Waits for them in the log.
pub(crate) async fn wait(log: &dyn Log, awaited: Awaited, patience: Duration) -> Result<(), Halt> {
    let began = Instant::now();
    let (mut last, mut from) = (awaited.last, awaited.from);
    while last.seq < awaited.until {
        let records = arrived(log, (&awaited.at, from), patience.saturating_sub(began.elapsed())).await?;
        if records.is_empty() {
            return Err(lost(&awaited, last).into());
        }
        for record in records {
            from = record.offset.plus(1);
            // Bytes that are no record are named when they are compared; here they are not what is waited for.
            let Ok(Some(source)) = peek::source(&record.value) else { continue };
            if source.task == awaited.task
                && matches!(judge(last, &source, Gaps::AwaitResend), Ok(Verdict::Take))
            {
                last = Mark { seq: source.seq, chain: source.chain };
            }
        }
    }
    Ok(())
}

fn lost(awaited: &Awaited, last: Mark) -> Difference {
    let what = format!("a record of {} is missing, and later ones are there", awaited.task);
    let expected = format!("number {} (its process sends it again, if it runs)", last.seq + 1);
    let found = format!("numbers up to {}", awaited.until);
    Difference::new(what, expected, found).at(&awaited.at, awaited.early)
}
