-- What do merchants ask for, and what are they answered? By day, merchant, command and outcome; `code` says why not.
SELECT
    toDate(r.recorded_at) AS day,
    r.merchant AS merchant,
    r.livemode AS livemode,
    r.command AS command,
    if(a.request = '', 'unanswered', a.outcome) AS outcome,
    a.code AS code,
    count() AS requests
FROM (SELECT * FROM api_requests FINAL) AS r
LEFT JOIN (SELECT request, outcome, code FROM api_replies FINAL) AS a ON a.request = r.request
GROUP BY day, merchant, livemode, command, outcome, code
