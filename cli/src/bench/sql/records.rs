//! Records of token payments, as the processors would write them: what follows from each other comes in order, a payment's
//! steps come so far apart that they fall into different batches, and every record has its place, its cause and its lineage.

use std::collections::BTreeMap;

use streambook_model::{
    asset::AssetId,
    bytes::{Address, BlockHash, ContentHash, LineageHash, TxHash},
    chain::{BlockNumber, ChainId, ConfirmationPolicy, Inclusion},
    id::{EventId, MerchantId, PaymentId, TransactionId},
    message::Message,
    meta::{Cause, Meta, Source},
    metadata::Metadata,
    money::Amount,
    position::{Offset, Partition, TopicPartition},
    records::{
        chain::{TransferEvent, TransferStatus},
        ledger::{AccountId, Entry, LedgerTransaction},
        payment::{
            Payment, PaymentEvent, PaymentEventType, PaymentMethod, PaymentStatus, PaymentTransfer,
            PaymentTransferStatus,
        },
    },
    time::Timestamp,
    topics::{self, TopicDef},
};
use streambook_runtime::sink::{Batch, Delivered};
use uuid::Uuid;

/// Merchants, spread over the partitions.
const MERCHANTS: usize = 64;
/// Payments between two steps of one: more than a batch has, as with blocks between them.
const APART: u64 = 1_500;
const CHAIN: ChainId = ChainId(31_337);

/// Makes records batch by batch.
pub(in crate::bench) struct Feed {
    payments: u64,
    turn: u64,
    asset: Option<AssetId>,
    merchants: Vec<MerchantId>,
    open: BTreeMap<u64, Payment>,
    next: BTreeMap<TopicPartition, u64>,
    sequences: BTreeMap<MerchantId, u64>,
    waiting: Vec<Delivered>,
}

impl Feed {
    pub(in crate::bench) fn new(payments: u64) -> Self {
        let merchants = (0..MERCHANTS).map(|_| MerchantId::from_bits(Uuid::now_v7().into_bytes())).collect();
        let (open, next, sequences) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Self { payments, turn: 0, asset: None, merchants, open, next, sequences, waiting: Vec::new() }
    }

    /// The next records, at least so many if there are; none at the end.
    pub(in crate::bench) fn batch(&mut self, records: usize) -> anyhow::Result<Option<Batch>> {
        while self.waiting.len() < records && self.turn < self.payments + 2 * APART {
            self.turn()?;
        }
        let mut batch = Batch { records: Vec::new(), before: BTreeMap::new(), after: BTreeMap::new() };
        for delivered in std::mem::take(&mut self.waiting) {
            batch.before.entry(delivered.from.clone()).or_insert(delivered.offset);
            batch.after.insert(delivered.from.clone(), delivered.offset.plus(1));
            batch.records.push(delivered);
        }
        Ok((!batch.records.is_empty()).then_some(batch))
    }

    /// One payment takes each step.
    fn turn(&mut self) -> anyhow::Result<()> {
        let turn = self.turn;
        self.turn += 1;
        if turn < self.payments {
            self.create(turn)?;
        }
        if let Some(number) = turn.checked_sub(APART).filter(|number| *number < self.payments) {
            self.confirm(number);
        }
        if let Some(number) = turn.checked_sub(2 * APART).filter(|number| *number < self.payments) {
            self.complete(number)?;
        }
        Ok(())
    }

    fn create(&mut self, number: u64) -> anyhow::Result<()> {
        let merchants = self.merchants.len().max(1) as u64;
        let owner = usize::try_from(number % merchants)?;
        let Some(merchant) = self.merchants.get(owner).copied() else { return Ok(()) };
        let asset = match &self.asset {
            Some(asset) => asset.clone(),
            None => self.asset.insert("usdc:31337".parse()?).clone(),
        };
        let payment = payment(number, merchant, asset)?;
        self.event(number, PaymentEventType::Created, &payment);
        self.open.insert(number, payment);
        Ok(())
    }

    fn confirm(&mut self, number: u64) {
        let Some(mut payment) = self.open.remove(&number) else { return };
        payment.version = 2;
        payment.status = PaymentStatus::Confirming;
        payment.amount_received = payment.amount;
        self.transfer(number, TransferStatus::Seen, &payment);
        self.event(number, PaymentEventType::Confirming, &payment);
        self.open.insert(number, payment);
    }

    fn complete(&mut self, number: u64) -> anyhow::Result<()> {
        let Some(mut payment) = self.open.remove(&number) else { return Ok(()) };
        payment.version = 3;
        payment.status = PaymentStatus::Completed;
        payment.amount_confirmed = payment.amount;
        payment.confirmations = 3;
        payment.completed_at = Some(Timestamp::from_millis(1_700_000_001_000));
        payment.transfers = vec![included(number, &payment)];
        self.transfer(number, TransferStatus::Confirmed, &payment);
        self.event(number, PaymentEventType::Completed, &payment);
        let fee = Amount::new(payment.amount.units() / 200)?;
        self.posting(
            &payment,
            "chain.confirmed",
            [("clearing", payment.amount), ("pending", payment.amount.negated())],
        );
        self.posting(&payment, "payment.completed", [("pending", fee), ("fees", fee.negated())]);
        Ok(())
    }

    fn event(&mut self, number: u64, event_type: PaymentEventType, payment: &Payment) {
        let event = EventId::derive_beside(payment.id.bits(), &[&payment.version.to_be_bytes()]);
        let at = self.place(&topics::PAYMENTS_EVENTS, payment.merchant);
        let meta = self.meta(&at, event.to_string(), number);
        self.give(
            at,
            PaymentEvent { meta, event, event_type, payment: payment.clone(), refund: None }.into(),
        );
    }

    fn transfer(&mut self, number: u64, status: TransferStatus, payment: &Payment) {
        let at = TopicPartition::new(topics::CHAIN_TRANSFERS.topic(), Partition(0));
        let transfer = included(number, payment);
        let event = TransferEvent {
            meta: Meta { source: None, ..self.meta(&at, format!("transfer:{number}"), number) },
            status,
            chain: CHAIN,
            merchant: payment.merchant,
            payment: payment.id,
            inclusion: Inclusion {
                block_hash: BlockHash::new(digits(number / 1_000)),
                block_number: BlockNumber(number / 1_000),
                tx_hash: transfer.tx_hash,
                log_index: transfer.log_index,
                number: 1,
            },
            asset: payment.asset.clone(),
            token: Address::new([6; 20]),
            from: Address::new([8; 20]),
            to: Address::new([7; 20]),
            amount: payment.amount,
            block_time: Timestamp::from_millis(1_700_000_000_000),
            confirmations: 1,
        };
        self.give(at, event.into());
    }

    fn posting(&mut self, payment: &Payment, template: &str, lines: [(&str, Amount); 2]) {
        let at = self.place(&topics::LEDGER_TRANSACTIONS, payment.merchant);
        let sequence = self.sequences.entry(payment.merchant).or_default();
        *sequence += 1;
        let sequence = *sequence;
        let transaction = TransactionId::derive(&[payment.merchant.bits(), &sequence.to_be_bytes()]);
        let entry = |(name, amount): (&str, Amount)| Entry {
            account: AccountId::new(format!("test/merchant/{}/{name}", payment.merchant)),
            asset: payment.asset.clone(),
            amount,
            balance: amount,
            version: sequence,
        };
        let posted = LedgerTransaction {
            meta: self.meta(&at, transaction.to_string(), sequence),
            transaction,
            merchant: payment.merchant,
            livemode: false,
            sequence,
            template: template.to_owned(),
            template_version: 1,
            payment: Some(payment.id),
            refund: None,
            event: format!("31337:{}:{template}", payment.id),
            reverses: None,
            occurred_at: Timestamp::from_millis(1_700_000_000_000),
            entries: lines.into_iter().map(entry).collect(),
            previous_hash: ContentHash::new(digits(sequence)),
            hash: ContentHash::new(digits(sequence + 1)),
        };
        self.give(at, posted.into());
    }

    fn place(&self, topic: &TopicDef, merchant: MerchantId) -> TopicPartition {
        let shards = usize::from(topic.partitions).max(1);
        let index = self.merchants.iter().position(|known| *known == merchant).unwrap_or_default() % shards;
        TopicPartition::new(topic.topic(), Partition(u16::try_from(index).unwrap_or_default()))
    }

    fn meta(&self, at: &TopicPartition, id: String, cause: u64) -> Meta {
        let now = Timestamp::from_millis(1_700_000_000_000);
        let seq = self.next.get(at).copied().unwrap_or_default() + 1;
        let source = Source { task: format!("book/{}", at.partition), seq, chain: LineageHash::new([1; 16]) };
        let cause = Some(Cause { partition: at.partition.0, offset: cause });
        Meta { source: Some(source), id, occurred_at: now, recorded_at: now, cause, trace: None }
    }

    fn give(&mut self, from: TopicPartition, message: Message) {
        let next = self.next.entry(from.clone()).or_default();
        self.waiting.push(Delivered { from, offset: Offset(*next), message: Box::new(message) });
        *next += 1;
    }
}

fn payment(number: u64, merchant: MerchantId, asset: AssetId) -> anyhow::Result<Payment> {
    let created_at = Timestamp::from_millis(1_700_000_000_000 + i64::try_from(number / 5)?);
    Ok(Payment {
        id: PaymentId::from_bits(Uuid::now_v7().into_bytes()),
        merchant,
        livemode: false,
        version: 1,
        status: PaymentStatus::Pending,
        method: PaymentMethod::Chain,
        asset,
        scale: 6,
        amount: Amount::new(12_500_000 + i128::from(number % 1_000))?,
        amount_received: Amount::ZERO,
        amount_confirmed: Amount::ZERO,
        amount_refunded: Amount::ZERO,
        fee: Amount::ZERO,
        chain: Some(CHAIN),
        token: Some(Address::new([6; 20])),
        deposit_address: Some(Address::new([7; 20])),
        derivation_path: Some(format!("3/{number}")),
        policy: Some(ConfirmationPolicy { depth: Some(3) }),
        confirmations: 0,
        reference_id: Some(format!("order-{number}")),
        description: None,
        metadata: Metadata::default(),
        transfers: Vec::new(),
        failure: None,
        created_at,
        expires_at: created_at,
        completed_at: None,
        price: None,
        tolerance: None,
        matching: None,
        reserved_until: None,
        payer: None,
        claims: Vec::new(),
    })
}

/// The transfer that pays it.
fn included(number: u64, payment: &Payment) -> PaymentTransfer {
    PaymentTransfer {
        tx_hash: TxHash::new(digits(number)),
        block_number: BlockNumber(number / 1_000),
        log_index: u32::try_from(number % 1_000).unwrap_or_default(),
        amount: payment.amount,
        status: PaymentTransferStatus::Confirmed,
    }
}

/// Bytes that differ from number to number.
fn digits(number: u64) -> [u8; 32] {
    let mut bytes = [5; 32];
    for (byte, digit) in bytes.iter_mut().zip(number.to_be_bytes()) {
        *byte = digit;
    }
    bytes
}
