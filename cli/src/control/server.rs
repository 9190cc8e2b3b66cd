//! Answers whoever connects.

use std::{fs, io, os::unix::fs::PermissionsExt, path::PathBuf, sync::Arc, time::Duration};

use streambook_runtime::step::chain_of;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{
        UnixListener, UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::mpsc,
};
use tokio_util::sync::CancellationToken;

use super::{
    place::Place,
    said::{Asked, LONGEST_REQUEST, Said, line},
};
use crate::{
    chain::{self, Chains},
    verify::{Progress, Stage, Verifier},
};

/// Lines that wait for a slow reader. Further progress is left out: a later line says more.
const LINES: usize = 16;
/// How long an asker may take to send its request, and to accept a line.
const PATIENCE: Duration = Duration::from_secs(60);
/// The pause after a failed accept.
const PAUSE: Duration = Duration::from_millis(100);

/// The socket could not be made.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {path}, where other commands ask")]
pub(crate) struct ServeError {
    path: PathBuf,
    #[source]
    source: io::Error,
}

/// What can be asked for.
pub(crate) struct Services {
    pub(crate) verifier: Verifier,
    pub(crate) chains: Chains,
}

/// The socket, and who answers on it.
pub(crate) struct Server {
    place: Place,
    listener: UnixListener,
    services: Services,
}

impl Server {
    /// Binds the socket in the data directory, whose log this process has open; what a killed process left is removed.
    pub(crate) fn bind(data: PathBuf, services: Services) -> Result<Self, ServeError> {
        let bound = Place::of(&data).and_then(|place| {
            match fs::remove_file(place.path()) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let listener = UnixListener::bind(place.address())?;
            fs::set_permissions(place.path(), fs::Permissions::from_mode(0o600))?;
            Ok((place, listener))
        });
        let (place, listener) = bound.map_err(|source| ServeError { path: data, source })?;
        Ok(Self { place, listener, services })
    }

    /// Answers until it is told to stop.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let server = Arc::new(self);
        let mut answers = tokio::task::JoinSet::new();
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                Some(_) = answers.join_next() => {}
                accepted = server.listener.accept() => match accepted {
                    Ok((stream, _)) => {
                        answers.spawn(Arc::clone(&server).answer(stream));
                    }
                    Err(error) => {
                        tracing::warn!(%error, "a request could not be accepted");
                        tokio::time::sleep(PAUSE).await;
                    }
                }
            }
        }
        // What is under way is given up, and whoever asked sees the connection end.
        answers.shutdown().await;
        if let Err(error) = fs::remove_file(server.place.path()) {
            tracing::warn!(%error, "the socket could not be removed; the next start does it");
        }
    }

    /// Does what is asked, as long as whoever asked listens.
    async fn answer(self: Arc<Self>, stream: UnixStream) {
        let (reader, writer) = stream.into_split();
        let mut reader = BufReader::new(reader);
        let (lines, said) = mpsc::channel(LINES);
        let writing = write(writer, said);
        let asked = match tokio::time::timeout(PATIENCE, request(&mut reader)).await {
            Ok(Ok(asked)) => asked,
            Ok(Err(reason)) => {
                send(&lines, Said::Failed { reason }).await;
                drop(lines);
                return writing.await;
            }
            Err(_) => return tracing::info!("who connected did not ask anything"),
        };
        // Nothing more is sent by who asks: a read ends when the connection does.
        let gone = async {
            let mut byte = [0];
            while reader.read(&mut byte).await.is_ok_and(|read| read > 0) {}
        };
        let work = self.services.serve(asked, lines);
        tokio::select! {
            // The work ends by closing the channel, and the writing once the last line is out.
            ((), ()) = async { tokio::join!(work, writing) } => {}
            () = gone => tracing::info!("who asked went away, so it was stopped"),
        }
    }
}

/// Reads the request.
async fn request(reader: &mut BufReader<OwnedReadHalf>) -> Result<Asked, String> {
    let mut asked = String::new();
    let read = reader.take(LONGEST_REQUEST).read_line(&mut asked).await;
    read.map_err(|error| format!("the request cannot be read: {error}"))?;
    serde_json::from_str(&asked)
        .map_err(|error| format!("the request is not understood: {error}; is the command of this version?"))
}

impl Services {
    async fn serve(&self, asked: Asked, lines: mpsc::Sender<Said>) {
        let said = match asked {
            Asked::Verify => self.verify(&lines).await,
            Asked::Chains(request) => self.of_chains(request).await,
        };
        send(&lines, said).await;
    }

    async fn verify(&self, lines: &mpsc::Sender<Said>) -> Said {
        match self.verifier.verify(&mut Lines(lines.clone())).await {
            None => Said::Busy,
            Some(Ok(report)) => Said::Report(Box::new(report)),
            Some(Err(failure)) => Said::Failed {
                reason: format!("the running process could not verify: {}", chain_of(&failure)),
            },
        }
    }

    async fn of_chains(&self, request: chain::Request) -> Said {
        // Who only looks changes nothing.
        if !matches!(request, chain::Request::Status) {
            tracing::info!(?request, "asked of the chains");
        }
        match self.chains.answer(request).await {
            Ok(answer) => Said::Chains(answer),
            Err(error) => Said::Failed { reason: format!("{error:#}") },
        }
    }
}

/// Tells progress on the socket.
struct Lines(mpsc::Sender<Said>);

impl Progress for Lines {
    fn update(&mut self, stage: Stage, done: u64, total: u64) {
        // A full channel means a slow reader, who is told the next time.
        drop(self.0.try_send(Said::Progress { stage, done, total }));
    }
}

/// The last line. It is lost only when nobody reads it any more.
async fn send(lines: &mpsc::Sender<Said>, said: Said) {
    drop(lines.send(said).await);
}

async fn write(mut writer: OwnedWriteHalf, mut said: mpsc::Receiver<Said>) {
    while let Some(said) = said.recv().await {
        let written = match line(&said) {
            Ok(line) => tokio::time::timeout(PATIENCE, writer.write_all(&line)).await,
            Err(error) => {
                tracing::error!(%error, "what is said cannot be written as JSON");
                return;
            }
        };
        if !matches!(written, Ok(Ok(()))) {
            tracing::info!("who asked does not read the answer");
            return;
        }
    }
}
