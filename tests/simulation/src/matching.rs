//! The oracle's own view of what a payment's terms must be, and of which transfers are its own. Like all of the oracle it
//! shares no code with the processors.

use std::collections::{BTreeMap, BTreeSet};

use streambook_model::{
    bytes::{Address, TxHash},
    chain::ChainId,
    id::{MerchantId, PaymentId},
    message::Message,
    position::{Partition, TopicPartition},
    records::{
        backfill::ChainBackfill,
        book::CreatePayment,
        chain::TransferStatus,
        payment::{ClaimStatus, Matching, Payment, PaymentMethod, PaymentTransferStatus},
        registry::Merchant,
        settings::Settings,
    },
    time::Timestamp,
    topics,
};

use crate::{
    faults::Faults,
    history::History,
    violation::{Check, Violation, ensure},
};

/// The smallest and largest increment of an exact amount over its price, and what the price allows.
const INCREMENTS: std::ops::RangeInclusive<i128> = 1..=9_999;
/// A block of this many milliseconds before a payment's creation can hold its transfer.
const EARLY_MS: i64 = 60_000;

/// What was in force in an inbox before an offset.
#[derive(Default)]
pub struct InForce<'h> {
    settings: Option<&'h Settings>,
    merchant: Option<&'h Merchant>,
}

impl<'h> InForce<'h> {
    /// Reads what came before an offset. A repeat of an older change is not a change.
    pub fn before(history: &'h History, partition: &TopicPartition, offset: u64, of: MerchantId) -> Self {
        let (mut found, mut changes) = (Self::default(), 0);
        let entries = history.log.get(partition).map_or(&[][..], Vec::as_slice);
        for entry in entries.iter().take_while(|entry| entry.offset.0 < offset) {
            let seq = entry.message.meta().source.as_ref().map_or(0, |source| source.seq);
            match &entry.message {
                Message::SettingsChanged(changed)
                    if found.settings.is_none_or(|known| changed.settings.version > known.version) =>
                {
                    found.settings = Some(&changed.settings);
                }
                Message::MerchantChanged(changed) if changed.merchant.id == of && seq > changes => {
                    changes = seq;
                    found.merchant = Some(&changed.merchant);
                }
                _ => {}
            }
        }
        found
    }

    /// The merchant's settlement.
    pub fn settlement(&self) -> String {
        self.merchant.map_or_else(String::new, |merchant| merchant.settlement.clone())
    }

    /// The fee, in millionths.
    pub fn fee(&self) -> i128 {
        self.settings.map_or(0, |settings| settings.fee.parts_per_million.into())
    }

    /// The tolerance of a payment.
    pub fn tolerance(&self, command: &CreatePayment) -> i128 {
        let tolerance = self.merchant.and_then(|merchant| merchant.tolerance.as_ref());
        let (Some(tolerance), PaymentMethod::Chain) = (tolerance, command.method) else { return 0 };
        let price = command.amount.units();
        let relative = price * i128::from(tolerance.parts_per_million) / 1_000_000;
        let least = tolerance.amounts.iter().filter(|least| least.asset == command.asset);
        let least = least.map(|least| least.amount.units()).max().unwrap_or(0);
        relative.max(least).min(price / 10)
    }

    fn address(&self, payment: &Payment) -> Option<Address> {
        let mut addresses = self.merchant.iter().flat_map(|merchant| &merchant.addresses);
        addresses.find(|fixed| Some(fixed.chain) == payment.chain).map(|fixed| fixed.address)
    }

    /// Checks what was agreed with a payment beside what was asked for.
    pub fn check(&self, command: &CreatePayment, payment: &Payment) -> Check {
        let wrong =
            |what: &str| Err(Violation::of("oracle_terms", payment.id, format!("{what}: {payment:?}")));
        if payment.tolerance.map_or(0, |tolerance| tolerance.units()) != self.tolerance(command) {
            return wrong("another tolerance");
        }
        if self.depth(payment) != payment.policy.map(|policy| policy.depth) {
            return wrong("another policy");
        }
        let price = payment.price.unwrap_or(payment.amount);
        let is_exact = command.matching == Some(Matching::ExactAmount);
        if price != command.amount || is_exact != payment.price.is_some() {
            return wrong("another price");
        }
        if command.payer != payment.payer {
            return wrong("another payer");
        }
        if !is_exact {
            return if payment.reserved_until.is_none() { Ok(()) } else { wrong("nothing is reserved") };
        }
        let increment = payment.amount.units() - price.units();
        if !INCREMENTS.contains(&increment) || increment > price.units() / 100 {
            return wrong("another increment");
        }
        let grace = self.settings.map_or(0, |settings| settings.exact_amount_grace_seconds);
        if payment.reserved_until != Some(payment.expires_at.plus_seconds(grace)) {
            return wrong("another reservation");
        }
        if payment.deposit_address.is_none() || payment.deposit_address != self.address(payment) {
            return wrong("another address");
        }
        Ok(())
    }

    /// The depth by the tiers, none by the tag; nothing for a card.
    fn depth(&self, payment: &Payment) -> Option<Option<u32>> {
        let chain = payment.chain?;
        let settings = self.settings?;
        let own = settings.chains.iter().find(|known| known.id == chain)?.policy.depth;
        let mut reached: Vec<_> = settings
            .tiers
            .iter()
            .filter(|tier| tier.asset == payment.asset && tier.from <= payment.amount)
            .collect();
        reached.sort_by_key(|tier| tier.from);
        Some(reached.last().map_or(own, |tier| tier.policy.depth))
    }
}

/// Whether a transfer to a payment's address of so much in a block of this time is the payment's.
pub fn is_own(payment: &Payment, units: i128, at: Timestamp) -> bool {
    let Some(until) = payment.reserved_until else { return true };
    let from = payment.created_at.millis() - EARLY_MS;
    units == payment.amount.units() && (from..=until.millis()).contains(&at.millis())
}

/// A transfer that may be claimed.
#[derive(Debug, Clone, Copy)]
pub struct Claimable {
    /// The transaction.
    pub tx: [u8; 32],
    /// The sender.
    pub from: [u8; 20],
    /// How much.
    pub units: i128,
    /// The block's time.
    pub at: Timestamp,
}

/// Whether two payments are paid in one token to one address that payments share.
pub fn shares(one: &Payment, other: &Payment) -> bool {
    let of = |payment: &Payment| (payment.chain, payment.token, payment.deposit_address);
    of(one) == of(other) && one.reserved_until.is_some() && other.reserved_until.is_some()
}

/// In which order an inbox has taken payments and claims. Payments that share an address are one merchant's, and so in one inbox.
#[derive(Debug, Default)]
pub struct Order {
    created: BTreeMap<PaymentId, u64>,
    claimed: BTreeMap<(PaymentId, [u8; 32]), u64>,
}

impl Order {
    /// Notes an accepted command and its offset.
    pub fn note(&mut self, command: &Message, offset: u64) {
        match command {
            Message::CreatePayment(command) => {
                self.created.entry(command.payment).or_insert(offset);
            }
            Message::ClaimPayment(command) => {
                self.claimed.entry((command.payment, *command.tx_hash.as_bytes())).or_insert(offset);
            }
            _ => {}
        }
    }

    /// Whether a transaction was claimed for one payment before another was made.
    fn is_claimed_before(&self, claimer: &Payment, tx: [u8; 32], made: &Payment) -> bool {
        let (claimed, made) = (self.claimed.get(&(claimer.id, tx)), self.created.get(&made.id));
        claimed.is_some() && claimed < made
    }
}

/// Whether a transfer to a payment's address is the payment's: by its amount, or by a claim where it is not another's by
/// its amount. Who was first when another's amount was given out after the transfer or after the claim, the payments themselves
/// say: one of them.
pub fn belongs<'p, I: Iterator<Item = &'p Payment>>(
    payment: &Payment,
    others: impl Fn() -> I,
    came: Claimable,
    order: &Order,
) -> bool {
    if payment.reserved_until.is_none() {
        return true;
    }
    let is_late_born = |later: &Payment, claimer: &Payment| {
        later.created_at.millis() > came.at.millis() || order.is_claimed_before(claimer, came.tx, later)
    };
    if is_own(payment, came.units, came.at) {
        let taken =
            others().any(|other| claims(other, came) && shows(other, came) && is_late_born(payment, other));
        return !taken;
    }
    let is_anothers = others().any(|other| {
        is_own(other, came.units, came.at) && !(shows(payment, came) && is_late_born(other, payment))
    });
    claims(payment, came) && !is_anothers
}

/// Whether a claim that was not refused covers a transfer.
fn claims(payment: &Payment, came: Claimable) -> bool {
    let from = payment.created_at.millis() - EARLY_MS;
    let until = payment.reserved_until.map_or(0, Timestamp::millis);
    let is_claimed = payment
        .claims
        .iter()
        .any(|claim| *claim.tx_hash.as_bytes() == came.tx && claim.status != ClaimStatus::Refused);
    let is_payers = payment.payer.map(|payer| *payer.as_bytes()) == Some(came.from);
    is_claimed && is_payers && (from..=until).contains(&came.at.millis())
}

/// Whether a payment shows a standing transfer of the transaction.
fn shows(payment: &Payment, came: Claimable) -> bool {
    payment.transfers.iter().any(|transfer| {
        *transfer.tx_hash.as_bytes() == came.tx && transfer.status != PaymentTransferStatus::Orphaned
    })
}

/// No two payments at one address have one amount at one time.
pub fn check_apart<'p>(payments: impl Iterator<Item = &'p Payment>) -> Check {
    let mut times: BTreeMap<_, Vec<(i64, i64, PaymentId)>> = BTreeMap::new();
    for payment in payments {
        let (Some(until), Some(address)) = (payment.reserved_until, payment.deposit_address) else {
            continue;
        };
        let at = (*address.as_bytes(), payment.asset.clone(), payment.amount);
        let from = payment.created_at.millis() - EARLY_MS;
        times.entry(at).or_default().push((from, until.millis(), payment.id));
    }
    for times in times.values_mut() {
        times.sort_unstable();
        let meet = times.windows(2).find(|pair| pair[0].1 >= pair[1].0);
        if let Some(pair) = meet {
            let detail = format!("its amount is also {}'s at some of its times", pair[1].2);
            return Err(Violation::of("oracle_amounts_apart", pair[0].2, detail));
        }
    }
    Ok(())
}

/// What came to an address that payments share and is none's, after the first of their watches was here or where a search found
/// it, was put aside with its transaction: no money goes unseen.
pub fn check_put_aside(history: &History, came: &[Came], payments: &[&Payment]) -> Check {
    for came in came {
        let at_address = |payment: &&&Payment| {
            payment.deposit_address.map(|address| *address.as_bytes()) == Some(came.to)
                && payment.chain == Some(came.chain)
                && payment.reserved_until.is_some()
        };
        let mut shared = payments.iter().filter(at_address).peekable();
        if shared.peek().is_none() || !(is_watched_before(history, came) || is_searched(history, came)) {
            continue;
        }
        let is_somebodys = shared.any(|payment| {
            let token = payment.token.map(|token| *token.as_bytes());
            let counts = payment.transfers.iter().any(|transfer| {
                *transfer.tx_hash.as_bytes() == came.tx && transfer.status != PaymentTransferStatus::Orphaned
            });
            token == Some(came.token) && (is_own(payment, came.units, came.at) || counts)
        });
        let transaction = TxHash::new(came.tx).to_string();
        let is_aside = || {
            let mut letters = history.letters.iter().filter(|letter| letter.code == "unmatched_transfer");
            letters.any(|letter| letter.reason.contains(&transaction))
        };
        ensure(is_somebodys || is_aside(), "unmatched_money_is_put_aside", || {
            format!("{} units in transaction {transaction} to a shared address left no trace", came.units)
        })?;
    }
    Ok(())
}

/// A transfer of an accepted token on a final canonical chain.
#[derive(Debug, Clone)]
pub struct Came {
    /// The chain.
    pub chain: ChainId,
    /// Its block's hash.
    pub block: [u8; 32],
    /// The transaction.
    pub tx: [u8; 32],
    /// The token.
    pub token: [u8; 20],
    /// The receiver.
    pub to: [u8; 20],
    /// How much.
    pub units: i128,
    /// The block's time.
    pub at: Timestamp,
}

/// Whether a watch of the address on the block's chain was in that chain's inbox before the block was. A merchant's address can
/// be the same on two chains.
fn is_watched_before(history: &History, came: &Came) -> bool {
    let mut inboxes = history.topic(topics::CHAIN_INBOX.name).map(|(_, entries)| entries);
    inboxes.any(|entries| {
        let chain_of = |message: &Message| match message {
            Message::ChainBlock(block) if *block.hash.as_bytes() == came.block => Some(block.chain),
            _ => None,
        };
        let found = entries.iter().enumerate().find_map(|(at, entry)| Some((at, chain_of(&entry.message)?)));
        let Some((at, chain)) = found else { return false };
        entries.iter().take(at).any(|entry| {
            matches!(&entry.message, Message::WatchAddress(watch)
                if watch.chain == chain && watch.exact.is_some() && *watch.address.as_bytes() == came.to)
        })
    })
}

/// Whether a search of its address has found it.
fn is_searched(history: &History, came: &Came) -> bool {
    answers(history).any(|(_, answer)| {
        let blocks = answer.blocks.iter().filter(|block| *block.hash.as_bytes() == came.block);
        let mut transfers = blocks.flat_map(|block| &block.transfers);
        transfers
            .any(|transfer| (transfer.tx_hash.as_bytes(), transfer.to.as_bytes()) == (&came.tx, &came.to))
    })
}

/// The answers to searches of old blocks, with the place of each in the log.
fn answers(history: &History) -> impl Iterator<Item = ((Partition, u64), &ChainBackfill)> {
    let inboxes = history.topic(topics::CHAIN_INBOX.name);
    let entries = inboxes.flat_map(|(at, entries)| entries.iter().map(|entry| (at.partition, entry)));
    entries.filter_map(|(partition, entry)| match &entry.message {
        Message::ChainBackfill(answer) => Some(((partition, entry.offset.0), answer)),
        _ => None,
    })
}

/// However many searches find it, money is put aside by one of them.
pub fn check_put_aside_once(history: &History) -> Check {
    let answers: BTreeSet<_> = answers(history).map(|(at, _)| at).collect();
    let mut seen = BTreeSet::new();
    for letter in history.letters.iter().filter(|letter| letter.code == "unmatched_transfer") {
        let is_of_search = answers.contains(&(Partition(letter.partition), letter.offset));
        ensure(!is_of_search || seen.insert(letter.letter), "money_is_put_aside_once", || {
            format!("two searches have put the same aside: {}", letter.reason)
        })?;
    }
    Ok(())
}

/// Counts what the run has done with amounts, so that a workload that does none of it is seen.
pub fn count(history: &History, faults: &mut Faults) {
    let last: BTreeMap<PaymentId, &Payment> =
        history.events.iter().map(|event| (event.payment.id, &event.payment)).collect();
    let mut amounts = BTreeSet::new();
    for payment in last.values() {
        let (received, tolerance) = (payment.amount_confirmed, payment.tolerance.is_some());
        if tolerance && payment.completed_at.is_some() && received != payment.amount {
            faults.count("completed within a tolerance");
        }
        if payment.claims.iter().any(|claim| claim.status == ClaimStatus::Matched) {
            faults.count("claimed transaction matched");
        }
        if payment.claims.iter().any(|claim| claim.status == ClaimStatus::Refused) {
            faults.count("claimed transaction refused");
        }
        let Some(address) = payment.deposit_address.filter(|_| payment.reserved_until.is_some()) else {
            continue;
        };
        if received.is_positive() {
            faults.count("exact amount matched");
        }
        if received.is_positive() && !amounts.insert((address, payment.asset.clone(), payment.amount)) {
            faults.count("exact amount given again and matched");
        }
    }
    let answers: BTreeMap<_, _> = answers(history).collect();
    for letter in &history.letters {
        if letter.code == "unmatched_transfer" {
            faults.count("transfer to a shared address put aside");
            if answers.contains_key(&(Partition(letter.partition), letter.offset)) {
                faults.count("transfer put aside by a search");
            }
        }
    }
    for event in history.transfers.iter().filter(|event| event.status == TransferStatus::Seen) {
        let payment = last.get(&event.payment).filter(|payment| payment.reserved_until.is_some());
        let cause = event.meta.cause.map(|cause| (Partition(cause.partition), cause.offset));
        let answer = cause.and_then(|at| answers.get(&at));
        if let (Some(payment), true) = (payment, answer.is_some()) {
            let is_exact = event.amount == payment.amount;
            faults.count(if is_exact { "exact amount found by a search" } else { "claim found by a search" });
        }
    }
}
