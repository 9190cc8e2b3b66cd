//! How a command ends: with a stored object, or refused with the field and the remedy.

use serde::{Deserialize, Serialize};
use streambook_model::records::{
    registry::{ApiKey, Endpoint, Merchant},
    reply::Problem,
};
use streambook_runtime::{processor::Fault, state::StateError};

/// The object a command stated, as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Stored {
    Merchant(Merchant),
    ApiKey(ApiKey),
    Endpoint(Endpoint),
}

/// A rule that the command breaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refused {
    pub(super) code: &'static str,
    pub(super) status: u16,
    pub(super) field: Option<&'static str>,
    pub(super) detail: String,
}

impl Refused {
    /// What the command states cannot be so (422).
    pub(super) fn invalid(code: &'static str, field: &'static str, detail: impl Into<String>) -> Self {
        Self { code, status: 422, field: Some(field), detail: detail.into() }
    }

    /// It contradicts what is stored (409).
    pub(super) fn conflict(
        code: &'static str,
        field: Option<&'static str>,
        detail: impl Into<String>,
    ) -> Self {
        Self { code, status: 409, field, detail: detail.into() }
    }

    /// It names something that is not there, or not for this merchant (404).
    pub(super) fn unknown(code: &'static str, field: &'static str, detail: impl Into<String>) -> Self {
        Self { code, status: 404, field: Some(field), detail: detail.into() }
    }

    pub(super) fn into_problem(self) -> Problem {
        let field = self.field.map(str::to_owned);
        Problem { code: self.code.to_owned(), status: self.status, field, detail: self.detail }
    }
}

/// Why a command was not carried out.
#[derive(Debug)]
pub(super) enum No {
    /// It breaks a rule.
    Refused(Refused),
    /// The task cannot go on with this record.
    Fault(Fault),
}

impl From<Refused> for No {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}

impl From<StateError> for No {
    fn from(error: StateError) -> Self {
        Self::Fault(error.into())
    }
}
