-- The tables of the SQL sink: the same as in SQLite, in PostgreSQL's types.
--
-- Amounts are whole numbers of the asset's smallest unit, exact over 38 digits. Times are milliseconds since 1970, as they
-- are in the records: to_timestamp(created_at / 1000.0). Ids are their text form, compared byte by byte (COLLATE "C"), so
-- that an index serves ranges of them whatever the database's language is.
-- `position` is where the record stands in its topic: partition * 2^48 + offset. It is unique, grows within a partition,
-- and comes out the same when the database is rebuilt from the log.
--
-- What one record leads to is written in one transaction by one writer, and `verify` compares it with the log, so no foreign
-- key is checked again for each row. An index is there for a read that walks it, and for nothing else.
--
-- The large tables are in sixteen partitions. What is only ever added (events, transactions, entries) is divided by position,
-- a part for each partition of the log: rows go to the end of a part and of its indexes, all of a merchant's rows are in one
-- part, which is how uniqueness can be kept, and no part has to be made as time goes by. What changes (payments, transfers,
-- attempts) is divided by the hash of its id, so that a busy merchant is spread and a look by id goes to one part.

CREATE TABLE sink_offsets (
    topic        TEXT COLLATE "C" NOT NULL,
    partition    BIGINT NOT NULL,
    next_offset  BIGINT NOT NULL,
    cause_offset BIGINT,               -- the highest inbox offset whose consequences are in here
    PRIMARY KEY (topic, partition)
) WITH (fillfactor = 50);

CREATE TABLE sink_sources (
    topic     TEXT COLLATE "C" NOT NULL,
    partition BIGINT NOT NULL,
    task      TEXT COLLATE "C" NOT NULL,
    seq       BIGINT NOT NULL,
    chain     TEXT NOT NULL,
    PRIMARY KEY (topic, partition, task)
) WITH (fillfactor = 50);

CREATE TABLE payments (
    id               TEXT COLLATE "C" NOT NULL,
    merchant         TEXT COLLATE "C" NOT NULL,
    livemode         BOOLEAN NOT NULL,
    version          BIGINT NOT NULL,
    status           TEXT NOT NULL,
    method           TEXT NOT NULL,
    asset            TEXT NOT NULL,
    scale            BIGINT NOT NULL,
    amount           NUMERIC(38, 0) NOT NULL,
    amount_received  NUMERIC(38, 0) NOT NULL,
    amount_confirmed NUMERIC(38, 0) NOT NULL,
    amount_refunded  NUMERIC(38, 0) NOT NULL,
    fee              NUMERIC(38, 0) NOT NULL,
    reference_id     TEXT COLLATE "C",
    created_at       BIGINT NOT NULL,
    expires_at       BIGINT NOT NULL,
    completed_at     BIGINT,
    snapshot         JSON NOT NULL,    -- the whole payment, byte for byte as it was written
    PRIMARY KEY (id)
) PARTITION BY HASH (id);
CREATE INDEX payments_by_creation ON payments (merchant, livemode, created_at, id);
CREATE INDEX payments_by_reference ON payments (merchant, livemode, reference_id, created_at, id)
    WHERE reference_id IS NOT NULL;
-- Most payments end completed or expired; the other statuses are what people look for, and this keeps them few.
CREATE INDEX payments_by_status ON payments (merchant, livemode, status, created_at, id)
    WHERE status NOT IN ('completed', 'expired');

-- An event is found by its id through its payment, whose id begins the same.
-- What an event changed is in `moment`; the rest of the payment never changes and is in `payments.snapshot`.
CREATE TABLE payment_events (
    position    BIGINT NOT NULL,
    id          TEXT COLLATE "C" NOT NULL,
    event_type  TEXT NOT NULL,
    payment     TEXT COLLATE "C" NOT NULL,
    merchant    TEXT COLLATE "C" NOT NULL,
    livemode    BOOLEAN NOT NULL,
    refund      TEXT COLLATE "C",
    occurred_at BIGINT NOT NULL,
    moment      JSON NOT NULL,
    PRIMARY KEY (position)
) PARTITION BY RANGE (position);
CREATE INDEX payment_events_by_merchant ON payment_events (merchant, livemode, position);
CREATE INDEX payment_events_by_payment ON payment_events (payment, position);

CREATE TABLE refunds (
    id          TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    payment     TEXT COLLATE "C" NOT NULL,
    merchant    TEXT COLLATE "C" NOT NULL,
    livemode    BOOLEAN NOT NULL,
    asset       TEXT NOT NULL,
    scale       BIGINT NOT NULL,
    amount      NUMERIC(38, 0) NOT NULL,
    destination TEXT,
    reference   TEXT,
    reason      TEXT,
    created_at  BIGINT NOT NULL,
    position    BIGINT NOT NULL
);
CREATE INDEX refunds_by_payment ON refunds (payment, created_at, id);

CREATE TABLE ledger_transactions (
    position         BIGINT NOT NULL,
    id               TEXT COLLATE "C" NOT NULL,
    merchant         TEXT COLLATE "C" NOT NULL,
    livemode         BOOLEAN NOT NULL,
    sequence         BIGINT NOT NULL,
    template         TEXT NOT NULL,
    template_version BIGINT NOT NULL,
    payment          TEXT COLLATE "C",
    refund           TEXT COLLATE "C",
    event            TEXT NOT NULL,
    reverses         TEXT COLLATE "C",
    occurred_at      BIGINT NOT NULL,
    previous_hash    BYTEA NOT NULL,
    hash             BYTEA NOT NULL,
    PRIMARY KEY (position)
) PARTITION BY RANGE (position);
CREATE INDEX ledger_transactions_by_payment ON ledger_transactions (payment, sequence) WHERE payment IS NOT NULL;

CREATE TABLE ledger_entries (
    position BIGINT NOT NULL,
    line     BIGINT NOT NULL,
    account  TEXT COLLATE "C" NOT NULL,
    asset    TEXT COLLATE "C" NOT NULL,
    amount   NUMERIC(38, 0) NOT NULL,
    balance  NUMERIC(38, 0) NOT NULL,
    version  BIGINT NOT NULL,
    PRIMARY KEY (position, line)
) PARTITION BY RANGE (position);

CREATE TABLE balances (
    account  TEXT COLLATE "C" NOT NULL,
    asset    TEXT COLLATE "C" NOT NULL,
    livemode BOOLEAN NOT NULL,
    merchant TEXT COLLATE "C",         -- absent for the platform's accounts
    name     TEXT NOT NULL,
    balance  NUMERIC(38, 0) NOT NULL,
    version  BIGINT NOT NULL,
    PRIMARY KEY (account, asset)
) WITH (fillfactor = 50);
CREATE INDEX balances_by_merchant ON balances (merchant, livemode) WHERE merchant IS NOT NULL;

CREATE TABLE chain_heads (
    chain      BIGINT NOT NULL PRIMARY KEY,
    number     BIGINT NOT NULL,
    hash       TEXT NOT NULL,
    time       BIGINT NOT NULL,
    finalized  BIGINT,
    halted     TEXT,
    position   BIGINT NOT NULL
) WITH (fillfactor = 50);

-- Hashes and addresses are their bytes. A payment's transfers are side by side.
CREATE TABLE transfers (
    payment      TEXT COLLATE "C" NOT NULL,
    block_hash   BYTEA NOT NULL,
    log_index    BIGINT NOT NULL,
    inclusion    BIGINT NOT NULL,      -- how many times the block had become canonical
    chain        BIGINT NOT NULL,
    block_number BIGINT NOT NULL,
    merchant     TEXT COLLATE "C" NOT NULL,
    tx_hash      BYTEA NOT NULL,
    status       TEXT NOT NULL,
    asset        TEXT NOT NULL,
    token        BYTEA NOT NULL,
    sender       BYTEA NOT NULL,
    receiver     BYTEA NOT NULL,
    amount       NUMERIC(38, 0) NOT NULL,
    block_time   BIGINT NOT NULL,
    position     BIGINT NOT NULL,
    PRIMARY KEY (payment, block_hash, log_index, inclusion)
) PARTITION BY HASH (payment);

CREATE TABLE merchants (
    id         TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    name       TEXT NOT NULL,
    settlement TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    position   BIGINT NOT NULL
);

CREATE TABLE assets (
    id       TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    scale    BIGINT NOT NULL,
    contract TEXT,
    position BIGINT NOT NULL
);

-- Signing secrets, sealed or not, are never in here: only how many there are.
CREATE TABLE webhook_endpoints (
    id         TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    merchant   TEXT COLLATE "C" NOT NULL,
    livemode   BOOLEAN NOT NULL,
    url        TEXT NOT NULL,
    events     JSON NOT NULL,          -- an array
    secrets    BIGINT NOT NULL,
    disabled   TEXT,
    created_at BIGINT NOT NULL,
    deleted_at BIGINT,
    position   BIGINT NOT NULL
);
CREATE INDEX webhook_endpoints_by_merchant ON webhook_endpoints (merchant, livemode, created_at, id);

CREATE TABLE webhook_attempts (
    position        BIGINT NOT NULL,
    id              TEXT COLLATE "C" NOT NULL,
    event           TEXT COLLATE "C" NOT NULL,
    event_type      TEXT NOT NULL,
    endpoint        TEXT COLLATE "C" NOT NULL,
    merchant        TEXT COLLATE "C" NOT NULL,
    number          BIGINT NOT NULL,
    outcome         TEXT NOT NULL,
    status_code     BIGINT,
    error           TEXT,
    duration_ms     BIGINT NOT NULL,
    next_attempt_at BIGINT,
    occurred_at     BIGINT NOT NULL,
    PRIMARY KEY (id)
) PARTITION BY HASH (id);
CREATE INDEX webhook_attempts_by_endpoint ON webhook_attempts (endpoint, position);

CREATE TABLE dead_letters (
    position    BIGINT NOT NULL PRIMARY KEY,
    id          TEXT COLLATE "C" NOT NULL UNIQUE,
    task        TEXT NOT NULL,
    topic       TEXT NOT NULL,
    partition   BIGINT NOT NULL,
    "offset"    BIGINT NOT NULL,
    code        TEXT NOT NULL,
    reason      TEXT NOT NULL,
    record_key  BYTEA NOT NULL,
    record      BYTEA NOT NULL,
    occurred_at BIGINT NOT NULL
);

CREATE TABLE audit_log (
    position    BIGINT NOT NULL PRIMARY KEY,
    command     BIGINT,                -- the offset in registry.inbox that led to it
    subject     TEXT NOT NULL,
    subject_id  TEXT NOT NULL,
    merchant    TEXT COLLATE "C",
    record      TEXT NOT NULL,
    trace       TEXT,
    detail      JSON NOT NULL,
    occurred_at BIGINT NOT NULL
);
CREATE INDEX audit_log_by_merchant ON audit_log (merchant, position) WHERE merchant IS NOT NULL;

-- The partitions: as many as the log's topics have, `SHARDS` in the program.
DO $$
DECLARE
    parent TEXT;
BEGIN
    FOR shard IN 0..15 LOOP
        FOREACH parent IN ARRAY ARRAY['payment_events', 'ledger_transactions', 'ledger_entries'] LOOP
            EXECUTE format('CREATE TABLE %I PARTITION OF %I FOR VALUES FROM (%s) TO (%s)',
                parent || '_' || lpad(shard::text, 2, '0'), parent, shard::bigint << 48, (shard + 1)::bigint << 48);
        END LOOP;
        -- A row changes a few times after it was added; the room is for its next version beside it.
        FOREACH parent IN ARRAY ARRAY['payments', 'transfers', 'webhook_attempts'] LOOP
            EXECUTE format('CREATE TABLE %I PARTITION OF %I FOR VALUES WITH (MODULUS 16, REMAINDER %s) WITH (fillfactor = %s)',
                parent || '_' || lpad(shard::text, 2, '0'), parent, shard,
                CASE parent WHEN 'webhook_attempts' THEN 100 ELSE 80 END);
        END LOOP;
        -- All of a merchant's transactions are in one part, so what is unique in each part is unique.
        EXECUTE format('CREATE UNIQUE INDEX %I ON %I (merchant, livemode, sequence)',
            'ledger_transactions_' || lpad(shard::text, 2, '0') || '_by_sequence',
            'ledger_transactions_' || lpad(shard::text, 2, '0'));
    END LOOP;
END $$;
