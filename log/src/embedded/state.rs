//! State that lives beside the log, in the same store: a task's own data, committed in one step with its input offset
//! and its outputs.
//!
//! Reads see committed data only. One scan sees one moment: never half of a commit.

use std::fmt;

use bytes::Bytes;
use fjall::{Database, Keyspace, Readable};

use super::failure::read_failed;
use crate::LogError;

/// The longest key that can be kept, in bytes.
pub const MAX_KEY_BYTES: usize = 65_535;

/// A named, ordered map from bytes to bytes. Cheap to clone. It keeps the store open: drop every clone, as well as the
/// log, before the directory is opened again.
#[derive(Clone)]
pub struct StateKeyspace {
    name: String,
    pub(super) keyspace: Keyspace,
    db: Database,
}

/// A key and its value.
pub type Pair = (Bytes, Bytes);

impl StateKeyspace {
    pub(super) fn new(name: &str, keyspace: Keyspace, db: Database) -> Self {
        Self { name: name.to_owned(), keyspace, db }
    }

    /// The name it was opened under.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The value of a key.
    ///
    /// # Errors
    /// [`LogError::Read`].
    pub fn get(&self, key: &[u8]) -> Result<Option<Bytes>, LogError> {
        let found = self.db.snapshot().get(&self.keyspace, key);
        Ok(found.map_err(|error| self.failed(error))?.map(Bytes::from))
    }

    /// At most `limit` pairs whose key is at least `start` and, if there is an `end`, below it; ascending. To go on,
    /// start again at the last key with a zero byte added.
    ///
    /// # Errors
    /// [`LogError::Read`].
    pub fn range(&self, start: &[u8], end: Option<&[u8]>, limit: usize) -> Result<Vec<Pair>, LogError> {
        if end.is_some_and(|end| end <= start) {
            return Ok(Vec::new());
        }
        let snapshot = self.db.snapshot();
        let pairs = match end {
            Some(end) => snapshot.range(&self.keyspace, start..end),
            None => snapshot.range(&self.keyspace, start..),
        };
        self.collect(pairs, limit)
    }

    /// At most `limit` pairs whose key begins with `prefix`, ascending.
    ///
    /// # Errors
    /// [`LogError::Read`].
    pub fn prefix(&self, prefix: &[u8], limit: usize) -> Result<Vec<Pair>, LogError> {
        self.collect(self.db.snapshot().prefix(&self.keyspace, prefix), limit)
    }

    fn collect(&self, pairs: fjall::Iter, limit: usize) -> Result<Vec<Pair>, LogError> {
        pairs
            .take(limit)
            .map(|guard| {
                let (key, value) = guard.into_inner().map_err(|error| self.failed(error))?;
                Ok((Bytes::from(key), Bytes::from(value)))
            })
            .collect()
    }

    fn failed(&self, error: fjall::Error) -> LogError {
        read_failed(format!("state `{}`", self.name), error)
    }
}

impl fmt::Debug for StateKeyspace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("StateKeyspace").field(&self.name).finish()
    }
}
