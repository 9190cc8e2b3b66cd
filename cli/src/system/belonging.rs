//! Which log a process's store belongs to. State and offsets mean nothing on another cluster, or on one whose topics were made
//! anew, and what is in the store would be sent to the wrong place; so a store remembers the identities of the topics it has
//! worked with, and refuses others.

use anyhow::bail;
use bytes::Bytes;
use streambook_log::{
    Log, Topic,
    embedded::{Commit, EmbeddedLog, StateKeyspace, StateWrite},
};
use streambook_model::{
    position::{Offset, Partition, TopicPartition},
    topics,
};

/// Where the identities are, by the topics' names.
const STATE: &str = "shared-log";
/// More than there are topics.
const MOST: usize = 1_000;

/// Makes sure that the store belongs to this shared log, or to none yet: then it belongs to this one from here on.
pub(super) async fn to(store: &EmbeddedLog, log: &dyn Log) -> anyhow::Result<()> {
    let state = store.state(STATE)?;
    if known(&state)? == 0 && has_records(store)? {
        bail!(
            "it holds the log of `streambook up`, or of an older version: name an empty directory with --data"
        );
    }
    let mut writes = Vec::new();
    for topic in log.topics().await?.into_iter().filter(|topic| topics::of(&topic.name).is_some()) {
        if !is_known(&state, &topic)? {
            let (key, value) = (name(&topic), Some(Bytes::copy_from_slice(&topic.id.0)));
            writes.push(StateWrite { state: state.clone(), key, value });
        }
    }
    if !writes.is_empty() {
        let commit = Commit { writes, appends: Vec::new() };
        store.synced_to(store.commit(&commit)?.position).await?;
    }
    Ok(())
}

/// Makes sure that the store is no process's on a shared log: what it holds there is an outbox, and no log.
pub(super) fn alone(store: &EmbeddedLog) -> anyhow::Result<()> {
    if known(&store.state(STATE)?)? > 0 {
        bail!(
            "it belongs to a process on a cluster: set [log] engine = \"fluvio\", or name another directory with --data"
        );
    }
    Ok(())
}

fn known(state: &StateKeyspace) -> anyhow::Result<usize> {
    Ok(state.range(&[0], None, MOST)?.len())
}

fn is_known(state: &StateKeyspace, topic: &Topic) -> anyhow::Result<bool> {
    match state.get(&name(topic))? {
        None => Ok(false),
        Some(id) if *id == topic.id.0 => Ok(true),
        Some(id) => bail!(
            "it belongs to another log: topic {} is {} there and {} here; name the cluster it belongs to ([log] endpoint), or an \
             empty directory (--data)",
            topic.name,
            hex::encode(&id),
            topic.id
        ),
    }
}

fn name(topic: &Topic) -> Bytes {
    Bytes::copy_from_slice(topic.name.as_str().as_bytes())
}

fn has_records(store: &EmbeddedLog) -> anyhow::Result<bool> {
    for topic in topics::ALL {
        for number in 0..topic.partitions {
            if store.written_end(&TopicPartition::new(topic.topic(), Partition(number)))? > Offset(0) {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use std::{path::Path, sync::Arc};

    use streambook_log::{NewRecord, Retention, TopicSpec, embedded::EmbeddedOptions};

    use super::*;

    async fn open(at: &Path) -> Arc<EmbeddedLog> {
        let log = EmbeddedLog::open(EmbeddedOptions::new(at)).unwrap();
        for def in topics::ALL {
            let (name, partitions) = (def.topic(), def.partitions);
            let spec = TopicSpec { name, partitions, retention: Retention::Forever };
            log.ensure_topic(&spec).await.unwrap();
        }
        log
    }

    fn refusal(result: anyhow::Result<()>) -> String {
        result.expect_err("it is refused").to_string()
    }

    #[tokio::test]
    async fn a_store_belongs_to_the_log_it_first_met() {
        let directory = tempfile::tempdir().unwrap();
        let [store, one, other] = ["store", "one", "other"].map(|name| directory.path().join(name));
        let (store, one, other) = (open(&store).await, open(&one).await, open(&other).await);
        alone(&store).unwrap();
        to(&store, &*one).await.unwrap();
        to(&store, &*one).await.unwrap();
        assert!(refusal(to(&store, &*other).await).contains("belongs to another log: topic"));
        assert!(refusal(alone(&store)).contains("a process on a cluster"));
    }

    #[tokio::test]
    async fn the_log_of_one_process_is_nobodys_outbox() {
        let directory = tempfile::tempdir().unwrap();
        let [up, cluster] = ["up", "cluster"].map(|name| directory.path().join(name));
        let (up, cluster) = (open(&up).await, open(&cluster).await);
        let at = TopicPartition::new(topics::BOOK_INBOX.topic(), Partition(3));
        up.append(&at, vec![NewRecord::new("key", "value")]).await.unwrap();
        assert!(refusal(to(&up, &*cluster).await).contains("the log of `streambook up`"));
    }
}
