-- What one smallest unit of each asset is: `toDecimal256(amount, 0) * unit` is an amount as people write it, exactly.
SELECT
    asset,
    scale,
    chain,
    contract,
    toDecimal256(concat('1e-', toString(scale)), 30) AS unit
FROM assets FINAL
