#!/usr/bin/env bash
# Makes Grafana's user, which may only read, when ClickHouse is started for the first time.
set -euo pipefail

if [[ ! "$GRAFANA_CLICKHOUSE_PASSWORD" =~ ^[A-Za-z0-9]+$ ]]; then
    echo "GRAFANA_CLICKHOUSE_PASSWORD: use letters and digits" >&2
    exit 1
fi
clickhouse client --user "$CLICKHOUSE_USER" --password "$(cat "$CLICKHOUSE_PASSWORD_FILE")" --multiquery <<SQL
CREATE USER IF NOT EXISTS grafana IDENTIFIED BY '$GRAFANA_CLICKHOUSE_PASSWORD'
    SETTINGS readonly = 1, max_execution_time = 60 CHANGEABLE_IN_READONLY;
GRANT SELECT ON streambook.* TO grafana;
SQL
