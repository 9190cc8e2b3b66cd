//! `verify` beside a running `up`: the process that has the log open verifies it itself, by the same code, when it is asked
//! ([`control`](crate::control)). One verification runs at a time.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use streambook_log::embedded::EmbeddedLog;
use streambook_runtime::processor::Processor;
use streambook_sinks::sql::SqlConfig;
use tokio::sync::Mutex;

use super::{Asked, Progress, Report, VerifyFailure, manner::Manner, verify_as};

/// What is verified when somebody asks.
pub(crate) struct Verifier {
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

impl Verifier {
    /// Of the log that this process has open.
    pub(crate) fn new(log: Arc<EmbeddedLog>, processors: Vec<Arc<dyn Processor>>, sql: SqlConfig) -> Self {
        Self { log, processors, sql, running: AtomicBool::new(false), trimming: Arc::default() }
    }

    /// Held while a verification is under way, and by whoever trims the log: what is verified must stay.
    pub(crate) fn trimming(&self) -> Arc<Mutex<()>> {
        Arc::clone(&self.trimming)
    }

    /// Verifies; nothing where another verification is under way.
    pub(crate) async fn verify(&self, progress: &mut dyn Progress) -> Option<Result<Report, VerifyFailure>> {
        if self.running.swap(true, Ordering::AcqRel) {
            return None;
        }
        let _under = Under(&self.running);
        let _kept = self.trimming.lock().await;
        tracing::info!("verifying, because somebody asked");
        let asked = Asked::Store(Manner::Beside, Arc::clone(&self.log));
        let verified = Box::pin(verify_as(asked, &self.processors, Some(&self.sql), progress)).await;
        if let Ok(Report { first_difference: Some(difference), .. }) = &verified {
            tracing::error!(what = difference.what, "verify found a difference");
        }
        Some(verified)
    }
}
