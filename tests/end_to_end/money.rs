//! The suite's own arithmetic, which shares no code with the product: decimal text to smallest units and back, and the
//! fee of half a percent, rounded half up.

use std::collections::BTreeMap;

/// The token every chain test pays with: USDC with six decimals on chain 31337.
pub(crate) const TOKEN: &str = "usdc:31337";
/// Decimal places of [`TOKEN`].
pub(crate) const TOKEN_SCALE: usize = 6;
/// Decimal places of dollars.
pub(crate) const DOLLAR_SCALE: usize = 2;

/// Balances by (account, asset), in smallest units; what is zero is left out.
pub(crate) type Balances = BTreeMap<(String, String), i128>;

/// Decimal places of an asset of these tests.
pub(crate) fn scale(asset: &str) -> usize {
    if asset == TOKEN { TOKEN_SCALE } else { DOLLAR_SCALE }
}

/// Reads `12.5`, exactly.
pub(crate) fn units(text: &str, scale: usize) -> i128 {
    let (sign, digits) = text.strip_prefix('-').map_or((1, text), |digits| (-1, digits));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    assert!(fraction.len() <= scale, "`{text}` has more than {scale} decimal places");
    let all = format!("{whole}{fraction:0<scale$}");
    sign * all.parse::<i128>().unwrap_or_else(|_| panic!("`{text}` is not an amount"))
}

/// Units of [`TOKEN`].
pub(crate) fn token(text: &str) -> i128 {
    units(text, TOKEN_SCALE)
}

/// Writes units of [`TOKEN`] as an amount.
pub(crate) fn token_text(units: i128) -> String {
    assert!(units >= 0, "only what is paid is written");
    format!("{}.{:06}", units / 1_000_000, units % 1_000_000)
}

/// Half a percent, rounded half up.
pub(crate) const fn fee(units: i128) -> i128 {
    (units + 100) / 200
}

/// What the merchant's accounts should hold, counted by the test as it goes.
#[derive(Debug, Default)]
pub(crate) struct Tally(Balances);

impl Tally {
    /// Money that was applied to a payment: the merchant has it less the fee.
    pub(crate) fn applied(&mut self, asset: &str, gross: i128) {
        self.change("available", asset, gross - fee(gross));
    }

    /// Money that waits for a decision.
    pub(crate) fn waits(&mut self, asset: &str, amount: i128) {
        self.change("clearing", asset, amount);
    }

    /// Any other change of an account.
    pub(crate) fn change(&mut self, account: &str, asset: &str, amount: i128) {
        *self.0.entry((account.to_owned(), asset.to_owned())).or_default() += amount;
    }

    /// The balances, without those that are zero.
    pub(crate) fn balances(&self) -> Balances {
        let open = self.0.iter().filter(|(_, amount)| **amount != 0);
        open.map(|(account, amount)| (account.clone(), *amount)).collect()
    }
}

#[test]
fn the_suites_own_arithmetic_is_exact() {
    assert_eq!(
        [token("12.50"), token("0.000001"), token("7"), token("-1.5")],
        [12_500_000, 1, 7_000_000, -1_500_000]
    );
    assert_eq!([token_text(12_500_000), token_text(1)], ["12.500000", "0.000001"]);
    assert_eq!([0, 99, 100, 299, 300, 12_500_000].map(fee), [0, 0, 1, 1, 2, 62_500]);
}
