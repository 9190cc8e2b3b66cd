//! How records are stored: those that one commit appends to one partition go together, in frames of a bounded size.
//!
//! A frame is one entry of the store, so that the cost of an entry (its place in the journal, in memory, in the tables) is
//! shared by its records. Its key is the offset of its last record: whoever looks for the entries from an offset on finds
//! first the frame that holds it.
//!
//! The checksum covers the topic's identity, the partition and the offset as well, so a frame that turns up at another
//! place, or in a topic made again under the same name, is noticed like any other damage.
//!
//! ```text
//! 0        version, 2
//! 1..5     crc32c, little-endian, of: topic id, partition, offset of the last record, and everything from byte 5 on
//! 5..13    milliseconds since 1970 of the append
//! 13..21   bytes of keys and values appended to the partition before this frame
//! 21..25   number of records, at least 1
//! 25..     for each record: length of the key (4 bytes), length of the value (4 bytes), key, value
//! ```

use bytes::Bytes;
use streambook_model::position::{Offset, Partition};

use crate::{NewRecord, Record, TopicId};

const VERSION: u8 = 2;
/// Where the first record begins.
pub(super) const HEADER: usize = 25;
const LENGTHS: usize = 8;
/// A frame takes records up to this many bytes, or a single larger one: few enough that reading one record is cheap.
const FRAME_BYTES: usize = 64 << 10;

/// Where a frame belongs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) topic: TopicId,
    pub(super) partition: Partition,
    /// The offset of the frame's last record.
    pub(super) last: Offset,
}

/// What the engine adds to records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) appended_at_ms: u64,
    /// Bytes of the partition before the first record of the frame.
    pub(super) bytes_before: u64,
}

/// A stored frame that is not what was appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum FrameError {
    #[error("the frame has {0} bytes, too few")]
    Short(usize),
    #[error("the frame has version {0}, this program knows {VERSION}")]
    Version(u8),
    #[error("the checksum is {stored:08x}, the content has {computed:08x}")]
    Checksum { stored: u32, computed: u32 },
    #[error("the frame's lengths do not add up")]
    Lengths,
}

/// Cuts records to append into what goes into one frame each.
pub(super) fn cut<'a>(mut records: &'a [&'a NewRecord]) -> impl Iterator<Item = &'a [&'a NewRecord]> {
    std::iter::from_fn(move || {
        let mut bytes = 0_usize;
        let fits = |record: &&&NewRecord| {
            bytes = bytes.saturating_add(LENGTHS + record.size());
            bytes <= FRAME_BYTES
        };
        let count = records.iter().take_while(fits).count().max(1).min(records.len());
        let (frame, rest) = records.split_at_checked(count)?;
        records = rest;
        (!frame.is_empty()).then_some(frame)
    })
}

/// Frames records. Their sizes must have been checked: lengths are kept in 32 bits.
pub(super) fn encode(place: &Place, stamp: Stamp, records: &[&NewRecord]) -> Bytes {
    let content: usize = records.iter().map(|record| LENGTHS + record.size()).sum();
    let mut frame = Vec::with_capacity(HEADER + content);
    frame.push(VERSION);
    frame.extend_from_slice(&[0; 4]);
    frame.extend_from_slice(&stamp.appended_at_ms.to_le_bytes());
    frame.extend_from_slice(&stamp.bytes_before.to_le_bytes());
    frame.extend_from_slice(&length(records.len()).to_le_bytes());
    for record in records {
        frame.extend_from_slice(&length(record.key.len()).to_le_bytes());
        frame.extend_from_slice(&length(record.value.len()).to_le_bytes());
        frame.extend_from_slice(&record.key);
        frame.extend_from_slice(&record.value);
    }
    let crc = checksum(place, frame.get(5..).unwrap_or_default());
    if let Some(stored) = frame.get_mut(1..5) {
        stored.copy_from_slice(&crc.to_le_bytes());
    }
    Bytes::from(frame)
}

/// Key and value of the record that begins at `at` of a frame just made, sharing its memory; moves `at` past it.
pub(super) fn parts(frame: &Bytes, at: &mut usize, record: &NewRecord) -> (Bytes, Bytes) {
    let key = (*at + LENGTHS).min(frame.len());
    let value = (key + record.key.len()).min(frame.len());
    *at = (value + record.value.len()).min(frame.len());
    (frame.slice(key..value), frame.slice(value..*at))
}

/// Checks a frame.
pub(super) fn check(place: &Place, frame: &[u8]) -> Result<(), FrameError> {
    let (&version, rest) = frame.split_first().ok_or(FrameError::Short(frame.len()))?;
    if version != VERSION {
        return Err(FrameError::Version(version));
    }
    let (stored, content) = rest.split_first_chunk::<4>().ok_or(FrameError::Short(frame.len()))?;
    let (stored, computed) = (u32::from_le_bytes(*stored), checksum(place, content));
    if stored == computed { Ok(()) } else { Err(FrameError::Checksum { stored, computed }) }
}

/// Takes a frame apart. The records share its memory.
pub(super) fn unpack(last: Offset, frame: &Bytes) -> Result<(Vec<Record>, Stamp), FrameError> {
    let mut rest = Rest { frame, at: 5 };
    let stamp = Stamp { appended_at_ms: rest.u64()?, bytes_before: rest.u64()? };
    let count = rest.u32()?;
    let base = (last.0 + 1).checked_sub(u64::from(count)).ok_or(FrameError::Lengths)?;
    // As many as fit at most, whatever the count says.
    let mut records = Vec::with_capacity((frame.len() / LENGTHS).min(usize::try_from(count).unwrap_or(0)));
    for offset in base..=last.0 {
        let (key, value) = (rest.u32()?, rest.u32()?);
        let (key, value) = (rest.bytes(key)?, rest.bytes(value)?);
        records.push(Record { offset: Offset(offset), appended_at_ms: stamp.appended_at_ms, key, value });
    }
    if rest.at != frame.len() || records.is_empty() {
        return Err(FrameError::Lengths);
    }
    Ok((records, stamp))
}

/// What of a frame was not read yet.
struct Rest<'a> {
    frame: &'a Bytes,
    at: usize,
}

impl Rest<'_> {
    fn u32(&mut self) -> Result<u32, FrameError> {
        self.chunk().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, FrameError> {
        self.chunk().map(u64::from_le_bytes)
    }

    fn chunk<const N: usize>(&mut self) -> Result<[u8; N], FrameError> {
        let chunk = self.frame.get(self.at..).and_then(|rest| rest.first_chunk());
        let chunk = *chunk.ok_or(FrameError::Short(self.frame.len()))?;
        self.at += N;
        Ok(chunk)
    }

    fn bytes(&mut self, count: u32) -> Result<Bytes, FrameError> {
        let end = usize::try_from(count).ok().and_then(|count| self.at.checked_add(count));
        let end = end.filter(|end| *end <= self.frame.len()).ok_or(FrameError::Lengths)?;
        let bytes = self.frame.slice(self.at..end);
        self.at = end;
        Ok(bytes)
    }
}

fn checksum(place: &Place, content: &[u8]) -> u32 {
    let crc = crc32c::crc32c(&place.topic.0);
    let crc = crc32c::crc32c_append(crc, &place.partition.0.to_le_bytes());
    let crc = crc32c::crc32c_append(crc, &place.last.0.to_le_bytes());
    crc32c::crc32c_append(crc, content)
}

fn length(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place() -> Place {
        Place { topic: TopicId([7; 16]), partition: Partition(3), last: Offset(42) }
    }

    fn framed() -> Bytes {
        let stamp = Stamp { appended_at_ms: 1_000, bytes_before: 99 };
        encode(&place(), stamp, &[&NewRecord::new("key", "value"), &NewRecord::new("", "other")])
    }

    fn decode(place: &Place, frame: &Bytes) -> Result<(Vec<Record>, Stamp), FrameError> {
        check(place, frame).and_then(|()| unpack(place.last, frame))
    }

    #[test]
    fn what_is_framed_is_read_back() {
        let (records, stamp) = decode(&place(), &framed()).unwrap();
        let read: Vec<_> = records.iter().map(|r| (r.offset.0, r.key.as_ref(), r.value.as_ref())).collect();
        assert_eq!(read, [(41, &b"key"[..], &b"value"[..]), (42, &b""[..], &b"other"[..])]);
        assert_eq!(stamp, Stamp { appended_at_ms: 1_000, bytes_before: 99 });
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_noticed() {
        let good = framed();
        for byte in 0..good.len() {
            for bit in 0..8 {
                let mut bad = good.to_vec();
                bad[byte] ^= 1 << bit;
                assert!(decode(&place(), &Bytes::from(bad)).is_err(), "byte {byte} bit {bit}");
            }
            assert!(decode(&place(), &good.slice(..byte)).is_err(), "cut at {byte}");
        }
    }

    #[test]
    fn lengths_that_do_not_add_up_are_an_error_whatever_the_checksum_says() {
        let good = framed();
        for byte in 21..good.len() {
            for value in [0, 1, 0x7f, 0xff] {
                let mut bad = good.to_vec();
                bad[byte] = value;
                let unpacked = unpack(place().last, &Bytes::from(bad.clone()));
                assert!(unpacked.is_err() || unpacked.unwrap().0.len() <= good.len(), "byte {byte}: {bad:?}");
            }
        }
        assert_eq!(unpack(Offset(0), &good), Err(FrameError::Lengths), "more records than offsets");
    }

    #[test]
    fn a_frame_at_another_place_is_noticed() {
        let good = framed();
        let elsewhere = [
            Place { topic: TopicId([8; 16]), ..place() },
            Place { partition: Partition(4), ..place() },
            Place { last: Offset(43), ..place() },
        ];
        for place in elsewhere {
            assert!(matches!(decode(&place, &good), Err(FrameError::Checksum { .. })), "{place:?}");
        }
    }

    #[test]
    fn records_are_cut_into_frames_of_a_bounded_size_and_none_is_left_out() {
        let sizes = [10, FRAME_BYTES, 1, FRAME_BYTES / 2, FRAME_BYTES / 2, 3, 3 * FRAME_BYTES, 0];
        let records = sizes.map(|size| NewRecord::new("", vec![0; size]));
        let records: Vec<&NewRecord> = records.iter().collect();
        let counts: Vec<usize> = cut(&records).map(<[_]>::len).collect();
        assert_eq!(counts, [1, 1, 2, 2, 1, 1]);
        assert_eq!(cut(&[]).count(), 0);
    }
}
