//! What a receiver waits for: a number of a task that is missing while later ones are there. Its sender sends it again within
//! seconds; one that stays away was lost by the log after the sender had given it up, and somebody has to look.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

/// How long a missing record is nobody's business: a sender tries again several times within it.
const PATIENCE: Duration = Duration::from_secs(60);

/// Since when which number of which task is missing.
#[derive(Debug, Default)]
pub(crate) struct Missing {
    since: BTreeMap<String, (u64, Instant)>,
    is_long: bool,
}

impl Missing {
    /// Takes in what is missing now, by its task: the numbers. Gives those that have been missing for long, in words.
    pub(crate) fn see(&mut self, missing: BTreeMap<String, u64>, now: Instant) -> Vec<String> {
        let since = |(task, number): (String, u64)| {
            let before = self.since.get(&task).filter(|(before, _)| *before == number);
            let since = before.map_or(now, |(_, since)| *since);
            (task, (number, since))
        };
        self.since = missing.into_iter().map(since).collect();
        let lasting = self.since.iter().filter(|(_, (_, since))| now.duration_since(*since) >= PATIENCE);
        let said = |(task, (number, _)): (&String, &(u64, Instant))| {
            format!("number {number} of {task} is missing and later ones are there")
        };
        let said: Vec<_> = lasting.map(said).collect();
        self.is_long = !said.is_empty();
        said
    }

    /// Whether something was missing for long when it was last looked.
    pub(crate) const fn is_long(&self) -> bool {
        self.is_long
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(number: u64) -> BTreeMap<String, u64> {
        BTreeMap::from([("dedup/2".to_owned(), number)])
    }

    #[test]
    fn what_is_missing_for_long_is_said_until_it_is_there() {
        let (mut missing, start) = (Missing::default(), Instant::now());
        let after = |seconds| start + Duration::from_secs(seconds);
        assert!(missing.see(one(9), start).is_empty());
        assert!(missing.see(one(9), after(59)).is_empty());
        let said = missing.see(one(9), after(60));
        assert_eq!(said, ["number 9 of dedup/2 is missing and later ones are there"]);
        assert!(missing.see(one(12), after(61)).is_empty(), "another one, since now");
        assert!(missing.see(BTreeMap::new(), after(200)).is_empty());
        assert!(missing.see(one(12), after(201)).is_empty());
    }
}
