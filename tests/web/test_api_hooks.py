"""Webhooks by API and by command: create, list, show, rotate, pause, resume, delete."""

from pathlib import Path
from typing import Any

import pytest

from execfabric.lib.rights import Role
from tests.api_builders import PLAN, Caller, agent, caller, person, registry
from tests.integration.cli_builders import shell_at

pytestmark = pytest.mark.django_db

BODY = {"plan": "hand-on", "name": "Orders", "mapping": {"word": "/data/word"}}


@pytest.fixture
def proposer() -> Caller:
    registry()
    made = caller("proposer", Role.PROPOSER)
    made.post("plans", {"plan": PLAN})
    return made


def test_a_webhook_is_created_listed_shown_rotated_and_deleted(proposer) -> None:
    made = proposer.post("hooks", BODY)
    assert made.status_code == 201
    row, secret = made.json()["hook"], made.json()["secret"]
    address = f"hooks/{row['id']}"

    [listed] = proposer.get("hooks").json()["items"]
    shown = proposer.get(address)
    rotated = proposer.post(f"{address}:rotate", {}).json()
    states = [
        proposer.post(f"{address}:{act}", {}).json()["state"]
        for act in ("pause", "resume", "delete")
    ]

    assert secret.startswith("whsec_")
    assert listed["address"].endswith(f"/hooks/{row['id']}")
    assert secret not in shown.text
    assert (shown.json()["deliveries"], shown.json()["mapping"]) == (
        [],
        BODY["mapping"],
    )
    assert rotated["secret"] != secret
    assert rotated["hook"]["old_until"]
    assert states == ["paused", "active", "deleted"]
    assert proposer.get(address).status_code == 404


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"mapping": {"word": "word"}}, "hook.mapping_invalid"),
        ({"mapping": {}}, "hook.mapping_invalid"),
        ({"name": ""}, "trigger.name_invalid"),
        ({"plan": "nothing"}, "plan.unknown"),
        ({"salt": "x"}, "request.invalid"),
    ],
)
def test_a_refusal_has_its_code(proposer, changes, code) -> None:
    assert proposer.post("hooks", BODY | changes).json()["code"] == code


def test_agents_and_others_are_refused(proposer) -> None:
    row = proposer.post("hooks", BODY).json()["hook"]
    bot = agent("bot", person("owner", Role.ADMIN))
    operator = caller("operator", Role.OPERATOR)

    assert bot.post("hooks", BODY).json()["code"] == "auth.agents_cannot_decide"
    denied = operator.post(f"hooks/{row['id']}:rotate", {})
    assert denied.json()["code"] == "trigger.not_managed"
    admin = caller("admin", Role.ADMIN)
    denied = admin.post(f"hooks/{row['id']}:rotate", {})
    assert denied.json()["code"] == "trigger.not_managed"
    assert caller("other", Role.PROPOSER).get(f"hooks/{row['id']}").status_code == 404


@pytest.mark.django_db(transaction=True)
def test_a_change_by_command_keeps_what_is_left_out(
    live_server: Any, tmp_path: Path
) -> None:
    shell = shell_at(live_server.url, tmp_path)
    more = "".join(f"{name}: {{type: integer}}, " for name in "abcd")
    text = PLAN.replace("properties: {", f"properties: {{{more}")
    shell.json("proposer", "plan", "save", shell.write("plan.yaml", text))
    given = (
        "--map",
        "word=/w",
        "--map",
        "a=/a",
        "--map",
        "b=/b",
        "--input",
        "c=1",
        "--input",
        "d=2",
    )
    made = shell.json("proposer", "hook", "create", "hand-on", *given)
    words = ("proposer", "hook", "change", made["hook"]["id"])

    changed = [
        shell.json(*words, "--map", "a=/x"),
        shell.json(*words, "--input", "c=9"),
        shell.json(*words, "--unset", "a", "--unset", "d"),
        shell.json(*words, "--map", "c=/c", "--input", "b=3"),
    ]

    assert [(row["mapping"], row["inputs"]) for row in changed] == [
        ({"word": "/w", "a": "/x", "b": "/b"}, {"c": 1, "d": 2}),
        ({"word": "/w", "a": "/x", "b": "/b"}, {"c": 9, "d": 2}),
        ({"word": "/w", "b": "/b"}, {"c": 9}),
        ({"word": "/w", "c": "/c"}, {"b": 3}),
    ]


@pytest.mark.django_db(transaction=True)
def test_the_command_creates_lists_and_changes_webhooks(
    live_server: Any, tmp_path: Path
) -> None:
    shell = shell_at(live_server.url, tmp_path)
    shell.json("proposer", "plan", "save", shell.write("plan.yaml", PLAN))

    made = shell.json(
        "proposer", "hook", "create", "hand-on", "--map", "word=/data/word"
    )
    hook_id = made["hook"]["id"]
    [row] = shell.json("proposer", "hook", "list")
    words = ("proposer", "hook", "change", hook_id)
    changed = [
        shell.json(*words, "--name", "Large orders", "--revision", "1"),
        shell.json(*words, "--map", "word=/other", "--revision", "0"),
    ]
    rotated = shell.call("proposer", "hook", "rotate", hook_id)
    shown = shell.call("proposer", "hook", "show", hook_id)
    states = [
        shell.json("proposer", "hook", act, hook_id)["state"]
        for act in ("pause", "resume", "delete")
    ]
    wrong = shell.call("proposer", "hook", "create", "hand-on", "--map", "word")

    assert row["id"] == hook_id
    keys = ("name", "mapping", "revision")
    assert [[one[key] for key in keys] for one in changed] == [
        ["Large orders", {"word": "/data/word"}, 1],
        ["Large orders", {"word": "/other"}, None],
    ]
    assert "secret" not in changed[0]
    assert "whsec_" in rotated.stdout
    assert "whsec_" not in shown.stdout
    assert states == ["paused", "active", "deleted"]
    assert (wrong.returncode, "Invalid --map" in wrong.stderr) == (2, True)
