//! Reads a record's lineage without decoding the rest: whoever only passes records on needs no more of them.
//!
//! `meta.source` is the first field of every record (`codec::stamp` puts it there), so its bytes follow the header: the
//! union's branch, the task's name, the number, the hash (Avro specification, "Binary Encoding").

use crate::{bytes::LineageHash, meta::Source};

/// Bytes before the body: the marker and the fingerprint.
const HEADER: usize = 10;
/// The longest integer of Avro's encoding, in bytes.
const LONGEST: u32 = 10;

/// The bytes are no record of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a record: its lineage cannot be read")]
pub struct NotARecord;

/// The lineage of an encoded record; none where no task has emitted it.
///
/// # Errors
/// [`NotARecord`] where the bytes end early or say something else than a lineage.
pub fn source(record: &[u8]) -> Result<Option<Source>, NotARecord> {
    let mut rest = record.get(HEADER..).ok_or(NotARecord)?;
    match long(&mut rest)? {
        0 => return Ok(None),
        1 => {}
        _ => return Err(NotARecord),
    }
    let length = usize::try_from(long(&mut rest)?).map_err(|_| NotARecord)?;
    let (task, after) = rest.split_at_checked(length).ok_or(NotARecord)?;
    let task = std::str::from_utf8(task).map_err(|_| NotARecord)?.to_owned();
    rest = after;
    let seq = u64::try_from(long(&mut rest)?).map_err(|_| NotARecord)?;
    let chain = rest.first_chunk().copied().map(LineageHash::new).ok_or(NotARecord)?;
    Ok(Some(Source { task, seq, chain }))
}

/// An integer: seven bits a byte, the lowest first, zigzag.
fn long(rest: &mut &[u8]) -> Result<i64, NotARecord> {
    let mut value = 0_u64;
    for place in 0..LONGEST {
        let (byte, after) = rest.split_first().ok_or(NotARecord)?;
        *rest = after;
        value |= u64::from(byte & 0x7f).checked_shl(7 * place).ok_or(NotARecord)?;
        if byte & 0x80 == 0 {
            return Ok((value >> 1).cast_signed() ^ -(value & 1).cast_signed());
        }
    }
    Err(NotARecord)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{codec, message::Message, meta::Meta, records::book::Tick, time::Timestamp};

    fn unstamped() -> Vec<u8> {
        let now = Timestamp::from_millis(1_700_000_000_000);
        let meta = Meta {
            source: None,
            id: "t".into(),
            occurred_at: now,
            recorded_at: now,
            cause: None,
            trace: None,
        };
        codec::encode(&Message::from(Tick { meta, now })).unwrap()
    }

    proptest! {
        /// What is stamped is what is read, and what decoding says; no cut of it is taken for another.
        #[test]
        fn the_lineage_is_the_one_that_was_stamped(task in "[a-z]{1,90}/[0-9]{1,3}", seq in 0_u64..=i64::MAX as u64, chain: [u8; 16]) {
            let stamp = Source { task, seq, chain: LineageHash::new(chain) };
            let record = codec::stamp(&unstamped(), &stamp).unwrap();
            prop_assert_eq!(source(&record).unwrap(), Some(stamp.clone()));
            let decoded = codec::decode(&record).unwrap();
            prop_assert_eq!(decoded.meta().source.as_ref(), Some(&stamp));
            let end = record.len() - (unstamped().len() - HEADER - 1);
            for cut in 0..end {
                prop_assert_eq!(source(&record[..cut]), Err(NotARecord));
            }
        }

        #[test]
        fn any_bytes_are_read_without_harm(bytes: Vec<u8>) {
            let _ = source(&bytes);
        }
    }

    #[test]
    fn a_record_of_no_task_has_no_lineage() {
        assert_eq!(source(&unstamped()), Ok(None));
    }
}
