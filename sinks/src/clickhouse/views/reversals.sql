-- Which completed payments did a reorganisation take back, and did the money come again?
SELECT
    payment,
    any(merchant) AS merchant,
    any(livemode) AS livemode,
    any(chain) AS chain,
    any(asset) AS asset,
    minIf(recorded_at, event_type = 'payment.reversed') AS first_reversed_at,
    countIf(event_type = 'payment.reversed') AS times_reversed,
    argMax(status, version) AS status_now,
    status_now IN ('completed', 'overpaid', 'disputed') AS came_again
FROM payment_events FINAL
GROUP BY payment
HAVING times_reversed > 0
