//! What the registry says, in memory: keys by their hash, merchants, webhook endpoints, settings.
//!
//! Read from `registry.events` from its start, synced records only, so a restart cannot forget a key that was used. Until
//! it has caught up once the API is not ready and refuses requests. It stops, and says why, on what it cannot read. What comes
//! again on a log that many processes share is left out: an older state must not take the place of a newer one.

use std::{
    collections::{BTreeMap, HashMap},
    ops::Bound,
    sync::Arc,
    time::Duration,
};

use parking_lot::RwLock;
use streambook_log::{Log, LogError, Offset, Partition, ReadLimit, TopicPartition, Visibility};
use streambook_model::{
    asset::{Asset, AssetId, currency_scale},
    bytes::ContentHash,
    codec::{self, CodecError},
    id::{ApiKeyId, EndpointId, MerchantId},
    message::Message,
    records::{
        registry::{ApiKey, Endpoint, Merchant},
        reply::CommandReply,
        settings::Settings,
    },
    topics::REGISTRY_EVENTS,
};
use streambook_runtime::{
    health::{Condition, Health},
    lineage::{Gaps, Mark, Verdict, judge},
    processor::Fault,
    step::chain_of,
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// The part's name in health.
pub(crate) const PART: &str = "api/registry";

/// Why the view cannot go on.
#[derive(Debug, thiserror::Error)]
enum ViewError {
    /// The log failed.
    #[error("the log failed")]
    Log(#[from] LogError),
    /// A record contradicts one that was read before.
    #[error("registry.events offset {offset}")]
    Lineage {
        /// The offset.
        offset: Offset,
        /// Why.
        #[source]
        source: Box<Fault>,
    },
    /// A record cannot be decoded.
    #[error("registry.events offset {offset} cannot be decoded")]
    Decode {
        /// The offset.
        offset: Offset,
        /// Why.
        #[source]
        source: CodecError,
    },
}

/// The registry as of some record.
#[derive(Debug, Default)]
struct Known {
    keys: BTreeMap<ApiKeyId, Arc<ApiKey>>,
    keys_by_hash: HashMap<ContentHash, ApiKeyId>,
    merchants: BTreeMap<MerchantId, Arc<Merchant>>,
    endpoints: BTreeMap<(MerchantId, bool, EndpointId), Arc<Endpoint>>,
    settings: Option<Arc<Settings>>,
    settlements: Vec<String>,
}

/// How far the view is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Reached {
    caught_up: bool,
    cause: Option<Offset>,
}

/// The view. Cheap to clone; everyone sees the same.
#[derive(Debug, Clone)]
pub(crate) struct RegistryView {
    known: Arc<RwLock<Known>>,
    reached: Arc<watch::Sender<Reached>>,
}

impl RegistryView {
    /// A view that has read nothing yet.
    pub(crate) fn new() -> Self {
        Self { known: Arc::default(), reached: Arc::new(watch::Sender::new(Reached::default())) }
    }

    /// Whether it has caught up since it started.
    pub(crate) fn is_caught_up(&self) -> bool {
        self.reached.borrow().caught_up
    }

    /// Waits until it has caught up.
    pub(crate) async fn caught_up(&self) {
        // An error would mean that the sender is gone, and this view holds it.
        let _ = self.reached.subscribe().wait_for(|reached| reached.caught_up).await;
    }

    /// Waits until what followed from a record of `registry.inbox` is seen. `false` when it was not in time.
    pub(crate) async fn wait_for(&self, cause: Offset, limit: Duration) -> bool {
        let mut reached = self.reached.subscribe();
        let seen = reached.wait_for(|reached| reached.cause.is_some_and(|known| known >= cause));
        matches!(tokio::time::timeout(limit, seen).await, Ok(Ok(_)))
    }

    /// Whether it already shows what a reply says; a command that changed nothing is followed by no record.
    pub(crate) fn shows(&self, reply: &CommandReply) -> bool {
        let known = self.known.read();
        let shows_merchant =
            |wanted: &Merchant| known.merchants.get(&wanted.id).is_some_and(|shown| **shown == *wanted);
        let shows_key = |wanted: &ApiKey| known.keys.get(&wanted.id).is_some_and(|shown| **shown == *wanted);
        let shows_endpoint = |wanted: &Endpoint| {
            let shown = known.endpoints.get(&(wanted.merchant, wanted.livemode, wanted.id));
            shown.map_or(wanted.deleted_at.is_some(), |shown| **shown == *wanted)
        };
        reply.merchant.as_ref().is_none_or(shows_merchant)
            && reply.api_key.as_ref().is_none_or(shows_key)
            && reply.endpoint.as_ref().is_none_or(shows_endpoint)
    }

    /// The key with this hash, revoked or not. The hash of a secret is looked up, so the time it takes says nothing
    /// about the secret.
    pub(crate) fn key_by_hash(&self, hash: &ContentHash) -> Option<Arc<ApiKey>> {
        let known = self.known.read();
        known.keys_by_hash.get(hash).and_then(|id| known.keys.get(id)).cloned()
    }

    /// A key.
    pub(crate) fn key(&self, id: ApiKeyId) -> Option<Arc<ApiKey>> {
        self.known.read().keys.get(&id).cloned()
    }

    /// Keys, newest first, of one merchant if one is given.
    pub(crate) fn keys(
        &self,
        of: Option<MerchantId>,
        before: Option<ApiKeyId>,
        most: usize,
    ) -> Vec<Arc<ApiKey>> {
        let known = self.known.read();
        let newest_first =
            known.keys.range((Bound::Unbounded, before_bound(before))).rev().map(|(_, key)| key);
        newest_first.filter(|key| of.is_none() || key.merchant == of).take(most).cloned().collect()
    }

    /// A merchant.
    pub(crate) fn merchant(&self, id: MerchantId) -> Option<Arc<Merchant>> {
        self.known.read().merchants.get(&id).cloned()
    }

    /// Merchants, newest first.
    pub(crate) fn merchants(&self, before: Option<MerchantId>, most: usize) -> Vec<Arc<Merchant>> {
        let known = self.known.read();
        known
            .merchants
            .range((Bound::Unbounded, before_bound(before)))
            .rev()
            .take(most)
            .map(|(_, m)| m.clone())
            .collect()
    }

    /// A merchant's endpoint that is not deleted.
    pub(crate) fn endpoint(
        &self,
        merchant: MerchantId,
        livemode: bool,
        id: EndpointId,
    ) -> Option<Arc<Endpoint>> {
        self.known.read().endpoints.get(&(merchant, livemode, id)).cloned()
    }

    /// A merchant's endpoints that are not deleted, newest first.
    pub(crate) fn endpoints(
        &self,
        merchant: MerchantId,
        livemode: bool,
        before: Option<EndpointId>,
        most: usize,
    ) -> Vec<Arc<Endpoint>> {
        let last = before
            .map_or(Bound::Included((merchant, livemode, EndpointId::from_bits([0xff; 16]))), |id| {
                Bound::Excluded((merchant, livemode, id))
            });
        let first = Bound::Included((merchant, livemode, EndpointId::from_bits([0; 16])));
        let known = self.known.read();
        known.endpoints.range((first, last)).rev().take(most).map(|(_, endpoint)| endpoint.clone()).collect()
    }

    /// The decimal places of an asset: a configured one's, else a currency's.
    pub(crate) fn scale(&self, asset: &AssetId) -> Option<u8> {
        self.asset(asset).map(|asset| asset.scale).or_else(|| currency_scale(asset.as_str()))
    }

    /// A configured asset.
    pub(crate) fn asset(&self, id: &AssetId) -> Option<Asset> {
        let settings = self.known.read().settings.clone()?;
        settings.assets.iter().find(|asset| asset.id == *id).cloned()
    }

    /// The configured assets that are on a chain.
    pub(crate) fn chain_assets(&self) -> Vec<AssetId> {
        let settings = self.known.read().settings.clone();
        let assets = settings.iter().flat_map(|settings| &settings.assets);
        assets.filter(|asset| asset.id.chain().is_some()).map(|asset| asset.id.clone()).collect()
    }

    /// The names of the sets of posting templates; nothing before the first settings.
    pub(crate) fn settlements(&self) -> Vec<String> {
        self.known.read().settlements.clone()
    }

    /// Reads until it is told to stop, or has to.
    pub(crate) async fn run(self, log: Arc<dyn Log>, health: Health, stop: CancellationToken) {
        health.report(PART, Condition::Troubled { reason: "reading the registry".to_owned() });
        let ended = tokio::select! {
            () = stop.cancelled() => return,
            ended = self.follow(&*log, &health) => ended,
        };
        if let Err(error) = ended {
            health.report(PART, Condition::Stopped { reason: chain_of(&error) });
        }
    }

    async fn follow(&self, log: &dyn Log, health: &Health) -> Result<(), ViewError> {
        let from = TopicPartition::new(REGISTRY_EVENTS.topic(), Partition(0));
        let bounds = log.bounds(&from, Visibility::Synced).await?;
        let (mut next, end) = (bounds.first, bounds.end);
        let mut last = BTreeMap::new();
        loop {
            if next >= end && !self.is_caught_up() {
                self.reached.send_modify(|reached| reached.caught_up = true);
                health.report(PART, Condition::Running);
            }
            log.wait(&from, next, Visibility::Synced).await?;
            for record in log.read(&from, next, ReadLimit::default(), Visibility::Synced).await? {
                let offset = record.offset;
                let message =
                    codec::decode(&record.value).map_err(|source| ViewError::Decode { offset, source })?;
                next = offset.plus(1);
                let source = |fault| ViewError::Lineage { offset, source: Box::new(fault) };
                if is_next(&mut last, &message).map_err(source)? {
                    self.apply(message);
                }
            }
        }
    }

    fn apply(&self, message: Message) {
        let cause = message.meta().cause.map(|cause| Offset(cause.offset));
        self.known.write().apply(message);
        self.reached.send_modify(|reached| reached.cause = reached.cause.max(cause));
    }
}

/// Whether a record is the next one of its task; remembers it then.
fn is_next(last: &mut BTreeMap<String, Mark>, message: &Message) -> Result<bool, Fault> {
    let Some(source) = &message.meta().source else { return Ok(true) };
    let before = last.get(&source.task).copied().unwrap_or(Mark::START);
    let is_next = judge(before, source, Gaps::AwaitResend)? == Verdict::Take;
    if is_next {
        last.insert(source.task.clone(), Mark { seq: source.seq, chain: source.chain });
    }
    Ok(is_next)
}

impl Known {
    fn apply(&mut self, message: Message) {
        match message {
            Message::MerchantChanged(changed) => {
                self.merchants.insert(changed.merchant.id, Arc::new(changed.merchant));
            }
            Message::ApiKeyChanged(changed) => {
                self.keys_by_hash.insert(changed.api_key.key_hash, changed.api_key.id);
                self.keys.insert(changed.api_key.id, Arc::new(changed.api_key));
            }
            Message::EndpointChanged(changed) => self.put_endpoint(changed.endpoint),
            Message::SettingsChanged(changed) => self.put_settings(changed.settings),
            // The topic may come to hold more kinds of records; these are all that requests need.
            _ => {}
        }
    }

    fn put_endpoint(&mut self, endpoint: Endpoint) {
        let key = (endpoint.merchant, endpoint.livemode, endpoint.id);
        if endpoint.deleted_at.is_some() {
            self.endpoints.remove(&key);
        } else {
            self.endpoints.insert(key, Arc::new(endpoint));
        }
    }

    fn put_settings(&mut self, settings: Settings) {
        // Templates that cannot be read never got into force: the registry and the books check them.
        let sets = settings.postings.parse::<toml::Table>().unwrap_or_default();
        self.settlements = sets.keys().cloned().collect();
        self.settings = Some(Arc::new(settings));
    }
}

fn before_bound<K>(before: Option<K>) -> Bound<K> {
    before.map_or(Bound::Unbounded, Bound::Excluded)
}
