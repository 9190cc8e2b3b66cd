-- What has happened is never rewritten. Rights keep it: the sink writes as `streambook_writer`, which may add to these tables
-- and not change or delete; readers are `streambook_reader`. Triggers keep it from the owner's own hands as well.
-- A rebuild goes to a new database.

DO $$
DECLARE
    role_name TEXT;
BEGIN
    FOREACH role_name IN ARRAY ARRAY['streambook_writer', 'streambook_reader'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = role_name) THEN
            BEGIN
                EXECUTE format('CREATE ROLE %I NOLOGIN', role_name);
            EXCEPTION
                WHEN duplicate_object OR unique_violation THEN NULL;  -- another database of this server was quicker
                WHEN insufficient_privilege THEN
                    RAISE EXCEPTION 'the role % is missing and % may not make it', role_name, current_user
                        USING HINT = format('as an administrator: CREATE ROLE %I NOLOGIN; GRANT %I TO %I', role_name, role_name, current_user);
            END;
        END IF;
        IF NOT pg_has_role(current_user, role_name, 'MEMBER') THEN
            EXECUTE format('GRANT %I TO %I', role_name, current_user);
        END IF;
        EXECUTE format('GRANT USAGE ON SCHEMA %I TO %I', current_schema(), role_name);
        EXECUTE format('GRANT SELECT ON ALL TABLES IN SCHEMA %I TO %I', current_schema(), role_name);
    END LOOP;
    -- The sink's rows of tables that change come by way of temporary ones.
    IF NOT has_database_privilege('streambook_writer', current_database(), 'TEMPORARY') THEN
        EXECUTE format('GRANT TEMPORARY ON DATABASE %I TO streambook_writer', current_database());
    END IF;
END $$;

GRANT INSERT ON payment_events, ledger_transactions, ledger_entries, audit_log, webhook_attempts, dead_letters
    TO streambook_writer;
GRANT INSERT, UPDATE ON payments, refunds, balances, chain_heads, transfers, merchants, assets, webhook_endpoints,
    sink_offsets, sink_sources TO streambook_writer;

CREATE FUNCTION streambook_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only: % is refused', TG_TABLE_NAME, TG_OP USING ERRCODE = 'restrict_violation';
END $$;

DO $$
DECLARE
    part REGCLASS;
BEGIN
    FOR part IN
        SELECT 'audit_log'::regclass
        UNION ALL
        SELECT parts.relid FROM
            unnest(ARRAY['payment_events', 'ledger_transactions', 'ledger_entries']) AS parent,
            LATERAL pg_partition_tree(parent::regclass) AS parts
    LOOP
        -- A trigger for each statement of a table does not fire for statements on its partitions, nor theirs for it.
        EXECUTE format('CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON %s
            FOR EACH STATEMENT EXECUTE FUNCTION streambook_append_only()', part);
    END LOOP;
END $$;
