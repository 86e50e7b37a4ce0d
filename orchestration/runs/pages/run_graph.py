"""The graph on the pages of a plan and of a run: links, states and problems."""

from collections.abc import Mapping
from typing import Any

from django.urls import reverse

from approvals.models import Gate
from approvals.views import subject as subjects
from approvals.views.content import ROWS
from orchestration.plans import selectors as plans
from orchestration.plans.domain.differences import UNKNOWN, ComparedPlan
from orchestration.plans.domain.document import PlanDocument
from orchestration.plans.domain.problem import ERROR
from orchestration.plans.domain.subplans import order_of
from orchestration.plans.pages import graph
from orchestration.plans.pages.graph import Graph, GraphStep, OfStep
from orchestration.plans.services.check import CheckedPlan
from orchestration.runs.domain.states import StepState
from orchestration.runs.models import Run
from orchestration.runs.pages.run_page import RunView


def of_check(checked: CheckedPlan, *, wanted: bool) -> Graph | None:
    """Return the graph of a plan in the form, if it could be read."""
    document = checked.document
    if document is None:
        return None
    if len(checked.order) < len(document.by_id):
        return Graph(total=len(document.steps), withheld="cycle")
    gated = frozenset(gate.step for gate in checked.gates if gate.step)
    wrong = {one.step for one in checked.problems if one.severity == ERROR}

    def about(_: int, step: GraphStep) -> OfStep:
        line = checked.lines.get(step.id, 0)
        is_left_out = step.id in checked.left_out
        state = StepState.SKIPPED_BY_CONDITION if is_left_out else ""
        return OfStep("#text", state=state, line=line, has_error=step.id in wrong)

    risks = {
        key: str(action.risk)
        for key, step in document.by_id.items()
        if (entry := checked.entries.get(key))
        and (action := entry.contract.action(step.action))
    }
    steps = graph.of_document(document, checked.order, risks, gated, checked.included)
    return graph.drawn(steps, about, parallel=document.at_once, wanted=wanted)


def of_plan(document: PlanDocument, compared: ComparedPlan, *, wanted: bool) -> Graph:
    """Return the graph of a saved plan, with links to the rows of its steps."""
    facts = compared.steps
    risks = {key: one.risk for key, one in facts.items() if one.risk != UNKNOWN}
    gated = frozenset(key for key, one in facts.items() if one.gate.groups)
    return graph.drawn(
        graph.of_document(document, order_of(document), risks, gated),
        lambda _, step: OfStep(f"#step-{step.id}"),
        parallel=document.at_once,
        wanted=wanted,
    )


def of_gate(gate: Gate, subject: Mapping[str, Any], *, wanted: bool) -> Graph | None:
    """Return the graph of the content of a plan gate, with links to its steps."""
    if "steps" not in subject:
        return None

    def about(_: int, step: GraphStep) -> OfStep:
        if step.place < ROWS:
            return OfStep(f"#step-{step.place}")
        return OfStep(reverse("gate_step", args=[gate.pk, step.place]))

    return graph.drawn(
        graph.of_subject(subject),
        about,
        parallel=int(subject.get("parallel", 1)),
        wanted=wanted,
    )


def of_run(shown: RunView) -> Graph:
    """Return the graph of a run with the states of its steps.

    `shown` lists the first `graph.MOST` steps. Risks and gates are those that were
    approved with the plan.
    """
    run = shown.run
    lines = {line.row.key: line for line in shown.steps}
    if shown.total > graph.MOST:
        return Graph(total=shown.total, withheld="too_large")

    def about(_: int, step: GraphStep) -> OfStep:
        url = reverse("step", args=[run.pk, step.id])
        line = lines.get(step.id)
        items = line.items.short if line and line.items else ""
        return OfStep(url, state=line.state if line else "", items=items)

    steps = _approved(run) or _planned(shown)
    return graph.drawn(steps, about, parallel=run.parallel_max, wanted=True)


def _approved(run: Run) -> list[GraphStep]:
    gate = Gate.objects.filter(pk=run.gate_id).first() if run.gate_id else None
    return graph.of_subject(subjects.read(gate)) if gate else []


def _planned(shown: RunView) -> list[GraphStep]:
    """Return the steps of a run without a plan gate, which is of an older release."""
    document = plans.document(shown.run.revision)
    order = [line.row.key for line in shown.steps if line.row.parent_id is None]
    return graph.of_document(document, order, {}, frozenset())
