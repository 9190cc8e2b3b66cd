-- What could not be processed, and why? By day, task and code.
SELECT
    toDate(recorded_at) AS day,
    task,
    code,
    count() AS letters,
    any(reason) AS an_example
FROM dead_letters FINAL
GROUP BY day, task, code
