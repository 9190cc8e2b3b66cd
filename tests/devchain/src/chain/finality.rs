//! Which blocks can no longer change. Finality moves forward only, except that it never passes the head:
//! a forced fork below it that ends lower takes it along.

use super::settings::FinalityRule;
use super::{ChainError, DevChain};

/// The numbers behind the tags `safe` and `finalized`; always `finalized <= safe <= head`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Finality {
    pub(crate) safe: u64,
    pub(crate) finalized: u64,
}

impl Finality {
    /// Where finality is when the head has moved to `head`.
    pub(crate) fn at_head(self, head: u64, rule: FinalityRule) -> Self {
        let (safe, finalized) = match rule {
            FinalityRule::OnRequest => (0, 0),
            FinalityRule::Depth { safe, finalized } => {
                (head.saturating_sub(safe), head.saturating_sub(finalized))
            }
        };
        let finalized = self.finalized.max(finalized).min(head);
        Self { finalized, safe: self.safe.max(safe).clamp(finalized, head) }
    }
}

impl DevChain {
    /// The number of the finalized block.
    #[must_use]
    pub const fn finalized(&self) -> u64 {
        self.finality.finalized
    }

    /// The number of the safe block.
    #[must_use]
    pub const fn safe(&self) -> u64 {
        self.finality.safe
    }

    /// Makes the canonical block `number` and all before it final (and safe).
    ///
    /// # Errors
    /// [`ChainError::FinalityOutOfRange`] below the present finalized block or above the head.
    pub fn finalize(&mut self, number: u64) -> Result<(), ChainError> {
        self.check_range("finalized", number, self.finality.finalized)?;
        self.finality = Finality { finalized: number, safe: self.finality.safe.max(number) };
        Ok(())
    }

    /// Makes the canonical block `number` and all before it safe.
    ///
    /// # Errors
    /// [`ChainError::FinalityOutOfRange`] below the present safe block or above the head.
    pub fn mark_safe(&mut self, number: u64) -> Result<(), ChainError> {
        self.check_range("safe", number, self.finality.safe)?;
        self.finality.safe = number;
        Ok(())
    }

    fn check_range(&self, tag: &'static str, number: u64, lowest: u64) -> Result<(), ChainError> {
        let highest = self.head.reference().number;
        if number < lowest || number > highest {
            return Err(ChainError::FinalityOutOfRange { tag, number, lowest, highest });
        }
        Ok(())
    }
}
