//! The whole system on PostgreSQL: the process and the database are killed in the middle of traffic, again and again; then
//! every payment is right, `verify` says ok, and the database rebuilt from the log is the same.

use std::time::Duration;

use rand::{Rng, SeedableRng, rngs::StdRng};
use serde_json::Value;

use crate::{
    chain::TestChain,
    command,
    devchain::Development,
    parts,
    postgres::{self, Server},
    settings::Settings,
    streambook::Streambook,
    traffic::Traffic,
};

/// How often something is killed.
const ROUNDS: usize = 6;
/// Tables and what of each must be the same after a rebuild.
const SUMS: &str = "SELECT (SELECT count(*) FROM payments), (SELECT sum(version) FROM payments), \
                    (SELECT count(*) FROM payment_events), (SELECT count(*) FROM ledger_transactions), \
                    (SELECT string_agg(md5(e::text), '' ORDER BY position, line) FROM ledger_entries e), \
                    (SELECT string_agg(md5(p::text), '' ORDER BY id) FROM payments p), \
                    (SELECT string_agg(md5(t::text), '' ORDER BY payment, block_hash, log_index) FROM transfers t), \
                    (SELECT string_agg(md5(b::text), '' ORDER BY account, asset) FROM balances b), \
                    (SELECT count(*) FROM webhook_attempts)";

/// A server of a test's own; none where PostgreSQL is missing.
pub(crate) fn server() -> Option<Server> {
    let Some(programs) = postgres::programs() else {
        let part = "PostgreSQL's server, got by tests/setup/install (or named by STREAMBOOK_POSTGRES)";
        parts::missing(part, "looked in /usr/lib/postgresql");
        return None;
    };
    // Not below the build: another user than this one's must be able to enter it.
    Some(Server::start(&programs, &std::env::temp_dir().join("streambook-tests"), &[]))
}

fn verified(streambook: &Streambook, url: &str) {
    let mut verify = streambook.command("verify");
    let ended = command::ends(verify.env("STREAMBOOK_SQL__URL", url));
    let last = ended.out.lines().last().unwrap_or_default();
    assert!(ended.code == Some(0) && last.starts_with("verify: ok"), "verify: {ended:#?}");
    assert!(!ended.out.contains("SQL has not taken"), "verify: {ended:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_postgresql_killed_with_it_and_without_it_loses_and_doubles_nothing() {
    let Some(mut server) = server() else { return };
    let seed =
        std::env::var("STREAMBOOK_KILL_SEED").map_or_else(|_| rand::random(), |seed| seed.parse().unwrap());
    eprintln!("kill with PostgreSQL: STREAMBOOK_KILL_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let url = server.database("books");
    let chain = Development::start().await.unwrap();
    let mut settings = Settings::on(&chain);
    settings.toml.push_str(&format!("[sql]\nurl = \"{url}\"\n"));
    let mut streambook = Streambook::start(settings).await;
    streambook.until_ready().await;
    let mut traffic = Traffic::start(&streambook, chain, &mut random).await;
    for round in 0..ROUNDS {
        tokio::time::sleep(Duration::from_millis(random.random_range(400..1_500))).await;
        // The database alone, the process alone, and both.
        if round % 3 != 1 {
            server.kill();
        }
        if round % 3 != 0 {
            streambook.kill();
        }
        tokio::time::sleep(Duration::from_millis(random.random_range(0..500))).await;
        if round % 3 != 1 {
            server.start_again();
        }
        if round % 3 != 0 {
            streambook.start_again().await;
        }
    }
    traffic.end().await;
    eprintln!("kill with PostgreSQL: {} payments over {ROUNDS} kills", traffic.world.payments());
    streambook.until_ready().await;
    traffic.until_all_is_right(&streambook).await;
    streambook.stop().await;
    catch_up(&mut streambook).await;
    verified(&streambook, &url);

    let again = server.database("books_again");
    let mut replay = streambook.command("replay sql");
    let ended = command::ends(replay.args(["--into", &again]));
    assert_eq!(ended.code, Some(0), "replay sql: {ended:#?}");
    assert_eq!(server.sql("books", SUMS), server.sql("books_again", SUMS), "the rebuilt database");
    verified(&streambook, &again);
    let refused = command::ends(streambook.command("replay sql").args(["--into", &again]));
    assert!(refused.code == Some(1) && refused.err.contains("is not empty"), "{refused:#?}");
}

/// Lets the sink take what was written while everything was told to stop.
async fn catch_up(streambook: &mut Streambook) {
    streambook.start_again().await;
    streambook.until_ready().await;
    let caught = async || {
        let behind = streambook.metric("streambook_sink_lag_records").await;
        if behind == Some(0.0) { Ok(()) } else { Err(format!("records behind: {behind:?}")) }
    };
    streambook.until("the sinks have taken everything", caught).await;
    streambook.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqlite_is_rebuilt_from_the_log_and_the_old_file_is_kept() {
    let chain = Development::start().await.unwrap();
    let mut random = StdRng::seed_from_u64(7);
    let mut streambook = Streambook::start(Settings::on(&chain)).await;
    streambook.until_ready().await;
    let mut traffic = Traffic::start(&streambook, chain, &mut random).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    traffic.end().await;
    traffic.until_all_is_right(&streambook).await;
    streambook.stop().await;
    let ended = command::ends(streambook.command("replay sql").args(["--json"]));
    assert_eq!(ended.code, Some(0), "replay sql: {ended:#?}");
    assert!(streambook.data().join("streambook.db.before").is_file());
    assert!(!streambook.data().join("streambook.db.rebuilt").exists());
    streambook.start_again().await;
    streambook.until_ready().await;
    traffic.until_all_is_right(&streambook).await;
    streambook.stop_and_verify().await;
}

#[test]
fn the_address_of_a_database_shows_no_password() {
    for form in [&["config", "print"][..], &["config", "print", "--json"]] {
        let mut command = command::streambook();
        command.env("STREAMBOOK_SQL__URL", "postgres://app:s3cret@127.0.0.1:1/books").args(form);
        let ended = command::ends(&mut command);
        assert!(
            ended.code == Some(0) && ended.out.contains("postgres://app:***@127.0.0.1:1/books"),
            "{ended:#?}"
        );
        assert!(!ended.out.contains("s3cret"), "{ended:#?}");
    }
}

/// PostgreSQL is away when the process starts for the first time: it starts, says so wherever one looks, takes commands, and
/// makes its schema and goes on as soon as the database is there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn started_while_postgresql_is_away_it_says_so_and_goes_on_when_it_is_there() {
    let Some(mut server) = server() else { return };
    let url = server.database("books").replace("streambook@", "streambook:s3cret@");
    server.kill();
    let chain = Development::start().await.unwrap();
    let mut settings = Settings::on(&chain);
    settings.toml.push_str(&format!("[sql]\nurl = \"{url}\"\n"));
    let mut streambook = Streambook::start(settings).await;
    let is_named = |status: u16, body: &Value| {
        let reason = body["not_ready"]["sql"].as_str().unwrap_or_default();
        status == 503 && reason.contains("cannot be opened") && reason.contains("refused")
    };
    streambook.until_readiness("the database that is away is named", is_named).await;
    let said = std::fs::read_to_string(streambook.file("log.jsonl")).unwrap();
    assert!(said.lines().any(|line| line.starts_with("warning: the database ")), "{said}");
    assert!(!said.contains("s3cret"), "{said}");
    let mut traffic = Traffic::start(&streambook, chain, &mut StdRng::seed_from_u64(10)).await;
    let acknowledged = async || match traffic.world.payments() {
        0 => Err("no payment".to_owned()),
        _ => Ok(()),
    };
    streambook.until("payments are acknowledged without SQL", acknowledged).await;
    let api = &traffic.world.shop().api;
    let read = api.send(api.request(reqwest::Method::GET, "/v1/payments")).await;
    assert_eq!((read.status, read.header("content-type")), (503, Some("application/problem+json")));
    assert_eq!(read.body["code"], "storage_unavailable");
    server.start_again();
    streambook.until_ready().await;
    traffic.end().await;
    traffic.until_all_is_right(&streambook).await;
    streambook.stop().await;
    catch_up(&mut streambook).await;
    verified(&streambook, &url);
}
