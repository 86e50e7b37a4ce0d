"""Build runs that wait for events, and send events."""

from execfabric.lib import clock
from orchestration.runs.control import events
from tests.builders import (
    approved,
    plan,
    step,
)

INVOICE = {"type": "object", "properties": {"invoice": {"type": "string"}}}
PAYLOAD = {"amount": 120, "by": "bank"}


def awaits(key="paid", *, event=None, **fields):
    event = event or {"type": "invoice.paid", "key": "$inputs.invoice"}
    return {"id": key, "kind": "wait", "event": event, "expiresIn": "14d", **fields}


TEXT = plan(
    awaits(),
    step("book", after="paid", params={"amount": "$paid.output.amount"}),
    inputs=INVOICE,
)


def sent(by, key="7", payload=None, *, event_id="", at=None, **fields):
    return events.send(
        type=fields.get("type", "invoice.paid"),
        key=key,
        payload=PAYLOAD if payload is None else payload,
        by=by.actor(),
        at=at or clock.now(),
        event_id=event_id,
    )


def waiting(proposer, operator, invoice="7", text=TEXT):
    return approved(text, proposer, operator, invoice=invoice)
