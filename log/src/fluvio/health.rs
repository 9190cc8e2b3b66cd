//! What does not work at the moment. An outage stops nothing: it is waited out, and said here meanwhile.

use std::collections::BTreeMap;
use std::error::Error;
use std::time::Instant;

use parking_lot::Mutex;

/// Something that is being tried again and again.
#[derive(Debug, Clone)]
pub struct Trouble {
    /// What fails, for example `append to book.inbox/3`.
    pub what: String,
    /// Since when.
    pub since: Instant,
    /// How often it failed since then.
    pub attempts: u64,
    /// The last error with its causes.
    pub error: String,
}

#[derive(Debug, Default)]
pub(super) struct Health(Mutex<BTreeMap<String, Trouble>>);

impl Health {
    /// Notes a failed attempt.
    pub(super) fn failed(&self, what: &str, error: &dyn Error) {
        let mut troubles = self.0.lock();
        let entry = troubles.entry(what.to_owned());
        let trouble = entry.or_insert_with(|| {
            tracing::warn!(what, error = chain(error), "the cluster is in trouble: trying again");
            Trouble { what: what.to_owned(), since: Instant::now(), attempts: 0, error: String::new() }
        });
        trouble.attempts = trouble.attempts.saturating_add(1);
        trouble.error = chain(error);
    }

    /// Notes that it works, or is not tried any more.
    pub(super) fn well(&self, what: &str) {
        if let Some(trouble) = self.0.lock().remove(what) {
            tracing::info!(what, attempts = trouble.attempts, after = ?trouble.since.elapsed(), "works again");
        }
    }

    /// Everything that fails now.
    pub(super) fn troubles(&self) -> Vec<Trouble> {
        self.0.lock().values().cloned().collect()
    }
}

/// An error and its causes, in one line.
pub(super) fn chain(error: &dyn Error) -> String {
    let (mut text, mut next) = (error.to_string(), error.source());
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}
