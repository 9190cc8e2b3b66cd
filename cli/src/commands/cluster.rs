//! `streambook cluster register`: makes a Fluvio server known to its cluster's controller, where Fluvio's own command line is not
//! at hand.

use std::{process::ExitCode, str::FromStr};

use clap::{Args, Subcommand};
use streambook_log::fluvio::{FluvioOptions, Server, register};

use crate::output;

/// Set up a Fluvio cluster.
#[derive(Subcommand)]
pub(crate) enum Cluster {
    /// Make servers (SPUs) known to the controller (SC), which each must be before its first start.
    Register(Register),
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
        let Self::Register(Register { endpoint, servers }) = self;
        for Described(server) in servers {
            let is_new = register(FluvioOptions::new(endpoint.clone()), &server).await?;
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
