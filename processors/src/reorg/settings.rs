//! What the processor needs of the operator's settings: the look-back window of each chain, and which contract is which
//! asset. An asset or a chain that is taken out of the settings stays known here, since payments may still come.

use streambook_model::records::settings::Settings;
use streambook_runtime::processor::{Context, Fault};

use super::tables::{CHAINS, Chain, TOKENS};

/// Chains one partition can hold.
pub(super) const MAX_CHAINS: usize = 1_000;

/// Takes new settings.
pub(super) fn take(settings: &Settings, context: &mut Context<'_>) -> Result<(), Fault> {
    if settings.chains.len() > MAX_CHAINS {
        let reason = format!("{} chains, at most {MAX_CHAINS} are possible", settings.chains.len());
        return Err(Fault::dead_letter("too_many_chains", reason));
    }
    for named in &settings.chains {
        let mut chain = CHAINS.get(&context.state, named.id)?.unwrap_or_else(|| Chain::new(named.id));
        chain.settings = Some(settings.version);
        chain.look_back_seconds = named.look_back_seconds;
        CHAINS.put(&mut context.state, named.id, &chain)?;
    }
    for asset in &settings.assets {
        if let (Some(chain), Some(contract)) = (asset.id.chain(), asset.contract) {
            TOKENS.put(&mut context.state, (chain, contract), &asset.id)?;
        }
    }
    Ok(())
}
