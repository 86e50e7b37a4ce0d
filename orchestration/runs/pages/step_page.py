"""The values of the page of one step."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db.models import QuerySet

from audit import selectors as audit
from execfabric.lib import canonical
from execfabric.lib.actor import Actor
from execfabric.lib.ids import scope_span
from orchestration.plans.domain import fallbacks, iteration, waits
from orchestration.plans.domain.routing import rules_of
from orchestration.plans.domain.undo import is_undo, undo_key_of, undo_of
from orchestration.runs import selectors
from orchestration.runs.domain.probes import ProbeAnswer
from orchestration.runs.domain.states import FINAL_RUN, Phase, RunState, StepState
from orchestration.runs.models import ArtifactUse, Attempt, EventWait, StepRun
from orchestration.runs.pages import failures, items
from orchestration.runs.pages.items import ItemPage
from orchestration.runs.pages.places import StepPlace, StepPlaces
from orchestration.runs.pages.run_page import StepLine
from orchestration.skills import selectors as skills
from orchestration.skills.domain.contract import ActionContract

INSIDE = 200
"""Steps of a sub-plan that the page lists."""
AFTER_FAILURE = {
    "pause": "Resume the run to retry this step.",
    "continue": "The run continues without this step.",
    "abort": "The run ends as failed after its running steps finish.",
    "rollback": "The run is rolled back after its running steps finish.",
}
"""The effect of a failed step on its run, by `onFailure` of the plan."""

CHECK = "Check the target system, then resolve the outcome."
CHECKING = "A worker checks whether it happened. You can also resolve the outcome."
ANSWERS = {
    ProbeAnswer.HAPPENED: "It happened.",
    ProbeAnswer.DID_NOT_HAPPEN: "It did not happen.",
    ProbeAnswer.CANNOT_TELL: "It could not tell.",
}


@dataclass(frozen=True)
class StepDetails(StepLine):
    on_failure: str
    action: ActionContract | None
    params: Any
    is_resolved: bool
    """True if `params` are the exact values that run, fully resolved."""
    undo: dict[str, Any] | None
    attempts: QuerySet[Attempt]
    files: QuerySet[ArtifactUse]
    place: StepPlace
    inside: list[StepRun]
    """The first steps of its sub-plan, once it has started."""
    routes: dict[str, Any]
    """What decides whether the step runs; empty if only its dependencies do."""
    reused_from: StepRun | None
    """The step of an earlier run whose result it has."""
    is_by_hand: bool
    """True if a person gave that result, not the action."""
    fallback: StepRun | None
    """The step run of its fallback, once that has started."""
    undo_row: StepRun | None
    """The step run of its undo, once a rollback has begun."""
    undoes: StepRun | None
    """For an undo, the step that it undoes."""
    cause: dict[str, Any]
    """For a fallback, why its step failed."""
    session: str = ""
    """The session of its sub-plan in the trace, once that has started."""
    wait: str = ""
    """A sentence that says what a wait step waits for."""
    awaited: EventWait | None = None
    """The event that the step waits or has waited for, with its resolved key."""
    item: str = ""
    """The start of the value of an item."""
    page: ItemPage | None = None
    """A page of its items, if it has any."""

    @property
    def outcome(self) -> str:
        """Return how its condition or its rules were decided, or an empty string."""
        condition = self.row.condition or {}
        if "then" in condition:
            rule = condition["rule"]
            chosen = ", ".join(condition["then"]) or "no step"
            which = "No rule" if rule is None else f"Rule {rule + 1}"
            return f"{which} applied. Chosen: {chosen}."
        if "when" in condition:
            return f"The condition was {'true' if condition['result'] else 'false'}."
        return ""

    @property
    def happened(self) -> str:
        return failures.happened(self.row)

    @property
    def may_have_changed(self) -> bool:
        return failures.may_have_changed(self.row)

    @property
    def targets(self) -> list[tuple[str, str]]:
        return failures.targets_of(self.row)

    @property
    def probed(self) -> dict[str, Any]:
        """Return the answer of the last probe, in words; empty without one."""
        probe = self.row.probe_record or {}
        words = ANSWERS.get(probe.get("answer", ""))
        return {**probe, "words": words} if words else {}

    @property
    def advice(self) -> str:
        """Return what to do about the error while the run has not ended."""
        row, has_ended = self.row, RunState(self.row.run.state) in FINAL_RUN
        if not row.error:
            return ""
        if row.state == StepState.BACKOFF:
            return "It is retried automatically."
        if row.state == StepState.INDETERMINATE:
            return CHECKING if row.probe_at else CHECK
        if row.state != StepState.FAILED or has_ended or not self.action:
            return ""
        if self.on_failure != "pause":
            return AFTER_FAILURE[self.on_failure]
        may_remain = row.error.get("ran") and self.may_have_changed
        target = " Check the target system." if may_remain else ""
        return f"Fix the cause.{target} {AFTER_FAILURE['pause']}"


def step_view(by: Actor, run_id: UUID, address: str, *, first: int = 0) -> StepDetails:
    """Return one step for one reader, with a page of its items from `first`.

    :raises RunUnknown: when there is no such run for `by`
    :raises StepUnknown: when the run has no such step
    """
    row = selectors.step(by, run_id, address)
    place = StepPlaces(row.run).of(row)
    document, planned, pin = place.document, place.step, place.pin
    pinned = skills.pinned([pin["version_id"]] if "version_id" in pin else [])
    page = items.listed(row, first)
    version = pinned.get(pin.get("version_id", ""))
    contract = version.readable if version else None
    spec = {"params": planned.inputs if planned.kind == "plan" else planned.params}
    if row.spec is not None:
        spec = canonical.loads(bytes(row.spec.body))
    return StepDetails(
        row=row,
        step=planned,
        version=pin.get("version", ""),
        gate=selectors.gates_by_id(row.run, [row]).get(row.gate_id),
        on_failure=planned.on_error or document.on_failure,
        action=version.action(planned.action) if version else None,
        params=planned.form
        or spec.get("inputs", spec.get("params", spec.get("context", {}))),
        place=place,
        inside=_inside(row),
        is_resolved=row.spec is not None,
        undo=undo_of(planned, contract) if contract and not is_undo(row.key) else None,
        attempts=row.attempts.order_by("fence"),
        routes=_routes(place, row),
        items=page.counts if page else None,
        page=page,
        item=items.value_of(row) if row.item is not None else "",
        fallback=_below(row, fallbacks.key_of(row.key)),
        reused_from=row.reused_from if row.reused_from_id else None,
        is_by_hand=_is_by_hand(row.reused_from),
        undo_row=_below(row, undo_key_of(row.key)),
        undoes=row.parent if is_undo(row.key) else None,
        cause=_cause(row),
        session=scope_span(row.run.trace_id, row.pk) if row.has_session else "",
        wait=_wait(place, row),
        awaited=row.event_waits.order_by("-generation").first(),
        files=row.artifact_uses.select_related("artifact").order_by("name", "pk"),
    )


def _is_by_hand(source: StepRun | None) -> bool:
    """Return True if no attempt of a step that succeeded has given its result."""
    if source is None:
        return False
    return not source.attempts.filter(phase=Phase.DONE).exists()


def _wait(place: StepPlace, row: StepRun) -> str:
    """Say what a wait step waits for; the inputs of the run are not those of a sub-plan."""
    if place.step.kind != "wait":
        return ""
    return waits.sentence(place.step, None if place.crumbs else row.run.inputs)


def _inside(row: StepRun) -> list[StepRun]:
    """Return the steps of a sub-plan that has started."""
    if row.kind != "plan":
        return []
    rows = row.run.steps.filter(parent=row).order_by("position")
    return list(rows.defer(*selectors.CONTENT)[:INSIDE])


def _below(row: StepRun, key: str) -> StepRun | None:
    """Return the step run of the fallback or the undo of a step."""
    columns = ("key", "item", "parent_id", "run_id", "state")
    return row.run.steps.filter(key=key, parent=row).only(*columns).first()


def _cause(row: StepRun) -> dict[str, Any]:
    """Return the error with which the step of a fallback failed, as it is recorded."""
    if not fallbacks.is_fallback(row.key):
        return {}
    owner = fallbacks.owner_of(row.key)
    # Items of a list, and steps of sub-plans, may have the same key.
    parent = row.parent.parent_id if row.parent else None
    place = row.item, str(parent) if parent else None
    found = audit.newest_of(row.run.stream, "step.fell_back", owner)
    facts = (audit.envelope(each)["payload"] for each in found)
    error: dict[str, Any] = next(
        (
            fact["error"]
            for fact in facts
            if (fact.get("item"), fact.get("parent")) == place
        ),
        {},
    )
    return {"step": owner, "message": error.get("message", "")}


def _routes(place: StepPlace, row: StepRun) -> dict[str, Any]:
    document, planned = place.document, place.step
    router = document.routers.get(planned.id, "")
    for_each = None
    if planned.for_each is not None and row.item is None:
        for_each = iteration.facts(planned, None if place.crumbs else row.run.inputs)
    if not (planned.when or planned.choose or router or for_each):
        return {}
    return {
        "for_each": for_each,
        "when": planned.when,
        "choose": rules_of(planned),
        "chosen_by": router,
        "depends_on": list(planned.depends_on),
        "trigger_rule": str(planned.trigger_rule),
    }
