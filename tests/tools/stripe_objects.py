"""The Stripe objects that `stripe_event.py` puts into its events, as Stripe's API of the pinned library sends them.

Metadata is where Stripe has it: on the PaymentIntent, and copied from there to the charge. Refunds and disputes carry
none and are found through their `payment_intent` and `charge`. A dispute's balance transactions are always whole.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import stripe

Object = dict[str, Any]

DISPUTE_FEE: Final = 1500


@dataclass(frozen=True)
class Order:
    """One card payment and what happened to it; amounts in the currency's smallest unit."""

    key: str
    merchant: str | None
    payment: str | None
    amount: int
    fee: int
    refund: int
    refund_key: str
    refunded_before: int
    currency: str
    carries: str
    created: int
    live: bool

    def id(self, prefix: str, *parts: str) -> str:
        """An id of Stripe's form that depends on the order's key (and `parts`) alone."""
        digest = hashlib.sha256("\0".join((prefix, self.key, *parts)).encode()).hexdigest()
        return f"{prefix}_{digest[:24]}"

    def metadata(self) -> dict[str, str]:
        """What Streambook sets on a PaymentIntent that it makes."""
        named = {"streambook_merchant": self.merchant, "streambook_payment": self.payment}
        return {name: value for name, value in named.items() if value is not None}


def balance_transaction(order: Order, kind: str, source: str, amount: int, fee: int) -> Object:
    """A movement of the Stripe balance; `net` is `amount - fee`, both signed."""
    details = [{"amount": fee, "application": None, "currency": order.currency,
                "description": "Stripe processing fees", "type": "stripe_fee"}]
    return {
        "id": order.id("txn", kind, source), "object": "balance_transaction", "amount": amount,
        "available_on": order.created + 172800, "balance_type": "payments", "created": order.created,
        "currency": order.currency, "description": None, "exchange_rate": None, "fee": fee,
        "fee_details": details if fee else [], "net": amount - fee,
        "reporting_category": "dispute" if kind == "adjustment" else kind,
        "source": source, "status": "pending", "type": kind,
    }


def _carried(order: Order, transaction: Object) -> Any:
    return {"id": transaction["id"], "expanded": transaction, "null": None}[order.carries]


def charge_transaction(order: Order) -> Object:
    """The balance transaction of the charge."""
    return balance_transaction(order, "charge", order.id("ch"), order.amount, order.fee)


def refund_transaction(order: Order) -> Object:
    """The balance transaction of the refund; Stripe keeps the fee of the charge."""
    return balance_transaction(order, "refund", order.id("re", order.refund_key), -order.refund, 0)


def payment_intent(order: Order, status: str) -> Object:
    """https://docs.stripe.com/api/payment_intents/object"""
    failed = {"code": "card_declined", "decline_code": "generic_decline", "type": "card_error",
              "message": "Your card was declined."}
    return {
        "id": order.id("pi"), "object": "payment_intent", "amount": order.amount,
        "amount_received": order.amount if status == "succeeded" else 0, "canceled_at": None,
        "capture_method": "automatic_async", "created": order.created, "currency": order.currency,
        "last_payment_error": failed if status == "requires_payment_method" else None,
        "latest_charge": order.id("ch") if status == "succeeded" else None,
        "livemode": order.live, "metadata": order.metadata(), "payment_method_types": ["card"], "status": status,
    }


def charge(order: Order, *, status: str = "succeeded", refunded: int = 0, disputed: bool = False) -> Object:
    """https://docs.stripe.com/api/charges/object"""
    paid = status == "succeeded"
    return {
        "id": order.id("ch"), "object": "charge", "amount": order.amount,
        "amount_captured": order.amount if paid else 0, "amount_refunded": refunded,
        "balance_transaction": _carried(order, charge_transaction(order)) if paid else None,
        "captured": paid, "created": order.created, "currency": order.currency, "disputed": disputed,
        "failure_code": None if paid else "card_declined",
        "failure_message": None if paid else "Your card was declined.",
        "livemode": order.live, "metadata": order.metadata(), "paid": paid, "payment_intent": order.id("pi"),
        "refunded": refunded == order.amount, "status": status,
    }


def refund(order: Order, status: str = "succeeded") -> Object:
    """https://docs.stripe.com/api/refunds/object"""
    return {
        "id": order.id("re", order.refund_key), "object": "refund", "amount": order.refund,
        "balance_transaction": _carried(order, refund_transaction(order)), "charge": order.id("ch"),
        "created": order.created, "currency": order.currency, "metadata": {}, "payment_intent": order.id("pi"),
        "reason": "requested_by_customer", "status": status,
    }


def dispute(order: Order, status: str) -> Object:
    """https://docs.stripe.com/api/disputes/object"""
    identity = order.id("dp")
    taken = balance_transaction(order, "adjustment", identity, -order.amount, DISPUTE_FEE)
    returned = balance_transaction(order, "adjustment", f"{identity}_won", order.amount, 0)
    transactions = [taken, returned] if status == "won" else [taken]
    return {
        "id": identity, "object": "dispute", "amount": order.amount, "balance_transactions": transactions,
        "charge": order.id("ch"), "created": order.created, "currency": order.currency, "is_charge_refundable": False,
        "livemode": order.live, "metadata": {}, "payment_intent": order.id("pi"), "reason": "fraudulent",
        "status": status,
    }


def _refunded_charge(order: Order) -> Object:
    return charge(order, refunded=order.refunded_before + order.refund)


KINDS: Final[dict[str, Callable[[Order], Object]]] = {
    "payment_intent.created": lambda order: payment_intent(order, "requires_payment_method"),
    "payment_intent.succeeded": lambda order: payment_intent(order, "succeeded"),
    "payment_intent.payment_failed": lambda order: payment_intent(order, "requires_payment_method"),
    "payment_intent.canceled": lambda order: payment_intent(order, "canceled") | {"canceled_at": order.created},
    "charge.succeeded": charge,
    "charge.updated": charge,
    "charge.failed": lambda order: charge(order, status="failed"),
    "charge.refunded": _refunded_charge,
    "refund.created": refund,
    "refund.failed": lambda order: refund(order, "failed"),
    "charge.dispute.created": lambda order: dispute(order, "needs_response"),
    "charge.dispute.funds_withdrawn": lambda order: dispute(order, "needs_response"),
    "charge.dispute.funds_reinstated": lambda order: dispute(order, "won"),
    "charge.dispute.closed": lambda order: dispute(order, "lost"),
}


def event(kind: str, order: Order) -> tuple[Object, dict[str, object]]:
    """The event of that kind, and the balance transactions it names by id, keyed by their API path."""
    of_refund = kind in ("charge.refunded", "refund.created", "refund.failed")
    part = (order.refund_key,) if of_refund else ()
    data = {"object": KINDS[kind](order)}
    if kind == "charge.updated":
        data["previous_attributes"] = {"balance_transaction": None}
    body = {
        "id": order.id("evt", kind, *part), "object": "event", "api_version": stripe.api_version,
        "created": order.created, "data": data, "livemode": order.live,
        "pending_webhooks": 1, "request": {"id": order.id("req", kind, *part), "idempotency_key": None}, "type": kind,
    }
    known = (charge_transaction(order), refund_transaction(order))
    named = data["object"].get("balance_transaction")
    fetch = {f"/v1/balance_transactions/{one['id']}": one for one in known if one["id"] == named}
    return body, dict(fetch)
