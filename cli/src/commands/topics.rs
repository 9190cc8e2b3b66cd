//! `streambook topics list / describe / tail`: looks into the log of a data directory that no process has open, or of a
//! cluster, beside its processes.

use std::{io::Write, process::ExitCode, sync::Arc};

use anyhow::Context;
use clap::{Subcommand, ValueEnum};
use serde_json::{Value, json};
use streambook_log::{Bounds, Log, ReadLimit, Record, Visibility};
use streambook_model::{
    codec,
    position::{Offset, Partition, TopicPartition},
    topics::{self, TopicDef},
};

use super::Source;
use crate::{output, system};

/// Records read at once.
const CHUNK: usize = 500;

/// Look into the log.
#[derive(Subcommand)]
pub(crate) enum Topics {
    /// List the topics.
    #[command(after_help = "Example:\n  streambook topics list --data ./data")]
    List {
        #[command(flatten)]
        source: Source,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Describe a topic and its partitions.
    #[command(after_help = "Example:\n  streambook topics describe payments.events --data ./data")]
    Describe {
        #[command(flatten)]
        source: Source,
        /// The topic.
        topic: String,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Print the last records of a topic, decoded.
    #[command(after_help = "Example:\n  streambook topics tail ledger.transactions --last 5 --data ./data")]
    Tail {
        #[command(flatten)]
        source: Source,
        /// The topic.
        topic: String,
        /// Only this partition.
        #[arg(long)]
        partition: Option<u16>,
        /// How many records of each partition.
        #[arg(long, default_value_t = 10)]
        last: u64,
        /// From this offset instead of the last records.
        #[arg(long)]
        from: Option<u64>,
        /// How records are printed: a JSON line each, or as stored, each behind its partition (2 bytes), offset (8) and
        /// length (4), big-endian.
        #[arg(long, value_enum, default_value = "json")]
        format: Format,
    },
}

/// How records are printed.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    Json,
    Avro,
}

impl Topics {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        match self {
            Self::List { source, json } => list(&*open(&source).await?, json).await?,
            Self::Describe { source, topic, json } => {
                let topic = find(&topic)?;
                describe(&*open(&source).await?, topic, json).await?;
            }
            Self::Tail { source, topic, partition, last, from, format } => {
                let topic = find(&topic)?;
                let log = open(&source).await?;
                for number in 0..topic.partitions {
                    if partition.is_none_or(|wanted| wanted == number) {
                        tail(
                            &*log,
                            &TopicPartition::new(topic.topic(), Partition(number)),
                            last,
                            from,
                            format,
                        )
                        .await?;
                    }
                }
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

async fn open(source: &Source) -> anyhow::Result<Arc<dyn Log>> {
    system::log_to_look_into(&source.load()?).await
}

fn find(name: &str) -> anyhow::Result<TopicDef> {
    let names = || topics::ALL.map(|topic| topic.name).join(", ");
    // Beside those of the books there is one more on a cluster.
    let mut all = topics::ALL.into_iter().chain([topics::CHECKPOINTS]);
    all.find(|topic| topic.name == name).with_context(|| format!("no topic `{name}`: there are {}", names()))
}

async fn bounds(log: &dyn Log, topic: TopicDef) -> anyhow::Result<Vec<Bounds>> {
    let mut found = Vec::new();
    for number in 0..topic.partitions {
        let partition = TopicPartition::new(topic.topic(), Partition(number));
        found.push(log.bounds(&partition, Visibility::Written).await?);
    }
    Ok(found)
}

async fn list(log: &dyn Log, as_json: bool) -> anyhow::Result<()> {
    let mut rows = Vec::new();
    for topic in topics::ALL {
        let records: u64 = bounds(log, topic).await?.iter().map(Bounds::records).sum();
        rows.push((topic, records));
    }
    if as_json {
        let row = |(topic, records): &(TopicDef, u64)| json!({ "topic": topic.name, "partitions": topic.partitions, "records": records, "key": topic.key, "public": topic.public });
        return output::json(&rows.iter().map(row).collect::<Vec<_>>());
    }
    let row = |(topic, records): (TopicDef, u64)| {
        let public = if topic.public { "public" } else { "private" };
        vec![
            topic.name.into(),
            topic.partitions.to_string(),
            records.to_string(),
            topic.key.into(),
            public.into(),
        ]
    };
    output::table(&["topic", "partitions", "records", "key", ""], rows.into_iter().map(row));
    Ok(())
}

async fn describe(log: &dyn Log, topic: TopicDef, as_json: bool) -> anyhow::Result<()> {
    let bounds = bounds(log, topic).await?;
    let identity = log.topic(&topic.topic()).await?.id.to_string();
    if as_json {
        let row = |(number, bounds): (usize, &Bounds)| json!({ "partition": number, "first": bounds.first.0, "end": bounds.end.0 });
        let partitions: Vec<Value> = bounds.iter().enumerate().map(row).collect();
        return output::json(
            &json!({ "topic": topic.name, "identity": identity, "key": topic.key, "partitions": partitions }),
        );
    }
    output::line(format!("{} (identity {identity}), keyed by {}", topic.name, topic.key));
    let row = |(number, bounds): (usize, Bounds)| {
        vec![
            number.to_string(),
            bounds.first.to_string(),
            bounds.end.to_string(),
            bounds.records().to_string(),
        ]
    };
    output::table(&["partition", "first", "end", "records"], bounds.into_iter().enumerate().map(row));
    Ok(())
}

async fn tail(
    log: &dyn Log,
    partition: &TopicPartition,
    last: u64,
    from: Option<u64>,
    format: Format,
) -> anyhow::Result<()> {
    let bounds = log.bounds(partition, Visibility::Written).await?;
    let start = from.unwrap_or(bounds.end.0.saturating_sub(last)).max(bounds.first.0);
    let mut next = Offset(start);
    while next < bounds.end {
        let limit = ReadLimit { records: CHUNK, ..ReadLimit::default() };
        let records = log.read(partition, next, limit, Visibility::Written).await?;
        let Some(end) = records.last() else { break };
        next = end.offset.plus(1);
        for record in &records {
            print(partition, record, format)?;
        }
    }
    Ok(())
}

fn print(partition: &TopicPartition, record: &Record, format: Format) -> anyhow::Result<()> {
    if format == Format::Avro {
        let length =
            u32::try_from(record.value.len()).context("a record is longer than its length can say")?;
        let mut out = std::io::stdout().lock();
        out.write_all(&partition.partition.0.to_be_bytes())?;
        out.write_all(&record.offset.0.to_be_bytes())?;
        out.write_all(&length.to_be_bytes())?;
        return Ok(out.write_all(&record.value)?);
    }
    let value = match codec::decode(&record.value) {
        Ok(message) => serde_json::to_value(&message)?,
        Err(error) => json!({ "undecodable": error.to_string(), "bytes": hex::encode(&record.value) }),
    };
    let key = String::from_utf8_lossy(&record.key);
    output::json(&json!({
        "topic": partition.topic.as_str(),
        "partition": partition.partition.0,
        "offset": record.offset.0,
        "key": key,
        "value": value,
    }))
}
