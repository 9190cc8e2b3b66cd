//! What was sent and is kept: which of it has arrived, and whether the log has lost some of it. Pure.

use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant},
};

use streambook_model::position::Offset;

use crate::{
    checkpoints::{Heard, Received},
    lineage::Mark,
};

/// How long a receiver may have read past a record without having taken it, before it is sent again: several checkpoints.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a receiver that runs may stand still before a record that it has not read. Nothing follows a record that was lost
/// from the log's end, so nobody reads past it; and what the log hides since it crashed shows at the next append.
const STILL: Duration = Duration::from_secs(20);
/// Each time a record is sent again, the patience for the next time doubles, so many times at most.
const DOUBLINGS: u32 = 7;
/// A record that was sent again so often and has not arrived is worth an operator's look.
const OFTEN: u32 = 3;

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
    suspect: Option<(Sight, Instant)>,
    /// The first record when something was last sent again, and how often that was.
    again: Option<(Offset, u32)>,
    /// The record that was last sent again alone. Once it has arrived, those behind it should have as well.
    probe: Option<Offset>,
}

/// What is to be sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lost {
    Nothing,
    /// Everything, from this record in the store on; nothing is pending any more.
    From(Offset),
    /// This record alone: it shows whether the log has lost its end, or hides it, and costs little where it has not.
    Only(Offset),
}

/// What makes a record look lost, as long as it stays the same.
#[derive(Debug, PartialEq, Eq)]
struct Sight {
    at: Offset,
    taken: u64,
    /// Where the receiver stands, if that is before the record.
    still: Option<Offset>,
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

    /// Whether the first record was lost: for a while the receiver has read past it and not taken it, or stands still before it
    /// although it goes on.
    pub(super) fn lost(&mut self, heard: &Heard, now: Instant) -> Lost {
        let Some(sight) = self.sight(&heard.received) else {
            (self.suspect, self.probe) = (None, None);
            return Lost::Nothing;
        };
        let (at, patience) = (sight.at, self.patience(&sight));
        let since = match &self.suspect {
            Some((before, since)) if *before == sight => *since,
            _ => {
                self.suspect = Some((sight, now));
                return Lost::Nothing;
            }
        };
        // Of one that stands still it must be known that it lives: it has said so since.
        let is_believed = sight.still.is_none()
            || heard.goes_on && heard.at.is_some_and(|at| at.duration_since(since) >= patience);
        if now.duration_since(since) < patience || !is_believed {
            return Lost::Nothing;
        }
        self.suspect = None;
        self.again = Some((at, self.times(at).saturating_add(1)));
        if sight.still.is_some() {
            self.probe = Some(at);
            return Lost::Only(at);
        }
        self.sent.clear();
        self.probe = None;
        Lost::From(at)
    }

    fn sight(&self, received: &Received) -> Option<Sight> {
        let first = self.sent.front()?;
        let taken = received.marks.get(&first.task).map_or(0, |mark| mark.seq);
        let is_behind = received.next <= first.shared && self.probe.is_none_or(|probe| first.at <= probe);
        let still = is_behind.then_some(received.next);
        Some(Sight { at: first.at, taken, still })
    }

    fn patience(&self, sight: &Sight) -> Duration {
        let patience = if sight.still.is_some() { STILL } else { PATIENCE };
        patience.saturating_mul(1 << self.times(sight.at).min(DOUBLINGS))
    }

    /// How often the record at this place in the store was sent again.
    fn times(&self, at: Offset) -> u32 {
        self.again.filter(|(first, _)| *first == at).map_or(0, |(_, times)| times)
    }

    /// The first record, where it does not arrive however often it is sent.
    pub(super) fn trouble(&self) -> Option<String> {
        let first = self.sent.front()?;
        let times = self.times(first.at);
        let (task, seq) = (&first.task, first.mark.seq);
        (times >= OFTEN)
            .then(|| format!("number {seq} of {task} was sent again {times} times and is not taken"))
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
pub(super) fn nothing(receiver: &str) -> Heard {
    let received = Received { receiver: receiver.to_owned(), next: Offset(0), marks: BTreeMap::new() };
    Heard { received, at: None, goes_on: false }
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
        pending.settle(&nothing("sql").received).unwrap();
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

    /// The receiver says this at that time.
    fn heard(received: Received, at: Instant) -> Heard {
        Heard { received, at: Some(at), goes_on: true }
    }

    #[test]
    fn a_record_is_lost_when_the_receiver_stays_past_it() {
        let (mut pending, start) = (pending(), Instant::now());
        let after = |seconds| start + Duration::from_secs(seconds);
        let said = |next, seconds| heard(received(next, mark(1)), after(seconds));
        pending.settle(&received(11, mark(1))).unwrap();
        assert_eq!(pending.lost(&said(11, 0), after(0)), Lost::Nothing, "it may not have been read yet");
        assert_eq!(pending.lost(&said(12, 100), after(100)), Lost::Nothing, "read past just now");
        assert_eq!(pending.lost(&said(20, 104), after(104)), Lost::Nothing);
        assert_eq!(pending.lost(&said(30, 105), after(105)), Lost::From(Offset(102)));
        assert_eq!(pending.len(), 0, "all of it is sent again");
    }

    #[test]
    fn a_receiver_that_goes_on_taking_has_lost_nothing() {
        let (mut pending, start) = (pending(), Instant::now());
        for taken in 0..3 {
            let (received, now) = (received(40, mark(taken)), start + Duration::from_secs(4 * taken));
            pending.settle(&received).unwrap();
            assert_eq!(pending.lost(&heard(received, now), now), Lost::Nothing, "took {taken}");
        }
    }

    #[test]
    fn the_first_of_the_last_records_is_tried_where_a_receiver_that_lives_stands_still_before_it() {
        let (mut pending, start) = (pending(), Instant::now());
        let after = |seconds| start + Duration::from_secs(seconds);
        let said = |next, seconds| heard(received(next, mark(0)), after(seconds));
        assert_eq!(pending.lost(&said(5, 0), after(0)), Lost::Nothing);
        assert_eq!(pending.lost(&said(8, 19), after(19)), Lost::Nothing, "it comes nearer");
        assert_eq!(pending.lost(&said(8, 38), after(38)), Lost::Nothing);
        assert_eq!(pending.lost(&said(8, 38), after(60)), Lost::Nothing, "it has not spoken since");
        let stopped = Heard { goes_on: false, ..said(8, 61) };
        assert_eq!(pending.lost(&stopped, after(61)), Lost::Nothing, "it has stopped");
        assert_eq!(pending.lost(&said(8, 62), after(62)), Lost::Only(Offset(101)));
        assert_eq!(pending.len(), 3, "the others are not known to be lost");
    }

    #[test]
    fn once_the_one_that_was_tried_has_arrived_the_others_are_missed_soon() {
        let (mut pending, start) = (pending(), Instant::now());
        let after = |seconds| start + Duration::from_secs(seconds);
        let said = |next, taken, seconds| heard(received(next, mark(taken)), after(seconds));
        assert_eq!(pending.lost(&said(10, 0, 0), after(0)), Lost::Nothing);
        assert_eq!(pending.lost(&said(10, 0, 20), after(20)), Lost::Only(Offset(101)));
        pending.settle(&received(11, mark(1))).unwrap();
        assert_eq!(pending.lost(&said(11, 1, 22), after(22)), Lost::Nothing);
        assert_eq!(pending.lost(&said(11, 1, 27), after(27)), Lost::From(Offset(102)));
    }

    #[test]
    fn what_never_arrives_is_sent_less_and_less_often_and_said() {
        let (mut lost, start) = (pending(), Instant::now());
        let (mut now, mut waited) = (start, Vec::new());
        for _ in 0..4 {
            let began = now;
            while lost.lost(&heard(received(40, mark(0)), now), now) == Lost::Nothing {
                now += Duration::from_secs(1);
            }
            waited.push(now.duration_since(began).as_secs());
            lost.sent = pending().sent;
        }
        assert_eq!(waited, [5, 10, 20, 40]);
        assert_eq!(lost.trouble().unwrap(), "number 1 of book/1 was sent again 4 times and is not taken");
        lost.settle(&received(41, mark(1))).unwrap();
        assert_eq!(lost.trouble(), None, "it has arrived");
    }
}
