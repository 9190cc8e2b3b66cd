//! A running node: the chain, its JSON-RPC server on the loopback interface, and, if wanted, a miner.
//!
//! Dropping the node stops the server; [`DevNode::shutdown`] also waits for it and says how it ended.

use std::future::IntoFuture;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use alloy_primitives::TxHash;
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::{JoinError, JoinHandle};
use tokio::time::{MissedTickBehavior, interval};

use crate::block::BlockRef;
use crate::chain::{ChainError, DevChain, ReorgOptions, Reorged};
use crate::live::{LiveBlock, LiveChain};
use crate::server::router;
use crate::transfer::TransferRequest;

/// What can go wrong around the chain.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The port is taken, or may not be listened on.
    #[error("cannot listen on 127.0.0.1:{port}")]
    Listen {
        /// The port asked for; 0 is any.
        port: u16,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The server ended with an error.
    #[error("the JSON-RPC server failed")]
    Serve(#[source] std::io::Error),
    /// A task of the node ended abnormally.
    #[error("a task of the development node was aborted")]
    Task(#[source] JoinError),
    /// Mining without a pause between blocks.
    #[error("the interval between mined blocks must be longer than zero")]
    ZeroInterval,
    /// The miner could not make a block, and stopped.
    #[error("the miner stopped after {blocks} blocks")]
    Mine {
        /// Blocks made before.
        blocks: u64,
        /// Why.
        #[source]
        source: ChainError,
    },
}

/// A chain that answers JSON-RPC on `127.0.0.1`.
#[derive(Debug)]
pub struct DevNode {
    live: LiveChain,
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    server: JoinHandle<std::io::Result<()>>,
}

impl DevNode {
    /// Starts to answer on this port of the loopback interface; 0 takes a free one.
    ///
    /// # Errors
    /// [`NodeError::Listen`].
    pub async fn start(chain: DevChain, port: u16) -> Result<Self, NodeError> {
        let listen_error = |source| NodeError::Listen { port, source };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.map_err(listen_error)?;
        let address = listener.local_addr().map_err(listen_error)?;
        let live = LiveChain::new(chain);
        let (stop, stopped) = oneshot::channel::<()>();
        let serve = axum::serve(listener, router(live.clone())).with_graceful_shutdown(async {
            // A dropped sender means that the node is gone, which is the same request.
            let _ = stopped.await;
        });
        let server = tokio::spawn(serve.into_future());
        Ok(Self { live, address, stop, server })
    }

    /// Where to send requests, such as `http://127.0.0.1:8545`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The chain itself, for what this handle has no method for.
    #[must_use]
    pub const fn chain(&self) -> &Arc<Mutex<DevChain>> {
        self.live.chain()
    }

    /// The chain with the wall clock; a clone can outlive the node.
    #[must_use]
    pub const fn live(&self) -> &LiveChain {
        &self.live
    }

    /// Queues a transaction for the next block and returns its hash.
    ///
    /// # Errors
    /// [`ChainError::PendingFull`].
    pub fn transfer(&self, request: &TransferRequest) -> Result<TxHash, ChainError> {
        self.live.transfer(request)
    }

    /// Makes a block of the queued transactions.
    ///
    /// # Errors
    /// As [`DevChain::mine_pending`].
    pub fn mine(&self) -> Result<BlockRef, ChainError> {
        self.live.mine()
    }

    /// Replaces the last `depth` blocks.
    ///
    /// # Errors
    /// As [`DevChain::reorg`].
    pub fn reorg(
        &self,
        depth: u64,
        replacement: Vec<LiveBlock>,
        options: ReorgOptions,
    ) -> Result<Reorged, ChainError> {
        self.live.reorg(depth, replacement, options)
    }

    /// Makes a block of the queued transactions every `period`, empty ones included, until the returned
    /// handle is stopped or dropped. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// [`NodeError::ZeroInterval`].
    pub fn auto_mine(&self, period: Duration) -> Result<AutoMiner, NodeError> {
        if period.is_zero() {
            return Err(NodeError::ZeroInterval);
        }
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(mine_every(self.live.clone(), period, stopped));
        Ok(AutoMiner { stop, task })
    }

    /// Stops answering, waits for the requests under way, and says how the server ended.
    ///
    /// # Errors
    /// [`NodeError::Serve`] and [`NodeError::Task`].
    pub async fn shutdown(self) -> Result<(), NodeError> {
        // The receiver is gone only when the server has already ended, which the next line reports.
        let _ = self.stop.send(());
        self.server.await.map_err(NodeError::Task)?.map_err(NodeError::Serve)
    }
}

/// A task that makes blocks at an interval. Dropping it stops the task.
#[derive(Debug)]
pub struct AutoMiner {
    stop: oneshot::Sender<()>,
    task: JoinHandle<Result<u64, NodeError>>,
}

impl AutoMiner {
    /// Stops mining and returns the number of blocks made.
    ///
    /// # Errors
    /// [`NodeError::Mine`] when the miner had stopped by itself, and [`NodeError::Task`].
    pub async fn stop(self) -> Result<u64, NodeError> {
        // As above: without a receiver the task has ended, and its result says why.
        let _ = self.stop.send(());
        self.task.await.map_err(NodeError::Task)?
    }
}

async fn mine_every(
    live: LiveChain,
    period: Duration,
    mut stopped: oneshot::Receiver<()>,
) -> Result<u64, NodeError> {
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut blocks = 0_u64;
    loop {
        tokio::select! {
            _ = &mut stopped => return Ok(blocks),
            _ = ticks.tick() => {}
        }
        if let Err(source) = live.mine() {
            tracing::error!(blocks, error = %source, "the development chain's miner stopped");
            return Err(NodeError::Mine { blocks, source });
        }
        blocks = blocks.saturating_add(1);
    }
}
