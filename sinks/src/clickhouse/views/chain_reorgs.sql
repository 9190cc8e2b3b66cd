-- How often did each chain reorganise, how deep, and what did that take back? By day.
SELECT
    day,
    chain,
    sum(reorganisations) AS reorgs,
    max(depth) AS deepest,
    sum(blocks) AS blocks_taken_back,
    sum(orphaned) AS transfers_orphaned,
    sum(reversed) AS payments_reversed
FROM (
    SELECT toDate(recorded_at) AS day, chain, 1 AS reorganisations, reorg_depth AS depth, reorg_depth AS blocks,
        0 AS orphaned, 0 AS reversed
    FROM chain_heads FINAL WHERE reorg_depth > 0
    UNION ALL
    SELECT toDate(recorded_at), chain, 0, 0, 0, 1, 0 FROM chain_transfers FINAL WHERE status = 'orphaned'
    UNION ALL
    SELECT toDate(recorded_at), chain, 0, 0, 0, 0, 1 FROM payment_events FINAL WHERE event_type = 'payment.reversed'
)
GROUP BY day, chain
