-- Do webhooks arrive, at which attempt, and how fast? By day of the first attempt, merchant, endpoint and type.
-- `answer_ms` is how long the endpoint took to answer; `delay` runs from the event to its acknowledged delivery.
SELECT
    toDate(first_attempt_at) AS day,
    m.merchant AS merchant,
    endpoint,
    m.event_type AS event_type,
    count() AS messages,
    sum(attempts) AS attempts_made,
    countIf(delivered) AS messages_delivered,
    countIf(exhausted AND NOT delivered) AS messages_exhausted,
    countIf(delivered AND attempts = 1) AS delivered_at_once,
    messages_delivered / messages AS delivered_share,
    quantileExact(0.5)(slowest_ms) AS answer_ms_p50,
    quantileExact(0.95)(slowest_ms) AS answer_ms_p95,
    quantileExactIf(0.5)(dateDiff('millisecond', e.recorded_at, delivered_at) / 1000, delivered AND e.event != '')
        AS delay_seconds_p50,
    quantileExactIf(0.95)(dateDiff('millisecond', e.recorded_at, delivered_at) / 1000, delivered AND e.event != '')
        AS delay_seconds_p95
FROM (
    SELECT
        event,
        endpoint,
        any(merchant) AS merchant,
        any(webhook_attempts.event_type) AS event_type,
        count() AS attempts,
        countIf(outcome = 'delivered') > 0 AS delivered,
        countIf(outcome = 'exhausted') > 0 AS exhausted,
        min(recorded_at) AS first_attempt_at,
        minIf(recorded_at, outcome = 'delivered') AS delivered_at,
        max(duration_ms) AS slowest_ms
    FROM webhook_attempts FINAL
    GROUP BY event, endpoint
) AS m
LEFT JOIN (SELECT event, recorded_at FROM payment_events FINAL) AS e ON e.event = m.event
GROUP BY day, merchant, endpoint, event_type
