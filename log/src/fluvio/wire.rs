//! Records as Fluvio keeps and sends them: batches of records behind a header, one after the other.
//!
//! The crate's own decoder passes over a batch that an answer cut in the middle, and jumps behind it. This one says that
//! it was cut, and which records came whole, so that the reader goes on at the first that did not.

use std::io;

use bytes::{Buf, BufMut, Bytes};
use fluvio::dataplane::{Decoder, Encoder, Version};

/// Bytes of a batch before its header: the offset of its first record and its length.
const PREAMBLE: usize = 12;
/// Bytes of a batch's header.
const HEADER: usize = 45;
/// Where the part of a batch begins that its checksum covers.
const CHECKED: usize = PREAMBLE + 9;
const RECORDS: usize = PREAMBLE + HEADER;
/// The low bits of the attributes name a compression, the next one says that a schema follows.
const COMPRESSION_OR_SCHEMA: i16 = 0x17;
/// A batch takes records up to this many bytes, or a single larger one.
const BATCH_BYTES: usize = 512 << 10;

/// A set of batches as bytes, for requests and answers of the client's own types.
#[derive(Debug, Default, Clone)]
pub(super) struct Batches(pub(super) Bytes);

impl Encoder for Batches {
    fn write_size(&self, _version: Version) -> usize {
        4 + self.0.len()
    }

    fn encode<T: BufMut>(&self, to: &mut T, _version: Version) -> io::Result<()> {
        to.put_i32(i32::try_from(self.0.len()).map_err(|_| io::Error::other("over 2 GiB of records"))?);
        to.put_slice(&self.0);
        Ok(())
    }
}

impl Decoder for Batches {
    fn decode<T: Buf>(&mut self, from: &mut T, _version: Version) -> io::Result<()> {
        let short = || io::Error::from(io::ErrorKind::UnexpectedEof);
        let length = from.try_get_i32().map_err(|_| short())?;
        let length = usize::try_from(length).ok().filter(|length| *length <= from.remaining());
        self.0 = from.copy_to_bytes(length.ok_or_else(short)?);
        Ok(())
    }
}

/// A batch that is not what a producer sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum BatchError {
    #[error("the batch at {0} has impossible lengths")]
    Lengths(i64),
    #[error("the batch at {offset} has checksum {stored:08x}, its content has {computed:08x}")]
    Checksum { offset: i64, stored: u32, computed: u32 },
    #[error("the batch at {0} is compressed or has a schema, which nothing here writes")]
    Foreign(i64),
}

/// Builds batches of records.
pub(super) struct BatchWriter {
    bytes: Vec<u8>,
    time_ms: i64,
    /// Where the open batch begins.
    open: Option<usize>,
    in_batch: i32,
    records: u64,
}

impl BatchWriter {
    /// `time_ms` is what the engine's retention by age goes by.
    pub(super) fn new(time_ms: u64) -> Self {
        let time_ms = i64::try_from(time_ms).unwrap_or(i64::MAX);
        Self { bytes: Vec::new(), time_ms, open: None, in_batch: 0, records: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn records(&self) -> u64 {
        self.records
    }

    /// Adds a record whose value has this many bytes and is written by `write`.
    pub(super) fn push(&mut self, value: usize, write: impl FnOnce(&mut Vec<u8>)) {
        if self.open.is_some_and(|start| self.bytes.len() - start + value > BATCH_BYTES) {
            self.close();
        }
        if self.open.is_none() {
            self.open = Some(self.bytes.len());
            self.in_batch = 0;
            self.bytes.resize(self.bytes.len() + RECORDS + 4, 0);
        }
        let (delta, value_length) = (i64::from(self.in_batch), i64::try_from(value).unwrap_or(i64::MAX));
        // Attributes, time delta, no key, no headers: a byte each.
        let length = 4 + varint_size(delta) + varint_size(value_length) + value;
        put_varint(&mut self.bytes, i64::try_from(length).unwrap_or(i64::MAX));
        self.bytes.extend_from_slice(&[0, 0]);
        put_varint(&mut self.bytes, delta);
        self.bytes.push(0);
        put_varint(&mut self.bytes, value_length);
        write(&mut self.bytes);
        self.bytes.push(0);
        self.in_batch = self.in_batch.saturating_add(1);
        self.records += 1;
    }

    pub(super) fn finish(mut self) -> Batches {
        self.close();
        Batches(Bytes::from(self.bytes))
    }

    /// Fills in the header of the open batch.
    fn close(&mut self) {
        let Some(batch) = self.open.take().and_then(|start| self.bytes.get_mut(start..)) else { return };
        let length = i32::try_from(batch.len() - PREAMBLE).unwrap_or(i32::MAX);
        let mut header = Vec::with_capacity(RECORDS + 4);
        header.put_i64(0);
        header.put_i32(length);
        header.put_i32(-1);
        header.put_i8(2);
        header.put_u32(0);
        header.put_i16(0);
        header.put_i32(self.in_batch - 1);
        header.put_i64(self.time_ms);
        header.put_i64(self.time_ms);
        header.put_i64(-1);
        header.put_i16(-1);
        header.put_i32(-1);
        header.put_i32(self.in_batch);
        if let Some(place) = batch.get_mut(..header.len()) {
            place.copy_from_slice(&header);
        }
        let crc = crc32c::crc32c(batch.get(CHECKED..).unwrap_or_default());
        if let Some(place) = batch.get_mut(CHECKED - 4..CHECKED) {
            place.copy_from_slice(&crc.to_be_bytes());
        }
    }
}

/// What an answer holds.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Answer {
    /// The values that came whole, each with its offset.
    pub(super) records: Vec<(i64, Bytes)>,
    /// Whether the last batch was cut.
    pub(super) cut: bool,
    /// One past the last offset of the last batch, whether it came whole or not.
    pub(super) end: Option<i64>,
    /// What is wrong with the last batch. Those of its records that can be told apart are there: each has a checksum of its
    /// own.
    pub(super) damage: Option<BatchError>,
}

/// Takes batches apart. The values share their memory.
pub(super) fn unpack(batches: &Batches) -> Answer {
    let mut answer = Answer::default();
    let mut rest = batches.0.clone();
    while !rest.is_empty() && !answer.cut && answer.damage.is_none() {
        answer.damage = next_batch(&mut rest, &mut answer).err();
    }
    answer
}

fn next_batch(rest: &mut Bytes, answer: &mut Answer) -> Result<(), BatchError> {
    let Some(head) = Head::of(rest)? else {
        answer.cut = true;
        return Ok(());
    };
    answer.cut = rest.len() < head.size;
    answer.end = Some(head.base.saturating_add(i64::from(head.records)));
    let batch = rest.split_to(head.size.min(rest.len()));
    let checked = if answer.cut { Ok(()) } else { head.check(&batch) };
    head.records(batch, answer.cut, &mut answer.records).and(checked)
}

/// Which offsets a batch covers, and its bytes all told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Extent {
    pub(super) base: i64,
    /// One past the last offset.
    pub(super) end: i64,
    pub(super) size: usize,
}

/// The extent of the batch that begins here, which may go on behind what is here; `None` when not even its header is here.
pub(super) fn extent(bytes: &Bytes) -> Result<Option<Extent>, BatchError> {
    let head = Head::of(bytes)?;
    Ok(head.map(|head| Extent {
        base: head.base,
        end: head.base.saturating_add(i64::from(head.records)),
        size: head.size,
    }))
}

/// What a batch's header says.
struct Head {
    base: i64,
    /// Bytes of the batch, all told.
    size: usize,
    crc: u32,
    records: i32,
}

impl Head {
    /// `None` when the header itself was cut.
    fn of(bytes: &Bytes) -> Result<Option<Self>, BatchError> {
        let Some(mut head) = bytes.get(..RECORDS) else { return Ok(None) };
        let (base, length) = (head.get_i64(), head.get_i32());
        let bad = BatchError::Lengths(base);
        let size = usize::try_from(length).ok().filter(|length| *length >= HEADER + 4).ok_or(bad)? + PREAMBLE;
        head.advance(5);
        let (crc, attributes, last_delta) = (head.get_u32(), head.get_i16(), head.get_i32());
        if attributes & COMPRESSION_OR_SCHEMA != 0 {
            return Err(BatchError::Foreign(base));
        }
        let records = last_delta.checked_add(1).filter(|records| *records > 0 && base >= 0).ok_or(bad)?;
        Ok(Some(Self { base, size, crc, records }))
    }

    fn check(&self, batch: &Bytes) -> Result<(), BatchError> {
        let (offset, stored) = (self.base, self.crc);
        let computed = crc32c::crc32c(batch.get(CHECKED..).unwrap_or_default());
        if stored == computed { Ok(()) } else { Err(BatchError::Checksum { offset, stored, computed }) }
    }

    /// Adds the records of a batch, of a cut one those that are whole.
    fn records(&self, mut batch: Bytes, cut: bool, to: &mut Vec<(i64, Bytes)>) -> Result<(), BatchError> {
        let bad = BatchError::Lengths(self.base);
        batch.advance(RECORDS);
        if let Ok(count) = batch.try_get_i32()
            && count != self.records
        {
            return Err(bad);
        }
        for delta in 0..i64::from(self.records) {
            match record(&mut batch, delta) {
                Some(value) => to.push((self.base.saturating_add(delta), value)),
                None if cut => return Ok(()),
                None => return Err(bad),
            }
        }
        if batch.is_empty() { Ok(()) } else { Err(bad) }
    }
}

/// The value of the next record, which must be the one at this place of its batch; `None` if it is not all there.
fn record(batch: &mut Bytes, delta: i64) -> Option<Bytes> {
    let length = usize::try_from(varint(batch)?).ok().filter(|length| *length <= batch.len())?;
    let mut record = batch.split_to(length);
    record.try_get_i8().ok()?;
    varint(&mut record)?;
    if varint(&mut record)? != delta {
        return None;
    }
    if record.try_get_u8().ok()? != 0 {
        let key = usize::try_from(varint(&mut record)?).ok().filter(|key| *key <= record.len())?;
        record.advance(key);
    }
    let value = usize::try_from(varint(&mut record)?).ok().filter(|value| *value <= record.len())?;
    Some(record.split_to(value))
}

/// A number in groups of seven bits, the sign in the lowest bit.
fn put_varint(to: &mut Vec<u8>, value: i64) {
    let mut left = zigzag(value);
    loop {
        let [group, ..] = (left & 0x7f).to_le_bytes();
        left >>= 7;
        if left == 0 {
            return to.push(group);
        }
        to.push(group | 0x80);
    }
}

fn varint_size(value: i64) -> usize {
    let mut left = zigzag(value) >> 7;
    let mut size = 1;
    while left > 0 {
        left >>= 7;
        size += 1;
    }
    size
}

fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)).cast_unsigned()
}

fn varint(from: &mut Bytes) -> Option<i64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let byte = from.try_get_u8().ok()?;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some((value >> 1).cast_signed() ^ -(value & 1).cast_signed());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use fluvio::dataplane::record::{Batch, Record, RecordData, RecordSet};

    use super::*;

    fn written(values: &[&[u8]]) -> Batches {
        let mut writer = BatchWriter::new(1_700_000_000_000);
        for value in values {
            writer.push(value.len(), |to| to.extend_from_slice(value));
        }
        writer.finish()
    }

    /// As a server would answer: the batches at their offsets.
    fn placed(batches: &Batches, mut base: i64) -> Vec<u8> {
        let mut bytes = batches.0.to_vec();
        let mut at = 0;
        while at < bytes.len() {
            let head = Head::of(&Bytes::copy_from_slice(&bytes[at..])).unwrap().unwrap();
            bytes[at..at + 8].copy_from_slice(&base.to_be_bytes());
            base += i64::from(head.records);
            at += head.size;
        }
        bytes
    }

    #[test]
    fn the_crate_reads_what_is_written_here() {
        let large = vec![7; BATCH_BYTES];
        let batches = written(&[b"one", b"", &large, b"four"]);
        let mut bytes = Vec::new();
        batches.encode(&mut bytes, 25).unwrap();
        assert_eq!(bytes.len(), batches.write_size(25));
        let set: RecordSet = Decoder::decode_from(&mut bytes.as_slice(), 25).unwrap();
        let lengths: Vec<Vec<usize>> = set
            .batches
            .iter()
            .map(|batch| batch.records().iter().map(|record| record.value().len()).collect())
            .collect();
        assert_eq!(lengths, [vec![3, 0], vec![BATCH_BYTES], vec![4]]);
        for batch in &set.batches {
            assert!(batch.validate_decoding());
            assert_eq!(batch.get_base_timestamp(), 1_700_000_000_000);
            let mut again = Vec::new();
            batch.encode(&mut again, 25).unwrap();
            assert_eq!(
                Head::of(&Bytes::from(again)).unwrap().unwrap().crc,
                batch.header.crc,
                "same checksum"
            );
        }
    }

    #[test]
    fn what_the_crate_writes_is_read_here() {
        let record = |value: &str| Record::new_key_value("key", RecordData::from(value));
        let set = RecordSet::default().add(Batch::from(vec![record("one"), record("two")]).base_offset(5));
        let mut bytes = Vec::new();
        set.encode(&mut bytes, 25).unwrap();
        let batches = Batches::decode_from(&mut bytes.as_slice(), 25).unwrap();
        let answer = unpack(&batches);
        assert_eq!(answer.damage, None);
        assert_eq!(answer.records, [(5, Bytes::from("one")), (6, Bytes::from("two"))]);
        assert_eq!((answer.cut, answer.end), (false, Some(7)));
    }

    #[test]
    fn a_cut_answer_gives_the_whole_records_and_says_so() {
        let large = vec![7; BATCH_BYTES];
        let bytes = Bytes::from(placed(&written(&[b"one", b"two", &large]), 10));
        let whole = unpack(&Batches(bytes.clone()));
        assert_eq!(whole.damage, None);
        assert_eq!(whole.records.iter().map(|(offset, _)| *offset).collect::<Vec<_>>(), [10, 11, 12]);
        for length in (1..300).chain([bytes.len() - 1]) {
            let answer = unpack(&Batches(bytes.slice(..length)));
            assert_eq!(answer.damage, None, "{length}");
            let boundary = length == RECORDS + 4 + 2 * 10;
            assert_eq!(answer.cut, !boundary, "{length}");
            assert!(whole.records.starts_with(&answer.records), "{length}");
        }
    }

    #[test]
    fn flipped_bits_are_errors_or_change_the_offset_and_never_a_panic() {
        let good = placed(&written(&[b"one", b"two"]), 10);
        for byte in 0..good.len() {
            for bit in 0..8 {
                let mut bad = good.clone();
                bad[byte] ^= 1 << bit;
                // The offset, the epoch and the magic are not under the checksum: the first is noticed by whoever expects
                // an offset, the others mean nothing.
                let unchecked = byte < 8 || (12..17).contains(&byte);
                let answer = unpack(&Batches(Bytes::from(bad)));
                let noticed = answer.damage.is_some() || answer.cut;
                assert!(noticed || unchecked, "byte {byte} bit {bit}");
            }
        }
    }

    #[test]
    fn numbers_are_written_as_the_crate_writes_them() {
        use fluvio::dataplane::EncoderVarInt;
        // Lengths and counts are far below 2^31, from where on the crate writes the wrong sign.
        for value in [0, 1, -1, 63, 64, -64, -65, 8_191, 8_192, i64::from(i32::MAX), i64::from(i32::MIN)] {
            let (mut ours, mut theirs) = (Vec::new(), Vec::new());
            put_varint(&mut ours, value);
            value.encode_varint(&mut theirs).unwrap();
            assert_eq!(ours, theirs, "{value}");
            assert_eq!(varint_size(value), ours.len());
            assert_eq!(varint(&mut Bytes::from(ours)), Some(value));
        }
    }
}
