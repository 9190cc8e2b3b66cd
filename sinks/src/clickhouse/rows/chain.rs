//! `chain.transfers` and, of `chain.inbox`, the blocks.

use serde::Serialize;
use streambook_model::{
    id::{MerchantId, PaymentId},
    records::chain::{ChainBlock, ChainStatus, TransferEvent},
};

use super::{At, Raw};
use crate::clickhouse::words;

/// A row of `chain_transfers`.
#[derive(Debug, Serialize)]
pub(crate) struct TransferRow<'b> {
    log_partition: u16,
    log_offset: u64,
    batch: u64,
    recorded_at: i64,
    occurred_at: i64,
    status: &'static str,
    chain: u64,
    merchant: MerchantId,
    payment: PaymentId,
    block_hash: Raw<32>,
    block_number: u64,
    block_time: i64,
    tx_hash: Raw<32>,
    log_index: u32,
    inclusion: u32,
    asset: &'b str,
    token: Raw<20>,
    sender: Raw<20>,
    receiver: Raw<20>,
    amount: i128,
    confirmations: u32,
}

impl<'b> TransferRow<'b> {
    pub(crate) fn of(at: At, event: &'b TransferEvent) -> Self {
        let inclusion = &event.inclusion;
        Self {
            log_partition: at.log_partition,
            log_offset: at.log_offset,
            batch: at.batch,
            recorded_at: at.recorded_at,
            occurred_at: at.occurred_at,
            status: words::transfer(event.status),
            chain: event.chain.0,
            merchant: event.merchant,
            payment: event.payment,
            block_hash: Raw::of(&inclusion.block_hash),
            block_number: inclusion.block_number.0,
            block_time: event.block_time.millis(),
            tx_hash: Raw::of(&inclusion.tx_hash),
            log_index: inclusion.log_index,
            inclusion: inclusion.number,
            asset: event.asset.as_str(),
            token: Raw::of(&event.token),
            sender: Raw::of(&event.from),
            receiver: Raw::of(&event.to),
            amount: event.amount.units(),
            confirmations: event.confirmations,
        }
    }
}

/// A row of `chain_heads`.
#[derive(Debug, Serialize)]
pub(crate) struct HeadRow<'b> {
    log_partition: u16,
    log_offset: u64,
    batch: u64,
    recorded_at: i64,
    occurred_at: i64,
    chain: u64,
    head_number: u64,
    head_hash: Raw<32>,
    head_time: i64,
    finalized_number: Option<u64>,
    reorg_depth: u32,
    halted: &'b str,
}

impl<'b> HeadRow<'b> {
    pub(crate) fn of(at: At, status: &'b ChainStatus) -> Self {
        Self {
            log_partition: at.log_partition,
            log_offset: at.log_offset,
            batch: at.batch,
            recorded_at: at.recorded_at,
            occurred_at: at.occurred_at,
            chain: status.chain.0,
            head_number: status.head_number.0,
            head_hash: Raw::of(&status.head_hash),
            head_time: status.head_time.millis(),
            finalized_number: status.finalized_number.map(|number| number.0),
            reorg_depth: status.reorg_depth,
            halted: status.halted.as_deref().unwrap_or_default(),
        }
    }
}

/// A row of `chain_blocks`.
#[derive(Debug, Serialize)]
pub(crate) struct BlockRow {
    log_partition: u16,
    log_offset: u64,
    batch: u64,
    recorded_at: i64,
    chain: u64,
    number: u64,
    hash: Raw<32>,
    parent_hash: Raw<32>,
    block_time: i64,
    transfers: u32,
}

impl BlockRow {
    pub(crate) fn of(at: At, block: &ChainBlock) -> Self {
        Self {
            log_partition: at.log_partition,
            log_offset: at.log_offset,
            batch: at.batch,
            recorded_at: at.recorded_at,
            chain: block.chain.0,
            number: block.number.0,
            hash: Raw::of(&block.hash),
            parent_hash: Raw::of(&block.parent_hash),
            block_time: block.timestamp.millis(),
            transfers: u32::try_from(block.transfers.len()).unwrap_or(u32::MAX),
        }
    }
}
