//! Makes servers known to a cluster's controller, which a server must be before its first start.

use std::sync::Arc;
use std::time::Instant;

use fluvio::metadata::customspu::CustomSpuSpec;
use fluvio::metadata::spu::SpuSpec;

use super::backoff::Backoff;
use super::cluster::Cluster;
use super::options::FluvioOptions;
use crate::LogError;

/// A server (SPU) of a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// Its number, which no other server has.
    pub id: i32,
    /// Where clients reach it: host and port.
    pub public: (String, u16),
    /// Where the other servers reach it.
    pub private: (String, u16),
}

/// Makes a server known. Returns `false` when it was already, with these addresses.
///
/// # Errors
/// [`LogError::Unreachable`] when the controller does not answer for [`FluvioOptions::patience`], and [`LogError::Refused`] when
/// the number is another server's.
pub async fn register(options: FluvioOptions, server: &Server) -> Result<bool, LogError> {
    let until = Instant::now() + options.patience;
    let (cluster, mut backoff) = (Cluster::new(options), Backoff::new());
    loop {
        match attempt(&cluster, server).await {
            Err(LogError::Unreachable { .. }) if Instant::now() < until => backoff.wait().await,
            done => return done,
        }
    }
}

async fn attempt(cluster: &Cluster, server: &Server) -> Result<bool, LogError> {
    let what = || format!("register server {}", server.id);
    let known = cluster.list::<SpuSpec>().await?;
    if let Some(known) = known.iter().find(|known| known.spec.id == server.id) {
        let found = known.spec.public_endpoint.addr();
        let (host, port) = &server.public;
        if found == format!("{host}:{port}") {
            return Ok(false);
        }
        return Err(LogError::Refused { what: what(), source: Arc::new(Another { id: server.id, found }) });
    }
    let mut spec = CustomSpuSpec { id: server.id, ..CustomSpuSpec::default() };
    // The client does not give names to the types of the endpoints.
    spec.public_endpoint.port = server.public.1;
    spec.public_endpoint.ingress.push(Default::default());
    for ingress in &mut spec.public_endpoint.ingress {
        ingress.hostname = Some(server.public.0.clone());
    }
    spec.private_endpoint.port = server.private.1;
    spec.private_endpoint.host.clone_from(&server.private.0);
    let made = cluster.add(format!("custom-spu-{}", server.id), spec).await;
    made.map(|()| true).map_err(|source| LogError::Refused { what: what(), source })
}

#[derive(Debug, thiserror::Error)]
#[error("number {id} is the server at {found}: take another number, or unregister that one")]
struct Another {
    id: i32,
    found: String,
}
