//! The merchant: a client of the real HTTP API with a real key.

use std::time::Duration;

use anyhow::{Context, bail};
use reqwest::{Method, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::Instant;
use uuid::Uuid;

use super::books::{Asset, Balances, units};

/// How long one request may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(25);
/// How long the system may take until everything runs.
const READY_WAIT: Duration = Duration::from_secs(30);
/// Pages of a list that are read at most.
const PAGES_MAX: usize = 1_000;
/// Seconds to the deadline of a payment that is not about deadlines.
const EXPIRES_IN: u32 = 1_800;

/// The API, with a key.
pub(super) struct Api {
    client: reqwest::Client,
    url: String,
    key: String,
}

impl Api {
    /// With this key.
    pub(super) fn new(url: &str, key: &str) -> anyhow::Result<Self> {
        let client = reqwest::Client::builder().no_proxy().timeout(REQUEST_TIMEOUT).build();
        let client = client.context("cannot prepare the HTTP client")?;
        Ok(Self { client, url: url.to_owned(), key: key.to_owned() })
    }

    /// Waits until every part runs and the key is known, which the API learns from the log.
    pub(super) async fn ready(&self) -> anyhow::Result<()> {
        let end = Instant::now() + READY_WAIT;
        for path in ["/readyz", "/v1/merchants"] {
            while let Err(error) = self.get(path).await {
                if Instant::now() > end {
                    return Err(error.context(format!("not ready after {} s", READY_WAIT.as_secs())));
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        Ok(())
    }

    /// Waits, for as long as it takes, until the system knows the key: who keeps the books is yet to be started.
    pub(super) async fn known(&self) {
        while self.get("/v1/merchants").await.is_err() {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// Reads.
    pub(super) async fn get(&self, path: &str) -> anyhow::Result<Value> {
        self.send(Method::GET, path, None).await
    }

    /// Commands, under an idempotency key of its own.
    pub(super) async fn post(&self, path: &str, body: Value) -> anyhow::Result<Value> {
        self.send(Method::POST, path, Some(body)).await
    }

    async fn send(&self, method: Method, path: &str, body: Option<Value>) -> anyhow::Result<Value> {
        let what = format!("{method} {path}");
        let mut request = self.client.request(method, format!("{}{path}", self.url)).bearer_auth(&self.key);
        if let Some(body) = body {
            request = request.header("Idempotency-Key", Uuid::new_v4().to_string()).json(&body);
        }
        let answer = request.send().await.with_context(|| format!("{what}: no answer"))?;
        let status = answer.status();
        let text = answer.text().await.with_context(|| format!("{what}: the answer broke off"))?;
        if !matches!(status, StatusCode::OK | StatusCode::CREATED) {
            bail!("{what}: {status}: {text}");
        }
        serde_json::from_str(&text).with_context(|| format!("{what}: the answer is not JSON"))
    }
}

/// A payment as the API shows it, as far as the demo looks at it.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Payment {
    pub(super) id: String,
    pub(super) status: String,
    pub(super) asset: String,
    pub(super) amount_received: String,
    pub(super) amount_refunded: String,
    pub(super) fee: String,
    pub(super) deposit_address: Option<String>,
    pub(super) confirmations: u32,
    pub(super) transactions: Vec<Inclusion>,
}

/// A transfer of a payment.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Inclusion {
    pub(super) status: String,
}

impl Payment {
    /// Where to pay.
    pub(super) fn address(&self) -> anyhow::Result<&str> {
        self.deposit_address.as_deref().with_context(|| format!("{} has no deposit address", self.id))
    }
}

/// The end of an id, behind its kind.
pub(super) fn short(id: &str) -> String {
    let from = id.len().saturating_sub(6);
    format!("pay_…{}", id.get(from..).unwrap_or(id))
}

/// A merchant with its key.
pub(super) struct Shop {
    api: Api,
    /// `mer_…`
    pub(super) id: String,
    /// `sk_test_…`
    pub(super) key: String,
}

impl Shop {
    /// Opens a shop: a merchant, a key, and an endpoint at this address. Gives the endpoint's secret too.
    pub(super) async fn open(admin: &Api, hook: &str) -> anyhow::Result<(Self, String)> {
        let merchant = admin.post("/v1/merchants", json!({ "name": "demo shop" })).await?;
        let id = text(&merchant, "id")?;
        let scopes = ["read", "write", "refund"];
        let key = json!({ "merchant": id, "scopes": scopes, "mode": "test" });
        let key = text(&admin.post("/v1/api-keys", key).await?, "key")?;
        let api = Api::new(&admin.url, &key)?;
        let endpoint = json!({ "url": hook, "events": ["*"] });
        let endpoint = api.post("/v1/webhook-endpoints", endpoint).await?;
        Ok((Self { api, id, key }, text(&endpoint, "secret")?))
    }

    /// Asks for money.
    pub(super) async fn charge(&self, asset: Asset, amount: i128, what: &str) -> anyhow::Result<Payment> {
        self.charge_within(asset, amount, what, EXPIRES_IN).await
    }

    /// Asks for money, within so many seconds.
    pub(super) async fn charge_within(
        &self,
        asset: Asset,
        amount: i128,
        what: &str,
        expires_in: u32,
    ) -> anyhow::Result<Payment> {
        let method = if asset == Asset::Dollar { "card" } else { "chain" };
        let body = json!({
            "amount": asset.text(amount), "asset": asset.id(), "method": method,
            "description": what, "expires_in": expires_in,
        });
        Ok(serde_json::from_value(self.api.post("/v1/payments", body).await?)?)
    }

    /// A payment as it is now.
    pub(super) async fn payment(&self, id: &str) -> anyhow::Result<Payment> {
        Ok(serde_json::from_value(self.api.get(&format!("/v1/payments/{id}")).await?)?)
    }

    /// Withdraws a payment.
    pub(super) async fn cancel(&self, id: &str) -> anyhow::Result<()> {
        self.api.post(&format!("/v1/payments/{id}/cancel"), json!({})).await.map(drop)
    }

    /// Takes an underpaid payment as it is.
    pub(super) async fn accept(&self, id: &str) -> anyhow::Result<()> {
        self.api.post(&format!("/v1/payments/{id}/accept"), json!({})).await.map(drop)
    }

    /// Records a refund to an address.
    pub(super) async fn refund(&self, id: &str, amount: String, destination: &str) -> anyhow::Result<()> {
        let body = json!({ "payment": id, "amount": amount, "destination": destination, "reason": "demo" });
        self.api.post("/v1/refunds", body).await.map(drop)
    }

    /// The ids of everything that has happened, with their types.
    pub(super) async fn events(&self) -> anyhow::Result<Vec<(String, String)>> {
        let rows = self.list("/v1/events?limit=100").await?;
        rows.iter().map(|row| Ok((text(row, "id")?, text(row, "type")?))).collect()
    }

    /// The statuses of all payments.
    pub(super) async fn statuses(&self) -> anyhow::Result<Vec<String>> {
        let rows = self.list("/v1/payments?limit=100").await?;
        rows.iter().map(|row| text(row, "status")).collect()
    }

    /// What the accounts hold, but for those that hold nothing.
    pub(super) async fn balances(&self) -> anyhow::Result<Balances> {
        let answer = self.api.get("/v1/balances").await?;
        let mut balances = Balances::new();
        for row in answer["data"].as_array().into_iter().flatten() {
            let (account, asset) = (text(row, "account")?, text(row, "asset")?);
            let scale =
                if asset == Asset::Dollar.id() { Asset::Dollar.scale() } else { Asset::Token.scale() };
            balances.insert((account, asset), units(&text(row, "amount")?, scale)?);
        }
        balances.retain(|_, balance| *balance != 0);
        Ok(balances)
    }

    /// All rows of a list whose path has a query already.
    async fn list(&self, path: &str) -> anyhow::Result<Vec<Value>> {
        let mut rows = Vec::new();
        let mut next = path.to_owned();
        for _ in 0..PAGES_MAX {
            let mut page = self.api.get(&next).await?;
            rows.extend(page["data"].as_array_mut().map(std::mem::take).unwrap_or_default());
            match page["next_cursor"].as_str() {
                Some(cursor) => next = format!("{path}&cursor={cursor}"),
                None => return Ok(rows),
            }
        }
        bail!("{path} has more than {PAGES_MAX} pages")
    }
}

fn text(value: &Value, name: &str) -> anyhow::Result<String> {
    value[name]
        .as_str()
        .map(str::to_owned)
        .with_context(|| format!("the API's answer has no `{name}`: {value}"))
}
