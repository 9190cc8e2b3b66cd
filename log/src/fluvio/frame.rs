//! What is in the value of one Fluvio record: one record of ours, or the header of a partition.
//!
//! Fluvio verifies no checksum when it serves a record, knows no identity of a topic, and gives out offsets itself. So a
//! frame names the topic's identity and has a checksum over itself and its partition; that offsets are consecutive is for
//! the reader to see. The header is the first record a partition ever gets, written by whoever made the topic.
//!
//! ```text
//! 0        kind: b1 a record, b2 a header
//! 1..5     crc32c, little-endian, of: kind, partition, and everything from byte 5 on
//! 5..21    identity of the topic
//! 21..29   milliseconds since 1970 of the append
//! 29..33   length of the key
//! 33..     key, value; of a header no key, and as value what the topic is
//! ```

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use streambook_model::position::{Partition, TopicName};

use crate::{NewRecord, Retention, TopicId};

/// Not what other programs' records begin with.
const RECORD: u8 = 0xb1;
const HEADER: u8 = 0xb2;
/// Where the key begins.
pub(super) const KEY: usize = 33;

/// Where a frame belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) topic: TopicId,
    pub(super) partition: Partition,
}

/// What the first record of each partition says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Header {
    pub(super) topic: TopicName,
    pub(super) partition: Partition,
    pub(super) partitions: u16,
    pub(super) retention: Retention,
}

/// A frame taken apart. Key and value share its memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Framed {
    pub(super) topic: TopicId,
    pub(super) appended_at_ms: u64,
    pub(super) content: Content,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Content {
    Record { key: Bytes, value: Bytes },
    Header(Header),
}

/// A value that is no frame, or not the frame that was appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum FrameError {
    #[error("the frame has {0} bytes, too few")]
    Short(usize),
    #[error("the frame has kind {0:02x}, this program knows {RECORD:02x} and {HEADER:02x}")]
    Kind(u8),
    #[error("the checksum is {stored:08x}, the content has {computed:08x}")]
    Checksum { stored: u32, computed: u32 },
    #[error("the frame's lengths do not add up")]
    Lengths,
    #[error("a header of a partition is where a record must be")]
    UnexpectedHeader,
}

/// Bytes of a record's frame.
pub(super) fn size(record: &NewRecord) -> usize {
    KEY + record.size()
}

/// Writes a record's frame.
pub(super) fn write(to: &mut Vec<u8>, place: &Place, appended_at_ms: u64, record: &NewRecord) {
    put(to, RECORD, place, appended_at_ms, &record.key, &record.value);
}

/// The frame of a partition's header.
pub(super) fn header(
    place: &Place,
    appended_at_ms: u64,
    header: &Header,
) -> Result<Vec<u8>, postcard::Error> {
    let mut frame = Vec::new();
    put(&mut frame, HEADER, place, appended_at_ms, &[], &postcard::to_stdvec(header)?);
    Ok(frame)
}

fn put(to: &mut Vec<u8>, kind: u8, place: &Place, appended_at_ms: u64, key: &[u8], value: &[u8]) {
    let start = to.len();
    to.push(kind);
    to.extend_from_slice(&[0; 4]);
    to.extend_from_slice(&place.topic.0);
    to.extend_from_slice(&appended_at_ms.to_le_bytes());
    to.extend_from_slice(&u32::try_from(key.len()).unwrap_or(u32::MAX).to_le_bytes());
    to.extend_from_slice(key);
    to.extend_from_slice(value);
    let crc = checksum(kind, place.partition, to.get(start + 5..).unwrap_or_default());
    if let Some(stored) = to.get_mut(start + 1..start + 5) {
        stored.copy_from_slice(&crc.to_le_bytes());
    }
}

/// Checks a frame and takes it apart. That its topic is the expected one is for the caller to see.
pub(super) fn read(partition: Partition, frame: &Bytes) -> Result<Framed, FrameError> {
    let (&kind, rest) = frame.split_first().ok_or(FrameError::Short(frame.len()))?;
    if kind != RECORD && kind != HEADER {
        return Err(FrameError::Kind(kind));
    }
    let (stored, content) = rest.split_first_chunk::<4>().ok_or(FrameError::Short(frame.len()))?;
    let (stored, computed) = (u32::from_le_bytes(*stored), checksum(kind, partition, content));
    if stored != computed {
        return Err(FrameError::Checksum { stored, computed });
    }
    unpack(kind, frame)
}

fn unpack(kind: u8, frame: &Bytes) -> Result<Framed, FrameError> {
    let topic = TopicId(chunk(frame, 5)?);
    let appended_at_ms = u64::from_le_bytes(chunk(frame, 21)?);
    let key = usize::try_from(u32::from_le_bytes(chunk(frame, 29)?)).map_err(|_| FrameError::Lengths)?;
    let value = KEY.checked_add(key).filter(|value| *value <= frame.len()).ok_or(FrameError::Lengths)?;
    let (key, value) = (frame.slice(KEY..value), frame.slice(value..));
    let content = match kind {
        HEADER => Content::Header(postcard::from_bytes(&value).map_err(|_| FrameError::Lengths)?),
        _ => Content::Record { key, value },
    };
    Ok(Framed { topic, appended_at_ms, content })
}

fn chunk<const N: usize>(frame: &Bytes, at: usize) -> Result<[u8; N], FrameError> {
    frame.get(at..).and_then(|rest| rest.first_chunk()).copied().ok_or(FrameError::Short(frame.len()))
}

fn checksum(kind: u8, partition: Partition, content: &[u8]) -> u32 {
    let crc = crc32c::crc32c(&[kind]);
    let crc = crc32c::crc32c_append(crc, &partition.0.to_le_bytes());
    crc32c::crc32c_append(crc, content)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: Place = Place { topic: TopicId([7; 16]), partition: Partition(3) };

    fn framed(key: &'static str, value: &'static str) -> Bytes {
        let mut frame = Vec::new();
        let record = NewRecord::new(key, value);
        write(&mut frame, &PLACE, 1_000, &record);
        assert_eq!(frame.len(), size(&record));
        frame.into()
    }

    #[test]
    fn what_is_framed_is_read_back() {
        for (key, value) in [("key", "value"), ("", ""), ("", "value"), ("key", "")] {
            let read = read(PLACE.partition, &framed(key, value)).unwrap();
            let content = Content::Record { key: key.into(), value: value.into() };
            assert_eq!(read, Framed { topic: PLACE.topic, appended_at_ms: 1_000, content });
        }
    }

    #[test]
    fn a_header_is_read_back_as_one() {
        let topic = TopicName::new("book.inbox").unwrap();
        let written = Header {
            topic,
            partition: Partition(3),
            partitions: 16,
            retention: Retention::Age { max_ms: 5 },
        };
        let frame = header(&PLACE, 9, &written).unwrap();
        assert_eq!(read(PLACE.partition, &frame.into()).unwrap().content, Content::Header(written));
    }

    #[test]
    fn every_flipped_bit_and_every_cut_and_another_partition_is_noticed() {
        let good = framed("key", "value");
        for byte in 0..good.len() {
            for bit in 0..8 {
                let mut bad = good.to_vec();
                bad[byte] ^= 1 << bit;
                assert!(read(PLACE.partition, &bad.into()).is_err(), "byte {byte} bit {bit}");
            }
            assert!(read(PLACE.partition, &good.slice(..byte)).is_err(), "cut at {byte}");
        }
        assert!(read(Partition(4), &good).is_err());
    }
}
