//! `verify` beside a running process: the same command, the same answers, and the process goes on.

use rand::{SeedableRng, rngs::StdRng};
use serde_json::Value;

use crate::{
    chain::TestChain,
    command::Ended,
    devchain::Development,
    money::token,
    settings::{CONFIRMATIONS, Settings},
    stage::Stage,
    streambook::Streambook,
    tampering::{self, change},
    traffic::Traffic,
};

/// Payments before it is verified for the first time.
const PAYMENTS: usize = 20;
/// Verifications under traffic.
const ROUNDS: usize = 2;

fn is_ok(ended: &Ended) {
    let last = ended.out.lines().last().unwrap_or_default();
    assert!(ended.code == Some(0) && last.starts_with("verify: ok"), "{ended:#?}");
}

async fn until_payments(streambook: &Streambook, traffic: &Traffic, wanted: usize) {
    let probe = async || match traffic.world.payments() {
        enough if enough >= wanted => Ok(()),
        few => Err(format!("{few} payments")),
    };
    streambook.until("there is traffic", probe).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn beside_a_process_under_traffic_it_says_ok_and_offline_afterwards_too() {
    let chain = Development::start().await.unwrap();
    let streambook = Streambook::start(Settings::on(&chain)).await;
    streambook.until_ready().await;
    let mut traffic = Traffic::start_with(1, &streambook, chain, &mut StdRng::seed_from_u64(1)).await;
    until_payments(&streambook, &traffic, PAYMENTS).await;
    for _ in 0..ROUNDS {
        let before = traffic.world.payments();
        is_ok(&streambook.verify_beside(&[]).await);
        until_payments(&streambook, &traffic, before + 1).await;
    }
    let ended = streambook.verify_beside(&["--json"]).await;
    let report: Value = serde_json::from_str(&ended.out).unwrap();
    assert_eq!((ended.code, &report["first_difference"]), (Some(0), &Value::Null), "{ended:#?}");
    let counts = &report["counts"];
    for count in
        ["records", "outputs", "state_keys", "books", "transactions", "entries", "payments", "sql_rows"]
    {
        assert!(counts[count].as_u64().unwrap() > 0, "{count}: {report}");
    }
    assert!(counts["payments"].as_u64().unwrap() >= u64::try_from(PAYMENTS).unwrap(), "{report}");
    traffic.end().await;
    streambook.until_ready().await;
    traffic.until_all_is_right(&streambook).await;
    check_run_time(&streambook).await;
    streambook.stop_and_verify().await;
}

/// The books have checked their invariants all the while, and none was broken.
async fn check_run_time(streambook: &Streambook) {
    let checks = streambook.metric("streambook_invariant_checks_total").await;
    assert!(checks.is_some_and(|checks| checks > 1_000.0), "{checks:?}");
    assert_eq!(streambook.metric("streambook_invariant_violations_total").await, Some(0.0));
    let metrics = streambook.metrics().await;
    for invariant in ["sum_zero", "hash_chain_links", "money_is_posted_or_explained", "key_gives_the_same"] {
        let line = format!("streambook_invariant_checks_total{{invariant=\"{invariant}\"}}");
        assert!(metrics.contains(&line), "{line}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_that_is_changed_under_a_running_process_is_found_by_asking_it() {
    let mut stage = Stage::<Development>::open().await.unwrap();
    let payment = stage.ask("12.50").await;
    stage.pay(&payment, token("12.50")).await;
    stage.chain.mine(CONFIRMATIONS).await;
    stage.until_status(&payment, "completed").await;
    is_ok(&stage.streambook.verify_beside(&[]).await);

    let database = stage.streambook.data().join("streambook.db");
    let set =
        |amount| format!("UPDATE payments SET amount_received = '{amount}' WHERE id = '{}'", payment.id);
    change(&database, &[set("12500001")]).await;
    let ended = stage.streambook.verify_beside(&[]).await;
    tampering::differs(&ended, &[&payment.id, "12500001", "12500000", "sql_is_the_log"]);
    change(&database, &[set("12500000")]).await;
    is_ok(&stage.streambook.verify_beside(&[]).await);

    let deleted = [
        "DROP TRIGGER IF EXISTS ledger_entries_no_delete".to_owned(),
        "DELETE FROM ledger_entries WHERE position = (SELECT min(position) FROM ledger_entries) AND line = 1"
            .to_owned(),
    ];
    change(&database, &deleted).await;
    tampering::differs(&stage.streambook.verify_beside(&[]).await, &["ledger_entries", "missing"]);
    // The process does not mind being looked at.
    stage.streambook.until_ready().await;
    stage.streambook.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_socket_is_its_owners_alone_and_goes_with_the_process() {
    use std::os::unix::fs::PermissionsExt;
    let mut streambook = Streambook::start(Settings::without_chain()).await;
    let socket = streambook.data().join("control.sock");
    assert_eq!(std::fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o600);
    // What a killed process leaves is in nobody's way.
    streambook.kill();
    assert!(socket.exists());
    streambook.start_again().await;
    streambook.until_ready().await;
    is_ok(&streambook.verify_beside(&[]).await);
    streambook.stop().await;
    assert!(!socket.exists());
}
