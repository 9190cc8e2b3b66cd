//! `streambook demo`.

use std::{net::SocketAddr, path::PathBuf, process::ExitCode};

use clap::Args;

use crate::demo::{self, Books, Form, Options, Until};

/// Show money flowing on a local chain.
#[derive(Args)]
#[command(after_help = "Examples:\n  streambook demo               live traffic until Ctrl-C\n  \
                        streambook demo --exit        everything once, then the books and their proof\n\n\
                        The chain is anvil where ANVIL or PATH has it, else the built-in development chain.")]
pub(crate) struct Demo {
    /// How many ordinary payments are made, beside those that go otherwise.
    #[arg(long, value_name = "N", default_value_t = 30, value_parser = clap::value_parser!(u32).range(0..=100_000))]
    payments: u32,
    /// When everything has ended, print the books, verify them and exit: with 1 if anything is not as expected.
    #[arg(long)]
    exit: bool,
    /// Keep the data in this directory, which must be new; without it a temporary one is used and removed.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// The address the API listens on; port 0 takes a free one.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Also write to this ClickHouse, for example http://127.0.0.1:8123, into the new database `streambook_demo`.
    #[arg(long, value_name = "URL")]
    clickhouse: Option<String>,
    /// Keep the log on this Fluvio cluster, which must hold no Streambook yet, for example 127.0.0.1:9103.
    #[arg(long, value_name = "ENDPOINT")]
    cluster: Option<String>,
    /// Leave the books to other processes on the cluster: what starts them is printed.
    #[arg(long, requires_all = ["cluster", "data"])]
    without_processors: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

impl Demo {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        let until = if self.exit { Until::Tried } else { Until::Stopped };
        let form = if self.json { Form::Json } else { Form::Text };
        let Self { payments, data, listen, clickhouse, cluster, without_processors, .. } = self;
        let books = if without_processors { Books::Elsewhere } else { Books::Here };
        demo::run(Options { payments, until, data, listen, clickhouse, cluster, books, form }).await
    }
}
