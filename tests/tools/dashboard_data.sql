-- A week-end of two shops, known to the last unit: what the dashboards' queries are tried on. Anna sells by card and on a
-- chain; at Bert's a payment ends in each way there is. Statements end with a semicolon at the end of a line.

INSERT INTO assets (asset, version, scale, chain) VALUES ('usd', 1, 2, 0), ('usdc:31337', 2, 6, 31337);

INSERT INTO merchants (merchant, version, name, created_at) VALUES
    ('mer_anna', 1, 'Anna', '2030-02-01 00:00:00'), ('mer_bert', 2, 'Bert', '2030-02-01 00:00:00');

-- Thirty card payments of 10.00 of Anna's on Saturday, one a minute: 27 succeed after 4 seconds, 3 are declined.
INSERT INTO payments (payment, version, merchant, livemode, status, method, asset, scale, amount, amount_received,
    amount_confirmed, fee, failure, created_at)
SELECT concat('pay_card_', toString(number)), 2, 'mer_anna', true, if(number < 27, 'completed', 'failed'), 'card', 'usd', 2, 1000,
    if(number < 27, 1000, 0), if(number < 27, 1000, 0), if(number < 27, 5, 0), if(number < 27, '', 'card_declined'),
    toDateTime64('2030-03-01 10:00:00', 3, 'UTC') + toIntervalMinute(number)
FROM numbers(30);

INSERT INTO payment_events (log_partition, log_offset, recorded_at, event, event_type, payment, merchant, livemode, version, status,
    method, asset, scale, amount)
SELECT 0, number, toDateTime64('2030-03-01 10:00:04', 3, 'UTC') + toIntervalMinute(number), concat('evt_card_', toString(number)),
    if(number < 27, 'payment.completed', 'payment.failed'), concat('pay_card_', toString(number)), 'mer_anna', true, 2,
    if(number < 27, 'completed', 'failed'), 'card', 'usd', 2, 1000
FROM numbers(30);

-- Ten chain payments of 2.50 of Anna's on Sunday, paid after 40 seconds.
INSERT INTO payments (payment, version, merchant, livemode, status, method, chain, asset, scale, amount, amount_received,
    amount_confirmed, fee, policy_depth, created_at)
SELECT concat('pay_chain_', toString(number)), 3, 'mer_anna', true, 'completed', 'chain', 31337, 'usdc:31337', 6, 2500000, 2500000,
    2500000, 12500, 3, toDateTime64('2030-03-02 08:00:00', 3, 'UTC') + toIntervalMinute(number)
FROM numbers(10);

INSERT INTO payment_events (log_partition, log_offset, recorded_at, event, event_type, payment, merchant, livemode, version, status,
    method, chain, asset, scale, amount)
SELECT 1, number, toDateTime64('2030-03-02 08:00:40', 3, 'UTC') + toIntervalMinute(number), concat('evt_chain_', toString(number)),
    'payment.completed', concat('pay_chain_', toString(number)), 'mer_anna', true, 3, 'completed', 'chain', 31337, 'usdc:31337', 6,
    2500000
FROM numbers(10);

-- Bert's, on Sunday: one of each. The overpaid one is the only one whose money is kept; the last is still open.
INSERT INTO payments (payment, version, merchant, livemode, status, method, chain, asset, scale, amount, amount_received,
    amount_confirmed, policy_depth, created_at) VALUES
    ('pay_under', 3, 'mer_bert', true, 'underpaid', 'chain', 31337, 'usdc:31337', 6, 10000000, 4000000, 4000000, 3, '2030-03-02 09:00:00'),
    ('pay_over', 3, 'mer_bert', true, 'overpaid', 'chain', 31337, 'usdc:31337', 6, 20000000, 23250000, 23250000, 3, '2030-03-02 09:01:00'),
    ('pay_never', 2, 'mer_bert', true, 'expired', 'chain', 31337, 'usdc:31337', 6, 5000000, 0, 0, 3, '2030-03-02 09:02:00'),
    ('pay_late', 4, 'mer_bert', true, 'paid_late', 'chain', 31337, 'usdc:31337', 6, 6000000, 6000000, 6000000, 3, '2030-03-02 09:03:00'),
    ('pay_undone', 4, 'mer_bert', true, 'reversed', 'chain', 31337, 'usdc:31337', 6, 8000000, 0, 0, 3, '2030-03-02 09:04:00'),
    ('pay_gone', 2, 'mer_bert', true, 'canceled', 'chain', 31337, 'usdc:31337', 6, 7000000, 0, 0, 3, '2030-03-02 09:05:00'),
    ('pay_open', 1, 'mer_bert', true, 'pending', 'chain', 31337, 'usdc:31337', 6, 1000000, 0, 0, 3, '2030-03-02 09:06:00'),
    ('pay_test', 1, 'mer_bert', false, 'pending', 'chain', 31337, 'usdc:31337', 6, 1000000, 0, 0, 3, '2030-03-02 09:07:00');

INSERT INTO payment_events (log_partition, log_offset, recorded_at, event, event_type, payment, merchant, livemode, version, status,
    method, chain, asset, scale, amount, refund_amount) VALUES
    (2, 0, '2030-03-02 09:30:00', 'evt_under', 'payment.underpaid', 'pay_under', 'mer_bert', true, 3, 'underpaid', 'chain', 31337, 'usdc:31337', 6, 10000000, 0),
    (2, 1, '2030-03-02 09:02:40', 'evt_over', 'payment.overpaid', 'pay_over', 'mer_bert', true, 3, 'overpaid', 'chain', 31337, 'usdc:31337', 6, 20000000, 0),
    (2, 2, '2030-03-02 09:32:00', 'evt_never', 'payment.expired', 'pay_never', 'mer_bert', true, 2, 'expired', 'chain', 31337, 'usdc:31337', 6, 5000000, 0),
    (2, 3, '2030-03-02 09:35:00', 'evt_late', 'payment.paid_late', 'pay_late', 'mer_bert', true, 4, 'paid_late', 'chain', 31337, 'usdc:31337', 6, 6000000, 0),
    (2, 4, '2030-03-02 09:05:00', 'evt_paid', 'payment.completed', 'pay_undone', 'mer_bert', true, 3, 'completed', 'chain', 31337, 'usdc:31337', 6, 8000000, 0),
    (2, 5, '2030-03-02 09:06:00', 'evt_undone', 'payment.reversed', 'pay_undone', 'mer_bert', true, 4, 'reversed', 'chain', 31337, 'usdc:31337', 6, 8000000, 0),
    (2, 6, '2030-03-02 10:00:00', 'evt_back', 'payment.refunded', 'pay_over', 'mer_bert', true, 4, 'overpaid', 'chain', 31337, 'usdc:31337', 6, 20000000, 3250000),
    (2, 7, '2030-03-02 10:05:00', 'evt_stuck', 'payment.refund_failed', 'pay_card_0', 'mer_anna', true, 3, 'completed', 'card', 0, 'usd', 2, 1000, 500);

INSERT INTO stripe_facts (log_partition, log_offset, recorded_at, kind, merchant, payment, livemode, object, asset, amount) VALUES
    (0, 0, '2030-03-01 12:00:00', 'dispute_opened', 'mer_anna', 'pay_card_1', true, 'dp_1', 'usd', 1000),
    (0, 1, '2030-03-02 12:00:00', 'dispute_won', 'mer_anna', 'pay_card_1', true, 'dp_1', 'usd', 1000);

-- The books in four postings: Saturday's cards and Stripe's fee for them, Sunday's transfers and their application.
INSERT INTO ledger_entries (log_partition, log_offset, line, recorded_at, transaction, merchant, livemode, sequence, template, account,
    account_kind, asset, amount, balance, account_version) VALUES
    (0, 0, 0, '2030-03-01 11:00:00', 'txn_1', 'mer_anna', true, 1, 'payment.applied', 'platform/stripe', 'platform/stripe', 'usd', 27000, 27000, 1),
    (0, 0, 1, '2030-03-01 11:00:00', 'txn_1', 'mer_anna', true, 1, 'payment.applied', 'merchant/mer_anna/available', 'merchant/available', 'usd', -26865, -26865, 1),
    (0, 0, 2, '2030-03-01 11:00:00', 'txn_1', 'mer_anna', true, 1, 'payment.applied', 'platform/fees', 'platform/fees', 'usd', -135, -135, 1),
    (0, 1, 0, '2030-03-01 11:00:01', 'txn_2', 'mer_anna', true, 2, 'card.fee', 'merchant/mer_anna/available', 'merchant/available', 'usd', 810, -26055, 2),
    (0, 1, 1, '2030-03-01 11:00:01', 'txn_2', 'mer_anna', true, 2, 'card.fee', 'platform/stripe', 'platform/stripe', 'usd', -810, 26190, 2),
    (0, 2, 0, '2030-03-02 08:30:00', 'txn_3', 'mer_anna', true, 3, 'transfer.received', 'platform/deposits', 'platform/deposits', 'usdc:31337', 25000000, 25000000, 1),
    (0, 2, 1, '2030-03-02 08:30:00', 'txn_3', 'mer_anna', true, 3, 'transfer.received', 'merchant/mer_anna/clearing', 'merchant/clearing', 'usdc:31337', -25000000, -25000000, 1),
    (0, 3, 0, '2030-03-02 08:30:01', 'txn_4', 'mer_anna', true, 4, 'payment.applied', 'merchant/mer_anna/clearing', 'merchant/clearing', 'usdc:31337', 25000000, 0, 2),
    (0, 3, 1, '2030-03-02 08:30:01', 'txn_4', 'mer_anna', true, 4, 'payment.applied', 'merchant/mer_anna/available', 'merchant/available', 'usdc:31337', -24875000, -24875000, 1),
    (0, 3, 2, '2030-03-02 08:30:01', 'txn_4', 'mer_anna', true, 4, 'payment.applied', 'platform/fees', 'platform/fees', 'usdc:31337', -125000, -125000, 1);

-- Ten transfers, seen 10 seconds after their payment and confirmed 30 seconds later under 3 blocks; and one taken back.
INSERT INTO chain_transfers (log_partition, log_offset, recorded_at, status, chain, merchant, payment, block_hash, block_number, tx_hash,
    log_index, inclusion, asset, amount, confirmations)
SELECT 0, number * 2 + step, toDateTime64('2030-03-02 08:00:10', 3, 'UTC') + toIntervalMinute(number) + toIntervalSecond(step * 30),
    if(step = 0, 'seen', 'confirmed'), 31337, 'mer_anna', concat('pay_chain_', toString(number)), toString(100 + number), 100 + number,
    toString(number), 0, 1, 'usdc:31337', 2500000, if(step = 0, 1, 3)
FROM numbers(10)
ARRAY JOIN [0, 1] AS step;

INSERT INTO chain_transfers (log_partition, log_offset, recorded_at, status, chain, merchant, payment, block_hash, block_number, tx_hash,
    log_index, inclusion, asset, amount, confirmations) VALUES
    (0, 20, '2030-03-02 09:04:20', 'seen', 31337, 'mer_bert', 'pay_undone', 'gone', 120, 'undone', 0, 1, 'usdc:31337', 8000000, 1),
    (0, 21, '2030-03-02 09:05:00', 'confirmed', 31337, 'mer_bert', 'pay_undone', 'gone', 120, 'undone', 0, 1, 'usdc:31337', 8000000, 3),
    (0, 22, '2030-03-02 09:06:00', 'orphaned', 31337, 'mer_bert', 'pay_undone', 'gone', 120, 'undone', 0, 1, 'usdc:31337', 8000000, 0);

INSERT INTO chain_heads (log_partition, log_offset, recorded_at, chain, head_number, head_time, finalized_number, reorg_depth, halted) VALUES
    (0, 0, '2030-03-02 09:05:30', 31337, 123, '2030-03-02 09:05:29', 60, 0, ''),
    (0, 1, '2030-03-02 09:06:00', 31337, 124, '2030-03-02 09:05:59', 64, 4, '');

-- Anna's endpoint takes all, one at the second attempt; Bert's took one and has one to come.
INSERT INTO webhook_attempts (log_partition, log_offset, recorded_at, event, event_type, endpoint, merchant, number, outcome, status_code,
    duration_ms)
SELECT 0, number, toDateTime64('2030-03-02 08:00:42', 3, 'UTC') + toIntervalMinute(number), concat('evt_chain_', toString(number)),
    'payment.completed', 'ep_anna', 'mer_anna', 1, if(number < 9, 'delivered', 'failed'), if(number < 9, 200, 503), 120
FROM numbers(10);

INSERT INTO webhook_attempts (log_partition, log_offset, recorded_at, event, event_type, endpoint, merchant, number, outcome, status_code,
    duration_ms) VALUES
    (0, 10, '2030-03-02 08:10:00', 'evt_chain_9', 'payment.completed', 'ep_anna', 'mer_anna', 2, 'delivered', 200, 80),
    (1, 0, '2030-03-02 09:02:45', 'evt_over', 'payment.overpaid', 'ep_bert', 'mer_bert', 1, 'delivered', 200, 300),
    (1, 1, '2030-03-02 09:30:05', 'evt_under', 'payment.underpaid', 'ep_bert', 'mer_bert', 1, 'failed', 500, 300);

INSERT INTO api_requests (log_partition, log_offset, recorded_at, request, command, merchant, livemode, payment) VALUES
    (0, 0, '2030-03-02 09:00:00', 'req_1', 'create_payment', 'mer_bert', true, 'pay_under'),
    (0, 1, '2030-03-02 09:05:10', 'req_2', 'cancel_payment', 'mer_bert', true, 'pay_gone'),
    (0, 2, '2030-03-02 09:33:00', 'req_3', 'cancel_payment', 'mer_bert', true, 'pay_never');

INSERT INTO api_replies (log_partition, log_offset, recorded_at, request, outcome, status, code) VALUES
    (0, 0, '2030-03-02 09:00:00', 'req_1', 'accepted', 0, ''),
    (0, 1, '2030-03-02 09:05:10', 'req_2', 'accepted', 0, ''),
    (0, 2, '2030-03-02 09:33:00', 'req_3', 'rejected', 409, 'payment_not_cancelable');

INSERT INTO dead_letters (log_partition, log_offset, recorded_at, letter, task, topic, source_partition, source_offset, code, reason) VALUES
    (0, 0, '2030-03-02 09:40:00', 'dl_1', 'book/0', 'book.inbox', 0, 77, 'unknown_payment', 'no such payment');

INSERT INTO sink_ranges (topic, log_partition, batch, done, version, first_offset, next_offset, planned_at) VALUES
    ('payments.events', 0, 7, 1, 15, 20, 30, '2030-03-02 10:05:01'),
    ('payments.events', 1, 7, 1, 15, 0, 10, '2030-03-02 10:05:01'),
    ('ledger.transactions', 0, 6, 1, 13, 0, 4, '2030-03-02 08:30:02');
