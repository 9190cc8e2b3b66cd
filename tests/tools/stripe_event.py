"""Makes Stripe webhook deliveries for tests, signed by Stripe's own Python library.

Bodies follow https://docs.stripe.com/api/events. Every id is derived from `--key`, so the events of one payment fit
together without any state, and the same arguments with the same `--created` give the same bytes: a repeat, as Stripe
sends them. Each line printed is one JSON object:

    body           the raw body to send, exactly as signed (or tampered with)
    header         the Stripe-Signature header, null when `--fault no-header` asks for none
    event_id       the event's id, null for a body that is not a JSON object
    stripe_accepts whether stripe.Webhook.construct_event takes body and header (it does not refuse a future timestamp)
    fetch          what Stripe's API would answer, by path, for the balance transactions that the body names by id
    response       with --post: the status and body of the receiver's answer
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import stripe

from stripe_objects import KINDS, Order, event

DEFAULT_SECRET = "whsec_streambook_test"
FAULTS = ("wrong-secret", "tampered-body", "only-v0", "no-timestamp", "no-header")


@dataclass(frozen=True)
class Signing:
    """How a body is signed, and what is made wrong about it."""

    secret: str
    offset_s: int
    other_v1: int
    fault: str | None


@dataclass(frozen=True)
class Delivery:
    """A body and the header it travels with."""

    body: str
    header: str | None

    def accepted_by_stripe(self, secret: str) -> bool:
        """Stripe's own verdict, with its default tolerance of five minutes."""
        try:
            stripe.Webhook.construct_event(self.body, self.header, secret)
        except (stripe.SignatureVerificationError, ValueError):
            return False
        return True


def sign(body: str, signing: Signing) -> Delivery:
    """Signs `body`; other secrets' signatures come first, as during a rotation."""
    timestamp = int(time.time()) + signing.offset_s
    secret = "whsec_not_the_secret" if signing.fault == "wrong-secret" else signing.secret
    parts = [f"t={timestamp}"]
    for number in range(signing.other_v1):
        parts.append(_v1(body, f"whsec_rotated_out_{number}", timestamp))
    parts.append(_v1(body, secret, timestamp))
    return _with_fault(body, parts, signing.fault)


def _v1(body: str, secret: str, timestamp: int) -> str:
    header = stripe.WebhookSignature.generate_signature_header(body, secret, timestamp=timestamp)
    return str(header).split(",", 1)[1]


def _with_fault(body: str, parts: list[str], fault: str | None) -> Delivery:
    if fault == "tampered-body":
        body = body[:-1] + " " + body[-1:]
    elif fault == "only-v0":
        parts = [part.replace("v1=", "v0=", 1) for part in parts]
    elif fault == "no-timestamp":
        parts = parts[1:]
    elif fault == "no-header":
        return Delivery(body, None)
    return Delivery(body, ",".join(parts))


def post(url: str, delivery: Delivery) -> dict[str, object]:
    """Sends the delivery to an address on this machine; any status is an answer, not an error."""
    if urllib.parse.urlsplit(url).hostname not in ("127.0.0.1", "localhost", "::1"):
        raise SystemExit(f"stripe_event: {url} is not an address of this machine")
    headers = {"Content-Type": "application/json; charset=utf-8"}
    if delivery.header is not None:
        headers["Stripe-Signature"] = delivery.header
    request = urllib.request.Request(url, data=delivery.body.encode(), headers=headers, method="POST")
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return {"status": answer.status, "body": answer.read().decode()}
    except urllib.error.HTTPError as refusal:
        return {"status": refusal.code, "body": refusal.read().decode()}


def report(body: str, fetch: dict[str, object], signing: Signing, url: str | None) -> None:
    """Signs, optionally posts, and prints one delivery."""
    delivery = sign(body, signing)
    line: dict[str, object] = {
        "body": delivery.body,
        "header": delivery.header,
        "event_id": _event_id(body),
        "stripe_accepts": delivery.accepted_by_stripe(signing.secret),
        "fetch": fetch,
    }
    if url is not None:
        line["response"] = post(url, delivery)
    print(json.dumps(line), flush=True)


def _event_id(body: str) -> str | None:
    try:
        parsed = json.loads(body)
    except ValueError:
        return None
    return parsed.get("id") if isinstance(parsed, dict) else None


def arguments() -> argparse.ArgumentParser:
    """The command line."""
    signing = argparse.ArgumentParser(add_help=False)
    signing.add_argument("--secret", default=DEFAULT_SECRET, help="the endpoint's secret (default %(default)s)")
    signing.add_argument("--offset", type=int, default=0, metavar="SECONDS", help="shift the signature's clock")
    signing.add_argument("--other-v1", type=int, default=0, metavar="N", help="N signatures of other secrets first")
    signing.add_argument("--fault", choices=FAULTS, help="make this wrong")
    signing.add_argument("--post", metavar="URL", help="send it there, for example http://127.0.0.1:8080/ingest/stripe")

    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example: stripe_event.py make payment_intent.succeeded charge.succeeded --key order-1 "
        "--merchant mer_1 --payment pay_1 --amount 1250",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    make = commands.add_parser("make", parents=[signing], help="make and sign events")
    make.add_argument("kinds", nargs="+", choices=sorted(KINDS), metavar="KIND", help=", ".join(sorted(KINDS)))
    make.add_argument("--key", required=True, help="the order; all ids are derived from it")
    make.add_argument("--merchant", help="metadata streambook_merchant (mer_…); left out when not given")
    make.add_argument("--payment", help="metadata streambook_payment (pay_…); left out when not given")
    make.add_argument("--amount", type=int, default=1250, help="in the currency's smallest unit (default %(default)s)")
    make.add_argument("--fee", type=int, default=66, help="Stripe's fee, smallest unit (default %(default)s)")
    make.add_argument("--refund", type=int, metavar="AMOUNT", help="amount refunded (default: all)")
    make.add_argument("--refund-key", default="1", help="tells refunds of one order apart (default %(default)s)")
    make.add_argument("--refunded-before", type=int, default=0, metavar="AMOUNT", help="refunded by earlier refunds")
    make.add_argument("--currency", default="usd", help="lower case ISO code (default %(default)s)")
    make.add_argument("--balance-transaction", choices=("id", "expanded", "null"), default="id",
                      help="how objects carry theirs; Stripe sends ids, and null before the fee is known")
    make.add_argument("--created", type=int, help="the events' time, Unix seconds (default: now)")
    make.add_argument("--live", action="store_true", help="livemode true")
    resign = commands.add_parser("sign", parents=[signing], help="sign a body that exists")
    resign.add_argument("file", help="the body; - is standard input")
    return parser


def main() -> int:
    """Runs the command line."""
    args = arguments().parse_args()
    signing = Signing(args.secret, args.offset, args.other_v1, args.fault)
    if args.command == "sign":
        raw = sys.stdin.buffer.read() if args.file == "-" else Path(args.file).read_bytes()
        report(raw.decode(), {}, signing, args.post)
        return 0
    order = Order(
        key=args.key,
        merchant=args.merchant,
        payment=args.payment,
        amount=args.amount,
        fee=args.fee,
        refund=args.amount if args.refund is None else args.refund,
        refund_key=args.refund_key,
        refunded_before=args.refunded_before,
        currency=args.currency,
        carries=args.balance_transaction,
        created=int(time.time()) if args.created is None else args.created,
        live=args.live,
    )
    for kind in args.kinds:
        body, fetch = event(kind, order)
        report(json.dumps(body, indent=2), fetch, signing, args.post)
    return 0


if __name__ == "__main__":
    sys.exit(main())
