//! Balances of accounts, added up from ledger transactions, each taken once.

use std::collections::BTreeMap;

use anyhow::{Context, ensure};
use apache_avro::types::Value;

/// What was taken so far. It would be kept in the same transaction as the position in the topic.
#[derive(Default)]
pub(crate) struct Balances {
    /// By account and asset, in the asset's smallest unit.
    accounts: BTreeMap<(String, String), i128>,
    /// The last `seq` taken of each task, for each partition.
    taken: BTreeMap<(u16, String), i64>,
    /// The last `seq` that was left out since one before it was missing.
    early: BTreeMap<(u16, String), i64>,
}

impl Balances {
    /// Takes a `LedgerTransaction`.
    pub(crate) fn take(&mut self, partition: u16, offset: u64, record: &Value) -> anyhow::Result<()> {
        if !self.is_next(partition, offset, field(field(record, "meta")?, "source")?)? {
            return Ok(());
        }
        let mut sums: BTreeMap<&str, i128> = BTreeMap::new();
        let Value::Array(entries) = field(record, "entries")? else { anyhow::bail!("entries is not a list") };
        for entry in entries {
            let (account, asset) = (text(field(entry, "account")?)?, text(field(entry, "asset")?)?);
            let amount = amount(field(entry, "amount")?)?;
            *sums.entry(asset).or_default() += amount;
            *self.accounts.entry((account.to_owned(), asset.to_owned())).or_default() += amount;
        }
        ensure!(sums.values().all(|sum| *sum == 0), "the transaction does not balance: {sums:?}");
        Ok(())
    }

    /// Whether the record is the next of its task. Each task numbers what it sends to a partition from 1 without a gap, and may
    /// send a record again. One that comes before its turn is left out: what is missing comes again on a cluster, and this
    /// record behind it.
    fn is_next(&mut self, partition: u16, offset: u64, source: &Value) -> anyhow::Result<bool> {
        let source = some(source);
        let (task, seq) = (text(field(source, "task")?)?, field(source, "seq")?);
        let &Value::Long(seq) = seq else { anyhow::bail!("seq is not a number") };
        let key = (partition, task.to_owned());
        // Where the first record that is read is not the partition's, those before it may have been given up.
        let before = if offset == 0 { 0 } else { seq - 1 };
        let last = self.taken.entry(key.clone()).or_insert(before);
        if seq > *last + 1 {
            self.early.insert(key, seq);
            return Ok(false);
        }
        let is_next = seq == *last + 1;
        *last = seq.max(*last);
        Ok(is_next)
    }

    /// Fails where something is missing: the sums are then of what came before it.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        for ((partition, task), early) in &self.early {
            let last = self.taken.get(&(*partition, task.clone())).copied().unwrap_or_default();
            ensure!(early <= &last, "partition {partition}: number {} of {task} is missing", last + 1);
        }
        Ok(())
    }

    /// `{account: {asset: balance}}`, amounts as text, since they may be larger than JSON's numbers.
    pub(crate) fn to_json(&self) -> serde_json::Value {
        let mut accounts: BTreeMap<&str, BTreeMap<&str, String>> = BTreeMap::new();
        for ((account, asset), balance) in &self.accounts {
            accounts.entry(account).or_default().insert(asset, balance.to_string());
        }
        serde_json::json!(accounts)
    }
}

fn field<'v>(record: &'v Value, name: &str) -> anyhow::Result<&'v Value> {
    let Value::Record(fields) = record else { anyhow::bail!("no record around `{name}`") };
    let found = fields.iter().find(|(field, _)| field == name);
    found.map(|(_, value)| value).with_context(|| format!("the record has no `{name}`"))
}

/// The value inside of an optional one.
fn some(value: &Value) -> &Value {
    match value {
        Value::Union(_, inner) => inner,
        value => value,
    }
}

fn text(value: &Value) -> anyhow::Result<&str> {
    match value {
        Value::String(text) => Ok(text),
        other => anyhow::bail!("{other:?} is not text"),
    }
}

/// An amount is an Avro `decimal` of scale 0: a big-endian two's complement integer.
fn amount(value: &Value) -> anyhow::Result<i128> {
    let Value::Decimal(decimal) = value else { anyhow::bail!("{value:?} is not an amount") };
    let bytes: Vec<u8> = decimal.try_into()?;
    ensure!(bytes.len() <= 16, "an amount of {} bytes", bytes.len());
    let sign = if bytes.first().is_some_and(|first| first & 0x80 != 0) { -1 } else { 0 };
    Ok(bytes.iter().fold(sign, |value, byte| (value << 8) | i128::from(*byte)))
}
