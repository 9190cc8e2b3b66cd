//! Stripe's deliveries, with bodies as Stripe sends them and signatures by Stripe's own library
//! (`tests/tools/stripe_event.py`).

use std::process::Command;

use serde_json::Value;

use crate::parts;

/// The endpoint's signing secret.
pub(crate) const SECRET: &str = "whsec_streambook_test";

/// Whether Stripe's library is there; if not, that has been said.
pub(crate) fn is_installed() -> bool {
    parts::python().is_some()
}

/// What a delivery was answered with.
#[derive(Debug)]
pub(crate) struct Delivered {
    /// The status.
    pub(crate) status: u64,
    /// The answer's body.
    pub(crate) body: Value,
    /// Whether Stripe's library takes what was sent.
    pub(crate) is_good: bool,
}

/// The events of one card payment at one time, so that the same event is the same bytes each time it is made.
#[derive(Debug, Clone)]
pub(crate) struct Order {
    /// The ingest's address.
    pub(crate) url: String,
    /// What all ids derive from.
    pub(crate) key: String,
    /// `mer_…`
    pub(crate) merchant: String,
    /// `pay_…`
    pub(crate) payment: String,
    /// Unix seconds of the events.
    pub(crate) created: u64,
}

impl Order {
    /// Makes an event of this kind with further arguments, and posts it.
    pub(crate) async fn post(&self, kind: &str, arguments: &[&str]) -> Delivered {
        let mut command = Command::new(parts::python().expect("the test has looked before"));
        command.arg("-B").arg(parts::repository().join("tests/tools/stripe_event.py"));
        command.args(["make", kind, "--post", &self.url, "--key", &self.key, "--secret", SECRET]);
        command.args(["--merchant", &self.merchant, "--payment", &self.payment]);
        command.args(["--created", &self.created.to_string()]).args(arguments);
        let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        let line: Value =
            serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{kind}: {errors}"));
        let response = &line["response"];
        let body = response["body"].as_str().unwrap_or_default();
        Delivered {
            status: response["status"].as_u64().unwrap(),
            body: serde_json::from_str(body).unwrap_or_default(),
            is_good: line["stripe_accepts"].as_bool().unwrap(),
        }
    }

    /// Posts an event that must be taken.
    pub(crate) async fn says(&self, kind: &str, arguments: &[&str]) {
        let delivered = self.post(kind, arguments).await;
        assert!(delivered.is_good, "{kind}: Stripe's library refuses what this test made");
        assert_eq!(delivered.status, 200, "{kind}: {}", delivered.body);
    }
}
