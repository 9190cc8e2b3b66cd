//! `streambook cluster register` makes a Fluvio server known to its cluster's controller, where Fluvio's own command line is not
//! at hand; `streambook cluster rejoin` brings a stopped server's copies in step before it is started again.

use std::{
    ffi::OsString,
    os::unix::process::CommandExt,
    path::PathBuf,
    process::{Command, ExitCode},
    str::FromStr,
};

use anyhow::{Context, anyhow};
use clap::{Args, Subcommand};
use streambook_log::fluvio::{FluvioOptions, Rejoined, Server, register, rejoin};

use crate::output;

/// Set up a Fluvio cluster.
#[derive(Subcommand)]
pub(crate) enum Cluster {
    /// Make servers (SPUs) known to the controller (SC), which each must be before its first start.
    Register(Register),
    /// Bring a stopped server's copies in step with their leaders, then start it: what nobody acknowledged is cut from them.
    Rejoin(Rejoin),
}

/// Arguments of `cluster register`.
#[derive(Args)]
#[command(
    after_help = "Example:\n  streambook cluster register --endpoint 127.0.0.1:9103 --server 5001=127.0.0.1:9110,127.0.0.1:9111 \
                  --server 5002=127.0.0.1:9120,127.0.0.1:9121"
)]
pub(crate) struct Register {
    /// The controller's public address.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9003")]
    endpoint: String,
    /// A server: its number, its public address, its private address.
    #[arg(long = "server", value_name = "ID=PUBLIC,PRIVATE", required = true)]
    servers: Vec<Described>,
}

/// Arguments of `cluster rejoin`.
#[derive(Args)]
#[command(
    after_help = "Example:\n  streambook cluster rejoin --endpoint 127.0.0.1:9103 --server 5001 --data ./data -- \\\n    fluvio-run spu -i 5001 -p 127.0.0.1:9110 -v 127.0.0.1:9111 --sc-addr 127.0.0.1:9104 \\\n    --peer-max-bytes 33554432 --log-base-dir ./data"
)]
pub(crate) struct Rejoin {
    /// The controller's public address.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9003")]
    endpoint: String,
    /// The server's number. It must not run.
    #[arg(long, value_name = "ID")]
    server: i32,
    /// The server's directory of logs, its `--log-base-dir`.
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Print what was done as JSON.
    #[arg(long)]
    json: bool,
    /// What starts the server, in place of this command, once its copies are in step.
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

impl Rejoin {
    async fn run(self) -> anyhow::Result<ExitCode> {
        let rejoined = rejoin(FluvioOptions::new(self.endpoint.as_str()), self.server, &self.data).await?;
        self.say(&rejoined)?;
        let Some((program, arguments)) = self.command.split_first() else { return Ok(ExitCode::SUCCESS) };
        // It returns only where the program cannot be started.
        let failed = Command::new(program).args(arguments).exec();
        Err(anyhow!(failed)).with_context(|| format!("could not start {}", program.display()))
    }

    fn say(&self, rejoined: &Rejoined) -> anyhow::Result<()> {
        if self.json {
            return output::json(&described(rejoined));
        }
        for cut in &rejoined.cut {
            let (partition, records, from) = (&cut.partition, cut.records, cut.from);
            output::line(format!(
                "{partition}: {records} records that its leader does not have are cut, from offset {from} on"
            ));
        }
        for left in &rejoined.left {
            output::line(format!("{}: left as it is: {}", left.partition, left.why));
        }
        let (server, in_step, missing) = (self.server, rejoined.in_step, rejoined.missing);
        output::line(format!("server {server}: {in_step} copies are in step with their leaders"));
        if missing > 0 {
            output::line(format!(
                "server {server}: {missing} copies are not in its directory, and will be sent by their leaders"
            ));
        }
        Ok(())
    }
}

fn described(rejoined: &Rejoined) -> serde_json::Value {
    let cut = rejoined.cut.iter().map(|cut| {
        serde_json::json!({ "partition": cut.partition, "from_offset": cut.from.0, "records": cut.records })
    });
    let left =
        rejoined.left.iter().map(|left| serde_json::json!({ "partition": left.partition, "why": left.why }));
    serde_json::json!({
        "in_step": rejoined.in_step,
        "missing": rejoined.missing,
        "cut": cut.collect::<Vec<_>>(),
        "left": left.collect::<Vec<_>>(),
    })
}

/// A server as it is written on the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Described(Server);

impl FromStr for Described {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let usage = || format!("`{text}` is no server: for example 5001=127.0.0.1:9110,127.0.0.1:9111");
        let (id, addresses) = text.split_once('=').ok_or_else(usage)?;
        let (public, private) = addresses.split_once(',').ok_or_else(usage)?;
        let address = |text: &str| {
            let (host, port) = text.rsplit_once(':')?;
            Some((host.to_owned(), port.parse().ok()?)).filter(|_| !host.is_empty())
        };
        let id = id.parse().map_err(|_| usage())?;
        let (public, private) = address(public).zip(address(private)).ok_or_else(usage)?;
        Ok(Self(Server { id, public, private }))
    }
}

impl Cluster {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        match self {
            Self::Register(command) => command.run().await,
            Self::Rejoin(command) => command.run().await,
        }
    }
}

impl Register {
    async fn run(self) -> anyhow::Result<ExitCode> {
        for Described(server) in self.servers {
            let is_new = register(FluvioOptions::new(self.endpoint.clone()), &server).await?;
            let known = if is_new { "is known to the cluster now" } else { "was known to the cluster" };
            output::line(format!("server {} {known}", server.id));
        }
        Ok(ExitCode::SUCCESS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_a_number_and_two_addresses() {
        let server = "5001=fluvio-1:9110,10.0.0.1:9111".parse();
        let public = ("fluvio-1".to_owned(), 9110);
        assert_eq!(
            server,
            Ok(Described(Server { id: 5001, public, private: ("10.0.0.1".to_owned(), 9111) }))
        );
        for wrong in ["", "5001", "5001=a:1", "x=a:1,b:2", "5001=a,b:2", "5001=:1,b:2", "5001=a:70000,b:2"] {
            assert!(wrong.parse::<Described>().is_err(), "{wrong}");
        }
    }
}
