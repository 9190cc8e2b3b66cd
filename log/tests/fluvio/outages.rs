//! Parts of the cluster that end, stand still, or are cut off, while records are appended and read.

use std::time::Duration;

use streambook_fluvio_cluster::{Reached, number_of};
use streambook_log::{
    Log, LogError, Offset, ReadLimit, Visibility,
    fluvio::{FluvioOptions, rejoin},
};

use crate::{
    copies,
    load::Load,
    world::{World, append, at, read_all, within},
};

const PARTITIONS: u16 = 3;
/// Records that each partition moves on by before and after something happens.
const SOME: u64 = 200;

#[tokio::test(flavor = "multi_thread")]
async fn each_server_is_killed_in_turn_and_nothing_is_lost_and_the_copies_are_the_same() {
    let Some(mut world) = World::new().await else { return };
    world.with_topic(PARTITIONS).await;
    let load = Load::start(&world, PARTITIONS).await;
    for round in 0..rounds() {
        load.advance(SOME).await;
        let server = round % 2;
        world.cluster.kill(server);
        // Back at once, and after others have noticed.
        tokio::time::sleep(Duration::from_millis(if round % 3 == 0 { 0 } else { 2_000 })).await;
        let rejoined = world.cluster.rejoin(server).await;
        println!("round {round}: {rejoined:?}");
        load.advance(SOME).await;
    }
    load.check(&world).await;
    copies::are_the_same(&world, PARTITIONS).await;
}

/// How often a server is killed: `ROUNDS`, or six times.
fn rounds() -> usize {
    std::env::var("ROUNDS").ok().map_or(6, |rounds| rounds.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_runs_or_is_nobodys_is_not_brought_in_step() {
    let Some(world) = World::new().await else { return };
    is_refused(&world, number_of(0), "stop it first").await;
    is_refused(&world, 6001, "the cluster does not know it").await;
}

async fn is_refused(world: &World, server: i32, why: &str) {
    let options = FluvioOptions { patience: Duration::from_millis(200), ..world.options() };
    let refused = within("an answer", rejoin(options, server, &world.cluster.data(0))).await;
    let Err(LogError::Refused { source, .. }) = &refused else { panic!("{refused:?}") };
    assert!(source.to_string().contains(why), "{source}");
}

#[tokio::test(flavor = "multi_thread")]
async fn with_one_copy_each_server_is_killed_in_turn_and_comes_back_without_help() {
    let Some(mut world) = World::with(2, 1, Reached::Directly).await else { return };
    world.with_topic(PARTITIONS).await;
    let load = Load::start(&world, PARTITIONS).await;
    for server in [0, 1, 0, 1] {
        load.advance(SOME).await;
        world.cluster.kill(server);
        tokio::time::sleep(Duration::from_millis(if server == 0 { 100 } else { 2_000 })).await;
        world.cluster.start_again(server);
        load.advance(SOME).await;
    }
    load.check(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stands_still_is_waited_for_and_nothing_is_lost() {
    let Some(world) = World::new().await else { return };
    world.with_topic(PARTITIONS).await;
    let load = Load::start(&world, PARTITIONS).await;
    for server in [0, 1] {
        load.advance(SOME).await;
        world.cluster.freeze(server);
        tokio::time::sleep(Duration::from_secs(12)).await;
        world.cluster.thaw(server);
        load.advance(SOME).await;
    }
    load.check(&world).await;
}

/// The controller gives a server up that says nothing for 90 seconds, and chooses other leaders. When the server goes on, it
/// has what nobody acknowledged, and was never stopped.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stood_still_until_it_was_given_up_rejoins_as_the_troubles_say() {
    let Some(mut world) = World::new().await else { return };
    world.with_topic(PARTITIONS).await;
    let load = Load::start(&world, PARTITIONS).await;
    load.advance(SOME).await;
    world.cluster.freeze(0);
    world.cluster.until_online(1).await;
    // It has not ended, so nobody may touch its copies.
    is_refused(&world, number_of(0), "stop it first").await;
    world.cluster.thaw(0);
    let rejoined = load.advance_with_remedy(&mut world, SOME).await;
    println!("a server had to rejoin {rejoined} times");
    load.check(&world).await;
    copies::are_the_same(&world, PARTITIONS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn appends_and_reads_go_on_without_the_controller() {
    let Some(mut world) = World::new().await else { return };
    world.with_topic(PARTITIONS).await;
    let load = Load::start(&world, PARTITIONS).await;
    load.advance(SOME).await;
    world.cluster.kill_controller();
    load.advance(SOME).await;
    world.cluster.start_controller_again();
    world.cluster.until_online(2).await;
    world.cluster.kill(0);
    world.cluster.rejoin(0).await;
    load.advance(SOME).await;
    load.check(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_are_cut_are_made_again() {
    let Some(world) = World::with(2, 2, Reached::ThroughProxies).await else { return };
    world.with_topic(PARTITIONS).await;
    let load = Load::start(&world, PARTITIONS).await;
    for _ in 0..10 {
        load.advance(SOME / 10).await;
        let cut: usize = (0..2).map(|server| world.cluster.proxy(server).cut()).sum();
        assert!(cut > 0, "there were connections to cut");
    }
    load.advance(SOME).await;
    load.check(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_copy_acknowledged_is_shown_again_after_a_crash_without_another_append() {
    let Some(mut world) = World::with(1, 1, Reached::Directly).await else { return };
    let log = world.with_topic(1).await;
    for number in 0..200 {
        append(&log, 0, &[&number.to_string()]).await;
    }
    let before = read_all(&log, 0).await.unwrap();
    world.cluster.kill(0);
    world.cluster.start_again(0);
    let fresh = world.log().await;
    assert_eq!(read_all(&fresh, 0).await.unwrap(), before);
    assert_eq!(read_all(&log, 0).await.unwrap(), before);
    assert_eq!(append(&log, 0, &["next"]).await, Offset(200));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_waits_through_the_end_of_all_servers_is_woken_by_the_next_append() {
    let Some(mut world) = World::new().await else { return };
    let log = world.with_topic(1).await;
    append(&log, 0, &["before"]).await;
    let waits = world.log().await;
    let waiting = tokio::spawn(async move {
        waits.wait(&at(0), Offset(1), Visibility::Synced).await.unwrap();
        waits.read(&at(0), Offset(1), ReadLimit::default(), Visibility::Synced).await.unwrap()
    });
    for server in 0..2 {
        world.cluster.kill(server);
    }
    let appending = tokio::spawn(async move { append(&log, 0, &["after"]).await });
    for server in 0..2 {
        world.cluster.start_again(server);
    }
    assert_eq!(within("the append", appending).await.unwrap(), Offset(1));
    let read = within("the reader", waiting).await.unwrap();
    assert_eq!(read.first().unwrap().value.as_ref(), b"after");
    let fresh = world.log().await;
    let all = read_all(&fresh, 0).await.unwrap();
    assert_eq!(all.first().unwrap().value.as_ref(), b"before");
}

#[tokio::test(flavor = "multi_thread")]
async fn trouble_is_said_while_it_lasts() {
    let Some(mut world) = World::new().await else { return };
    let log = world.with_topic(1).await;
    append(&log, 0, &["before"]).await;
    assert_eq!(log.troubles().len(), 0);
    for server in 0..2 {
        world.cluster.kill(server);
    }
    let appending = {
        let log = std::sync::Arc::clone(&log);
        tokio::spawn(async move { append(&log, 0, &["after"]).await })
    };
    within("trouble is said", async {
        while !log
            .troubles()
            .iter()
            .any(|trouble| trouble.what == "append to book.inbox/0" && trouble.attempts > 1)
        {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    for server in 0..2 {
        world.cluster.start_again(server);
    }
    within("the append", appending).await.unwrap();
    assert!(log.troubles().iter().all(|trouble| !trouble.what.starts_with("append")), "{:?}", log.troubles());
}
