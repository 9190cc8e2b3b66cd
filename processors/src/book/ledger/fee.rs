//! What Streambook charges for a completed payment.

use streambook_model::{
    money::{Amount, AmountError},
    records::settings::FeeSchedule,
};

const MILLION: i128 = 1_000_000;

/// The fee of an amount: its parts per million, rounded half up to the smallest unit, never more than the amount.
/// Nothing is charged on an amount that is not positive.
///
/// Exact over all 38 digits: the amount is split at the million, so no product exceeds the amount.
pub fn fee(amount: Amount, schedule: FeeSchedule) -> Result<Amount, AmountError> {
    if !amount.is_positive() {
        return Ok(Amount::ZERO);
    }
    let parts = i128::from(schedule.parts_per_million).min(MILLION);
    let (millions, rest) = (amount.units() / MILLION, amount.units() % MILLION);
    Amount::new(millions * parts + (rest * parts + MILLION / 2) / MILLION)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(amount: i128, parts_per_million: u32, expect: i128) {
        let amount = Amount::new(amount).unwrap();
        let fee = fee(amount, FeeSchedule { parts_per_million }).map(Amount::units);
        assert_eq!(fee, Ok(expect), "{parts_per_million} parts per million of {amount}");
    }

    #[test]
    fn a_fee_is_rounded_half_up_to_the_smallest_unit() {
        check(0, 5_000, 0);
        check(1, 5_000, 0);
        check(99, 5_000, 0);
        check(100, 5_000, 1);
        check(199, 5_000, 1);
        check(200, 5_000, 1);
        check(299, 5_000, 1);
        check(300, 5_000, 2);
        check(12_500_000, 5_000, 62_500);
        check(999_999, 1, 1);
        check(499_999, 1, 0);
        check(12_345, 0, 0);
    }

    #[test]
    fn a_fee_is_exact_over_38_digits_and_never_more_than_the_amount() {
        let largest = 10_i128.pow(38) - 1;
        check(10_i128.pow(37), 5_000, 5 * 10_i128.pow(34));
        check(10_i128.pow(37) + 100, 5_000, 5 * 10_i128.pow(34) + 1);
        check(largest, 5_000, 5 * 10_i128.pow(35));
        check(largest, 999_999, largest - 10_i128.pow(32));
        check(largest, 1_000_000, largest);
        check(largest, u32::MAX, largest);
        check(1, u32::MAX, 1);
        check(-100, 5_000, 0);
    }
}
