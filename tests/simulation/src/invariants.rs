//! What must hold of every run, by name. None of it knows how a processor works. The invariants of the books are the
//! predicates of `streambook_processors::invariants`, which `verify` and the books at run time use too; here are those
//! that only a simulation can judge, since it knows what the world did.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use streambook_model::{
    bytes::ContentHash,
    codec,
    id::{EndpointId, EventId, MerchantId, TransactionId},
    message::Message,
    position::TopicPartition,
    records::{
        book::Caller,
        chain::TransferStatus,
        ledger::LedgerTransaction,
        registry::Endpoint,
        reply::{CommandOutcome, CommandReply},
    },
    topics,
};
use streambook_processors::invariants::{
    Before, BookAudit, Found, KeySeen, LedgerAudit, Waiting, clearing_is_zero_at_rest, event_is_posted_once,
    key_gives_the_same, pending_is_never_negative, pending_is_resolved_once, reversed_at_most_original,
};
use streambook_runtime::step::{Step, Taken, Task, chain_of};

use crate::{
    history::History,
    mutants::BOOK,
    store::Store,
    violation::{Check, Violation, ensure},
    wallet,
    world::World,
};

/// Dead letters that the scenario causes: money in another accepted asset, or of no payment's amount at an address that
/// payments share, a value beyond 38 digits, and records that contradict an earlier one of the same name;
/// a search before there is a block.
const ALLOWED_LETTERS: [&str; 6] = [
    "unexpected_token",
    "unmatched_transfer",
    "amount_out_of_range",
    "conflicting_block",
    "conflicting_event",
    "nothing_older",
];

/// Every invariant of a world at rest.
pub fn check(world: &World, history: &History) -> Check {
    replay_gives_the_same(world, history)?;
    no_unexpected_dead_letters(history)?;
    what_was_acknowledged_is_kept(world, history)?;
    books_balance(history)?;
    reversals_mirror(history)?;
    each_event_is_posted_once(history)?;
    each_inclusion_is_posted_once(history)?;
    payments_leave_nothing_behind(history)?;
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
        let mut audit = Audit::default();
        for record in world.machine.disk.lock().read(&slot.inbox, 0, usize::MAX) {
            let change = state.changes();
            let step = task.step(&record, &mut state);
            let step = step.map_err(|stopped| Violation::new(NAME, chain_of(&stopped)))?;
            if slot.kind == BOOK {
                audit_step(&mut audit, (&record.value, &step), state.first_difference_since(change))?;
            }
            drop(state.take_changes());
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
        audit.finish()?;
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

/// What must hold of each step of a book, as `verify` checks it.
type Audit = BookAudit<BTreeMap<Vec<u8>, Vec<u8>>>;

fn audit_step(audit: &mut Audit, (value, step): (&Bytes, &Step), changed: Option<&Bytes>) -> Check {
    let (Ok(record), true) = (codec::decode(value), step.taken != Taken::Repeat) else { return Ok(()) };
    let changed = changed.map(|key| &key[..]);
    let mut posted = 0;
    for output in &step.outputs {
        match codec::decode(&output.record.value) {
            Ok(Message::LedgerTransaction(transaction)) => {
                posted += 1;
                audit.transaction(&transaction).map_err(found)?;
            }
            Ok(Message::PaymentEvent(event)) => audit.event(&event)?,
            Ok(Message::CommandReply(reply)) => audit.reply((&record, &reply), changed).map_err(found)?,
            _ => {}
        }
    }
    audit.step(&record, posted, step.taken == Taken::DeadLettered, changed).map_err(found)
}

fn found(found: Found<std::convert::Infallible>) -> Violation {
    match found {
        Found::Violated(violation) => violation.into(),
        Found::Failed(never) => match never {},
    }
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
    let mut audit = LedgerAudit::default();
    for transaction in history.transactions() {
        audit.observe(transaction)?;
    }
    audit.finish()?;
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
        reversed_at_most_original(original, reversal)?;
    }
    Ok(())
}

/// Each money event is booked once in its book, whatever the template.
pub fn each_event_is_posted_once(history: &History) -> Check {
    let mut events = BTreeSet::new();
    for posted in history.transactions() {
        let key = (posted.merchant, posted.livemode, posted.event.clone());
        event_is_posted_once(posted, Before::of(events.get(&key)))?;
        events.insert(key);
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
    for (name, (confirmed, orphaned)) in &posted {
        let before = if *confirmed > 1 || *orphaned > 1 { Before::Already } else { Before::Never };
        pending_is_resolved_once(name, before)?;
    }
    ensure(posted == expected && posted.values().all(|count| count.0 == 1), NAME, || {
        let differs = expected.iter().find(|(name, count)| posted.get(*name) != Some(count));
        let extra = posted.keys().find(|name| !expected.contains_key(*name));
        format!("expected {differs:?}, unexpected {extra:?}")
    })
}

/// Of no payment more is confirmed than was received, and a completed payment of which nothing was refunded leaves nothing
/// in clearing.
pub fn payments_leave_nothing_behind(history: &History) -> Check {
    let mut waiting = Waiting::default();
    history.transactions().for_each(|transaction| waiting.observe(transaction));
    let last: BTreeMap<_, _> =
        history.events.iter().map(|event| (event.payment.id, &event.payment)).collect();
    for payment in last.values() {
        pending_is_never_negative(payment.id, payment.amount_received, payment.amount_confirmed)?;
        let holds = clearing_is_zero_at_rest(payment, &waiting);
        holds.map_err(|broken| Violation { payment: Some(payment.id), ..broken.into() })?;
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
    let mut first: BTreeMap<(MerchantId, bool, String), (ContentHash, &CommandReply)> = BTreeMap::new();
    for answered in decided(history)? {
        let (caller, reply) = (answered.caller, answered.reply);
        let Some(asked) = &caller.idempotency else { continue };
        let key = (caller.merchant, caller.livemode, asked.key.clone());
        let code = reply.problem.as_ref().map(|problem| problem.code.as_str());
        let seen = match first.get(&key) {
            None => KeySeen::Never,
            Some((hash, before)) if *hash == asked.request_hash => KeySeen::Same {
                is_result_the_same: (&reply.payment, &reply.refund) == (&before.payment, &before.refund),
            },
            Some(_) => KeySeen::Other,
        };
        key_gives_the_same(&asked.key, seen, reply.outcome, code)?;
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
        Message::ClaimPayment(command) => Some(&command.caller),
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
