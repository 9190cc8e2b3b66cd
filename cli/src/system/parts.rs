//! Which parts of Streambook a process runs.

use std::{collections::BTreeSet, ops::RangeInclusive, str::FromStr};

use streambook_model::{
    position::Partition,
    topics::{API_REPLIES, SHARDS},
};

/// One part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub(crate) enum Part {
    /// Follows the configured chains.
    Chain,
    /// Receives Stripe's deliveries.
    Stripe,
    /// Keeps the books: every processor, at the partitions of `--partitions`.
    Processors,
    /// Writes to SQL.
    Sql,
    /// Writes to ClickHouse.
    Clickhouse,
    /// Delivers webhooks.
    Webhooks,
    /// Serves merchants and operators.
    Api,
}

/// What a process runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Parts {
    pub(crate) parts: BTreeSet<Part>,
    pub(crate) partitions: Partitions,
    /// The API's partition of `api.replies`; no two APIs that run share one.
    pub(crate) instance: Partition,
    /// Whether this process puts its settings, and the first admin key, into the log.
    pub(crate) bootstraps: bool,
}

impl Parts {
    /// Everything, as one machine runs it.
    pub(crate) fn all() -> Self {
        let parts = <Part as clap::ValueEnum>::value_variants().iter().copied().collect();
        Self { parts, partitions: Partitions::ALL, instance: Partition(0), bootstraps: true }
    }

    /// Everything but the books, which other processes keep.
    pub(crate) fn without_processors() -> Self {
        let mut all = Self::all();
        all.parts.remove(&Part::Processors);
        all
    }

    pub(crate) fn has(&self, part: Part) -> bool {
        self.parts.contains(&part)
    }

    /// Whether tasks of this partition run here.
    pub(crate) fn runs(&self, partition: Partition) -> bool {
        self.has(Part::Processors) && self.partitions.0.contains(&partition.0)
    }

    /// Whether the registry runs here.
    pub(crate) fn runs_registry(&self) -> bool {
        self.runs(Partition(0))
    }
}

/// A range of partitions, for example `0-7` or `3`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Partitions(RangeInclusive<u16>);

impl Partitions {
    pub(crate) const ALL: Self = Self(0..=SHARDS - 1);

    /// The share of one process of several: the ordinal is the number at the end of its host's name, as orchestrators give it
    /// (`processors-1` of 2 takes the second half).
    pub(crate) fn share(host: &str, of: u16) -> Result<Self, String> {
        let digits = host.trim_end_matches(|c: char| c.is_ascii_digit()).len();
        let ordinal = host.get(digits..).unwrap_or_default();
        let ordinal: u16 = ordinal
            .parse()
            .map_err(|_| format!("the host name `{host}` does not end in a number: name --partitions"))?;
        if of == 0 || of > SHARDS || ordinal >= of {
            return Err(format!("{ordinal} of {of} is no share: 0 to {} of at most {SHARDS}", of.max(1) - 1));
        }
        let (from, to) = (ordinal * SHARDS / of, (ordinal + 1) * SHARDS / of);
        Ok(Self(from..=to - 1))
    }
}

impl FromStr for Partitions {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |text: &str| text.trim().parse::<u16>().ok().filter(|number| *number < SHARDS);
        let (from, to) = text.split_once('-').unwrap_or((text, text));
        let range = number(from).zip(number(to)).filter(|(from, to)| from <= to);
        let (from, to) = range.ok_or_else(|| {
            format!("`{text}` is no range of partitions: for example 0-{}, or 3", SHARDS - 1)
        })?;
        Ok(Self(from..=to))
    }
}

/// The API's instance: its partition of `api.replies`.
pub(crate) fn instance(text: &str) -> Result<Partition, String> {
    let number = text.parse::<u16>().ok().filter(|number| *number < API_REPLIES.partitions);
    number
        .map(Partition)
        .ok_or_else(|| format!("`{text}` is no instance: 0 to {}", API_REPLIES.partitions - 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_and_what_is_none_is_refused() {
        assert_eq!("0-7".parse(), Ok(Partitions(0..=7)));
        assert_eq!("3".parse(), Ok(Partitions(3..=3)));
        assert_eq!("0-15".parse(), Ok(Partitions::ALL));
        for wrong in ["", "7-0", "0-16", "a", "-1", "1-2-3"] {
            assert!(wrong.parse::<Partitions>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn shares_cover_every_partition_once() {
        for of in 1..=SHARDS {
            let shares =
                (0..of).map(|ordinal| Partitions::share(&format!("processors-{ordinal}"), of).unwrap());
            let covered: Vec<u16> = shares.flat_map(|share| share.0).collect();
            assert_eq!(covered, (0..SHARDS).collect::<Vec<_>>(), "{of} processes");
        }
        assert!(Partitions::share("processors", 2).is_err());
        assert!(Partitions::share("processors-2", 2).is_err());
    }
}
