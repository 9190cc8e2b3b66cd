//! Asks the process that has the directory open.

use std::{
    io,
    path::{Path, PathBuf},
};

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::UnixStream,
};

use super::{
    place::Place,
    said::{Asked, Said, line},
};
use crate::{
    chain,
    verify::{Progress, Report, Silent},
};

/// The longest answer that is read: a report names one difference, and notes a few lines for each partition.
const LONGEST_BYTES: u64 = 64 << 20;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AskError {
    /// There is nobody to ask.
    #[error(
        "the directory is in use by another process, and nobody answers at {path}: is it `streambook up` of this version?"
    )]
    Connect {
        /// The socket.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The answer broke off.
    #[error("the running process went away before it was done")]
    BrokeOff,
    /// The answer could not be read.
    #[error("the answer of the running process cannot be read")]
    Read(#[source] io::Error),
    /// The answer is not one.
    #[error("the answer of the running process cannot be understood: is it of this version?")]
    Understand(#[source] serde_json::Error),
    /// It answers something else.
    #[error("the running process answers something else: is it of this version?")]
    Another,
    /// Another verification is under way.
    #[error("the running process is verifying already: wait for that, then ask again")]
    Busy,
    /// It could not do it.
    #[error("{0}")]
    Failed(String),
}

/// Has the process that runs on this data directory verify it.
pub(crate) async fn verify(data: &Path, progress: &mut dyn Progress) -> Result<Report, AskError> {
    match ask(data, &Asked::Verify, progress).await? {
        Said::Report(report) => Ok(*report),
        _ => Err(AskError::Another),
    }
}

/// Asks the process that runs on this data directory something of its chains.
pub(crate) async fn ask_chains(data: &Path, request: chain::Request) -> Result<chain::Answer, AskError> {
    match ask(data, &Asked::Chains(request), &mut Silent).await? {
        Said::Chains(answer) => Ok(answer),
        _ => Err(AskError::Another),
    }
}

/// The last line of the answer.
async fn ask(data: &Path, asked: &Asked, progress: &mut dyn Progress) -> Result<Said, AskError> {
    let place = Place::of(data);
    let connect = |source| AskError::Connect { path: data.to_owned(), source };
    let place = place.map_err(connect)?;
    let refused = |source| AskError::Connect { path: place.path().to_owned(), source };
    let mut stream = UnixStream::connect(place.address()).await.map_err(refused)?;
    let asked = line(asked).map_err(AskError::Understand)?;
    stream.write_all(&asked).await.map_err(AskError::Read)?;
    let mut lines = BufReader::new(stream.take(LONGEST_BYTES)).lines();
    while let Some(line) = lines.next_line().await.map_err(AskError::Read)? {
        match serde_json::from_str(&line).map_err(AskError::Understand)? {
            Said::Progress { stage, done, total } => progress.update(stage, done, total),
            Said::Failed { reason } => return Err(AskError::Failed(reason)),
            Said::Busy => return Err(AskError::Busy),
            said => return Ok(said),
        }
    }
    Err(AskError::BrokeOff)
}
