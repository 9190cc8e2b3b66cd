-- The tables. One holds what one topic says, keyed by where the log has it: a record that comes twice is the same row
-- under the same key, and a ReplacingMergeTree keeps one of them. The window makes a repeated insert, known by its token,
-- no insert at all. Parts are synced before an insert is confirmed.
--
-- Amounts are whole numbers of the asset's smallest unit (Int128). Where a record knows the asset's scale it is in the
-- row; for the others the `assets` table has it. Hashes and addresses are bytes; `lower(hex(…))` shows them.
-- `log_partition` and `log_offset` say where a record is in the log, `batch` by which write it came.
-- Money and its history are kept for ever; what describes operation is kept for 13 months.

CREATE TABLE IF NOT EXISTS sink_ranges (
    topic LowCardinality(String),
    log_partition UInt16,
    topic_id String,
    batch UInt64,
    done UInt8,
    version UInt64,
    writer UInt64,
    first_offset UInt64,
    next_offset UInt64,
    planned_at DateTime64(3, 'UTC'),
    tasks Array(String),
    seqs Array(UInt64),
    chains Array(String)
) ENGINE = ReplacingMergeTree(version)
ORDER BY (topic, log_partition)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

CREATE TABLE IF NOT EXISTS payment_events (
    log_partition UInt16 CODEC(ZSTD(1)),
    log_offset UInt64 CODEC(Delta(8), ZSTD(1)),
    batch UInt64 CODEC(Delta(8), ZSTD(1)),
    recorded_at DateTime64(3, 'UTC') CODEC(Delta(8), ZSTD(1)),
    occurred_at DateTime64(3, 'UTC') CODEC(Delta(8), ZSTD(1)),
    event String CODEC(ZSTD(1)),
    event_type LowCardinality(String),
    payment String CODEC(ZSTD(1)),
    merchant LowCardinality(String),
    livemode Bool,
    version UInt32 CODEC(ZSTD(1)),
    status LowCardinality(String),
    method LowCardinality(String),
    chain UInt64 CODEC(ZSTD(1)) COMMENT 'EIP-155 id; 0 off chain',
    asset LowCardinality(String),
    scale UInt8,
    amount Int128 CODEC(ZSTD(1)),
    amount_received Int128 CODEC(ZSTD(1)),
    amount_confirmed Int128 CODEC(ZSTD(1)),
    amount_refunded Int128 CODEC(ZSTD(1)),
    fee Int128 CODEC(ZSTD(1)),
    confirmations UInt32 CODEC(ZSTD(1)),
    refund String CODEC(ZSTD(1)) COMMENT 'the refund of a payment.refunded or payment.refund_failed',
    refund_amount Int128 CODEC(ZSTD(1)),
    failure LowCardinality(String),
    INDEX batches batch TYPE minmax GRANULARITY 1,
    INDEX payments payment TYPE bloom_filter(0.01) GRANULARITY 4
) ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(recorded_at)
ORDER BY (merchant, log_partition, log_offset)
SETTINGS non_replicated_deduplication_window = 1000, fsync_after_insert = 1, fsync_part_directory = 1;

-- Each payment as it is last known: of two rows the one with the higher version stays.
CREATE TABLE IF NOT EXISTS payments (
    payment String CODEC(ZSTD(1)),
    version UInt32 CODEC(ZSTD(1)),
    batch UInt64 CODEC(Delta(8), ZSTD(1)),
    merchant LowCardinality(String),
    livemode Bool,
    status LowCardinality(String),
    method LowCardinality(String),
    chain UInt64 CODEC(ZSTD(1)) COMMENT 'EIP-155 id; 0 off chain',
    asset LowCardinality(String),
    scale UInt8,
    amount Int128 CODEC(ZSTD(1)),
    amount_received Int128 CODEC(ZSTD(1)),
    amount_confirmed Int128 CODEC(ZSTD(1)),
    amount_refunded Int128 CODEC(ZSTD(1)),
    fee Int128 CODEC(ZSTD(1)),
    token FixedString(20) CODEC(ZSTD(1)),
    deposit_address FixedString(20) CODEC(ZSTD(1)),
    policy_depth UInt32 CODEC(ZSTD(1)) COMMENT 'blocks until confirmed; 0: finality, or off chain',
    confirmations UInt32 CODEC(ZSTD(1)),
    transfers UInt32 CODEC(ZSTD(1)),
    reference_id String CODEC(ZSTD(1)),
    metadata Map(String, String) CODEC(ZSTD(1)),
    failure LowCardinality(String),
    created_at DateTime64(3, 'UTC') CODEC(Delta(8), ZSTD(1)),
    expires_at DateTime64(3, 'UTC') CODEC(Delta(8), ZSTD(1)),
    completed_at Nullable(DateTime64(3, 'UTC')) CODEC(Delta(8), ZSTD(1)),
    updated_at DateTime64(3, 'UTC') CODEC(Delta(8), ZSTD(1))
) ENGINE = ReplacingMergeTree(version)
PARTITION BY toYYYYMM(created_at)
ORDER BY (merchant, payment)
SETTINGS non_replicated_deduplication_window = 1000, fsync_after_insert = 1, fsync_part_directory = 1;

-- One row for each line of a ledger transaction: positive is a debit, negative a credit.
CREATE TABLE IF NOT EXISTS ledger_entries (
    log_partition UInt16 CODEC(ZSTD(1)),
    log_offset UInt64 CODEC(Delta(8), ZSTD(1)),
    line UInt16 CODEC(ZSTD(1)),
    batch UInt64 CODEC(Delta(8), ZSTD(1)),
    recorded_at DateTime64(3, 'UTC') CODEC(Delta(8), ZSTD(1)),
    occurred_at DateTime64(3, 'UTC') CODEC(Delta(8), ZSTD(1)),
    transaction String CODEC(ZSTD(1)),
    merchant LowCardinality(String),
    livemode Bool,
    sequence UInt64 CODEC(Delta(8), ZSTD(1)),
    template LowCardinality(String),
    template_version UInt32 CODEC(ZSTD(1)),
    payment String CODEC(ZSTD(1)),
    refund String CODEC(ZSTD(1)),
    event String CODEC(ZSTD(1)),
    reverses String CODEC(ZSTD(1)),
    hash FixedString(32),
    account String CODEC(ZSTD(1)),
    account_kind LowCardinality(String) COMMENT 'the account without whose it is: merchant/available, platform/fees',
    asset LowCardinality(String),
    amount Int128 CODEC(ZSTD(1)),
    balance Int128 CODEC(ZSTD(1)) COMMENT 'of the account in this asset, after this line',
    account_version UInt64 CODEC(Delta(8), ZSTD(1)) COMMENT 'lines of the account in this asset, this one included',
    INDEX batches batch TYPE minmax GRANULARITY 1
) ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(recorded_at)
ORDER BY (merchant, log_partition, log_offset, line)
SETTINGS non_replicated_deduplication_window = 1000, fsync_after_insert = 1, fsync_part_directory = 1;

CREATE TABLE IF NOT EXISTS chain_transfers (
    log_partition UInt16 CODEC(ZSTD(1)),
    log_offset UInt64 CODEC(Delta(8), ZSTD(1)),
    batch UInt64 CODEC(Delta(8), ZSTD(1)),
    recorded_at DateTime64(3, 'UTC') CODEC(Delta(8), ZSTD(1)),
    occurred_at DateTime64(3, 'UTC') CODEC(Delta(8), ZSTD(1)),
    status LowCardinality(String) COMMENT 'seen, confirmed, orphaned, finalized',
    chain UInt64 CODEC(ZSTD(1)),
    merchant LowCardinality(String),
    payment String CODEC(ZSTD(1)),
    block_hash FixedString(32) CODEC(ZSTD(1)),
    block_number UInt64 CODEC(Delta(8), ZSTD(1)),
    block_time DateTime64(3, 'UTC') CODEC(Delta(8), ZSTD(1)),
    tx_hash FixedString(32),
    log_index UInt32 CODEC(ZSTD(1)),
    inclusion UInt32 CODEC(ZSTD(1)) COMMENT 'how many times the block had become canonical',
    asset LowCardinality(String),
    token FixedString(20) CODEC(ZSTD(1)),
    sender FixedString(20) CODEC(ZSTD(1)),
    receiver FixedString(20) CODEC(ZSTD(1)),
    amount Int128 CODEC(ZSTD(1)),
    confirmations UInt32 CODEC(ZSTD(1)),
    INDEX batches batch TYPE minmax GRANULARITY 1
) ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(recorded_at)
ORDER BY (chain, log_partition, log_offset)
SETTINGS non_replicated_deduplication_window = 1000, fsync_after_insert = 1, fsync_part_directory = 1;

-- Every move of a chain's head, as the reorg processor saw it.
CREATE TABLE IF NOT EXISTS chain_heads (
    log_partition UInt16 CODEC(ZSTD(1)),
    log_offset UInt64 CODEC(Delta(8), ZSTD(1)),
    batch UInt64 CODEC(Delta(8), ZSTD(1)),
    recorded_at DateTime64(3, 'UTC') CODEC(Delta(8), ZSTD(1)),
    occurred_at DateTime64(3, 'UTC') CODEC(Delta(8), ZSTD(1)),
    chain UInt64 CODEC(ZSTD(1)),
    head_number UInt64 CODEC(Delta(8), ZSTD(1)),
    head_hash FixedString(32),
    head_time DateTime64(3, 'UTC') CODEC(Delta(8), ZSTD(1)),
    finalized_number Nullable(UInt64) CODEC(ZSTD(1)),
    reorg_depth UInt32 CODEC(ZSTD(1)) COMMENT 'blocks taken back by this move; 0 unless it was a reorganisation',
    halted LowCardinality(String) COMMENT 'why the chain has stopped, if it has',
    INDEX batches batch TYPE minmax GRANULARITY 1
) ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(recorded_at)
ORDER BY (chain, log_partition, log_offset)
TTL toDateTime(recorded_at) + INTERVAL 13 MONTH
SETTINGS non_replicated_deduplication_window = 1000, fsync_after_insert = 1, fsync_part_directory = 1, ttl_only_drop_parts = 1;

-- Every block the connector verified, canonical or not.
CREATE TABLE IF NOT EXISTS chain_blocks (
    log_partition UInt16 CODEC(ZSTD(1)),
    log_offset UInt64 CODEC(Delta(8), ZSTD(1)),
    batch UInt64 CODEC(Delta(8), ZSTD(1)),
    recorded_at DateTime64(3, 'UTC') CODEC(Delta(8), ZSTD(1)),
    chain UInt64 CODEC(ZSTD(1)),
    number UInt64 CODEC(Delta(8), ZSTD(1)),
    hash FixedString(32),
    parent_hash FixedString(32),
    block_time DateTime64(3, 'UTC') CODEC(Delta(8), ZSTD(1)),
    transfers UInt32 CODEC(ZSTD(1)) COMMENT 'of the configured tokens',
    INDEX batches batch TYPE minmax GRANULARITY 1
) ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(recorded_at)
ORDER BY (chain, log_partition, log_offset)
TTL toDateTime(recorded_at) + INTERVAL 13 MONTH
SETTINGS non_replicated_deduplication_window = 1000, fsync_after_insert = 1, fsync_part_directory = 1, ttl_only_drop_parts = 1;

-- Stripe's events as they arrived; the bodies stay in the log.
CREATE TABLE IF NOT EXISTS stripe_events (
    log_partition UInt16 CODEC(ZSTD(1)),
    log_offset UInt64 CODEC(Delta(8), ZSTD(1)),
    batch UInt64 CODEC(Delta(8), ZSTD(1)),
    recorded_at DateTime64(3, 'UTC') CODEC(Delta(8), ZSTD(1)),
    created DateTime64(3, 'UTC') CODEC(Delta(8), ZSTD(1)),
    event String CODEC(ZSTD(1)),
    event_type LowCardinality(String),
    family String CODEC(ZSTD(1)),
    livemode Bool,
    INDEX batches batch TYPE minmax GRANULARITY 1
) ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(recorded_at)
ORDER BY (log_partition, log_offset)
TTL toDateTime(recorded_at) + INTERVAL 13 MONTH
SETTINGS non_replicated_deduplication_window = 1000, fsync_after_insert = 1, fsync_part_directory = 1, ttl_only_drop_parts = 1;

-- The money facts that were made of Stripe's events.
CREATE TABLE IF NOT EXISTS stripe_facts (
    log_partition UInt16 CODEC(ZSTD(1)),
    log_offset UInt64 CODEC(Delta(8), ZSTD(1)),
    batch UInt64 CODEC(Delta(8), ZSTD(1)),
    recorded_at DateTime64(3, 'UTC') CODEC(Delta(8), ZSTD(1)),
    occurred_at DateTime64(3, 'UTC') CODEC(Delta(8), ZSTD(1)),
    kind LowCardinality(String),
    merchant LowCardinality(String),
    payment String CODEC(ZSTD(1)),
    livemode Bool,
    object String CODEC(ZSTD(1)),
    asset LowCardinality(String),
    amount Int128 CODEC(ZSTD(1)),
    reason LowCardinality(String),
    INDEX batches batch TYPE minmax GRANULARITY 1
) ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(recorded_at)
ORDER BY (merchant, log_partition, log_offset)
SETTINGS non_replicated_deduplication_window = 1000, fsync_after_insert = 1, fsync_part_directory = 1;

CREATE TABLE IF NOT EXISTS webhook_attempts (
    log_partition UInt16 CODEC(ZSTD(1)),
    log_offset UInt64 CODEC(Delta(8), ZSTD(1)),
    batch UInt64 CODEC(Delta(8), ZSTD(1)),
    recorded_at DateTime64(3, 'UTC') CODEC(Delta(8), ZSTD(1)),
    occurred_at DateTime64(3, 'UTC') CODEC(Delta(8), ZSTD(1)),
    attempt String CODEC(ZSTD(1)),
    event String CODEC(ZSTD(1)),
    event_type LowCardinality(String),
    endpoint LowCardinality(String),
    merchant LowCardinality(String),
    number UInt32 CODEC(ZSTD(1)),
    outcome LowCardinality(String) COMMENT 'delivered, failed, exhausted',
    status_code UInt16 CODEC(ZSTD(1)) COMMENT '0: no answer',
    error LowCardinality(String),
    duration_ms UInt32 CODEC(ZSTD(1)),
    INDEX batches batch TYPE minmax GRANULARITY 1
) ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(recorded_at)
ORDER BY (merchant, endpoint, log_partition, log_offset)
TTL toDateTime(recorded_at) + INTERVAL 13 MONTH
SETTINGS non_replicated_deduplication_window = 1000, fsync_after_insert = 1, fsync_part_directory = 1, ttl_only_drop_parts = 1;

-- The merchants' commands as the books took them. Reads are not in the log; `/metrics` counts them.
CREATE TABLE IF NOT EXISTS api_requests (
    log_partition UInt16 CODEC(ZSTD(1)),
    log_offset UInt64 CODEC(Delta(8), ZSTD(1)),
    batch UInt64 CODEC(Delta(8), ZSTD(1)),
    recorded_at DateTime64(3, 'UTC') CODEC(Delta(8), ZSTD(1)),
    request String CODEC(ZSTD(1)),
    command LowCardinality(String) COMMENT 'create_payment, cancel_payment, accept_payment, create_refund',
    merchant LowCardinality(String),
    livemode Bool,
    payment String CODEC(ZSTD(1)),
    has_idempotency_key Bool,
    INDEX batches batch TYPE minmax GRANULARITY 1
) ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(recorded_at)
ORDER BY (merchant, log_partition, log_offset)
TTL toDateTime(recorded_at) + INTERVAL 13 MONTH
SETTINGS non_replicated_deduplication_window = 1000, fsync_after_insert = 1, fsync_part_directory = 1, ttl_only_drop_parts = 1;

-- The answers to commands, those of the administration included.
CREATE TABLE IF NOT EXISTS api_replies (
    log_partition UInt16 CODEC(ZSTD(1)),
    log_offset UInt64 CODEC(Delta(8), ZSTD(1)),
    batch UInt64 CODEC(Delta(8), ZSTD(1)),
    recorded_at DateTime64(3, 'UTC') CODEC(Delta(8), ZSTD(1)),
    request String CODEC(ZSTD(1)),
    outcome LowCardinality(String) COMMENT 'accepted, replayed, rejected',
    status UInt16 CODEC(ZSTD(1)) COMMENT 'the HTTP status of a rejection; 0 otherwise',
    code LowCardinality(String) COMMENT 'why it was rejected',
    INDEX batches batch TYPE minmax GRANULARITY 1
) ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(recorded_at)
ORDER BY (log_partition, log_offset)
TTL toDateTime(recorded_at) + INTERVAL 13 MONTH
SETTINGS non_replicated_deduplication_window = 1000, fsync_after_insert = 1, fsync_part_directory = 1, ttl_only_drop_parts = 1;

CREATE TABLE IF NOT EXISTS dead_letters (
    log_partition UInt16 CODEC(ZSTD(1)),
    log_offset UInt64 CODEC(Delta(8), ZSTD(1)),
    batch UInt64 CODEC(Delta(8), ZSTD(1)),
    recorded_at DateTime64(3, 'UTC') CODEC(Delta(8), ZSTD(1)),
    letter String CODEC(ZSTD(1)),
    task LowCardinality(String),
    topic LowCardinality(String),
    source_partition UInt16 CODEC(ZSTD(1)),
    source_offset UInt64 CODEC(ZSTD(1)),
    code LowCardinality(String),
    reason String CODEC(ZSTD(1)),
    INDEX batches batch TYPE minmax GRANULARITY 1
) ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(recorded_at)
ORDER BY (log_partition, log_offset)
TTL toDateTime(recorded_at) + INTERVAL 13 MONTH
SETTINGS non_replicated_deduplication_window = 1000, fsync_after_insert = 1, fsync_part_directory = 1, ttl_only_drop_parts = 1;

CREATE TABLE IF NOT EXISTS merchants (
    merchant String,
    version UInt64 COMMENT 'the offset of the change',
    batch UInt64,
    name String,
    settlement LowCardinality(String),
    created_at DateTime64(3, 'UTC')
) ENGINE = ReplacingMergeTree(version)
ORDER BY merchant
SETTINGS non_replicated_deduplication_window = 1000, fsync_after_insert = 1, fsync_part_directory = 1;

-- What an amount's smallest unit is a part of.
CREATE TABLE IF NOT EXISTS assets (
    asset LowCardinality(String),
    version UInt64 COMMENT 'the offset of the change',
    batch UInt64,
    scale UInt8 COMMENT 'decimal places',
    chain UInt64 COMMENT 'EIP-155 id; 0 off chain',
    contract String
) ENGINE = ReplacingMergeTree(version)
ORDER BY asset
SETTINGS non_replicated_deduplication_window = 1000, fsync_after_insert = 1, fsync_part_directory = 1;
