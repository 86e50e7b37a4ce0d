"""Events of the audit log as sentences, with links to their run and approval."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from string import Formatter
from typing import Any, Literal, NamedTuple
from uuid import UUID

from django.db.models.functions import Length

from audit import selectors as audit
from audit.selectors import Event
from execfabric.lib.actor import ActorKind
from execfabric.lib.refusal import Invalid, Refusal
from orchestration.plans import selectors as plans
from orchestration.plans.models import PlanRevision
from orchestration.runs.domain.failure_names import name_of
from orchestration.runs.models import Run, StepRun
from orchestration.runs.pages.event_words import note_of, words_of
from orchestration.trace.selectors import run_of

LARGEST_PLAN = 256 << 10
"""Maximum bytes of a plan that is read for step names; larger ones show ids."""
UNREADABLE = "The stored event cannot be read. Verify its stream."


class SentencePart(NamedTuple):
    kind: Literal["text", "actor", "name"]
    text: str


@dataclass(frozen=True)
class LogLine:
    event: Event
    envelope: Any
    """The body as JSON; as text if it cannot be read."""
    state: str
    """The state whose icon and color mark the event."""
    sentence: tuple[SentencePart, ...]
    note: str
    """The comment of the actor, or the message of an error."""
    code: str
    channel: str
    run: UUID | None
    run_name: str
    gate: str
    failure: str
    """The name of the failure that the event is; empty if it is not one."""

    @property
    def text(self) -> str:
        return "".join(part.text for part in self.sentence)

    @property
    def names_actor(self) -> bool:
        return any(part.kind == "actor" for part in self.sentence)

    @property
    def hash(self) -> str:
        return bytes(self.event.hash).hex()


@dataclass
class _Names:
    """The names and approvals of the runs and steps that events are about."""

    runs: dict[UUID, Run] = field(default_factory=dict)
    steps: dict[tuple[UUID, str], str] = field(default_factory=dict)
    """Step names by revision and step id."""
    gates: dict[tuple[UUID, str], UUID | None] = field(default_factory=dict)
    """The approval of each step, by run and step id."""

    def step(self, run: Run | None, key: str) -> str:
        return (run and self.steps.get((run.revision_id, key))) or key


def lines(events: Sequence[Event]) -> list[LogLine]:
    """Return events as lines, with a fixed number of queries."""
    names = _names(events)
    return [_line(event, names) for event in events]


def _line(event: Event, names: _Names) -> LogLine:
    envelope = _envelope(event)
    payload = envelope["payload"] if isinstance(envelope, dict) else {}
    words = words_of(event.kind)
    run_id = run_of(event.stream_id)
    run = names.runs.get(run_id) if run_id else None
    error = payload.get("error")
    code = (error if isinstance(error, dict) else payload).get("code", "")
    return LogLine(
        event=event,
        envelope=envelope,
        state=words.state,
        sentence=tuple(_sentence(words.sentence, _parts(event, payload, run, names))),
        note=note_of(payload) if isinstance(envelope, dict) else UNREADABLE,
        code=str(code),
        channel=str(payload.get("channel", "")),
        run=run.pk if run else None,
        run_name=run.revision.plan.name if run else "",
        gate=_gate(event, payload, run, names),
        failure=str(name_of(event.kind, payload) or ""),
    )


def _gate(
    event: Event, payload: Mapping[str, Any], run: Run | None, names: _Names
) -> str:
    """Return the id of the approval that an event is about; "" if there is none."""
    gate = payload.get("gate")
    if gate is None and run is not None:
        gate = names.gates.get((run.pk, event.step)) if event.step else run.gate_id
    try:
        return str(UUID(str(gate))) if gate else ""
    except ValueError:
        return ""  # a changed event


def _sentence(
    template: str, known: Mapping[str, list[SentencePart]]
) -> Iterable[SentencePart]:
    for text, name, _, _ in Formatter().parse(template):
        if text:
            yield SentencePart("text", text)
        if name:
            yield from known[name]


def _parts(
    event: Event, payload: Mapping[str, Any], run: Run | None, names: _Names
) -> Mapping[str, list[SentencePart]]:
    step = SentencePart("name", names.step(run, event.step))
    plan = SentencePart("name", run.revision.plan.name if run else event.stream_id)
    if event.step:
        subject = [SentencePart("text", "step "), step]
    elif payload.get("kind") == "run":
        subject = [SentencePart("text", "the plan "), plan]
    else:
        subject = [SentencePart("text", "an unknown request")]
    is_system = event.actor.startswith(f"{ActorKind.SYSTEM}:")
    actor = "The system" if is_system else event.actor_name
    known = {
        "actor": [SentencePart("actor", actor)],
        "step": [step],
        "run": [plan],
        "kind": [SentencePart("name", event.kind)],
        "verdict": [SentencePart("text", _verb(payload))],
        "subject": subject,
    }
    texts = {key: [SentencePart("name", _text(item))] for key, item in payload.items()}
    return defaultdict(lambda: [SentencePart("name", "unknown")], {**texts, **known})


def _verb(payload: Mapping[str, Any]) -> str:
    verdict = payload.get("verdict", payload.get("approve"))
    if isinstance(verdict, bool):  # as older events store it
        verdict = "approved" if verdict else "rejected"
    return verdict if verdict in ("approved", "rejected") else "decided on"


def _text(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return str(value)


def _envelope(event: Event) -> Any:
    try:
        envelope = audit.envelope(event)
    except Invalid:
        envelope = None
    if isinstance(envelope, dict) and isinstance(envelope.get("payload"), dict):
        return envelope
    # Show a changed body as it is: the auditor looks for it.
    return bytes(event.body).decode("utf-8", "backslashreplace")


def _names(events: Sequence[Event]) -> _Names:
    names = _Names()
    ids = {run_id for event in events if (run_id := run_of(event.stream_id))}
    if not ids:
        return names
    runs = Run.objects.filter(pk__in=ids).select_related("revision__plan")
    wanted = ("gate_id", "revision__plan__name")
    names.runs = {run.pk: run for run in runs.only(*wanted)}
    keys = {event.step for event in events if event.step}
    if keys:
        used = {run.revision_id for run in names.runs.values()}
        names.steps = _step_names(used, keys)
        steps = StepRun.objects.filter(run__in=ids, key__in=keys)
        steps = steps.only("run_id", "key", "gate_id")
        names.gates = {(step.run_id, step.key): step.gate_id for step in steps}
    return names


def _step_names(revisions: set[UUID], keys: set[str]) -> dict[tuple[UUID, str], str]:
    found = PlanRevision.objects.filter(pk__in=revisions).only("body")
    small = found.annotate(size=Length("body")).filter(size__lte=LARGEST_PLAN)
    names: dict[tuple[UUID, str], str] = {}
    for revision in small:
        try:
            steps = plans.document(revision).steps
        except Refusal:
            continue  # a changed plan: its steps show their ids
        names |= {(revision.pk, s.id): s.name for s in steps if s.id in keys and s.name}
    return names
