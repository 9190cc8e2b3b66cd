-- What did each account hold at the end of each day on which it moved, and by how much had it moved? A debit is positive.
SELECT
    day,
    merchant,
    livemode,
    account,
    account_kind,
    b.asset AS asset,
    closing_balance,
    movement,
    lines,
    if(u.asset = '', NULL, toDecimal256(closing_balance, 0) * u.unit) AS closing_value
FROM (
    SELECT
        toDate(recorded_at) AS day,
        any(merchant) AS merchant,
        livemode,
        account,
        any(account_kind) AS account_kind,
        asset,
        argMax(balance, account_version) AS closing_balance,
        sum(toInt256(amount)) AS movement,
        count() AS lines
    FROM ledger_entries FINAL
    GROUP BY day, livemode, account, asset
) AS b
LEFT JOIN asset_units AS u ON u.asset = b.asset
