//! A node that can be down: a port that is always this test's own, behind which connections reach the node or are closed.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

/// The port before a node. Dropping it closes it.
pub(crate) struct Gate {
    url: String,
    is_open: Arc<AtomicBool>,
    task: JoinHandle<()>,
}

impl Gate {
    /// A closed gate before a node at `http://host:port`.
    pub(crate) async fn before(node: &str) -> Self {
        let target = node.trim_start_matches("http://").to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let is_open = Arc::new(AtomicBool::new(false));
        let task = tokio::spawn(pass(listener, target, Arc::clone(&is_open)));
        Self { url, is_open, task }
    }

    /// Where to send requests instead.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// The node is up from now on.
    pub(crate) fn open(&self) {
        self.is_open.store(true, Ordering::Relaxed);
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn pass(listener: TcpListener, target: String, is_open: Arc<AtomicBool>) {
    while let Ok((mut client, _)) = listener.accept().await {
        if !is_open.load(Ordering::Relaxed) {
            continue;
        }
        let target = target.clone();
        tokio::spawn(async move {
            let Ok(mut node) = TcpStream::connect(target).await else { return };
            // Either side may end the connection at any time.
            let _ = copy_bidirectional(&mut client, &mut node).await;
        });
    }
}
