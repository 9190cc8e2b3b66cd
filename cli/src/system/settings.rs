//! From the operator's configuration to the settings that travel in the log.

use anyhow::Context;
use streambook_model::{
    asset::{Asset, currency_scale},
    chain::{ChainId, ConfirmationPolicy},
    records::settings::{ChainSettings, FeeSchedule, Settings},
};
use streambook_processors::book::ledger::{BUILTIN_POSTINGS, Templates};

use crate::config::Config;

/// The settings of this configuration. The registry gives them their version.
pub(super) fn of(config: &Config) -> anyhow::Result<Settings> {
    let mut chains = config.chain.iter().map(chain).collect::<anyhow::Result<Vec<_>>>()?;
    for chain in &mut chains {
        chain.look_back_seconds = config.data.look_back_seconds;
    }
    chains.sort_by_key(|chain| chain.id);
    Ok(Settings {
        version: 0,
        assets: assets(config)?,
        chains,
        fee: FeeSchedule { parts_per_million: config.fees.parts_per_million },
        xpub: config.wallet.xpub.clone(),
        postings: postings(config)?,
        tiers: config.tiers().map_err(anyhow::Error::msg)?,
        exact_amount_grace_seconds: config.matching.exact_amount_grace_seconds,
    })
}

fn chain(config: &streambook_connectors::chain::ChainConfig) -> anyhow::Result<ChainSettings> {
    let depth = config.confirmations.map(u32::try_from).transpose();
    let depth = depth.with_context(|| format!("[[chain]] {}: confirmations is too large", config.id))?;
    Ok(ChainSettings { id: ChainId(config.id), policy: ConfirmationPolicy { depth }, look_back_seconds: 0 })
}

fn assets(config: &Config) -> anyhow::Result<Vec<Asset>> {
    let mut assets = Vec::new();
    for (id, scale, contract) in config.tokens() {
        assets.push(Asset { id: id.parse()?, scale, contract: Some(contract) });
    }
    for code in &config.stripe.currencies {
        let scale = currency_scale(code).with_context(|| format!("[stripe] currencies: `{code}`"))?;
        assets.push(Asset { id: code.parse()?, scale, contract: None });
    }
    for asset in &config.asset {
        assets.push(Asset { id: asset.id.parse()?, scale: asset.scale, contract: None });
    }
    assets.sort_by(|a, b| a.id.cmp(&b.id));
    Ok(assets)
}

/// The text is checked here, so that a wrong file is refused at start and not by a processor.
fn postings(config: &Config) -> anyhow::Result<String> {
    let text = match &config.postings.file {
        Some(path) => std::fs::read_to_string(path)
            .with_context(|| format!("[postings] file: cannot read {}", path.display()))?,
        None => BUILTIN_POSTINGS.to_owned(),
    };
    Templates::parse(&text).context("[postings] file")?;
    Ok(text)
}
