-- How far has ClickHouse got in each partition of the log, and when did it last write?
SELECT
    topic,
    log_partition,
    if(done = 1, next_offset, first_offset) AS next,
    done,
    batch,
    planned_at AS last_planned_at
FROM sink_ranges FINAL
