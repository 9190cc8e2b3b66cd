//! One attempt: one signed POST, and what its outcome means. Everything but a 2xx answer may be tried again.

use std::{
    error::Error,
    time::{Duration, Instant},
};

use futures::StreamExt;
use reqwest::{Client, Response, header, redirect};
use streambook_model::{
    records::{registry::Endpoint, webhook::WebhookMessage},
    time::Timestamp,
};
use streambook_runtime::{secrets::SecretKey, step::chain_of};
use url::Url;

use super::{
    address::{AddressRule, GuardedResolver},
    config::WebhooksConfig,
    signature::{open_all, sign},
};

/// What an attempt led to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    /// The status, if the endpoint answered.
    pub(super) status_code: Option<u16>,
    /// What went wrong; absent after a 2xx.
    pub(super) error: Option<String>,
    /// How long it took.
    pub(super) took: Duration,
}

/// Makes attempts.
pub(super) struct Service {
    client: Client,
    rule: AddressRule,
    key: SecretKey,
    timeout: Duration,
    response_limit: usize,
}

impl Service {
    /// With these settings; secrets are sealed under `key`.
    pub(super) fn new(config: &WebhooksConfig, key: SecretKey) -> Result<Self, reqwest::Error> {
        let rule = AddressRule::new(&config.allowed_networks);
        let client = Client::builder()
            .redirect(redirect::Policy::none())
            .no_proxy()
            .dns_resolver(GuardedResolver { rule: rule.clone() })
            .timeout(config.timeout())
            .pool_max_idle_per_host(config.max_in_flight_per_endpoint)
            .user_agent(concat!("Streambook/", env!("CARGO_PKG_VERSION")))
            .build()?;
        let response_limit = config.response_limit_bytes;
        Ok(Self { client, rule, key, timeout: config.timeout(), response_limit })
    }

    /// Sends a message once. Never fails: whatever happens is the answer.
    pub(super) async fn attempt(
        &self,
        endpoint: &Endpoint,
        message: &WebhookMessage,
        now: Timestamp,
    ) -> Answer {
        let began = Instant::now();
        let sent = tokio::time::timeout(self.timeout, self.send(endpoint, message, now)).await;
        let sent =
            sent.unwrap_or_else(|_| Err(format!("no answer within {} ms", self.timeout.as_millis()).into()));
        let took = began.elapsed();
        match sent {
            Ok(status) if (200..300).contains(&status) => {
                Answer { status_code: Some(status), error: None, took }
            }
            Ok(status) => {
                Answer { status_code: Some(status), error: Some(format!("answered {status}")), took }
            }
            Err(error) => Answer { status_code: None, error: Some(chain_of(&*error)), took },
        }
    }

    async fn send(
        &self,
        endpoint: &Endpoint,
        message: &WebhookMessage,
        now: Timestamp,
    ) -> Result<u16, Box<dyn Error + Send + Sync>> {
        let url: Url = endpoint.url.parse()?;
        // The resolver never sees a literal address, so it is checked here, at every attempt.
        self.rule.check_url(&url)?;
        let secrets = open_all(endpoint, &self.key)?;
        let id = message.event.to_string();
        let request = self
            .client
            .post(url)
            .header(header::CONTENT_TYPE, "application/json")
            .header("webhook-id", &id)
            .header("webhook-timestamp", now.millis().div_euclid(1_000))
            .header("webhook-signature", sign(&secrets, &id, now, &message.body))
            .body(message.body.clone());
        let response = request.send().await?;
        let status = response.status().as_u16();
        self.drain(response).await?;
        Ok(status)
    }

    /// Reads what the endpoint says, so that the connection can be used again, but not more than the limit.
    async fn drain(&self, response: Response) -> Result<(), reqwest::Error> {
        let mut left = self.response_limit;
        let mut body = response.bytes_stream();
        while let Some(chunk) = body.next().await {
            match left.checked_sub(chunk?.len()) {
                Some(rest) => left = rest,
                None => break,
            }
        }
        Ok(())
    }
}
