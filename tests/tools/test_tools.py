"""The test tools against the real parts that they stand on: Stripe's library, Standard Webhooks, a running anvil.

Run by `make test`, or by hand: `. tests/setup/env && "$STREAMBOOK_PYTHON" -m unittest discover -s tests/tools -v`.
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import struct
import subprocess
import sys
import tempfile
import unittest
import urllib.error
import urllib.request
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pyarrow
from standardwebhooks.webhooks import Webhook

import anvil_token

TOOLS = Path(__file__).resolve().parent
SETUP = TOOLS.parent / "setup"
SECRET = "whsec_c3RyZWFtYm9vay10ZXN0LXNlY3JldC1vZi0zMi1ieXRlcw=="
OTHER_SECRET = "whsec_YW5vdGhlci1zZWNyZXQtb2YtdGhlLXNhbWUtbGVuZ3RoIQ=="
HOLDER = "0x00000000000000000000000000000000000000Aa"


def tool(name: str, *arguments: str, stdin: str = "") -> list[dict[str, Any]]:
    """The JSON lines that one run of a tool prints."""
    command = [sys.executable, str(TOOLS / name), *arguments]
    run = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=60)
    if run.returncode != 0:
        raise AssertionError(f"{' '.join(command)}: {run.stderr}")
    return [json.loads(line) for line in run.stdout.splitlines()]


def request(method: str, url: str, body: str | None = None, headers: dict[str, str] | None = None) -> tuple[int, Any]:
    """Status and JSON answer of one request."""
    data = None if body is None else body.encode()
    ask = urllib.request.Request(url, data=data, headers=headers or {}, method=method)
    try:
        with urllib.request.urlopen(ask, timeout=30) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as refusal:
        return refusal.code, json.load(refusal)


class StripeEvents(unittest.TestCase):
    """Events are Stripe's, signed as Stripe signs, and wrong in just the way asked for."""

    def make(self, *arguments: str) -> list[dict[str, Any]]:
        metadata = ("--merchant", "mer_1", "--payment", "pay_1")
        return tool("stripe_event.py", "make", *arguments, "--key", "order-1", *metadata)

    def test_stripe_accepts_what_is_signed_right(self) -> None:
        for line in self.make("payment_intent.succeeded", "charge.succeeded", "charge.refunded", "--other-v1", "2"):
            self.assertTrue(line["stripe_accepts"])
            self.assertEqual(line["header"].count("v1="), 3)

    def test_stripe_refuses_every_fault_and_an_old_timestamp(self) -> None:
        faults = ("wrong-secret", "tampered-body", "only-v0", "no-timestamp", "no-header")
        for wrong in [*(("--fault", fault) for fault in faults), ("--offset", "-301")]:
            with self.subTest(wrong):
                self.assertFalse(self.make("charge.succeeded", *wrong)[0]["stripe_accepts"])

    def test_events_of_one_order_belong_together(self) -> None:
        intent, charge, refund = (
            json.loads(line["body"])["data"]["object"]
            for line in self.make("payment_intent.succeeded", "charge.succeeded", "refund.created")
        )
        self.assertEqual(intent["latest_charge"], charge["id"])
        self.assertEqual(refund["charge"], charge["id"])
        self.assertEqual(charge["metadata"], {"streambook_merchant": "mer_1", "streambook_payment": "pay_1"})

    def test_a_balance_transaction_is_an_id_to_fetch_or_whole(self) -> None:
        by_id = self.make("charge.succeeded")[0]
        named = json.loads(by_id["body"])["data"]["object"]["balance_transaction"]
        fetched = by_id["fetch"][f"/v1/balance_transactions/{named}"]
        self.assertEqual((fetched["amount"], fetched["fee"], fetched["net"]), (1250, 66, 1184))
        whole = self.make("charge.succeeded", "--balance-transaction", "expanded")[0]
        self.assertEqual(json.loads(whole["body"])["data"]["object"]["balance_transaction"]["id"], named)
        self.assertEqual(whole["fetch"], {})

    def test_the_same_arguments_give_the_same_bytes(self) -> None:
        first, second = (self.make("charge.failed", "--created", "1700000000")[0]["body"] for _ in range(2))
        self.assertEqual(first, second)

    def test_a_given_body_is_signed_as_it_is(self) -> None:
        line = tool("stripe_event.py", "sign", "-", stdin='{"id":  "evt_1", "object": "event", "type": "a.b"}')[0]
        self.assertEqual(line["body"], '{"id":  "evt_1", "object": "event", "type": "a.b"}')
        self.assertTrue(line["stripe_accepts"])


class WebhookReceiver(unittest.TestCase):
    """Only what the official library verifies is accepted, and it is on disk by then."""

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.log = Path(folder.name) / "deliveries.jsonl"
        command = [sys.executable, str(TOOLS / "webhook_receiver.py"), "--log", str(self.log), "--with-parent"]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.addCleanup(self.stop)
        assert self.process.stdout is not None
        self.url = json.loads(self.process.stdout.readline())["url"]
        self.assertEqual(request("PUT", f"{self.url}/secrets", json.dumps([SECRET]))[0], 200)

    def stop(self) -> None:
        """Closing its input ends it."""
        self.process.communicate(timeout=10)

    def deliver(self, number: int, secret: str = SECRET, age_s: int = 0) -> int:
        now = datetime.fromtimestamp(int(datetime.now(tz=timezone.utc).timestamp()) - age_s, tz=timezone.utc)
        body = json.dumps({"id": f"evt_{number}", "type": "payment.completed"})
        headers = {
            "webhook-id": f"msg_{number}",
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": Webhook(secret).sign(f"msg_{number}", now, body),
        }
        return request("POST", f"{self.url}/hooks", body, headers)[0]

    def test_a_good_delivery_is_accepted_and_on_disk_and_a_repeat_is_seen(self) -> None:
        self.assertEqual([self.deliver(1), self.deliver(2), self.deliver(1)], [200, 200, 200])
        _, seen = request("GET", f"{self.url}/deliveries?after=1")
        self.assertEqual((seen["count"], seen["distinct"], len(seen["accepted"])), (3, 2, 2))
        on_disk = [json.loads(line)["id"] for line in self.log.read_text().splitlines()]
        self.assertEqual(on_disk, ["msg_1", "msg_2", "msg_1"])

    def test_a_wrong_secret_an_old_timestamp_and_no_headers_are_refused(self) -> None:
        bare, _ = request("POST", f"{self.url}/hooks", "{}")
        self.assertEqual([self.deliver(1, OTHER_SECRET), self.deliver(1, age_s=400), bare], [401, 401, 401])
        _, seen = request("GET", f"{self.url}/deliveries")
        self.assertEqual((seen["count"], seen["rejected"]), (0, 3))
        self.assertEqual(self.log.read_text(), "")

    def test_either_secret_verifies_during_a_rotation(self) -> None:
        request("PUT", f"{self.url}/secrets", json.dumps([OTHER_SECRET, SECRET]))
        self.assertEqual([self.deliver(1), self.deliver(2, OTHER_SECRET)], [200, 200])

    def test_it_fails_as_often_as_told(self) -> None:
        request("PUT", f"{self.url}/behaviour", json.dumps({"fail_next": 2, "status": 503}))
        self.assertEqual([self.deliver(1) for _ in range(3)], [503, 503, 200])
        _, seen = request("GET", f"{self.url}/deliveries")
        self.assertEqual((seen["count"], seen["failed"]), (1, 2))

    def test_the_node_library_agrees(self) -> None:
        self.deliver(1)
        check = ["node", str(SETUP / "verify-deliveries.mjs"), str(self.log)]
        right = subprocess.run([*check, SECRET], capture_output=True, text=True, timeout=60)
        self.assertEqual((right.returncode, right.stdout.strip()), (0, "1 deliveries verified"), right.stderr)
        self.assertEqual(subprocess.run([*check, OTHER_SECRET], capture_output=True, timeout=60).returncode, 1)


class AnvilToken(unittest.TestCase):
    """The token lives on anvil, and a reorganisation takes a transfer back."""

    def setUp(self) -> None:
        command = [os.environ["ANVIL"], "--host", "127.0.0.1", "--port", "0"]
        anvil = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.addCleanup(anvil.communicate)
        self.addCleanup(anvil.kill)
        assert anvil.stdout is not None
        listening = next(line for line in anvil.stdout if line.startswith("Listening on "))
        self.rpc = "http://" + listening.removeprefix("Listening on ").strip()

    def token(self, command: str, *arguments: str) -> dict[str, Any]:
        return tool("anvil_token.py", command, "--rpc", self.rpc, *arguments)[0]

    def test_a_transfer_is_seen_and_a_reorg_takes_it_back(self) -> None:
        deployed = self.token("deploy", "--decimals", "6")
        address, owner = deployed["address"], deployed["owner"]
        self.token("mint", address, owner, "1000000")
        self.token("transfer", address, HOLDER, "250000")
        self.assertEqual(self.token("balance", address, HOLDER)["balance"], "250000")
        self.token("reorg", "1")
        self.assertEqual(self.token("balance", address, HOLDER)["balance"], "0")
        self.assertEqual(self.token("balance", address, owner)["balance"], "1000000")

    def test_the_router_pays_through_a_contract_and_undone_payments_leave_no_log(self) -> None:
        node = anvil_token.Node(self.rpc)
        token, owner = (self.token("deploy")[name] for name in ("address", "owner"))
        self.token("mint", token, owner, "1000000")
        compiled = json.loads((TOOLS.parent / "contracts" / "Router.json").read_text())
        router = node.send(owner, None, compiled["bytecode"])["contractAddress"]
        node.send(owner, token, anvil_token.call_data("approve(address,uint256)", router, 2**256 - 1))

        def send(function: str, *values: int | str) -> dict[str, Any]:
            (selector,) = (code for name, code in compiled["selectors"].items() if name.startswith(f"{function}("))
            data = selector + "".join(anvil_token.word(value) for value in values)
            # With the gas given, the node does not refuse beforehand what will revert.
            sent = node.call("eth_sendTransaction", {"from": owner, "to": router, "data": data, "gas": "0x7a120"})
            return node.receipt(sent)

        two = send("pay", 32, 2, token, HOLDER, 5, token, HOLDER, 7)
        self.assertEqual((two["to"], two["status"]), (router, "0x1"))
        self.assertEqual([int(log["data"], 16) for log in two["logs"]], [5, 7])
        self.assertEqual({log["address"] for log in two["logs"]}, {token})
        undone = send("payAndRevert", token, HOLDER, 11)
        self.assertEqual((undone["status"], undone["logs"]), ("0x0", []))
        kept = send("payAfterLostCall", token, HOLDER, 13, token, HOLDER, 17)
        self.assertEqual((kept["status"], [int(log["data"], 16) for log in kept["logs"]]), ("0x1", [17]))
        self.assertEqual(self.token("balance", token, HOLDER)["balance"], str(5 + 7 + 17))


class ClickHouse(unittest.TestCase):
    """The engine is real, what it confirmed outlives a kill, and it fails where it was told to."""

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.data = str(Path(folder.name) / "data")
        self.start("0")
        self.addCleanup(lambda: self.process.communicate())

    def start(self, port: str, *arguments: str) -> None:
        """Starts the engine on the test's data; its input is closed by `communicate`, which ends it."""
        command = [sys.executable, str(TOOLS / "clickhouse.py"), "--data", self.data, "--port", port, "--with-parent"]
        command += arguments
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        ready = json.loads(self.process.stdout.readline())
        self.url, self.version = ready["url"], ready["version"]

    def ask(self, statement: bytes, parameters: str = "", **headers: str) -> tuple[int, str]:
        """Status and text of one statement, or of a body after the statement in the parameters."""
        request = urllib.request.Request(f"{self.url}/?{parameters}", data=statement, headers=headers, method="POST")
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as refusal:
            return refusal.code, f"{refusal.headers['X-ClickHouse-Exception-Code']}: {refusal.read().decode()}"

    def made(self) -> None:
        table = b"CREATE TABLE t (a String, n UInt8) ENGINE = MergeTree ORDER BY a"
        self.assertEqual(self.ask(table + b" SETTINGS non_replicated_deduplication_window = 100"), (200, ""))

    def insert(self, body: bytes, token: str) -> tuple[int, str]:
        query = "query=INSERT+INTO+t(a,n)+FORMAT+RowBinary"
        return self.ask(body, f"{query}&insert_deduplication_token={token}&wait_end_of_query=1")

    def test_it_is_clickhouse_26_9(self) -> None:
        self.assertTrue(self.version.startswith("26.9."), self.version)
        self.assertEqual(self.ask(b"SELECT 1 + 1"), (200, "2\n"))

    def test_bodies_are_binary_and_a_token_inserts_once(self) -> None:
        self.made()
        # Bytes that would end the data of a text, or that a text has not.
        row = b"\x05;\n\x00\xff \x07"
        self.assertEqual([self.insert(row, "one"), self.insert(row, "one"), self.insert(row, "two")], [(200, "")] * 3)
        self.assertEqual(self.ask(b"SELECT hex(a), n, count() FROM t GROUP BY ALL"), (200, "3B0A00FF20\t7\t2\n"))
        self.assertEqual(self.ask(b"SELECT getSetting('insert_deduplication_token')"), (200, "\n"))

    def test_parameters_databases_and_formats(self) -> None:
        self.assertEqual(self.ask(b"CREATE DATABASE other"), (200, ""))
        self.assertEqual(self.ask(b"SELECT currentDatabase()", "database=other"), (200, "other\n"))
        self.assertEqual(self.ask(b"SELECT {x:UInt8} AS x FORMAT JSONEachRow", "param_x=7"), (200, '{"x":7}\n'))
        self.assertEqual(self.ask(b"SELECT 7::UInt8", "default_format=RowBinary"), (200, "\x07"))

    def test_errors_have_a_status_and_a_code(self) -> None:
        for statement, status, code in [("SELECT nope", 400, "47: "), ("SELECT * FROM nope", 404, "60: ")]:
            got = self.ask(statement.encode())
            self.assertEqual((got[0], got[1][:4]), (status, code))
        status, text = self.ask(b"SELECT 1", "no_such_setting=1")
        self.assertEqual((status, text[:5]), (400, "115: "))
        self.made()
        self.assertIn("CANNOT_READ_ALL_DATA", self.insert(b"\x05ab", "half")[1])
        self.assertEqual(self.ask(b"SELECT count() FROM t"), (200, "0\n"))

    def test_compressed_blocks_are_read_and_half_a_block_is_refused(self) -> None:
        self.made()
        data = b"\x03abc\x01" * 100
        packed = pyarrow.Codec("lz4_raw").compress(data, asbytes=True)
        block = bytes(16) + struct.pack("<BII", 0x82, len(packed) + 9, len(data)) + packed
        query = "query=INSERT+INTO+t(a,n)+FORMAT+RowBinary&decompress=1"
        self.assertEqual(self.ask(block, query), (200, ""))
        self.assertEqual(self.ask(block[:-1], query)[1][:5], "271: ")
        self.assertEqual(self.ask(b"SELECT count(), sum(n) FROM t"), (200, "100\t100\n"))

    def test_what_was_confirmed_outlives_a_kill(self) -> None:
        self.made()
        self.insert(b"\x01a\x01", "one")
        self.process.kill()
        self.process.communicate()
        self.start(self.url.rsplit(":", 1)[1])
        self.insert(b"\x01a\x01", "one")
        self.assertEqual(self.ask(b"SELECT count() FROM t"), (200, "1\n"))

    def test_it_fails_once_and_where_it_was_told_to(self) -> None:
        self.made()
        fault = {"match": "INSERT INTO t", "skip": 1, "what": "error", "code": 252}
        self.assertEqual(self.put(fault), 200)
        statuses = [self.insert(b"\x01a\x01", f"{number}")[0] for number in range(3)]
        self.assertEqual(statuses, [200, 500, 200])
        self.put({"match": "INSERT", "what": "lie"})
        self.assertEqual(self.insert(b"\x01a\x01", "lie"), (200, ""))
        self.put({"match": "INSERT", "what": "drop-after"})
        with self.assertRaises(http.client.RemoteDisconnected):
            self.insert(b"\x01b\x01", "dropped")
        self.assertEqual(self.ask(b"SELECT groupArray(a) FROM (SELECT a FROM t ORDER BY a)"), (200, "['a','a','b']\n"))
        with self.assertRaises(urllib.error.HTTPError) as refusal:
            self.put({"match": "SELECT", "what": "nonsense"})
        self.assertEqual(refusal.exception.code, 400)
        self.put({"match": "SELECT", "what": "kill-before"})
        with self.assertRaises(http.client.RemoteDisconnected):
            self.ask(b"SELECT 1")
        self.assertEqual(self.process.wait(timeout=10), -signal.SIGKILL)

    def put(self, fault: dict[str, Any]) -> int:
        ask = urllib.request.Request(f"{self.url}/fault", data=json.dumps(fault).encode(), method="PUT")
        with urllib.request.urlopen(ask, timeout=30) as answer:
            return answer.status

    def test_a_wrong_password_is_refused(self) -> None:
        self.process.communicate()
        self.start("0", "--password", "right")
        self.assertEqual(self.ask(b"SELECT 1")[0], 403)
        self.assertEqual(self.ask(b"SELECT 1", **{"X-ClickHouse-Key": "right"}), (200, "1\n"))


if __name__ == "__main__":
    unittest.main()
