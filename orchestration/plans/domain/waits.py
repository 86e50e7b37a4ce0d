"""The keys of wait steps: what they wait for, and how a page says it."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic.dataclasses import dataclass
from pydantic_core import PydanticCustomError

from execfabric.lib.clock import in_utc
from orchestration.plans.domain import references
from orchestration.plans.domain.fields import CONFIG, DURATION, MAX_SECONDS, seconds
from orchestration.plans.domain.references import Scope
from orchestration.plans.errors import ReferenceUnresolved, WaitInvalid

if TYPE_CHECKING:
    from orchestration.plans.domain.document import StepDocument

WAIT_KEYS = ("for", "until", "event", "expiresIn")
"""The keys of a step of kind `wait`."""
EVENT_TYPE = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$"
SENDERS = "Any user or agent who may propose can send this event, with any payload."
"""What approvers read about a wait for an event."""
MAX_EVENT_KEY = 200
"""Characters of the key of an event."""
Flaw = tuple[str, str, tuple[str, ...]]
"""A code, a sentence, and the key that it is about."""
_MOMENT = (
    r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?"
    r"(Z|[+-][0-9]{2}:[0-9]{2})$"
)
_UNITS = (("d", 86400), ("h", 3600), ("m", 60))


_REFERENCE = r"^\$"
"""How a reference starts; the validator checks the rest."""


def is_reference(value: Any) -> bool:
    return isinstance(value, str) and references.is_required(value)


def _seconds(value: Any) -> float | str:
    if is_reference(value):
        return str(value)
    if isinstance(value, str) and value.startswith("$"):
        wanted = (
            "must be a duration such as 10m, or one reference such as $inputs.pause"
        )
        raise PydanticCustomError("plan.wrong_type", wanted)
    return seconds(value)


WaitTime = Annotated[
    float | str,
    BeforeValidator(
        _seconds,
        json_schema_input_type=Annotated[float, Field(gt=0, le=MAX_SECONDS)]
        | Annotated[str, Field(pattern=f"{DURATION}|{_REFERENCE}")],
    ),
]
"""A duration in seconds, or a reference to one."""


def _moment(text: str) -> str:
    return text if is_reference(text) else moment(text)


def moment(text: str) -> str:
    """Return a date and time with its offset.

    :raises PydanticCustomError: if it is not one
    """
    try:
        if re.fullmatch(_MOMENT, text):
            in_utc(datetime.fromisoformat(text))
            return text
    except ValueError:
        pass
    wanted = (
        "must be a date and time with its offset, such as 2026-03-01T06:00:00+01:00"
    )
    raise PydanticCustomError("plan.wrong_type", wanted)


Moment = Annotated[
    str,
    AfterValidator(_moment),
    Field(json_schema_extra={"pattern": f"{_MOMENT}|{_REFERENCE}"}),
]
"""A date and time as in RFC 3339, or a reference to one."""


def _event_type(text: str) -> str:
    if re.fullmatch(EVENT_TYPE, text):
        return text
    wanted = "must be letters, digits, dots, - and _, such as invoice.paid, at most 100"
    raise PydanticCustomError("plan.wrong_value", wanted)


@dataclass(frozen=True, config=CONFIG)
class EventDocument:
    """The event that a step waits for."""

    type: Annotated[
        str,
        AfterValidator(_event_type),
        Field(json_schema_extra={"pattern": EVENT_TYPE}),
    ]
    """The type of the event, such as `invoice.paid`."""
    key: Annotated[str, Field(max_length=MAX_EVENT_KEY)] = ""
    """The key of the event, such as the number of an invoice; references are allowed."""


def seconds_of(step: "StepDocument") -> float | None:
    """Return how long a step waits; None if that is not known yet, or not a duration."""
    return None if isinstance(step.for_s, str) else step.for_s


def moment_of(step: "StepDocument") -> datetime | None:
    """Return the end of a step that waits until a time; None if it is not known yet."""
    if not step.until or is_reference(step.until):
        return None
    return datetime.fromisoformat(step.until)


def times_of(step: "StepDocument") -> dict[str, str]:
    """Return the references that say how long a step waits, by key."""
    written = {"for": step.for_s, "until": step.until}
    return {key: str(value) for key, value in written.items() if is_reference(value)}


def resolved(step: "StepDocument", scope: Scope) -> "StepDocument":
    """Return a wait step with the values of the references in its times.

    :raises ReferenceUnresolved: when a reference has no value
    :raises WaitInvalid: when a value is not a duration, or not a date and time
    """
    checks: dict[str, tuple[str, Callable[[Any], Any]]] = {
        "for": ("for_s", seconds),
        "until": ("until", _text_moment),
    }
    for key, reference in times_of(step).items():
        field, check = checks[key]
        value = references.resolve(reference, scope)
        try:
            step = replace(step, **{field: check(value)})
        except PydanticCustomError as error:
            message = f"Cannot wait: {key} is {reference}, and its value {error}."
            raise WaitInvalid(message, key=key) from error
    return step


def _text_moment(value: Any) -> str:
    return moment(value if isinstance(value, str) else "")


def foreseen(step: "StepDocument", inputs: Mapping[str, Any] | None) -> "StepDocument":
    """Return a wait step as the inputs of the run, if they are known, resolve it.

    :raises WaitInvalid: when an input is not a duration, or not a date and time
    """
    times = [*references.find([*times_of(step).values()])]
    if inputs is None or any(reference.head != "inputs" for reference in times):
        return step
    try:
        return resolved(step, Scope(inputs=inputs, run={}))
    except ReferenceUnresolved:
        return step  # an optional input that is absent: the step fails when it is due


def targets_of(step: "StepDocument") -> dict[str, Any]:
    """Return what a wait step waits for, as JSON."""
    found: dict[str, Any] = {}
    if step.for_s is not None:
        found["for"] = step.for_s
    if step.until:
        found["until"] = step.until
    if step.event is not None:
        found["event"] = {"type": step.event.type, "key": step.event.key}
    return found


def flaws(step: "StepDocument", at: datetime | None) -> Iterator[Flaw]:
    """Return what is wrong with a wait step, at a time if it is known."""
    if len(targets_of(step)) != 1:
        message = "A wait step needs exactly one of for, until and event."
        yield "plan.wait_invalid", message, ()
    if step.expires_in is not None and step.event is None:
        message = "Only a wait for an event can expire."
        yield "plan.wait_invalid", message, ("expiresIn",)
    ends_at = moment_of(step)
    if ends_at is None or at is None:
        return
    if ends_at <= at:
        message = f"{step.until} is in the past, so the step does not wait."
        yield "plan.wait_past", message, ("until",)
    if is_too_late(ends_at, at):
        message = f"{step.until} is more than 366 days away."
        yield "plan.wait_invalid", message, ("until",)


def is_too_late(ends_at: datetime, at: datetime) -> bool:
    return ends_at > at + timedelta(seconds=MAX_SECONDS)


def longest(
    step: "StepDocument", at: datetime | None
) -> Iterator[tuple[tuple[str, ...], float]]:
    """Return how long a step waits at most: keys and seconds."""
    length, ends_at = seconds_of(step), moment_of(step)
    if length is not None:
        yield ("for",), length
    if ends_at is not None and at is not None:
        yield ("until",), (ends_at - at).total_seconds()
    if step.expires_in is not None:
        yield ("expiresIn",), step.expires_in
    if step.ask is not None and step.ask.expires_in is not None:
        yield ("ask", "expiresIn"), step.ask.expires_in


def sentence(step: "StepDocument", inputs: Mapping[str, Any] | None = None) -> str:
    """Say what a wait step waits for, with the inputs of the run if they are known."""
    if step.event is not None:
        return (
            f"Waits for {event_text(step.event.type, step.event.key)}{_at_most(step)}."
        )
    try:
        known = foreseen(step, inputs)
    except WaitInvalid as error:
        return error.message
    times = times_of(step)
    source = f" ({', '.join(times.values())})" if times and known != step else ""
    length = seconds_of(known)
    if length is not None:
        return f"Waits {duration(length)}{source}."
    if known.until:
        return f"Waits until {known.until}{source}."
    return f"Waits as long as {known.for_s} says."


def event_text(type_: str, key: str) -> str:
    return f"event {type_} with key {key}" if key else f"event {type_}"


def _at_most(step: "StepDocument") -> str:
    return f", at most {duration(step.expires_in)}" if step.expires_in else ""


def duration(seconds: float) -> str:
    """Return a duration as it is written in a plan, such as 1h30m."""
    parts = []
    for unit, size in _UNITS:
        count, seconds = divmod(seconds, size)
        if count:
            parts.append(f"{count:.0f}{unit}")
    if seconds or not parts:
        parts.append(f"{seconds:g}s")
    return "".join(parts)
