//! The configuration files of these tests, and the environment that goes with them.

use crate::{chain::TestChain, stripe};

/// The extended public key of BIP-32's first test vector. Not the one of the development mnemonic: anvil's own accounts
/// would be deposit addresses.
pub(crate) const XPUB: &str = "xpub661MyMwAqRbcFtXgS5sYJABqqG9YLmC4Q1Rdap9gSE8NqtwybGhePY2gZ29ESFjqJoCu1Rupje8YtGqsefD265TMg7usUDFdp6W1EGMcet8";
/// The confirmations a transfer needs.
pub(crate) const CONFIRMATIONS: u64 = 3;

/// What a process is started with.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// `streambook.toml`.
    pub(crate) toml: String,
    /// Variables of the environment, secrets for example.
    pub(crate) environment: Vec<(&'static str, String)>,
}

impl Settings {
    /// Dollars by card, a receiver on this machine, quick retries; no chain.
    pub(crate) fn without_chain() -> Self {
        let toml = format!(
            "[api]\nlisten = \"127.0.0.1:0\"\nexempt_loopback = true\n\
             key_requests_per_second = 100000\nkey_burst = 100000\n\
             [webhooks]\nallowed_networks = [\"127.0.0.0/8\"]\nretry_after_seconds = [{}]\n\
             [stripe]\ncurrencies = [\"usd\"]\n[wallet]\nxpub = \"{XPUB}\"\n",
            ["1"; 30].join(", ")
        );
        let environment = vec![("STREAMBOOK_STRIPE__WEBHOOK_SECRETS", stripe::SECRET.to_owned())];
        Self { toml, environment }
    }

    /// The same, and a node of chain 31337 with this token.
    pub(crate) fn with_node(url: &str, token: &str) -> Self {
        let mut settings = Self::without_chain();
        settings.toml.push_str(&format!(
            "[[chain]]\nid = 31337\nrpc = [\"{url}\"]\nconfirmations = {CONFIRMATIONS}\npoll_interval_ms = 50\n\
             retry_max_ms = 1000\ntokens = [{{ asset = \"usdc:31337\", address = \"{token}\", decimals = 6 }}]\n"
        ));
        settings
    }

    /// The same, on this chain.
    pub(crate) fn on(chain: &impl TestChain) -> Self {
        Self::with_node(&chain.url(), &chain.tokens().accepted)
    }
}
