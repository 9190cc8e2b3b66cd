//! `streambook status`: what every process of a shared Streambook says of itself.

use std::{collections::BTreeMap, process::ExitCode, sync::Arc};

use anyhow::ensure;
use clap::Args;
use serde::Serialize;
use streambook_log::{Log, Visibility};
use streambook_model::{
    position::{Offset, Partition, TopicName, TopicPartition},
    records::checkpoint::Checkpoint,
    time::Timestamp,
};
use streambook_runtime::{checkpoints, clock};

use super::Source;
use crate::{config::Engine, output, system};

/// A process that was silent for this long is not believed to run: checkpoints are repeated every ten seconds.
const SILENT: std::time::Duration = std::time::Duration::from_secs(30);

/// Show the processes, their parts and tasks, how far they are and what is the matter.
#[derive(Args)]
#[command(after_help = "Example:\n  streambook status --config streambook.toml")]
pub(crate) struct Status {
    #[command(flatten)]
    source: Source,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// One task or sink of one process.
#[derive(Debug, Serialize)]
struct Line {
    process: String,
    address: String,
    receiver: String,
    condition: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// Records taken of all it reads.
    taken: u64,
    /// Records it has not taken yet.
    lag: u64,
    heard_at: Timestamp,
}

impl Status {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        let config = self.source.load()?;
        ensure!(
            config.log.engine == Engine::Fluvio,
            "[log] engine is \"embedded\": ask /readyz and /metrics of the one process there is"
        );
        let log: Arc<dyn Log> = system::look(&config).await?;
        let lines = lines(&log).await?;
        let is_well = lines.iter().all(|line| line.condition == "running");
        match self.json {
            true => output::json(&lines)?,
            false => table(&lines),
        }
        Ok(if is_well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

async fn lines(log: &Arc<dyn Log>) -> anyhow::Result<Vec<Line>> {
    let mut ends: BTreeMap<TopicPartition, Offset> = BTreeMap::new();
    let mut lines = Vec::new();
    for checkpoint in checkpoints::latest(&**log).await? {
        let (mut taken, mut lag) = (0_u64, 0_u64);
        for input in &checkpoint.inputs {
            let at = TopicPartition::new(TopicName::new(input.topic.clone())?, Partition(input.partition));
            let end = match ends.get(&at) {
                Some(end) => *end,
                None => log.bounds(&at, Visibility::Synced).await?.end,
            };
            ends.insert(at, end);
            taken = taken.saturating_add(input.next_offset);
            lag = lag.saturating_add(end.0.saturating_sub(input.next_offset));
        }
        lines.push(line(checkpoint, taken, lag));
    }
    Ok(lines)
}

fn line(checkpoint: Checkpoint, taken: u64, lag: u64) -> Line {
    let heard_at = checkpoint.meta.recorded_at;
    let is_silent = clock::since(heard_at, clock::system()()) > SILENT;
    Line {
        process: checkpoint.process,
        address: checkpoint.address,
        receiver: checkpoint.receiver,
        condition: if is_silent { "silent".to_owned() } else { checkpoint.condition },
        reason: checkpoint.reason,
        taken,
        lag,
        heard_at,
    }
}

fn table(lines: &[Line]) {
    let row = |line: &Line| {
        vec![
            line.process.clone(),
            line.address.clone(),
            line.receiver.clone(),
            line.condition.clone(),
            line.taken.to_string(),
            line.lag.to_string(),
            line.heard_at.to_string(),
            line.reason.clone().unwrap_or_default(),
        ]
    };
    let header = ["process", "address", "part", "condition", "taken", "lag", "heard", ""];
    output::table(&header, lines.iter().map(row));
}
