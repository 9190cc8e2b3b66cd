//! What runs, what has stopped and why: for `/readyz`, the command line and metrics.

use std::{collections::BTreeMap, sync::Arc};

use parking_lot::RwLock;
use serde::Serialize;

use crate::metrics::Metric;

/// How one part is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "status", rename_all = "snake_case")]
pub enum Condition {
    /// It works.
    Running,
    /// It works, and someone should look: a node is down, a chain is halted, a write is tried again.
    Troubled {
        /// What is the matter.
        reason: String,
    },
    /// It has stopped and will not go on by itself.
    Stopped {
        /// Why.
        reason: String,
    },
}

/// The conditions of all parts of this process. Cheap to clone; everyone holds the same.
#[derive(Debug, Clone, Default)]
pub struct Health(Arc<RwLock<BTreeMap<String, Condition>>>);

impl Health {
    /// Says how a part is.
    pub fn report(&self, part: &str, condition: Condition) {
        let up = u64::from(!matches!(condition, Condition::Stopped { .. }));
        let before = self.0.write().insert(part.to_owned(), condition.clone());
        if before.as_ref() == Some(&condition) {
            return;
        }
        Metric::TaskUp.set(up, &[("task", part.to_owned())]);
        match condition {
            Condition::Running => tracing::info!(part, "running"),
            Condition::Troubled { reason } => tracing::warn!(part, reason, "troubled"),
            Condition::Stopped { reason } => tracing::error!(part, reason, "stopped"),
        }
    }

    /// How every part is, by name.
    pub fn conditions(&self) -> BTreeMap<String, Condition> {
        self.0.read().clone()
    }

    /// Whether nothing has stopped and nothing is troubled.
    pub fn is_ready(&self) -> bool {
        self.0.read().values().all(|condition| *condition == Condition::Running)
    }

    /// The parts that have stopped, with their reasons.
    pub fn stopped(&self) -> Vec<(String, String)> {
        let conditions = self.0.read();
        let reason = |(part, condition): (&String, &Condition)| match condition {
            Condition::Stopped { reason } => Some((part.clone(), reason.clone())),
            _ => None,
        };
        conditions.iter().filter_map(reason).collect()
    }
}
