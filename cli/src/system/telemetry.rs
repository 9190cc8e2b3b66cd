//! Logs and metrics of the process.

use anyhow::Context;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::EnvFilter;

use crate::config::{LogFormat, LoggingConfig};

/// Bounds of the duration histograms, in seconds: from a step's commit to a slow webhook.
const SECONDS: [f64; 14] =
    [0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0];

/// Writes logs to standard error, so that results on standard output stay clean.
pub(crate) fn install_logging(config: &LoggingConfig) -> anyhow::Result<()> {
    // The store's own notes are of no use to an operator unless asked for; what is asked for comes last and wins.
    let filter = EnvFilter::try_new(format!("fjall=warn,lsm_tree=warn,{}", config.level))
        .with_context(|| format!("[logging] level: `{}` is not a level or filter", config.level))?;
    // Where standard error cannot be written, because it is a file on a full disk for example, there is nowhere to say so:
    // trying would panic in whatever part has something to log, and take that down.
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .log_internal_errors(false)
        .with_writer(std::io::stderr);
    match config.format {
        LogFormat::Json => {
            builder.json().flatten_event(true).with_current_span(true).with_span_list(false).init();
        }
        LogFormat::Text => builder.init(),
    }
    Ok(())
}

/// Records metrics in this process; the handle renders them.
pub(crate) fn install_metrics() -> anyhow::Result<PrometheusHandle> {
    let builder =
        PrometheusBuilder::new().set_buckets_for_metric(Matcher::Suffix("_seconds".into()), &SECONDS)?;
    Ok(builder.install_recorder()?)
}
