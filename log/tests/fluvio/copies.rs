//! What the servers have of a partition, compared byte by byte.

use std::{fs, path::Path, time::Duration};

use streambook_fluvio_cluster::number_of;

use crate::world::{THERE, World, within};

/// Waits until both servers have the same of each partition, nothing being appended any more.
pub(crate) async fn are_the_same(world: &World, partitions: u16) {
    for partition in 0..partitions {
        let copy = |server| {
            let logs = world.cluster.data(server).join(format!("spu-logs-{}", number_of(server)));
            segments(&logs.join(format!("{THERE}-{partition}")))
        };
        within(&format!("the copies of partition {partition} are the same"), async {
            while copy(0) != copy(1) {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        })
        .await;
        assert!(!copy(0).is_empty(), "partition {partition} has something");
    }
}

/// All that is in the segments, in order. Where one ends and the next begins may differ between servers.
fn segments(folder: &Path) -> Vec<u8> {
    let mut paths: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "log"));
    paths.sort();
    paths.iter().flat_map(|path| fs::read(path).unwrap()).collect()
}
