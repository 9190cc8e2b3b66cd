//! The merchant's receiver that trusts nobody: it accepts a delivery only after the official Standard Webhooks library
//! verified it (`tests/tools/webhook_receiver.py`).

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};

use serde_json::{Value, json};

use crate::{api::text, parts};

/// A running receiver.
pub(crate) struct Receiver {
    // It ends when its standard input closes.
    child: Child,
    client: reqwest::Client,
    url: String,
}

impl Drop for Receiver {
    fn drop(&mut self) {
        // It may have ended already; there is nothing else to do about it here.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Receiver {
    /// Starts one that writes to this file; none when the Python is missing, which has been said.
    pub(crate) fn start(log: &Path) -> Option<Self> {
        let mut command = Command::new(parts::python()?);
        command.arg("-B").arg(parts::repository().join("tests/tools/webhook_receiver.py"));
        command.arg("--with-parent").arg("--log").arg(log);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let said: Value = serde_json::from_str(&line).expect("the receiver says where it listens");
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        Some(Self { child, client, url: text(&said, "url") })
    }

    /// Where deliveries go.
    pub(crate) fn hook(&self, path: &str) -> String {
        format!("{}/{path}", self.url)
    }

    async fn put(&self, path: &str, body: &Value) {
        let answer = self.client.put(format!("{}/{path}", self.url)).json(body).send().await.unwrap();
        assert!(answer.status().is_success(), "the receiver refuses {path}");
    }

    /// Any of these verifies from now on.
    pub(crate) async fn trust(&self, secrets: &[&str]) {
        self.put("secrets", &json!(secrets)).await;
    }

    /// Refuses the next `times` good deliveries.
    pub(crate) async fn fail_next(&self, times: u32) {
        self.put("behaviour", &json!({ "fail_next": times, "status": 503 })).await;
    }

    /// What was received, with the counts.
    pub(crate) async fn deliveries(&self) -> Value {
        self.client.get(format!("{}/deliveries", self.url)).send().await.unwrap().json().await.unwrap()
    }
}
