//! `streambook up`.

use std::{net::SocketAddr, process::ExitCode};

use clap::Args;

use super::Source;
use crate::{
    output,
    system::{System, install_logging, install_metrics},
};

/// Run everything in one process.
#[derive(Args)]
#[command(after_help = "Example:\n  streambook up --data ./data --listen 127.0.0.1:8080")]
pub(crate) struct Up {
    #[command(flatten)]
    source: Source,
    /// The address the API listens on, instead of the configured one.
    #[arg(long, value_name = "ADDR")]
    listen: Option<SocketAddr>,
}

impl Up {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        let mut config = self.source.load()?;
        if let Some(listen) = self.listen {
            config.api.listen = listen;
        }
        install_logging(&config.logging)?;
        let system = System::start(&config, install_metrics()?).await?;
        greet(&system);
        told_to_stop().await?;
        output::note("stopping");
        system.shutdown().await;
        Ok(ExitCode::SUCCESS)
    }
}

pub(super) fn greet(system: &System) {
    let url = format!("http://{}", system.address);
    if system.reads.is_some() {
        output::line(format!("API      {url}/v1"));
        output::line(format!("OpenAPI  {url}/openapi.json"));
    }
    output::line(format!("health   {url}/readyz"));
    output::line(format!("metrics  {url}/metrics"));
    if let Some(reason) = &system.without_sql {
        output::note(format!(
            "warning: {reason}; it is tried again. Commands are taken meanwhile, reads are answered with 503, and {url}/readyz \
             says when it is there"
        ));
    }
    if let Some(key) = &system.admin_key {
        output::line(format!("\nThis is the admin key. It is shown once; keep it:\n  {}\n", key.0));
        output::line("Try it:");
        output::line(format!(
            "  curl -s {url}/v1/merchants -H 'Authorization: Bearer {}' -H 'Content-Type: application/json' \
             -d '{{\"name\": \"shop\"}}'",
            key.0
        ));
    }
}

/// Waits for SIGINT or SIGTERM.
pub(crate) async fn told_to_stop() -> anyhow::Result<()> {
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted?,
        _ = terminate.recv() => {}
    }
    Ok(())
}
