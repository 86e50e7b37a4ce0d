"""`execfabric event`: send, list and show."""

from pathlib import Path
from typing import Any

import pytest

from orchestration.runs.models import ExternalEvent
from tests.integration.cli_builders import Shell, shell_at

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def shell(live_server: Any, tmp_path: Path) -> Shell:
    """Run the command against a server in this process."""
    return shell_at(live_server.url, tmp_path)


def test_an_event_is_sent_once_for_one_id(shell: Shell) -> None:
    words = ("event", "send", "invoice.paid", "--key", "7", "--id", "evt-1")
    payload = ("--payload", '{"amount": 120}')

    first = shell.json("proposer", *words, *payload)
    again = shell.json("proposer", *words, *payload)
    plain = shell.call("proposer", *words, *payload)

    assert (first["id"], first["waits"]) == (again["id"], 0)
    assert "Stored for a wait that begins before" in plain.stdout
    event = ExternalEvent.objects.get()
    assert (event.type, event.key, event.payload) == (
        "invoice.paid",
        "7",
        {"amount": 120},
    )


def test_a_payload_that_is_no_object_is_a_usage_error(shell: Shell) -> None:
    done = shell.call("proposer", "event", "send", "a", "--payload", "[1]")

    assert done.returncode == 2
    assert "Write an object" in done.stderr


def test_events_are_listed_and_shown(shell: Shell) -> None:
    for key in ("7", "8"):
        shell.json("proposer", "event", "send", "invoice.paid", "--key", key)

    listed = shell.json("proposer", "event", "list")
    one = shell.json("proposer", "event", "list", "--key", "7")
    table = shell.call("proposer", "event", "list", "--type", "invoice.paid")
    shown = shell.call("proposer", "event", "show", listed[0]["id"])

    assert [each["key"] for each in listed] == ["8", "7"]
    assert [each["key"] for each in one] == ["7"]
    assert table.stdout.count("no wait") == 2
    assert "invoice.paid" in shown.stdout
    assert shown.returncode == 0
