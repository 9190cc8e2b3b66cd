-- How long does a confirmation take, and was every one under as many blocks as the payment's policy asked for? By day,
-- chain and policy (0: the chain's finality).
SELECT
    toDate(seen_at) AS day,
    chain,
    asset,
    policy_depth,
    count() AS confirmed,
    min(confirmations) AS confirmations_least,
    quantileExact(0.5)(assumeNotNull(seconds_to_confirmed)) AS seconds_p50,
    quantileExact(0.95)(assumeNotNull(seconds_to_confirmed)) AS seconds_p95,
    max(seconds_to_confirmed) AS seconds_longest,
    countIf(policy_held = 0) AS below_policy
FROM transfer_confirmations
WHERE seconds_to_confirmed IS NOT NULL
GROUP BY day, chain, asset, policy_depth
