//! An example of a downstream application: keeps its own balances from the public topic `ledger.transactions`, with
//! nothing but the published Avro schema and an Avro library.
//!
//! ```sh
//! streambook topics tail ledger.transactions --last 1000000 --format avro --data ./data \
//!   | cargo run -p streambook --example downstream -- schemas/avro/LedgerTransaction.avsc
//! ```
//!
//! It shows what every reader of a public topic has to do: tell the partitions apart, take each `seq` of a task once and in
//! order, never go past one that is missing, and add up integers.

mod balances;
mod frame;

use std::{env, fs, io};

use anyhow::Context;
use apache_avro::Schema;

use crate::balances::Balances;

fn main() -> anyhow::Result<()> {
    let path = env::args().nth(1).context("usage: downstream LedgerTransaction.avsc < records")?;
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    let schema = Schema::parse_str(&text).with_context(|| format!("{path} is not an Avro schema"))?;
    let mut input = io::stdin().lock();
    let mut balances = Balances::default();
    while let Some(frame) = frame::next(&mut input)? {
        let record = frame.decode(&schema)?;
        balances.take(frame.partition, frame.offset, &record).with_context(|| frame.place())?;
    }
    balances.check()?;
    serde_json::to_writer_pretty(io::stdout().lock(), &balances.to_json())?;
    Ok(())
}
