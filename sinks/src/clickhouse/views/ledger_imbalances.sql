-- Which transactions do not balance? None, ever.
SELECT
    transaction,
    any(merchant) AS merchant,
    any(livemode) AS livemode,
    any(template) AS template,
    asset,
    sum(toInt256(amount)) AS difference
FROM ledger_entries FINAL
GROUP BY transaction, asset
HAVING difference != 0
