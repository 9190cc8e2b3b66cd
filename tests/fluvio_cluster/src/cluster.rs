//! The controller and its servers together.

use std::{
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use fluvio::{
    FluvioAdmin, FluvioClusterConfig,
    metadata::{customspu::CustomSpuSpec, partition::PartitionSpec, spu::SpuSpec, topic::TopicSpec},
};
use streambook_log::fluvio::{FluvioOptions, Rejoined, rejoin};
use tempfile::TempDir;

use crate::{proxy::Proxy, server::Server};

/// How long anything may take that the cluster does by itself. It gives a server that says nothing up after 90 seconds.
const PATIENCE: Duration = Duration::from_secs(150);
/// The number of the first server.
const FIRST: i32 = 5001;
/// More than a segment, so that replicas skip nothing.
const PEER_MAX_BYTES: &str = "33554432";

/// How clients reach the servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reached {
    /// Directly.
    Directly,
    /// Each through a proxy of its own.
    ThroughProxies,
}

/// A running cluster.
pub struct Cluster {
    controller: Server,
    servers: Vec<Server>,
    proxies: Vec<Proxy>,
    endpoint: String,
    // Last, so that the directory goes when nobody writes to it any more.
    folder: TempDir,
}

impl Cluster {
    /// Starts a controller and this many servers, and waits until they are online.
    pub async fn start(program: &Path, servers: usize, reached: Reached) -> Self {
        let mut folder = tempfile::Builder::new().prefix("streambook-fluvio-").tempdir().unwrap();
        // To see what the servers said: RUST_LOG is theirs as well.
        folder.disable_cleanup(std::env::var_os("FLUVIO_KEEP").is_some());
        let ports = free_ports(2 + 2 * servers);
        let local = |port: u16| SocketAddr::from(([127, 0, 0, 1], port));
        let (endpoint, private) = (local(ports[0]).to_string(), local(ports[1]).to_string());
        let at = folder.path().join("controller");
        let arguments =
            ["sc", "--local", "./metadata", "--bind-public", &endpoint, "--bind-private", &private];
        let controller = Server::start(program, &at, arguments.map(str::to_owned).to_vec());
        let mut cluster = Self { controller, servers: Vec::new(), proxies: Vec::new(), endpoint, folder };
        for (id, ports) in (FIRST..).zip(ports[2..].chunks(2)) {
            let mut public = ports[0];
            if reached == Reached::ThroughProxies {
                let proxy = Proxy::start(local(ports[0])).await;
                public = proxy.address().port();
                cluster.proxies.push(proxy);
            }
            cluster.register(id, public, ports[1]).await;
            let id = id.to_string();
            let (public, private_server) = (local(ports[0]).to_string(), local(ports[1]).to_string());
            let arguments = [
                "spu",
                "-i",
                &id,
                "-p",
                &public,
                "-v",
                &private_server,
                "--sc-addr",
                &private,
                "--peer-max-bytes",
                PEER_MAX_BYTES,
                "--log-base-dir",
                "./data",
            ];
            let at = cluster.folder.path().join(&id);
            cluster.servers.push(Server::start(program, &at, arguments.map(str::to_owned).to_vec()));
        }
        cluster.until_online(servers).await;
        cluster
    }

    /// The controller's address.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Which of the servers has this number in the cluster.
    pub fn numbered(&self, number: i32) -> usize {
        usize::try_from(number - FIRST).unwrap()
    }

    /// How many servers there are, running or not.
    pub fn servers(&self) -> usize {
        self.servers.len()
    }

    /// Ends a server at once. Its data stays.
    pub fn kill(&mut self, server: usize) {
        self.servers[server].kill();
    }

    /// Starts a server that was killed, as it is. It is online some time later, and has loaded its partitions later still.
    pub fn start_again(&mut self, server: usize) {
        self.servers[server].start_again();
    }

    /// Starts a server that was killed as `streambook cluster rejoin` does: with its copies in step.
    pub async fn rejoin(&mut self, server: usize) -> Rejoined {
        let options = FluvioOptions::new(&self.endpoint);
        let rejoined = rejoin(options, number_of(server), &self.data(server)).await.unwrap();
        self.start_again(server);
        rejoined
    }

    /// Stops a server in its tracks; its connections stay open.
    pub fn freeze(&self, server: usize) {
        self.servers[server].freeze();
    }

    /// Lets a frozen server go on.
    pub fn thaw(&self, server: usize) {
        self.servers[server].thaw();
    }

    /// Ends the controller at once.
    pub fn kill_controller(&mut self) {
        self.controller.kill();
    }

    /// Starts the controller that was killed.
    pub fn start_controller_again(&mut self) {
        self.controller.start_again();
    }

    /// The proxy before a server.
    pub fn proxy(&self, server: usize) -> &Proxy {
        &self.proxies[server]
    }

    /// Where a server keeps its records.
    pub fn data(&self, server: usize) -> PathBuf {
        self.folder.path().join(number_of(server).to_string()).join("data")
    }

    /// The server that leads a partition.
    pub async fn leader(&self, topic: &str, partition: u16) -> usize {
        let name = format!("{topic}-{partition}");
        let partitions = self.admin().await.all::<PartitionSpec>().await.unwrap();
        let found = partitions.iter().find(|found| found.name == name).expect("the partition exists");
        self.numbered(found.spec.leader)
    }

    /// Makes a topic as it is told, with whatever settings.
    pub async fn make_topic(&self, name: &str, spec: TopicSpec) {
        self.admin().await.create(name.to_owned(), false, spec).await.unwrap();
    }

    /// Deletes a topic, and waits until it is gone.
    pub async fn delete_topic(&self, name: &str) {
        let admin = self.admin().await;
        admin.delete::<TopicSpec>(name.to_owned()).await.unwrap();
        let prefix = format!("{name}-");
        self.until("the topic is gone", async || {
            let topics = admin.all::<TopicSpec>().await.unwrap();
            let partitions = admin.all::<PartitionSpec>().await.unwrap();
            topics.iter().all(|topic| topic.name != name)
                && partitions.iter().all(|partition| !partition.name.starts_with(&prefix))
        })
        .await;
    }

    /// Waits until this many servers are online, by the controller's word.
    pub async fn until_online(&self, servers: usize) {
        self.until("the servers are online", async || {
            let known = self.admin().await.all::<SpuSpec>().await.unwrap();
            known.iter().filter(|server| server.status.is_online()).count() == servers
        })
        .await;
    }

    async fn register(&self, id: i32, public: u16, private: u16) {
        // The client does not give names to the types of the endpoints.
        let mut spec = CustomSpuSpec { id, ..CustomSpuSpec::default() };
        spec.public_endpoint.port = public;
        spec.public_endpoint.ingress.push(Default::default());
        spec.public_endpoint.ingress[0].hostname = Some("127.0.0.1".to_owned());
        spec.private_endpoint.port = private;
        spec.private_endpoint.host = "127.0.0.1".to_owned();
        self.admin().await.create(format!("custom-spu-{id}"), false, spec).await.unwrap();
    }

    /// A connection to the controller, which may still be starting.
    async fn admin(&self) -> FluvioAdmin {
        assert!(self.controller.is_running(), "the controller runs");
        let config = FluvioClusterConfig::new(&self.endpoint);
        let until = Instant::now() + PATIENCE;
        loop {
            match FluvioAdmin::connect_with_config(&config).await {
                Ok(admin) => return admin,
                Err(error) => assert!(Instant::now() < until, "the controller does not answer: {error:#}"),
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn until(&self, what: &str, is_so: impl AsyncFn() -> bool) {
        let until = Instant::now() + PATIENCE;
        while !is_so().await {
            assert!(Instant::now() < until, "not within {PATIENCE:?}: {what}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// The number that this server has in the cluster.
pub fn number_of(server: usize) -> i32 {
    FIRST + i32::try_from(server).unwrap()
}

/// Ports that were free a moment ago.
fn free_ports(count: usize) -> Vec<u16> {
    let listeners: Vec<_> = (0..count).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    listeners.iter().map(|listener| listener.local_addr().unwrap().port()).collect()
}
