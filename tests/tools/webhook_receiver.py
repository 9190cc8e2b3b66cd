"""A merchant's webhook receiver for tests: it takes a delivery only after the official library verified it.

What it answers 200 to is on disk first: every accepted delivery is one JSON line in `--log`, written and synced before
the answer. So a test can kill either side at any moment and compare what was acknowledged with what was delivered.
It can be told to fail, to be slow, or to answer with any status.

    POST /anything     a delivery (Standard Webhooks headers, body of at most 1 MiB)
    GET  /deliveries   what was accepted, and the counts; `?after=N` leaves out the first N
    PUT  /secrets      ["whsec_…", …]: any of them verifies from now on
    PUT  /behaviour    {"fail_next": 0, "status": 500, "delay_ms": 0}; what is left out is reset to this

The first line on standard output is {"url": "http://127.0.0.1:PORT"}, printed when it listens.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, TextIO
from urllib.parse import parse_qs, urlsplit

from standardwebhooks.webhooks import Webhook, WebhookVerificationError

BODY_LIMIT = 1024 * 1024


@dataclass(frozen=True)
class Behaviour:
    """How the next deliveries are answered."""

    fail_next: int = 0
    status: int = 500
    delay_ms: int = 0


@dataclass
class Receiver:
    """What was received so far; every field is guarded by `lock`."""

    log: TextIO
    secrets: list[str] = field(default_factory=list)
    behaviour: Behaviour = field(default_factory=Behaviour)
    accepted: list[dict[str, Any]] = field(default_factory=list)
    rejected: int = 0
    failed: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def receive(self, path: str, headers: dict[str, str], body: bytes) -> tuple[int, str]:
        """Verifies and stores one delivery; the status and the reason to answer with."""
        with self.lock:
            secrets, delay_ms = list(self.secrets), self.behaviour.delay_ms
        time.sleep(delay_ms / 1000)
        refusal = verify(secrets, headers, body)
        with self.lock:
            if refusal is not None:
                self.rejected += 1
                return 401, refusal
            if self.behaviour.fail_next > 0:
                left = self.behaviour.fail_next - 1
                self.behaviour = Behaviour(left, self.behaviour.status, self.behaviour.delay_ms)
                self.failed += 1
                return self.behaviour.status, "told to fail"
            self.store(path, headers, body)
        return 200, "accepted"

    def store(self, path: str, headers: dict[str, str], body: bytes) -> None:
        """Appends to the log and syncs it; the caller holds the lock."""
        delivery = {
            "id": headers["webhook-id"],
            "timestamp": headers["webhook-timestamp"],
            "signature": headers["webhook-signature"],
            "received_at_ms": time.time_ns() // 1_000_000,
            "path": path,
            "body": body.decode(),
        }
        self.log.write(json.dumps(delivery) + "\n")
        self.log.flush()
        os.fsync(self.log.fileno())
        self.accepted.append(delivery)

    def summary(self, after: int) -> dict[str, object]:
        """The answer of GET /deliveries."""
        with self.lock:
            return {
                "count": len(self.accepted),
                "distinct": len({delivery["id"] for delivery in self.accepted}),
                "rejected": self.rejected,
                "failed": self.failed,
                "accepted": self.accepted[after:],
            }


def verify(secrets: list[str], headers: dict[str, str], body: bytes) -> str | None:
    """None when one of the secrets verifies the delivery, else the library's reason."""
    reason = "no secret is set"
    for secret in secrets:
        try:
            Webhook(secret).verify(body, headers, json_parse=False)
            return None
        except (WebhookVerificationError, ValueError) as error:
            reason = str(error)
    return reason


class Handler(BaseHTTPRequestHandler):
    """Routes one connection's requests to the receiver."""

    protocol_version = "HTTP/1.1"
    timeout = 60
    receiver: Receiver

    def do_POST(self) -> None:
        """A delivery."""
        body = self.body()
        if body is not None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            status, reason = self.receiver.receive(self.path, headers, body)
            self.answer(status, {"result": reason})

    def do_GET(self) -> None:
        """What was received."""
        url = urlsplit(self.path)
        if url.path != "/deliveries":
            self.answer(404, {"error": "GET /deliveries is all there is"})
            return
        after = parse_qs(url.query).get("after", ["0"])[0]
        if not after.isdecimal():
            self.answer(400, {"error": "after: a number of deliveries to leave out"})
            return
        self.answer(200, self.receiver.summary(int(after)))

    def do_PUT(self) -> None:
        """New secrets, or another behaviour."""
        body = self.body()
        if body is None:
            return
        try:
            self.change(json.loads(body))
        except (ValueError, TypeError) as error:
            self.answer(400, {"error": str(error)})
            return
        self.answer(200, {"result": "changed"})

    def change(self, value: Any) -> None:
        """Applies a PUT; raises ValueError or TypeError when it makes no sense."""
        if self.path == "/secrets":
            secrets = checked_secrets(value)
            with self.receiver.lock:
                self.receiver.secrets = secrets
        elif self.path == "/behaviour":
            behaviour = Behaviour(**value)
            if not all(isinstance(number, int) and number >= 0 for number in value.values()):
                raise ValueError("behaviour: whole numbers that are not negative")
            with self.receiver.lock:
                self.receiver.behaviour = behaviour
        else:
            raise ValueError("PUT /secrets or /behaviour")

    def body(self) -> bytes | None:
        """The request's body; None when it was refused and answered."""
        length = self.headers.get("content-length", "")
        if not length.isdecimal() or int(length) > BODY_LIMIT:
            self.close_connection = True
            self.answer(413, {"error": f"Content-Length of at most {BODY_LIMIT} is needed"})
            return None
        return self.rfile.read(int(length))

    def answer(self, status: int, value: object) -> None:
        """Sends a JSON answer."""
        payload = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)

    def log_message(self, format: str, *args: object) -> None:
        """Quiet: GET /deliveries tells what happened."""


def checked_secrets(value: Any) -> list[str]:
    """The secrets, each tried with the library."""
    if not isinstance(value, list) or not all(isinstance(secret, str) for secret in value):
        raise ValueError("secrets: a list of strings")
    for secret in value:
        Webhook(secret)
    return list(value)


def stop_with_parent() -> None:
    """Ends the program when standard input closes, as it does when the program that started this one dies."""
    while sys.stdin.buffer.read(4096):
        pass
    os._exit(0)


def arguments() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
                                     epilog="example: webhook_receiver.py --log deliveries.jsonl --fail-first 2")
    parser.add_argument("--port", type=int, default=0, help="on 127.0.0.1; 0 takes a free one (default)")
    parser.add_argument("--log", type=Path, required=True, help="file for accepted deliveries, appended to")
    parser.add_argument("--secret-file", type=Path, help="one secret per line; without it, PUT /secrets")
    parser.add_argument("--fail-first", type=int, default=0, metavar="N", help="refuse the first N good deliveries")
    parser.add_argument("--fail-status", type=int, default=500, metavar="STATUS", help="with it (default 500)")
    parser.add_argument("--delay-ms", type=int, default=0, help="wait before each answer")
    parser.add_argument("--with-parent", action="store_true", help="end when standard input closes")
    return parser


def main() -> int:
    """Runs the receiver until it is stopped."""
    args = arguments().parse_args()
    secrets = args.secret_file.read_text().split() if args.secret_file else []
    behaviour = Behaviour(args.fail_first, args.fail_status, args.delay_ms)
    with args.log.open("a", encoding="utf-8") as log:
        Handler.receiver = Receiver(log, checked_secrets(secrets), behaviour)
        server = ThreadingHTTPServer(("127.0.0.1", args.port), Handler)
        server.daemon_threads = True
        if args.with_parent:
            threading.Thread(target=stop_with_parent, daemon=True).start()
        print(json.dumps({"url": f"http://127.0.0.1:{server.server_address[1]}"}), flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            return 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
