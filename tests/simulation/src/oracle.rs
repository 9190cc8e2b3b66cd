//! The oracle: what every payment and every account must be, from the final canonical chains, the accepted commands in
//! log order and the set of Stripe objects. It shares no code with the processors; it knows ids, amounts and records.
//!
//! Where the outcome depends on when something was decided (how a refund was divided, what was confirmed when a merchant
//! accepted, whether a payment was complete before a reorganisation), it takes the recorded decision and checks its
//! effect. Everything else it decides anew.

use std::collections::BTreeMap;

use alloy_primitives::U256;
use streambook_devchain::{Outcome, TRANSFER_TOPIC};
use streambook_log::partitioner::partition_of;
use streambook_model::{
    bytes::Address,
    chain::ChainId,
    id::PaymentId,
    message::Message,
    records::{
        book::CreatePayment,
        payment::{Payment, PaymentMethod, PaymentStatus, PaymentTransferStatus},
        reply::CommandOutcome,
    },
    time::Timestamp,
    topics,
};

use crate::{
    cards::{Card, Verdict},
    history::History,
    invariants::{audit, decided},
    matching::{
        Came, Claimable, InForce, Order, belongs, check_apart, check_put_aside, check_put_aside_once, shares,
    },
    violation::{Check, Violation},
    world::World,
};

/// A transfer of the final canonical chain.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Paid {
    block: u64,
    log_index: u32,
    tx: [u8; 32],
    from: [u8; 20],
    units: i128,
    at: Timestamp,
}

/// What a payment's commands and terms were.
struct Agreed<'h> {
    command: &'h CreatePayment,
    in_force: InForce<'h>,
    canceled: bool,
    /// For each acceptance: what was confirmed, and that less what had been refunded unapplied.
    accepted: Vec<(i128, i128)>,
    /// Refunds the merchant recorded: reference and amount.
    refunds: Vec<(Option<String>, i128)>,
}

/// What a payment's money must come to.
#[derive(Debug, Default)]
struct Money {
    timely: i128,
    confirmed: i128,
    refunded: i128,
    refunded_applied: i128,
    refunded_unapplied: i128,
    applied: i128,
    fee: i128,
    card_fee: i128,
    withdrawn: i128,
    dispute_fee: i128,
    lost: i128,
}

type Balances = BTreeMap<(String, String), i128>;
type Received = BTreeMap<(ChainId, [u8; 20], [u8; 20]), Vec<Paid>>;

/// Checks every payment and every balance.
pub fn check(world: &World, history: &History) -> Check {
    let received = received(world);
    let (agreed, order) = agreed(history)?;
    let last: BTreeMap<PaymentId, &Payment> =
        history.events.iter().map(|event| (event.payment.id, &event.payment)).collect();
    let mut balances = Balances::new();
    for (id, agreed) in &agreed {
        let Some(payment) = last.get(id) else {
            return Err(Violation::of(
                "oracle_payment",
                *id,
                "it was accepted and nothing was ever said of it",
            ));
        };
        let card = world.cards.cards.iter().find(|card| card.payment == *id);
        let paid = paid_to(payment, &last, &received, &order);
        check_transfers(payment, &paid)?;
        let money = money(agreed, payment, &paid, card, history)?;
        check_payment(agreed, payment, &money, card, history)?;
        add(&mut balances, agreed, payment, &money);
    }
    let stranger = last.keys().find(|id| !agreed.contains_key(*id));
    if let Some(id) = stranger {
        return Err(Violation::of("oracle_payment", *id, "nobody's accepted command created it"));
    }
    check_apart(last.values().copied())?;
    let payments: Vec<_> = last.values().copied().collect();
    check_put_aside(history, &came(world), &payments)?;
    check_put_aside_once(history)?;
    check_balances(&balances, history)
}

/// Every transfer of an accepted token on the canonical chains, with its block.
fn came(world: &World) -> Vec<Came> {
    let mut came = Vec::new();
    for chain in &world.chains {
        for block in chain.blocks.canonical_blocks(1) {
            let at = Timestamp::from_seconds(block.header().timestamp).unwrap_or_default();
            for made in block.transactions().iter().filter(|made| made.outcome == Outcome::Succeeded) {
                for log in &made.logs {
                    let (token, [topic, _, to]) = (log.address, log.topics()) else { continue };
                    let value = U256::from_be_slice(&log.data.data);
                    if *topic != TRANSFER_TOPIC
                        || value.is_zero()
                        || ![chain.token, chain.other].contains(&token)
                    {
                        continue;
                    }
                    // What is beyond the range is nobody's amount, and put aside like all else.
                    let units = i128::try_from(value).unwrap_or(i128::MAX);
                    let (token, to) =
                        (token.into_array(), alloy_primitives::Address::from_word(*to).into_array());
                    came.push(Came {
                        chain: chain.id,
                        block: block.hash().0,
                        tx: made.hash().0,
                        token,
                        to,
                        units,
                        at,
                    });
                }
            }
        }
    }
    came
}

/// Every transfer of the canonical chains, by chain, token and receiver.
fn received(world: &World) -> Received {
    let mut received = Received::new();
    for chain in &world.chains {
        for block in chain.blocks.canonical_blocks(1) {
            let mut log_index = 0;
            for made in block.transactions().iter().filter(|made| made.outcome == Outcome::Succeeded) {
                for log in &made.logs {
                    let index = log_index;
                    log_index += 1;
                    let [topic, from, to] = log.topics() else { continue };
                    let units = i128::try_from(U256::from_be_slice(&log.data.data)).unwrap_or(0);
                    if *topic != TRANSFER_TOPIC || units == 0 {
                        continue;
                    }
                    let to = alloy_primitives::Address::from_word(*to).into_array();
                    let at = Timestamp::from_seconds(block.header().timestamp).unwrap_or_default();
                    let (block, log_index, tx) = (block.header().number, index, made.hash().0);
                    let from = alloy_primitives::Address::from_word(*from).into_array();
                    let paid = Paid { block, log_index, tx, from, units, at };
                    received.entry((chain.id, log.address.into_array(), to)).or_default().push(paid);
                }
            }
        }
    }
    received
}

fn paid_to(
    payment: &Payment,
    all: &BTreeMap<PaymentId, &Payment>,
    received: &Received,
    order: &Order,
) -> Vec<Paid> {
    let bytes = |address: Option<Address>| address.map(|address| *address.as_bytes());
    let of = (payment.chain, bytes(payment.token), bytes(payment.deposit_address));
    let (Some(chain), Some(token), Some(address)) = of else { return Vec::new() };
    let mut paid = received.get(&(chain, token, address)).cloned().unwrap_or_default();
    paid.retain(|paid| {
        let others =
            || all.values().copied().filter(|other| other.id != payment.id && shares(other, payment));
        let came = Claimable { tx: paid.tx, from: paid.from, units: paid.units, at: paid.at };
        belongs(payment, others, came, order)
    });
    paid
}

/// What each payment that was accepted was, and what was accepted of it later; and in which order.
fn agreed(history: &History) -> Result<(BTreeMap<PaymentId, Agreed<'_>>, Order), Violation> {
    let mut all: BTreeMap<PaymentId, Agreed<'_>> = BTreeMap::new();
    let mut order = Order::default();
    for decided in decided(history)? {
        if decided.reply.outcome != CommandOutcome::Accepted {
            continue;
        }
        order.note(decided.command, decided.offset);
        match decided.command {
            Message::CreatePayment(command) => {
                let merchant = command.caller.merchant;
                let in_force = InForce::before(history, decided.partition, decided.offset, merchant);
                let (canceled, accepted, refunds) = (false, Vec::new(), Vec::new());
                let agreed = Agreed { command, in_force, canceled, accepted, refunds };
                if all.insert(command.payment, agreed).is_some() {
                    return Err(Violation::of("oracle_payment", command.payment, "it was created twice"));
                }
            }
            Message::CancelPayment(command) => {
                if let Some(agreed) = all.get_mut(&command.payment) {
                    agreed.canceled = true;
                }
            }
            Message::AcceptPayment(command) => {
                let confirmed =
                    decided.reply.payment.as_ref().map_or(0, |payment| payment.amount_confirmed.units());
                let unapplied = split(history, command.payment, Some(decided.offset)).1;
                if let Some(agreed) = all.get_mut(&command.payment) {
                    agreed.accepted.push((confirmed, confirmed - unapplied));
                }
            }
            Message::CreateRefund(command) => {
                let units = decided.reply.refund.as_ref().map_or(0, |refund| refund.amount.units());
                if command.amount.is_some_and(|asked| asked.units() != units) {
                    return Err(Violation::of(
                        "oracle_refund",
                        command.payment,
                        "another amount than asked for",
                    ));
                }
                if let Some(agreed) = all.get_mut(&command.payment) {
                    agreed.refunds.push((command.reference.clone(), units));
                }
            }
            _ => {}
        }
    }
    Ok((all, order))
}

/// What was refunded of a payment, applied and unapplied, by what was posted before an offset of its inbox.
fn split(history: &History, payment: PaymentId, before: Option<u64>) -> (i128, i128) {
    let (mut applied, mut unapplied) = (0, 0);
    for posted in history.transactions().filter(|posted| posted.payment == Some(payment)) {
        let at = posted.meta.cause.map_or(0, |cause| cause.offset);
        if before.is_some_and(|before| at >= before) {
            continue;
        }
        let units = posted.entries.first().map_or(0, |entry| entry.amount.units().abs());
        match posted.template.as_str() {
            "refund.recorded" | "card.refunded" => applied += units,
            "refund.unapplied" | "card.refunded_unapplied" => unapplied += units,
            "refund.failed" => applied -= units,
            "refund.failed_unapplied" => unapplied -= units,
            _ => {}
        }
    }
    (applied, unapplied)
}

/// Transfers that a payment shows; later ones count and are not shown.
const SHOWN: usize = 100;

/// The payment shows exactly the canonical chain's transfers as confirmed.
fn check_transfers(payment: &Payment, paid: &[Paid]) -> Check {
    let mut shown: Vec<_> = payment
        .transfers
        .iter()
        .filter(|transfer| transfer.status != PaymentTransferStatus::Orphaned)
        .map(|transfer| {
            let confirmed = transfer.status == PaymentTransferStatus::Confirmed;
            let of = (transfer.block_number.0, transfer.log_index, *transfer.tx_hash.as_bytes());
            (of, transfer.amount.units(), confirmed)
        })
        .collect();
    shown.sort_unstable();
    let mut expected: Vec<_> =
        paid.iter().map(|paid| ((paid.block, paid.log_index, paid.tx), paid.units, true)).collect();
    expected.sort_unstable();
    if payment.transfers.len() >= SHOWN {
        expected.retain(|transfer| shown.contains(transfer));
    }
    if shown == expected {
        return Ok(());
    }
    let detail =
        format!("{} transfers shown, {} on the chain: {shown:?} {expected:?}", shown.len(), expected.len());
    Err(Violation::of("oracle_transfers", payment.id, detail))
}

fn money(
    agreed: &Agreed<'_>,
    payment: &Payment,
    paid: &[Paid],
    card: Option<&Card>,
    history: &History,
) -> Result<Money, Violation> {
    let mut money = Money::default();
    for paid in paid {
        money.confirmed += paid.units;
        money.timely += if paid.at <= payment.expires_at { paid.units } else { 0 };
    }
    let mut refunds: Vec<(Option<String>, i128)> = agreed.refunds.clone();
    if let Some(charge) = card.and_then(|card| card.charge.as_ref()) {
        let created = Timestamp::from_seconds(charge.created).unwrap_or_default();
        money.confirmed += i128::from(charge.gross);
        money.timely += if created <= payment.expires_at { i128::from(charge.gross) } else { 0 };
        money.card_fee = i128::from(charge.fee);
    }
    if let Some(card) = card {
        for refund in &card.refunds {
            // The merchant's record and Stripe's report of the same refund are one refund.
            refunds.retain(|(reference, _)| reference.as_ref() != Some(&refund.id));
            money.refunded += if refund.failed { 0 } else { i128::from(refund.amount) };
        }
        if let (Some(dispute), Some(charge)) = (&card.dispute, &card.charge) {
            let gross = i128::from(charge.gross);
            money.withdrawn = if dispute.verdict == Verdict::Won { 0 } else { gross };
            money.lost = if dispute.verdict == Verdict::Lost { gross } else { 0 };
            money.dispute_fee = i128::from(dispute.fee);
        }
    }
    money.refunded += refunds.iter().map(|(_, units)| units).sum::<i128>();
    if agreed.canceled {
        money.timely = 0;
    }
    (money.refunded_applied, money.refunded_unapplied) = split(history, payment.id, None);
    if money.refunded_applied + money.refunded_unapplied != money.refunded {
        let detail = format!("{} refunded, {money:?} in the books", money.refunded);
        return Err(Violation::of("oracle_refund", payment.id, detail));
    }
    money.applied = applied(agreed, payment, &money, history)?;
    money.fee = (money.applied * agreed.in_force.fee() + 500_000) / 1_000_000;
    Ok(money)
}

/// What a payment is paid with, if it is: all that is confirmed up to the tolerance above the amount, once the amount less
/// the tolerance came in time.
fn paid(agreed: &Agreed<'_>, payment: &Payment, money: &Money) -> Option<i128> {
    let (amount, tolerance) = (payment.amount.units(), agreed.in_force.tolerance(agreed.command));
    (money.timely >= amount - tolerance).then(|| money.confirmed.min(amount + tolerance))
}

/// The acceptance in force: the highest that what is confirmed covers.
fn acceptance(agreed: &Agreed<'_>, money: &Money) -> Option<(i128, i128)> {
    agreed.accepted.iter().filter(|(confirmed, _)| *confirmed <= money.confirmed).max().copied()
}

/// What must be applied: what is due, as far as it is there. Money of which some was refunded unapplied and that the chain then
/// took back is not.
fn applied(
    agreed: &Agreed<'_>,
    payment: &Payment,
    money: &Money,
    history: &History,
) -> Result<i128, Violation> {
    let nominal = paid(agreed, payment, money).unwrap_or(0);
    let highest = nominal.max(acceptance(agreed, money).map_or(0, |(_, net)| net));
    let expected = highest.min(money.confirmed - money.refunded_unapplied).max(0);
    let of_payment = history.transactions().filter(|posted| posted.payment == Some(payment.id));
    let posted: i128 = of_payment
        .filter(|posted| posted.template == "payment.applied")
        .map(|posted| posted.entries.first().map_or(0, |entry| entry.amount.units()))
        .sum();
    if posted == expected {
        return Ok(posted);
    }
    let detail = format!("{posted} is applied, expected {expected}: {money:?}");
    Err(Violation::of("oracle_applied", payment.id, detail))
}

fn status(
    agreed: &Agreed<'_>,
    payment: &Payment,
    money: &Money,
    card: Option<&Card>,
    history: &History,
) -> PaymentStatus {
    let disputed =
        card.and_then(|card| card.dispute.as_ref()).is_some_and(|dispute| dispute.verdict != Verdict::Won);
    let paid = paid(agreed, payment, money);
    let credited = acceptance(agreed, money).map(|(confirmed, _)| confirmed).max(paid);
    let complete = |status| matches!(status, PaymentStatus::Completed | PaymentStatus::Overpaid);
    let was_complete =
        history.events.iter().any(|event| event.payment.id == payment.id && complete(event.payment.status));
    match credited {
        _ if disputed => PaymentStatus::Disputed,
        Some(credited) if money.confirmed > credited => PaymentStatus::Overpaid,
        Some(_) => PaymentStatus::Completed,
        None if money.confirmed > money.timely => PaymentStatus::PaidLate,
        None if was_complete => PaymentStatus::Reversed,
        None if agreed.canceled => PaymentStatus::Canceled,
        None if card.is_some_and(|card| card.canceled) => PaymentStatus::Failed,
        None if money.timely > 0 => PaymentStatus::Underpaid,
        None => PaymentStatus::Expired,
    }
}

fn check_payment(
    agreed: &Agreed<'_>,
    payment: &Payment,
    money: &Money,
    card: Option<&Card>,
    history: &History,
) -> Check {
    let command = agreed.command;
    agreed.in_force.check(command, payment)?;
    let terms = (&command.asset, command.method, command.caller.merchant);
    let expires = command.meta.recorded_at.plus_seconds(command.expires_in_seconds);
    if terms != (&payment.asset, payment.method, payment.merchant) || expires != payment.expires_at {
        return Err(Violation::of("oracle_terms", payment.id, format!("{payment:?}")));
    }
    let expected = status(agreed, payment, money, card, history);
    if payment.status != expected {
        let detail = format!("{:?}, expected {expected:?}: {money:?}", payment.status);
        return Err(Violation::of("oracle_status", payment.id, detail));
    }
    let shown = [payment.amount_received, payment.amount_confirmed, payment.amount_refunded, payment.fee];
    let amounts = [money.confirmed, money.confirmed, money.refunded, money.fee];
    if shown.map(|shown| shown.units()) != amounts {
        let detail = format!("received, confirmed, refunded, fee are {shown:?}, expected {amounts:?}");
        return Err(Violation::of("oracle_amounts", payment.id, detail));
    }
    Ok(())
}

/// Adds a payment's part of every account, debits positive.
fn add(balances: &mut Balances, agreed: &Agreed<'_>, payment: &Payment, money: &Money) {
    let mode = if payment.livemode { "live" } else { "test" };
    let partition = partition_of(payment.merchant.to_string().as_bytes(), topics::BOOK_INBOX.partitions);
    let platform = |name: &str| format!("{mode}/platform/{name}/{partition}");
    let merchant = |name: &str| format!("{mode}/merchant/{}/{name}", payment.merchant);
    let on_chain = payment.method == PaymentMethod::Chain;
    let held = money.confirmed - money.refunded - money.card_fee - money.withdrawn - money.dispute_fee;
    let clearing = money.confirmed - money.applied - money.refunded_unapplied;
    let mut parts = vec![(merchant("clearing"), -clearing), (platform("fees"), -money.fee)];
    if agreed.in_force.settlement() == "direct" {
        parts.extend([
            (merchant(if on_chain { "wallet" } else { "stripe" }), held),
            (merchant("revenue"), -money.applied),
            (merchant("refunds"), money.refunded_applied),
            (merchant("fees_due"), money.fee),
            (merchant("costs"), money.card_fee + money.dispute_fee + money.lost),
            (merchant("disputed"), money.withdrawn - money.lost),
        ]);
    } else {
        let costs = money.fee + money.card_fee + money.withdrawn + money.dispute_fee;
        let available = money.applied - costs - money.refunded_applied;
        let holding = if on_chain { "deposits" } else { "stripe" };
        parts.extend([(platform(holding), held), (merchant("available"), -available)]);
    }
    for (account, units) in parts {
        *balances.entry((account, payment.asset.as_str().to_owned())).or_default() += units;
    }
}

fn check_balances(expected: &Balances, history: &History) -> Check {
    let audit = audit(history)?;
    let found: Balances = audit
        .balances()
        .map(|(account, asset, units)| {
            ((account.as_str().to_owned(), asset.as_str().to_owned()), units.units())
        })
        .collect();
    for key in expected.keys().chain(found.keys()) {
        let (found, expected) =
            (found.get(key).copied().unwrap_or(0), expected.get(key).copied().unwrap_or(0));
        if found != expected {
            let detail = format!("{} in {}: {found}, expected {expected}", key.0, key.1);
            return Err(Violation::new("oracle_balances", detail));
        }
    }
    Ok(())
}
