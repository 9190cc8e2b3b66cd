-- What is known of each payment: what it is, what it became, and when. The other views of payments count its rows.
-- `succeeded`: its money is credited and was not taken back. `ended`: nothing more is expected to happen by itself.
SELECT
    p.payment AS payment,
    p.merchant AS merchant,
    p.livemode AS livemode,
    p.method AS method,
    p.chain AS chain,
    p.asset AS asset,
    p.scale AS scale,
    p.status AS status,
    p.amount AS amount,
    p.amount_received AS amount_received,
    p.amount_confirmed AS amount_confirmed,
    p.amount_refunded AS amount_refunded,
    p.fee AS fee,
    p.policy_depth AS policy_depth,
    p.failure AS failure,
    p.reference_id AS reference_id,
    p.created_at AS created_at,
    p.status IN ('completed', 'overpaid', 'disputed') AS succeeded,
    p.status NOT IN ('pending', 'confirming') AS ended,
    e.underpaid AS was_underpaid,
    e.overpaid AS was_overpaid,
    e.late AS was_late,
    e.reversals AS reversals,
    if(e.paid > 0, e.first_paid_at, NULL) AS first_paid_at,
    if(e.paid > 0, dateDiff('millisecond', p.created_at, e.first_paid_at) / 1000, NULL) AS seconds_to_paid
FROM payments AS p FINAL
LEFT JOIN (
    SELECT
        payment,
        countIf(event_type IN ('payment.completed', 'payment.overpaid')) AS paid,
        minIf(recorded_at, event_type IN ('payment.completed', 'payment.overpaid')) AS first_paid_at,
        countIf(event_type = 'payment.underpaid') > 0 AS underpaid,
        countIf(event_type = 'payment.overpaid') > 0 AS overpaid,
        countIf(event_type = 'payment.paid_late') > 0 AS late,
        countIf(event_type = 'payment.reversed') AS reversals
    FROM payment_events FINAL
    GROUP BY payment
) AS e ON e.payment = p.payment
