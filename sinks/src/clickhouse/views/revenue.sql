-- What does Streambook earn and what does Stripe take, by day, merchant and asset? From the books: what is credited to
-- `platform/fees`, and what the fee templates credit to a Stripe balance. Reversals count against it.
SELECT
    day,
    merchant,
    livemode,
    l.asset AS asset,
    platform_fees,
    stripe_fees,
    if(u.asset = '', NULL, toDecimal256(platform_fees, 0) * u.unit) AS platform_fees_value,
    if(u.asset = '', NULL, toDecimal256(stripe_fees, 0) * u.unit) AS stripe_fees_value
FROM (
    SELECT
        toDate(recorded_at) AS day,
        merchant,
        livemode,
        asset,
        -sumIf(toInt256(amount), account_kind = 'platform/fees') AS platform_fees,
        -sumIf(toInt256(amount), account_kind IN ('platform/stripe', 'merchant/stripe')
            AND template IN ('card.fee', 'dispute.fee', 'dispute.fee_returned')) AS stripe_fees
    FROM ledger_entries FINAL
    GROUP BY day, merchant, livemode, asset
) AS l
LEFT JOIN asset_units AS u ON u.asset = l.asset
WHERE platform_fees != 0 OR stripe_fees != 0
