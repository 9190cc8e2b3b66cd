//! Transfers and chain heads: of each the last that was said.

use std::collections::BTreeMap;

use streambook_model::{
    chain::{ChainId, Inclusion},
    id::PaymentId,
    records::chain::{ChainStatus, TransferEvent},
};

use crate::sql::{
    cell::Cell,
    error::SqlError,
    table::{Existing, Rows, Table},
};

static TRANSFERS: Table = Table {
    name: "transfers",
    columns: &[
        "payment",
        "block_hash",
        "log_index",
        "inclusion",
        "chain",
        "block_number",
        "merchant",
        "tx_hash",
        "status",
        "asset",
        "token",
        "sender",
        "receiver",
        "amount",
        "block_time",
        "position",
    ],
    existing: Existing::Newer {
        key: &["payment", "block_hash", "log_index", "inclusion"],
        version: "position",
        changes: &["status", "position"],
    },
};

static HEADS: Table = Table {
    name: "chain_heads",
    columns: &["chain", "number", "hash", "time", "finalized", "halted", "position"],
    existing: Existing::Newer {
        key: &["chain"],
        version: "position",
        changes: &["number", "hash", "time", "finalized", "halted", "position"],
    },
};

/// A transfer's key in the order of its table's, so that rows are written in the order they are stored.
type TransferKey = (PaymentId, [u8; 32], u32, u32);

/// The rows of a batch's chain records.
#[derive(Debug, Default)]
pub(super) struct ChainRows<'b> {
    transfers: BTreeMap<TransferKey, (i64, &'b TransferEvent)>,
    heads: BTreeMap<ChainId, (i64, &'b ChainStatus)>,
}

impl<'b> ChainRows<'b> {
    pub(super) fn take_transfer(&mut self, at: i64, event: &'b TransferEvent) -> Result<(), SqlError> {
        self.transfers.insert(key(event), (at, event));
        Ok(())
    }

    pub(super) fn take_head(&mut self, at: i64, status: &'b ChainStatus) -> Result<(), SqlError> {
        self.heads.insert(status.chain, (at, status));
        Ok(())
    }

    pub(super) fn finish(self, rows: &mut Vec<Rows>) -> Result<(), SqlError> {
        let mut transfers = Rows::of(&TRANSFERS);
        for (at, event) in self.transfers.into_values() {
            push_transfer(&mut transfers, at, event)?;
        }
        let mut heads = Rows::of(&HEADS);
        for (at, status) in self.heads.into_values() {
            push_head(&mut heads, at, status)?;
        }
        rows.extend([transfers, heads]);
        Ok(())
    }
}

fn key(event: &TransferEvent) -> TransferKey {
    let Inclusion { block_hash, log_index, number, .. } = &event.inclusion;
    (event.payment, *block_hash.as_bytes(), *log_index, *number)
}

fn push_transfer(rows: &mut Rows, at: i64, event: &TransferEvent) -> Result<(), SqlError> {
    rows.push([
        Cell::text(event.payment),
        Cell::hash(&event.inclusion.block_hash),
        event.inclusion.log_index.into(),
        event.inclusion.number.into(),
        Cell::unsigned(event.chain.0)?,
        Cell::unsigned(event.inclusion.block_number.0)?,
        Cell::text(event.merchant),
        Cell::hash(&event.inclusion.tx_hash),
        Cell::word(&event.status)?,
        Cell::text(&event.asset),
        Cell::hash(&event.token),
        Cell::hash(&event.from),
        Cell::hash(&event.to),
        event.amount.into(),
        event.block_time.into(),
        at.into(),
    ]);
    Ok(())
}

fn push_head(rows: &mut Rows, at: i64, status: &ChainStatus) -> Result<(), SqlError> {
    rows.push([
        Cell::unsigned(status.chain.0)?,
        Cell::unsigned(status.head_number.0)?,
        Cell::text(status.head_hash),
        status.head_time.into(),
        status.finalized_number.map_or(Ok(Cell::Null), |number| Cell::unsigned(number.0))?,
        Cell::maybe_text(status.halted.as_ref()),
        at.into(),
    ]);
    Ok(())
}
