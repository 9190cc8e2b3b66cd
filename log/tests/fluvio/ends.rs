//! Where a partition ends, as another process asks; and servers that are made known.

use std::{sync::Arc, time::Duration};

use streambook_fluvio_cluster::Reached;
use streambook_log::{
    Log, LogError, Offset, Visibility,
    fluvio::{FluvioOptions, Server, register},
};

use super::world::{World, append, at, within};

/// Appends that are looked for: a stale end would show in the first.
const APPENDS: u64 = 20;

#[tokio::test(flavor = "multi_thread")]
async fn an_end_is_no_older_than_the_question() {
    for copies in [1, 2] {
        let Some(world) = World::with(2, copies, Reached::Directly).await else { return };
        let (writer, reader) = (world.with_topic(1).await, world.log().await);
        append(&writer, 0, &["first"]).await;
        // It follows the partition, and so is told where that ends every second.
        let (follows, there) = (Arc::clone(&reader), at(0));
        let following =
            tokio::spawn(async move { follows.wait(&there, Offset(1_000), Visibility::Synced).await });
        tokio::time::sleep(Duration::from_millis(50)).await;
        for number in 1..=APPENDS {
            append(&writer, 0, &["more"]).await;
            let end = within("the end", reader.bounds(&at(0), Visibility::Synced)).await.unwrap().end;
            assert_eq!(end, Offset(number + 1), "with {copies} copies");
        }
        let lately = within("the end", reader.bounds_lately(&at(0), Visibility::Synced)).await.unwrap().end;
        assert!((Offset(1)..=Offset(APPENDS + 1)).contains(&lately), "{lately}");
        following.abort();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_is_made_known_once_and_its_number_is_nobody_elses() {
    let Some(world) = World::with(1, 1, Reached::Directly).await else { return };
    let options = || FluvioOptions::new(world.cluster.endpoint());
    let server = |port: u16| Server {
        id: 6001,
        public: ("127.0.0.1".to_owned(), port),
        private: ("127.0.0.1".to_owned(), port + 1),
    };
    assert!(within("it is made known", register(options(), &server(19_110))).await.unwrap());
    assert!(!within("it is known", register(options(), &server(19_110))).await.unwrap());
    let other = within("another is refused", register(options(), &server(19_210))).await;
    assert!(matches!(&other, Err(LogError::Refused { .. })), "{other:?}");
    let nobody = FluvioOptions { patience: Duration::from_millis(200), ..FluvioOptions::new("127.0.0.1:1") };
    let nobody = within("nobody answers", register(nobody, &server(19_110))).await;
    assert!(matches!(&nobody, Err(LogError::Unreachable { .. })), "{nobody:?}");
}
