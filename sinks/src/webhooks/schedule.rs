//! When the next attempt is due. Pure: the spread that keeps endpoints from being hit all at once comes from the
//! message's own id, so it needs no randomness.

use streambook_model::{id::EventId, time::Timestamp};

/// When attempt `number + 1` is due, if there is one. The pause is lengthened by up to a tenth, differently for each
/// message and attempt.
pub(super) fn next_attempt(pauses: &[u32], number: u32, event: EventId, now: Timestamp) -> Option<Timestamp> {
    let index = usize::try_from(number).ok()?.checked_sub(1)?;
    let pause = i64::from(*pauses.get(index)?) * 1_000;
    let byte = event.bits().get(index % 16).copied().unwrap_or(0);
    let spread = pause / 10 * i64::from(byte) / 255;
    Some(Timestamp::from_millis(now.millis().saturating_add(pause).saturating_add(spread)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(number: u32, expect: Option<std::ops::RangeInclusive<i64>>) {
        let next = next_attempt(&[5, 300], number, EventId::derive(&[b"e"]), Timestamp::from_millis(1_000));
        match (next.map(Timestamp::millis), expect) {
            (Some(next), Some(range)) => assert!(range.contains(&next), "{next} after attempt {number}"),
            (next, expect) => assert!(next.is_none() && expect.is_none(), "{next:?} after attempt {number}"),
        }
    }

    #[test]
    fn pauses_follow_the_schedule_with_a_spread_and_then_end() {
        check(1, Some(6_000..=6_500));
        check(2, Some(301_000..=331_000));
        check(3, None);
    }
}
