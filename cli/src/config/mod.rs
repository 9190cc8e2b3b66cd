//! `streambook.toml`: plain structures, unknown keys refused, units in the names. Reading, checking and connecting are
//! three steps: this module reads and checks, the system connects.

mod default;
mod load;
mod tiers;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use streambook_api::ApiConfig;
use streambook_connectors::chain::ChainConfig;
use streambook_model::{
    asset::{AssetId, currency_scale},
    bytes::Address,
};
use streambook_sinks::{clickhouse::ClickHouseConfig, sql::SqlConfig, webhooks::WebhooksConfig};

pub(crate) use self::{
    default::DEFAULT_CONFIG,
    load::load,
    tiers::{MatchingConfig, TierConfig},
};

/// The whole configuration.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Config {
    pub(crate) data: DataConfig,
    pub(crate) log: LogConfig,
    pub(crate) api: ApiConfig,
    pub(crate) sql: SqlConfig,
    pub(crate) clickhouse: ClickHouseConfig,
    pub(crate) webhooks: WebhooksConfig,
    pub(crate) stripe: StripeConfig,
    pub(crate) wallet: WalletConfig,
    pub(crate) fees: FeesConfig,
    pub(crate) postings: PostingsConfig,
    pub(crate) logging: LoggingConfig,
    pub(crate) chain: Vec<ChainConfig>,
    pub(crate) asset: Vec<AssetConfig>,
    pub(crate) tier: Vec<TierConfig>,
    pub(crate) matching: MatchingConfig,
}

/// Where everything is kept, and with how much memory.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct DataConfig {
    pub(crate) dir: PathBuf,
    pub(crate) write_buffer_mib: u64,
    pub(crate) cache_mib: u64,
    pub(crate) retention_days: u64,
    pub(crate) secret_key_file: Option<PathBuf>,
    pub(crate) look_back_seconds: u32,
}

impl Default for DataConfig {
    fn default() -> Self {
        Self {
            dir: PathBuf::from("streambook-data"),
            write_buffer_mib: 64,
            cache_mib: 64,
            retention_days: 30,
            secret_key_file: None,
            look_back_seconds: 86_400,
        }
    }
}

/// Which engine holds the topics.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct LogConfig {
    pub(crate) engine: Engine,
    pub(crate) endpoint: String,
    pub(crate) replication: u16,
}

/// An engine of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Engine {
    /// In the data directory of one process.
    Embedded,
    /// On a Fluvio cluster that many processes share.
    Fluvio,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { engine: Engine::Embedded, endpoint: "127.0.0.1:9003".to_owned(), replication: 2 }
    }
}

/// Stripe: which currencies are accepted; the signing secrets come from the environment or a file.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct StripeConfig {
    pub(crate) currencies: Vec<String>,
    #[serde(skip_serializing)]
    pub(crate) webhook_secrets: Vec<String>,
    pub(crate) webhook_secrets_file: Option<PathBuf>,
}

impl StripeConfig {
    /// Whether there is anything that a delivery could be signed with.
    pub(crate) fn has_secrets(&self) -> bool {
        !self.webhook_secrets.is_empty() || self.webhook_secrets_file.is_some()
    }
}

/// The wallet deposit addresses come from.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct WalletConfig {
    pub(crate) xpub: Option<String>,
}

/// What a completed payment costs.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct FeesConfig {
    pub(crate) parts_per_million: u32,
}

impl Default for FeesConfig {
    fn default() -> Self {
        Self { parts_per_million: 5_000 }
    }
}

/// Posting templates of the operator's own.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct PostingsConfig {
    pub(crate) file: Option<PathBuf>,
}

/// How logs are written.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct LoggingConfig {
    pub(crate) format: LogFormat,
    pub(crate) level: String,
}

/// The form of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum LogFormat {
    Json,
    Text,
}

impl Default for LoggingConfig {
    fn default() -> Self {
        Self { format: LogFormat::Json, level: "info".into() }
    }
}

/// An asset that is neither a configured chain's token nor a currency: a test currency, points.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AssetConfig {
    pub(crate) id: String,
    pub(crate) scale: u8,
}

/// The largest scale: 38 digits leave room for nothing above it.
const LARGEST_SCALE: u8 = 30;

impl Config {
    /// Everything that is wrong with it, each with its key and the remedy. Empty when it can be used.
    pub(crate) fn problems(&self) -> Vec<String> {
        let mut problems: Vec<String> = Vec::new();
        problems.extend(self.api.validate().err().map(|error| error.to_string()));
        problems.extend(self.sql.validate().err().map(|error| error.to_string()));
        problems.extend(self.clickhouse.validate().err().map(|error| error.to_string()));
        problems.extend(self.webhooks.problems().into_iter().map(|problem| format!("[webhooks] {problem}")));
        for chain in &self.chain {
            problems.extend(chain.check().err().into_iter().flatten().map(|error| error.to_string()));
        }
        if self.log.replication == 0 {
            problems.push("[log] replication is 0: at least 1, and 2 for records to survive a server".into());
        }
        problems.extend(self.chain_problems());
        problems.extend(self.money_problems());
        problems.extend(self.wallet_problems());
        problems.extend(tiers::problems(self));
        problems
    }

    fn chain_problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let mut ids: Vec<_> = self.chain.iter().map(|chain| chain.id).collect();
        ids.sort_unstable();
        let twice: Vec<_> = ids.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0]).collect();
        problems.extend(
            twice.iter().map(|id| format!("[[chain]] id {id} is there twice: one section for each chain")),
        );
        if !self.chain.is_empty() && self.wallet.xpub.is_none() {
            problems.push(
                "[wallet] xpub is missing: chain payments need the extended public key (xpub…) that deposit \
                 addresses are derived from"
                    .into(),
            );
        }
        problems
    }

    fn money_problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        for asset in &self.asset {
            if let Err(error) = asset.id.parse::<AssetId>() {
                problems.push(format!("[[asset]] id: {error}"));
            }
            if asset.id.contains(':') {
                problems
                    .push(format!("[[asset]] id {}: a token belongs in its [[chain]]'s `tokens`", asset.id));
            }
            if asset.scale > LARGEST_SCALE {
                problems.push(format!(
                    "[[asset]] scale of {} is {}: at most {LARGEST_SCALE}",
                    asset.id, asset.scale
                ));
            }
        }
        for currency in self.stripe.currencies.iter().filter(|code| currency_scale(code).is_none()) {
            problems.push(format!(
                "[stripe] currencies: `{currency}` is not a three-letter lower-case currency code"
            ));
        }
        if self.fees.parts_per_million > 1_000_000 {
            problems.push("[fees] parts_per_million is above 1000000, which is the whole amount".into());
        }
        problems
    }

    fn wallet_problems(&self) -> Vec<String> {
        let check = |xpub: &String| streambook_processors::book::check_xpub(xpub).err();
        let problem = self.wallet.xpub.as_ref().and_then(check);
        problem.into_iter().map(|problem| format!("[wallet] xpub: {problem}")).collect()
    }

    /// Every token's contract, for those that need it by asset.
    pub(crate) fn tokens(&self) -> impl Iterator<Item = (&str, u8, Address)> {
        let tokens = self.chain.iter().flat_map(|chain| &chain.tokens);
        tokens.map(|token| (token.asset.as_str(), token.decimals, Address::new(token.address.into_array())))
    }
}

#[cfg(test)]
mod tests;
