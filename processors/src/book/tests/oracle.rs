//! Random sequences of facts and commands on one chain payment. After every step the status and the books must be those of
//! an oracle that keeps nothing but the list of transfers and of accepted commands and shares no code with the book.

use std::collections::BTreeMap;

use proptest::prelude::*;
use streambook_model::records::{
    chain::TransferStatus,
    payment::{PaymentMethod, PaymentStatus},
    registry::{Merchant, Tolerance},
    reply::CommandOutcome,
};

use super::{
    super::ledger::Account,
    shop::{Late, SHOP, Shop, merchant},
};

const NOMINAL: i128 = 1_000;

#[derive(Debug, Clone, Copy)]
enum Action {
    Report(u8, TransferStatus),
    Deadline,
    Cancel,
    Accept,
    Refund(i128),
}

/// The transfers there can be: amount, and whether late.
const TRANSFERS: [(i128, Late); 6] = [
    (1_000, Late::No),
    (400, Late::No),
    (600, Late::No),
    (333, Late::No),
    (1_000, Late::Yes),
    (50, Late::Yes),
];

#[derive(Debug, Default)]
struct Oracle {
    /// By how much what comes may differ.
    tolerance: i128,
    transfers: BTreeMap<u8, TransferStatus>,
    deadline: bool,
    canceled: bool,
    was_paid: bool,
    /// What each acceptance applies, by what was confirmed then. The highest that is still confirmed is in force.
    accepted: BTreeMap<i128, i128>,
    refunded_applied: i128,
    refunded_unapplied: i128,
}

impl Oracle {
    fn sum(&self, status: TransferStatus, late: Late) -> i128 {
        let of = self
            .transfers
            .iter()
            .filter(|(tag, now)| **now == status && TRANSFERS[usize::from(**tag)].1 == late);
        of.map(|(tag, _)| TRANSFERS[usize::from(*tag)].0).sum()
    }

    fn confirmed(&self) -> i128 {
        self.sum(TransferStatus::Confirmed, Late::No) + self.sum(TransferStatus::Confirmed, Late::Yes)
    }

    /// Confirmed in time; after a cancellation nothing is in time.
    fn timely(&self) -> i128 {
        if self.canceled { 0 } else { self.sum(TransferStatus::Confirmed, Late::No) }
    }

    /// What a payment that is paid is paid with.
    fn paid(&self) -> Option<i128> {
        (self.timely() >= NOMINAL - self.tolerance).then(|| self.confirmed().min(NOMINAL + self.tolerance))
    }

    fn status(&self) -> PaymentStatus {
        let (confirmed, timely) = (self.confirmed(), self.timely());
        if let Some(credit) = self.acceptance().map(|(at, _)| at).max(self.paid()) {
            return if confirmed == credit { PaymentStatus::Completed } else { PaymentStatus::Overpaid };
        }
        let on_its_way = !self.canceled && self.sum(TransferStatus::Seen, Late::No) > 0;
        if on_its_way && !self.was_paid {
            return PaymentStatus::Confirming;
        }
        if confirmed > timely {
            return PaymentStatus::PaidLate;
        }
        match (self.was_paid, self.canceled, self.deadline, timely > 0) {
            (true, _, _, _) => PaymentStatus::Reversed,
            (_, true, _, _) => PaymentStatus::Canceled,
            (_, _, true, true) => PaymentStatus::Underpaid,
            (_, _, true, false) => PaymentStatus::Expired,
            (_, _, false, true) => PaymentStatus::Confirming,
            (_, _, false, false) => PaymentStatus::Pending,
        }
    }

    fn applied(&self) -> i128 {
        let confirmed = self.confirmed();
        let nominal = self.paid().unwrap_or(0);
        let accepted = self.acceptance().map_or(0, |(_, net)| net);
        nominal.max(accepted).min(confirmed - self.refunded_unapplied).max(0)
    }

    fn acceptance(&self) -> Option<(i128, i128)> {
        self.accepted.range(..=self.confirmed()).next_back().map(|(at, net)| (*at, *net))
    }

    fn fee(&self) -> i128 {
        (self.applied() * 5 + 500) / 1_000
    }

    /// Whether a report can follow what was reported before.
    fn allows(&self, tag: u8, status: TransferStatus) -> bool {
        match (self.transfers.get(&tag), status) {
            (None, TransferStatus::Seen | TransferStatus::Confirmed) => true,
            (None, _) | (Some(TransferStatus::Orphaned), TransferStatus::Finalized) => false,
            _ => true,
        }
    }

    fn report(&mut self, tag: u8, status: TransferStatus) {
        let now = self.transfers.entry(tag).or_insert(TransferStatus::Seen);
        match (*now, status) {
            (_, TransferStatus::Orphaned) => *now = TransferStatus::Orphaned,
            (TransferStatus::Seen, TransferStatus::Confirmed) => *now = TransferStatus::Confirmed,
            // Finality changes nothing in the books: a chain can be rebuilt below it.
            _ => {}
        }
    }

    /// After each step: what is remembered of the past is that it was paid.
    fn settle(&mut self) {
        self.was_paid |= matches!(self.status(), PaymentStatus::Completed | PaymentStatus::Overpaid);
    }
}

fn action() -> impl Strategy<Value = Action> {
    let statuses = [
        TransferStatus::Seen,
        TransferStatus::Confirmed,
        TransferStatus::Orphaned,
        TransferStatus::Finalized,
    ];
    prop_oneof![
        8 => (0_u8..6, prop::sample::select(statuses.to_vec())).prop_map(|(tag, status)| Action::Report(tag, status)),
        1 => Just(Action::Deadline),
        1 => Just(Action::Cancel),
        2 => Just(Action::Accept),
        2 => (1_i128..1_200).prop_map(Action::Refund),
    ]
}

fn act(shop: &mut Shop, oracle: &mut Oracle, action: Action, refunds: &mut u8) {
    match action {
        Action::Report(tag, status) if oracle.allows(tag, status) => {
            let (units, late) = TRANSFERS[usize::from(tag)];
            let report = shop.report(1, status, tag, units, late);
            assert!(shop.fact(report).dead.is_empty());
            oracle.report(tag, status);
        }
        Action::Report(tag, status) => {
            // What cannot follow is put aside and changes nothing.
            let (units, late) = TRANSFERS[usize::from(tag)];
            let report = shop.report(1, status, tag, units, late);
            let before = shop.business_state();
            shop.feed(report);
            assert!(shop.business_state() == before, "{action:?} changed something");
        }
        Action::Deadline => {
            shop.deadline(1);
            oracle.deadline = true;
        }
        Action::Cancel => oracle.canceled |= shop.cancel(1).reply().outcome == CommandOutcome::Accepted,
        Action::Accept => {
            if shop.accept(1).reply().outcome == CommandOutcome::Accepted {
                let confirmed = oracle.confirmed();
                oracle.accepted.insert(confirmed, confirmed - oracle.refunded_unapplied);
            }
        }
        Action::Refund(units) => {
            *refunds += 1;
            let refund = shop.refunding(1, *refunds, Some(units));
            if shop.command(refund).reply().outcome == CommandOutcome::Accepted {
                let waiting = (oracle.confirmed() - oracle.applied() - oracle.refunded_unapplied).max(0);
                oracle.refunded_unapplied += waiting.min(units);
                oracle.refunded_applied += units - waiting.min(units);
            }
        }
    }
    oracle.settle();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn books_and_status_follow_from_the_facts_alone(
        actions in prop::collection::vec(action(), 1..40),
        tolerance in prop::sample::select(vec![0, 1, 33, 50, 100]),
    ) {
        let mut shop = Shop::open();
        let parts_per_million = u32::try_from(tolerance * 1_000).unwrap();
        let tolerated = Some(Tolerance { parts_per_million, amounts: Vec::new() });
        shop.put_merchant(Merchant { tolerance: tolerated, ..merchant(SHOP) });
        shop.create(1, PaymentMethod::Chain, NOMINAL);
        let (mut oracle, mut refunds) = (Oracle { tolerance, ..Oracle::default() }, 0);
        for action in actions {
            act(&mut shop, &mut oracle, action, &mut refunds);
            let payment = shop.last.clone().unwrap();
            prop_assert_eq!(payment.status, oracle.status(), "after {:?}: {:?}", action, oracle);
            let books = [Account::Available, Account::Clearing, Account::Fees].map(|account| shop.holds(account));
            let applied = oracle.applied();
            let expect = [
                applied - oracle.fee() - oracle.refunded_applied,
                oracle.confirmed() - applied - oracle.refunded_unapplied,
                oracle.fee(),
            ];
            prop_assert_eq!(books, expect, "after {:?}: {:?}", action, oracle);
        }
    }
}
