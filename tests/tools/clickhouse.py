"""The real ClickHouse engine behind a small HTTP front, for tests: one process, one data directory, loopback only.

The engine is `chdb-core` (ClickHouse 26.9 in process). The front speaks as much of ClickHouse's HTTP interface as the
Rust `clickhouse` crate, Grafana and `curl` use: the statement in the `query` parameter, the body, or both; `database`,
`default_format`, `param_…` and settings as parameters; bodies in any format, plain or in ClickHouse's own compressed
blocks (`decompress=1`; their checksums are not looked at); errors as text with a status and
`X-ClickHouse-Exception-Code`. What is committed is in the data directory: the process can be killed and started again.

It can be told to misbehave once, at a statement that a test chooses:

    PUT  /fault       {"match": "regular expression", "skip": 0, "what": "…", "delay_ms": 0, "code": 202}
    GET  /statements  {"fault": "waiting|done|none", "statements": ["INSERT INTO …", …]}, what was asked so far
    GET  /ping        Ok.

where `{}` takes a fault back and `what` is one of
    kill-before, kill-after   the process is killed before the statement, or after it and before the answer
    drop-after                the statement is executed, the connection closed without an answer
    half-after                the statement is executed, the answer breaks off
    lie                       the statement is not executed, the answer is that all went well
    error                     the statement is not executed, the answer is the exception `code`
    delay                     the statement waits `delay_ms` and is then executed

The first line on standard output is {"url": "http://127.0.0.1:PORT", "version": "26.9…"}, printed when it listens.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import secrets
import signal
import struct
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import Empty, LifoQueue
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pyarrow
from chdb.state.sqlitelike import Connection, connect

BODY_LIMIT = 1024 * 1024 * 1024
CONNECTIONS_MAX = 16
STATEMENTS_KEPT = 100_000
# Parameters of the interface itself; every other one is a setting.
OWN_PARAMETERS = {
    "query", "database", "default_format", "decompress", "wait_end_of_query", "user", "password", "query_id", "role",
}
FAULTS = {"kill-before", "kill-after", "drop-after", "half-after", "lie", "error", "delay"}
# An insert that its data follow.
INSERT = re.compile(rb"\s*(INSERT\s+INTO\s[^;]+?)\sFORMAT\s+(\w+)[ \t\r]*\n", re.IGNORECASE)
# Statuses as ClickHouse gives them; 500 for all others.
STATUSES = {47: 400, 62: 400, 81: 404, 60: 404, 115: 400, 202: 503, 516: 403}


class Refused(Exception):
    """A statement's failure, with ClickHouse's code."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


@dataclass
class Fault:
    """What goes wrong once, and where."""

    match: str
    what: str
    skip: int = 0
    delay_ms: int = 0
    code: int = 202

    @classmethod
    def checked(cls, value: dict[str, Any]) -> Fault:
        """From a request's body; raises ValueError, TypeError or re.error when it makes no sense."""
        fault = cls(**value)
        re.compile(fault.match)
        if fault.what not in FAULTS or min(fault.skip, fault.delay_ms, fault.code) < 0:
            raise ValueError(f"what: one of {sorted(FAULTS)}; numbers that are not negative")
        return fault


class Engine:
    """The engine: sessions of one process over one directory, each used by one request at a time."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.idle: LifoQueue[Connection] = LifoQueue()
        self.slots = threading.BoundedSemaphore(CONNECTIONS_MAX)
        self.give_back(self.borrow())

    def borrow(self) -> Connection:
        try:
            return self.idle.get_nowait()
        except Empty:
            return connect(self.path)

    def give_back(self, connection: Connection) -> None:
        self.idle.put(connection)

    @contextmanager
    def session(self, settings: dict[str, str], database: str) -> Iterator[Connection]:
        """A session in this database with these settings, which it forgets afterwards."""
        with self.slots:
            connection = self.borrow()
            try:
                query(connection, f"USE {quoted(database, '`')}")
                if settings:
                    pairs = (f"{name} = {quoted(value, chr(39))}" for name, value in settings.items())
                    query(connection, f"SET {', '.join(pairs)}")
                yield connection
            finally:
                names = [name for name in settings if not name.startswith("param_")]
                if names:
                    # One that does not exist was refused when it was set, and with it all.
                    with suppress(Refused):
                        query(connection, f"SET {', '.join(f'{name} = DEFAULT' for name in names)}")
                self.give_back(connection)


def query(connection: Connection, statement: bytes | str, output: str = "TabSeparated") -> bytes:
    """Executes one statement."""
    text = statement.encode() if isinstance(statement, str) else statement
    try:
        return bytes(connection._conn.query(text, output).bytes())
    except RuntimeError as error:
        raise refused(error) from error


def insert(connection: Connection, statement: str, form: str, body: bytes) -> None:
    """Executes one insert. Not as one text with its data: the engine would end the data at `;` and a new line."""
    try:
        with connection.send_insert(statement, form) as inserter:
            inserter.append(body)
            inserter.finish()
    except RuntimeError as error:
        raise refused(error) from error


def refused(error: RuntimeError) -> Refused:
    """The engine's failure with its code; 1002 is ClickHouse's for an unknown one."""
    code = re.search(r"Code: (\d+)", str(error))
    return Refused(int(code[1]) if code else 1002, str(error))


def quoted(text: str, quote: str) -> str:
    """An identifier or a string."""
    return quote + text.replace("\\", "\\\\").replace(quote, "\\" + quote) + quote


def decompressed(body: bytes) -> bytes:
    """A body of ClickHouse's compressed blocks: checksum, method, sizes, data."""
    codec, parts, at = pyarrow.Codec("lz4_raw"), [], 0
    while at < len(body):
        if len(body) - at < 25:
            raise Refused(271, "Code: 271. DB::Exception: a compressed block broke off. (CANNOT_DECOMPRESS)")
        method, size, plain = struct.unpack_from("<BII", body, at + 16)
        data = body[at + 25 : at + 16 + size]
        if method == 0x82 and len(data) == size - 9:
            parts.append(codec.decompress(data, plain, asbytes=True))
        elif method == 0x02 and len(data) == plain:
            parts.append(data)
        else:
            raise Refused(271, f"Code: 271. DB::Exception: a block of method {method:#x}. (CANNOT_DECOMPRESS)")
        at += 16 + size
    return b"".join(parts)


@dataclass
class Front:
    """What the front knows besides the engine; every field below `engine` is guarded by `lock`."""

    engine: Engine
    user: str = "default"
    password: str = ""
    fault: Fault | None = None
    fired: bool = False
    statements: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, statement: str) -> Fault | None:
        """Remembers a statement; the fault, if this is the statement it is for."""
        with self.lock:
            if len(self.statements) < STATEMENTS_KEPT:
                self.statements.append(statement)
            fault = self.fault
            if fault is None or re.search(fault.match, statement) is None:
                return None
            if fault.skip > 0:
                fault.skip -= 1
                return None
            self.fault, self.fired = None, True
            return fault

    def plan(self, fault: Fault | None) -> None:
        """The next thing that goes wrong."""
        with self.lock:
            self.fault, self.fired = fault, False

    def summary(self) -> dict[str, object]:
        """The answer of GET /statements."""
        with self.lock:
            state = "waiting" if self.fault else "done" if self.fired else "none"
            return {"fault": state, "statements": list(self.statements)}


class Handler(BaseHTTPRequestHandler):
    """Routes one connection's requests to the engine."""

    protocol_version = "HTTP/1.1"
    timeout = 600
    # Head and body of an answer leave together and at once; else each small answer waits for an acknowledgement.
    wbufsize = -1
    disable_nagle_algorithm = True
    front: Front

    def do_GET(self) -> None:
        """A reading statement, or one of the front's own addresses."""
        path = urlsplit(self.path).path
        if path == "/ping":
            self.answer(200, b"Ok.\n")
        elif path == "/statements":
            self.answer(200, json.dumps(self.front.summary()).encode())
        else:
            self.run(b"")

    def do_POST(self) -> None:
        """A statement."""
        body = self.body()
        if body is not None:
            self.run(body)

    def do_PUT(self) -> None:
        """A fault."""
        body = self.body()
        if body is None:
            return
        try:
            value = json.loads(body)
            if urlsplit(self.path).path != "/fault":
                raise ValueError("PUT /fault")
            self.front.plan(Fault.checked(value) if value else None)
        except (ValueError, TypeError, re.error) as error:
            self.answer(400, str(error).encode())
            return
        self.answer(200, b"planned\n")

    def run(self, body: bytes) -> None:
        """Executes what a request asks for, and answers."""
        parameters = dict(parse_qsl(urlsplit(self.path).query, keep_blank_values=True))
        try:
            self.authenticate(parameters)
            if parameters.get("decompress") == "1":
                body = decompressed(body)
            named = parameters.get("query", "")
            statement = body if not named else named.encode() + b"\n" + body
            if not statement.strip():
                raise Refused(62, "Code: 62. DB::Exception: Empty query. (SYNTAX_ERROR)")
            shown = named or body.decode(errors="replace")
            self.execute(statement, shown, parameters)
        except Refused as refusal:
            self.answer(STATUSES.get(refusal.code, 500), f"{refusal}\n".encode(), refusal.code)

    def authenticate(self, parameters: dict[str, str]) -> None:
        user = self.headers.get("X-ClickHouse-User") or parameters.get("user") or "default"
        password = self.headers.get("X-ClickHouse-Key") or parameters.get("password") or ""
        right = secrets.compare_digest(user.encode(), self.front.user.encode())
        if not (secrets.compare_digest(password.encode(), self.front.password.encode()) and right):
            text = f"Code: 516. DB::Exception: {user}: Authentication failed. (AUTHENTICATION_FAILED)"
            raise Refused(516, text)

    def execute(self, statement: bytes, shown: str, parameters: dict[str, str]) -> None:
        fault = self.front.note(shown)
        what = fault.what if fault else ""
        if fault and what == "delay":
            time.sleep(fault.delay_ms / 1000)
        if fault and what == "error":
            raise Refused(fault.code, f"Code: {fault.code}. DB::Exception: told to fail. (TOLD_TO_FAIL)")
        if what == "kill-before":
            os.kill(os.getpid(), signal.SIGKILL)
        result = b"" if what == "lie" else self.result(statement, parameters)
        if what == "kill-after":
            os.kill(os.getpid(), signal.SIGKILL)
        if what == "drop-after":
            self.close_connection = True
            return
        if what == "half-after":
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/pl")
            self.close_connection = True
            return
        self.answer(200, result)

    def result(self, statement: bytes, parameters: dict[str, str]) -> bytes:
        settings = {name: value for name, value in parameters.items() if name not in OWN_PARAMETERS}
        for name in settings:
            if not re.fullmatch(r"\w+", name):
                raise Refused(115, f"Code: 115. DB::Exception: Unknown setting '{name}'. (UNKNOWN_SETTING)")
        database = parameters.get("database", "default")
        with self.front.engine.session(settings, database) as connection:
            parts = INSERT.match(statement)
            if parts is None:
                return query(connection, statement, parameters.get("default_format", "TabSeparated"))
            insert(connection, parts[1].decode(), parts[2].decode(), statement[parts.end() :])
            return b""

    def body(self) -> bytes | None:
        """The request's body, whole; None when it was refused and answered, or broke off."""
        if "chunked" in self.headers.get("transfer-encoding", ""):
            return self.chunks()
        length = self.headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > BODY_LIMIT:
            self.close_connection = True
            self.answer(413, f"a body of at most {BODY_LIMIT} bytes\n".encode())
            return None
        return self.rfile.read(int(length))

    def chunks(self) -> bytes | None:
        parts, total = [], 0
        while True:
            size = self.rfile.readline(128).split(b";")[0].strip()
            if not re.fullmatch(rb"[0-9a-fA-F]+", size):
                # The sender broke off: nothing of the statement may be executed.
                self.close_connection = True
                return None
            length = int(size, 16)
            part = self.rfile.read(length + 2)[:length]
            total += length
            if total > BODY_LIMIT or len(part) < length:
                self.close_connection = True
                return None
            if length == 0:
                return b"".join(parts)
            parts.append(part)

    def answer(self, status: int, payload: bytes, code: int | None = None) -> None:
        """Sends an answer."""
        self.send_response(status)
        self.send_header("Content-Type", "text/plain; charset=UTF-8")
        self.send_header("Content-Length", str(len(payload)))
        if code is not None:
            self.send_header("X-ClickHouse-Exception-Code", str(code))
        self.end_headers()
        self.wfile.write(payload)

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet: GET /statements tells what happened."""


def stop_with_parent() -> None:
    """Ends the program when standard input closes, as it does when the program that started this one dies."""
    while sys.stdin.buffer.read(4096):
        pass
    os._exit(0)


def arguments() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
                                     epilog="example: clickhouse.py --data /tmp/clickhouse --port 8123")
    parser.add_argument("--data", required=True, help="the data directory, made if it does not exist")
    parser.add_argument("--port", type=int, default=0, help="on 127.0.0.1; 0 takes a free one (default)")
    parser.add_argument("--user", default="default", help="the only user (default: default)")
    parser.add_argument("--password", default="", help="its password (default: none)")
    parser.add_argument("--with-parent", action="store_true", help="end when standard input closes")
    return parser


class Server(ThreadingHTTPServer):
    """Takes its port again right after a kill."""

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 64


def main() -> int:
    """Runs the engine until it is stopped."""
    args = arguments().parse_args()
    engine = Engine(args.data)
    with engine.session({}, "default") as connection:
        version = query(connection, "SELECT version()").decode().strip()
    Handler.front = Front(engine, args.user, args.password)
    server = Server(("127.0.0.1", args.port), Handler)
    if args.with_parent:
        threading.Thread(target=stop_with_parent, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_address[1]}"
    print(json.dumps({"url": url, "version": version}), flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        return 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
