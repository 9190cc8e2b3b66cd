//! Our templates against a real book-keeper's journals of Stripe events, in `../shared/data/stripe/journal-pairs`.
//! The journals are a shop's own, so the direct set must match them account by account; the custodial set, where the
//! platform holds the money, must move the Stripe balance as theirs does, with all else on what the merchant is owed.
//! Payouts of the Stripe balance to a bank are out of scope: those leave the platform, not a merchant's book.

use std::{collections::BTreeMap, fs, path::PathBuf};

use serde_json::Value;

use super::*;

/// Account codes of the journals, without zero balances; debits are positive.
type Journal = BTreeMap<&'static str, i128>;

/// What the journals post for an event; fees (6000) and losses (6100) are one account of ours.
fn theirs(expected: &Value) -> Journal {
    let mut journal = Journal::new();
    for line in expected["entries"].as_array().unwrap().iter().flat_map(|e| e["lines"].as_array().unwrap()) {
        let code = match line["accountCode"].as_str().unwrap() {
            "1010" => "stripe",
            "1200" => "disputed",
            "4000" => "revenue",
            "4900" => "refunds",
            "6000" | "6100" => "costs",
            other => panic!("account {other}"),
        };
        let sign = if line["side"] == "debit" { 1 } else { -1 };
        *journal.entry(code).or_default() += sign * units(&line["amount"]);
    }
    journal
}

/// What our templates post for the same event.
fn ours(set: &str, event: &Value) -> Journal {
    let (mut ledger, book) = (Ledger::new(), book(1, false));
    for (template, gross) in postings(event) {
        ledger.post(book, posting(set, template, amounts(gross, 0))).unwrap();
    }
    let mut journal = Journal::new();
    for account in Account::ALL {
        *journal.entry(their_account(account)).or_default() += ledger.balance(book, account, "usdc:1");
    }
    journal.retain(|_, balance| *balance != 0);
    journal
}

fn their_account(account: Account) -> &'static str {
    match account {
        Account::MerchantStripe | Account::PlatformStripe => "stripe",
        Account::Disputed => "disputed",
        Account::Revenue => "revenue",
        Account::Refunds => "refunds",
        Account::Costs => "costs",
        Account::Available => "available",
        _ => "none of theirs",
    }
}

/// The postings that an event stands for, with the amounts of its balance transactions.
fn postings(event: &Value) -> Vec<(TemplateName, i128)> {
    let object = &event["data"]["object"];
    let moved = |transaction: &Value| (units(&transaction["amount"]), units(&transaction["fee"]));
    match event["type"].as_str().unwrap() {
        "charge.succeeded" => {
            let (gross, fee) = moved(&object["balance_transaction"]);
            vec![
                (TemplateName::CardReceived, gross),
                (TemplateName::PaymentApplied, gross),
                (TemplateName::CardFee, fee),
            ]
        }
        "charge.refunded" => {
            let refunds = object["refunds"]["data"].as_array().unwrap().iter();
            refunds
                .map(|refund| (TemplateName::CardRefunded, -moved(&refund["balance_transaction"]).0))
                .collect()
        }
        "charge.dispute.funds_withdrawn" => {
            let (amount, fee) = moved(&object["balance_transactions"][0]);
            vec![(TemplateName::DisputeOpened, -amount), (TemplateName::DisputeFee, fee)]
        }
        "charge.dispute.funds_reinstated" => {
            vec![(TemplateName::DisputeWon, moved(&object["balance_transactions"][0]).0)]
        }
        "charge.dispute.closed" if object["status"] == "lost" => {
            vec![(TemplateName::DisputeLost, units(&object["amount"]))]
        }
        "charge.failed" | "charge.dispute.created" => Vec::new(),
        other => panic!("what does {other} post?"),
    }
}

fn units(value: &Value) -> i128 {
    i128::from(value.as_i64().unwrap())
}

fn check(name: &str, event: &Value, theirs: Journal) {
    assert_eq!(ours("direct", event), theirs, "{name}, direct");
    let mut merged = Journal::new();
    for (account, balance) in theirs {
        let account = if account == "stripe" { "stripe" } else { "available" };
        *merged.entry(account).or_default() += balance;
    }
    // A lost dispute is nothing new to a merchant from whom it was withdrawn when it was opened.
    merged.retain(|_, balance| *balance != 0);
    assert_eq!(ours("custodial", event), merged, "{name}, custodial");
}

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "a test reads the shared data; the processor itself does no I/O"
)]
fn stripe_events_have_the_effect_that_a_real_book_keeper_gave_them() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/stripe/journal-pairs");
    let Ok(files) = fs::read_dir(&folder) else {
        println!(
            "NOT CHECKED: shared/data/stripe/journal-pairs is missing; put the shared data folder beside the project"
        );
        return;
    };
    let read =
        |name: String| -> Value { serde_json::from_slice(&fs::read(folder.join(name)).unwrap()).unwrap() };
    let mut checked = 0;
    for file in files {
        let name = file.unwrap().file_name().into_string().unwrap();
        let Some(pair) = name.strip_suffix(".event.json") else { continue };
        if pair == "payout_paid_standard" {
            continue;
        }
        check(pair, &read(name.clone()), theirs(&read(format!("{pair}.expected.json"))));
        checked += 1;
    }
    assert_eq!(checked, 10, "all but the payout");
}
