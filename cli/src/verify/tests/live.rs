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

use streambook_model::{message::Message, topics::TopicDef};
use streambook_processors::book::BookProcessor;
use streambook_runtime::processor::{Context, Fault, Processor};
use streambook_sinks::sql::SqlConfig;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    net::UnixStream,
};
use tokio_util::sync::CancellationToken;

use super::world::{self, World};
use crate::verify::{
    live::{Server, ask},
    progress::Silent,
    report::Outcome,
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
        let server =
            Server::bind(data.clone(), world.open(), processors, SqlConfig::at(&world.database())).unwrap();
        let server = tokio::spawn(server.run(stop.clone()));
        Self { world, data, may_go_on, stop, server }
    }

    /// Asks, and waits until the answer has begun.
    async fn asked(&self) -> BufReader<UnixStream> {
        let mut stream = BufReader::new(UnixStream::connect(self.data.join("verify.sock")).await.unwrap());
        let mut line = String::new();
        stream.read_line(&mut line).await.unwrap();
        assert!(line.contains("progress"), "{line}");
        stream
    }

    async fn end(self) {
        self.stop.cancel();
        self.server.await.unwrap();
        assert!(!self.data.join("verify.sock").exists());
        drop(self.world);
    }
}

async fn asks(data: &Path) -> Result<Outcome, String> {
    let asked = ask(data, &mut Silent).await;
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
        let mut stream = BufReader::new(UnixStream::connect(bed.data.join("verify.sock")).await.unwrap());
        let mut line = String::new();
        stream.read_line(&mut line).await.unwrap();
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
    assert!(refused.contains("verify.sock") && refused.contains("in use"), "{refused}");
}
