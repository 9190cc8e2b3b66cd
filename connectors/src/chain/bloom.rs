//! Bloom filters of events. A block's events name the same contracts, topics and parties again and again, so what each adds to
//! a filter is computed once for a block. Source: Yellow Paper 4.3.1.

use std::collections::HashMap;

use alloy_primitives::{B256, Bloom, keccak256};

use super::answer::LogAnswer;

/// The hashes of what a block's events have named so far.
#[derive(Default)]
pub(crate) struct Blooms<'a> {
    hashes: HashMap<&'a [u8], B256>,
}

impl<'a> Blooms<'a> {
    /// The filter of these events: of the address and every topic of each.
    pub(crate) fn of(&mut self, logs: &'a [LogAnswer]) -> Bloom {
        let mut bloom = Bloom::ZERO;
        for log in logs {
            self.add(log.address.as_slice(), &mut bloom);
            log.topics.iter().for_each(|topic| self.add(topic.as_slice(), &mut bloom));
        }
        bloom
    }

    fn add(&mut self, named: &'a [u8], bloom: &mut Bloom) {
        bloom.m3_2048_hashed(self.hashes.entry(named).or_insert_with(|| keccak256(named)));
    }
}
