//! `bench http`: `POST /v1/payments` against the whole system in one process, started as `up` starts it, over real
//! connections. Requests are sent at a steady rate whether or not earlier ones were answered, and a request's time counts
//! from when it was due, so a stall is seen by every request it delays.
//!
//! The chain's node does not exist: creating payments needs no node.

use std::{
    net::{SocketAddr, TcpListener},
    num::NonZeroU32,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use metrics_exporter_prometheus::PrometheusHandle;
use reqwest::{Client, StatusCode};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::{
    Directory, Latency, TEST_XPUB,
    figures::{per_second, seconds},
    usage,
};
use crate::{config::Config, system::System};

/// Requests under way at most; beyond it the server is not keeping up and the figures would mean nothing.
const IN_FLIGHT_MOST: usize = 2_000;

/// What is measured.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HttpBench {
    /// Requests a second.
    pub(crate) rate: u64,
    /// For so long.
    pub(crate) seconds: u64,
}

/// What was found.
#[derive(Debug, Serialize)]
pub(crate) struct HttpReport {
    pub(crate) rate: u64,
    pub(crate) payments: u64,
    pub(crate) payments_per_second: f64,
    pub(crate) seconds: f64,
    /// From when a request was due to its whole answer; each is answered after its sync.
    pub(crate) create: Latency,
    pub(crate) syncs_per_second: f64,
    pub(crate) cpu_seconds: f64,
    pub(crate) peak_resident_mib: u64,
}

impl HttpBench {
    /// Starts a system, measures, and stops it.
    pub(crate) async fn run(
        self,
        directory: &Directory,
        metrics: PrometheusHandle,
        say: impl Fn(&str),
    ) -> anyhow::Result<HttpReport> {
        let system = System::start(&config(directory)?, metrics).await?;
        let report = self.measure(&system, say).await;
        system.shutdown().await;
        report
    }

    async fn measure(self, system: &System, say: impl Fn(&str)) -> anyhow::Result<HttpReport> {
        let caller = Arc::new(Caller::set_up(system).await?);
        say("warming up");
        self.send(&caller, self.rate).await?;
        let payments = self.rate.saturating_mul(self.seconds);
        say(&format!("{payments} payments, {} a second", self.rate));
        let (syncs, cpu, began) = (system.store.syncs().count, usage::cpu(), Instant::now());
        let samples = self.send(&caller, payments).await?;
        let took = began.elapsed();
        Ok(HttpReport {
            rate: self.rate,
            payments,
            payments_per_second: per_second(payments, took),
            seconds: seconds(took),
            create: Latency::of(samples),
            syncs_per_second: per_second(system.store.syncs().count - syncs, took),
            cpu_seconds: seconds(usage::cpu().saturating_sub(cpu)),
            peak_resident_mib: usage::peak_resident_bytes() >> 20,
        })
    }

    async fn send(self, caller: &Arc<Caller>, payments: u64) -> anyhow::Result<Vec<Duration>> {
        let (began, mut sent, mut samples) = (Instant::now(), JoinSet::new(), Vec::new());
        for number in 0..payments {
            let due = began + Duration::from_nanos(number.saturating_mul(1_000_000_000) / self.rate.max(1));
            tokio::time::sleep_until(due.into()).await;
            let caller = Arc::clone(caller);
            sent.spawn(async move { caller.create(number).await.map(|()| due.elapsed()) });
            ensure!(
                sent.len() <= IN_FLIGHT_MOST,
                "{} requests wait: the server does not keep up",
                sent.len()
            );
            while let Some(answered) = sent.try_join_next() {
                samples.push(answered??);
            }
        }
        while let Some(answered) = sent.join_next().await {
            samples.push(answered??);
        }
        Ok(samples)
    }
}

/// Who sends requests.
struct Caller {
    client: Client,
    url: String,
    key: String,
}

impl Caller {
    /// A merchant and its key, made as an operator makes them.
    async fn set_up(system: &System) -> anyhow::Result<Self> {
        let admin = system.admin_key.as_ref().context("a new directory without an admin key")?;
        let url = format!("http://{}/v1", system.address);
        let mut caller = Self { client: Client::new(), url, key: admin.0.clone() };
        let merchant = caller.post("merchants", json!({ "name": "shop" })).await?;
        let asked = json!({ "merchant": merchant.get("id"), "scopes": ["read", "write"], "mode": "live" });
        let key = caller.post("api-keys", asked).await?;
        let key = key.get("key").and_then(Value::as_str).context("an answer without the key")?;
        key.clone_into(&mut caller.key);
        Ok(caller)
    }

    async fn create(&self, number: u64) -> anyhow::Result<()> {
        let asked =
            json!({ "amount": "12.50", "asset": "usdc:31337", "reference_id": format!("ORDER_{number}") });
        self.post("payments", asked).await.map(drop)
    }

    async fn post(&self, what: &str, body: Value) -> anyhow::Result<Value> {
        let request = self.client.post(format!("{}/{what}", self.url)).bearer_auth(&self.key).json(&body);
        let response = request.send().await?;
        let status = response.status();
        let text = response.text().await?;
        if status != StatusCode::CREATED {
            bail!("POST /v1/{what} was answered {status}: {text}");
        }
        Ok(serde_json::from_str(&text)?)
    }
}

/// The defaults, without limits for the one key that sends everything, and a chain whose node nobody runs.
fn config(directory: &Directory) -> anyhow::Result<Config> {
    let nobody = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0)))?.local_addr()?;
    let chain = format!(
        "id = 31337\nrpc = [\"http://{nobody}\"]\nconfirmations = 3\n\
         tokens = [{{ asset = \"usdc:31337\", address = \"0x{}\", decimals = 6 }}]\n",
        "aa".repeat(20)
    );
    let mut config = Config::default();
    config.data.dir = directory.path().to_owned();
    config.api.listen = SocketAddr::from(([127, 0, 0, 1], 0));
    config.api.key_requests_per_second = NonZeroU32::MAX;
    config.api.key_burst = NonZeroU32::MAX;
    config.api.exempt_loopback = true;
    config.wallet.xpub = Some(TEST_XPUB.into());
    config.chain = vec![toml::from_str(&chain)?];
    Ok(config)
}
