//! A node that can be down: a port that is always this test's own, behind which connections reach the node or are closed,
//! those that were open as well.

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
};

/// The port before a node. Dropping it closes it.
pub(crate) struct Gate {
    url: String,
    is_open: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Gate {
    /// A closed gate before a node at `http://host:port`.
    pub(crate) async fn before(node: &str) -> Self {
        let target = node.trim_start_matches("http://").to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (is_open, seen) = watch::channel(false);
        let task = tokio::spawn(pass(listener, target, seen));
        Self { url, is_open, task }
    }

    /// Where to send requests instead.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// The node is up from now on.
    pub(crate) fn open(&self) {
        self.is_open.send_replace(true);
    }

    /// The node is down from now on.
    pub(crate) fn close(&self) {
        self.is_open.send_replace(false);
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn pass(listener: TcpListener, target: String, is_open: watch::Receiver<bool>) {
    while let Ok((mut client, _)) = listener.accept().await {
        if !*is_open.borrow() {
            continue;
        }
        let (target, mut is_open) = (target.clone(), is_open.clone());
        tokio::spawn(async move {
            let Ok(mut node) = TcpStream::connect(target).await else { return };
            // Either side may end the connection at any time.
            tokio::select! {
                _ = copy_bidirectional(&mut client, &mut node) => {}
                _ = is_open.wait_for(|is_open| !is_open) => {}
            }
        });
    }
}
