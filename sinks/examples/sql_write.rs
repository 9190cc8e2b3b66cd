//! How fast the SQL sink writes: payments a second, rows a second, bytes a payment, and how it changes as the database
//! grows. A payment is three events, two ledger transactions and five entries.
//!
//! ```text
//! cargo run --release -p streambook-sinks --example sql_write -- [PAYMENTS [PAYMENTS_PER_BATCH [MERCHANTS]]]
//! ```
#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

use std::{
    collections::BTreeMap,
    error::Error,
    time::{Duration, Instant},
};

use streambook_model::{
    asset::AssetId,
    bytes::{Address, ContentHash, LineageHash, TxHash},
    chain::{BlockNumber, ChainId, ConfirmationPolicy},
    id::{EventId, MerchantId, PaymentId, TransactionId},
    message::Message,
    meta::{Cause, Meta, Source},
    metadata::Metadata,
    money::Amount,
    position::{Offset, Partition, TopicPartition},
    records::{
        ledger::{AccountId, Entry, LedgerTransaction},
        payment::{
            Payment, PaymentEvent, PaymentEventType, PaymentMethod, PaymentStatus, PaymentTransfer,
            PaymentTransferStatus,
        },
    },
    time::Timestamp,
    topics,
};
use streambook_runtime::sink::{Batch, Delivered, Sink};
use streambook_sinks::sql::{SqlConfig, SqlSink};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const ROWS_PER_PAYMENT: usize = 1 + 3 + 2 + 5;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1).map(|text| text.parse::<usize>());
    let payments = arguments.next().transpose()?.unwrap_or(200_000);
    let per_batch = arguments.next().transpose()?.unwrap_or(1_000);
    let merchants = arguments.next().transpose()?.unwrap_or(100);
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("bench.db");
    let mut sink = SqlSink::open(&SqlConfig::at(&file)).await?;
    let mut feed = Feed::new(merchants)?;
    println!("{payments} payments, {per_batch} in a batch, {merchants} merchants");
    let mut written = 0;
    while written < payments {
        let part = (payments / 5).max(per_batch).min(payments - written);
        let took = write(&mut sink, &mut feed, part, per_batch).await?;
        written += part;
        let bytes = std::fs::metadata(&file)?.len();
        let milliseconds = usize::try_from(took.as_millis())?.max(1);
        println!(
            "after {written}: {} payments/s, {} rows/s, {} ms a batch, database {} MB",
            part * 1_000 / milliseconds,
            part * ROWS_PER_PAYMENT * 1_000 / milliseconds,
            milliseconds * per_batch / part,
            bytes >> 20,
        );
    }
    sink.close().await;
    println!("{} bytes a payment", std::fs::metadata(&file)?.len() / u64::try_from(payments)?);
    Ok(())
}

/// Writes payments; gives the time the sink took, without making the records.
async fn write(sink: &mut SqlSink, feed: &mut Feed, payments: usize, per_batch: usize) -> Result<Duration> {
    let mut took = Duration::ZERO;
    let mut left = payments;
    while left > 0 {
        let batch = feed.batch(per_batch.min(left))?;
        left -= per_batch.min(left);
        let start = Instant::now();
        sink.write(&batch).await?;
        took += start.elapsed();
    }
    Ok(took)
}

/// Makes records as the book does.
struct Feed {
    asset: AssetId,
    merchants: Vec<Merchant>,
    positions: BTreeMap<TopicPartition, (Offset, u64)>,
    payments: u64,
}

/// What a merchant's book has counted.
struct Merchant {
    id: MerchantId,
    partition: Partition,
    sequence: u64,
}

impl Feed {
    fn new(merchants: usize) -> Result<Self> {
        let merchant = |number: usize| {
            let partition = Partition(u16::try_from(number % usize::from(topics::SHARDS))?);
            Ok(Merchant { id: MerchantId::derive(&[&number.to_be_bytes()]), partition, sequence: 0 })
        };
        let merchants = (0..merchants).map(merchant).collect::<Result<_>>()?;
        Ok(Self { asset: "usdc:31337".parse()?, merchants, positions: BTreeMap::new(), payments: 0 })
    }

    fn batch(&mut self, payments: usize) -> Result<Batch> {
        let mut batch = Batch { records: Vec::new(), before: BTreeMap::new(), after: BTreeMap::new() };
        for _ in 0..payments {
            self.payment(&mut batch)?;
        }
        Ok(batch)
    }

    fn payment(&mut self, batch: &mut Batch) -> Result<()> {
        self.payments += 1;
        let turn = usize::try_from(self.payments)? % self.merchants.len();
        let merchant = self.merchants.get_mut(turn).ok_or("no merchants")?;
        let (id, partition) = (merchant.id, merchant.partition);
        merchant.sequence += 2;
        let last = merchant.sequence;
        let payment = payment(self.payments, id, &self.asset)?;
        let steps = [PaymentEventType::Created, PaymentEventType::Confirming, PaymentEventType::Completed];
        for (version, step) in (1..).zip(steps) {
            let record = event(&payment, version, step)?;
            self.append(batch, &topics::PAYMENTS_EVENTS, partition, record.into());
        }
        for (sequence, entries) in [(last - 1, 2), (last, 3)] {
            let record = transaction(&payment, sequence, entries)?;
            self.append(batch, &topics::LEDGER_TRANSACTIONS, partition, record.into());
        }
        Ok(())
    }

    fn append(
        &mut self,
        batch: &mut Batch,
        topic: &topics::TopicDef,
        partition: Partition,
        mut message: Message,
    ) {
        let at = TopicPartition::new(topic.topic(), partition);
        let (offset, seq) = self.positions.entry(at.clone()).or_default();
        *seq += 1;
        let source =
            Source { task: format!("book/{partition}"), seq: *seq, chain: LineageHash::new([1; 16]) };
        match &mut message {
            Message::PaymentEvent(event) => event.meta.source = Some(source),
            Message::LedgerTransaction(transaction) => transaction.meta.source = Some(source),
            _ => {}
        }
        batch.before.entry(at.clone()).or_insert(*offset);
        batch.records.push(Delivered { from: at.clone(), offset: *offset, message: Box::new(message) });
        *offset = offset.plus(1);
        batch.after.insert(at, *offset);
    }
}

fn meta(number: u64, what: &str) -> Meta {
    let now =
        Timestamp::from_millis(1_790_000_000_000).plus_seconds(u32::try_from(number / 1_000).unwrap_or(0));
    Meta {
        source: None,
        id: format!("{what}:{number}"),
        occurred_at: now,
        recorded_at: now,
        cause: Some(Cause { partition: 0, offset: number }),
        trace: None,
    }
}

fn payment(number: u64, merchant: MerchantId, asset: &AssetId) -> Result<Payment> {
    let created = meta(number, "payment").occurred_at;
    // Ids as the API mints them: the time first, then what is random.
    let mut bits = *PaymentId::derive(&[&number.to_be_bytes()]).bits();
    for (bit, time) in bits.iter_mut().zip(number.to_be_bytes()) {
        *bit = time;
    }
    Ok(Payment {
        id: PaymentId::from_bits(bits),
        merchant,
        livemode: false,
        version: 1,
        status: PaymentStatus::Pending,
        method: PaymentMethod::Chain,
        asset: asset.clone(),
        scale: 6,
        amount: Amount::new(12_500_000)?,
        amount_received: Amount::ZERO,
        amount_confirmed: Amount::ZERO,
        amount_refunded: Amount::ZERO,
        fee: Amount::ZERO,
        chain: Some(ChainId(31_337)),
        token: Some(Address::new([6; 20])),
        deposit_address: Some(Address::new([7; 20])),
        derivation_path: Some(format!("3/{number}")),
        policy: Some(ConfirmationPolicy { depth: Some(3) }),
        confirmations: 0,
        reference_id: Some(format!("ORDER_{number}")),
        description: None,
        metadata: Metadata::default(),
        transfers: Vec::new(),
        failure: None,
        created_at: created,
        expires_at: created.plus_seconds(1_800),
        completed_at: None,
    })
}

fn event(payment: &Payment, version: u32, event_type: PaymentEventType) -> Result<PaymentEvent> {
    let mut payment = payment.clone();
    payment.version = version;
    payment.status = match event_type {
        PaymentEventType::Created => PaymentStatus::Pending,
        PaymentEventType::Confirming => PaymentStatus::Confirming,
        _ => PaymentStatus::Completed,
    };
    if version > 1 {
        payment.amount_received = payment.amount;
        payment.transfers.push(PaymentTransfer {
            tx_hash: TxHash::new([9; 32]),
            block_number: BlockNumber(100),
            log_index: 3,
            amount: payment.amount,
            status: PaymentTransferStatus::Seen,
        });
    }
    let id = EventId::derive(&[payment.id.bits(), &version.to_be_bytes()]);
    let meta = meta(payment_number(&payment), "event");
    Ok(PaymentEvent { meta, event: id, event_type, payment, refund: None })
}

fn payment_number(payment: &Payment) -> u64 {
    payment.id.bits().iter().take(8).fold(0, |number, bit| number << 8 | u64::from(*bit))
}

fn transaction(payment: &Payment, sequence: u64, entries: u64) -> Result<LedgerTransaction> {
    let number = payment_number(payment);
    let account = |name: u64| format!("test/merchant/{}/{name}", payment.merchant);
    let entry = |line: u64| {
        Ok(Entry {
            account: AccountId::new(account(line)),
            asset: payment.asset.clone(),
            amount: Amount::new(12_500_000)?,
            balance: Amount::new(i128::from(sequence) * 12_500_000)?,
            version: sequence,
        })
    };
    let meta = meta(number, "transaction");
    Ok(LedgerTransaction {
        transaction: TransactionId::derive(&[payment.id.bits(), &sequence.to_be_bytes()]),
        merchant: payment.merchant,
        livemode: false,
        sequence,
        template: "transfer.received".to_owned(),
        template_version: 1,
        payment: Some(payment.id),
        refund: None,
        event: format!("31337:{}:{number}:3:1", TxHash::new([9; 32])),
        reverses: None,
        occurred_at: meta.occurred_at,
        entries: (0..entries).map(entry).collect::<Result<_>>()?,
        previous_hash: ContentHash::new([1; 32]),
        hash: ContentHash::new([2; 32]),
        meta,
    })
}
