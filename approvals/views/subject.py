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
        "fallback": {
            "type": "object",
            "properties": {"params": _OBJECT, "undo": {"type": ["object", "null"]}},
        },
        "choose": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"then": {"type": "array"}, "else": {"type": "array"}},
            },
        },
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
            "subplans": {
                "type": "object",
                "additionalProperties": {
                    "type": "object",
                    "properties": {
                        "document": {"type": "object", "properties": {"steps": _STEPS}}
                    },
                },
            },
            "dry_run": {"type": ["object", "null"], "properties": {"steps": _REPORTS}},
            "files": {"type": "array", "items": _OBJECT},
            "proposer": _OBJECT,
            "edit": {
                "type": "object",
                "properties": {
                    "by": {
                        "type": "object",
                        "properties": {
                            "kind": {"type": "string"},
                            "id": {"type": "string"},
                        },
                        "required": ["kind", "id"],
                    },
                    "changes": {"type": "array", "items": _OBJECT},
                },
                "required": ["by", "changes"],
            },
        },
        "if": {"required": ["steps"]},
        "else": {"properties": {"skill": _OBJECT}},
    }
)
"""The keys that the page needs; another release may use other keys."""
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
    source: Mapping[str, Any]
    key: str
    skill: str
    version: str
    digest: str
    place: int = 0
    """The index of the step in the plan, from 0; 0 for a step gate."""
    preview: Mapping[str, Any] = field(default_factory=dict)
    """The result of its dry run, in a plan gate of an older release."""
    preview_place: int = 0
    """Its index among the results of the dry run."""
    written: Mapping[str, Any] = field(default_factory=dict)
    """The step as it is written in the plan."""

    @property
    def is_skill(self) -> bool:
        """Return True for a skill step; an approval step runs nothing."""
        return bool(self.source.get("action"))

    @property
    def sentence(self) -> tuple[Part, ...]:
        return sentence(self.source.get("summary", ""), self.source.get("params", {}))

    @property
    def fallback(self) -> "Action | None":
        """The action that runs if the step fails for good."""
        source = self.source.get("fallback")
        if not source:
            return None
        skill, version = source.get("skill", ""), source.get("version", "")
        return Action(source, self.key, skill, version, "")

    @property
    def undo_params(self) -> Any:
        return (self.source.get("undo") or {}).get("params", {})


def read(gate: Gate) -> dict[str, Any]:
    """Return the content; as text if it lacks the keys that the page needs."""
    try:
        value: dict[str, Any] = canonical.loads(bytes(gate.subject))
        if _SHAPE.is_valid(value):
            return value
    except canonical.NotCanonical:
        pass
    return {"unreadable": bytes(gate.subject).decode("utf-8", "backslashreplace")}


def action_of(subject: Mapping[str, Any]) -> Action:
    skill = subject.get("skill", {})
    return Action(
        source=subject,
        key=subject.get("step", ""),
        skill=skill.get("slug", ""),
        version=skill.get("version", ""),
        digest=skill.get("digest", ""),
    )


def planned(subject: Mapping[str, Any], start: int, end: int) -> list[Action]:
    if "steps" not in subject:
        return []
    reports = (subject.get("dry_run") or {}).get("steps", [])
    previews = {report["step"]: at for at, report in enumerate(reports)}
    written = _written(subject)
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
                written=written.get(
                    (step.get("inside", ""), key.rpartition("/")[2]), {}
                ),
            )
        )
    return found


def _written(subject: Mapping[str, Any]) -> dict[tuple[str, str], Mapping[str, Any]]:
    """Return each step as it is written, by the plan step around it and its id."""
    pins = subject.get("pins", {})
    contents = subject.get("subplans", {})
    documents = {
        path: contents.get(pin.get("digest"), {}).get("document", {})
        for path, pin in pins.items()
        if "revision_id" in pin
    }
    documents[""] = subject.get("plan", {}).get("document", {})
    return {
        (around, step["id"]): step
        for around, document in documents.items()
        for step in document.get("steps", [])
    }


def value_at(subject: Any, pointer: str) -> Any:
    """Return the value that a JSON pointer (RFC 6901) names.

    :raises Missing: when there is none
    """
    value = subject
    for part in pointer.split("/")[1:]:
        name = part.replace("~1", "/").replace("~0", "~")
        index = numbers.whole(name)
        if isinstance(value, Mapping) and name in value:
            value = value[name]
        elif isinstance(value, list) and index is not None and index < len(value):
            value = value[index]
        else:
            raise Missing(f"Unknown value {pointer!r}.")
    return value


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
    items = value if isinstance(value, list) else []
    files = [file for item in items if (file := file_of(item))]
    if files and len(files) == len(items):
        name = f"{len(files)} file{'s' if len(files) > 1 else ''}"
        size = sum(file.size for file in files)
    else:
        text = value if isinstance(value, str) else canonical.dumps(value).decode()
        if len(text) <= LONGEST_IN_SENTENCE:
            return Part(text, is_value=True)
        size = len(text.encode("utf-8", "surrogatepass"))
    text = f"{name} ({file_size(size)}, see below)"
    return Part(text, is_value=True, elsewhere=True)


def _lookup(params: Mapping[str, Any], path: str) -> Any:
    value: Any = params
    for name in path.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value
