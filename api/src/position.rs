//! `Streambook-Position`: where a command stands in its inbox, so that a read sees what it led to.
//!
//! A command's answer carries its position. A read that is sent it back, or that follows a command through this instance,
//! waits for SQL to reach it; bounded, and then answers all the same, with `Streambook-Stale: true`.

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use moka::{ops::compute::Op, policy::EvictionPolicy, sync::Cache};
use streambook_log::partitioner::partition_of;
use streambook_model::{
    id::MerchantId,
    position::{Offset, Partition},
    topics::BOOK_INBOX,
};

use crate::problem::Problem;

/// The header with a position.
pub(crate) const POSITION: HeaderName = HeaderName::from_static("streambook-position");
/// The header that says that a read did not wait long enough.
pub(crate) const STALE: HeaderName = HeaderName::from_static("streambook-stale");
/// Merchants whose last command is remembered.
const REMEMBERED: u64 = 100_000;

/// A command's place in the book's inbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Position {
    /// The partition.
    pub(crate) partition: Partition,
    /// The offset in it.
    pub(crate) offset: Offset,
}

impl Position {
    /// The position as callers see it: opaque.
    pub(crate) fn header(self) -> Option<HeaderValue> {
        let text = format!("1.{}.{}", self.partition, self.offset);
        HeaderValue::from_str(&URL_SAFE_NO_PAD.encode(text)).ok()
    }

    /// The position a merchant's request carries, if it carries one.
    pub(crate) fn of(headers: &HeaderMap, merchant: MerchantId) -> Result<Option<Self>, Problem> {
        let Some(value) = headers.get(POSITION) else { return Ok(None) };
        let read = value.to_str().ok().and_then(Self::read).filter(|read| read.partition == shard(merchant));
        let refusal =
            "not a position of this merchant: send the value of an answer as it is, or leave it out";
        read.map(Some).ok_or_else(|| Problem::field("Streambook-Position", refusal))
    }

    fn read(text: &str) -> Option<Self> {
        let text = (text.len() <= 64).then(|| URL_SAFE_NO_PAD.decode(text).ok()).flatten()?;
        let (partition, offset) = std::str::from_utf8(&text).ok()?.strip_prefix("1.")?.split_once('.')?;
        Some(Self { partition: Partition(partition.parse().ok()?), offset: Offset(offset.parse().ok()?) })
    }
}

/// The partition of the book's inbox that a merchant's records are in.
pub(crate) fn shard(merchant: MerchantId) -> Partition {
    partition_of(merchant.to_string().as_bytes(), BOOK_INBOX.partitions)
}

/// The last command of each merchant through this instance.
#[derive(Debug)]
pub(crate) struct LastPositions(Cache<MerchantId, Offset>);

impl LastPositions {
    /// Remembers nothing yet.
    pub(crate) fn new() -> Self {
        Self(Cache::builder().max_capacity(REMEMBERED).eviction_policy(EvictionPolicy::lru()).build())
    }

    /// Remembers a merchant's command, unless a later one is known.
    pub(crate) fn remember(&self, merchant: MerchantId, offset: Offset) {
        self.0.entry(merchant).and_compute_with(|known| match known {
            Some(known) if known.value() >= &offset => Op::Nop,
            _ => Op::Put(offset),
        });
    }

    /// What a read of a merchant must see: the later of what it asks for and what is known.
    pub(crate) fn at_least(&self, merchant: MerchantId, asked: Option<Position>) -> Option<Position> {
        let known = self.0.get(&merchant);
        let offset = known.max(asked.map(|position| position.offset))?;
        Some(Position { partition: shard(merchant), offset })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_is_read_back_by_its_merchant_only() {
        let merchant = MerchantId::derive(&[b"one"]);
        let position = Position { partition: shard(merchant), offset: Offset(7) };
        let headers = HeaderMap::from_iter([(POSITION, position.header().unwrap())]);
        assert_eq!(Position::of(&headers, merchant).unwrap(), Some(position));
        let other =
            (0_u8..).map(|n| MerchantId::derive(&[&[n]])).find(|id| shard(*id) != shard(merchant)).unwrap();
        assert!(Position::of(&headers, other).is_err());
        let broken = HeaderMap::from_iter([(POSITION, HeaderValue::from_static("x"))]);
        assert!(Position::of(&broken, merchant).is_err());
    }

    #[test]
    fn the_latest_position_is_waited_for() {
        let merchant = MerchantId::derive(&[b"one"]);
        let last = LastPositions::new();
        assert_eq!(last.at_least(merchant, None), None);
        last.remember(merchant, Offset(5));
        last.remember(merchant, Offset(3));
        assert_eq!(last.at_least(merchant, None).unwrap().offset, Offset(5));
        let asked = Position { partition: shard(merchant), offset: Offset(9) };
        assert_eq!(last.at_least(merchant, Some(asked)).unwrap().offset, Offset(9));
    }
}
