//! The processors of this version, in the order of the flow.

use std::sync::Arc;

use streambook_processors::{book::BookProcessor, dedup::Dedup, registry::Registry, reorg::Reorg};
use streambook_runtime::processor::Processor;

/// Every processor.
pub(crate) fn all() -> Vec<Arc<dyn Processor>> {
    vec![Arc::new(Registry), Arc::new(Reorg), Arc::new(Dedup), Arc::new(BookProcessor)]
}
