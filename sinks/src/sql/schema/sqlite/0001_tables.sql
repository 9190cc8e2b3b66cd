-- The tables of the SQL sink.
--
-- Amounts are decimal integers of the asset's smallest unit, as text: SQLite's own numbers end at 63 bits.
-- Times are milliseconds since 1970. Ids are their text form. `livemode` is 0 or 1.
-- `position` is where the record stands in its topic: partition * 2^48 + offset. It is unique, grows within a partition,
-- and comes out the same when the database is rebuilt from the log.
--
-- What one record leads to is written in one transaction by one writer, and `verify` compares it with the log, so no foreign
-- key is checked again for each row. An index is there for a read that walks it, and for nothing else.

CREATE TABLE sink_offsets (
    topic        TEXT    NOT NULL,
    partition    INTEGER NOT NULL,
    next_offset  INTEGER NOT NULL,
    cause_offset INTEGER,             -- the highest inbox offset whose consequences are in here
    PRIMARY KEY (topic, partition)
) STRICT, WITHOUT ROWID;

CREATE TABLE sink_sources (
    topic     TEXT    NOT NULL,
    partition INTEGER NOT NULL,
    task      TEXT    NOT NULL,
    seq       INTEGER NOT NULL,
    chain     TEXT    NOT NULL,
    PRIMARY KEY (topic, partition, task)
) STRICT, WITHOUT ROWID;

CREATE TABLE payments (
    id               TEXT    NOT NULL PRIMARY KEY,
    merchant         TEXT    NOT NULL,
    livemode         INTEGER NOT NULL CHECK (livemode IN (0, 1)),
    version          INTEGER NOT NULL,
    status           TEXT    NOT NULL,
    method           TEXT    NOT NULL,
    asset            TEXT    NOT NULL,
    scale            INTEGER NOT NULL,
    amount           TEXT    NOT NULL,
    amount_received  TEXT    NOT NULL,
    amount_confirmed TEXT    NOT NULL,
    amount_refunded  TEXT    NOT NULL,
    fee              TEXT    NOT NULL,
    reference_id     TEXT,
    created_at       INTEGER NOT NULL,
    expires_at       INTEGER NOT NULL,
    completed_at     INTEGER,
    snapshot         TEXT    NOT NULL  -- the whole payment as JSON
) STRICT;
CREATE INDEX payments_by_creation ON payments (merchant, livemode, created_at, id);
CREATE INDEX payments_by_reference ON payments (merchant, livemode, reference_id, created_at, id)
    WHERE reference_id IS NOT NULL;
-- Most payments end completed or expired; the other statuses are what people look for, and this keeps them few.
CREATE INDEX payments_by_status ON payments (merchant, livemode, status, created_at, id)
    WHERE status NOT IN ('completed', 'expired');

-- An event is found by its id through its payment, whose id begins the same.
-- What an event changed is in `moment`; the rest of the payment never changes and is in `payments.snapshot`.
CREATE TABLE payment_events (
    position    INTEGER NOT NULL PRIMARY KEY,
    id          TEXT    NOT NULL,
    event_type  TEXT    NOT NULL,
    payment     TEXT    NOT NULL,
    merchant    TEXT    NOT NULL,
    livemode    INTEGER NOT NULL CHECK (livemode IN (0, 1)),
    refund      TEXT,
    occurred_at INTEGER NOT NULL,
    moment      TEXT    NOT NULL
) STRICT;
CREATE INDEX payment_events_by_merchant ON payment_events (merchant, livemode, position);
CREATE INDEX payment_events_by_payment ON payment_events (payment, position);

CREATE TABLE refunds (
    id          TEXT    NOT NULL PRIMARY KEY,
    payment     TEXT    NOT NULL,
    merchant    TEXT    NOT NULL,
    livemode    INTEGER NOT NULL CHECK (livemode IN (0, 1)),
    asset       TEXT    NOT NULL,
    scale       INTEGER NOT NULL,
    amount      TEXT    NOT NULL,
    destination TEXT,
    reference   TEXT,
    reason      TEXT,
    created_at  INTEGER NOT NULL,
    position    INTEGER NOT NULL
) STRICT;
CREATE INDEX refunds_by_payment ON refunds (payment, created_at, id);

CREATE TABLE ledger_transactions (
    position         INTEGER NOT NULL PRIMARY KEY,
    id               TEXT    NOT NULL,
    merchant         TEXT    NOT NULL,
    livemode         INTEGER NOT NULL CHECK (livemode IN (0, 1)),
    sequence         INTEGER NOT NULL,
    template         TEXT    NOT NULL,
    template_version INTEGER NOT NULL,
    payment          TEXT,
    refund           TEXT,
    event            TEXT    NOT NULL,
    reverses         TEXT,
    occurred_at      INTEGER NOT NULL,
    previous_hash    BLOB    NOT NULL,
    hash             BLOB    NOT NULL,
    UNIQUE (merchant, livemode, sequence)
) STRICT;
CREATE INDEX ledger_transactions_by_payment ON ledger_transactions (payment, sequence) WHERE payment IS NOT NULL;

CREATE TABLE ledger_entries (
    position INTEGER NOT NULL,
    line     INTEGER NOT NULL,
    account  TEXT    NOT NULL,
    asset    TEXT    NOT NULL,
    amount   TEXT    NOT NULL,
    balance  TEXT    NOT NULL,
    version  INTEGER NOT NULL,
    PRIMARY KEY (position, line)
) STRICT, WITHOUT ROWID;

CREATE TABLE balances (
    account  TEXT    NOT NULL,
    asset    TEXT    NOT NULL,
    livemode INTEGER NOT NULL CHECK (livemode IN (0, 1)),
    merchant TEXT,                     -- absent for the platform's accounts
    name     TEXT    NOT NULL,
    balance  TEXT    NOT NULL,
    version  INTEGER NOT NULL,
    PRIMARY KEY (account, asset)
) STRICT, WITHOUT ROWID;
CREATE INDEX balances_by_merchant ON balances (merchant, livemode) WHERE merchant IS NOT NULL;

CREATE TABLE chain_heads (
    chain      INTEGER NOT NULL PRIMARY KEY,
    number     INTEGER NOT NULL,
    hash       TEXT    NOT NULL,
    time       INTEGER NOT NULL,
    finalized  INTEGER,
    halted     TEXT,
    position   INTEGER NOT NULL
) STRICT;

-- Hashes and addresses are their bytes. A payment's transfers are side by side.
CREATE TABLE transfers (
    payment      TEXT    NOT NULL,
    block_hash   BLOB    NOT NULL,
    log_index    INTEGER NOT NULL,
    inclusion    INTEGER NOT NULL,     -- how many times the block had become canonical
    chain        INTEGER NOT NULL,
    block_number INTEGER NOT NULL,
    merchant     TEXT    NOT NULL,
    tx_hash      BLOB    NOT NULL,
    status       TEXT    NOT NULL,
    asset        TEXT    NOT NULL,
    token        BLOB    NOT NULL,
    sender       BLOB    NOT NULL,
    receiver     BLOB    NOT NULL,
    amount       TEXT    NOT NULL,
    block_time   INTEGER NOT NULL,
    position     INTEGER NOT NULL,
    PRIMARY KEY (payment, block_hash, log_index, inclusion)
) STRICT, WITHOUT ROWID;

CREATE TABLE merchants (
    id         TEXT    NOT NULL PRIMARY KEY,
    name       TEXT    NOT NULL,
    settlement TEXT    NOT NULL,
    created_at INTEGER NOT NULL,
    position   INTEGER NOT NULL
) STRICT;

CREATE TABLE assets (
    id       TEXT    NOT NULL PRIMARY KEY,
    scale    INTEGER NOT NULL,
    contract TEXT,
    position INTEGER NOT NULL
) STRICT;

-- Signing secrets, sealed or not, are never in here: only how many there are.
CREATE TABLE webhook_endpoints (
    id         TEXT    NOT NULL PRIMARY KEY,
    merchant   TEXT    NOT NULL,
    livemode   INTEGER NOT NULL CHECK (livemode IN (0, 1)),
    url        TEXT    NOT NULL,
    events     TEXT    NOT NULL,       -- a JSON array
    secrets    INTEGER NOT NULL,
    disabled   TEXT,
    created_at INTEGER NOT NULL,
    deleted_at INTEGER,
    position   INTEGER NOT NULL
) STRICT;
CREATE INDEX webhook_endpoints_by_merchant ON webhook_endpoints (merchant, livemode, created_at, id);

CREATE TABLE webhook_attempts (
    position        INTEGER NOT NULL PRIMARY KEY,
    id              TEXT    NOT NULL UNIQUE,
    event           TEXT    NOT NULL,
    event_type      TEXT    NOT NULL,
    endpoint        TEXT    NOT NULL,
    merchant        TEXT    NOT NULL,
    number          INTEGER NOT NULL,
    outcome         TEXT    NOT NULL,
    status_code     INTEGER,
    error           TEXT,
    duration_ms     INTEGER NOT NULL,
    next_attempt_at INTEGER,
    occurred_at     INTEGER NOT NULL
) STRICT;
CREATE INDEX webhook_attempts_by_endpoint ON webhook_attempts (endpoint, position);

CREATE TABLE dead_letters (
    position    INTEGER NOT NULL PRIMARY KEY,
    id          TEXT    NOT NULL UNIQUE,
    task        TEXT    NOT NULL,
    topic       TEXT    NOT NULL,
    partition   INTEGER NOT NULL,
    "offset"    INTEGER NOT NULL,
    code        TEXT    NOT NULL,
    reason      TEXT    NOT NULL,
    record_key  BLOB    NOT NULL,
    record      BLOB    NOT NULL,
    occurred_at INTEGER NOT NULL
) STRICT;

CREATE TABLE audit_log (
    position    INTEGER NOT NULL PRIMARY KEY,
    command     INTEGER,               -- the offset in registry.inbox that led to it
    subject     TEXT    NOT NULL,
    subject_id  TEXT    NOT NULL,
    merchant    TEXT,
    record      TEXT    NOT NULL,
    trace       TEXT,
    detail      TEXT    NOT NULL,
    occurred_at INTEGER NOT NULL
) STRICT;
CREATE INDEX audit_log_by_merchant ON audit_log (merchant, position) WHERE merchant IS NOT NULL;
