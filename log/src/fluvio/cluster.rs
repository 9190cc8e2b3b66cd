//! The cluster's controller: what topics and servers there are, which server leads a partition, making topics.
//!
//! The controller may be away for any time: appends and reads need it only to find a leader anew.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fluvio::dataplane::{Decoder, Encoder};
use fluvio::metadata::AdminSpec;
use fluvio::metadata::customspu::CustomSpuSpec;
use fluvio::metadata::objects::Metadata;
use fluvio::metadata::partition::{PartitionSpec, ReplicaStatus};
use fluvio::metadata::spu::SpuSpec;
use fluvio::metadata::topic::TopicSpec;
use fluvio::{FluvioAdmin, FluvioClusterConfig};
use parking_lot::Mutex;
use tokio::time::error::Elapsed;
use tokio::time::timeout;

use super::names::Replica;
use super::options::FluvioOptions;
use crate::{Cause, LogError};

/// How long the controller may take for one request.
const PATIENCE: Duration = Duration::from_secs(5);
/// A topic that the controller does not know for so long is gone. It may know none for a moment after its start.
const GONE_AFTER: Duration = Duration::from_secs(10);

pub(super) struct Cluster {
    pub(super) options: FluvioOptions,
    admin: tokio::sync::Mutex<Option<FluvioAdmin>>,
    leaders: Mutex<Leaders>,
    /// Held while the leaders are asked for, so that many who need them ask once.
    asking: tokio::sync::Mutex<()>,
}

/// Who led what when it was last asked.
#[derive(Default)]
struct Leaders {
    at: Option<Instant>,
    led: BTreeMap<Replica, Led>,
    /// Since when a partition that was asked for is not there.
    missing: BTreeMap<Replica, Instant>,
}

/// How a partition is led.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Led {
    /// The number of the server that leads.
    pub(super) leader: i32,
    /// Another server that has a copy, if any.
    pub(super) other: Option<i32>,
    /// Where it is.
    pub(super) address: String,
    /// Why nothing may be appended now.
    pub(super) not_in_step: Option<NotInStep>,
}

/// Copies of a partition that are not in step.
///
/// A leader that was a follower may have an older mark of what is replicated than the leader before it, or fewer records. When
/// that one returns, the leader takes it for wrong and does not take it up, for ever, unless the returning server's copies were
/// brought in step before it was started ([`rejoin`](super::rejoin())).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum NotInStep {
    #[error("server {0} has a copy and is offline")]
    Offline(i32),
    #[error(
        "server {leader} does not take up the copy of server {other}: if this stays so for half a minute, stop server {other} and start it again with `streambook cluster rejoin`"
    )]
    Apart {
        /// The server that leads.
        leader: i32,
        /// The server whose copy is not taken up.
        other: i32,
    },
}

/// Why there is no leader.
#[derive(Debug, thiserror::Error)]
pub(super) enum LookupError {
    #[error("could not ask for the leader")]
    Unknown(#[source] LogError),
    #[error("the cluster knows no server that leads it")]
    Missing,
    #[error("it is gone")]
    Gone,
}

impl Cluster {
    pub(super) fn new(options: FluvioOptions) -> Self {
        let (admin, asking) = (tokio::sync::Mutex::new(None), tokio::sync::Mutex::new(()));
        Self { options, admin, leaders: Mutex::new(Leaders::default()), asking }
    }

    /// Everything of a kind that the controller knows.
    pub(super) async fn list<S>(&self) -> Result<Vec<Metadata<S>>, LogError>
    where
        S: AdminSpec + Send + Sync,
        S::Status: Encoder + Decoder + Debug + Send,
    {
        let mut admin = self.admin.lock().await;
        let connected = self.connected(&mut admin).await?;
        let listed = timeout(PATIENCE, connected.all::<S>()).await;
        let listed = listed.map_err(|_| self.unreachable(Arc::new(Silent)));
        let listed = listed.and_then(|listed| listed.map_err(|error| self.unreachable(cause(error))));
        if listed.is_err() {
            *admin = None;
        }
        listed
    }

    /// Makes a topic. An error may also mean that it is there.
    pub(super) async fn create(&self, name: &str, spec: TopicSpec) -> Result<(), Cause> {
        let mut admin = self.admin.lock().await;
        let connected = self.connected(&mut admin).await.map_err(|error| Arc::new(error) as Cause)?;
        let created = timeout(PATIENCE, connected.create(name.to_owned(), false, spec)).await;
        made(&mut admin, created.map(|created| created.map_err(cause)))
    }

    /// Makes a server known. An error may also mean that it is.
    pub(super) async fn add(&self, name: String, spec: CustomSpuSpec) -> Result<(), Cause> {
        let mut admin = self.admin.lock().await;
        let connected = self.connected(&mut admin).await.map_err(|error| Arc::new(error) as Cause)?;
        let added = timeout(PATIENCE, connected.create(name, false, spec)).await;
        made(&mut admin, added.map(|added| added.map_err(cause)))
    }

    /// The connection to the controller, made anew after an error.
    async fn connected<'a>(&self, admin: &'a mut Option<FluvioAdmin>) -> Result<&'a FluvioAdmin, LogError> {
        if let Some(connected) = admin {
            return Ok(connected);
        }
        let config = FluvioClusterConfig::new(&self.options.endpoint);
        let connected = timeout(PATIENCE, FluvioAdmin::connect_with_config(&config)).await;
        let connected = connected.map_err(|_| self.unreachable(Arc::new(Silent)))?;
        Ok(admin.insert(connected.map_err(|error| self.unreachable(cause(error)))?))
    }

    fn unreachable(&self, source: Cause) -> LogError {
        LogError::Unreachable { endpoint: self.options.endpoint.clone(), source }
    }

    /// How many servers are online.
    pub(super) async fn servers(&self) -> Result<usize, LogError> {
        let servers = self.list::<SpuSpec>().await?;
        Ok(servers.iter().filter(|server| server.status.is_online()).count())
    }

    /// The address of the server that leads a partition, as known after `since` where that is given.
    pub(super) async fn leader(&self, of: &Replica, since: Option<Instant>) -> Result<Led, LookupError> {
        if let Some(led) = self.known(of, since) {
            return Ok(led);
        }
        let _asking = self.asking.lock().await;
        if let Some(led) = self.known(of, since) {
            return Ok(led);
        }
        self.ask().await.map_err(LookupError::Unknown)?;
        self.known(of, None).ok_or_else(|| self.missing(of))
    }

    fn known(&self, of: &Replica, since: Option<Instant>) -> Option<Led> {
        let leaders = self.leaders.lock();
        let is_fresh = since.is_none_or(|since| leaders.at.is_some_and(|at| at > since));
        leaders.led.get(of).filter(|_| is_fresh).cloned()
    }

    fn missing(&self, of: &Replica) -> LookupError {
        let mut leaders = self.leaders.lock();
        let since = *leaders.missing.entry(of.clone()).or_insert_with(Instant::now);
        if since.elapsed() > GONE_AFTER { LookupError::Gone } else { LookupError::Missing }
    }

    async fn ask(&self) -> Result<(), LogError> {
        let at = Instant::now();
        let servers = self.list::<SpuSpec>().await?;
        let online: BTreeSet<i32> =
            servers.iter().filter(|server| server.status.is_online()).map(|server| server.spec.id).collect();
        let addresses: BTreeMap<_, _> =
            servers.iter().map(|server| (server.spec.id, server.spec.public_endpoint.addr())).collect();
        let partitions = self.list::<PartitionSpec>().await?;
        let led = partitions.iter().filter_map(|partition| {
            let replica = Replica::named(&partition.name)?;
            let leader = partition.spec.leader;
            let (address, not_in_step) = (addresses.get(&leader)?.clone(), not_in_step(partition, &online));
            let other = partition.spec.replicas.iter().copied().find(|server| *server != leader);
            Some((replica, Led { leader, other, address, not_in_step }))
        });
        let led: BTreeMap<_, _> = led.collect();
        let mut leaders = self.leaders.lock();
        leaders.missing.retain(|replica, _| !led.contains_key(replica));
        leaders.led = led;
        leaders.at = Some(at);
        Ok(())
    }
}

/// What became of a request. A connection of which no answer came is given up.
fn made(admin: &mut Option<FluvioAdmin>, made: Result<Result<(), Cause>, Elapsed>) -> Result<(), Cause> {
    made.unwrap_or_else(|_| {
        *admin = None;
        Err(Arc::new(Silent))
    })
}

/// Whether the copies of a partition are not in step, by what their leaders last told the controller.
fn not_in_step(partition: &Metadata<PartitionSpec>, online: &BTreeSet<i32>) -> Option<NotInStep> {
    let (spec, status) = (&partition.spec, &partition.status);
    if spec.replicas.len() < 2 {
        return None;
    }
    if let Some(server) = spec.replicas.iter().find(|server| !online.contains(server)) {
        return Some(NotInStep::Offline(*server));
    }
    let told: Vec<&ReplicaStatus> = status.replicas.iter().chain([&status.leader]).collect();
    let mark = told.iter().filter(|copy| copy.spu == spec.leader).map(|copy| copy.hw).max();
    let others = told.iter().filter(|copy| copy.spu != spec.leader && spec.replicas.contains(&copy.spu));
    let newest = others.max_by_key(|copy| copy.hw).filter(|copy| mark < Some(copy.hw));
    newest.map(|copy| NotInStep::Apart { leader: spec.leader, other: copy.spu })
}

#[derive(Debug, thiserror::Error)]
#[error("no answer within {PATIENCE:?}")]
struct Silent;

/// The client's error as a cause.
pub(super) fn cause<E>(error: E) -> Cause
where
    Box<dyn std::error::Error + Send + Sync>: From<E>,
{
    Arc::from(Box::<dyn std::error::Error + Send + Sync>::from(error))
}
