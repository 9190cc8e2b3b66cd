//! The mark that every batch carries: its position, and the position that was known to be synced when it was written.
//!
//! It answers, when the log is opened after a crash, whether damage in the journal is a torn end (never acknowledged,
//! dropped) or sits in front of data that was acknowledged (then opening is refused). It begins with the store's random
//! identity, so no payload can look like one.

/// The key under which the store's metadata keeps the newest mark.
pub(super) const MARKER_KEY: &[u8] = b"marker";

/// The random identity of a store.
pub(super) type StoreId = [u8; 16];

const LENGTH: usize = 16 + 8 + 8 + 4;

/// A mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Marker {
    /// The batch's own position. Positions rise by one per batch.
    pub(super) position: u64,
    /// Everything up to this position was synced.
    pub(super) synced: u64,
}

impl Marker {
    pub(super) fn encode(self, store: &StoreId) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(LENGTH);
        bytes.extend_from_slice(store);
        bytes.extend_from_slice(&self.position.to_be_bytes());
        bytes.extend_from_slice(&self.synced.to_be_bytes());
        let crc = crc32c::crc32c(&bytes);
        bytes.extend_from_slice(&crc.to_be_bytes());
        bytes
    }

    /// The mark at the beginning of these bytes, if there is an undamaged one.
    pub(super) fn decode(store: &StoreId, bytes: &[u8]) -> Option<Self> {
        let (content, rest) = bytes.split_at_checked(LENGTH - 4)?;
        let (id, numbers) = content.split_at_checked(16)?;
        let (position, synced) = numbers.split_at_checked(8)?;
        let crc = u32::from_be_bytes(*rest.first_chunk()?);
        if id != store || crc32c::crc32c(content) != crc {
            return None;
        }
        Some(Self {
            position: u64::from_be_bytes(position.try_into().ok()?),
            synced: u64::from_be_bytes(synced.try_into().ok()?),
        })
    }

    /// Every undamaged mark in these bytes.
    pub(super) fn find_all<'a>(store: &'a StoreId, bytes: &'a [u8]) -> impl Iterator<Item = Self> + 'a {
        let window = store.len();
        bytes
            .windows(window)
            .enumerate()
            .filter(move |(_, candidate)| candidate == store)
            .filter_map(move |(at, _)| Self::decode(store, bytes.get(at..)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_found_among_other_bytes_and_damaged_ones_are_not() {
        let store = [9; 16];
        let mark = Marker { position: 12, synced: 7 };
        let mut bytes = b"before".to_vec();
        bytes.extend(mark.encode(&store));
        bytes.extend([0; 40]);
        assert_eq!(Marker::find_all(&store, &bytes).collect::<Vec<_>>(), [mark]);
        assert_eq!(Marker::find_all(&[8; 16], &bytes).count(), 0);
        bytes[6 + 20] ^= 1;
        assert_eq!(Marker::find_all(&store, &bytes).count(), 0);
    }
}
