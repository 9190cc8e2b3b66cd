//! Clusters and topics that would lose data, and others that are not this program's, are refused with what to do.

use std::time::Duration;

use fluvio::metadata::topic::TopicSpec as Settings;
use streambook_fluvio_cluster::Reached;
use streambook_log::{
    Log, LogError,
    fluvio::{FluvioLog, FluvioOptions},
};

use crate::world::{THERE, World, append, spec, within};

/// Soon, for what will not change.
const SOON: Duration = Duration::from_secs(2);

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_with_the_servers_settings_is_refused_by_the_setting() {
    let Some(world) = World::with(1, 1, Reached::Directly).await else { return };
    world.cluster.make_topic(THERE, Settings::new_computed(2, 1, None)).await;
    let log = world.log().await;
    let refused = log.ensure_topic(&spec(2)).await;
    let expected = "topic `book.inbox` would lose records: its segment size is the server's default and must be at most 16777216 bytes";
    assert_eq!(refused.unwrap_err().to_string(), expected);
    let other = log.ensure_topic(&spec(3)).await;
    assert!(matches!(other, Err(LogError::PartitionCount { has: 2, asked: 3, .. })), "{other:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn fewer_copies_than_asked_for_are_refused() {
    let Some(world) = World::with(2, 1, Reached::Directly).await else { return };
    world.with_topic(1).await;
    let two = FluvioLog::connect(FluvioOptions { replication: 2, ..world.options() }).await.unwrap();
    let refused = two.ensure_topic(&spec(1)).await;
    assert!(
        matches!(refused, Err(LogError::TopicSettings { setting: "replication factor", .. })),
        "{refused:?}"
    );
    let three = FluvioLog::connect(FluvioOptions { replication: 3, patience: SOON, ..world.options() }).await;
    assert!(matches!(three.map(drop), Err(LogError::TooFewServers { online: 2, needed: 3 })));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_was_never_finished_is_refused_with_the_remedy_and_left_out_of_lists() {
    let Some(world) = World::new().await else { return };
    let log = world.with_topic(1).await;
    let settings = {
        // As this program makes it, without what it writes next.
        use fluvio::metadata::topic::{
            CleanupPolicy, CompressionAlgorithm, SegmentBasedPolicy, TopicStorageConfig,
        };
        let mut settings = Settings::new_computed(1, 2, None);
        let age = SegmentBasedPolicy { time_in_seconds: u32::MAX };
        settings.set_cleanup_policy(CleanupPolicy::Segment(age));
        settings.set_storage(TopicStorageConfig {
            segment_size: Some(16 << 20),
            max_partition_size: Some(u64::MAX),
        });
        settings.set_compression_type(CompressionAlgorithm::None);
        settings
    };
    world.cluster.make_topic("chain-inbox", settings).await;
    let hasty = FluvioLog::connect(FluvioOptions { patience: SOON, ..world.options() }).await.unwrap();
    let mut unfinished = spec(1);
    unfinished.name = streambook_log::TopicName::new("chain.inbox").unwrap();
    let refused = hasty.ensure_topic(&unfinished).await;
    assert!(matches!(refused, Err(LogError::UnfinishedTopic(_))), "{refused:?}");
    let listed = within("the topics", log.topics()).await.unwrap();
    assert_eq!(listed.iter().map(|topic| topic.name.as_str()).collect::<Vec<_>>(), ["book.inbox"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_who_make_a_topic_at_once_have_the_same_one() {
    let Some(world) = World::new().await else { return };
    let mut makers = tokio::task::JoinSet::new();
    for _ in 0..6 {
        let log = world.log().await;
        makers.spawn(async move { log.ensure_topic(&spec(3)).await.unwrap() });
    }
    let topics = within("everybody has it", makers.join_all()).await;
    assert!(topics.iter().all(|topic| *topic == topics[0]), "{topics:?}");
    let log = world.log().await;
    append(&log, 2, &["works"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_where_nobody_answers_is_said_in_time() {
    let unused = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let options = FluvioOptions { patience: SOON, ..FluvioOptions::new(unused.to_string()) };
    let refused = within("it gives up", FluvioLog::connect(options)).await;
    let Err(LogError::Unreachable { endpoint, .. }) = refused.map(drop) else { panic!("it connected") };
    assert_eq!(endpoint, unused.to_string());
    // And where a connection is accepted and nothing said.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let options =
        FluvioOptions { patience: SOON, ..FluvioOptions::new(silent.local_addr().unwrap().to_string()) };
    let refused = within("it gives up", FluvioLog::connect(options)).await;
    assert!(matches!(refused.map(drop), Err(LogError::Unreachable { .. })));
}
