//! `verify` on real directories: real processors on the real log, the real SQL sink; healthy ones, and ones that somebody
//! has tampered with.

mod books;
mod cluster;
mod live;
mod log;
mod postgres;
mod shared;
mod sql;
mod world;

use streambook_sinks::sql::SqlConfig;

use super::{
    progress::Silent,
    report::{Difference, Outcome, Report, VerifyFailure},
};

use self::world::World;

/// Verifies a directory.
async fn verified(world: &World) -> Report {
    let (log, database) = (world.open(), SqlConfig::at(&world.database()));
    super::verify(log, &world::processors(), Some(&database), &mut Silent).await.unwrap()
}

/// The first difference, which must be there, and the exit code for it.
async fn difference(world: &World) -> Difference {
    let report = verified(world).await;
    assert_eq!(report.outcome(), Outcome::Differs, "{report:#?}");
    assert_eq!(report.outcome().exit_code(), 1);
    report.first_difference.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_healthy_directory_is_right_and_everything_in_it_was_checked() {
    let world = World::new().await;
    let report = verified(&world).await;
    assert_eq!(report.outcome(), Outcome::Ok, "{report:#?}");
    assert_eq!(report.outcome().exit_code(), 0);
    let counts = report.counts;
    assert_eq!(
        (counts.tasks, counts.payments, counts.books),
        (49, world::PAYMENTS, world::MERCHANTS),
        "{counts:?}"
    );
    // Each charge is received and applied, one in five has Stripe's fee, one in four is refunded in part.
    assert!(
        counts.transactions >= 2 * world::PAYMENTS && counts.entries >= 2 * counts.transactions,
        "{counts:?}"
    );
    let least = counts.transactions + counts.entries + 2 * counts.payments;
    assert!(
        counts.sql_rows > least && counts.outputs > counts.payments && counts.state_keys > 0,
        "{counts:?}"
    );
    assert!(counts.records > counts.replayed && counts.lineage_chains > 40, "{counts:?}");
    assert!(report.notes.is_empty() && report.unverified.is_empty(), "{report:#?}");
    assert!(super::present::text(&report).lines().last().unwrap().starts_with("verify: ok ("));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_look_at_the_same_directory_says_the_same() {
    let world = World::new().await;
    let (first, second) = (verified(&world).await, verified(&world).await);
    assert_eq!(first.counts, second.counts);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_in_use_is_no_difference() {
    let world = World::new().await;
    let _other = world.open();
    let error = world.verify_closed().await.unwrap_err();
    let text = streambook_runtime::step::chain_of(&error);
    assert!(matches!(error, VerifyFailure::Open(_)) && text.contains("in use by another process"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_does_not_exist_is_not_made() {
    let nowhere = tempfile::tempdir().unwrap().path().join("nowhere");
    let options = streambook_log::embedded::EmbeddedOptions::new(&nowhere);
    let error = super::verify_directory(options, &world::processors(), None, &mut Silent).await.unwrap_err();
    assert!(matches!(error, VerifyFailure::NoLog(_)) && !nowhere.exists());
}
