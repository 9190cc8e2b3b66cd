//! What topics are called on the cluster, where a name has only letters, digits and `-`: a `.` becomes `-`, and a `-` becomes
//! `--`. So `book.inbox` is `book-inbox` there.

use std::sync::Arc;

use streambook_model::position::{TopicName, TopicPartition};

use crate::LogError;

/// Longer names the cluster refuses.
const LONGEST: usize = 63;

/// A partition as the cluster names it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Replica {
    pub(super) topic: String,
    pub(super) number: u32,
}

impl Replica {
    pub(super) fn of(partition: &TopicPartition) -> Result<Self, LogError> {
        Ok(Self { topic: on_cluster(&partition.topic)?, number: u32::from(partition.partition.0) })
    }

    /// The partition of this name, `TOPIC-NUMBER`.
    pub(super) fn named(text: &str) -> Option<Self> {
        let (topic, number) = text.rsplit_once('-')?;
        Some(Self { topic: topic.to_owned(), number: number.parse().ok()? })
    }
}

/// What the topic is called on the cluster.
///
/// # Errors
/// [`LogError::Refused`] for a name that cannot be told from another there.
pub(super) fn on_cluster(name: &TopicName) -> Result<String, LogError> {
    let text = name.as_str().replace('-', "--").replace('.', "-");
    if text.len() <= LONGEST && here(&text).as_ref() == Some(name) {
        return Ok(text);
    }
    let what = format!("name a topic after `{name}`");
    Err(LogError::Refused { what, source: Arc::new(Unusable) })
}

/// The topic that is called this on the cluster, if any of ours is.
pub(super) fn here(text: &str) -> Option<TopicName> {
    let mut name = String::with_capacity(text.len());
    for (index, part) in text.split("--").enumerate() {
        if part.is_empty() || part.starts_with('-') || part.ends_with('-') {
            return None;
        }
        if index > 0 {
            name.push('-');
        }
        name.push_str(&part.replace('-', "."));
    }
    TopicName::new(name).ok()
}

#[derive(Debug, thiserror::Error)]
#[error("a name there has at most {LONGEST} characters, and no `.` or `-` at an end or beside another")]
struct Unusable;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_apart_both_ways() {
        for (name, there) in
            [("book.inbox", "book-inbox"), ("dead-letters.eu", "dead--letters-eu"), ("t", "t")]
        {
            let name = TopicName::new(name).unwrap();
            assert_eq!(on_cluster(&name).unwrap(), there);
            assert_eq!(here(there), Some(name));
        }
    }

    #[test]
    fn names_that_would_be_another_there_are_refused() {
        for name in ["a..b", "a.-b", "a-.b", "a--b", ".a", "a-", &"a".repeat(64)] {
            assert!(on_cluster(&TopicName::new(name).unwrap()).is_err(), "{name}");
        }
        for there in ["a---b", "-a", "a--", "A", ""] {
            assert_eq!(here(there), None, "{there}");
        }
    }
}
