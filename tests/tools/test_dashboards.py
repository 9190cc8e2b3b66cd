"""The Grafana files on the real ClickHouse engine: every panel and alarm says what it promises, about known data.

The data are `dashboard_data.sql` (two shops' week-end) and `dashboard_faults.sql` (what must never be). What each query
has to answer is in `dashboard_answers.json`, by dashboard and panel and by alarm. PromQL and the names of metrics are
checked by `tests/layout`. Run by `make test`, or by hand:
`. tests/setup/env && "$STREAMBOOK_PYTHON" -m unittest discover -s tests/tools -p test_dashboards.py`.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import unittest
import urllib.error
import urllib.parse
import urllib.request
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import yaml

TOOLS = Path(__file__).resolve().parent
ROOT = TOOLS.parent.parent
GRAFANA = ROOT / "dashboards" / "grafana"
CLICKHOUSE = ROOT / "sinks" / "src" / "clickhouse"
ANSWERS = json.loads((TOOLS / "dashboard_answers.json").read_text())
# The moment at which the dashboards are looked at, in the story of the data.
NOW = datetime(2030, 3, 2, 12, tzinfo=timezone.utc)
PANELS_FROM = NOW - timedelta(days=2)
KINDS = {"grafana-clickhouse-datasource": "streambook-clickhouse", "prometheus": "streambook-prometheus"}
# Of the variables: everything, or one of each.
EVERYTHING = {"merchant": None, "asset": None, "chain": None, "livemode": "true"}
ANNAS = {"merchant": ["mer_anna"], "asset": ["usd"], "chain": ["31337"], "livemode": "true"}
NOBODYS = {"merchant": ["it's nobody"], "asset": ["none"], "chain": ["1"], "livemode": "false"}


def dashboards() -> list[dict[str, Any]]:
    """Every dashboard."""
    return [json.loads(path.read_text()) for path in sorted((GRAFANA / "dashboards").glob("*.json"))]


def panels(board: dict[str, Any]) -> list[dict[str, Any]]:
    """Every panel that shows something; rows are headings."""
    return [panel for panel in board["panels"] if panel["type"] != "row"]


def alarms() -> list[dict[str, Any]]:
    """Every alert rule."""
    files = [yaml.safe_load(path.read_text()) for path in sorted((GRAFANA / "alerting").glob("*.yaml"))]
    return [rule for file in files for group in file["groups"] for rule in group["rules"]]


def filled_in(sql: str, since: datetime, chosen: dict[str, Any]) -> str:
    """A query as Grafana and its ClickHouse plugin would send it: macros and variables replaced."""
    conditional = re.compile(r"\$__conditionalAll\(((?:[^()]|\([^()]*\))*), \$(\w+)\)")
    sql = conditional.sub(lambda found: "1=1" if chosen[found[2]] is None else found[1], sql)
    for name, value in chosen.items():
        if isinstance(value, list):
            quoted = ",".join("'" + text.replace("'", "''") + "'" for text in value)
            sql = sql.replace(f"${{{name}:sqlstring}}", quoted).replace(f"${{{name}:csv}}", ",".join(value))
        elif value is not None:
            sql = sql.replace(f"${{{name}}}", value)
    seconds = [f"toDateTime({int(at.timestamp())})" for at in (since, NOW)]
    days = [f"toDate('{at:%Y-%m-%d}')" for at in (since, NOW)]
    sql = re.sub(r"\$__timeFilter\((\w+)\)", rf"\1 >= {seconds[0]} AND \1 <= {seconds[1]}", sql)
    sql = re.sub(r"\$__dateFilter\((\w+)\)", rf"\1 >= {days[0]} AND \1 <= {days[1]}", sql)
    sql = re.sub(r"\$__timeInterval\((\w+)\)", r"toStartOfInterval(toDateTime(\1), INTERVAL 3600 second)", sql)
    if "$" in sql:
        raise AssertionError(f"a variable or macro that Grafana or this test does not know: {sql}")
    return sql


def statements(text: str) -> list[str]:
    """The statements of a file, without the lines of comment; each ends with a semicolon at the end of a line."""
    lines = [line for line in text.splitlines() if not line.startswith("--")]
    return [part.strip() for part in "\n".join(lines).split(";\n") if part.strip(" \n;")]


def views() -> list[tuple[str, str]]:
    """Name and query of each view, those that others read first, as the sink makes them."""
    order = re.findall(r'name: "(\w+)"', (CLICKHOUSE / "schema" / "views.rs").read_text())
    return [(name, (CLICKHOUSE / "views" / f"{name}.sql").read_text()) for name in order]


def schema() -> list[str]:
    """The sink's tables and views."""
    tables = [part for path in sorted((CLICKHOUSE / "schema").glob("*.sql")) for part in statements(path.read_text())]
    return tables + [f"CREATE OR REPLACE VIEW {name} AS\n{sql}" for name, sql in views()]


class Engine:
    """The real engine, with a sound database and one in which things are wrong."""

    def __init__(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        command = [sys.executable, str(TOOLS / "clickhouse.py"), "--data", self.folder.name + "/data", "--with-parent"]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.url = json.loads(self.process.stdout.readline())["url"]
        data = statements((TOOLS / "dashboard_data.sql").read_text())
        faults = statements((TOOLS / "dashboard_faults.sql").read_text())
        for database, story in [("sound", data), ("wrong", data + faults), ("empty", [])]:
            self.ask(f"CREATE DATABASE {database}", "default")
            for statement in schema() + story:
                self.ask(statement, database)

    def close(self) -> None:
        """Closing its input ends it."""
        self.process.communicate(timeout=60)
        self.folder.cleanup()

    def ask(self, statement: str, database: str) -> str:
        """What a statement gives."""
        parameters = urllib.parse.urlencode({"database": database, "output_format_json_quote_64bit_integers": "0"})
        request = urllib.request.Request(f"{self.url}/?{parameters}", data=statement.encode(), method="POST")
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.read().decode()
        except urllib.error.HTTPError as refusal:
            raise AssertionError(f"{refusal.read().decode()}\n{statement}") from refusal

    def rows(self, sql: str, database: str, since: datetime, chosen: dict[str, Any]) -> dict[str, Any]:
        """Columns, their types, and rows of a query of Grafana's."""
        got = json.loads(self.ask(filled_in(sql, since, chosen) + "\nFORMAT JSONCompact", database))
        columns = {column["name"]: column["type"] for column in got["meta"]}
        return {"columns": list(columns), "types": list(columns.values()), "rows": got["data"]}


class Shape(unittest.TestCase):
    """The files hang together: ids, data sources, descriptions, links from alarms to panels and to the handbook."""

    def test_dashboards_and_panels_have_ids_of_their_own_and_room_of_their_own(self) -> None:
        boards = dashboards()
        self.assertEqual(len({board["uid"] for board in boards}), 6)
        self.assertEqual(len({board["title"] for board in boards}), 6)
        for board in boards:
            ids = [panel["id"] for panel in board["panels"]]
            titles = [panel["title"] for panel in board["panels"]]
            self.assertEqual((len(set(ids)), len(set(titles))), (len(ids), len(titles)), board["uid"])
            taken: set[tuple[int, int]] = set()
            for panel in board["panels"]:
                at = panel["gridPos"]
                cells = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
                self.assertFalse(taken & cells or at["x"] + at["w"] > 24, f"{board['uid']}: {panel['title']}")
                taken |= cells

    def test_every_panel_says_its_question_its_unit_and_where_it_reads(self) -> None:
        for board in dashboards():
            self.assertGreater(len(board["description"]), 20)
            for panel in panels(board):
                with self.subTest(f"{board['uid']}: {panel['title']}"):
                    self.assertIn("?", panel["description"])
                    source = panel["datasource"]
                    self.assertEqual(KINDS[source["type"]], source["uid"])
                    defaults = panel["fieldConfig"]["defaults"]
                    self.assertTrue(defaults["unit"] and defaults["thresholds"]["steps"])
                    self.assertTrue(panel["targets"])
                    for target in panel["targets"]:
                        self.assertEqual(target["datasource"], source)
                        wanted = "expr" if source["type"] == "prometheus" else "rawSql"
                        self.assertTrue(target[wanted].strip())

    def test_variables_that_are_used_exist(self) -> None:
        for board in dashboards():
            known = {variable["name"] for variable in board["templating"]["list"]}
            queries = json.dumps([panel["targets"] for panel in panels(board)])
            self.assertEqual(set(re.findall(r"\$\{(\w+)", queries)), known, board["uid"])

    def test_the_data_sources_are_those_that_are_provisioned(self) -> None:
        provisioned = yaml.safe_load((GRAFANA / "provisioning" / "datasources" / "streambook.yaml").read_text())
        self.assertEqual({source["type"]: source["uid"] for source in provisioned["datasources"]}, KINDS)
        provider = yaml.safe_load((GRAFANA / "provisioning" / "dashboards" / "streambook.yaml").read_text())
        self.assertEqual(provider["providers"][0]["type"], "file")
        documented = (ROOT / "docs" / "dashboards.md").read_text()
        for text in (GRAFANA / "provisioning").rglob("*.yaml"):
            for name in re.findall(r"\$(\w+)", text.read_text()):
                self.assertIn(name, documented)

    def test_every_alarm_has_a_panel_a_severity_and_a_section_in_the_handbook(self) -> None:
        shown = {(board["uid"], panel["id"]) for board in dashboards() for panel in panels(board)}
        handbook = (ROOT / "docs" / "operations.md").read_text()
        sections = set(re.findall(r"^### `([a-z-]+)`", handbook, re.MULTILINE))
        named = set()
        for rule in alarms():
            name = rule["uid"].removeprefix("streambook-")
            named.add(name)
            with self.subTest(name):
                self.assertIn((rule["dashboardUid"], rule["panelId"]), shown)
                self.assertIn(rule["labels"]["severity"], ("warning", "critical"))
                self.assertEqual(rule["annotations"]["runbook"], f"docs/operations.md#{name}")
                query, threshold = rule["data"]
                self.assertEqual((query["refId"], threshold["refId"], rule["condition"]), ("A", "B", "B"))
                self.assertEqual(threshold["model"]["expression"], "A")
                self.assertIn(query["datasourceUid"], KINDS.values())
                # Grafana would take the values of environment variables for what begins with a dollar elsewhere.
                self.assertNotIn("$", json.dumps([rule["annotations"], rule["labels"], rule["title"]]))
        self.assertEqual(len(named), len(alarms()))
        self.assertEqual(named, sections)


class Queries(unittest.TestCase):
    """Each query of Grafana's, on the engine."""

    engine: Engine

    @classmethod
    def setUpClass(cls) -> None:
        cls.engine = Engine()
        cls.addClassCleanup(cls.engine.close)

    def on_clickhouse(self) -> list[tuple[str, str, dict[str, Any], str]]:
        """Dashboard, title, panel and query of each panel on ClickHouse."""
        return [
            (board["uid"], panel["title"], panel, target["rawSql"])
            for board in dashboards()
            for panel in panels(board)
            for target in panel["targets"]
            if "rawSql" in target
        ]

    def test_every_panel_answers_what_it_promises(self) -> None:
        expected = {(board, title) for board, titles in ANSWERS["panels"].items() for title in titles}
        self.assertEqual(expected, {(board, title) for board, title, _, _ in self.on_clickhouse()})
        for board, title, panel, sql in self.on_clickhouse():
            with self.subTest(f"{board}: {title}"):
                answer = ANSWERS["panels"][board][title]
                # What should be empty is looked at where something is wrong.
                database = "wrong" if "An empty table" in panel["description"] else "sound"
                got = self.engine.rows(sql, database, PANELS_FROM, EVERYTHING)
                self.assertEqual(got["columns"], answer["columns"])
                self.assertTrue(answer["rows"], "a panel without a row shows nothing")
                self.assertEqual(got["rows"], answer["rows"])

    def test_a_series_has_a_time_and_a_stat_one_number(self) -> None:
        for board, title, panel, sql in self.on_clickhouse():
            with self.subTest(f"{board}: {title}"):
                got = self.engine.rows(sql, "sound", PANELS_FROM, EVERYTHING)
                if panel["type"] == "timeseries":
                    self.assertEqual((got["columns"][0], got["types"][0][:8]), ("time", "DateTime"))
                    times = [row[0] for row in got["rows"]]
                    self.assertEqual(times, sorted(times))
                if panel["type"] == "stat":
                    self.assertEqual((len(got["columns"]), len(got["rows"])), (1, 1))
                for override in panel["fieldConfig"]["overrides"]:
                    self.assertIn(override["matcher"]["options"], got["columns"])

    def test_every_panel_takes_a_choice_of_variables_and_an_empty_database(self) -> None:
        """Filters filter: what is nobody's is not shown where a panel has the variable."""
        for board, title, panel, sql in self.on_clickhouse():
            with self.subTest(f"{board}: {title}"):
                self.engine.rows(sql, "sound", PANELS_FROM, ANNAS)
                self.engine.rows(sql, "empty", PANELS_FROM, EVERYTHING)
                nobodys = self.engine.rows(sql, "sound", PANELS_FROM, NOBODYS)["rows"]
                if "${" in sql:
                    self.assertIn(nobodys, ([], [[0]], [[None]]), panel["description"])

    def test_the_variables_offer_what_there_is(self) -> None:
        offered = {
            variable["name"]: self.engine.rows(variable["query"]["rawSql"], "sound", PANELS_FROM, EVERYTHING)["rows"]
            for board in dashboards()
            for variable in board["templating"]["list"]
            if variable["type"] == "query"
        }
        self.assertEqual(offered, ANSWERS["variables"])

    def test_alarms_ring_where_something_is_wrong_and_only_there(self) -> None:
        rules = [rule for rule in alarms() if "rawSql" in rule["data"][0]["model"]]
        self.assertEqual({rule["uid"] for rule in rules}, set(ANSWERS["alarms"]))
        for rule in rules:
            with self.subTest(rule["uid"]):
                query, (evaluator,) = rule["data"][0], (c["evaluator"] for c in rule["data"][1]["model"]["conditions"])
                since = NOW - timedelta(seconds=query["relativeTimeRange"]["from"])
                for database, rings in [("sound", False), ("wrong", True), ("empty", False)]:
                    got = self.engine.rows(query["model"]["rawSql"], database, since, EVERYTHING)
                    # Grafana takes text for labels; the number is what is compared.
                    numbers = ["String" not in kind for kind in got["types"]]
                    self.assertEqual(sum(numbers), 1, got["types"])
                    values = [row[numbers.index(True)] for row in got["rows"]]
                    (limit,) = evaluator["params"]
                    over = [value > limit if evaluator["type"] == "gt" else value < limit for value in values]
                    self.assertEqual(any(over), rings, f"{database}: {got['rows']}")
                    if database == "wrong":
                        self.assertEqual(got["rows"], ANSWERS["alarms"][rule["uid"]])


if __name__ == "__main__":
    unittest.main()
