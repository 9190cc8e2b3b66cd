//! `streambook keys / merchants / endpoints`: administration of a running Streambook, through its API.

use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::{Value, json};

use crate::output;

/// Which Streambook, and with which key.
#[derive(Args)]
pub(crate) struct Target {
    /// The URL of the running Streambook.
    #[arg(long, value_name = "URL", env = "STREAMBOOK_URL", default_value = "http://127.0.0.1:8080")]
    api: String,
    /// The admin key that `streambook up` showed at its first start.
    #[arg(long, value_name = "KEY", env = "STREAMBOOK_KEY", hide_env_values = true)]
    key: String,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// API keys.
#[derive(Subcommand)]
pub(crate) enum Keys {
    /// Create a key for a merchant; it is shown once.
    #[command(
        after_help = "Example:\n  streambook keys create --merchant mer_… --scopes read,write --mode test"
    )]
    Create {
        #[command(flatten)]
        target: Target,
        /// The merchant it acts for.
        #[arg(long)]
        merchant: String,
        /// What it may do: read, write, refund.
        #[arg(long, value_delimiter = ',', default_value = "read,write,refund")]
        scopes: Vec<String>,
        /// Whether it sees test or live data.
        #[arg(long, default_value = "test", value_parser = ["test", "live"])]
        mode: String,
    },
    /// List keys; the keys themselves are not stored.
    #[command(after_help = "Example:\n  streambook keys list")]
    List {
        #[command(flatten)]
        target: Target,
    },
    /// Revoke a key, at once.
    #[command(after_help = "Example:\n  streambook keys revoke key_…")]
    Revoke {
        #[command(flatten)]
        target: Target,
        /// The key's id.
        id: String,
    },
}

/// Merchants.
#[derive(Subcommand)]
pub(crate) enum Merchants {
    /// Create a merchant.
    #[command(after_help = "Example:\n  streambook merchants create shop")]
    Create {
        #[command(flatten)]
        target: Target,
        /// Its name.
        name: String,
        /// The set of posting templates its books use: custodial or direct.
        #[arg(long)]
        settlement: Option<String>,
    },
    /// Change a merchant: what is not given stays as it is.
    #[command(
        after_help = "Example:\n  streambook merchants update mer_… --address 1=0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed \\\n    \
                      --tolerance-ppm 1000 --tolerance usdc:1=0.01"
    )]
    Update {
        #[command(flatten)]
        target: Target,
        /// The merchant's id.
        id: String,
        /// Its name.
        #[arg(long)]
        name: Option<String>,
        /// The set of posting templates of its payments to come.
        #[arg(long)]
        settlement: Option<String>,
        /// Its own address on a chain; `CHAIN=` takes it out. It stays the merchant's for ever.
        #[arg(long = "address", value_name = "CHAIN=ADDRESS", value_parser = pair)]
        addresses: Vec<(String, String)>,
        /// Millionths of an amount that what is received may differ by.
        #[arg(long, value_name = "PPM")]
        tolerance_ppm: Option<u32>,
        /// At least so much of an asset; `ASSET=` takes it out.
        #[arg(long = "tolerance", value_name = "ASSET=AMOUNT", value_parser = pair)]
        tolerances: Vec<(String, String)>,
    },
    /// List merchants.
    #[command(after_help = "Example:\n  streambook merchants list")]
    List {
        #[command(flatten)]
        target: Target,
    },
}

/// Webhook endpoints.
#[derive(Subcommand)]
pub(crate) enum Endpoints {
    /// Create an endpoint; its signing secret is shown once.
    #[command(
        after_help = "Example:\n  streambook endpoints create --merchant mer_… https://shop.example/hook"
    )]
    Create {
        #[command(flatten)]
        target: Target,
        /// Whose endpoint it is.
        #[arg(long)]
        merchant: String,
        /// Event types it wants.
        #[arg(long, value_delimiter = ',', default_value = "*")]
        events: Vec<String>,
        /// Where messages go.
        url: String,
    },
    /// List a merchant's endpoints.
    #[command(after_help = "Example:\n  streambook endpoints list --merchant mer_…")]
    List {
        #[command(flatten)]
        target: Target,
        /// Whose endpoints.
        #[arg(long)]
        merchant: String,
    },
    /// Delete an endpoint.
    #[command(after_help = "Example:\n  streambook endpoints delete --merchant mer_… we_…")]
    Delete {
        #[command(flatten)]
        target: Target,
        /// Whose endpoint it is.
        #[arg(long)]
        merchant: String,
        /// The endpoint's id.
        id: String,
    },
}

impl Keys {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        match self {
            Self::Create { target, merchant, scopes, mode } => {
                let body = json!({ "merchant": merchant, "scopes": scopes, "mode": mode });
                target.post("/v1/api-keys", None, &body).await
            }
            Self::List { target } => {
                target.list("/v1/api-keys", None, &["id", "merchant", "mode", "scopes", "hint"]).await
            }
            Self::Revoke { target, id } => target.delete(&format!("/v1/api-keys/{id}"), None).await,
        }
    }
}

impl Merchants {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        match self {
            Self::Create { target, name, settlement } => {
                let mut body = json!({ "name": name });
                if let Some(settlement) = settlement {
                    body["settlement"] = settlement.into();
                }
                target.post("/v1/merchants", None, &body).await
            }
            Self::Update { target, id, name, settlement, addresses, tolerance_ppm, tolerances } => {
                let path = format!("/v1/merchants/{id}");
                let mut merchant = target.call(Method::GET, &path, None, None).await?;
                merchant["name"] = name.map_or_else(|| merchant["name"].take(), Value::from);
                merchant["settlement"] =
                    settlement.map_or_else(|| merchant["settlement"].take(), Value::from);
                set(&mut merchant["addresses"], addresses);
                if merchant["tolerance"].is_null() {
                    merchant["tolerance"] = json!({ "parts_per_million": 0, "amounts": {} });
                }
                if let Some(ppm) = tolerance_ppm {
                    merchant["tolerance"]["parts_per_million"] = ppm.into();
                }
                set(&mut merchant["tolerance"]["amounts"], tolerances);
                let body = json!({
                    "name": merchant["name"], "settlement": merchant["settlement"],
                    "addresses": merchant["addresses"], "tolerance": merchant["tolerance"],
                });
                target.show(&target.call(Method::PUT, &path, None, Some(&body)).await?)
            }
            Self::List { target } => {
                target.list("/v1/merchants", None, &["id", "name", "settlement", "created_at"]).await
            }
        }
    }
}

/// `NAME=VALUE`.
fn pair(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once('=').filter(|(name, _)| !name.is_empty());
    pair.map(|(name, value)| (name.to_owned(), value.to_owned()))
        .ok_or_else(|| format!("`{text}` has no `=`: give NAME=VALUE"))
}

/// Sets the named fields; those without a value are taken out.
fn set(object: &mut Value, pairs: Vec<(String, String)>) {
    let Some(fields) = object.as_object_mut() else { return };
    for (name, value) in pairs {
        if value.is_empty() {
            fields.remove(&name);
        } else {
            fields.insert(name, value.into());
        }
    }
}

impl Endpoints {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        const PATH: &str = "/v1/webhook-endpoints";
        match self {
            Self::Create { target, merchant, events, url } => {
                target.post(PATH, Some(&merchant), &json!({ "url": url, "events": events })).await
            }
            Self::List { target, merchant } => {
                target.list(PATH, Some(&merchant), &["id", "url", "events"]).await
            }
            Self::Delete { target, merchant, id } => {
                target.delete(&format!("{PATH}/{id}"), Some(&merchant)).await
            }
        }
    }
}

impl Target {
    async fn post(&self, path: &str, merchant: Option<&str>, body: &Value) -> anyhow::Result<ExitCode> {
        self.show(&self.call(Method::POST, path, merchant, Some(body)).await?)
    }

    async fn delete(&self, path: &str, merchant: Option<&str>) -> anyhow::Result<ExitCode> {
        self.show(&self.call(Method::DELETE, path, merchant, None).await?)
    }

    async fn list(&self, path: &str, merchant: Option<&str>, columns: &[&str]) -> anyhow::Result<ExitCode> {
        let found = self.call(Method::GET, path, merchant, None).await?;
        if self.json {
            output::json(&found)?;
            return Ok(ExitCode::SUCCESS);
        }
        let rows = found["data"].as_array().cloned().unwrap_or_default();
        output::table(
            columns,
            rows.iter().map(|row| columns.iter().map(|column| cell(&row[*column])).collect()),
        );
        Ok(ExitCode::SUCCESS)
    }

    fn show(&self, value: &Value) -> anyhow::Result<ExitCode> {
        match value.as_object() {
            Some(fields) if !self.json => {
                output::table(
                    &["field", "value"],
                    fields.iter().map(|(name, value)| vec![name.clone(), cell(value)]),
                );
            }
            _ => output::json(value)?,
        }
        Ok(ExitCode::SUCCESS)
    }

    async fn call(
        &self,
        method: Method,
        path: &str,
        merchant: Option<&str>,
        body: Option<&Value>,
    ) -> anyhow::Result<Value> {
        let url = format!("{}{path}", self.api.trim_end_matches('/'));
        let mut request = reqwest::Client::new().request(method, &url).bearer_auth(&self.key);
        if let Some(merchant) = merchant {
            request = request.header("Streambook-Merchant", merchant);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        let response = request
            .send()
            .await
            .with_context(|| format!("cannot reach {url}: is `streambook up` running?"))?;
        let status = response.status();
        let text = response.text().await.context("the answer broke off")?;
        let value: Value = if text.is_empty() {
            json!({})
        } else {
            serde_json::from_str(&text).unwrap_or(Value::String(text))
        };
        if !status.is_success() {
            let detail = value["detail"].as_str().map_or_else(|| value.to_string(), str::to_owned);
            bail!("{status}: {detail}");
        }
        Ok(value)
    }
}

fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(cell).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}
