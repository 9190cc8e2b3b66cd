//! What the demo tells: a line for each thing that happens, and tables at the end. People see it on standard output,
//! coloured on a terminal only; machines ask for JSON and get one object.

use std::{io::IsTerminal, time::Duration};

use serde_json::{Value, json};

use super::{audit::Audit, books::Asset, merchant::short, scenario::Round};
use crate::output;

/// For whom the results are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reader {
    /// A person at a terminal.
    Terminal,
    /// A person with a file or a pipe.
    Plain,
    /// A program: one JSON object at the end, nothing before it.
    Machine,
}

impl Reader {
    /// The person at hand.
    pub(super) fn person() -> Self {
        if std::io::stdout().is_terminal() { Self::Terminal } else { Self::Plain }
    }

    /// Says something.
    pub(super) fn say(self, text: &str) {
        if self != Self::Machine {
            output::line(text);
        }
    }

    /// Opens a chapter.
    pub(super) fn chapter(self, text: &str) {
        match self {
            Self::Terminal => output::line(format!("\n\x1b[1m{text}\x1b[0m")),
            Self::Plain => output::line(format!("\n{text}")),
            Self::Machine => {}
        }
    }

    /// Tells what became of a payment.
    pub(super) fn tell(self, payment: &str, asset: Asset, amount: i128, story: &str) {
        let amount = asset.show(amount);
        self.say(&format!("{}  {amount:>22}  {}", short(payment), self.coloured(story)));
    }

    /// Statuses in the colours that people expect.
    fn coloured(self, story: &str) -> String {
        if self != Self::Terminal {
            return story.to_owned();
        }
        let colours = [
            ("completed", 32),
            ("confirming", 36),
            ("pending", 36),
            ("underpaid", 33),
            ("overpaid", 33),
            ("paid_late", 33),
            ("reversed", 31),
            ("failed", 31),
            ("expired", 90),
            ("canceled", 90),
        ];
        colours.iter().fold(story.to_owned(), |story, (status, colour)| {
            story.replace(&format!("→ {status}"), &format!("→ \x1b[{colour}m{status}\x1b[0m"))
        })
    }
}

/// A time as people read it.
pub(super) fn seconds(time: Duration) -> String {
    format!("{}.{} s", time.as_secs(), time.subsec_millis() / 100)
}

/// The closing tables.
pub(super) fn tables(round: &Round, audit: &Audit, reader: Reader) {
    if reader == Reader::Machine {
        return;
    }
    reader.chapter("What was tried, and what the books say");
    let headers = ["tried", "payments", "expected", "the books say", "received", "fee"];
    output::table(&headers, audit.groups(round));
    reader.chapter("The merchant's balances (GET /v1/balances)");
    let row = |(account, asset, expected, found): (String, String, String, String)| {
        vec![account, asset, expected, found]
    };
    output::table(
        &["account", "asset", "expected", "the books say"],
        audit.balance_rows().into_iter().map(row),
    );
    reader.chapter("Trial balance (every account of the platform and the merchant)");
    output::table(
        &["asset", "accounts", "debits", "credits", "difference"],
        audit.trial.iter().map(|sum| {
            vec![
                sum.asset.clone(),
                sum.accounts.to_string(),
                sum.debits.clone(),
                sum.credits.clone(),
                sum.difference.clone(),
            ]
        }),
    );
    reader.chapter("Payments by status");
    output::table(
        &["status", "payments"],
        audit.statuses.iter().map(|(status, count)| vec![status.clone(), count.to_string()]),
    );
    reader.say(&format!(
        "\nwebhooks: {} events, {} delivered and verified in {} deliveries, {} refused",
        audit.events, audit.delivered, audit.deliveries, audit.refused
    ));
}

/// Everything as one object.
pub(super) fn as_json(round: &Round, audit: &Audit) -> Value {
    let case = |(case, found): (&super::books::Case, &super::audit::Found)| {
        let expected = &case.expected;
        json!({
            "tried": case.what, "payment": case.payment, "asset": expected.asset.id(), "problem": found.problem,
            "expected": {
                "status": expected.status, "received": expected.asset.text(expected.received),
                "refunded": expected.asset.text(expected.refunded + expected.returned),
                "fee": expected.asset.text(expected.fee()),
            },
            "found": { "status": found.status, "received": found.received, "refunded": found.refunded, "fee": found.fee },
        })
    };
    let balance = |(account, asset, expected, found): (String, String, String, String)| json!({ "account": account, "asset": asset, "expected": expected, "found": found });
    let sum = |sum: &super::audit::Sum| {
        json!({
            "asset": sum.asset, "accounts": sum.accounts, "debits": sum.debits, "credits": sum.credits,
            "difference": sum.difference,
        })
    };
    json!({
        "payments": round.cases.iter().zip(&audit.found).map(case).collect::<Vec<_>>(),
        "statuses": audit.statuses,
        "balances": audit.balance_rows().into_iter().map(balance).collect::<Vec<_>>(),
        "trial_balance": audit.trial.iter().map(sum).collect::<Vec<_>>(),
        "webhooks": {
            "events": audit.events, "delivered": audit.delivered, "deliveries": audit.deliveries,
            "refused": audit.refused,
        },
    })
}
