//! A proxy that passes connections on and can cut them.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
};

/// A listener on `127.0.0.1` before one address. It ends with this handle.
pub struct Proxy {
    address: SocketAddr,
    cut: watch::Sender<u64>,
    open: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Proxy {
    /// Starts one before this address, which need not answer yet.
    pub async fn start(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (cut, open) = (watch::Sender::new(0), Arc::new(AtomicUsize::new(0)));
        let task = tokio::spawn(accept(listener, target, cut.clone(), Arc::clone(&open)));
        Self { address, cut, open, task }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Cuts every connection that is open, and says how many there were. New ones are passed on.
    pub fn cut(&self) -> usize {
        let open = self.open.load(Relaxed);
        self.cut.send_modify(|cut| *cut += 1);
        open
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
        self.cut.send_modify(|cut| *cut += 1);
    }
}

async fn accept(listener: TcpListener, target: SocketAddr, cut: watch::Sender<u64>, open: Arc<AtomicUsize>) {
    loop {
        let Ok((mut client, _)) = listener.accept().await else { continue };
        let (mut cut, open) = (cut.subscribe(), Arc::clone(&open));
        tokio::spawn(async move {
            let Ok(mut server) = TcpStream::connect(target).await else { return };
            let _nodelay = (client.set_nodelay(true), server.set_nodelay(true));
            open.fetch_add(1, Relaxed);
            tokio::select! {
                _ = copy_bidirectional(&mut client, &mut server) => {}
                _ = cut.changed() => {}
            }
            open.fetch_sub(1, Relaxed);
        });
    }
}
