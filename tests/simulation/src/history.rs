//! What a run has written, decoded once: the log's records, and for what tasks emitted each record once, as a consumer
//! that drops repeats by their source sees them.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use streambook_model::{
    codec,
    id::{PaymentId, RequestId},
    message::Message,
    position::{Offset, TopicPartition},
    records::{
        chain::TransferEvent, dead_letter::DeadLetter, ledger::LedgerTransaction, payment::PaymentEvent,
        reply::CommandReply, webhook::WebhookMessage,
    },
    topics,
};

use crate::{
    machine::{Engine, Machine},
    violation::{Violation, ensure},
};

/// One record of the log.
pub struct Entry {
    /// Its offset.
    pub offset: Offset,
    /// The bytes.
    pub value: Bytes,
    /// What they say.
    pub message: Message,
}

/// Everything that was written.
#[derive(Default)]
pub struct History {
    /// Every partition, records as they stand.
    pub log: BTreeMap<TopicPartition, Vec<Entry>>,
    /// What each task emitted to each partition, each record once and in order.
    pub emitted: BTreeMap<(String, TopicPartition), Vec<Bytes>>,
    /// Ledger transactions by partition.
    pub ledger: BTreeMap<TopicPartition, Vec<LedgerTransaction>>,
    /// Payments' events, in order for each payment.
    pub events: Vec<PaymentEvent>,
    /// Webhooks' messages.
    pub webhooks: Vec<WebhookMessage>,
    /// Public transfers.
    pub transfers: Vec<TransferEvent>,
    /// Answers by request, in order.
    pub replies: BTreeMap<RequestId, Vec<CommandReply>>,
    /// The bytes of every answer.
    pub answers: BTreeSet<Bytes>,
    /// What was put aside.
    pub letters: Vec<DeadLetter>,
}

impl History {
    /// Reads the whole log.
    pub fn read(machine: &Machine) -> Result<Self, Violation> {
        let mut history = Self::default();
        let disk = machine.disk.lock();
        for partition in disk.partitions() {
            for record in disk.read(partition, 0, usize::MAX) {
                let message = codec::decode(&record.value).map_err(|error| {
                    Violation::new("every_record_decodes", format!("{partition}: {error}"))
                })?;
                if history.is_new(partition, &record.value, &message, machine.engine)? {
                    history.sort(partition, &message, &record.value);
                }
                let entry = Entry { offset: record.offset, value: record.value, message };
                history.log.entry(partition.clone()).or_default().push(entry);
            }
        }
        Ok(history)
    }

    /// Drops repeats by their source. In the embedded engine there are none: its commit is the publication.
    fn is_new(
        &mut self,
        partition: &TopicPartition,
        value: &Bytes,
        message: &Message,
        engine: Engine,
    ) -> Result<bool, Violation> {
        let Some(source) = &message.meta().source else { return Ok(true) };
        let emitted = self.emitted.entry((source.task.clone(), partition.clone())).or_default();
        let expected = emitted.len() as u64 + 1;
        ensure(source.seq <= expected, "lineage_is_contiguous", || {
            format!("{} to {partition}: seq {} where {expected} is next", source.task, source.seq)
        })?;
        if source.seq == expected {
            emitted.push(value.clone());
            return Ok(true);
        }
        ensure(engine == Engine::Distributed, "the_commit_is_the_publication", || {
            format!("{} to {partition}: seq {} is there twice", source.task, source.seq)
        })?;
        let before = usize::try_from(source.seq).ok().and_then(|seq| emitted.get(seq.checked_sub(1)?));
        ensure(before == Some(value), "a_repeat_is_the_same", || {
            format!("{} to {partition}: seq {} is there with two contents", source.task, source.seq)
        })?;
        Ok(false)
    }

    fn sort(&mut self, partition: &TopicPartition, message: &Message, value: &Bytes) {
        match message {
            Message::LedgerTransaction(transaction) => {
                self.ledger.entry(partition.clone()).or_default().push(transaction.clone());
            }
            Message::PaymentEvent(event) => self.events.push(event.clone()),
            Message::WebhookMessage(message) => self.webhooks.push(message.clone()),
            Message::TransferEvent(event) if partition.topic == topics::CHAIN_TRANSFERS.topic() => {
                self.transfers.push(event.clone());
            }
            Message::CommandReply(reply) => {
                self.answers.insert(value.clone());
                self.replies.entry(reply.request).or_default().push(reply.clone());
            }
            Message::DeadLetter(letter) => self.letters.push(letter.clone()),
            _ => {}
        }
    }

    /// The records of a topic, by partition.
    pub fn topic<'h>(&'h self, name: &'h str) -> impl Iterator<Item = (&'h TopicPartition, &'h Vec<Entry>)> {
        self.log.iter().filter(move |(partition, _)| partition.topic.as_str() == name)
    }

    /// All ledger transactions.
    pub fn transactions(&self) -> impl Iterator<Item = &LedgerTransaction> {
        self.ledger.values().flatten()
    }

    /// A payment's life in words.
    pub fn story(&self, payment: PaymentId) -> String {
        let mut lines: Vec<String> = Vec::new();
        for event in self.events.iter().filter(|event| event.payment.id == payment) {
            let now = &event.payment;
            lines.push(format!(
                "  {} v{} {:?}: received {} confirmed {} refunded {} fee {} of {} (created {}, expires {})",
                event.event_type.name(),
                now.version,
                now.status,
                now.amount_received,
                now.amount_confirmed,
                now.amount_refunded,
                now.fee,
                now.amount,
                now.created_at,
                now.expires_at
            ));
        }
        for (partition, entries) in self.topic("book.inbox") {
            for entry in entries {
                if let Some(text) = about(&entry.message, payment) {
                    lines.push(format!("  {partition} {}: {text}", entry.offset));
                }
            }
        }
        lines.extend(self.chain_story(payment));
        for posted in self.transactions().filter(|posted| posted.payment == Some(payment)) {
            let sums: Vec<_> =
                posted.entries.iter().map(|entry| format!("{} {}", entry.account, entry.amount)).collect();
            let kind = if posted.reverses.is_some() { "reverses " } else { "" };
            lines.push(format!("  {kind}{} {}: {}", posted.template, posted.event, sums.join(", ")));
        }
        lines.join("\n")
    }
}

impl History {
    /// What the payment's chain was told, as far as it matters to the payment.
    fn chain_story(&self, payment: PaymentId) -> Vec<String> {
        let of = self.events.iter().find(|event| event.payment.id == payment).map(|event| &event.payment);
        let (Some(chain), address) = (of.and_then(|of| of.chain), of.and_then(|of| of.deposit_address))
        else {
            return Vec::new();
        };
        let entries = self.topic(topics::CHAIN_INBOX.name).flat_map(|(_, entries)| entries);
        let told = entries.filter_map(|entry| {
            let text = match &entry.message {
                Message::ChainBlock(block) if block.chain == chain => {
                    let ours = block.transfers.iter().filter(|transfer| Some(transfer.to) == address);
                    let ours: Vec<_> =
                        ours.map(|transfer| format!("{} in {}", transfer.value, transfer.tx_hash)).collect();
                    let (hash, parent) = (block.hash, block.parent_hash);
                    format!(
                        "block {} {hash} after {parent} at {}, to it: {}",
                        block.number,
                        block.timestamp,
                        ours.join(", ")
                    )
                }
                Message::ChainHead(head) if head.chain == chain => {
                    format!("head {} {}", head.number, head.hash)
                }
                Message::ChainFinalized(tag) if tag.chain == chain => {
                    format!("final {} {}", tag.number, tag.hash)
                }
                Message::WatchAddress(watch) if watch.payment == payment => {
                    let exact = watch.exact.map_or_else(String::new, |exact| {
                        format!(", exactly {} from {} until {}", exact.amount, exact.from, exact.until)
                    });
                    format!("watch {}{exact}", watch.address)
                }
                Message::RequestBackfill(asked) if asked.payment == payment => {
                    format!("search of {} asked for", asked.address)
                }
                Message::ChainBackfill(answer) if answer.chain == chain => {
                    let ours = answer.blocks.iter().flat_map(|block| &block.transfers);
                    let ours = ours.filter(|transfer| Some(transfer.to) == address).count();
                    format!("search {} answered, {ours} transfers", answer.request)
                }
                Message::ChainRebuild(command) if command.chain == chain => {
                    format!("rebuilt from {} {}", command.number, command.hash)
                }
                Message::WatchTransaction(claim) if Some(claim.address) == address => {
                    let (by, payer) = (claim.payment, claim.payer);
                    format!(
                        "{} of {payer} claimed by {by} from {} until {}",
                        claim.tx_hash, claim.from, claim.until
                    )
                }
                Message::ChainFork(fork) if fork.chain == chain => "fork below finality".to_owned(),
                Message::SettingsChanged(changed) => format!("settings {}", changed.settings.version),
                _ => return None,
            };
            Some(format!("  chain.inbox {}: {text}", entry.offset))
        });
        told.collect()
    }
}

fn about(message: &Message, wanted: PaymentId) -> Option<String> {
    let (payment, text) = match message {
        Message::CreatePayment(command) => (command.payment, format!("create {}", command.amount)),
        Message::CancelPayment(command) => (command.payment, "cancel".to_owned()),
        Message::AcceptPayment(command) => (command.payment, "accept".to_owned()),
        Message::CreateRefund(command) => (command.payment, format!("refund {:?}", command.amount)),
        Message::ClaimPayment(command) => (command.payment, format!("claim {}", command.tx_hash)),
        Message::ClaimRefused(refused) => {
            (refused.payment, format!("claim of {} refused: {}", refused.tx_hash, refused.reason))
        }
        Message::TransferEvent(event) => {
            let of = &event.inclusion;
            let place =
                format!("block {} {} log {} #{}", of.block_number, of.block_hash, of.log_index, of.number);
            (event.payment, format!("{:?} {} in {place} at {}", event.status, event.amount, event.block_time))
        }
        Message::DeadlinePassed(event) => (event.payment, format!("deadline passed at {}", event.block_time)),
        Message::CardFact(fact) => {
            let text =
                format!("{:?} {} {} at {}", fact.kind, fact.object, fact.amount, fact.meta.occurred_at);
            (fact.payment, text)
        }
        _ => return None,
    };
    (payment == wanted).then_some(text)
}
