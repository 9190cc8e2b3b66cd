-- How much goes back, and how much is disputed and how does that end? By day, merchant, method and asset.
SELECT
    day,
    merchant,
    livemode,
    method,
    r.asset AS asset,
    sum(refund) AS refunds,
    sum(refund_units) AS refunded,
    sum(refund_failed) AS refunds_failed,
    sum(opened) AS disputes_opened,
    sum(disputed_units) AS disputed,
    sum(won) AS disputes_won,
    sum(lost) AS disputes_lost,
    if(any(u.asset) = '', NULL, toDecimal256(refunded, 0) * any(u.unit)) AS refunded_value,
    if(any(u.asset) = '', NULL, toDecimal256(disputed, 0) * any(u.unit)) AS disputed_value
FROM (
    SELECT toDate(recorded_at) AS day, merchant, livemode, method, asset,
        toUInt64(event_type = 'payment.refunded') AS refund,
        if(event_type = 'payment.refunded', toInt256(refund_amount), toInt256(0)) AS refund_units,
        toUInt64(event_type = 'payment.refund_failed') AS refund_failed,
        toUInt64(0) AS opened, toInt256(0) AS disputed_units, toUInt64(0) AS won, toUInt64(0) AS lost
    FROM payment_events FINAL WHERE event_type IN ('payment.refunded', 'payment.refund_failed')
    UNION ALL
    SELECT toDate(min(recorded_at)), any(merchant), any(livemode), 'card', any(asset), 0, 0, 0,
        toUInt64(kind = 'dispute_opened'), if(kind = 'dispute_opened', toInt256(any(amount)), toInt256(0)),
        toUInt64(kind = 'dispute_won'), toUInt64(kind = 'dispute_lost')
    FROM stripe_facts FINAL WHERE kind IN ('dispute_opened', 'dispute_won', 'dispute_lost')
    GROUP BY kind, object
) AS r
LEFT JOIN asset_units AS u ON u.asset = r.asset
GROUP BY day, merchant, livemode, method, asset
