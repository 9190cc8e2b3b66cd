//! The demo's own bookkeeping: what should come out, computed from what was done and from nothing else. It shares no code
//! with the processors: the fee is half a percent, rounded half up, which is the amount and a half unit divided by 200.

use std::collections::BTreeMap;

use anyhow::Context;
use streambook_model::{money::Amount, payment_json::amount_text};

use super::chain::DECIMALS;

/// What is paid with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Asset {
    /// The test token.
    Token,
    /// US dollars, by card.
    Dollar,
}

impl Asset {
    /// Its name in the API.
    pub(super) const fn id(self) -> &'static str {
        match self {
            Self::Token => "usdc:31337",
            Self::Dollar => "usd",
        }
    }

    /// Its decimal places.
    pub(super) const fn scale(self) -> u8 {
        match self {
            Self::Token => DECIMALS,
            Self::Dollar => 2,
        }
    }

    /// An amount as people write it, with the asset.
    pub(super) fn show(self, units: i128) -> String {
        format!("{} {}", self.text(units), self.id())
    }

    /// An amount as people and the API write it.
    pub(super) fn text(self, units: i128) -> String {
        let sign = if units < 0 { "-" } else { "" };
        let amount = i128::try_from(units.unsigned_abs())
            .map_or(Amount::ZERO, |units| Amount::new(units).unwrap_or_default());
        format!("{sign}{}", amount_text(amount, self.scale()))
    }
}

/// Reads an amount of the API, in the asset's smallest unit.
pub(super) fn units(text: &str, scale: u8) -> anyhow::Result<i128> {
    let (sign, digits) = text.strip_prefix('-').map_or((1, text), |digits| (-1, digits));
    let amount =
        Amount::parse_decimal(digits, scale).with_context(|| format!("`{text}` is not an amount"))?;
    Ok(sign * amount.units())
}

/// How a payment should end. Amounts are in the asset's smallest unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Expected {
    pub(super) status: &'static str,
    pub(super) asset: Asset,
    /// What was paid and stands.
    pub(super) received: i128,
    /// What of it counts as the merchant's.
    pub(super) applied: i128,
    /// What went back, of what counted.
    pub(super) refunded: i128,
    /// What went back, of what did not.
    pub(super) returned: i128,
    /// What Stripe took.
    pub(super) costs: i128,
}

impl Expected {
    /// A payment that is paid as it should be.
    pub(super) const fn paid(asset: Asset, amount: i128) -> Self {
        let (received, applied) = (amount, amount);
        Self { status: "completed", asset, received, applied, refunded: 0, returned: 0, costs: 0 }
    }

    /// A payment that received this much, of which nothing is the merchant's.
    pub(super) const fn open(status: &'static str, asset: Asset, received: i128) -> Self {
        Self { status, asset, received, applied: 0, refunded: 0, returned: 0, costs: 0 }
    }

    /// Streambook's fee.
    pub(super) const fn fee(&self) -> i128 {
        (self.applied + 100) / 200
    }

    const fn available(&self) -> i128 {
        self.applied - self.fee() - self.refunded - self.costs
    }

    const fn clearing(&self) -> i128 {
        self.received - self.applied - self.returned
    }
}

/// What was tried with a payment, and how it should end.
#[derive(Debug, Clone)]
pub(super) struct Case {
    pub(super) what: &'static str,
    pub(super) payment: String,
    pub(super) expected: Expected,
}

/// By account and asset.
pub(super) type Balances = BTreeMap<(String, String), i128>;

/// What the merchant's accounts should hold after these payments. An account that holds nothing is left out.
pub(super) fn balances(cases: &[Case]) -> Balances {
    let mut balances = Balances::new();
    for Case { expected, .. } in cases {
        for (account, change) in [("available", expected.available()), ("clearing", expected.clearing())] {
            *balances.entry((account.into(), expected.asset.id().into())).or_default() += change;
        }
    }
    balances.retain(|_, balance| *balance != 0);
    balances
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fee_is_half_a_percent_rounded_half_up() {
        let fee = |applied| Expected::paid(Asset::Token, applied).fee();
        assert_eq!([0, 99, 100, 299, 300, 12_500_000].map(fee), [0, 0, 1, 1, 2, 62_500]);
    }

    #[test]
    fn balances_follow_from_what_was_done() {
        let over = Expected {
            received: 1_500,
            applied: 1_000,
            returned: 200,
            ..Expected::open("overpaid", Asset::Token, 0)
        };
        let card = Expected { refunded: 300, costs: 59, ..Expected::paid(Asset::Dollar, 1_000) };
        let case = |expected| Case { what: "", payment: String::new(), expected };
        let found = balances(&[case(over), case(card), case(Expected::open("expired", Asset::Token, 0))]);
        let key = |account: &str, asset: Asset| (account.to_owned(), asset.id().to_owned());
        let expect = [
            (key("available", Asset::Dollar), 1_000 - 5 - 300 - 59),
            (key("available", Asset::Token), 995),
            (key("clearing", Asset::Token), 300),
        ];
        assert_eq!(found, Balances::from(expect));
    }

    #[test]
    fn amounts_are_read_and_shown_with_their_sign() {
        assert_eq!(units("-12.5", 2).unwrap(), -1_250);
        assert_eq!(Asset::Dollar.show(-1_250), "-12.50 usd");
        assert!(units("12,5", 2).is_err());
    }
}
