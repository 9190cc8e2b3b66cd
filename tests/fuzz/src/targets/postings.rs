//! The operator's posting templates: any text. What is accepted balances for any amounts, and a refusal says why.

use streambook_model::money::Amount;
use streambook_processors::book::ledger::{Amounts, Line, Side, TemplateName, Templates};
use streambook_runtime::step::chain_of;

/// Checks the property.
pub fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match Templates::parse(text) {
        Ok(templates) => ["custodial", "direct"].iter().for_each(|set| balances(&templates, set)),
        Err(error) => assert!(!chain_of(&error).is_empty(), "a refusal without a word"),
    }
}

fn balances(templates: &Templates, set: &str) {
    let (gross, fee) = (Amount::new(1_000).expect("fits"), Amount::new(7).expect("fits"));
    let amounts = Amounts::with_fee(gross, fee).expect("the fee is the smaller");
    let signed = |line: &Line| {
        let units = amounts.part(line.amount).expect("a part of the whole").units();
        if line.side == Side::Debit { units } else { -units }
    };
    for name in TemplateName::ALL {
        if let Some(template) = templates.get(set, name) {
            assert_eq!(template.lines.iter().map(signed).sum::<i128>(), 0, "{set} {name:?}");
        }
    }
}
