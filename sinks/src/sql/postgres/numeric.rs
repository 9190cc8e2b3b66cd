//! Amounts in PostgreSQL's binary form of `NUMERIC`: digits of base 10,000, the most significant first
//! (`numeric_send` in PostgreSQL's `src/backend/utils/adt/numeric.c`). Whole numbers only; exact over all 38 digits.

use streambook_model::money::Amount;

/// A digit is below this.
const BASE: u128 = 10_000;
/// The sign of a number below zero; any other but zero is not a number.
const NEGATIVE: u16 = 0x4000;
/// Digits an amount has at most: 38 decimal ones.
const MOST_DIGITS: usize = 10;

/// Appends an amount, without its length.
pub(super) fn encode(amount: Amount, to: &mut Vec<u8>) {
    let mut digits = [0_u16; MOST_DIGITS];
    let (mut rest, mut count) = (amount.units().unsigned_abs(), 0_u16);
    for digit in digits.iter_mut().rev() {
        if rest == 0 {
            break;
        }
        // Below 10,000, so it always fits.
        *digit = u16::try_from(rest % BASE).unwrap_or_default();
        rest /= BASE;
        count += 1;
    }
    let sign = if amount.units() < 0 { NEGATIVE } else { 0 };
    for field in [count, count.saturating_sub(1), sign, 0] {
        to.extend_from_slice(&field.to_be_bytes());
    }
    for digit in &digits[MOST_DIGITS - usize::from(count)..] {
        to.extend_from_slice(&digit.to_be_bytes());
    }
}

/// Reads an amount; none where the bytes are no whole number that an amount can hold.
pub(crate) fn decode(bytes: &[u8]) -> Option<Amount> {
    let mut fields = bytes.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
    let (count, weight, sign) = (fields.next()?, fields.next()?, fields.next()?);
    let _decimals_shown = fields.next()?;
    let mut units = 0_i128;
    for _ in 0..count {
        units = units.checked_mul(10_000)?.checked_add(fields.next()?.into())?;
    }
    // Zeros at the end are not sent; a number with more digits than its weight says has a fraction.
    let places = if count == 0 { 0 } else { weight.checked_add(1)?.checked_sub(count)? };
    for _ in 0..places {
        units = units.checked_mul(10_000)?;
    }
    match sign {
        0 => Amount::new(units).ok(),
        NEGATIVE => Amount::new(-units).ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_size_of_amount_comes_back_as_it_was() {
        let powers = (0..38).map(|power| 10_i128.pow(power));
        let around = powers.flat_map(|power| [power - 1, power, power + 1, power * 9 + 7]);
        for units in around.filter(|units| *units < 10_i128.pow(38)).flat_map(|units| [units, -units]) {
            let amount = Amount::new(units).unwrap();
            let mut bytes = Vec::new();
            encode(amount, &mut bytes);
            assert_eq!(decode(&bytes), Some(amount), "{units}");
        }
    }

    #[test]
    fn what_is_no_whole_number_of_38_digits_is_refused() {
        let fields =
            |fields: &[u16]| -> Vec<u8> { fields.iter().flat_map(|field| field.to_be_bytes()).collect() };
        assert_eq!(decode(&fields(&[1, 2, 0, 0, 7])), Amount::new(700_000_000).ok(), "zeros at the end");
        assert_eq!(decode(&fields(&[2, 0, 0, 1, 7, 5_000])), None, "7.5");
        assert_eq!(decode(&fields(&[0, 0, 0xC000, 0])), None, "not a number");
        assert_eq!(decode(&fields(&[1, 9, 0, 0, 9_999])), None, "40 digits");
        assert_eq!(decode(&[0, 1, 0]), None, "cut off");
    }
}
