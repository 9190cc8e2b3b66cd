//! The operator's settings: checked, numbered, and sent to every book and every chain.

use std::collections::BTreeSet;

use streambook_model::{
    asset::Asset,
    position::Partition,
    records::{registry::SettingsChanged, settings::Settings},
    topics,
};
use streambook_runtime::{
    processor::{Context, Fault},
    state::{State, StateError},
    table::Table,
};

use super::tiers;

/// The key of settings in every topic.
const KEY: &str = "settings";
/// A fee of everything.
const WHOLE_PPM: u32 = 1_000_000;

const SETTINGS: Table<Settings> = Table::new(7);

/// Puts settings in force. The version is counted here, whatever the record says; the same content is no change.
pub(super) fn put(context: &mut Context<'_>, mut settings: Settings) -> Result<(), Fault> {
    settings.assets.sort_by(|a, b| a.id.cmp(&b.id));
    settings.chains.sort_by_key(|chain| chain.id);
    settings.tiers.sort_by(|a, b| (&a.asset, a.from).cmp(&(&b.asset, b.from)));
    check(&settings).map_err(|reason| Fault::dead_letter("invalid_settings", reason))?;
    let known = SETTINGS.get(&context.state, ())?;
    settings.version = known.as_ref().map_or(0, |known| known.version);
    if known.as_ref() == Some(&settings) {
        return Ok(());
    }
    let next = settings.version.checked_add(1);
    settings.version = next.ok_or_else(|| Fault::Stop("settings have no version numbers left".into()))?;
    SETTINGS.put(&mut context.state, (), &settings)?;
    say(context, &settings);
    Ok(())
}

/// The settings in force.
pub(super) fn in_force(state: &dyn State) -> Result<Option<Settings>, StateError> {
    SETTINGS.get(state, ())
}

fn say(context: &mut Context<'_>, settings: &Settings) {
    let about = |context: &Context<'_>| SettingsChanged {
        meta: context.meta(context.now()),
        settings: settings.clone(),
    };
    let changed = about(context);
    context.emit(topics::REGISTRY_EVENTS, KEY, changed);
    for topic in [topics::BOOK_INBOX, topics::CHAIN_INBOX] {
        for partition in 0..topic.partitions {
            let changed = about(context);
            context.emit_to(topic, Partition(partition), KEY, changed);
        }
    }
}

fn check(settings: &Settings) -> Result<(), String> {
    check_chains(settings)?;
    check_assets(settings)?;
    tiers::check(settings)?;
    if settings.fee.parts_per_million > WHOLE_PPM {
        return Err(format!("fee.parts_per_million is more than {WHOLE_PPM}, which is the whole amount"));
    }
    if settings.postings.trim().is_empty() {
        return Err("postings is empty: give the posting templates as TOML text".into());
    }
    Ok(())
}

fn check_chains(settings: &Settings) -> Result<(), String> {
    let mut ids = BTreeSet::new();
    for chain in &settings.chains {
        if !ids.insert(chain.id) {
            return Err(format!("chains: {} is listed twice: keep one", chain.id));
        }
        if chain.policy.depth == Some(0) {
            return Err(format!(
                "chains: {} has depth 0: use 1 or more, or leave it out for `finalized`",
                chain.id
            ));
        }
    }
    Ok(())
}

fn check_assets(settings: &Settings) -> Result<(), String> {
    let (mut ids, mut contracts) = (BTreeSet::new(), BTreeSet::new());
    for asset in &settings.assets {
        if !ids.insert(&asset.id) {
            return Err(format!("assets: {} is listed twice: keep one", asset.id));
        }
        check_asset(asset, settings)?;
        if let Some(contract) = asset.contract
            && !contracts.insert((asset.id.chain(), contract))
        {
            return Err(format!("assets: {} has a contract that another asset of its chain has", asset.id));
        }
    }
    Ok(())
}

fn check_asset(asset: &Asset, settings: &Settings) -> Result<(), String> {
    match (asset.id.chain(), asset.contract) {
        (None, None) => Ok(()),
        (None, Some(_)) => Err(format!(
            "assets: {} has a contract and no chain: name it `{}:<chain id>`",
            asset.id, asset.id
        )),
        (Some(_), None) => {
            Err(format!("assets: {} is on a chain and has no contract: give its address", asset.id))
        }
        (Some(chain), Some(_)) if settings.chains.iter().all(|known| known.id != chain) => {
            Err(format!("assets: {} is on chain {chain}, which is not among the chains: add it", asset.id))
        }
        (Some(_), Some(_)) => Ok(()),
    }
}
