//! Which lies are told, and how often.

use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::lie::Lie;

/// Which lies are told, and how often.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mix {
    lies: Vec<Lie>,
    per_thousand: u64,
}

impl Mix {
    /// The truth.
    #[must_use]
    pub const fn honest() -> Self {
        Self { lies: Vec::new(), per_thousand: 0 }
    }

    /// These lies, told about so many of a thousand questions that they concern.
    #[must_use]
    pub fn of(lies: &[Lie], per_thousand: u64) -> Self {
        Self { lies: lies.to_vec(), per_thousand }
    }

    /// All lies.
    #[must_use]
    pub fn all(per_thousand: u64) -> Self {
        Self::of(&Lie::ALL, per_thousand)
    }

    /// The same without one lie.
    #[must_use]
    pub fn without(mut self, lie: Lie) -> Self {
        self.lies.retain(|told| *told != lie);
        self
    }

    /// The lie about a question that is asked for the `nth` time; the same for the same arguments.
    pub(crate) fn pick(&self, seed: u64, method: &str, params: &str, nth: u64) -> Option<Lie> {
        let first = params.trim_start_matches(['[', '"']).split('"').next().unwrap_or_default();
        let fitting: Vec<_> = self.lies.iter().filter(|lie| lie.concerns(method, first)).collect();
        let drawn = xxh3_64_with_seed(format!("{method} {params} {nth}").as_bytes(), seed);
        if drawn % 1_000 >= self.per_thousand {
            return None;
        }
        let choices = u64::try_from(fitting.len()).unwrap_or(u64::MAX);
        let choice = (drawn / 1_000).checked_rem(choices)?;
        fitting.get(usize::try_from(choice).ok()?).copied().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_lies_about_the_same_questions() {
        let (mix, params) = (Mix::all(500), r#"["0x7",true]"#);
        let told = |seed| {
            (0..200).map(|nth| mix.pick(seed, "eth_getBlockByNumber", params, nth)).collect::<Vec<_>>()
        };
        assert_eq!(told(1), told(1));
        assert_ne!(told(1), told(2));
        let lies = told(1).into_iter().flatten().count();
        assert!((60..140).contains(&lies), "{lies} of 200");
        assert!(!told(1).contains(&Some(Lie::StaleHead)), "a lie about the head, told about a height");
    }
}
