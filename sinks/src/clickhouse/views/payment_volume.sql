-- How much is paid, and how often does it succeed, by day of creation, merchant, method, chain and asset?
-- `volume` is what was confirmed of payments that succeeded, in smallest units; `value` is the same in the asset.
SELECT
    toDate(created_at) AS day,
    merchant,
    livemode,
    method,
    chain,
    asset,
    count() AS payments,
    countIf(ended) AS payments_ended,
    countIf(succeeded) AS payments_succeeded,
    if(payments_ended = 0, NULL, payments_succeeded / payments_ended) AS success_rate,
    sumIf(toInt256(amount_confirmed), succeeded) AS volume,
    toDecimal256(volume, 0) * toDecimal256(concat('1e-', toString(any(scale))), 30) AS value
FROM payment_facts
GROUP BY day, merchant, livemode, method, chain, asset
