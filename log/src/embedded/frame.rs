//! How a record is stored: a version, a checksum, a stamp, the key and the value.
//!
//! The checksum covers the topic's identity, the partition and the offset as well, so a record that turns up at another
//! place, or in a topic made again under the same name, is noticed like any other damage.
//!
//! ```text
//! 0        version, 1
//! 1..5     crc32c, little-endian, of: topic id, partition, offset, and everything from byte 5 on
//! 5..13    milliseconds since 1970 of the append
//! 13..21   bytes of keys and values appended to the partition before this record
//! 21..25   length of the key
//! 25..29   length of the value
//! 29..     key, value
//! ```

use bytes::Bytes;
use streambook_model::position::{Offset, Partition};

use crate::{NewRecord, Record, TopicId};

const VERSION: u8 = 1;
const HEADER: usize = 29;

/// Where a record belongs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) topic: TopicId,
    pub(super) partition: Partition,
    pub(super) offset: Offset,
}

/// What the engine adds to a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) appended_at_ms: u64,
    pub(super) bytes_before: u64,
}

/// A stored record that is not what was appended.
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

/// Frames a record. Its size must have been checked: lengths are kept in 32 bits.
pub(super) fn encode(place: &Place, stamp: Stamp, record: &NewRecord) -> Bytes {
    let mut frame = Vec::with_capacity(HEADER + record.size());
    frame.push(VERSION);
    frame.extend_from_slice(&[0; 4]);
    frame.extend_from_slice(&stamp.appended_at_ms.to_le_bytes());
    frame.extend_from_slice(&stamp.bytes_before.to_le_bytes());
    frame.extend_from_slice(&length(record.key.len()).to_le_bytes());
    frame.extend_from_slice(&length(record.value.len()).to_le_bytes());
    frame.extend_from_slice(&record.key);
    frame.extend_from_slice(&record.value);
    let crc = checksum(place, frame.get(5..).unwrap_or_default());
    if let Some(stored) = frame.get_mut(1..5) {
        stored.copy_from_slice(&crc.to_le_bytes());
    }
    Bytes::from(frame)
}

/// Key and value of a frame just made, sharing its memory.
pub(super) fn parts(frame: &Bytes, key_bytes: usize) -> (Bytes, Bytes) {
    let split = HEADER.saturating_add(key_bytes).min(frame.len());
    (frame.slice(HEADER.min(split)..split), frame.slice(split..))
}

/// Checks a frame and takes it apart. The record shares the frame's memory.
pub(super) fn decode(place: &Place, frame: &Bytes) -> Result<(Record, Stamp), FrameError> {
    let short = FrameError::Short(frame.len());
    let header = frame.first_chunk::<HEADER>().ok_or(short)?;
    let [version, stored, at, before, key_bytes, value_bytes] = fields(header).ok_or(short)?;
    if version != u64::from(VERSION) {
        return Err(FrameError::Version(header[0]));
    }
    let computed = checksum(place, frame.get(5..).unwrap_or_default());
    if stored != u64::from(computed) {
        return Err(FrameError::Checksum { stored: u32::try_from(stored).unwrap_or(u32::MAX), computed });
    }
    let content = u64::try_from(frame.len() - HEADER).map_err(|_| FrameError::Lengths)?;
    if key_bytes + value_bytes != content {
        return Err(FrameError::Lengths);
    }
    let (key, value) = parts(frame, usize::try_from(key_bytes).map_err(|_| FrameError::Lengths)?);
    let record = Record { offset: place.offset, appended_at_ms: at, key, value };
    Ok((record, Stamp { appended_at_ms: at, bytes_before: before }))
}

fn fields(header: &[u8; HEADER]) -> Option<[u64; 6]> {
    let mut rest = header.as_slice();
    let mut take = |bytes: usize| {
        let (field, tail) = rest.split_at_checked(bytes)?;
        rest = tail;
        Some(field.iter().rev().fold(0_u64, |value, byte| (value << 8) | u64::from(*byte)))
    };
    Some([take(1)?, take(4)?, take(8)?, take(8)?, take(4)?, take(4)?])
}

fn checksum(place: &Place, content: &[u8]) -> u32 {
    let crc = crc32c::crc32c(&place.topic.0);
    let crc = crc32c::crc32c_append(crc, &place.partition.0.to_le_bytes());
    let crc = crc32c::crc32c_append(crc, &place.offset.0.to_le_bytes());
    crc32c::crc32c_append(crc, content)
}

fn length(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place() -> Place {
        Place { topic: TopicId([7; 16]), partition: Partition(3), offset: Offset(42) }
    }

    fn framed() -> Bytes {
        let stamp = Stamp { appended_at_ms: 1_000, bytes_before: 99 };
        encode(&place(), stamp, &NewRecord::new("key", "value"))
    }

    #[test]
    fn what_is_framed_is_read_back() {
        let (record, stamp) = decode(&place(), &framed()).unwrap();
        assert_eq!((record.key.as_ref(), record.value.as_ref()), (&b"key"[..], &b"value"[..]));
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
    fn a_record_at_another_place_is_noticed() {
        let good = framed();
        let elsewhere = [
            Place { topic: TopicId([8; 16]), ..place() },
            Place { partition: Partition(4), ..place() },
            Place { offset: Offset(43), ..place() },
        ];
        for place in elsewhere {
            assert!(matches!(decode(&place, &good), Err(FrameError::Checksum { .. })), "{place:?}");
        }
    }
}
