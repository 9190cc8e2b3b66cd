"""The test tools against the real parts that they stand on: Stripe's library, Standard Webhooks, a running anvil.

Run by `make test`, or by hand: `. tests/setup/env && "$STREAMBOOK_PYTHON" -m unittest discover -s tests/tools -v`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import unittest
import urllib.error
import urllib.request
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

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


if __name__ == "__main__":
    unittest.main()
