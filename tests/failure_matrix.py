"""The failures, policies and actions of `docs/failures.md`, and the text of that page."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from execfabric.web import looks
from tests.builders import plan, step
from tests.documents import PROJECT

PAGE = PROJECT / "docs/failures.md"
POLICIES = ("pause", "abort", "continue", "rollback")
HEAD = """\
# Failures and what follows

Look up what a run does by itself after a failure, and what you can do then. For a first
example read [When a step fails](when-a-step-fails.md).

Tests do all of this, and write this page from what they see. Their plan has three steps:
`first`, which has an undo; `middle`, which fails; and `last`, which needs `middle`. Each column
is a value of `onFailure`. In the column `rollback` the first failure begins a rollback
(`rollbackAfterFailures: 1`), and in the others none does (`rollbackAfterFailures: 0`).

Each cell has the state of the run, and then that of the step that failed, as pages show them.
The first row is what the run does by itself until nothing more happens. Each other row is what
the action leads to at once. An action is refused in a cell with – because the run has ended,
and in a cell with a number for the reason with this number. A refused action changes nothing.
All actions are those of an operator who did not propose the run. [States](lifecycle.md)
explains the states.
"""
ITSELF = "*By itself*"
ENDED = re.compile(r"\bhas ended \(")
"""In the reason of an action that is refused because the run has ended."""
SAME = {
    r"^Cannot [^:]+: (.)": lambda found: found[1].upper(),
    r"\d\d:\d\d:\d\d UTC": "13:05:00 UTC",
    r"[0-9a-f-]{36}": "RUN_ID",
}
"""What differs between actions or runs in a reason, and what the page has instead."""


@dataclass(frozen=True)
class Kind:
    """A way in which a step of the plan fails."""

    name: str
    meaning: str
    middle: Mapping[str, Any]
    how: str = "worker"
    """What makes it fail: see the functions of the test."""
    undo: Mapping[str, Any] = field(
        default_factory=lambda: {"action": "witness", "params": {"mark": "undo"}}
    )
    step: str = "middle"
    item: int | None = None
    """The step, and its item, that the actions are about."""

    def plan(self, policy: str) -> str:
        middle = {"id": "middle", "dependsOn": ["first"], **self.middle}
        return plan(
            step("first", "witness", params={"mark": "first"}, rollback=self.undo),
            middle,
            step("last", after="middle", params={"value": 3}),
            onFailure=policy,
            rollbackAfterFailures=int(policy == "rollback"),
        )


def lab(action: str, how: str = "", **fields: Any) -> dict[str, Any]:
    params = {"how": how} if how else {"mark": "middle"}
    return {"skill": "lab", "action": action, "params": params, **fields}


REFUSES = lab("once", "fail")
FORM = {"type": "object", "properties": {"name": {"type": "string"}}}
KINDS = [
    Kind("The target refuses", "The action reports a failure.", REFUSES),
    Kind(
        "Refused before any effect",
        "The action fails before it does anything.",
        lab("once", "early"),
    ),
    Kind(
        "Attempts used up",
        "The target is busy in every attempt that `retry` allows.",
        lab("misbehave-again", "busy"),
    ),
    Kind(
        "Timeout",
        "A read-only action runs longer than it may.",
        lab("misbehave", "hang", timeout="500ms"),
    ),
    Kind(
        "Invalid output",
        "The action returns what its schema forbids.",
        lab("misbehave", "schema"),
    ),
    Kind(
        "Crash of the action",
        "The process of a read-only action ends without an answer.",
        lab("misbehave", "die"),
    ),
    Kind(
        "The fallback fails too",
        "The action fails, and so does the fallback of the step.",
        REFUSES | {"fallback": REFUSES},
    ),
    Kind(
        "Condition without an answer",
        "The condition of the step cannot be evaluated.",
        {"skill": "lab", "action": "echo", "when": "steps.first.output.missing > 1"},
    ),
    Kind(
        "Input without a value",
        "A parameter refers to an output that an earlier step did not return.",
        lab("echo") | {"params": {"value": "$first.output.missing"}},
    ),
    Kind(
        "Unknown answer",
        "The action cannot say whether its effect happened.",
        lab("once", "unknown"),
    ),
    Kind(
        "Worker lost, safe to repeat",
        "The lease of a worker expires while it runs an action that is safe to repeat.",
        lab("witness-again"),
        "lost",
    ),
    Kind(
        "Worker lost, not safe to repeat",
        "The lease of a worker expires while it runs an action that is not safe to repeat."
        " The process of the action may still be running.",
        lab("witness"),
        "lost",
    ),
    Kind(
        "Worker lost long ago",
        "As before, but the process of the action is past its deadline, so its guardian"
        " has killed it.",
        lab("witness"),
        "dead",
    ),
    Kind(
        "Poison",
        "The lease of each worker that takes the step expires. The process of the last"
        " attempt may still be running.",
        lab("witness-again"),
        "poison",
    ),
    Kind(
        "An item of a list fails",
        "Of two items one succeeds and the other fails. The cells are about this item.",
        lab("once") | {"params": {"how": "$item"}, "forEach": ["succeed", "fail"]},
        item=1,
    ),
    Kind(
        "Approval rejected",
        "A user rejects the step.",
        lab("witness-gated"),
        "rejected",
    ),
    Kind(
        "Approval expired",
        "No one decides on the step in time.",
        lab("witness-gated"),
        "expired",
    ),
    Kind(
        "Form not answered",
        "No one answers the form of an input step in time.",
        {"kind": "input", "form": FORM, "ask": {"expiresIn": "1h"}},
        "expired",
    ),
    Kind(
        "An undo fails",
        "After the failure of `middle` the run is rolled back, by itself or by a user, and"
        " the undo of `first` fails. The cells are about this undo.",
        REFUSES,
        "undo",
        {"action": "once", "params": {"how": "fail"}},
        "first.undo",
    ),
    Kind(
        "An undo with an unknown outcome",
        "As before, but the undo cannot say whether its effect happened.",
        REFUSES,
        "undo",
        {"action": "once", "params": {"how": "unknown"}},
        "first.undo",
    ),
]


@dataclass(frozen=True)
class Cell:
    """The states that something led to, or the reason why it was refused."""

    states: tuple[str, ...] = ()
    """Of the run and the step, as badges know them; of a new run only the first."""
    refusal: str = ""

    def __str__(self) -> str:
        words = [looks.STATES[state].word for state in self.states]
        return " · ".join(words) if len(words) > 1 else f"New run: {words[0]}"

    @property
    def reason(self) -> str:
        """The reason of a refusal, without what differs between actions and runs."""
        text = self.refusal
        for pattern, common in SAME.items():
            text = re.sub(pattern, common, text)
        return text


Results = Mapping[tuple[str, str], Cell]
"""The cell of each policy and action of a kind; `ITSELF` without an action."""


def page(found: Mapping[str, Results]) -> str:
    """Return the page with what the tests found for each kind."""
    return HEAD + "".join(sections(found))


def sections(found: Mapping[str, Results]) -> Iterator[str]:
    """Yield a section for each kind; a table like an earlier one is only named."""
    seen: dict[str, Kind] = {}
    for kind in KINDS:
        text = table(found[kind.name])
        first = seen.setdefault(text, kind)
        if first is not kind:
            text = f"Everything is as after [{first.name}](#{anchor(first.name)}).\n"
        yield f"\n{heading(kind)}{text}"


def heading(kind: Kind) -> str:
    return f"## {kind.name}\n\n{kind.meaning}\n\n"


def anchor(name: str) -> str:
    return name.lower().replace(",", "").replace(" ", "-")


def table(results: Results) -> str:
    """Return the table of one kind, and the reasons of what was refused."""
    actions = list(dict.fromkeys(action for _, action in results))
    ordered = (results[policy, action] for action in actions for policy in POLICIES)
    reasons = list(
        dict.fromkeys(
            cell.reason
            for cell in ordered
            if cell.refusal and not ENDED.search(cell.refusal)
        )
    )
    rows: dict[tuple[str, ...], list[str]] = {}
    for action in actions:
        cells = [text_of(results[policy, action], reasons) for policy in POLICIES]
        # Only actions share a row.
        rows.setdefault((*cells, str(action == ITSELF)), []).append(action)
    lines = [row("", [f"`{policy}`" for policy in POLICIES])]
    lines.append(row("---", ["---"] * len(POLICIES)))
    lines += [row(", ".join(names), cells[:-1]) for cells, names in rows.items()]
    listed = [f"{number}. {text}" for number, text in enumerate(reasons, 1)]
    return "\n".join([*lines, "", *listed]).rstrip() + "\n"


def row(head: str, cells: Sequence[str]) -> str:
    return f"| {' | '.join([head, *cells])} |"


def text_of(cell: Cell, reasons: Sequence[str]) -> str:
    if not cell.refusal:
        return str(cell)
    if ENDED.search(cell.refusal):
        return "–"
    return f"({reasons.index(cell.reason) + 1})"


def table_on(page: str, kind: Kind) -> str:
    """Return the table of a kind on a page: its own, or the one that it names."""
    texts = {part.split("\n", 1)[0]: part for part in page.split("\n## ")[1:]}
    text = texts[kind.name].split("\n\n", 2)[2]
    for name in texts:
        if f"(#{anchor(name)})" in text:
            return texts[name].split("\n\n", 2)[2].strip() + "\n"
    return text.strip() + "\n"
