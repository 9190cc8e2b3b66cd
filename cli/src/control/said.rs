//! What is said on the socket: a request, then progress a few times a second, then one of the others, which ends it.

use serde::{Deserialize, Serialize};

use crate::{
    chain,
    verify::{Report, Stage},
};

/// The longest request, in bytes.
pub(super) const LONGEST_REQUEST: u64 = 64 << 10;

/// The line that asks.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Asked {
    /// That the log be verified.
    Verify,
    /// Something of the chains.
    Chains(chain::Request),
}

/// A line of the answer.
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
    /// It is verified.
    Report(Box<Report>),
    /// Of the chains.
    Chains(chain::Answer),
    /// Nothing can be said, and why.
    Failed {
        /// The reason, causes included.
        reason: String,
    },
    /// Another verification is under way.
    Busy,
}

/// A line.
pub(super) fn line(said: &impl Serialize) -> Result<Vec<u8>, serde_json::Error> {
    let mut line = serde_json::to_vec(said)?;
    line.push(b'\n');
    Ok(line)
}
