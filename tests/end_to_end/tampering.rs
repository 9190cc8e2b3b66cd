//! `verify` against a hand that changes the database: one amount is enough, and it is named.

use std::path::Path;

use sqlx::{Connection, SqliteConnection, sqlite::SqliteConnectOptions};

use crate::{
    chain::TestChain,
    command::{self, Ended},
    devchain::Development,
    money::token,
    settings::CONFIRMATIONS,
    stage::Stage,
};

/// Runs statements in a database as anyone with the file could.
pub(crate) async fn change(database: &Path, statements: &[String]) {
    let options = SqliteConnectOptions::new().filename(database);
    let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
    for statement in statements {
        let done = sqlx::raw_sql(sqlx::AssertSqlSafe(statement.clone())).execute(&mut connection).await;
        done.unwrap_or_else(|error| panic!("{statement}: {error}"));
    }
    connection.close().await.unwrap();
}

#[tokio::test]
async fn verify_names_the_row_whose_amount_was_changed_by_hand() {
    let mut stage = Stage::<Development>::open().await.unwrap();
    let payment = stage.ask("12.50").await;
    stage.pay(&payment, token("12.50")).await;
    stage.chain.mine(CONFIRMATIONS).await;
    stage.until_status(&payment, "completed").await;
    stage.streambook.stop().await;
    let (data, database) = (stage.streambook.data(), stage.streambook.data().join("streambook.db"));
    command::verify_ok(&data);

    let set =
        |amount| format!("UPDATE payments SET amount_received = '{amount}' WHERE id = '{}'", payment.id);
    change(&database, &[set("12500001")]).await;
    differs(&verified(&data), &[&payment.id, "12500001", "12500000"]);
    change(&database, &[set("12500000")]).await;
    command::verify_ok(&data);

    let entry = |from, to| {
        let tampered = format!("UPDATE ledger_entries SET amount = '{to}' WHERE amount = '{from}'");
        ["DROP TRIGGER IF EXISTS ledger_entries_no_update".to_owned(), tampered]
    };
    change(&database, &entry("-12437500", "-12437501")).await;
    differs(&verified(&data), &["ledger_entries", "-12437501", "-12437500"]);
}

fn verified(data: &Path) -> Ended {
    command::run_on(data, &["verify"])
}

/// Verification has ended with 1 and says all of this.
pub(crate) fn differs(ended: &Ended, said: &[&str]) {
    assert_eq!(ended.code, Some(1), "{ended:#?}");
    assert!(ended.out.lines().last().unwrap().starts_with("verify: DIFFERENT"), "{}", ended.out);
    for part in said {
        assert!(ended.out.contains(part), "`{part}` is not in: {}", ended.out);
    }
}
