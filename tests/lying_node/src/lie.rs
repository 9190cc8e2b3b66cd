//! The ways to be wrong.

/// One way in which a node is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lie {
    /// The events of one receipt are left out, under the right block hash.
    DropLogs,
    /// The receipts of a block are `[]`.
    EmptyReceipts,
    /// The receipts of a block are `null`.
    NullReceipts,
    /// A block that exists is `null`.
    NullBlock,
    /// Two receipts of a block change places.
    SwapReceipts,
    /// The receipts of another block.
    OtherReceipts,
    /// A transfer has another value.
    ChangeAmount,
    /// A header field is changed and the hash is not.
    ChangeHeader,
    /// `latest` is an older block.
    StaleHead,
    /// `finalized` and `safe` are the latest block.
    HurryFinality,
    /// By its height comes a block of a branch that was left, or the one below where none was seen.
    MixForks,
    /// The connection ends in the middle of the answer.
    CutConnection,
    /// 429 Too Many Requests.
    TooManyRequests,
    /// JSON-RPC's error for the rate, with HTTP's 200.
    RateError,
    /// The receipts are said to be too large to send.
    TooLarge,
    /// 502 Bad Gateway.
    BadGateway,
    /// HTML with HTTP's 200.
    Garbage,
    /// The right answer, late.
    Slow,
}

impl Lie {
    /// All of them.
    pub const ALL: [Self; 18] = [
        Self::DropLogs,
        Self::EmptyReceipts,
        Self::NullReceipts,
        Self::NullBlock,
        Self::SwapReceipts,
        Self::OtherReceipts,
        Self::ChangeAmount,
        Self::ChangeHeader,
        Self::StaleHead,
        Self::HurryFinality,
        Self::MixForks,
        Self::CutConnection,
        Self::TooManyRequests,
        Self::RateError,
        Self::TooLarge,
        Self::BadGateway,
        Self::Garbage,
        Self::Slow,
    ];

    /// Whether it can be told about this question.
    pub(crate) fn concerns(self, method: &str, first: &str) -> bool {
        let tagged = matches!(first, "latest" | "safe" | "finalized");
        let block = matches!(method, "eth_getBlockByNumber" | "eth_getBlockByHash");
        match self {
            Self::DropLogs
            | Self::EmptyReceipts
            | Self::NullReceipts
            | Self::SwapReceipts
            | Self::OtherReceipts
            | Self::ChangeAmount
            | Self::TooLarge => method == "eth_getBlockReceipts",
            Self::NullBlock | Self::ChangeHeader => block && !tagged,
            Self::MixForks => method == "eth_getBlockByNumber" && !tagged,
            Self::StaleHead => block && first == "latest",
            Self::HurryFinality => block && matches!(first, "safe" | "finalized"),
            Self::CutConnection
            | Self::TooManyRequests
            | Self::RateError
            | Self::BadGateway
            | Self::Garbage
            | Self::Slow => true,
        }
    }
}
