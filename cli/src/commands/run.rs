//! `streambook run PART…`: chosen parts of a Streambook that many processes share.

use std::{net::SocketAddr, process::ExitCode};

use anyhow::{anyhow, ensure};
use clap::Args;
use streambook_model::position::Partition;

use super::{Source, told_to_stop, up::greet};
use crate::{
    config::{Config, Engine},
    output,
    system::{Part, Partitions, Parts, System, install_logging, install_metrics, instance},
};

/// Run chosen parts on a cluster; every process has a data directory of its own.
#[derive(Args)]
#[command(
    after_help = "Example:\n  streambook run processors --partitions 0-7 --config streambook.toml --data \
    /var/lib/streambook --listen 127.0.0.1:9101\n  streambook run sql webhooks --config streambook.toml --data \
    /var/lib/sinks --listen 127.0.0.1:9102"
)]
pub(crate) struct Run {
    /// The parts.
    #[arg(value_enum, required = true)]
    parts: Vec<Part>,
    #[command(flatten)]
    source: Source,
    /// The partitions whose books this process keeps, for example 0-7; without it, all.
    #[arg(long, value_name = "RANGE", conflicts_with = "processes")]
    partitions: Option<Partitions>,
    /// How many processes share the partitions: this one's share follows from the number at the end of its host's name.
    #[arg(long, value_name = "COUNT")]
    processes: Option<u16>,
    /// The API's number, of several APIs that run at once.
    #[arg(long, value_name = "NUMBER", default_value = "0", value_parser = instance)]
    instance: Partition,
    /// The name of this process, which no other that runs has; without it, the host's name and the process id.
    #[arg(long)]
    name: Option<String>,
    /// Where health and metrics (and the API, if it is one of the parts) are served, instead of the configured address.
    #[arg(long, value_name = "ADDR")]
    listen: Option<SocketAddr>,
}

impl Run {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        let mut config = self.source.load()?;
        if let Some(listen) = self.listen {
            config.api.listen = listen;
        }
        let parts = self.parts()?;
        check(&config, &parts)?;
        install_logging(&config.logging)?;
        let name = self.name.unwrap_or_else(|| format!("{}-{}", host(), std::process::id()));
        let system = System::start_parts(&config, &parts, &name, install_metrics()?).await?;
        greet(&system);
        told_to_stop().await?;
        output::note("stopping");
        system.shutdown().await;
        Ok(ExitCode::SUCCESS)
    }

    pub(super) fn parts(&self) -> anyhow::Result<Parts> {
        let partitions = match (&self.partitions, self.processes) {
            (Some(partitions), _) => partitions.clone(),
            (None, Some(of)) => {
                Partitions::share(&host(), of).map_err(|problem| anyhow!("--processes: {problem}"))?
            }
            (None, None) => Partitions::ALL,
        };
        let parts = self.parts.iter().copied().collect();
        let mut parts = Parts { parts, partitions, instance: self.instance, bootstraps: false };
        // Settings are put by one process, the registry's owner.
        parts.bootstraps = parts.runs_registry();
        Ok(parts)
    }
}

pub(super) fn check(config: &Config, parts: &Parts) -> anyhow::Result<()> {
    ensure!(
        config.log.engine == Engine::Fluvio,
        "[log] engine is \"embedded\", which serves one process: set it to \"fluvio\", or use `streambook up`"
    );
    let (writes, reads) = (parts.has(Part::Sql), parts.has(Part::Api));
    ensure!(
        writes == reads || config.sql.is_postgres(),
        "[sql] url: SQLite serves one process, so `sql` and `api` run together there, or on PostgreSQL"
    );
    ensure!(
        !parts.has(Part::Chain) || !config.chain.is_empty(),
        "`chain` has nothing to follow: add a [[chain]] section with the chain's nodes"
    );
    ensure!(
        !parts.has(Part::Clickhouse) || config.clickhouse.is_on(),
        "`clickhouse` has nowhere to write: set [clickhouse] url to the server's HTTP address"
    );
    ensure!(
        !parts.has(Part::Stripe) || config.stripe.has_secrets(),
        "`stripe` could believe no delivery: set the endpoint's signing secret (whsec_…) in STREAMBOOK_STRIPE__WEBHOOK_SECRETS, or in \
         a file that [stripe] webhook_secrets_file names"
    );
    Ok(())
}

/// The host's name, as the environment or the kernel has it.
fn host() -> String {
    let kernel = || std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
    let name = std::env::var("HOSTNAME").ok().filter(|name| !name.is_empty()).or_else(kernel);
    name.map_or_else(|| "localhost".to_owned(), |name| name.trim().to_owned())
}
