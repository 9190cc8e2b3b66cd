//! The records of a partition that are in memory: those a stream brought and nobody read yet, and some before them, so that
//! readers a little apart share a stream. No input or output: what to do with each record that arrives is decided here.

use std::collections::VecDeque;

use bytes::Bytes;
use streambook_model::position::Offset;

use crate::{ReadLimit, Record};

/// The stream goes on while fewer bytes than this are unread.
const AHEAD_BYTES: usize = 1 << 20;
/// What was read stays up to this many bytes.
const BEHIND_BYTES: usize = 256 << 10;
/// A record costs this much beside its key and value.
const RECORD_BYTES: usize = size_of::<Record>();

/// Consecutive records, `first()..next()`.
#[derive(Debug)]
pub(super) struct Window {
    records: VecDeque<Record>,
    next: u64,
    /// One past the highest offset that was read or is waited for.
    read: u64,
    unread_bytes: usize,
    read_bytes: usize,
    last_stamp_ms: u64,
}

/// What a record that arrives is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Arrival {
    /// The one that was expected.
    Next,
    /// It is here already, or before what was asked for.
    Older,
    /// One before it is missing: this one.
    Gap(Offset),
}

impl Window {
    /// Empty, before this offset.
    pub(super) fn new(from: Offset) -> Self {
        Self {
            records: VecDeque::new(),
            next: from.0,
            read: from.0,
            unread_bytes: 0,
            read_bytes: 0,
            last_stamp_ms: 0,
        }
    }

    /// The first offset that is here.
    pub(super) fn first(&self) -> Offset {
        Offset(self.next - u64::try_from(self.records.len()).unwrap_or(self.next))
    }

    /// The offset of the record that comes next.
    pub(super) fn next(&self) -> Offset {
        Offset(self.next)
    }

    /// Whether a reader at this offset is served here, now or by what comes next.
    pub(super) fn serves(&self, offset: Offset) -> bool {
        (self.first()..=self.next()).contains(&offset)
    }

    /// What a record of this offset would be.
    pub(super) fn arrival(&self, offset: Offset) -> Arrival {
        match offset.0.cmp(&self.next) {
            std::cmp::Ordering::Less => Arrival::Older,
            std::cmp::Ordering::Equal => Arrival::Next,
            std::cmp::Ordering::Greater => Arrival::Gap(self.next()),
        }
    }

    /// Takes in the expected record. Times never fall, whatever the clocks of those who appended said.
    pub(super) fn push(&mut self, appended_at_ms: u64, key: Bytes, value: Bytes) {
        self.last_stamp_ms = self.last_stamp_ms.max(appended_at_ms);
        let record = Record { offset: self.next(), appended_at_ms: self.last_stamp_ms, key, value };
        let bytes = cost(&record);
        if self.next < self.read {
            self.read_bytes += bytes;
        } else {
            self.unread_bytes += bytes;
        }
        self.records.push_back(record);
        self.next += 1;
    }

    /// Whether more should be fetched.
    pub(super) fn has_room(&self) -> bool {
        self.unread_bytes < AHEAD_BYTES
    }

    /// The records from an offset on; none when it is not here.
    pub(super) fn read(&mut self, offset: Offset, limit: ReadLimit) -> Vec<Record> {
        let Some(skip) = offset.0.checked_sub(self.first().0).and_then(|skip| usize::try_from(skip).ok())
        else {
            return Vec::new();
        };
        let mut bytes = 0_usize;
        let fits = |(index, record): &(usize, &Record)| {
            bytes = bytes.saturating_add(record.size());
            *index == 0 || bytes <= limit.bytes
        };
        let from_there = self.records.iter().skip(skip).take(limit.records).enumerate();
        let read: Vec<Record> = from_there.take_while(fits).map(|(_, record)| record.clone()).collect();
        self.advance(offset.plus(u64::try_from(read.len()).unwrap_or(0)));
        read
    }

    /// Everything before this offset was read: it makes room, and in time goes.
    pub(super) fn advance(&mut self, to: Offset) {
        let first = self.first().0;
        let index = |offset: u64| usize::try_from(offset.saturating_sub(first)).unwrap_or(usize::MAX);
        let (from, until) = (index(self.read), index(to.0).min(self.records.len()));
        if from < until {
            let bytes: usize = self.records.range(from..until).map(cost).sum();
            self.unread_bytes = self.unread_bytes.saturating_sub(bytes);
            self.read_bytes += bytes;
        }
        self.read = self.read.max(to.0);
        while self.read_bytes > BEHIND_BYTES && self.first().0 < self.read {
            let Some(gone) = self.records.pop_front() else { break };
            self.read_bytes = self.read_bytes.saturating_sub(cost(&gone));
        }
    }
}

fn cost(record: &Record) -> usize {
    RECORD_BYTES + record.size()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: ReadLimit = ReadLimit { records: usize::MAX, bytes: usize::MAX };

    fn window(from: u64, records: u64, bytes: usize) -> Window {
        let mut window = Window::new(Offset(from));
        for number in 0..records {
            assert_eq!(window.arrival(Offset(from + number)), Arrival::Next);
            window.push(number, Bytes::new(), vec![0; bytes].into());
        }
        window
    }

    fn offsets(records: &[Record]) -> Vec<u64> {
        records.iter().map(|record| record.offset.0).collect()
    }

    #[test]
    fn consecutive_records_are_taken_older_ones_passed_over_and_gaps_said() {
        let window = window(5, 3, 1);
        assert_eq!((window.first(), window.next()), (Offset(5), Offset(8)));
        assert_eq!(window.arrival(Offset(8)), Arrival::Next);
        assert_eq!(window.arrival(Offset(7)), Arrival::Older);
        assert_eq!(window.arrival(Offset(0)), Arrival::Older);
        assert_eq!(window.arrival(Offset(9)), Arrival::Gap(Offset(8)));
    }

    #[test]
    fn readers_a_little_apart_share_what_is_here() {
        let mut window = window(5, 4, 1);
        assert_eq!(offsets(&window.read(Offset(5), ALL)), [5, 6, 7, 8]);
        assert_eq!(offsets(&window.read(Offset(7), ALL)), [7, 8]);
        assert_eq!(offsets(&window.read(Offset(9), ALL)), [0_u64; 0]);
        assert_eq!(offsets(&window.read(Offset(4), ALL)), [0_u64; 0], "not here");
        assert!(window.serves(Offset(5)) && window.serves(Offset(9)));
        assert!(!window.serves(Offset(4)) && !window.serves(Offset(10)));
    }

    #[test]
    fn limits_hold_and_the_first_record_comes_whatever_its_size() {
        let mut window = window(0, 10, 100);
        assert_eq!(window.read(Offset(0), ReadLimit { records: 3, bytes: usize::MAX }).len(), 3);
        assert_eq!(window.read(Offset(0), ReadLimit { records: 10, bytes: 250 }).len(), 2);
        assert_eq!(window.read(Offset(0), ReadLimit { records: 10, bytes: 1 }).len(), 1);
        assert_eq!(window.read(Offset(0), ReadLimit { records: 0, bytes: 1_000 }).len(), 0);
    }

    #[test]
    fn memory_is_bounded_by_what_is_unread_and_a_little_that_was_read() {
        let mut window = window(0, 2_000, 1_000);
        assert!(!window.has_room());
        assert_eq!(window.first(), Offset(0), "nothing unread goes");
        let read = window.read(Offset(0), ReadLimit { records: 1_500, bytes: usize::MAX });
        assert_eq!(read.len(), 1_500);
        assert!(window.has_room());
        let kept = 1_500 - window.first().0;
        assert!((200..300).contains(&kept), "{kept} of those that were read are kept");
        window.read(window.next(), ALL);
        window.advance(window.next());
        assert!(window.next().0 - window.first().0 < 300);
    }

    #[test]
    fn a_waiting_reader_makes_room() {
        let mut window = window(0, 2_000, 1_000);
        assert!(!window.has_room());
        window.advance(window.next());
        assert!(window.has_room());
    }

    #[test]
    fn times_never_fall() {
        let mut window = Window::new(Offset(0));
        for stamp in [10, 5, 20, 19] {
            window.push(stamp, Bytes::new(), Bytes::new());
        }
        let stamps: Vec<u64> =
            window.read(Offset(0), ALL).iter().map(|record| record.appended_at_ms).collect();
        assert_eq!(stamps, [10, 10, 20, 20]);
    }
}
