//! JSON-RPC error objects. Codes below -32000 are those of the JSON-RPC 2.0 specification and of EIP-1474.

use serde::Serialize;

use crate::chain::ChainError;

/// An error that a caller is answered with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("{message} ({code})")]
pub(crate) struct RpcError {
    pub(crate) code: i64,
    pub(crate) message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) data: Option<&'static str>,
}

impl RpcError {
    pub(crate) const fn new(code: i64, message: String) -> Self {
        Self { code, message, data: None }
    }

    pub(crate) fn parse(cause: &serde_json::Error) -> Self {
        Self::new(-32_700, format!("the body is not JSON: {cause}"))
    }

    pub(crate) fn invalid_request(what: &str) -> Self {
        Self::new(-32_600, what.to_owned())
    }

    pub(crate) fn method_not_found(method: &str) -> Self {
        Self::new(-32_601, format!("the method {method} does not exist on the development chain"))
    }

    pub(crate) fn invalid_params(what: impl Into<String>) -> Self {
        Self::new(-32_602, what.into())
    }

    pub(crate) fn internal(cause: &serde_json::Error) -> Self {
        Self::new(-32_603, format!("the answer cannot be written: {cause}"))
    }

    pub(crate) fn limit_exceeded(what: impl Into<String>) -> Self {
        Self::new(-32_005, what.into())
    }

    /// The server's own code, used when the chain refuses something that was asked correctly.
    pub(crate) fn refused(what: impl Into<String>) -> Self {
        Self::new(-32_000, what.into())
    }

    /// A contract call that reverts without a reason (code 3, as nodes answer it).
    pub(crate) fn reverted() -> Self {
        Self { code: 3, message: "execution reverted".to_owned(), data: Some("0x") }
    }
}

impl From<ChainError> for RpcError {
    fn from(error: ChainError) -> Self {
        Self::refused(error.to_string())
    }
}
