"""Random plans that mix every construct of the language, and their documents."""

import json
from dataclasses import replace
from typing import Any

from hypothesis import strategies as st

from tests.plan_shapes import Asked, Items, Plan, Step, step_of

KINDS = ("skill",) * 5 + ("approval", "input", "wait", "choose", "plan", "plan")
DEPTH = 2
ABOVE = st.sampled_from([-1, 0, 1, 2])
LAB = {"skill": "lab", "action": "yield"}
NUMBER = {"type": "object", "properties": {"n": {"type": "integer"}}}


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    """Draw a plan with its sub-plans."""
    parallel = draw(st.sampled_from([2, 1, 0, 3, 1]))
    return draw(_plans(0, parallel))


@st.composite
def _plans(draw: st.DrawFn, depth: int, parallel: int) -> Plan:
    steps: list[Step] = []
    for at in range(draw(st.integers(1, 7 if depth == 0 else 3))):
        step = draw(_joined(f"s{at}", steps))
        steps.append(draw(_steps(step, steps, depth, parallel)))
    for at, step in enumerate(steps):
        if step.kind == "choose":
            steps[at] = replace(step, rules=draw(_rules(step, steps)))
    order = draw(st.permutations(steps)) if draw(st.booleans()) else steps
    on_failure = draw(st.sampled_from(["continue", "pause", "abort", "continue"]))
    return Plan(tuple(order), on_failure, parallel)


@st.composite
def _joined(draw: st.DrawFn, name: str, steps: list[Step]) -> Step:
    """Draw what a step comes after."""
    ids = [step.id for step in steps]
    after = draw(st.lists(st.sampled_from(ids), unique=True, max_size=3)) if ids else []
    routers = [
        step.id for step in steps if step.kind == "choose" and step.id not in after
    ]
    router = draw(st.sampled_from(["", *routers]))
    counts = [str(n) for n in range(1, len(after) + 1)]
    needed = draw(st.sampled_from(["all", "all", "done", *counts])) if after else "all"
    step = Step(name, after=tuple(after), needed=needed, router=router)
    if draw(st.booleans()):
        step = replace(step, when=draw(_conditions(step, steps)))
    return step


@st.composite
def _steps(
    draw: st.DrawFn, step: Step, steps: list[Step], depth: int, parallel: int
) -> Step:
    """Draw what a step does."""
    kind = draw(st.sampled_from([k for k in KINDS if k != "plan" or depth < DEPTH]))
    step = replace(step, kind=kind)
    if kind == "wait":
        return replace(step, wait=draw(st.sampled_from(["time", "past", "event"])))
    if kind == "plan":
        step = replace(step, plan=draw(_plans(depth + 1, parallel)))
    if kind == "skill":
        step = replace(
            step,
            has_gate=draw(st.integers(0, 3)) == 1,
            has_fallback=draw(st.booleans()),
            key=draw(st.sampled_from(["", "", "", "room", "desk"])),
            retries=draw(st.integers(0, 1)),
        )
    if kind in {"skill", "approval", "plan"} and draw(st.integers(0, 2)) == 1:
        step = replace(step, items=draw(_items(parallel)))
        if draw(st.booleans()):
            step = replace(step, when=Asked("index", above=draw(ABOVE)))
    return step


@st.composite
def _items(draw: st.DrawFn, parallel: int) -> Items:
    count = draw(st.sampled_from([2, 3, 0, 1, 4, 5]))
    joins = ["all", "any", *map(str, range(1, count + 1))]
    most = draw(st.integers(0, 3)) if parallel != 1 else 0
    return Items(count, draw(st.sampled_from(joins)), draw(st.booleans()), most)


@st.composite
def _conditions(draw: st.DrawFn, step: Step, steps: list[Step]) -> Asked:
    """Draw a condition about an input, or about a step that has certainly ended."""
    known = step.after if step.needed in {"all", "done"} else ()
    name = draw(st.sampled_from(["", *known, *known]))
    above = draw(ABOVE)
    if not name:
        return Asked("input", above=above)
    other = next(each for each in steps if each.id == name)
    about = draw(st.sampled_from(["n", "end", "n"])) if has_number(other) else "end"
    return Asked(about, name, above)


def has_number(step: Step) -> bool:
    """Return True if a condition can ask for a number in the output of a step."""
    has_none = step.kind in {"approval", "choose"} or step.wait in {"time", "past"}
    return step.items is not None or not has_none


@st.composite
def _rules(draw: st.DrawFn, step: Step, steps: list[Step]) -> Any:
    targets = [each.id for each in steps if each.router == step.id]
    some = st.lists(st.sampled_from(targets), unique=True) if targets else st.just([])
    rules = [
        (draw(_conditions(step, steps)), tuple(draw(some)))
        for _ in range(draw(st.integers(1, 2)))
    ]
    # Every target is in a rule, or it would be a step like any other.
    return (*rules, (None, tuple(targets)))


# Documents


def documents(plan: Plan, name: str = "p") -> dict[str, str]:
    """Return the text of a plan and of its sub-plans, by their ids; itself last."""
    texts: dict[str, str] = {}
    for step in plan.steps:
        if step.plan is not None:
            texts |= documents(step.plan, f"{name}-{step.id}")
    parallel: Any = {0: True, 1: False}.get(plan.parallel, {"max": plan.parallel})
    texts[name] = json.dumps(
        {"id": name, "inputs": NUMBER, "onFailure": plan.on_failure,
         "parallel": parallel, "outputs": {"n": "$inputs.n"},
         "steps": [_written(step, plan, name) for step in plan.steps]}
    )  # fmt: skip
    return texts


def _written(step: Step, plan: Plan, name: str) -> dict[str, Any]:
    rules = {"all": "all_success", "done": "all_done", "1": "one_success"}
    rule = rules.get(step.needed) or {"atLeast": int(step.needed)}
    text: dict[str, Any] = {"id": step.id, "kind": step.kind, "triggerRule": rule}
    text |= {"dependsOn": [*step.after]}
    if step.when is not None:
        text["when"] = _cel(step.when, plan)
    if step.items is not None:
        text |= _listed(step.items)
    return text | _body(step, plan, name)


def _listed(items: Items) -> dict[str, Any]:
    join = {"atLeast": int(items.join)} if items.join.isdecimal() else items.join
    text = {"forEach": [*range(items.count)], "join": join}
    text["onItemError"] = "stop" if items.stop else "continue"
    return text | ({"max": items.max} if items.max else {})


def _body(step: Step, plan: Plan, name: str) -> dict[str, Any]:
    match step.kind:
        case "choose":
            return {"choose": [_rule(*rule, plan) for rule in step.rules]}
        case "plan":
            n = "$index" if step.items else "$inputs.n"
            return {"plan": f"{name}-{step.id}", "inputs": {"n": n}}
        case "input":
            return {"form": NUMBER}
        case "approval":
            return {"approval": {"reason": "Sure?"}}
        case "wait":
            event = {"event": {"type": "came", "key": "k"}}
            return {"time": {"for": 60}, "event": event}.get(
                step.wait, {"until": "2020-01-01T00:00:00Z"}
            )
    text: dict[str, Any] = {**LAB, "retry": {"attempts": 1 + step.retries}}
    text |= {"approval": True} if step.has_gate else {}
    text |= {"fallback": LAB} if step.has_fallback else {}
    most = 2 if step.key == "desk" else 1
    return text | ({"concurrency": {"key": step.key, "max": most}} if step.key else {})


def _rule(asked: Asked | None, targets: tuple[str, ...], plan: Plan) -> dict[str, Any]:
    if asked is None:
        return {"else": [*targets]}
    return {"if": _cel(asked, plan), "then": [*targets]}


def _cel(asked: Asked, plan: Plan) -> str:
    each = asked.about == "n" and step_of(plan, asked.step).items is not None
    return asked.as_cel(each)
