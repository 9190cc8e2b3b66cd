//! A chain the scenarios can pay on, whatever it is made of.

/// The two tokens of a test chain.
#[derive(Debug, Clone)]
pub(crate) struct Tokens {
    /// The one Streambook is configured with.
    pub(crate) accepted: String,
    /// One nobody knows.
    pub(crate) unlisted: String,
}

/// Units of a token that go to an address.
#[derive(Debug, Clone)]
pub(crate) struct Transfer {
    /// The token's contract.
    pub(crate) token: String,
    /// The receiver.
    pub(crate) to: String,
    /// Smallest units.
    pub(crate) units: i128,
}

/// A chain with id 31337, two tokens, and a payer who has enough. Transactions wait until a block is mined.
pub(crate) trait TestChain: Sized {
    /// Starts one; none when the part it needs is missing, which has been said.
    async fn start() -> Option<Self>;

    /// Its node.
    fn url(&self) -> String;

    /// Its tokens.
    fn tokens(&self) -> &Tokens;

    /// Sends a transfer to the token itself, and gives the transaction's hash.
    async fn transfer(&self, transfer: &Transfer) -> String;

    /// Sends one transaction to a contract that makes all of these transfers.
    async fn together(&self, transfers: &[Transfer]) -> String;

    /// Sends a transaction to a contract that makes the transfer and then reverts as a whole.
    async fn undone(&self, transfer: &Transfer) -> String;

    /// Sends a transaction to a contract that makes `lost` in an inner call that reverts, and `kept`.
    async fn after_lost_call(&self, lost: &Transfer, kept: &Transfer) -> String;

    /// Makes blocks; the first takes what waits.
    async fn mine(&self, blocks: u64);

    /// Sets the chain's clock forward; the next block has the new time.
    async fn advance(&self, seconds: u64);

    /// Replaces the newest blocks by as many empty ones.
    async fn reorg(&self, depth: u64);

    /// Replaces the newest blocks by as many, the last of which holds a transaction of those that were replaced.
    async fn reorg_with(&self, depth: u64, transaction: &str);

    /// The newest block's number.
    async fn head(&self) -> u64;
}
