//! How fast the cluster is for its own client, to compare the log with in the same run. For measurements only: this producer and this
//! consumer are what the engine does without (see the module above).

use std::sync::Arc;
use std::time::{Duration, Instant};

use fluvio::consumer::{ConsumerConfigExtBuilder, RetryMode};
use fluvio::dataplane::record::RecordKey;
use fluvio::{Compression, DeliverySemantic, Fluvio, FluvioClusterConfig, Isolation, Offset, RetryPolicy};
use fluvio::{RetryStrategy, TopicProducerConfigBuilder};
use futures::StreamExt;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::cluster::{Cluster, cause};
use super::names;
use super::options::FluvioOptions;
use super::requests::LARGEST_ANSWER;
use super::settings;
use crate::{Cause, LogError, TopicSpec};

/// Its best settings in the design's measurements, but for the largest batches, which take longest.
const BATCH_BYTES: usize = 64 << 10;
const LINGER: Duration = Duration::from_millis(5);
/// Records that come no more were skipped.
const SILENCE: Duration = Duration::from_secs(10);

/// What one pass over all records took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BareRun {
    /// To produce them and have all acknowledged.
    pub produce: Duration,
    /// To consume those that came.
    pub consume: Duration,
    /// How many came: the client may skip some.
    pub consumed: u64,
}

/// Makes the topic and moves `records` values of `bytes` bytes through each partition of it, with the crate's own producer and
/// consumer, with as many copies as the options say. The topic must not exist; it stays.
///
/// # Errors
/// [`LogError::Refused`] with what the client says.
pub async fn run(
    options: FluvioOptions,
    spec: &TopicSpec,
    records: u64,
    bytes: usize,
) -> Result<BareRun, LogError> {
    let what = || format!("measure with topic {}", spec.name);
    let refused = |source: Cause| LogError::Refused { what: what(), source };
    let name = names::on_cluster(&spec.name)?;
    let isolation =
        if options.replication > 1 { Isolation::ReadCommitted } else { Isolation::ReadUncommitted };
    let cluster = Cluster::new(options);
    let settings = settings::wanted(spec, cluster.options.replication.max(1));
    cluster.create(&name, settings).await.map_err(refused)?;
    let config = FluvioClusterConfig::new(&cluster.options.endpoint);
    let client = Fluvio::connect_with_config(&config).await.map_err(|error| refused(cause(error)))?;
    let client = Arc::new(client);
    let began = Instant::now();
    let passes = (0..spec.partitions).map(|partition| {
        produce(Arc::clone(&client), name.clone(), u32::from(partition), records, bytes, isolation)
    });
    all(passes).await.map_err(refused)?;
    let produce = began.elapsed();
    let began = Instant::now();
    let passes = (0..spec.partitions).map(|partition| {
        consume(Arc::clone(&client), name.clone(), u32::from(partition), records, isolation)
    });
    let counts = all(passes).await.map_err(refused)?;
    Ok(BareRun { produce, consume: began.elapsed(), consumed: counts.into_iter().sum() })
}

async fn all<T: Send + 'static>(
    passes: impl Iterator<Item = impl Future<Output = Result<T, Cause>> + Send + 'static>,
) -> Result<Vec<T>, Cause> {
    let mut tasks: JoinSet<Result<T, Cause>> = passes.collect();
    let mut results = Vec::new();
    while let Some(done) = tasks.join_next().await {
        results.push(done.map_err(|error| Arc::new(error) as Cause)??);
    }
    Ok(results)
}

async fn produce(
    client: Arc<Fluvio>,
    topic: String,
    partition: u32,
    records: u64,
    bytes: usize,
    isolation: Isolation,
) -> Result<(), Cause> {
    let mut config = TopicProducerConfigBuilder::default();
    config.set_specific_partitioner(partition).batch_size(BATCH_BYTES).linger(LINGER);
    let retry = RetryPolicy {
        max_retries: 3,
        initial_delay: Duration::from_millis(100),
        max_delay: Duration::from_millis(100),
        timeout: Duration::from_secs(30),
        strategy: RetryStrategy::FixedDelay,
    };
    config
        .isolation(isolation)
        .delivery_semantic(DeliverySemantic::AtLeastOnce(retry))
        .compression(Compression::None);
    let config = config.build().map_err(|error| Arc::new(error) as Cause)?;
    let producer = client.topic_producer_with_config(topic, config).await.map_err(cause)?;
    let value = vec![7_u8; bytes];
    let mut last = None;
    for _ in 0..records {
        last = Some(producer.send(RecordKey::NULL, value.clone()).await.map_err(cause)?);
    }
    producer.flush().await.map_err(cause)?;
    if let Some(last) = last {
        last.wait().await.map_err(|error| Arc::new(error) as Cause)?;
    }
    Ok(())
}

async fn consume(
    client: Arc<Fluvio>,
    topic: String,
    partition: u32,
    records: u64,
    isolation: Isolation,
) -> Result<u64, Cause> {
    let mut config = ConsumerConfigExtBuilder::default();
    config.topic(topic).partition(partition).offset_start(Offset::beginning());
    config.max_bytes(LARGEST_ANSWER).isolation(isolation).retry_mode(RetryMode::Disabled);
    let config = config.build().map_err(cause)?;
    let mut stream = client.consumer_with_config(config).await.map_err(cause)?;
    let mut count = 0;
    while count < records {
        let Ok(Some(record)) = timeout(SILENCE, stream.next()).await else { break };
        record.map_err(|error| Arc::new(error) as Cause)?;
        count += 1;
    }
    Ok(count)
}
