//! Scripts: one line for each fact or command, with the events it must lead to.
//!
//! `seen a 400 => confirming`, `confirmed a`, `orphaned a`, `final a`; `late b 400` and `late-confirmed b` are in a block
//! after the deadline; `deadline`, `accept`, `cancel`, `refund 100`, `card succeeded ch_1 1000`, `tick 1800`. After `=>`
//! stand the events in order, or the code of the problem or dead letter. A line `= completed 995 0 5` checks the status and
//! what the merchant's available and clearing and the platform's fee account hold.

use std::collections::BTreeMap;

use streambook_model::records::{chain::TransferStatus, payment::PaymentMethod, stripe::CardFactKind};

use super::{
    super::ledger::Account,
    shop::{Late, START, Said, Shop},
};

/// Runs a script on a payment of 1,000 units (fee 5).
pub(super) fn check(method: PaymentMethod, script: &str) -> Shop {
    check_in(Shop::open(), method, script)
}

/// The same in a shop that was prepared.
pub(super) fn check_in(mut shop: Shop, method: PaymentMethod, script: &str) -> Shop {
    shop.create(1, method, 1_000);
    let mut known = BTreeMap::new();
    for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
        match line.strip_prefix("= ") {
            Some(expect) => assert_eq!(standing(&shop), expect, "in:\n{script}"),
            None => step(&mut shop, line, &mut known),
        }
    }
    shop
}

fn standing(shop: &Shop) -> String {
    let status = format!("{:?}", shop.last.as_ref().unwrap().status).to_lowercase();
    let [available, clearing, fees] =
        [Account::Available, Account::Clearing, Account::Fees].map(|account| shop.holds(account));
    format!("{status} {available} {clearing} {fees}")
}

pub(super) fn step(shop: &mut Shop, line: &str, known: &mut BTreeMap<String, (i128, Late)>) {
    let (what, expect) = line.split_once("=>").unwrap_or((line, ""));
    let words: Vec<_> = what.split_whitespace().collect();
    let number = |index: usize| words[index].parse::<i128>().unwrap();
    let said = match words[0] {
        "deadline" => shop.deadline(1),
        "accept" => shop.accept(1),
        "cancel" => shop.cancel(1),
        "tick" => shop.tick(START + i64::try_from(number(1)).unwrap() * 1_000),
        "clock" => {
            shop.bench.at(START + i64::try_from(number(1)).unwrap() * 1_000);
            Said::default()
        }
        "refund" => {
            let command =
                shop.refunding(1, words[1].len().try_into().unwrap(), words.get(2).map(|_| number(2)));
            shop.command(command)
        }
        "card" => {
            let units = words.get(3).map_or(0, |_| number(3));
            let fact = shop.card_fact(1, kind(words[1]), words[2], units);
            shop.fact(fact)
        }
        verb => transfer(shop, verb, &words, known),
    };
    let heard = match said.replies.first().and_then(|reply| reply.problem.as_ref()) {
        Some(problem) => problem.code.clone(),
        None => {
            said.names().into_iter().map(str::to_owned).chain(said.dead.clone()).collect::<Vec<_>>().join(" ")
        }
    };
    assert_eq!(heard, expect.trim(), "after `{line}`");
    assert_eq!(said.events.len(), said.webhooks.len(), "each event is one message to the one endpoint");
}

fn transfer(shop: &mut Shop, verb: &str, words: &[&str], known: &mut BTreeMap<String, (i128, Late)>) -> Said {
    let (status, late) = match verb {
        "seen" => (TransferStatus::Seen, Late::No),
        "confirmed" => (TransferStatus::Confirmed, Late::No),
        "late" => (TransferStatus::Seen, Late::Yes),
        "late-confirmed" => (TransferStatus::Confirmed, Late::Yes),
        "orphaned" => (TransferStatus::Orphaned, Late::No),
        "final" => (TransferStatus::Finalized, Late::No),
        other => panic!("no such line: {other}"),
    };
    let given = words.get(2).map(|units| (units.parse().unwrap(), late));
    let (units, late) = *known.entry(words[1].to_owned()).or_insert_with(|| given.unwrap_or((1_000, late)));
    let report = shop.report(1, status, words[1].as_bytes()[0], units, late);
    shop.fact(report)
}

fn kind(name: &str) -> CardFactKind {
    match name {
        "succeeded" => CardFactKind::Succeeded,
        "fee" => CardFactKind::FeeKnown,
        "failed" => CardFactKind::Failed,
        "refunded" => CardFactKind::Refunded,
        "refund-failed" => CardFactKind::RefundFailed,
        "disputed" => CardFactKind::DisputeOpened,
        "dispute-fee" => CardFactKind::DisputeFee,
        "won" => CardFactKind::DisputeWon,
        "lost" => CardFactKind::DisputeLost,
        other => panic!("no such card fact: {other}"),
    }
}
