//! PostgreSQL goes away at every moment, and comes back: nothing is lost, nothing is there twice.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use streambook_model::{message::Message, records::payment::PaymentEventType};
use streambook_runtime::sink::{Batch, Sink, SinkError};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        UnixListener, UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
};

use super::{
    records::{Feed, event, merchant, payment, transaction},
    retried, server,
};
use crate::sql::{SqlConfig, SqlSink};

/// Batches of a test.
const BATCHES: u64 = 40;
/// Tries of one batch: far more than any outage here takes.
const TRIES: u32 = 2_000;

fn batch(feed: &mut Feed, number: u64) -> Batch {
    let paid = payment(number, merchant(1));
    let created = Message::from(event(&paid, PaymentEventType::Created));
    feed.batch([created, transaction(&paid, number + 1, 5, 5).into()])
}

/// Writes as the sink's runner does: the same batch until it succeeds.
async fn insist(sink: &mut SqlSink, batch: &Batch) -> u32 {
    for tried in 0..TRIES {
        match sink.write(batch).await {
            Ok(()) => return tried,
            Err(SinkError::Retry { .. }) => tokio::time::sleep(Duration::from_millis(10)).await,
            Err(SinkError::Stop(reason)) => panic!("the sink stopped: {reason}"),
        }
    }
    panic!("the database does not come back")
}

async fn has_all(sink: &SqlSink, batches: u64) {
    let counts = sink.reads().counts().await.unwrap();
    let found = (counts.payments, counts.payment_events, counts.ledger_transactions, counts.ledger_entries);
    assert_eq!(found, (batches, batches, batches, 2 * batches));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_killed_and_started_again_loses_and_repeats_nothing() {
    let Some(mut server) = server::start(&[]) else { return };
    let config = SqlConfig { url: server.database("books").into(), ..SqlConfig::default() };
    let mut sink = SqlSink::open(&config).await.unwrap();
    let mut feed = Feed::default();
    for number in 0..3 {
        insist(&mut sink, &batch(&mut feed, number)).await;
    }
    server.kill();
    let waiting = batch(&mut feed, 3);
    retried(sink.write(&waiting).await);
    assert!(sink.reads().counts().await.is_err(), "reads say that there is no database");
    server.start_again();
    insist(&mut sink, &waiting).await;
    // Killed while it writes, again and again.
    let stop = Arc::new(AtomicBool::new(false));
    let killer = std::thread::spawn({
        let stop = Arc::clone(&stop);
        move || {
            for _ in 0..3 {
                std::thread::sleep(Duration::from_millis(40));
                server.kill();
                server.start_again();
            }
            stop.store(true, Ordering::Relaxed);
            server
        }
    });
    let mut number = 4;
    while !stop.load(Ordering::Relaxed) {
        insist(&mut sink, &batch(&mut feed, number)).await;
        number += 1;
    }
    let _server = killer.join().unwrap();
    has_all(&sink, number).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_are_ended_under_it_lose_and_repeat_nothing() {
    if !server::is_there() {
        return;
    }
    let url = server::database();
    let name = url.rsplit('/').next().unwrap().to_owned();
    let mut sink = SqlSink::open(&SqlConfig { url: url.into(), ..SqlConfig::default() }).await.unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let ender = std::thread::spawn({
        let stop = Arc::clone(&stop);
        move || {
            let end =
                format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'");
            while !stop.load(Ordering::Relaxed) {
                server::shared().sql("postgres", &end);
            }
        }
    });
    let mut feed = Feed::default();
    for number in 0..BATCHES {
        insist(&mut sink, &batch(&mut feed, number)).await;
    }
    stop.store(true, Ordering::Relaxed);
    ender.join().unwrap();
    has_all(&sink, BATCHES).await;
}

/// A way to the server on which the answer to a commit can be lost.
struct Wire {
    folder: tempfile::TempDir,
    loses: Arc<AtomicBool>,
}

impl Wire {
    fn to(socket: PathBuf) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(folder.path().join(".s.PGSQL.5432")).unwrap();
        let loses = Arc::new(AtomicBool::new(false));
        tokio::spawn({
            let loses = Arc::clone(&loses);
            async move {
                while let Ok((client, _)) = listener.accept().await {
                    tokio::spawn(carry(client, socket.clone(), Arc::clone(&loses)));
                }
            }
        });
        Self { folder, loses }
    }

    fn folder(&self) -> &Path {
        self.folder.path()
    }
}

/// Carries both ways; once the next commit is to be lost, its answer is waited for and thrown away with the connection.
async fn carry(client: UnixStream, socket: PathBuf, loses: Arc<AtomicBool>) {
    let Ok(server) = UnixStream::connect(socket).await else { return };
    let ((mut from_client, mut to_client), (mut from_server, mut to_server)) =
        (client.into_split(), server.into_split());
    let (mut asked, mut told) = (vec![0; 65_536], vec![0; 65_536]);
    loop {
        tokio::select! {
            read = from_client.read(&mut asked) => {
                let Ok(count @ 1..) = read else { return };
                let is_commit = asked[..count].windows(7).any(|bytes| bytes == b"COMMIT\0");
                if to_server.write_all(&asked[..count]).await.is_err() { return }
                if is_commit && loses.swap(false, Ordering::Relaxed) {
                    let _lost = from_server.read(&mut told).await;
                    return;
                }
            }
            more = back(&mut from_server, &mut to_client, &mut told) => if !more { return },
        }
    }
}

async fn back(from: &mut OwnedReadHalf, to: &mut OwnedWriteHalf, buffer: &mut [u8]) -> bool {
    match from.read(buffer).await {
        Ok(count @ 1..) => to.write_all(&buffer[..count]).await.is_ok(),
        _ => false,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_whose_answer_is_lost_is_not_written_again() {
    if !server::is_there() {
        return;
    }
    let url = server::database();
    let wire = Wire::to(server::shared().socket());
    let direct = server::shared().folder().display().to_string().replace('/', "%2F");
    let through = wire.folder().display().to_string().replace('/', "%2F");
    let config = SqlConfig { url: url.replace(&direct, &through).into(), ..SqlConfig::default() };
    let mut sink = SqlSink::open(&config).await.unwrap();
    let mut feed = Feed::default();
    insist(&mut sink, &batch(&mut feed, 0)).await;
    for number in 1..6 {
        let next = batch(&mut feed, number);
        wire.loses.store(true, Ordering::Relaxed);
        let said = retried(sink.write(&next).await);
        assert!(said.contains("committing a write"), "{said}");
        assert!(!wire.loses.load(Ordering::Relaxed), "no commit was seen");
        assert_eq!(insist(&mut sink, &next).await, 0, "it is recognised at once");
    }
    has_all(&sink, 6).await;
}
