//! The embedded log in a process of its own that is killed under load or runs out of disk.
//!
//! This program is both sides: without arguments it runs the tests; with them it is the process that is killed. What the
//! victim acknowledges it prints, and what it printed must be there when the log is opened again.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test without the usual harness"
)]

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use streambook_log::embedded::{Commit, EmbeddedLog, EmbeddedOptions, StateWrite};
use streambook_log::{
    Log, LogError, NewRecord, Offset, Partition, ReadLimit, Retention, TopicName, TopicPartition, TopicSpec,
    Visibility,
};

const PARTITIONS: u16 = 4;
const MIB: u64 = 1 << 20;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [_, "victim-load", path] => victim_load(Path::new(path)),
        [_, "victim-fill", path] => victim_fill(Path::new(path)),
        [_, "victim-mount", path] => victim_mount(Path::new(path)),
        [_, "--list", ..] => {}
        _ => tests(),
    }
}

fn tests() {
    for (name, test) in [
        ("a_killed_process_loses_nothing_acknowledged", killed as fn()),
        ("a_file_that_cannot_grow_stops_the_log_and_it_opens_again", cannot_grow),
        ("a_full_disk_stops_the_log_and_it_opens_again", full_disk),
    ] {
        println!("test {name} ...");
        test();
        println!("test {name} ... ok");
    }
}

fn killed() {
    let dir = tempfile::tempdir().unwrap();
    for round in 1..=4_usize {
        let mut child = spawn(Command::new(me()).arg("victim-load").arg(dir.path()));
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut acknowledged: Vec<String> = lines.by_ref().take(200 * round).map(Result::unwrap).collect();
        child.kill().unwrap();
        child.wait().unwrap();
        // What it managed to print before it died counts too; the last line may be torn.
        acknowledged.extend(lines.map_while(Result::ok).filter(|line| line.ends_with('.')));
        assert!(acknowledged.len() >= 200 * round, "the victim died early");
        check(dir.path(), &acknowledged);
    }
}

/// Four tasks commit one record to each of two partitions and count them in the state, and print what is synced.
fn victim_load(path: &Path) {
    runtime().block_on(async {
        let log = EmbeddedLog::open(EmbeddedOptions::new(path)).unwrap();
        log.ensure_topic(&spec()).await.unwrap();
        let tasks: Vec<_> =
            (0..PARTITIONS).map(|number| tokio::spawn(load(Arc::clone(&log), number))).collect();
        for task in tasks {
            task.await.unwrap();
        }
    });
}

async fn load(log: Arc<EmbeddedLog>, number: u16) {
    let state = log.state(&format!("task{number}")).unwrap();
    let neighbour = (number + 1) % PARTITIONS;
    loop {
        let count =
            state.get(b"count").unwrap().map_or(0, |bytes| u64::from_be_bytes(bytes[..].try_into().unwrap()))
                + 1;
        let record = NewRecord::new(format!("{number}"), format!("{count}"));
        let value = Some(count.to_be_bytes().to_vec().into());
        let commit = Commit {
            writes: vec![StateWrite { state: state.clone(), key: "count".into(), value }],
            appends: vec![(at(number), vec![record.clone()]), (at(neighbour), vec![record])],
        };
        let committed = log.commit(&commit).unwrap();
        log.synced_to(committed.position).await.unwrap();
        let line = format!("{number} {count} {} {}.\n", committed.bases[0], committed.bases[1]);
        std::io::stdout().lock().write_all(line.as_bytes()).unwrap();
    }
}

/// Everything acknowledged is there at its offset, every task's records are complete in both partitions up to its count,
/// and the state says the same count.
fn check(path: &Path, acknowledged: &[String]) {
    let log = EmbeddedLog::open(EmbeddedOptions::new(path)).unwrap();
    let partitions: Vec<Vec<(String, u64)>> =
        (0..PARTITIONS).map(|partition| read_all(&log, partition)).collect();
    for number in 0..PARTITIONS {
        let (neighbour, task) = ((number + 1) % PARTITIONS, number.to_string());
        let of_task = |partition: u16| -> Vec<u64> {
            let records = &partitions[usize::from(partition)];
            records.iter().filter(|(key, _)| *key == task).map(|(_, count)| *count).collect()
        };
        let state = log.state(&format!("task{number}")).unwrap().get(b"count").unwrap().unwrap();
        let count = u64::from_be_bytes(state[..].try_into().unwrap());
        let expected: Vec<u64> = (1..=count).collect();
        assert_eq!(of_task(number), expected);
        assert_eq!(of_task(neighbour), expected);
    }
    for line in acknowledged {
        let fields: Vec<u64> =
            line.trim_end_matches('.').split(' ').map(|field| field.parse().unwrap()).collect();
        let &[number, count, own, neighbours] = fields.as_slice() else { panic!("{line}") };
        let task = usize::try_from(number).unwrap();
        let expected = (number.to_string(), count);
        assert_eq!(partitions[task][usize::try_from(own).unwrap()], expected);
        let neighbour = (task + 1) % usize::from(PARTITIONS);
        assert_eq!(partitions[neighbour][usize::try_from(neighbours).unwrap()], expected);
    }
}

/// Key and value of every record; reading fails on a gap.
fn read_all(log: &EmbeddedLog, partition: u16) -> Vec<(String, u64)> {
    let (mut found, mut next) = (Vec::new(), Offset(0));
    loop {
        let read =
            log.read_blocking(&at(partition), next, ReadLimit::default(), Visibility::Written).unwrap();
        let Some(last) = read.last() else { return found };
        next = last.offset.plus(1);
        found.extend(read.iter().map(|record| {
            let value = std::str::from_utf8(&record.value).unwrap().parse().unwrap();
            (String::from_utf8(record.key.to_vec()).unwrap(), value)
        }));
    }
}

fn cannot_grow() {
    let dir = tempfile::tempdir().unwrap();
    runtime().block_on(async {
        let log = EmbeddedLog::open(EmbeddedOptions::new(dir.path())).unwrap();
        log.ensure_topic(&spec()).await.unwrap();
    });
    // 40 MiB in blocks of 512 bytes; the signal that would end the process is ignored.
    let script = "trap '' XFSZ; ulimit -f 81920; exec \"$0\" victim-fill \"$1\"";
    let child = spawn(Command::new("sh").args(["-c", script]).arg(me()).arg(dir.path()));
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{said}");
    let acknowledged: Vec<u64> = said.lines().map(|line| line.parse().unwrap()).collect();
    check_filled(dir.path(), &acknowledged);
}

/// Appends until the log stops, prints every acknowledged offset, and checks how it stopped.
fn victim_fill(path: &Path) {
    runtime().block_on(async {
        let log = EmbeddedLog::open(EmbeddedOptions::new(path)).unwrap();
        for offset in fill(&log).await {
            println!("{offset}");
        }
    });
}

/// Fills until the log stops; returns the acknowledged offsets of partition 0.
async fn fill(log: &EmbeddedLog) -> Vec<u64> {
    let mut acknowledged = Vec::new();
    let error = loop {
        match fill_one(log).await {
            Ok(base) => acknowledged.extend(base.0..base.0 + 4),
            Err(error) => break error,
        }
        assert!(acknowledged.len() < 100_000, "it never stopped");
    };
    assert!(error.is_disk_full(), "{error:?}");
    assert_eq!(
        error.to_string(),
        "the log accepts no more writes: the disk is full: free space and start again"
    );
    // Everything after it fails the same way, and reading goes on.
    assert!(fill_one(log).await.unwrap_err().is_disk_full());
    assert!(log.check().unwrap_err().is_disk_full());
    let end = log.synced_end(&at(0)).unwrap();
    assert!(log.wait(&at(0), end.plus(1_000), Visibility::Synced).await.unwrap_err().is_disk_full());
    verify_filled(log, &acknowledged);
    acknowledged
}

async fn fill_one(log: &EmbeddedLog) -> Result<Offset, LogError> {
    let base = log.written_end(&at(0))?;
    let noise = |number: u64| payload(number);
    let records =
        (base.0..base.0 + 4).map(|number| NewRecord::new(number.to_string(), noise(number))).collect();
    let appended = log.append(&at(0), records).await?;
    log.synced(&appended).await?;
    Ok(appended.base)
}

/// 64 KiB that do not compress, different for every number.
fn payload(number: u64) -> Vec<u8> {
    let mut word = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let next = move || {
        word ^= word << 13;
        word ^= word >> 7;
        word ^= word << 17;
        word.to_le_bytes()
    };
    std::iter::repeat_with(next).take(8_192).flatten().collect()
}

fn verify_filled(log: &EmbeddedLog, acknowledged: &[u64]) {
    assert!(!acknowledged.is_empty());
    for offset in acknowledged {
        let limit = ReadLimit { records: 1, bytes: 0 };
        let read = log.read_blocking(&at(0), Offset(*offset), limit, Visibility::Written).unwrap();
        assert_eq!(read[0].value, payload(*offset), "{offset}");
    }
}

/// The log opens, has everything acknowledged, and takes more.
fn check_filled(path: &Path, acknowledged: &[u64]) {
    runtime().block_on(async {
        let log = EmbeddedLog::open(EmbeddedOptions::new(path)).unwrap();
        verify_filled(&log, acknowledged);
        let base = fill_one(&log).await.unwrap();
        assert!(base.0 >= u64::try_from(acknowledged.len()).unwrap());
    });
}

/// A real full disk: a file system of 160 MiB in memory, mounted in a namespace of its own.
fn full_disk() {
    let dir = tempfile::tempdir().unwrap();
    let script = "mount -t tmpfs -o size=160m none \"$1\" || exit 77; exec \"$0\" victim-mount \"$1\"";
    let mut unshare = Command::new("unshare");
    unshare.args(["--user", "--map-root-user", "--mount", "sh", "-c", script]).arg(me()).arg(dir.path());
    let Ok(output) = unshare.stdout(Stdio::inherit()).output() else {
        println!("  not run: it needs `unshare` (Debian package util-linux)");
        return;
    };
    if output.status.code() == Some(77) || output.stderr.starts_with(b"unshare") {
        println!(
            "  not run: it needs a kernel that lets a user namespace mount tmpfs (kernel.unprivileged_userns_clone=1)"
        );
        return;
    }
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn victim_mount(path: &Path) {
    let (ballast, store) = (path.join("ballast"), path.join("log"));
    std::fs::write(&ballast, vec![1; usize::try_from(20 * MIB).unwrap()]).unwrap();
    let acknowledged = runtime().block_on(async {
        let log = EmbeddedLog::open(EmbeddedOptions::new(&store)).unwrap();
        log.ensure_topic(&spec()).await.unwrap();
        fill(&log).await
    });
    std::fs::remove_file(ballast).unwrap();
    check_filled(&store, &acknowledged);
}

fn me() -> PathBuf {
    std::env::current_exe().unwrap()
}

fn spawn(command: &mut Command) -> Child {
    command.stdout(Stdio::piped()).spawn().unwrap()
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

fn at(partition: u16) -> TopicPartition {
    TopicPartition::new(TopicName::new("t").unwrap(), Partition(partition))
}

fn spec() -> TopicSpec {
    TopicSpec { name: TopicName::new("t").unwrap(), partitions: PARTITIONS, retention: Retention::Forever }
}
