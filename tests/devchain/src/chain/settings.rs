//! How a chain is set up: its identity, how much it keeps, and how blocks become final.

/// The settings of a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChainSettings {
    /// The chain id (EIP-155), part of every transaction and of the genesis block.
    pub chain_id: u64,
    /// The genesis block's time, in Unix seconds.
    pub genesis_time: u64,
    /// How much is kept in memory.
    pub limits: Limits,
    /// How blocks become safe and finalized.
    pub finality: FinalityRule,
}

impl ChainSettings {
    /// A chain with the default limits, where blocks become final only when told.
    #[must_use]
    pub fn new(chain_id: u64, genesis_time: u64) -> Self {
        Self { chain_id, genesis_time, limits: Limits::default(), finality: FinalityRule::OnRequest }
    }
}

/// How much the chain keeps. The block made longest ago is forgotten first, whichever branch it is on; the
/// genesis block and the head never are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Blocks kept, of all branches together; at least the head is.
    pub blocks: usize,
    /// Transactions kept in those blocks; one takes about 0.7 kB.
    pub transactions: usize,
    /// Transactions waiting for a block.
    pub pending: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { blocks: 100_000, transactions: 1_000_000, pending: 100_000 }
    }
}

/// How blocks become safe and finalized.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FinalityRule {
    /// Only by [`DevChain::finalize`](crate::DevChain::finalize) and
    /// [`DevChain::mark_safe`](crate::DevChain::mark_safe).
    OnRequest,
    /// By depth below the head, and also on request.
    Depth {
        /// Blocks between the head and the safe block.
        safe: u64,
        /// Blocks between the head and the finalized block.
        finalized: u64,
    },
}

/// Whether a fork may start below the finalized block. A real chain never does that; a test of the alarm
/// for it must.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum BelowFinality {
    /// It is an error.
    #[default]
    Refuse,
    /// It is done.
    Force,
}

/// What becomes of the transactions of orphaned blocks that the new branch does not have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Dropped {
    /// They are gone unless a later block names them again.
    #[default]
    Forget,
    /// They go back to the pending queue, as on a real node, and are mined again with the same hash.
    Requeue,
}

/// How a reorganisation is carried out; the default refuses forks below finality and forgets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ReorgOptions {
    /// Whether the fork may start below the finalized block.
    #[serde(default)]
    pub below_finality: BelowFinality,
    /// What becomes of transactions that fall out.
    #[serde(default)]
    pub dropped: Dropped,
}
