//! Typed views of a task's state. A processor declares its tables as constants, each under a prefix of its own;
//! keys are order-preserving, values are postcard behind a version byte.
//!
//! State can always be made again from the inbox, so its encoding, and which tables there are, may change freely: a value of
//! another version is an error that says so, never a guess.

use std::marker::PhantomData;

use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};
use streambook_model::{
    bytes::FixedBytes,
    chain::{BlockNumber, ChainId},
    id::Id,
    money::Amount,
    time::Timestamp,
};

use crate::state::{State, StateError};

/// The version of the tasks' state: of the values' encoding, of their types, and of which tables there are. It is raised with
/// every change after which a task could not go on from a state of before without a mistake. 2: `reorg` looks back only where
/// its table of last transfers names the address, which a state of before lacks; what was final can be reversed; payments,
/// merchants and settings have terms and deposits. 3: a watch of an exact amount keeps from which height on it was told of
/// everything by itself, which nobody can know of one of before.
const VERSION: u8 = 3;

/// Something that can be part of a table's key. The bytes sort as the values do.
pub trait Key {
    /// Appends the key's bytes.
    fn write(&self, out: &mut Vec<u8>);
}

impl<K> Key for Id<K>
where
    K: streambook_model::id::Kind,
{
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.bits());
    }
}

impl<const N: usize, K> Key for FixedBytes<N, K> {
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.as_bytes());
    }
}

impl Key for ChainId {
    fn write(&self, out: &mut Vec<u8>) {
        self.0.write(out);
    }
}

impl Key for BlockNumber {
    fn write(&self, out: &mut Vec<u8>) {
        self.0.write(out);
    }
}

impl Key for Timestamp {
    /// Times before 1970 sort before those after it.
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&(self.millis() ^ i64::MIN).to_be_bytes());
    }
}

impl Key for Amount {
    /// Negative amounts sort before positive ones.
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&(self.units() ^ i128::MIN).to_be_bytes());
    }
}

impl Key for u64 {
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.to_be_bytes());
    }
}

impl Key for u32 {
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.to_be_bytes());
    }
}

impl Key for u16 {
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.to_be_bytes());
    }
}

impl Key for bool {
    fn write(&self, out: &mut Vec<u8>) {
        out.push(u8::from(*self));
    }
}

impl Key for str {
    /// Ended by `00 01`, a zero inside written `00 02`, so that no text is the beginning of another's bytes.
    fn write(&self, out: &mut Vec<u8>) {
        for byte in self.bytes() {
            out.push(byte);
            if byte == 0 {
                out.push(2);
            }
        }
        out.extend_from_slice(&[0, 1]);
    }
}

impl Key for String {
    fn write(&self, out: &mut Vec<u8>) {
        self.as_str().write(out);
    }
}

impl Key for () {
    fn write(&self, _: &mut Vec<u8>) {}
}

impl<T: Key + ?Sized> Key for &T {
    fn write(&self, out: &mut Vec<u8>) {
        (**self).write(out);
    }
}

impl<A: Key, B: Key> Key for (A, B) {
    fn write(&self, out: &mut Vec<u8>) {
        self.0.write(out);
        self.1.write(out);
    }
}

impl<A: Key, B: Key, C: Key> Key for (A, B, C) {
    fn write(&self, out: &mut Vec<u8>) {
        self.0.write(out);
        self.1.write(out);
        self.2.write(out);
    }
}

impl<A: Key, B: Key, C: Key, D: Key> Key for (A, B, C, D) {
    fn write(&self, out: &mut Vec<u8>) {
        self.0.write(out);
        self.1.write(out);
        self.2.write(out);
        self.3.write(out);
    }
}

/// A table of values `V`. The prefix 0 belongs to the runtime; a processor numbers its tables from 1.
pub struct Table<V> {
    prefix: u8,
    value: PhantomData<fn() -> V>,
}

impl<V: Serialize + DeserializeOwned> Table<V> {
    /// The table under this prefix.
    pub const fn new(prefix: u8) -> Self {
        Self { prefix, value: PhantomData }
    }

    fn key(&self, key: impl Key) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(64);
        bytes.push(self.prefix);
        key.write(&mut bytes);
        bytes
    }

    /// The value of a key.
    pub fn get(&self, state: &dyn State, key: impl Key) -> Result<Option<V>, StateError> {
        let key = self.key(key);
        state.get(&key)?.map(|bytes| decode(&key, &bytes)).transpose()
    }

    /// Sets a key's value.
    pub fn put(&self, state: &mut dyn State, key: impl Key, value: &V) -> Result<(), StateError> {
        let key = self.key(key);
        let bytes = encode(&key, value)?;
        state.put(key.into(), bytes);
        Ok(())
    }

    /// Removes a key, if it is there.
    pub fn delete(&self, state: &mut dyn State, key: impl Key) {
        state.delete(self.key(key).into());
    }

    /// The first `limit` values whose key begins with `prefix`, in key order.
    pub fn scan_prefix(
        &self,
        state: &dyn State,
        prefix: impl Key,
        limit: usize,
    ) -> Result<Vec<V>, StateError> {
        let from = self.key(prefix);
        let to = after_prefix(&from);
        self.values(state, &from, &to, limit)
    }

    /// As [`Table::scan_prefix`], each with the bytes of its key behind the prefix.
    pub fn scan_prefix_with_keys(
        &self,
        state: &dyn State,
        prefix: impl Key,
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, V)>, StateError> {
        let from = self.key(prefix);
        let pairs = state.scan(&from, &after_prefix(&from), limit)?;
        let pair = |(key, bytes): &(Bytes, Bytes)| {
            Ok((key.get(from.len()..).unwrap_or_default().to_vec(), decode(key, bytes)?))
        };
        pairs.iter().map(pair).collect()
    }

    /// The first `limit` values with `from <= key < to`, in key order.
    pub fn scan(
        &self,
        state: &dyn State,
        from: impl Key,
        to: impl Key,
        limit: usize,
    ) -> Result<Vec<V>, StateError> {
        self.values(state, &self.key(from), &self.key(to), limit)
    }

    fn values(&self, state: &dyn State, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<V>, StateError> {
        state.scan(from, to, limit)?.iter().map(|(key, bytes)| decode(key, bytes)).collect()
    }
}

/// The smallest key after all that begin with `prefix`.
fn after_prefix(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            return end;
        }
    }
    vec![u8::MAX; prefix.len() + 1]
}

fn decode<V: DeserializeOwned>(key: &[u8], bytes: &[u8]) -> Result<V, StateError> {
    let broken = |reason: String| StateError::Decode { key: hex::encode(key), reason };
    match bytes.split_first() {
        Some((&VERSION, body)) => postcard::from_bytes(body).map_err(|error| broken(error.to_string())),
        Some((version, _)) => Err(broken(format!(
            "it has version {version}, this program writes {VERSION}: go on with the program that wrote it, or begin with an \
             empty data directory"
        ))),
        None => Err(broken("it is empty".into())),
    }
}

fn encode<V: Serialize>(key: &[u8], value: &V) -> Result<Bytes, StateError> {
    // Most values fit, so that few are moved while they are written.
    let mut start = Vec::with_capacity(256);
    start.push(VERSION);
    let bytes = postcard::to_extend(value, start);
    bytes
        .map(Bytes::from)
        .map_err(|error| StateError::Encode { key: hex::encode(key), reason: error.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::MemoryState;

    #[test]
    fn values_come_back_by_key_by_prefix_and_by_range() -> Result<(), StateError> {
        const TABLE: Table<String> = Table::new(7);
        let mut state = MemoryState::default();
        for (a, b) in [("x", 1_u64), ("x", 300), ("xy", 2), ("y", 1)] {
            TABLE.put(&mut state, (a, b), &format!("{a}{b}"))?;
        }
        assert_eq!(TABLE.get(&state, ("x", 300_u64))?.as_deref(), Some("x300"));
        assert_eq!(TABLE.scan_prefix(&state, "x", 9)?, ["x1", "x300"]);
        assert_eq!(TABLE.scan_prefix(&state, (), 9)?.len(), 4);
        assert_eq!(TABLE.scan(&state, ("x", 2_u64), ("y", 0_u64), 9)?, ["x300", "xy2"]);
        TABLE.delete(&mut state, ("x", 1_u64));
        assert_eq!(TABLE.scan_prefix(&state, "x", 9)?, ["x300"]);
        Ok(())
    }

    #[test]
    fn amounts_sort_as_numbers_do() -> Result<(), StateError> {
        const TABLE: Table<i64> = Table::new(7);
        let mut state = MemoryState::default();
        for units in [300, -1, 0, 2, -300] {
            TABLE.put(&mut state, Amount::new(units.into()).unwrap(), &units)?;
        }
        assert_eq!(TABLE.scan_prefix(&state, (), 9)?, [-300, -1, 0, 2, 300]);
        Ok(())
    }

    #[test]
    fn a_value_of_another_version_is_an_error() {
        const TABLE: Table<u64> = Table::new(1);
        let mut state = MemoryState::default();
        for version in [1, 9] {
            state.put(Bytes::from_static(&[1]), Bytes::copy_from_slice(&[version, 5]));
            let refused = TABLE.get(&state, ()).unwrap_err().to_string();
            assert!(
                refused.contains(&format!("it has version {version}, this program writes 3")),
                "{refused}"
            );
        }
    }
}
