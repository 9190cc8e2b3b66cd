-- Where is each chain's head, when was it there, what is final, and has the chain stopped?
SELECT
    chain,
    argMax(head_number, (log_partition, log_offset)) AS head,
    argMax(head_time, (log_partition, log_offset)) AS head_at,
    max(recorded_at) AS last_move_at,
    max(finalized_number) AS finalized,
    argMax(halted, (log_partition, log_offset)) AS halted_because
FROM chain_heads FINAL
GROUP BY chain
