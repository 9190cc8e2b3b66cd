-- What does each account hold now, and do its lines add up to that? A debit is positive.
-- `lines_missing` and `difference` are 0 unless rows are missing here.
SELECT
    b.account AS account,
    b.account_kind AS account_kind,
    b.livemode AS livemode,
    b.asset AS asset,
    b.balance_now AS balance,
    if(u.asset = '', NULL, toDecimal256(balance, 0) * u.unit) AS value,
    b.lines AS lines,
    toInt64(b.last_version) - toInt64(b.lines) AS lines_missing,
    b.total - toInt256(b.balance_now) AS difference
FROM (
    SELECT
        account,
        any(account_kind) AS account_kind,
        livemode,
        asset,
        argMax(ledger_entries.balance, account_version) AS balance_now,
        sum(toInt256(amount)) AS total,
        count() AS lines,
        max(account_version) AS last_version
    FROM ledger_entries FINAL
    GROUP BY livemode, account, asset
) AS b
LEFT JOIN asset_units AS u ON u.asset = b.asset
