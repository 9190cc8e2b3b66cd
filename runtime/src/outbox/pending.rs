//! What was sent and is kept: which of it has arrived, and whether the log has lost some of it. Pure.

use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant},
};

use streambook_model::position::Offset;

use crate::{checkpoints::Received, lineage::Mark};

/// How long a receiver may have read past a record without having taken it, before it is sent again: several checkpoints.
const PATIENCE: Duration = Duration::from_secs(5);

/// The receiver holds something else under a number of ours: this process, or the one that ran the task before, computed
/// differently from the same inbox.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("task {task} sends seq {seq} with hash {ours}; {receiver} took it with hash {theirs}")]
pub struct Contradiction {
    task: String,
    seq: u64,
    ours: String,
    theirs: String,
    receiver: String,
}

/// A record that was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sent {
    /// Where it is in the store.
    pub(super) at: Offset,
    /// Its task, number and hash.
    pub(super) task: String,
    pub(super) mark: Mark,
    /// The lowest offset it can have in the shared log.
    pub(super) shared: Offset,
}

/// The records of one destination that have not arrived yet, as they were sent.
#[derive(Debug, Default)]
pub(super) struct Pending {
    sent: VecDeque<Sent>,
    suspect: Option<Suspect>,
}

/// A record that the receiver has read past.
#[derive(Debug, PartialEq, Eq)]
struct Suspect {
    at: Offset,
    taken: u64,
    since: Instant,
}

impl Pending {
    pub(super) fn push(&mut self, sent: Sent) {
        self.sent.push_back(sent);
    }

    pub(super) fn len(&self) -> usize {
        self.sent.len()
    }

    /// Where in the store the first record is that has not arrived.
    pub(super) fn first(&self) -> Option<Offset> {
        self.sent.front().map(|sent| sent.at)
    }

    /// Forgets what has arrived.
    pub(super) fn settle(&mut self, received: &Received) -> Result<(), Contradiction> {
        while let Some(first) = self.sent.front() {
            if !has_arrived(&first.task, first.mark, received)? {
                break;
            }
            self.sent.pop_front();
        }
        Ok(())
    }

    /// Whether the first record was lost: the receiver has read past it and has for a while not taken it. All are to be sent
    /// again then, from the first on, and nothing is pending any more.
    pub(super) fn is_lost(&mut self, received: &Received, now: Instant) -> bool {
        let Some(first) = self.sent.front().filter(|first| received.next > first.shared) else {
            self.suspect = None;
            return false;
        };
        let taken = received.marks.get(&first.task).map_or(0, |mark| mark.seq);
        let suspected = |suspect: &&Suspect| suspect.at == first.at && suspect.taken == taken;
        match self.suspect.as_ref().filter(suspected) {
            Some(suspect) if now.duration_since(suspect.since) >= PATIENCE => {
                self.sent.clear();
                self.suspect = None;
                true
            }
            Some(_) => false,
            None => {
                self.suspect = Some(Suspect { at: first.at, taken, since: now });
                false
            }
        }
    }
}

/// Whether the receiver has taken this record of a task.
pub(super) fn has_arrived(task: &str, mark: Mark, received: &Received) -> Result<bool, Contradiction> {
    let Some(taken) = received.marks.get(task) else { return Ok(false) };
    if taken.seq == mark.seq && taken.chain != mark.chain {
        return Err(Contradiction {
            task: task.to_owned(),
            seq: mark.seq,
            ours: mark.chain.to_string(),
            theirs: taken.chain.to_string(),
            receiver: received.receiver.clone(),
        });
    }
    Ok(taken.seq >= mark.seq)
}

/// Nothing was heard of this receiver.
pub(super) fn nothing(receiver: &str) -> Received {
    Received { receiver: receiver.to_owned(), next: Offset(0), marks: BTreeMap::new() }
}

#[cfg(test)]
mod tests {
    use streambook_model::bytes::LineageHash;

    use super::*;

    fn mark(seq: u64) -> Mark {
        Mark { seq, chain: LineageHash::new([u8::try_from(seq).unwrap(); 16]) }
    }

    /// `book/1` has sent 1, 2, 3 to offsets 10, 11, 12 of the shared log, or behind them.
    fn pending() -> Pending {
        let mut pending = Pending::default();
        for seq in 1..=3 {
            let (at, shared) = (Offset(100 + seq), Offset(9 + seq));
            pending.push(Sent { at, task: "book/1".into(), mark: mark(seq), shared });
        }
        pending
    }

    fn received(next: u64, taken: Mark) -> Received {
        let marks = BTreeMap::from([("book/1".to_owned(), taken)]);
        Received { receiver: "sql".into(), next: Offset(next), marks }
    }

    #[test]
    fn what_the_receiver_took_is_forgotten_and_nothing_else() {
        let mut pending = pending();
        pending.settle(&nothing("sql")).unwrap();
        assert_eq!(pending.first(), Some(Offset(101)));
        pending.settle(&received(12, mark(2))).unwrap();
        assert_eq!((pending.first(), pending.len()), (Some(Offset(103)), 1));
        pending.settle(&received(13, mark(3))).unwrap();
        assert_eq!(pending.first(), None);
    }

    #[test]
    fn another_content_under_the_same_number_is_a_contradiction() {
        let other = Mark { seq: 1, chain: LineageHash::new([9; 16]) };
        assert!(
            pending().settle(&received(11, other)).unwrap_err().to_string().contains("book/1 sends seq 1")
        );
    }

    #[test]
    fn a_record_is_lost_when_the_receiver_stays_past_it() {
        let (mut pending, start) = (pending(), Instant::now());
        let after = |seconds| start + Duration::from_secs(seconds);
        pending.settle(&received(11, mark(1))).unwrap();
        assert!(!pending.is_lost(&received(11, mark(1)), after(0)), "it may not have been read yet");
        assert!(!pending.is_lost(&received(12, mark(1)), after(100)), "read past just now");
        assert!(!pending.is_lost(&received(20, mark(1)), after(104)));
        assert!(pending.is_lost(&received(30, mark(1)), after(105)));
        assert_eq!(pending.len(), 0, "all of it is sent again");
    }

    #[test]
    fn a_receiver_that_goes_on_taking_has_lost_nothing() {
        let (mut pending, start) = (pending(), Instant::now());
        for taken in 0..3 {
            let received = received(40, mark(taken));
            pending.settle(&received).unwrap();
            assert!(!pending.is_lost(&received, start + Duration::from_secs(4 * taken)), "took {taken}");
        }
    }
}
