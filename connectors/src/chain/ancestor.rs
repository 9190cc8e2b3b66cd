//! Finds the block from which a halted chain can go on: the highest one of the log's branch that the nodes have as well.
//! Guarantee: every node that answers has it; a node that answers otherwise at some height has another branch from there
//! on, so the search halves the branch at each question.

use super::config::ChainSettings;
use super::pool::{NoAnswer, Pool};
use super::types::BlockId;

/// The search could not be carried out.
#[derive(Debug, thiserror::Error)]
pub enum SearchError {
    /// The HTTP client could not be set up.
    #[error("the connection to the nodes could not be prepared")]
    Client(#[source] reqwest::Error),
    /// No node answered.
    #[error("the nodes cannot be asked which blocks they have")]
    NoAnswer(#[from] NoAnswer),
}

/// The highest block of a branch (newest first) that all nodes which answer have; `None` when they have none of it.
///
/// # Errors
/// [`SearchError`].
pub async fn in_common(settings: &ChainSettings, branch: &[BlockId]) -> Result<Option<BlockId>, SearchError> {
    let pool = Pool::new(settings).map_err(SearchError::Client)?;
    let (mut low, mut high) = (0, branch.len());
    while low < high {
        let middle = low + (high - low) / 2;
        let Some(block) = branch.get(middle) else { break };
        if pool.all_have(block.reference()).await? {
            high = middle;
        } else {
            low = middle.saturating_add(1);
        }
    }
    Ok(branch.get(low).copied())
}
