//! Answers whoever connects: verifies, and says so line by line.

use std::{
    fs, io,
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use streambook_log::embedded::EmbeddedLog;
use streambook_runtime::{processor::Processor, step::chain_of};
use streambook_sinks::sql::SqlConfig;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{UnixListener, UnixStream, unix::OwnedWriteHalf},
    sync::{Mutex, mpsc},
};
use tokio_util::sync::CancellationToken;

use super::{place::Place, said::Said};
use crate::verify::{
    Asked,
    manner::Manner,
    progress::{Progress, Stage},
    verify_as,
};

/// Lines that wait for a slow reader. Further progress is left out: a later line says more.
const LINES: usize = 16;
/// How long a reader may take to accept a line.
const PATIENCE: Duration = Duration::from_secs(60);
/// The pause after a failed accept.
const PAUSE: Duration = Duration::from_millis(100);

/// The socket could not be made.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {path}, where `streambook verify` asks")]
pub(crate) struct ServeError {
    path: PathBuf,
    #[source]
    source: io::Error,
}

/// The socket, and what is verified when somebody asks.
pub(crate) struct Server {
    place: Place,
    listener: UnixListener,
    log: Arc<EmbeddedLog>,
    processors: Vec<Arc<dyn Processor>>,
    sql: SqlConfig,
    running: AtomicBool,
    trimming: Arc<Mutex<()>>,
}

/// Marks a verification as under way.
struct Under<'a>(&'a AtomicBool);

impl Drop for Under<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

impl Server {
    /// Binds the socket in the data directory, whose log this process has open; what a killed process left is removed.
    pub(crate) fn bind(
        data: PathBuf,
        log: Arc<EmbeddedLog>,
        processors: Vec<Arc<dyn Processor>>,
        sql: SqlConfig,
    ) -> Result<Self, ServeError> {
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
        Ok(Self {
            place,
            listener,
            log,
            processors,
            sql,
            running: AtomicBool::new(false),
            trimming: Arc::default(),
        })
    }

    /// Held while a verification is under way, and by whoever trims the log: what is verified must stay.
    pub(crate) fn trimming(&self) -> Arc<Mutex<()>> {
        Arc::clone(&self.trimming)
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
                        tracing::warn!(%error, "a request to verify could not be accepted");
                        tokio::time::sleep(PAUSE).await;
                    }
                }
            }
        }
        // What is under way is given up, and whoever asked sees the connection end.
        answers.shutdown().await;
        if let Err(error) = fs::remove_file(server.place.path()) {
            tracing::warn!(%error, "the socket of `verify` could not be removed; the next start does it");
        }
    }

    /// Verifies for one who asked, as long as that one listens.
    async fn answer(self: Arc<Self>, stream: UnixStream) {
        let (mut reader, writer) = stream.into_split();
        let (lines, said) = mpsc::channel(LINES);
        let writing = write(writer, said);
        // Nothing is ever sent by who asks: a read ends when the connection does.
        let gone = async {
            let mut byte = [0];
            while reader.read(&mut byte).await.is_ok_and(|read| read > 0) {}
        };
        let work = self.verify(lines);
        tokio::select! {
            // The work ends by closing the channel, and the writing once the last line is out.
            ((), ()) = async { tokio::join!(work, writing) } => {}
            () = gone => tracing::info!("who asked to verify went away, so it was stopped"),
        }
    }

    async fn verify(&self, lines: mpsc::Sender<Said>) {
        if self.running.swap(true, Ordering::AcqRel) {
            send(&lines, Said::Busy).await;
            return;
        }
        let _under = Under(&self.running);
        let _kept = self.trimming.lock().await;
        tracing::info!("verifying, because somebody asked");
        let mut progress = Lines(lines.clone());
        let log = Arc::clone(&self.log);
        let verified =
            verify_as(Asked::Store(Manner::Beside, log), &self.processors, Some(&self.sql), &mut progress);
        let said = match Box::pin(verified).await {
            Ok(report) => {
                if let Some(difference) = &report.first_difference {
                    tracing::error!(what = difference.what, "verify found a difference");
                }
                Said::Report(Box::new(report))
            }
            Err(failure) => Said::Failed { reason: chain_of(&failure) },
        };
        send(&lines, said).await;
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
        let written = match said.line() {
            Ok(line) => tokio::time::timeout(PATIENCE, writer.write_all(&line)).await,
            Err(error) => {
                tracing::error!(%error, "what verify says cannot be written as JSON");
                return;
            }
        };
        if !matches!(written, Ok(Ok(()))) {
            tracing::info!("who asked to verify does not read the answer");
            return;
        }
    }
}
