//! A long partition, read completely: by one who comes late, and from the copy that another server has.

use bytes::Bytes;
use streambook_log::{Log, NewRecord, Offset, Visibility};

use crate::world::{World, at, read_all, within};

const RECORDS: u64 = 300_000;
const BYTES: usize = 300;

/// Different for each number, and not to be compressed away.
fn value(number: u64) -> Bytes {
    let mut value = number.to_be_bytes().to_vec();
    value.resize(BYTES, u8::try_from(number % 251).unwrap());
    value.into()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backlog_is_read_whole_and_in_order_also_from_the_other_copy() {
    let Some(mut world) = World::new().await else { return };
    let log = world.with_topic(1).await;
    for from in (0..RECORDS).step_by(5_000) {
        let records = (from..from + 5_000).map(|number| NewRecord::new("", value(number))).collect();
        let appended = within("an append", log.append(&at(0), records)).await.unwrap();
        assert_eq!(appended.base, Offset(from));
    }
    check(&world).await;
    // The other server leads now: what it has is what the first one told it.
    let leader = world.cluster.leader(crate::world::THERE, 0).await;
    world.cluster.kill(leader);
    within("another leader is chosen", async {
        while world.cluster.leader(crate::world::THERE, 0).await == leader {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    })
    .await;
    check(&world).await;
}

async fn check(world: &World) {
    let mut options = world.options();
    // One of the two servers may be down.
    options.replication = 1;
    let log = streambook_log::fluvio::FluvioLog::connect(options).await.unwrap();
    let bounds = within("the bounds", log.bounds(&at(0), Visibility::Synced)).await.unwrap();
    assert_eq!((bounds.first, bounds.end), (Offset(0), Offset(RECORDS)));
    let records = read_all(&log, 0).await.unwrap();
    assert_eq!(u64::try_from(records.len()).unwrap(), RECORDS);
    let wrong = records.iter().zip(0..).find(|(record, number)| record.value != value(*number));
    assert!(wrong.is_none(), "{wrong:?}");
}
