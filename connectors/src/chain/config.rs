//! The settings of a chain: what stands in `streambook.toml` and what it means once it is checked. Guarantee: a
//! [`ChainSettings`] can be run; every reason why a configuration cannot is named with its key and what is allowed.
//! Node URLs never show more than scheme, host and port: the rest often is a key.

use std::fmt;
use std::time::Duration;

use alloy_primitives::Address;
use serde::{Deserialize, Serialize, Serializer};
use url::Url;

use super::stall::StallLimits;

/// The URL of a node. Prints without credentials, path and query.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct NodeUrl(Url);

impl NodeUrl {
    /// Wraps a URL.
    pub fn new(url: Url) -> Self {
        Self(url)
    }

    /// The whole URL, to connect with.
    pub fn expose(&self) -> &Url {
        &self.0
    }
}

impl fmt::Display for NodeUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}://{}", self.0.scheme(), self.0.host_str().unwrap_or("?"))?;
        if let Some(port) = self.0.port() {
            write!(formatter, ":{port}")?;
        }
        let hidden = self.0.path() != "/" || self.0.query().is_some() || !self.0.username().is_empty();
        if hidden { write!(formatter, "/…") } else { Ok(()) }
    }
}

impl fmt::Debug for NodeUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

impl Serialize for NodeUrl {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A token whose transfers are observed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenConfig {
    /// The asset's id: a name and the chain's id, as in `usdc:1`.
    pub asset: String,
    /// The token's contract.
    pub address: Address,
    /// How many decimals its smallest unit has; 18 for USDC on BSC, 6 elsewhere.
    pub decimals: u8,
}

/// By which tag of the node a chain is final.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FinalityTag {
    /// The `finalized` tag.
    Finalized,
}

/// When a block counts as confirmed. There is never a silent step from one to the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finality {
    /// When this many blocks, its own included, stand on it.
    Confirmations(u64),
    /// When the node's `finalized` block is at it or above.
    Finalized,
}

/// What a node is asked for about transactions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Transactions {
    /// Whole transactions: their hashes and root are recomputed as well.
    #[default]
    Full,
    /// Hashes only: smaller answers, and the transactions' hashes are the node's word.
    Hashes,
}

/// One `[[chain]]` of the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChainConfig {
    /// EIP-155 chain id.
    pub id: u64,
    /// Nodes in order of preference.
    pub rpc: Vec<NodeUrl>,
    /// WebSocket URLs whose new heads are a reason to look at once; optional.
    #[serde(default)]
    pub ws: Vec<NodeUrl>,
    /// How many nodes must say the same of a head or of finality. 1: one is enough while no other contradicts it.
    #[serde(default = "defaults::agreement")]
    pub agreement: usize,
    /// A question goes to the next node as well when the first has not answered for so long, in milliseconds.
    #[serde(default = "defaults::hedge_after_ms")]
    pub hedge_after_ms: u64,
    /// A node that has not answered for so long, in milliseconds, is not waited for when the nodes vote.
    #[serde(default = "defaults::absent_after_ms")]
    pub absent_after_ms: u64,
    /// An alarm is raised when the head stands still for so long, in seconds.
    #[serde(default = "defaults::head_stall_seconds")]
    pub head_stall_seconds: u64,
    /// An alarm is raised when `safe` or `finalized` stands still for so long, in seconds.
    #[serde(default = "defaults::finality_stall_seconds")]
    pub finality_stall_seconds: u64,
    /// Confirmed after this many blocks; this or `finality`.
    #[serde(default)]
    pub confirmations: Option<u64>,
    /// Confirmed by the node's tag; this or `confirmations`.
    #[serde(default)]
    pub finality: Option<FinalityTag>,
    /// The first block that is read.
    #[serde(default)]
    pub start_block: u64,
    /// The tokens whose transfers are observed.
    pub tokens: Vec<TokenConfig>,
    /// Pause between two looks at the head, in milliseconds.
    #[serde(default = "defaults::poll_interval_ms")]
    pub poll_interval_ms: u64,
    /// Limit for one request, in milliseconds.
    #[serde(default = "defaults::request_timeout_ms")]
    pub request_timeout_ms: u64,
    /// Limit for one answer, in bytes.
    #[serde(default = "defaults::response_limit_bytes")]
    pub response_limit_bytes: usize,
    /// Blocks asked for at once while catching up.
    #[serde(default = "defaults::max_in_flight")]
    pub max_in_flight: usize,
    /// What is asked for about transactions.
    #[serde(default)]
    pub transactions: Transactions,
    /// First pause after a node failed, in milliseconds; it doubles with each failure.
    #[serde(default = "defaults::retry_min_ms")]
    pub retry_min_ms: u64,
    /// Longest pause after a node failed, in milliseconds.
    #[serde(default = "defaults::retry_max_ms")]
    pub retry_max_ms: u64,
    /// Blocks remembered below the head to link others to, where finality does not bound them.
    #[serde(default = "defaults::remembered_blocks")]
    pub remembered_blocks: u64,
}

mod defaults {
    pub(super) fn agreement() -> usize {
        1
    }
    pub(super) fn hedge_after_ms() -> u64 {
        500
    }
    pub(super) fn absent_after_ms() -> u64 {
        30_000
    }
    pub(super) fn head_stall_seconds() -> u64 {
        600
    }
    pub(super) fn finality_stall_seconds() -> u64 {
        3_600
    }
    pub(super) fn poll_interval_ms() -> u64 {
        1_000
    }
    pub(super) fn request_timeout_ms() -> u64 {
        10_000
    }
    pub(super) fn response_limit_bytes() -> usize {
        64 * 1024 * 1024
    }
    pub(super) fn max_in_flight() -> usize {
        12
    }
    pub(super) fn retry_min_ms() -> u64 {
        250
    }
    pub(super) fn retry_max_ms() -> u64 {
        60_000
    }
    pub(super) fn remembered_blocks() -> u64 {
        16_384
    }
}

/// Why a chain's configuration cannot be run: the key, and what is allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("chain {chain}: `{key}` {problem}; {remedy}")]
pub struct ConfigError {
    /// The chain's id as configured.
    pub chain: u64,
    /// The key inside its `[[chain]]`.
    pub key: String,
    /// What is wrong.
    pub problem: String,
    /// What to do.
    pub remedy: &'static str,
}

/// A chain's settings after they were checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChainSettings {
    /// EIP-155 chain id.
    pub chain_id: u64,
    /// Nodes in order of preference, at least one.
    pub nodes: Vec<NodeUrl>,
    /// Where new heads are subscribed to.
    pub subscriptions: Vec<NodeUrl>,
    /// How many nodes must say the same.
    pub agreement: usize,
    /// When the next node is asked as well.
    pub hedge_after: Duration,
    /// When a node that does not answer has no vote any more.
    pub absent_after: Duration,
    /// How long the head and finality may stand still.
    pub stall_limits: StallLimits,
    /// When a block counts as confirmed.
    pub finality: Finality,
    /// The first block that is read.
    pub start_block: u64,
    /// The tokens whose transfers are observed.
    pub tokens: Vec<TokenConfig>,
    /// Pause between two looks at the head.
    pub poll_interval: Duration,
    /// Limit for one request.
    pub request_timeout: Duration,
    /// Limit for one answer, in bytes.
    pub response_limit: usize,
    /// Blocks asked for at once while catching up.
    pub max_in_flight: usize,
    /// What is asked for about transactions.
    pub transactions: Transactions,
    /// First and longest pause after a node failed.
    pub retry: (Duration, Duration),
    /// Blocks remembered below the head.
    pub remembered_blocks: u64,
}

impl ChainSettings {
    /// The contracts of the tokens.
    pub fn contracts(&self) -> Vec<Address> {
        self.tokens.iter().map(|token| token.address).collect()
    }
}

impl ChainConfig {
    /// Checks everything that parsing cannot.
    ///
    /// # Errors
    /// Every [`ConfigError`] there is, not only the first.
    pub fn check(&self) -> Result<ChainSettings, Vec<ConfigError>> {
        let mut errors = Vec::new();
        self.check_nodes(&mut errors);
        self.check_tokens(&mut errors);
        self.check_limits(&mut errors);
        match self.finality_policy() {
            Ok(finality) if errors.is_empty() => Ok(self.settings(finality)),
            Ok(_) => Err(errors),
            Err(error) => {
                errors.push(error);
                Err(errors)
            }
        }
    }

    fn settings(&self, finality: Finality) -> ChainSettings {
        ChainSettings {
            chain_id: self.id,
            nodes: self.rpc.clone(),
            subscriptions: self.ws.clone(),
            agreement: self.agreement,
            hedge_after: Duration::from_millis(self.hedge_after_ms),
            absent_after: Duration::from_millis(self.absent_after_ms),
            stall_limits: StallLimits {
                head: Duration::from_secs(self.head_stall_seconds),
                finality: Duration::from_secs(self.finality_stall_seconds),
            },
            finality,
            start_block: self.start_block,
            tokens: self.tokens.clone(),
            poll_interval: Duration::from_millis(self.poll_interval_ms),
            request_timeout: Duration::from_millis(self.request_timeout_ms),
            response_limit: self.response_limit_bytes,
            max_in_flight: self.max_in_flight,
            transactions: self.transactions,
            retry: (Duration::from_millis(self.retry_min_ms), Duration::from_millis(self.retry_max_ms)),
            remembered_blocks: self.remembered_blocks,
        }
    }

    fn error(&self, key: &str, problem: impl Into<String>, remedy: &'static str) -> ConfigError {
        ConfigError { chain: self.id, key: key.to_owned(), problem: problem.into(), remedy }
    }

    fn finality_policy(&self) -> Result<Finality, ConfigError> {
        let remedy = "set either `confirmations = 3` (1 or more) or `finality = \"finalized\"`";
        match (self.confirmations, self.finality) {
            (Some(0), None) => Err(self.error("confirmations", "is 0", remedy)),
            (Some(depth), None) => Ok(Finality::Confirmations(depth)),
            (None, Some(FinalityTag::Finalized)) => Ok(Finality::Finalized),
            (None, None) => Err(self.error("confirmations", "is missing", remedy)),
            (Some(_), Some(_)) => Err(self.error("finality", "is set beside `confirmations`", remedy)),
        }
    }

    fn check_nodes(&self, errors: &mut Vec<ConfigError>) {
        let remedy = "list at least one URL that begins with http:// or https://";
        if self.id == 0 {
            errors.push(self.error("id", "is 0", "use the chain's EIP-155 id, 1 for Ethereum"));
        }
        if self.rpc.is_empty() {
            errors.push(self.error("rpc", "is empty", remedy));
        }
        for (index, node) in self.rpc.iter().enumerate() {
            if !matches!(node.0.scheme(), "http" | "https") {
                let problem = format!("has the scheme {}", node.0.scheme());
                errors.push(self.error(&format!("rpc[{index}]"), problem, remedy));
            }
        }
        for (index, node) in self.ws.iter().enumerate() {
            if !matches!(node.0.scheme(), "ws" | "wss") {
                let problem = format!("has the scheme {}", node.0.scheme());
                let remedy = "list URLs that begin with ws:// or wss://, or leave it out";
                errors.push(self.error(&format!("ws[{index}]"), problem, remedy));
            }
        }
        if self.agreement == 0 || self.agreement > self.rpc.len().max(1) {
            let problem = format!("is {} with {} nodes", self.agreement, self.rpc.len());
            let remedy = "use 1 up to the number of URLs in `rpc`";
            errors.push(self.error("agreement", problem, remedy));
        }
    }

    fn check_tokens(&self, errors: &mut Vec<ConfigError>) {
        for (index, token) in self.tokens.iter().enumerate() {
            let key = |name: &str| format!("tokens[{index}].{name}");
            let of_chain = token
                .asset
                .split_once(':')
                .is_some_and(|(name, chain)| !name.is_empty() && chain == self.id.to_string());
            if !of_chain {
                let problem = format!("is {:?}", token.asset);
                errors.push(self.error(
                    &key("asset"),
                    problem,
                    "write a name and this chain's id, as in usdc:1",
                ));
            }
            if token.decimals > 30 {
                let problem = format!("is {}", token.decimals);
                errors.push(self.error(
                    &key("decimals"),
                    problem,
                    "use what the contract's decimals() answers, at most 30",
                ));
            }
            let earlier = self.tokens.iter().take(index);
            if earlier.clone().any(|other| other.address == token.address) {
                errors.push(self.error(&key("address"), "is listed twice", "list each contract once"));
            }
            if earlier.clone().any(|other| other.asset == token.asset) {
                errors.push(self.error(
                    &key("asset"),
                    "is listed twice",
                    "give each contract an asset of its own",
                ));
            }
        }
    }

    fn check_limits(&self, errors: &mut Vec<ConfigError>) {
        let mut within = |key, value: u64, (low, high): (u64, u64), remedy| {
            if value < low || value > high {
                errors.push(self.error(key, format!("is {value}"), remedy));
            }
        };
        within("poll_interval_ms", self.poll_interval_ms, (10, 60_000), "use 10 to 60000");
        within("request_timeout_ms", self.request_timeout_ms, (50, 120_000), "use 50 to 120000");
        within(
            "max_in_flight",
            u64::try_from(self.max_in_flight).unwrap_or(u64::MAX),
            (1, 64),
            "use 1 to 64",
        );
        within("hedge_after_ms", self.hedge_after_ms, (1, 60_000), "use 1 to 60000");
        within("absent_after_ms", self.absent_after_ms, (1, 3_600_000), "use 1 to 3600000");
        within("head_stall_seconds", self.head_stall_seconds, (1, 86_400), "use 1 to 86400");
        within("finality_stall_seconds", self.finality_stall_seconds, (1, 604_800), "use 1 to 604800");
        within("retry_min_ms", self.retry_min_ms, (1, 60_000), "use 1 to 60000");
        within("retry_max_ms", self.retry_max_ms, (self.retry_min_ms, 60_000), "use retry_min_ms to 60000");
        within("remembered_blocks", self.remembered_blocks, (64, 1_000_000), "use 64 to 1000000");
        let limit = u64::try_from(self.response_limit_bytes).unwrap_or(u64::MAX);
        within("response_limit_bytes", limit, (65_536, 1 << 30), "use 65536 to 1073741824");
    }
}
