-- How long does a payment take from its creation until it is paid, by day, merchant, method, chain and asset?
SELECT
    toDate(created_at) AS day,
    merchant,
    livemode,
    method,
    chain,
    asset,
    count() AS payments_paid,
    avg(seconds_to_paid) AS seconds_average,
    quantileExact(0.5)(assumeNotNull(seconds_to_paid)) AS seconds_p50,
    quantileExact(0.95)(assumeNotNull(seconds_to_paid)) AS seconds_p95,
    quantileExact(0.99)(assumeNotNull(seconds_to_paid)) AS seconds_p99,
    max(seconds_to_paid) AS seconds_longest
FROM payment_facts
WHERE seconds_to_paid IS NOT NULL
GROUP BY day, merchant, livemode, method, chain, asset
