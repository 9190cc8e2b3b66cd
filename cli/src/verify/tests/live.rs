//! Asking a process that has the log open: one verification at a time, and none for who has gone away; and a log that goes
//! on while it is verified.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use streambook_log::embedded::EmbeddedLog;
use streambook_model::{message::Message, topics::TopicDef};
use streambook_processors::book::BookProcessor;
use streambook_runtime::processor::{Context, Fault, Processor};
use streambook_sinks::sql::SqlConfig;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::UnixStream,
};
use tokio_util::sync::CancellationToken;

use super::world::{self, World};
use crate::{
    chain::Chains,
    control::{Server, Services, verify},
    verify::{Outcome, Silent, Verifier},
};

/// The book, which does nothing until it may.
struct Held(Arc<AtomicBool>);

impl Processor for Held {
    fn name(&self) -> &'static str {
        BookProcessor.name()
    }

    fn inbox(&self) -> TopicDef {
        BookProcessor.inbox()
    }

    fn process(&self, message: Message, context: &mut Context<'_>) -> Result<(), Fault> {
        while !self.0.load(Ordering::Acquire) {
            std::thread::sleep(Duration::from_millis(1));
        }
        BookProcessor.process(message, context)
    }
}

/// A server whose books wait.
struct Bed {
    world: World,
    data: PathBuf,
    may_go_on: Arc<AtomicBool>,
    stop: CancellationToken,
    server: tokio::task::JoinHandle<()>,
}

impl Bed {
    async fn new() -> Self {
        let world = World::new().await;
        let may_go_on = Arc::new(AtomicBool::new(false));
        let mut processors = world::processors();
        processors.pop();
        processors.push(Arc::new(Held(Arc::clone(&may_go_on))));
        let (data, stop) = (world.path(), CancellationToken::new());
        let log = world.open();
        let chains = Chains::new(Arc::<EmbeddedLog>::clone(&log), Vec::new(), None);
        let verifier = Verifier::new(log, processors, SqlConfig::at(&world.database()));
        let server = Server::bind(data.clone(), Services { verifier, chains }).unwrap();
        let server = tokio::spawn(server.run(stop.clone()));
        Self { world, data, may_go_on, stop, server }
    }

    /// Asks, and waits until the answer has begun.
    async fn asked(&self) -> BufReader<UnixStream> {
        let (stream, line) = says_first(&self.data, "\"verify\"").await;
        assert!(line.contains("progress"), "{line}");
        stream
    }

    async fn end(self) {
        self.stop.cancel();
        self.server.await.unwrap();
        assert!(!self.data.join("control.sock").exists());
        drop(self.world);
    }
}

/// Sends a line, and gives the first of the answer.
async fn says_first(data: &Path, asked: &str) -> (BufReader<UnixStream>, String) {
    let mut stream = BufReader::new(UnixStream::connect(data.join("control.sock")).await.unwrap());
    stream.write_all(format!("{asked}\n").as_bytes()).await.unwrap();
    let mut line = String::new();
    stream.read_line(&mut line).await.unwrap();
    (stream, line)
}

async fn asks(data: &Path) -> Result<Outcome, String> {
    let asked = verify(data, &mut Silent).await;
    asked.map(|report| report.outcome()).map_err(|error| error.to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn one_verification_at_a_time_and_none_for_who_has_gone_away() {
    let bed = Bed::new().await;
    let first = bed.asked().await;
    let refused = asks(&bed.data).await.unwrap_err();
    assert!(refused.contains("verifying already"), "{refused}");
    drop(first);
    // The first is given up, though its books still wait: somebody else may ask.
    let second = loop {
        let (stream, line) = says_first(&bed.data, "\"verify\"").await;
        if line.contains("progress") {
            break stream;
        }
        assert!(line.contains("busy"), "{line}");
    };
    bed.may_go_on.store(true, Ordering::Release);
    let mut lines = second.lines();
    let mut last = String::new();
    while let Some(line) = lines.next_line().await.unwrap() {
        last = line;
    }
    assert!(last.starts_with("{\"report\":") && last.contains("\"first_difference\":null"), "{last}");
    assert_eq!(asks(&bed.data).await, Ok(Outcome::Ok));
    bed.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_stops_ends_the_answer() {
    let bed = Bed::new().await;
    let first = bed.asked().await;
    bed.stop.cancel();
    bed.may_go_on.store(true, Ordering::Release);
    let mut lines = first.lines();
    while let Some(line) = lines.next_line().await.unwrap_or_default() {
        assert!(line.contains("progress"), "{line}");
    }
    bed.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_nobody_answers_it_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let refused = asks(directory.path()).await.unwrap_err();
    assert!(refused.contains("control.sock") && refused.contains("in use"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_request_is_refused_with_the_reason() {
    let bed = Bed::new().await;
    let long = "x".repeat(100_000);
    for wrong in ["", "{}", "\"rebuild\"", "{\"chains\":{\"rebuild\":{}}}", long.as_str()] {
        let (_, line) = says_first(&bed.data, wrong).await;
        assert!(line.contains("failed") && line.contains("not understood"), "{line}");
    }
    let (_, line) = says_first(&bed.data, "{\"chains\":\"status\"}").await;
    assert_eq!(line, "{\"chains\":{\"status\":[]}}\n");
    bed.end().await;
}
