//! Every invariant is seen where it is broken, and a broken one stops its task with nothing of the record done.

use std::collections::BTreeSet;

use streambook_model::{
    asset::AssetId,
    bytes::ContentHash,
    id::{MerchantId, PaymentId, TransactionId},
    message::Message,
    meta::{Cause, Meta},
    money::Amount,
    records::{
        book::Tick,
        ledger::{AccountId, Entry, LedgerTransaction},
        reply::CommandOutcome,
        stripe::{CardFact, CardFactKind},
    },
    time::Timestamp,
    topics::{self, TopicDef},
};
use streambook_runtime::{processor::Processor, state::MemoryState, step::Stopped, table::Table};

use super::*;
use crate::testing::Bench;

fn amount(units: i128) -> Amount {
    Amount::new(units).unwrap()
}

fn usd() -> AssetId {
    "usd".parse().unwrap()
}

fn meta() -> Meta {
    let (now, cause) = (Timestamp::from_millis(0), Some(Cause { partition: 0, offset: 1 }));
    Meta { source: None, id: "test".into(), occurred_at: now, recorded_at: now, cause, trace: None }
}

fn entry(account: &str, units: i128) -> Entry {
    let (account, amount) = (AccountId::new(format!("live/{account}")), amount(units));
    Entry { account, asset: usd(), amount, balance: amount, version: 1 }
}

fn applied(entries: Vec<Entry>) -> LedgerTransaction {
    LedgerTransaction {
        meta: meta(),
        transaction: TransactionId::from_bits([7; 16]),
        merchant: MerchantId::from_bits([1; 16]),
        livemode: true,
        sequence: 1,
        template: "payment.applied".into(),
        template_version: 1,
        payment: Some(PaymentId::from_bits([2; 16])),
        refund: None,
        event: "event".into(),
        reverses: None,
        occurred_at: Timestamp::from_millis(0),
        entries,
        previous_hash: ContentHash::ZERO,
        hash: ContentHash::ZERO,
    }
}

fn custodial(clearing: i128, available: i128, fees: i128) -> LedgerTransaction {
    applied(vec![
        entry("merchant/m/clearing", clearing),
        entry("merchant/m/available", available),
        entry("platform/fees/3", fees),
    ])
}

/// Both must be checked by this invariant: the first holds, the second does not.
#[track_caller]
fn check(invariant: Invariant, right: Check, wrong: Check) {
    right.unwrap();
    assert_eq!(wrong.unwrap_err().invariant, invariant);
}

#[test]
fn names_are_unique_and_not_empty() {
    let names: BTreeSet<_> = Invariant::ALL.iter().map(|invariant| invariant.name()).collect();
    assert!(names.len() == Invariant::ALL.len() && !names.contains(""));
}

#[test]
fn a_transaction_that_breaks_an_invariant_is_seen() {
    let right = custodial(200, -199, -1);
    check(Invariant::SumZero, sum_zero(&right), sum_zero(&custodial(200, -199, -2)));
    check(Invariant::SumZero, sum_zero(&right), sum_zero(&custodial(200, -200, 0)));
    let two = LedgerTransaction { entries: [right.entries.clone(), vec![]].concat(), ..right.clone() };
    let mut mixed = two.clone();
    mixed.entries[0].asset = "jpy".parse().unwrap();
    check(Invariant::SumZero, sum_zero(&two), sum_zero(&mixed));
    let id = right.transaction;
    let first = &right.entries[0];
    let gap = entry_versions_have_no_gaps(id, first, 1);
    check(Invariant::EntryVersionsHaveNoGaps, entry_versions_have_no_gaps(id, first, 0), gap);
    let wrong = balance_is_replay_of_entries(id, first, amount(1));
    check(Invariant::BalanceIsReplayOfEntries, balance_is_replay_of_entries(id, first, Amount::ZERO), wrong);
    let linked = hash_chain_links(&right, (0, ContentHash::ZERO));
    check(Invariant::HashChainLinks, linked, hash_chain_links(&right, (0, ContentHash::new([1; 32]))));
    let named = |change: fn(&mut LedgerTransaction)| {
        let mut transaction = right.clone();
        change(&mut transaction);
        posting_names_its_cause(&transaction)
    };
    check(Invariant::PostingNamesItsCause, named(|_| ()), named(|t| t.event.clear()));
    check(Invariant::PostingNamesItsCause, named(|_| ()), named(|t| t.template.push('x')));
    check(Invariant::PostingNamesItsCause, named(|_| ()), named(|t| t.template_version = 0));
    check(Invariant::PostingNamesItsCause, named(|_| ()), named(|t| t.meta.cause = None));
    let twice = event_is_posted_once(&right, Before::Already);
    check(Invariant::EventIsPostedOnce, event_is_posted_once(&right, Before::Never), twice);
}

#[test]
fn a_reversal_of_more_or_of_something_else_or_a_second_one_is_seen() {
    let id = TransactionId::from_bits([1; 16]);
    let of = |original: &[(char, i128)], reversal: &[(char, i128)]| {
        let lines = |lines: &[(char, i128)]| lines.iter().map(|(a, u)| (*a, amount(*u))).collect::<Vec<_>>();
        lines_are_taken_back(id, lines(original), lines(reversal))
    };
    let right = || of(&[('a', 5), ('b', -5)], &[('a', -5), ('b', 5)]);
    check(Invariant::ReversedAtMostOriginal, right(), of(&[('a', 5), ('b', -5)], &[('a', -6), ('b', 6)]));
    check(Invariant::ReversedAtMostOriginal, right(), of(&[('a', 5), ('b', -5)], &[('b', -5), ('a', 5)]));
    check(Invariant::ReversedAtMostOriginal, right(), of(&[('a', 5)], &[('a', -5), ('b', 5)]));
    check(Invariant::ReversedOnce, reversed_once(id, Before::Never), reversed_once(id, Before::Already));
}

#[test]
fn parts_are_read_from_both_settlements_and_their_reversals() {
    let parts = |units: [i128; 3]| {
        let [gross, net, fee] = units.map(amount);
        Parts { gross, net, fee }
    };
    assert_eq!(Parts::of(&custodial(200, -199, -1)).unwrap(), Some(parts([200, 199, 1])));
    let direct = |due, fees| {
        applied(vec![
            entry("merchant/m/clearing", 200),
            entry("merchant/m/revenue", -200),
            entry("merchant/m/fees_due", due),
            entry("platform/fees/3", fees),
        ])
    };
    assert_eq!(Parts::of(&direct(1, -1)).unwrap(), Some(parts([200, 199, 1])));
    assert!(Parts::of(&direct(1, -2)).is_err());
    let reversal =
        LedgerTransaction { reverses: Some(TransactionId::from_bits([9; 16])), ..custodial(-200, 199, 1) };
    assert_eq!(Parts::of(&reversal).unwrap(), Some(parts([200, 199, 1])));
    let other = applied(vec![entry("merchant/m/clearing", 5), entry("merchant/m/escrow", -5)]);
    assert_eq!(Parts::of(&other).unwrap(), None, "an operator's own set");
    let right = gross_is_net_and_fee(parts([200, 199, 1]));
    check(Invariant::GrossIsNetAndFee, right.clone(), gross_is_net_and_fee(parts([200, 199, 2])));
    check(Invariant::GrossIsNetAndFee, right, gross_is_net_and_fee(parts([200, 201, -1])));
}

#[test]
fn pending_money_that_is_negative_or_resolved_twice_is_seen() {
    let of = |received, confirmed| pending_is_never_negative("pay", amount(received), amount(confirmed));
    check(Invariant::PendingIsNeverNegative, of(5, 5), of(5, 6));
    check(Invariant::PendingIsNeverNegative, of(0, 0), of(5, -1));
    let once = |before| pending_is_resolved_once("inclusion", before);
    check(Invariant::PendingIsResolvedOnce, once(Before::Never), once(Before::Already));
}

#[test]
fn a_money_event_without_a_trace_is_seen() {
    let fact = |kind| {
        Message::from(CardFact {
            meta: meta(),
            kind,
            merchant: MerchantId::from_bits([1; 16]),
            payment: PaymentId::from_bits([2; 16]),
            livemode: true,
            object: "ch_1".into(),
            asset: usd(),
            amount: amount(5),
            reason: None,
        })
    };
    assert_eq!(Money::of(&fact(CardFactKind::Failed)), None);
    let (charge, refund) = (
        Money::of(&fact(CardFactKind::Succeeded)).unwrap(),
        Money::of(&fact(CardFactKind::Refunded)).unwrap(),
    );
    let nothing = money_is_posted_or_explained(&refund, Traces::default());
    let remembered = Traces { is_remembered: true, ..Traces::default() };
    let posted = Traces { posted: 1, ..Traces::default() };
    check(Invariant::MoneyIsPostedOrExplained, money_is_posted_or_explained(&refund, remembered), nothing);
    let unposted = money_is_posted_or_explained(&charge, remembered);
    check(Invariant::MoneyIsPostedOrExplained, money_is_posted_or_explained(&charge, posted), unposted);
    for traces in [
        Traces { was_taken: true, ..Traces::default() },
        Traces { is_dead_letter: true, ..Traces::default() },
    ] {
        money_is_posted_or_explained(&charge, traces).unwrap();
    }
}

#[test]
fn a_command_that_is_carried_out_twice_or_rejected_with_a_change_is_seen() {
    let hash = |byte| ContentHash::new([byte; 32]);
    let of = |before, now, outcome, code| key_gives_the_same("k", KeySeen::of(before, now), outcome, code);
    let (asked, given) = (hash(1), hash(2));
    let (accepted, replayed, rejected) =
        (CommandOutcome::Accepted, CommandOutcome::Replayed, CommandOutcome::Rejected);
    let conflict = Some("idempotency_key_reused");
    let cases = [
        (of(None, (asked, given), accepted, None), of(None, (asked, given), rejected, conflict)),
        (
            of(Some((asked, given)), (asked, given), replayed, None),
            of(Some((asked, given)), (asked, given), accepted, None),
        ),
        (
            of(Some((asked, given)), (asked, given), replayed, None),
            of(Some((asked, given)), (asked, hash(9)), replayed, None),
        ),
        (
            of(Some((asked, given)), (hash(9), given), rejected, conflict),
            of(Some((asked, given)), (hash(9), given), accepted, None),
        ),
    ];
    for (right, wrong) in cases {
        check(Invariant::KeyGivesTheSame, right, wrong);
    }
    let changed = |outcome, key: Option<&[u8]>| rejected_command_changes_nothing(outcome, key);
    changed(accepted, Some(&[1])).unwrap();
    check(Invariant::RejectedCommandChangesNothing, changed(rejected, None), changed(rejected, Some(&[1])));
}

/// Remembers each tick and says that one invariant holds of it and another does not.
struct Wrong;

const TICKS: Table<u64> = Table::new(1);

impl Processor for Wrong {
    fn name(&self) -> &'static str {
        "wrong"
    }

    fn inbox(&self) -> TopicDef {
        topics::BOOK_INBOX
    }

    fn process(&self, message: Message, context: &mut Context<'_>) -> Result<(), Fault> {
        let Message::Tick(tick) = message else { return Err(Fault::dead_letter("unexpected", "not a tick")) };
        TICKS.put(&mut context.state, (), &1)?;
        let right = custodial(200, -199, -1);
        at_run_time(context, Invariant::SumZero, sum_zero(&right))?;
        let fees = if tick.now.millis() == 0 { -1 } else { -2 };
        at_run_time(context, Invariant::SumZero, sum_zero(&custodial(200, -199, fees)))
    }
}

#[test]
fn checks_are_counted_and_a_violation_stops_the_task_with_its_name_and_without_a_trace() {
    let mut bench = Bench::new(&Wrong, 0);
    let tick = |millis| Tick { meta: meta(), now: Timestamp::from_millis(millis) };
    let step = bench.try_feed(tick(0)).unwrap();
    assert_eq!(step.checks.iter().collect::<Vec<_>>(), [("sum_zero", 2)]);
    bench.state = MemoryState::default();
    let stopped = bench.try_feed(tick(1)).unwrap_err();
    assert!(matches!(&stopped, Stopped::Violated { invariant: "sum_zero", .. }), "{stopped}");
    assert!(stopped.to_string().contains("the invariant sum_zero does not hold: "), "{stopped}");
    assert_eq!(bench.state, MemoryState::default());
}
