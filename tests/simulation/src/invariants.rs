//! What must hold of every run, one predicate each, by name. None of them knows how a processor works; the ledger's own
//! are those of `streambook_processors::book::ledger::invariants`, which `verify` uses too.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use streambook_model::{
    bytes::ContentHash,
    id::{EndpointId, EventId, MerchantId, TransactionId},
    message::Message,
    position::TopicPartition,
    records::{
        book::Caller,
        chain::TransferStatus,
        ledger::LedgerTransaction,
        payment::PaymentStatus,
        registry::Endpoint,
        reply::{CommandOutcome, CommandReply},
    },
    topics,
};
use streambook_processors::book::ledger::{
    BUILTIN_POSTINGS,
    invariants::{LedgerAudit, mirrors},
};
use streambook_runtime::step::{Task, chain_of};

use crate::{
    history::History,
    store::Store,
    violation::{Check, Violation, ensure},
    wallet,
    world::World,
};

/// Dead letters that the scenario causes: money in another accepted asset, a value beyond 38 digits.
const ALLOWED_LETTERS: [&str; 2] = ["unexpected_token", "amount_out_of_range"];

/// Every invariant of a world at rest.
pub fn check(world: &World, history: &History) -> Check {
    replay_gives_the_same(world, history)?;
    no_unexpected_dead_letters(history)?;
    what_was_acknowledged_is_kept(world, history)?;
    books_balance(history)?;
    reversals_mirror(history)?;
    postings_name_event_and_template(history)?;
    each_inclusion_is_posted_once(history)?;
    gross_is_net_and_fee(history)?;
    clearing_is_empty_for_completed_payments(history)?;
    event_versions_have_no_gaps(history)?;
    each_event_goes_once_to_each_subscriber(history)?;
    commands_are_answered_once_and_keys_hold(history)?;
    addresses_are_the_wallets_and_unique(history)
}

/// Replaying each inbox from its start gives the same state and the same outputs, byte for byte.
pub fn replay_gives_the_same(world: &World, history: &History) -> Check {
    const NAME: &str = "replay_gives_the_same";
    let mut tasks = BTreeSet::new();
    for slot in &world.tasks.slots {
        let Some(processor) = world.tasks.processors.get(slot.kind) else { continue };
        let task = Task::new(&**processor, slot.inbox.partition);
        let (mut state, mut outputs) = (Store::default(), BTreeMap::<TopicPartition, Vec<Bytes>>::new());
        for record in world.machine.disk.lock().read(&slot.inbox, 0, usize::MAX) {
            let step = task.step(&record, &mut state);
            let step = step.map_err(|stopped| Violation::new(NAME, chain_of(&stopped)))?;
            for output in step.outputs {
                outputs.entry(output.to).or_default().push(output.record.value);
            }
        }
        for (to, expected) in &outputs {
            let emitted = history.emitted.get(&(task.name().to_owned(), to.clone()));
            let emitted = emitted.map_or(&[][..], Vec::as_slice);
            let differs = emitted.iter().zip(expected).position(|(emitted, expected)| emitted != expected);
            ensure(differs.is_none() && emitted.len() == expected.len(), NAME, || {
                let (has, expects) = (emitted.len(), expected.len());
                format!(
                    "{} to {to}: {has} records, {expects} expected, first difference {differs:?}",
                    task.name()
                )
            })?;
        }
        let count = history.emitted.keys().filter(|(name, _)| name == task.name()).count();
        ensure(count == outputs.len(), NAME, || format!("{} emitted to a place it should not", task.name()))?;
        let differs = state.pairs().zip(slot.owner.store.pairs()).find(|(replayed, kept)| replayed != kept);
        let same = differs.is_none() && state.pairs().count() == slot.owner.store.pairs().count();
        ensure(same, NAME, || {
            format!("the state of {} differs at {:?}", task.name(), differs.map(|(at, _)| at.0))
        })?;
        tasks.insert(task.name().to_owned());
    }
    let stranger = history.emitted.keys().find(|(name, _)| !tasks.contains(name));
    ensure(stranger.is_none(), NAME, || format!("nobody runs {stranger:?}"))
}

/// Nothing is put aside but what the scenario causes on purpose.
pub fn no_unexpected_dead_letters(history: &History) -> Check {
    let letter = history.letters.iter().find(|letter| !ALLOWED_LETTERS.contains(&letter.code.as_str()));
    ensure(letter.is_none(), "no_unexpected_dead_letters", || {
        letter
            .map_or_else(String::new, |letter| format!("{} {}: {}", letter.task, letter.code, letter.reason))
    })
}

/// Every answer that a client was given is in the log.
pub fn what_was_acknowledged_is_kept(world: &World, history: &History) -> Check {
    let lost = world.clients.acknowledged.iter().find(|(_, answer)| !history.answers.contains(*answer));
    ensure(lost.is_none(), "what_was_acknowledged_is_kept", || {
        lost.map_or_else(String::new, |(request, _)| format!("the answer to {request} is gone"))
    })
}

/// Each transaction balances, sequences and versions have no gaps, balances equal the replay of the entries, hash chains
/// link, nothing is reversed twice, and the trial balance is zero.
pub fn books_balance(history: &History) -> Check {
    audit(history).map(drop)
}

/// The ledger's own audit of everything that was posted.
pub fn audit(history: &History) -> Result<LedgerAudit, Violation> {
    let broken = |violation: streambook_processors::book::ledger::invariants::Violation| {
        Violation::new("books_balance", violation.to_string())
    };
    let mut audit = LedgerAudit::default();
    for transaction in history.transactions() {
        audit.observe(transaction).map_err(broken)?;
    }
    audit.finish().map_err(broken)?;
    Ok(audit)
}

/// A reversal takes back exactly one earlier transaction, so no more is reversed than was posted.
pub fn reversals_mirror(history: &History) -> Check {
    let known: BTreeMap<TransactionId, &LedgerTransaction> =
        history.transactions().map(|posted| (posted.transaction, posted)).collect();
    for reversal in history.transactions() {
        let Some(of) = reversal.reverses else { continue };
        let original = known.get(&of).ok_or_else(|| {
            Violation::new(
                "reversals_mirror",
                format!("{} reverses {of}, which is not there", reversal.transaction),
            )
        })?;
        mirrors(original, reversal)
            .map_err(|broken| Violation::new("reversals_mirror", broken.to_string()))?;
    }
    Ok(())
}

/// Each posting names the money event it books, once in its book, and a template of a known version.
pub fn postings_name_event_and_template(history: &History) -> Check {
    const NAME: &str = "postings_name_event_and_template";
    let mut events = BTreeSet::new();
    for posted in history.transactions() {
        let known =
            BUILTIN_POSTINGS.contains(&format!("\"{}\"", posted.template)) && posted.template_version == 1;
        ensure(known && !posted.event.is_empty(), NAME, || format!("{posted:?}"))?;
        let fresh = events.insert((posted.merchant, posted.livemode, posted.event.clone()));
        ensure(fresh, NAME, || format!("{} is posted twice", posted.event))?;
    }
    Ok(())
}

/// Each inclusion that was confirmed is posted once, and once more as a reversal if it was orphaned after that.
pub fn each_inclusion_is_posted_once(history: &History) -> Check {
    const NAME: &str = "each_inclusion_is_posted_once";
    let mut expected: BTreeMap<String, (i32, i32)> = BTreeMap::new();
    for event in &history.transfers {
        let of = &event.inclusion;
        let name = format!("{}:{}:{}:{}:{}", event.chain, of.block_hash, of.tx_hash, of.log_index, of.number);
        match event.status {
            TransferStatus::Confirmed => expected.entry(name).or_default().0 += 1,
            TransferStatus::Orphaned => {
                if let Some(posted) = expected.get_mut(&name) {
                    posted.1 += 1;
                }
            }
            TransferStatus::Seen | TransferStatus::Finalized => {}
        }
    }
    let mut posted: BTreeMap<String, (i32, i32)> = BTreeMap::new();
    for transaction in history.transactions().filter(|posted| posted.template == "transfer.received") {
        match transaction.event.strip_suffix(":orphaned") {
            Some(name) => posted.entry(name.to_owned()).or_default().1 += 1,
            None => posted.entry(transaction.event.clone()).or_default().0 += 1,
        }
    }
    ensure(posted == expected && posted.values().all(|count| count.0 == 1 && count.1 <= 1), NAME, || {
        let differs = expected.iter().find(|(name, count)| posted.get(*name) != Some(count));
        let extra = posted.keys().find(|name| !expected.contains_key(*name));
        format!("expected {differs:?}, unexpected {extra:?}")
    })
}

/// What is applied to a payment is what the merchant gets and the fee, to the unit.
pub fn gross_is_net_and_fee(history: &History) -> Check {
    for posted in history.transactions().filter(|posted| posted.template == "payment.applied") {
        let of = |name: &str| -> i128 {
            let ours = posted.entries.iter().filter(|entry| entry.account.as_str().contains(name));
            ours.map(|entry| entry.amount.units()).sum()
        };
        let direct = of("/revenue") != 0;
        let net_and_fee = if direct { of("/revenue") } else { of("/available") + of("/platform/fees") };
        let fee_is_due = !direct || of("/fees_due") + of("/platform/fees") == 0;
        ensure(of("/clearing") + net_and_fee == 0 && fee_is_due, "gross_is_net_and_fee", || {
            format!("{posted:?}")
        })?;
    }
    Ok(())
}

/// A completed payment of which nothing was refunded leaves nothing in clearing.
pub fn clearing_is_empty_for_completed_payments(history: &History) -> Check {
    let mut clearing = BTreeMap::new();
    for posted in history.transactions() {
        let entries = posted.entries.iter().filter(|entry| entry.account.as_str().ends_with("/clearing"));
        *clearing.entry(posted.payment).or_insert(0) +=
            entries.map(|entry| entry.amount.units()).sum::<i128>();
    }
    let last: BTreeMap<_, _> =
        history.events.iter().map(|event| (event.payment.id, &event.payment)).collect();
    for payment in last.values() {
        let exact = payment.status == PaymentStatus::Completed && payment.amount_refunded.is_zero();
        let left = clearing.get(&Some(payment.id)).copied().unwrap_or(0);
        let never_refunded =
            history.events.iter().all(|event| event.payment.id != payment.id || event.refund.is_none());
        if exact && never_refunded && left != 0 {
            let detail = format!("{left} left in clearing");
            return Err(Violation::of("clearing_is_empty_for_completed_payments", payment.id, detail));
        }
    }
    Ok(())
}

/// A payment's events are numbered from 1 without a gap.
pub fn event_versions_have_no_gaps(history: &History) -> Check {
    let mut versions = BTreeMap::new();
    for event in &history.events {
        let last = versions.entry(event.payment.id).or_insert(0);
        *last += 1;
        if event.payment.version != *last {
            let detail = format!("version {} where {last} is next", event.payment.version);
            return Err(Violation::of("event_versions_have_no_gaps", event.payment.id, detail));
        }
    }
    Ok(())
}

/// Each event leads to exactly one message for each endpoint that was subscribed to it when it happened.
pub fn each_event_goes_once_to_each_subscriber(history: &History) -> Check {
    const NAME: &str = "each_event_goes_once_to_each_subscriber";
    let mut expected = BTreeSet::new();
    for (partition, entries) in history.topic(topics::BOOK_INBOX.name) {
        let mut endpoints: BTreeMap<EndpointId, &Endpoint> = BTreeMap::new();
        let mut events: BTreeMap<u64, Vec<_>> = BTreeMap::new();
        let task = format!("book/{}", partition.partition);
        for event in &history.events {
            let ours = event.meta.source.as_ref().is_some_and(|source| source.task == task);
            if let (true, Some(cause)) = (ours, event.meta.cause) {
                events.entry(cause.offset).or_default().push(event);
            }
        }
        let mut taken = BTreeSet::new();
        for entry in entries {
            // A repeat of what a task sent was not taken; an old endpoint must not come back with it.
            let source = entry.message.meta().source.as_ref();
            if source.is_some_and(|source| !taken.insert((source.task.clone(), source.seq))) {
                continue;
            }
            if let Message::EndpointChanged(changed) = &entry.message {
                endpoints.insert(changed.endpoint.id, &changed.endpoint);
            }
            for event in events.get(&entry.offset.0).into_iter().flatten() {
                let key = (event.payment.merchant, event.payment.livemode, event.event_type.name());
                let wanting = endpoints.values().filter(|endpoint| wants(endpoint, key));
                expected.extend(wanting.map(|endpoint| (event.event, endpoint.id)));
            }
        }
    }
    let sent: Vec<(EventId, EndpointId)> =
        history.webhooks.iter().map(|message| (message.event, message.endpoint)).collect();
    let set: BTreeSet<_> = sent.iter().copied().collect();
    ensure(set.len() == sent.len() && set == expected, NAME, || {
        let missing = expected.difference(&set).next();
        let extra = set.difference(&expected).next();
        format!("{} sent, {} expected, missing {missing:?}, unexpected {extra:?}", sent.len(), expected.len())
    })
}

fn wants(endpoint: &Endpoint, (merchant, livemode, event): (MerchantId, bool, &str)) -> bool {
    let live = endpoint.disabled.is_none() && endpoint.deleted_at.is_none();
    let named = endpoint.events.iter().any(|wanted| wanted == "*" || wanted == event);
    live && named && (endpoint.merchant, endpoint.livemode) == (merchant, livemode)
}

/// Every command has exactly one answer; the same idempotency key gives the first answer again, or a conflict.
pub fn commands_are_answered_once_and_keys_hold(history: &History) -> Check {
    const NAME: &str = "commands_are_answered_once_and_keys_hold";
    let mut first: BTreeMap<(MerchantId, bool, String), (ContentHash, &CommandReply)> = BTreeMap::new();
    for answered in decided(history)? {
        let (caller, reply) = (answered.caller, answered.reply);
        let Some(asked) = &caller.idempotency else { continue };
        let key = (caller.merchant, caller.livemode, asked.key.clone());
        let code = reply.problem.as_ref().map_or("", |problem| problem.code.as_str());
        let right = match first.get(&key) {
            None => code != "idempotency_key_reused",
            Some((hash, before)) if *hash == asked.request_hash => {
                reply.outcome == CommandOutcome::Replayed
                    && (&reply.payment, &reply.refund) == (&before.payment, &before.refund)
            }
            Some(_) => code == "idempotency_key_reused",
        };
        ensure(right, NAME, || {
            format!("key {} of {}: {:?} {code}", asked.key, caller.merchant, reply.outcome)
        })?;
        if reply.outcome == CommandOutcome::Accepted {
            first.insert(key, (asked.request_hash, reply));
        }
    }
    Ok(())
}

/// A command, where it stands, and its answer.
pub struct Decided<'h> {
    /// The book's inbox.
    pub partition: &'h TopicPartition,
    /// The offset in it.
    pub offset: u64,
    /// The command.
    pub command: &'h Message,
    /// Who asked.
    pub caller: &'h Caller,
    /// The answer.
    pub reply: &'h CommandReply,
}

/// Every command in log order, with its answer.
pub fn decided(history: &History) -> Result<Vec<Decided<'_>>, Violation> {
    let (mut all, mut used) = (Vec::new(), BTreeMap::new());
    for (partition, entries) in history.topic(topics::BOOK_INBOX.name) {
        for entry in entries {
            let Some(caller) = caller_of(&entry.message) else { continue };
            let request = caller.reply.request;
            let number = used.entry(request).or_insert(0_usize);
            let reply = history.replies.get(&request).and_then(|replies| replies.get(*number));
            let reply = reply.ok_or_else(|| {
                let detail = format!("request {request} at {partition} {} has no answer", entry.offset);
                Violation::new("commands_are_answered_once_and_keys_hold", detail)
            })?;
            *number += 1;
            all.push(Decided { partition, offset: entry.offset.0, command: &entry.message, caller, reply });
        }
    }
    let extra = history.replies.iter().find(|(request, replies)| {
        let administration = replies.iter().any(|reply| reply.endpoint.is_some() || reply.merchant.is_some());
        let refused = !used.contains_key(request);
        !administration && !refused && used.get(request) != Some(&replies.len())
    });
    ensure(extra.is_none(), "commands_are_answered_once_and_keys_hold", || format!("{extra:?}"))?;
    Ok(all)
}

const fn caller_of(message: &Message) -> Option<&Caller> {
    match message {
        Message::CreatePayment(command) => Some(&command.caller),
        Message::CancelPayment(command) => Some(&command.caller),
        Message::AcceptPayment(command) => Some(&command.caller),
        Message::CreateRefund(command) => Some(&command.caller),
        _ => None,
    }
}

/// Each chain payment has the address of its path below the operator's key, and no two have the same.
pub fn addresses_are_the_wallets_and_unique(history: &History) -> Check {
    const NAME: &str = "addresses_are_the_wallets_and_unique";
    let mut given = BTreeMap::new();
    for event in &history.events {
        let payment = &event.payment;
        let (Some(address), Some(path)) = (payment.deposit_address, &payment.derivation_path) else {
            continue;
        };
        let expected = path
            .split_once('/')
            .and_then(|(partition, counter)| wallet::address(partition.parse().ok()?, counter.parse().ok()?));
        let owner = *given.entry(address).or_insert(payment.id);
        if expected != Some(address) || owner != payment.id {
            return Err(Violation::of(NAME, payment.id, format!("{address} at {path}, owned by {owner}")));
        }
    }
    Ok(())
}
