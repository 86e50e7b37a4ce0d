"""The stored content of a gate as values for its page."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from jsonschema import Draft202012Validator

from approvals.models import Gate
from execfabric.lib import canonical, numbers
from execfabric.lib.refusal import Missing
from execfabric.web.templatetags.shown import file_size
from execfabric.web.values import FileReference, file_of

LONGEST_IN_SENTENCE = 120
"""Characters of a value in a sentence; a longer one is shown below it."""

_OBJECT = {"type": "object"}
_ACTION: dict[str, Any] = {
    "type": "object",
    "properties": {
        "id": {"type": "string"},
        "summary": {"type": "string"},
        "params": _OBJECT,
        "undo": {"type": ["object", "null"]},
    },
}
_STEPS = {"type": "array", "items": {**_ACTION, "required": ["id"]}}
_REPORTS = {"type": "array", "items": {"type": "object", "required": ["step"]}}
_SHAPE = Draft202012Validator(
    {
        **_ACTION,
        "properties": {
            **_ACTION["properties"],
            "steps": _STEPS,
            "plan": {
                "type": "object",
                "properties": {
                    "document": {"type": "object", "properties": {"steps": _STEPS}}
                },
            },
            "pins": {"type": "object", "additionalProperties": _OBJECT},
            "dry_run": {"type": ["object", "null"], "properties": {"steps": _REPORTS}},
            "files": {"type": "array", "items": _OBJECT},
            "proposer": _OBJECT,
        },
        "if": {"required": ["steps"]},
        "else": {"properties": {"skill": _OBJECT}},
    }
)
"""The shape that the page needs; another release may have written the content."""
_BLANK = re.compile(r"\{([A-Za-z_][\w.-]*)\}")


@dataclass(frozen=True)
class Part:
    """A part of a sentence: words of the skill, or the value of a parameter."""

    text: str
    is_value: bool = False
    elsewhere: bool = False
    """The value is too long for the sentence; `text` has its name and size."""
    file: FileReference | None = None
    """The file that the value refers to; `text` is its name."""


@dataclass(frozen=True)
class Action:
    """One action, of a step gate or of a step in a plan."""

    source: Mapping[str, Any]
    """The action in the content."""
    key: str
    skill: str
    version: str
    digest: str
    place: int = 0
    """Its place in the plan's order, from 0; 0 for a step gate."""
    preview: Mapping[str, Any] = field(default_factory=dict)
    """The result of its dry run, in a plan gate of an older release."""
    preview_place: int = 0
    """Its index among the results of the dry run."""
    written: Mapping[str, Any] = field(default_factory=dict)
    """The step as the plan has it."""

    @property
    def is_skill(self) -> bool:
        """Return True if it runs a skill; an approval step runs nothing."""
        return bool(self.source.get("action"))

    @property
    def sentence(self) -> tuple[Part, ...]:
        """Return the summary with the values of its parameters."""
        return sentence(self.source.get("summary", ""), self.source.get("params", {}))

    @property
    def undo_params(self) -> Any:
        """Return the parameters of its undo action, if any."""
        return (self.source.get("undo") or {}).get("params", {})


def read(gate: Gate) -> dict[str, Any]:
    """Read the content; the page shows content of another shape as text."""
    try:
        value: dict[str, Any] = canonical.loads(bytes(gate.subject))
        if _SHAPE.is_valid(value):
            return value
    except canonical.NotCanonical:
        pass
    return {"unreadable": bytes(gate.subject).decode("utf-8", "backslashreplace")}


def action_of(subject: Mapping[str, Any]) -> Action:
    """Return the action of a step gate."""
    skill = subject.get("skill", {})
    return Action(
        source=subject,
        key=subject.get("step", ""),
        skill=skill.get("slug", ""),
        version=skill.get("version", ""),
        digest=skill.get("digest", ""),
    )


def planned(subject: Mapping[str, Any], start: int, end: int) -> list[Action]:
    """Return the steps of a plan gate from one place up to another."""
    if "steps" not in subject:
        return []
    reports = (subject.get("dry_run") or {}).get("steps", [])
    previews = {report["step"]: at for at, report in enumerate(reports)}
    document = subject.get("plan", {}).get("document", {})
    written = {step["id"]: step for step in document.get("steps", [])}
    pins = subject.get("pins", {})
    found = []
    for place, step in enumerate(subject["steps"][start:end], start):
        key, preview = step["id"], previews.get(step["id"])
        found.append(
            Action(
                source=step,
                key=key,
                skill=step.get("skill", ""),
                version=step.get("version", ""),
                digest=pins.get(key, {}).get("digest", ""),
                place=place,
                preview={} if preview is None else reports[preview],
                preview_place=preview or 0,
                written=written.get(key, {}),
            )
        )
    return found


def value_at(subject: Any, pointer: str) -> Any:
    """Return the value that a JSON pointer (RFC 6901) names.

    :raises Missing: when there is none
    """
    value = subject
    for part in pointer.split("/")[1:]:
        name = part.replace("~1", "/").replace("~0", "~")
        if isinstance(value, Mapping) and name in value:
            value = value[name]
        elif isinstance(value, list) and (at := _index(name)) < len(value):
            value = value[at]
        else:
            raise Missing(f"Unknown value {pointer!r}.")
    return value


def _index(name: str) -> int:
    at = numbers.whole(name)
    return numbers.LARGEST if at is None else at


def sentence(summary: str, params: Mapping[str, Any]) -> tuple[Part, ...]:
    """Split a summary into its words and the values of its `{param}`."""
    parts: list[Part] = []
    end = 0
    for blank in _BLANK.finditer(summary):
        found = _lookup(params, blank.group(1))
        if found is None:
            continue
        parts.append(Part(summary[end : blank.start()]))
        parts.append(_filled(blank.group(1), found))
        end = blank.end()
    parts.append(Part(summary[end:]))
    return tuple(part for part in parts if part.text or part.is_value)


def _filled(name: str, value: Any) -> Part:
    if file := file_of(value):
        return Part(file.name, is_value=True, file=file)
    files = [file_of(item) for item in value] if isinstance(value, list) else []
    if files and None not in files:
        size = file_size(sum(file.size for file in files if file))
        many = f"{len(files)} file{'s' if len(files) > 1 else ''}"
        return Part(f"{many} ({size}, see below)", is_value=True, elsewhere=True)
    text = value if isinstance(value, str) else canonical.dumps(value).decode()
    if len(text) <= LONGEST_IN_SENTENCE:
        return Part(text, is_value=True)
    size = file_size(len(text.encode("utf-8", "surrogatepass")))
    return Part(f"{name} ({size}, see below)", is_value=True, elsewhere=True)


def _lookup(params: Mapping[str, Any], path: str) -> Any:
    value: Any = params
    for name in path.split("."):
        if not isinstance(value, Mapping) or name not in value:
            return None
        value = value[name]
    return value
