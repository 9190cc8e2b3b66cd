//! How often each invariant was checked while records were taken. A processor is pure, so it cannot count into a metric;
//! the counts travel in the [`Step`](crate::step::Step), and whoever runs it adds them up.

/// Counts by the invariant's name. A record is checked against a handful, so a short list serves.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Checks(Vec<(&'static str, u64)>);

impl Checks {
    /// Counts checks of one invariant.
    pub fn add(&mut self, invariant: &'static str, by: u64) {
        match self.0.iter_mut().find(|(name, _)| *name == invariant) {
            Some((_, count)) => *count = count.saturating_add(by),
            None => self.0.push((invariant, by)),
        }
    }

    /// Counts what another has counted.
    pub fn merge(&mut self, other: &Self) {
        other.iter().for_each(|(name, count)| self.add(name, count));
    }

    /// Every invariant that was checked, with how often.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.0.iter().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_add_up_by_name() {
        let (mut all, mut one) = (Checks::default(), Checks::default());
        one.add("a", 1);
        one.add("b", 2);
        one.add("a", 1);
        all.merge(&one);
        all.merge(&one);
        assert_eq!(all.iter().collect::<Vec<_>>(), [("a", 4), ("b", 4)]);
    }
}
