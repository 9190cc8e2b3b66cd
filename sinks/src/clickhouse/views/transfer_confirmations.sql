-- When was each transfer seen and confirmed, under how many blocks, and what had its payment's policy asked for?
-- A transfer that a reorganisation took back and another block brought again is there twice: an inclusion counts.
SELECT
    t.chain AS chain,
    t.asset AS asset,
    t.merchant AS merchant,
    p.livemode AS livemode,
    t.payment AS payment,
    concat('0x', lower(hex(t.tx_hash))) AS tx_hash,
    t.log_index AS log_index,
    t.block_number AS block_number,
    t.inclusion AS inclusion,
    p.policy_depth AS policy_depth,
    t.seen_at AS seen_at,
    t.confirmed_at AS confirmed_at,
    t.confirmations AS confirmations,
    t.orphaned AS orphaned,
    t.finalized AS finalized,
    if(t.confirmed, dateDiff('millisecond', t.seen_at, t.confirmed_at) / 1000, NULL) AS seconds_to_confirmed,
    if(t.confirmed, policy_depth = 0 OR t.confirmations >= policy_depth, NULL) AS policy_held
FROM (
    SELECT
        chain, asset, merchant, payment, block_hash, tx_hash, log_index, inclusion,
        any(block_number) AS block_number,
        countIf(status = 'confirmed') > 0 AS confirmed,
        minIf(recorded_at, status = 'seen') AS seen_at,
        minIf(recorded_at, status = 'confirmed') AS confirmed_at,
        minIf(chain_transfers.confirmations, status = 'confirmed') AS confirmations,
        countIf(status = 'orphaned') > 0 AS orphaned,
        countIf(status = 'finalized') > 0 AS finalized
    FROM chain_transfers FINAL
    GROUP BY chain, asset, merchant, payment, block_hash, tx_hash, log_index, inclusion
) AS t
LEFT JOIN (SELECT payment, livemode, policy_depth FROM payments FINAL) AS p ON p.payment = t.payment
