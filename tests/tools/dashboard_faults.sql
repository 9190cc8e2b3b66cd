-- What must never be, added to the data of dashboard_data.sql: every alarm on ClickHouse has to ring.

-- A transaction whose lines differ by 0.01, and an account whose second line is missing.
INSERT INTO ledger_entries (log_partition, log_offset, line, recorded_at, transaction, merchant, livemode, sequence, template, account,
    account_kind, asset, amount, balance, account_version) VALUES
    (1, 0, 0, '2030-03-02 11:00:00', 'txn_bad', 'mer_bert', true, 1, 'adjustment', 'platform/adjustments', 'platform/adjustments', 'usd', 101, 101, 1),
    (1, 0, 1, '2030-03-02 11:00:00', 'txn_bad', 'mer_bert', true, 1, 'adjustment', 'merchant/mer_bert/available', 'merchant/available', 'usd', -100, -300, 3);

-- Thirty cards of Bert's of which ten are declined, and the others wait for 15 minutes.
INSERT INTO payments (payment, version, merchant, livemode, status, method, asset, scale, amount, amount_confirmed, failure, created_at)
SELECT concat('pay_slow_', toString(number)), 2, 'mer_bert', true, if(number < 20, 'completed', 'failed'), 'card', 'usd', 2, 1000,
    if(number < 20, 1000, 0), if(number < 20, '', 'card_declined'), toDateTime64('2030-03-02 11:15:00', 3, 'UTC') + toIntervalSecond(number)
FROM numbers(30);

INSERT INTO payment_events (log_partition, log_offset, recorded_at, event, event_type, payment, merchant, livemode, version, status,
    method, asset, scale, amount)
SELECT 3, number, toDateTime64('2030-03-02 11:30:00', 3, 'UTC') + toIntervalSecond(number), concat('evt_slow_', toString(number)),
    'payment.completed', concat('pay_slow_', toString(number)), 'mer_bert', true, 2, 'completed', 'card', 'usd', 2, 1000
FROM numbers(20);

-- A chain that has stopped, a transfer that counted under one block, a message that was given up.
INSERT INTO chain_heads (log_partition, log_offset, recorded_at, chain, head_number, head_time, finalized_number, reorg_depth, halted)
    VALUES (0, 2, '2030-03-02 11:40:00', 31337, 124, '2030-03-02 09:05:59', 64, 0, 'a fork below finality');

INSERT INTO chain_transfers (log_partition, log_offset, recorded_at, status, chain, merchant, payment, block_hash, block_number, tx_hash,
    log_index, inclusion, asset, amount, confirmations) VALUES
    (0, 30, '2030-03-02 11:20:00', 'seen', 31337, 'mer_bert', 'pay_open', 'new', 124, 'early', 0, 1, 'usdc:31337', 1000000, 1),
    (0, 31, '2030-03-02 11:20:01', 'confirmed', 31337, 'mer_bert', 'pay_open', 'new', 124, 'early', 0, 1, 'usdc:31337', 1000000, 1);

INSERT INTO webhook_attempts (log_partition, log_offset, recorded_at, event, event_type, endpoint, merchant, number, outcome, status_code,
    duration_ms) VALUES (1, 2, '2030-03-02 11:30:05', 'evt_under', 'payment.underpaid', 'ep_bert', 'mer_bert', 2, 'exhausted', 500, 300);
