//! What a start makes sure of: the operator's key, the first admin key, Stripe's secrets, the settings in the log.

use std::{io::Write, os::unix::fs::OpenOptionsExt, path::Path, sync::Arc, time::Duration};

use anyhow::{Context, bail};
use rand::{
    RngCore,
    distr::{Alphanumeric, SampleString},
};
use sha2::{Digest, Sha256};
use streambook_api::{IngestRefusal, StripeIngest};
use streambook_connectors::stripe::{
    ingest::{Ingested, ingest},
    signature::Secrets,
};
use streambook_log::{Log, ReadLimit, Visibility, embedded::EmbeddedLog};
use streambook_model::{
    bytes::ContentHash,
    codec,
    id::ApiKeyId,
    message::Message,
    meta::Meta,
    position::{Offset, Partition, TopicPartition},
    records::{
        registry::{Administrator, ApiKey, PutApiKey, PutSettings, Scope},
        settings::Settings,
    },
    topics,
};
use streambook_processors::registry::Registry;
use streambook_runtime::{
    clock, health::Health, processor::Processor, publisher::Publisher, secrets::SecretKey, step::task_name,
    store::TaskStore,
};

use crate::config::StripeConfig;

/// How often it is looked whether a start's records were taken.
const LOOK: Duration = Duration::from_millis(2);

/// An operator's key, shown once.
pub(crate) struct AdminKey(pub(crate) String);

/// Reads the key that seals secrets, making it at the first start. Only the owner can read the file.
pub(super) fn secret_key(path: &Path) -> anyhow::Result<SecretKey> {
    if !path.exists() {
        let mut bytes = [0; 32];
        rand::rng().fill_bytes(&mut bytes);
        let file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
        let mut file = file.with_context(|| format!("cannot make the secret key {}", path.display()))?;
        file.write_all(hex::encode(bytes).as_bytes())?;
        file.sync_all()?;
    }
    Ok(SecretKey::from_file(path)?)
}

/// Makes the admin key if nothing was ever administered.
pub(super) async fn first_admin_key(log: &Arc<dyn Log>) -> anyhow::Result<Option<AdminKey>> {
    let inbox = TopicPartition::new(topics::REGISTRY_INBOX.topic(), Partition(0));
    if log.bounds(&inbox, Visibility::Written).await?.end > Offset(0) {
        return Ok(None);
    }
    make_admin_key(log, &inbox).await
}

async fn make_admin_key(log: &Arc<dyn Log>, inbox: &TopicPartition) -> anyhow::Result<Option<AdminKey>> {
    let key = format!("sk_live_{}", Alphanumeric.sample_string(&mut rand::rng(), 40));
    let now = clock::system()();
    let hash = ContentHash::new(Sha256::digest(key.as_bytes()).into());
    let hint: String = key.chars().skip(key.len() - 4).collect();
    let api_key = ApiKey {
        id: ApiKeyId::derive(&[hash.as_bytes()]),
        merchant: None,
        scopes: vec![Scope::Read, Scope::Write, Scope::Refund, Scope::Admin],
        livemode: true,
        key_hash: hash,
        hint,
        created_at: now,
        revoked_at: None,
    };
    let administrator = Administrator { key: None, reply: None, idempotency: None };
    let id = api_key.id;
    let record = PutApiKey { meta: meta("first admin key"), administrator, api_key };
    publish(log, b"admin", record).await?;
    Ok((first_key(log, inbox).await? == Some(id)).then_some(AdminKey(key)))
}

/// The key that the registry takes for the first one: another process may have made one at the same time, and the log's order
/// decides.
async fn first_key(log: &Arc<dyn Log>, inbox: &TopicPartition) -> anyhow::Result<Option<ApiKeyId>> {
    let (mut next, end) = (Offset(0), log.bounds(inbox, Visibility::Written).await?.end);
    while next < end {
        let records = log.read(inbox, next, ReadLimit::default(), Visibility::Written).await?;
        let Some(last) = records.last() else { break };
        next = last.offset.plus(1);
        for record in &records {
            if let Ok(Message::PutApiKey(PutApiKey { api_key, .. })) = codec::decode(&record.value) {
                return Ok(Some(api_key.id));
            }
        }
    }
    Ok(None)
}

/// Puts the settings in force; the registry drops them if nothing has changed.
pub(super) async fn put_settings(log: &Arc<dyn Log>, settings: Settings) -> anyhow::Result<()> {
    publish(log, b"settings", PutSettings { meta: meta("settings"), settings }).await
}

/// Waits until the registry has taken everything in its inbox: whoever reads its events from here on, reads this
/// start's key and settings too.
pub(super) async fn registry_took_all(
    log: &Arc<dyn Log>,
    store: &Arc<EmbeddedLog>,
    health: &Health,
) -> anyhow::Result<()> {
    let inbox = TopicPartition::new(topics::REGISTRY_INBOX.topic(), Partition(0));
    // Opened anew each time: a store remembers what it has read, since only its own task writes it.
    let taken =
        || anyhow::Ok(TaskStore::open(Arc::clone(store), Registry.name(), Partition(0))?.next_offset()?);
    while taken()? < log.bounds(&inbox, Visibility::Written).await?.end {
        let name = task_name(&Registry, Partition(0));
        if let Some((_, reason)) = health.stopped().into_iter().find(|(part, _)| *part == name) {
            bail!("{name} has stopped: {reason}");
        }
        tokio::time::sleep(LOOK).await;
    }
    Ok(())
}

async fn publish(log: &Arc<dyn Log>, key: &[u8], record: impl Into<Message>) -> anyhow::Result<()> {
    let publisher = Publisher::new(Arc::clone(log));
    let published = publisher.publish(topics::REGISTRY_INBOX, key, record).await?;
    Ok(publisher.synced(&published, topics::REGISTRY_INBOX).await?)
}

fn meta(what: &str) -> Meta {
    let now = clock::system()();
    let id = format!("start:{what}:{}", now.millis());
    Meta { source: None, id, occurred_at: now, recorded_at: now, cause: None, trace: None }
}

/// Stripe's signing secrets, from the environment and the file; none where Stripe is not configured.
pub(super) fn stripe_secrets(config: &StripeConfig) -> anyhow::Result<Option<Vec<String>>> {
    let mut secrets = config.webhook_secrets.clone();
    if let Some(path) = &config.webhook_secrets_file {
        let text = std::fs::read_to_string(path);
        let text =
            text.with_context(|| format!("[stripe] webhook_secrets_file: cannot read {}", path.display()))?;
        secrets.extend(text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned));
    }
    if let Some(index) = secrets.iter().position(|secret| !secret.starts_with("whsec_")) {
        bail!(
            "[stripe] webhook secret {} does not begin with whsec_: copy it from Stripe's endpoint",
            index + 1
        );
    }
    Ok((!secrets.is_empty()).then_some(secrets))
}

/// What the API calls with each of Stripe's deliveries.
pub(super) fn stripe_ingest(secrets: Vec<String>) -> anyhow::Result<StripeIngest> {
    let secrets = Secrets::new(secrets).context("[stripe] webhook secrets")?;
    Ok(Arc::new(move |header, body, now| {
        let header = (!header.is_empty()).then_some(header);
        match ingest(header, body, &secrets, now) {
            Ok(Ingested::Append { key, event }) => Ok(Some((key.into_bytes(), *event))),
            Ok(Ingested::Ignored { .. }) => Ok(None),
            Err(refusal) => {
                Err(IngestRefusal { status: refusal.status, code: refusal.code, detail: refusal.detail })
            }
        }
    }))
}

#[cfg(test)]
mod tests {
    use streambook_log::{Retention, TopicSpec, embedded::EmbeddedOptions};

    use super::*;

    #[tokio::test]
    async fn of_two_processes_that_find_an_empty_log_at_the_same_time_one_shows_a_key() {
        let directory = tempfile::tempdir().unwrap();
        let log = EmbeddedLog::open(EmbeddedOptions::new(directory.path())).unwrap();
        let topic = topics::REGISTRY_INBOX;
        let (name, partitions) = (topic.topic(), topic.partitions);
        log.ensure_topic(&TopicSpec { name, partitions, retention: Retention::Forever }).await.unwrap();
        let log: Arc<dyn Log> = log;
        let inbox = TopicPartition::new(topic.topic(), Partition(0));
        // Both have seen that there is nothing.
        let first = make_admin_key(&log, &inbox).await.unwrap();
        let second = make_admin_key(&log, &inbox).await.unwrap();
        assert!(first.is_some_and(|key| key.0.starts_with("sk_live_")) && second.is_none());
        assert!(first_admin_key(&log).await.unwrap().is_none(), "a later start makes none");
    }
}
