-- Which share of the payments that ended were paid too little, too much or too late, or never, by day of creation,
-- merchant, method and asset? What the merchant accepted afterwards still counts as what it was.
SELECT
    toDate(created_at) AS day,
    merchant,
    livemode,
    method,
    asset,
    count() AS payments_ended,
    countIf(was_underpaid) AS underpaid,
    countIf(was_overpaid) AS overpaid,
    countIf(was_late) AS late,
    countIf(status = 'expired') AS expired,
    countIf(status = 'canceled') AS canceled,
    countIf(status = 'failed') AS failed,
    underpaid / payments_ended AS underpaid_share,
    overpaid / payments_ended AS overpaid_share,
    late / payments_ended AS late_share,
    expired / payments_ended AS expired_share
FROM payment_facts
WHERE ended
GROUP BY day, merchant, livemode, method, asset
