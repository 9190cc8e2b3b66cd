//! Brings the copies of a stopped server in step with their leaders, before it is started again.
//!
//! When a leader is killed under load, it has records on its disk that nobody acknowledged, and often a newer mark of what is
//! replicated than the server that leads after it. Fluvio never compares the two: the new leader takes its returned
//! predecessor for wrong and acknowledges nothing, or, once it has as many records itself, takes it up as it is, with other records
//! at the same offsets. So what is not its leader's is cut from a copy here, and its mark is not left above its leader's.
//!
//! Nothing acknowledged is cut. Below its mark all copies are the same; behind it, a copy keeps whatever its leader has at the same
//! place, byte for byte; and the leader has everything that was acknowledged, since an acknowledgement waits for all copies.

mod copy;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes};
use fluvio::Isolation;
use fluvio::metadata::objects::Metadata;
use fluvio::metadata::partition::PartitionSpec;
use fluvio::metadata::spu::SpuSpec;
use tokio::net::TcpStream;
use tokio::time::timeout;

use self::copy::{Batch, Copy};
use super::backoff::Backoff;
use super::cluster::Cluster;
use super::connection::{Connection, ConnectionError};
use super::health::chain;
use super::names::Replica;
use super::options::FluvioOptions;
use super::requests::{self, ANSWER_BYTES, First, from_engine, moved_back};
use crate::{LogError, Offset};

/// How long the controller may take to choose other leaders for a server that has ended. It does so at once, or not at all.
const CHOICE_PATIENCE: Duration = Duration::from_secs(5);
/// How long it may take to connect to a server that runs.
const LISTEN_PATIENCE: Duration = Duration::from_secs(1);
/// How long the leaders may take to answer, all told. One may have been started a moment ago.
const LEADER_PATIENCE: Duration = Duration::from_secs(10);

/// What was done to the copies of a server.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Rejoined {
    /// How many copies are in step with their leaders now.
    pub in_step: usize,
    /// How many are not there: their leaders will send everything.
    pub missing: usize,
    /// What was cut from some of them.
    pub cut: Vec<Cut>,
    /// The copies that were left as they are, and why.
    pub left: Vec<Left>,
}

/// Records that a copy had and its leader has not: nobody was told that they are there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cut {
    /// The partition as the cluster names it, for example `book-inbox-3`.
    pub partition: String,
    /// The first offset that is gone.
    pub from: Offset,
    /// How many are.
    pub records: u64,
}

/// A copy that was left as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Left {
    /// The partition as the cluster names it.
    pub partition: String,
    /// Why, for example that its leader does not answer.
    pub why: String,
}

/// Brings the copies of a server in step that other servers lead. `data` is the server's directory of logs
/// (`--log-base-dir`). The server must not run, and must be started after it.
///
/// # Errors
/// [`LogError::Unreachable`] when the controller does not answer for [`FluvioOptions::patience`], and [`LogError::Refused`] when
/// the server runs, or is not known to the cluster. Nothing was changed then.
pub async fn rejoin(options: FluvioOptions, server: i32, data: &Path) -> Result<Rejoined, LogError> {
    let patience = options.patience;
    let cluster = Cluster::new(options);
    let led = led_by_others(&cluster, server, patience).await?;
    let folder = data.join(format!("spu-logs-{server}"));
    let (mut rejoined, until) = (Rejoined::default(), Instant::now() + LEADER_PATIENCE);
    for (replica, leader) in led {
        let partition = format!("{}-{}", replica.topic, replica.number);
        match one(&folder.join(&partition), &replica, leader.as_deref(), until).await {
            Ok(Copied::Missing) => rejoined.missing += 1,
            Ok(Copied::InStep) => rejoined.in_step += 1,
            Ok(Copied::Cut { from, records }) => {
                rejoined.in_step += 1;
                rejoined.cut.push(Cut { partition, from, records });
            }
            Err(error) => rejoined.left.push(Left { partition, why: chain(&error) }),
        }
    }
    Ok(rejoined)
}

/// A partition of which the server has a copy and that another leads, with the leader's address where it is online.
type LedByOther = (Replica, Option<String>);

async fn led_by_others(
    cluster: &Cluster,
    server: i32,
    patience: Duration,
) -> Result<Vec<LedByOther>, LogError> {
    let (since, mut backoff) = (Instant::now(), Backoff::new());
    let refused =
        |why: Why| LogError::Refused { what: format!("take up server {server}"), source: Arc::new(why) };
    loop {
        match observe(cluster, server).await {
            Ok(Observed::Settled(led)) => return Ok(led),
            Ok(Observed::Choosing(led)) if since.elapsed() > CHOICE_PATIENCE => return Ok(led),
            Ok(Observed::Unknown) => return Err(refused(Why::Unknown)),
            Ok(Observed::Runs) => return Err(refused(Why::Runs)),
            Err(error) if since.elapsed() > patience => return Err(error),
            Ok(Observed::Choosing(_)) | Err(_) => backoff.wait().await,
        }
    }
}

/// What the controller says of a server.
enum Observed {
    /// It has never heard of it.
    Unknown,
    /// It runs or stands still, and its files are its own.
    Runs,
    /// Other leaders may still be chosen for what it led: it ended a moment ago, or while the controller was away, which then
    /// takes it for online until it is back. This is led by others already.
    Choosing(Vec<LedByOther>),
    /// This is led by others.
    Settled(Vec<LedByOther>),
}

async fn observe(cluster: &Cluster, server: i32) -> Result<Observed, LogError> {
    let servers = cluster.list::<SpuSpec>().await?;
    let Some(known) = servers.iter().find(|known| known.spec.id == server) else {
        return Ok(Observed::Unknown);
    };
    // The controller's word is not enough: it gives up a server that stands still.
    if listens(&known.spec).await {
        return Ok(Observed::Runs);
    }
    let online = servers.iter().filter(|known| known.status.is_online());
    let addresses: BTreeMap<_, _> =
        online.map(|known| (known.spec.id, known.spec.public_endpoint.addr())).collect();
    let partitions = cluster.list::<PartitionSpec>().await?;
    let is_led = |partition: &&Metadata<PartitionSpec>| partition.spec.leader == server;
    let mut own = partitions.iter().filter(is_led);
    let is_choosing =
        known.status.is_online() || own.any(|own| own.spec.replicas.len() > 1 && own.status.is_online());
    let others = partitions.iter().filter(|other| !is_led(other) && other.spec.replicas.contains(&server));
    let led = others
        .filter_map(|other| Some((Replica::named(&other.name)?, addresses.get(&other.spec.leader).cloned())));
    let led = led.collect();
    Ok(if is_choosing { Observed::Choosing(led) } else { Observed::Settled(led) })
}

/// Whether anything listens where the other servers reach this one.
async fn listens(server: &SpuSpec) -> bool {
    let endpoint = &server.private_endpoint;
    let connected = TcpStream::connect((endpoint.host.as_str(), endpoint.port));
    matches!(timeout(LISTEN_PATIENCE, connected).await, Ok(Ok(_)))
}

/// Why a server is not taken up.
#[derive(Debug, thiserror::Error)]
enum Why {
    #[error("the cluster does not know it: `streambook cluster register` makes it known")]
    Unknown,
    #[error("something listens at its private address: stop it first")]
    Runs,
}

/// Why a copy is left as it is.
#[derive(Debug, thiserror::Error)]
enum LeftError {
    #[error("could not ask its leader")]
    Leader(#[from] ConnectionError),
    #[error("could not read or change the copy")]
    Disk(#[from] std::io::Error),
    #[error("its leader has nothing of it yet")]
    NotLoaded,
    #[error("its leader is offline: if the copies do not come together when it is back, do this again")]
    Offline,
}

/// How a copy was found.
enum Copied {
    Missing,
    /// It has nothing that its leader does not have, or is none of this program's.
    InStep,
    Cut {
        from: Offset,
        records: u64,
    },
}

/// Brings one copy in step.
async fn one(
    folder: &Path,
    replica: &Replica,
    leader: Option<&str>,
    until: Instant,
) -> Result<Copied, LeftError> {
    let Some(mut copy) = Copy::open(folder)? else { return Ok(Copied::Missing) };
    let address = leader.ok_or(LeftError::Offline)?;
    let Some(mut leader) = Leader::connect(replica, address, until).await? else { return Ok(Copied::InStep) };
    let mark = copy.mark()?;
    let strange = first_strange(&copy, mark, &mut leader).await?;
    let replicated = requests::offsets(&mut leader.connection, replica).await?.end;
    copy.set_mark(mark.min(replicated))?;
    let Some(batch) = strange else { return Ok(Copied::InStep) };
    let records = u64::try_from(copy.end()?.saturating_sub(batch.base)).unwrap_or(0);
    copy.cut(&batch)?;
    Ok(Copied::Cut { from: from_engine(batch.base), records })
}

/// The first batch behind the mark that the leader does not have.
async fn first_strange(copy: &Copy, mark: i64, leader: &mut Leader<'_>) -> Result<Option<Batch>, LeftError> {
    for segment in copy.segments_from(mark) {
        for batch in copy.batches(*segment)? {
            if batch.end > mark && !leader.has(&batch).await? {
                return Ok(Some(batch));
            }
        }
    }
    Ok(None)
}

/// Who leads a partition, and what of it was fetched last.
struct Leader<'a> {
    replica: &'a Replica,
    connection: Connection,
    fetched: Bytes,
}

impl<'a> Leader<'a> {
    /// Waits until the leader has loaded the partition; `None` where its first record is none of this program's.
    async fn connect(replica: &'a Replica, address: &str, until: Instant) -> Result<Option<Self>, LeftError> {
        let mut backoff = Backoff::new();
        loop {
            match Self::attempt(replica, address).await {
                Err(_) if Instant::now() < until => backoff.wait().await,
                connected => return connected,
            }
        }
    }

    async fn attempt(replica: &'a Replica, address: &str) -> Result<Option<Self>, LeftError> {
        let mut connection = Connection::open(address).await?;
        match requests::first(&mut connection, replica).await? {
            First::Found(_) => Ok(Some(Self { replica, connection, fetched: Bytes::new() })),
            First::Foreign(_) => Ok(None),
            First::Empty => Err(LeftError::NotLoaded),
        }
    }

    /// Whether the leader has this batch, at the same offset and to the last byte.
    async fn has(&mut self, batch: &Batch) -> Result<bool, ConnectionError> {
        if !self.fetched.starts_with(&batch.bytes) {
            self.fetched = self.fetch(batch).await?;
        }
        let has = self.fetched.starts_with(&batch.bytes);
        if has {
            self.fetched.advance(batch.bytes.len());
        }
        Ok(has)
    }

    async fn fetch(&mut self, batch: &Batch) -> Result<Bytes, ConnectionError> {
        let bytes = i32::try_from(batch.bytes.len()).unwrap_or(i32::MAX).max(ANSWER_BYTES);
        let anything = Isolation::ReadUncommitted;
        match requests::fetch(&mut self.connection, self.replica, batch.base, bytes, anything).await {
            Ok(batches) => Ok(batches.0),
            // It ends before.
            Err(error) if moved_back(&error).is_some() => Ok(Bytes::new()),
            Err(error) => Err(error),
        }
    }
}
