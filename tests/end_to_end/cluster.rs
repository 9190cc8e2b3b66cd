//! Streambook as many processes on a real Fluvio cluster, under traffic: every process and every server is killed, frozen and
//! cut off in turn, a store is lost, a twin runs beside a frozen process. Then every payment is right, every event is
//! delivered, and `verify` proves the books from the cluster.
//!
//! It runs where `FLUVIO_RUN` names the server (`make test-fluvio`); elsewhere it says so.

use std::{
    fs,
    time::{Duration, Instant},
};

use rand::{SeedableRng, rngs::StdRng};
use streambook_fluvio_cluster::{Cluster, Reached, number_of};

use crate::{
    chain::TestChain, command, database, devchain::Development, part::Part, place::Place, settings::Settings,
    streambook::Streambook, traffic::Traffic, waiting,
};

/// How long something stays away: long enough for others to notice.
const AWAY: Duration = Duration::from_secs(3);
/// How long a server that is said to need a restart is given to come to itself.
const HESITATION: Duration = Duration::from_secs(10);
/// How long the cluster may take to be well again.
const RECOVERY: Duration = Duration::from_secs(180);
/// How long `verify` may take.
const VERIFY: Duration = Duration::from_secs(600);

/// The processes beside the API.
struct Processes {
    parts: Vec<Part>,
    settings: Settings,
    place: Place,
}

impl Processes {
    /// Starts them; gives the operator's key that the registry's owner shows.
    async fn start(settings: Settings) -> (Self, String) {
        let place = Place::new();
        fs::write(place.path().join("streambook.toml"), &settings.toml).unwrap();
        let part = |name: &str, arguments: &str| Part::new(name, arguments, &settings, place.path());
        let mut parts = vec![
            part("books-0", "processors --partitions 0-7"),
            part("books-1", "processors --partitions 8-15"),
            part("sql", "sql"),
            part("webhooks", "webhooks"),
            part("chain", "chain"),
        ];
        let mut said = String::new();
        for part in &mut parts {
            said.push_str(&part.start().await);
        }
        let key = said.lines().map(str::trim).find(|line| line.starts_with("sk_live_"));
        let key = key.expect("the first start shows the admin key").to_owned();
        (Self { parts, settings, place }, key)
    }

    /// A process for the partitions of another, with a store of its own.
    fn twin(&self) -> Part {
        Part::new("books-0-twin", "processors --partitions 0-7", &self.settings, self.place.path())
    }

    /// Waits until every process says of every part of its that it is well and has taken all there is.
    async fn until_at_rest(&self) {
        let probe = async || {
            let mut status = command::streambook();
            status.args(["status", "--json", "--config"]).arg(self.place.path().join("streambook.toml"));
            let ended = tokio::task::spawn_blocking(move || command::ends(&mut status)).await.unwrap();
            let lines: Vec<serde_json::Value> = serde_json::from_str(&ended.out).unwrap_or_default();
            let waits = lines.iter().filter(|line| line["condition"] != "silent");
            let waits: Vec<_> =
                waits.filter(|line| line["condition"] != "running" || line["lag"] != 0).collect();
            if !lines.is_empty() && waits.is_empty() {
                Ok(())
            } else {
                Err(format!("{waits:?} {}", ended.err))
            }
        };
        if let Err(seen) = waiting::until(probe).await {
            let tails: Vec<_> = self.parts.iter().map(Part::log_tail).collect();
            panic!("not at rest: {seen}\n{}", tails.join("\n"));
        }
    }
}

/// Waits until every process is well, and does meanwhile what they say an operator must: a server whose copies are not taken up
/// has to rejoin (`docs/fluvio.md`).
async fn until_well(parts: &[Part], cluster: &mut Cluster) {
    let (end, mut since) = (Instant::now() + RECOVERY, Instant::now());
    loop {
        let mut said = String::new();
        for part in parts {
            said.push_str(&part.trouble().await.unwrap_or_default());
        }
        if said.is_empty() {
            return;
        }
        assert!(Instant::now() < end, "the cluster is not well: {said}");
        let digits =
            said.rsplit_once("stop server ").map(|(_, rest)| rest.split(|c: char| !c.is_ascii_digit()));
        let wanted = digits.and_then(|mut digits| digits.next()?.parse().ok());
        match wanted.filter(|_| since.elapsed() > HESITATION) {
            Some(number) => {
                eprintln!("cluster: server {number} has to rejoin, as /readyz says");
                let server = cluster.numbered(number);
                cluster.kill(server);
                rejoin(cluster, server).await;
                since = Instant::now();
            }
            None if wanted.is_none() => since = Instant::now(),
            None => {}
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// Starts a server that was killed, as the documentation says: by way of `streambook cluster rejoin`.
async fn rejoin(cluster: &mut Cluster, server: usize) {
    let mut command = command::streambook();
    command.args(["cluster", "rejoin", "--endpoint", cluster.endpoint()]);
    command.args(["--server", &number_of(server).to_string()]).arg("--data").arg(cluster.data(server));
    let ended = tokio::task::spawn_blocking(move || command::ends(&mut command)).await.unwrap();
    assert_eq!(ended.code, Some(0), "{ended:#?}");
    eprint!("{}", ended.out);
    cluster.start_again(server);
}

/// Everything that can happen to a process or a server, one after the other.
async fn disturb(processes: &mut Processes, cluster: &mut Cluster) {
    for part in &mut processes.parts {
        eprintln!("cluster: kill {}", part.name());
        part.kill();
        part.start().await;
    }
    for server in 0..cluster.servers() {
        eprintln!("cluster: kill server {server}, freeze it, cut its connections");
        cluster.kill(server);
        tokio::time::sleep(AWAY).await;
        rejoin(cluster, server).await;
        tokio::time::sleep(AWAY).await;
        cluster.freeze(server);
        tokio::time::sleep(AWAY).await;
        cluster.thaw(server);
        cluster.proxy(server).cut();
        until_well(&processes.parts, cluster).await;
    }
    eprintln!("cluster: freeze books-0 while its twin runs");
    let mut twin = processes.twin();
    processes.parts[0].freeze();
    twin.start().await;
    tokio::time::sleep(AWAY).await;
    processes.parts[0].thaw();
    tokio::time::sleep(AWAY).await;
    twin.stop().await;
    eprintln!("cluster: books-1 loses its store");
    processes.parts[1].kill();
    processes.parts[1].lose_store();
    processes.parts[1].start().await;
    until_well(&processes.parts, cluster).await;
}

fn settings(chain: &Development, cluster: &Cluster, url: &str) -> Settings {
    let mut settings = Settings::on(chain);
    let secret = std::env::temp_dir().join(format!("streambook-e2e-{}.key", std::process::id()));
    settings.toml.push_str(&format!(
        "[log]\nengine = \"fluvio\"\nendpoint = \"{}\"\n[data]\nsecret_key_file = \"{}\"\n[sql]\nurl = \"{url}\"\n",
        cluster.endpoint(),
        secret.display()
    ));
    settings
}

fn verified(api: &Streambook) {
    let ended = command::ends_within(&mut api.command("verify"), VERIFY);
    let last = ended.out.lines().last().unwrap_or_default();
    assert!(ended.code == Some(0) && last.starts_with("verify: ok"), "verify: {ended:#?}");
    eprintln!("cluster: {}", ended.out);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_of_processes_loses_and_doubles_nothing_whatever_is_killed() {
    let Some(program) = streambook_fluvio_cluster::program() else { return };
    let Some(server) = database::server() else { return };
    let url = server.database("books");
    let mut cluster = Cluster::start(&program, 2, Reached::ThroughProxies).await;
    let chain = Development::start().await.unwrap();
    let settings = settings(&chain, &cluster, &url);
    let (mut processes, key) = Processes::start(settings.clone()).await;
    let mut api = Streambook::start_part(settings, "run api", &key).await;
    api.until_ready().await;
    let mut traffic = Traffic::start(&api, chain, &mut StdRng::seed_from_u64(7)).await;
    disturb(&mut processes, &mut cluster).await;
    eprintln!("cluster: kill the API");
    api.kill();
    api.start_again().await;
    traffic.end().await;
    eprintln!("cluster: {} payments", traffic.world.payments());
    api.until_ready().await;
    let events = traffic.until_all_is_right(&api).await;
    eprintln!("cluster: {events} events, each delivered");
    traffic.rest();
    processes.until_at_rest().await;
    verified(&api);
}
