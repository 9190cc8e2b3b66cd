//! What a run found to be wrong.

use streambook_model::id::PaymentId;

/// A promise that does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The predicate's name, as in `invariants.rs` and `oracle.rs`.
    pub invariant: &'static str,
    /// What was found.
    pub detail: String,
    /// The payment it is about, if it is about one.
    pub payment: Option<PaymentId>,
}

impl Violation {
    /// A violation of no payment in particular.
    pub fn new(invariant: &'static str, detail: impl Into<String>) -> Self {
        Self { invariant, detail: detail.into(), payment: None }
    }

    /// A violation about a payment.
    pub fn of(invariant: &'static str, payment: PaymentId, detail: impl Into<String>) -> Self {
        Self { payment: Some(payment), ..Self::new(invariant, detail) }
    }
}

impl std::fmt::Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.invariant, self.detail)
    }
}

impl From<streambook_processors::invariants::Violation> for Violation {
    fn from(broken: streambook_processors::invariants::Violation) -> Self {
        Self::new(broken.invariant.name(), broken.detail)
    }
}

/// The answer of a predicate.
pub type Check = Result<(), Violation>;

/// Holds, or the violation that `detail` describes.
pub fn ensure(holds: bool, invariant: &'static str, detail: impl FnOnce() -> String) -> Check {
    if holds { Ok(()) } else { Err(Violation::new(invariant, detail())) }
}
