//! The listener: accepts connections up to a limit, gives each a time to send its headers, and stops gracefully.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use axum::{Router, extract::ConnectInfo, http::Request};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use crate::config::ApiConfig;

/// The pause after a failed accept, which mostly means that there are no file descriptors left.
const PAUSE: Duration = Duration::from_millis(100);
/// Bytes of the largest head of a request.
const HEAD_BYTES: usize = 32 << 10;

/// The server could not run.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The listener is not usable.
    #[error("the listener has no address")]
    Listener(#[source] io::Error),
}

/// Serves these routes until `stop`, then lets open requests end, for as long as is configured.
pub async fn serve(
    app: Router,
    config: &ApiConfig,
    listener: TcpListener,
    stop: CancellationToken,
) -> Result<(), ServeError> {
    let address = listener.local_addr().map_err(ServeError::Listener)?;
    let connections = Arc::new(Semaphore::new(config.max_connections));
    let graceful = GracefulShutdown::new();
    tracing::info!(%address, "serving");
    while let Some((stream, peer, permit)) = accept(&listener, &connections, &stop).await {
        converse(app.clone(), stream, peer, permit, config, &graceful);
    }
    let limit = Duration::from_millis(config.shutdown_timeout_ms);
    if tokio::time::timeout(limit, graceful.shutdown()).await.is_err() {
        tracing::warn!("requests were still open when the server stopped");
    }
    Ok(())
}

/// The next connection, once there is room for it; `None` when it is time to stop.
async fn accept(
    listener: &TcpListener,
    connections: &Arc<Semaphore>,
    stop: &CancellationToken,
) -> Option<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    loop {
        let next = async {
            let permit = Arc::clone(connections).acquire_owned().await.map_err(io::Error::other)?;
            let (stream, peer) = listener.accept().await?;
            Ok::<_, io::Error>((stream, peer, permit))
        };
        let accepted = tokio::select! {
            () = stop.cancelled() => return None,
            accepted = next => accepted,
        };
        match accepted {
            Ok(accepted) => return Some(accepted),
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// Serves one connection in a task of its own.
fn converse(
    app: Router,
    stream: TcpStream,
    peer: SocketAddr,
    permit: OwnedSemaphorePermit,
    config: &ApiConfig,
    graceful: &GracefulShutdown,
) {
    // Answers are small and whole: waiting for more of them only adds delay.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "no TCP_NODELAY");
    }
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(ConnectInfo(peer));
        app.clone().oneshot(request.map(axum::body::Body::new))
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_millis(config.header_timeout_ms))
        .max_buf_size(HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    let connection = graceful.watch(connection);
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, %peer, "a connection ended early");
        }
        drop(permit);
    });
}
