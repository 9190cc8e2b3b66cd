//! What Streambook stands on goes away under traffic, and comes back: the node, and SQL. Meanwhile it says so, takes
//! what it can, and afterwards nothing is lost and nothing double.

use std::{path::Path, time::Duration};

use rand::{Rng, SeedableRng, rngs::StdRng};
use serde_json::Value;
use sqlx::{Connection, SqliteConnection, sqlite::SqliteConnectOptions};

use crate::{
    chain::TestChain,
    devchain::Development,
    gate::Gate,
    settings::{CONFIRMATIONS, Settings},
    streambook::Streambook,
    traffic::Traffic,
};

/// How often it goes away.
const ROUNDS: usize = 3;
/// How long a write waits for another's lock before it has failed.
const BUSY_MS: u32 = 100;
/// Payments that are asked for and acknowledged while a part is away.
const MEANWHILE: usize = 5;

/// Waits until so many payments more were acknowledged.
async fn until_more(streambook: &Streambook, traffic: &Traffic) {
    let wanted = traffic.world.payments() + MEANWHILE;
    let probe = async || match traffic.world.payments() {
        enough if enough >= wanted => Ok(()),
        few => Err(format!("{few} payments of {wanted}")),
    };
    streambook.until("payments are acknowledged", probe).await;
}

/// Waits until `/readyz` names a part, and gives what it says of it.
async fn until_named(streambook: &Streambook, part: &str) -> String {
    let is_named = |status: u16, body: &Value| status == 503 && body["not_ready"][part].is_string();
    let body = streambook.until_readiness(&format!("{part} is named"), is_named).await;
    body["not_ready"][part].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_node_goes_away_and_comes_back_under_traffic() {
    let chain = Development::start().await.unwrap();
    let gate = Gate::before(&chain.url()).await;
    gate.open();
    let streambook = Streambook::start(Settings::with_node(gate.url(), &chain.tokens().accepted)).await;
    streambook.until_ready().await;
    let mut random = StdRng::seed_from_u64(7);
    let mut traffic = Traffic::start(&streambook, chain, &mut random).await;
    for _ in 0..ROUNDS {
        until_more(&streambook, &traffic).await;
        gate.close();
        until_named(&streambook, "chain/31337").await;
        // The chain changes its mind where nobody looks, and what is asked for is acknowledged all the same.
        traffic.world.reorganise(random.random_range(1..=CONFIRMATIONS));
        until_more(&streambook, &traffic).await;
        gate.open();
        streambook.until_ready().await;
    }
    traffic.end().await;
    traffic.until_all_is_right(&streambook).await;
    streambook.stop_and_verify().await;
}

/// Another process that has locked the database and does not let go.
struct Lock(SqliteConnection);

impl Lock {
    async fn take(database: &Path) -> Self {
        let options = SqliteConnectOptions::new().filename(database).busy_timeout(Duration::from_secs(30));
        let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
        sqlx::raw_sql("BEGIN EXCLUSIVE").execute(&mut connection).await.unwrap();
        Self(connection)
    }

    async fn release(mut self) {
        sqlx::raw_sql("ROLLBACK").execute(&mut self.0).await.unwrap();
        self.0.close().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sql_goes_away_and_comes_back_under_traffic() {
    let chain = Development::start().await.unwrap();
    let mut settings = Settings::on(&chain);
    settings.toml.push_str(&format!("[sql]\nbusy_timeout_ms = {BUSY_MS}\n"));
    let streambook = Streambook::start(settings).await;
    streambook.until_ready().await;
    let mut traffic = Traffic::start(&streambook, chain, &mut StdRng::seed_from_u64(8)).await;
    for _ in 0..ROUNDS {
        until_more(&streambook, &traffic).await;
        let lock = Lock::take(&streambook.data().join("streambook.db")).await;
        let reason = until_named(&streambook, "sql").await;
        assert!(reason.contains("locked") || reason.contains("busy"), "{reason}");
        // The log decides, not SQL: commands go on.
        until_more(&streambook, &traffic).await;
        lock.release().await;
        streambook.until_ready().await;
    }
    assert!(streambook.metric("streambook_sink_retries_total").await.is_some_and(|retries| retries > 0.0));
    traffic.end().await;
    traffic.until_all_is_right(&streambook).await;
    streambook.stop_and_verify().await;
}
