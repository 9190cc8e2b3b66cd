//! What is said on the socket: progress a few times a second, then one of the others, which ends it.

use serde::{Deserialize, Serialize};

use crate::verify::{progress::Stage, report::Report};

/// One line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Said {
    /// How far it is.
    Progress {
        /// The part of the work.
        stage: Stage,
        /// Records, or rows, of it.
        done: u64,
        /// Of so many.
        total: u64,
    },
    /// It is done.
    Report(Box<Report>),
    /// Nothing can be said, and why.
    Failed {
        /// The reason, causes included.
        reason: String,
    },
    /// Another verification is under way.
    Busy,
}

impl Said {
    /// The line.
    pub(super) fn line(&self) -> Result<Vec<u8>, serde_json::Error> {
        let mut line = serde_json::to_vec(self)?;
        line.push(b'\n');
        Ok(line)
    }
}
