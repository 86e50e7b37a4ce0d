"""Sub-plans and declared outputs: what is found wrong with them before a run."""

from collections.abc import Mapping, Sequence
from hashlib import sha256

import pytest

from orchestration.plans.domain import form, source, subplans
from orchestration.plans.domain.document import digest, normal_form
from orchestration.plans.domain.problem import Problem
from orchestration.plans.domain.subplans import SavedPlan, documents_of, placed
from orchestration.plans.domain.validation import Validation, validate
from orchestration.plans.services.levels import PlanLevels
from tests.unit.plans import Registry, plan

AUTH = """id: setup-auth
inputs:
  required: [service]
  properties:
    service: {type: string}
    size: {type: integer, default: 3}
    report: {type: string, format: file}
outputs: {name: $make.output.text, more: 'n=$make.output.n', rows: $make.output.rows}
steps:
- {id: make, skill: lab, action: yield, params: {n: $inputs.size}}
- {id: tell, skill: lab, action: ask, dependsOn: [make], params: {prompt: $inputs.service}}
"""
OUTER = """id: p
inputs: {required: [name, n], properties: {name: {type: string}, n: {type: integer}}}
steps:
- {id: first, skill: lab, action: yield}
- id: auth
  kind: plan
  plan: setup-auth
  dependsOn: [first]
  inputs: """


class Saved:
    """Saved plans: every text is the only revision of its plan, unless repeated."""

    def __init__(self, *texts: str, closed: Sequence[str] = ()) -> None:
        self.closed = closed
        self.revisions: dict[str, list[SavedPlan]] = {}
        for text in texts:
            document = plan(text)
            known = self.revisions.setdefault(document.id, [])
            key = sha256(text.encode()).hexdigest()
            known.append(
                SavedPlan(document.id, len(known) + 1, key, key, document, True)
            )

    def find(self, slug: str, number: int | None) -> SavedPlan | None:
        known = self.revisions.get(slug, [])
        found = known[(number or len(known)) - 1 :][:1] if known else []
        return (
            SavedPlan(**vars(found[0]) | {"may_start": slug not in self.closed})
            if found
            else None
        )

    def newest(self, slug: str) -> int:
        return len(self.revisions.get(slug, []))

    def slugs(self) -> Sequence[str]:
        return list(self.revisions)


def checked(
    text: str, saved: Saved | None = None, inputs: Mapping[str, object] | None = None
) -> Validation:
    parsed = source.parse(text)
    return validate(
        plan(text),
        parsed.positions,
        catalog=Registry(),
        inputs=inputs,
        plans=saved or Saved(AUTH),
    )


def found(text: str, saved: Saved | None = None) -> list[tuple[str, int | None]]:
    return [(each.code, each.line) for each in checked(text, saved).problems]


def only(validation: Validation) -> Problem:
    [problem] = validation.problems
    return problem


@pytest.mark.parametrize(
    "inputs",
    [
        "{service: $inputs.name}",
        "{service: '$inputs.name-$run.id', size: $first.output.n}",
        "{service: x, size: 4, report: $first.files.table}",
    ],
)
def test_inputs_that_fit_the_saved_plan_have_no_problem(inputs: str) -> None:
    assert found(OUTER + inputs) == []


@pytest.mark.parametrize(
    ("inputs", "code"),
    [
        ("{}", "plan.subplan_input_invalid"),
        ("{service: 4}", "plan.subplan_input_invalid"),
        ("{service: x, sise: 4}", "plan.subplan_input_invalid"),
        ("{service: x, size: $first.output.text}", "plan.type_mismatch"),
        ("{service: $nope.output.text}", "plan.reference_unknown"),
        ("{service: $inputs.nope}", "plan.reference_unknown"),
        ("{service: $auth.output.name}", "plan.self_reference"),
        ("{service: x, report: 5}", "plan.subplan_input_invalid"),
    ],
)
def test_inputs_that_do_not_fit_are_found_at_their_line(inputs: str, code: str) -> None:
    assert found(OUTER + inputs) == [(code, 9)]


def test_known_inputs_of_the_run_are_checked_against_the_saved_plan() -> None:
    text = OUTER + "{service: x, size: $inputs.n}"
    strict = AUTH.replace("default: 3", "default: 3, minimum: 2")
    wrong = checked(text, Saved(strict), {"name": "a", "n": 1})

    assert only(wrong).code == "plan.subplan_input_invalid"
    assert "size" in only(wrong).message
    assert checked(text, Saved(strict), {"name": "a", "n": 2}).problems == []


def test_steps_after_a_sub_plan_may_refer_to_its_declared_outputs_only() -> None:
    text = (
        OUTER
        + "{service: x}\n- {id: use, skill: lab, action: ask, dependsOn: [auth], params: {prompt: $auth.output.NAME}}"
    )

    assert found(text.replace("NAME", "name")) == []
    problem = only(checked(text.replace("NAME", "nmae")))
    assert (problem.code, problem.line) == ("plan.reference_unknown", 10)
    assert "Did you mean 'name'?" in problem.message
    assert found(text.replace("NAME", "rows.0.a")) == []
    assert found(text.replace("NAME", "more.x")) == [("plan.reference_unknown", 10)]
    assert found(text.replace("$auth.output.NAME", "$make.output.text")) == [
        ("plan.reference_unknown", 10)
    ]


@pytest.mark.parametrize(
    ("name", "code", "words"),
    [
        ("setup-aut", "plan.unknown_plan", "Did you mean 'setup-auth'?"),
        ("setup-auth@2", "plan.unknown_revision", "The newest is 1."),
        ("p", "plan.subplan_cycle", "p -> p"),
        ("secret", "plan.not_permitted", "may not start"),
    ],
)
def test_a_plan_that_cannot_be_used_is_found(name: str, code: str, words: str) -> None:
    secret = AUTH.replace("setup-auth", "secret")
    text = OUTER.replace("setup-auth", name) + "{service: x}"
    problem = only(checked(text, Saved(AUTH, secret, closed=["secret"])))

    assert (problem.code, problem.line, problem.step) == (code, 7, "auth")
    assert words in problem.message


@pytest.mark.parametrize("name", ["a b", "x@", "x@0", "x@latest"])
def test_the_name_of_a_saved_plan_has_one_form(name: str) -> None:
    parsed = source.parse(OUTER.replace("setup-auth", f"'{name}'") + "{}")
    _, problems = form.read(parsed)
    assert [(each.code, each.line) for each in problems] == [("plan.wrong_value", 7)]


def holds(slug: str, *inner: str) -> str:
    steps = "".join(
        f"- {{id: s{at}, kind: plan, plan: {name}}}\n" for at, name in enumerate(inner)
    )
    return f"id: {slug}\nsteps:\n- {{id: own, skill: lab, action: yield}}\n{steps}"


def test_a_plan_that_contains_itself_at_any_depth_is_refused_with_the_chain() -> None:
    saved = Saved(holds("b", "c"), holds("c", "a", "b"), holds("a", "b"))
    problems = checked(holds("a", "b", "b"), saved).problems

    assert {each.code for each in problems} == {"plan.subplan_invalid"}
    assert "a -> b -> c -> a" in problems[0].message
    assert all(each.step in {"s0", "s1"} for each in problems)


def test_the_depth_of_sub_plans_is_bounded() -> None:
    deep = [holds(f"d{n}", f"d{n + 1}") for n in range(1, 40)] + [holds("d40")]
    allowed = f"d{41 - subplans.MAX_DEPTH}"

    assert checked(holds("p", allowed), Saved(*deep)).problems == []
    refused = checked(holds("p", f"d{40 - subplans.MAX_DEPTH}"), Saved(*deep))
    assert "too many levels" in only(refused).message
    again = checked(holds("p", allowed, f"d{40 - subplans.MAX_DEPTH}"), Saved(*deep))
    assert "too many levels" in only(again).message


def test_the_total_number_of_steps_is_bounded_before_it_is_expanded() -> None:
    wide = [holds(f"w{n}", *[f"w{n + 1}"] * 50) for n in range(6)] + [holds("w6")]
    result = checked(holds("p", "w0"), Saved(*wide))

    assert any("Too many steps" in each.message for each in result.problems)
    assert len(documents_of(result.subplans)) < subplans.MAX_STEPS


def test_steps_of_sub_plans_come_after_their_plan_step_with_their_paths() -> None:
    outer = (
        OUTER
        + "{service: x}\n- {id: last, skill: lab, action: yield, dependsOn: [auth]}"
    )
    result = checked(outer)
    every = [*placed(plan(outer), documents_of(result.subplans))]

    assert [each.path for each in every] == [
        "first", "auth", "auth/make", "auth/tell", "last",
    ]  # fmt: skip
    assert [each.around for each in every] == ["", "", "auth", "auth", ""]
    assert result.size == 5
    assert set(result.pins) == {each.path for each in every}
    assert result.pins["auth"] == {
        "plan": "setup-auth",
        "revision": 1,
        "revision_id": sha256(AUTH.encode()).hexdigest(),
        "digest": sha256(AUTH.encode()).hexdigest(),
    }
    assert result.pins["auth/make"]["skill"] == "lab"


def test_what_is_wrong_inside_is_reported_at_the_plan_step() -> None:
    broken = AUTH.replace("skill: lab, action: ask", "skill: gone, action: ask")
    problem = only(checked(OUTER + "{service: x}", Saved(broken)))

    assert (problem.code, problem.line, problem.step) == (
        "plan.subplan_invalid", 7, "auth",
    )  # fmt: skip
    assert problem.message.startswith("In setup-auth revision 1, step 'tell': Unknown")


@pytest.mark.parametrize(
    ("outputs", "code"),
    [
        ("{x: $a.output.n}", None),
        ("{x: {deep: [$a.output.n, $inputs.name]}}", None),
        ("{x: $a.files.table}", None),
        ("{x: $maybe.output.n?}", None),
        ("{x: plain}", None),
        ("{x: $maybe.output.n}", "plan.reference_may_be_absent"),
        ("{x: $nope.output.n}", "plan.reference_unknown"),
        ("{x: $a.output.nope}", "plan.reference_unknown"),
        ("{x: $a}", "plan.reference_unknown"),
        ("{x: $self.output.n}", "plan.reference_unknown"),
        ("{x: $first.output.n}", "plan.reference_unknown"),
        ("{x: $item.n}", "plan.reference_unknown"),
        ("{x: '${}'}", "plan.reference_unknown"),
        ("{x: $run.nope}", "plan.reference_unknown"),
        ("{x: $inputs.nope}", "plan.reference_unknown"),
        ("{'a b': 1}", "plan.output_invalid"),
        ("[1]", "plan.wrong_type"),
    ],
)
def test_outputs_name_what_a_successful_run_certainly_has(
    outputs: str, code: str | None
) -> None:
    text = f"""id: p
inputs: {{required: [name], properties: {{name: {{type: string}}}}}}
outputs: {outputs}
steps:
- {{id: a, skill: lab, action: yield}}
- {{id: maybe, skill: lab, action: yield, when: 'inputs.name == "x"'}}
"""
    parsed = source.parse(text)
    document, problems = form.read(parsed)
    assert document is not None
    problems += validate(
        document, parsed.positions, catalog=Registry(), inputs=None
    ).problems
    assert [(each.code, each.line) for each in problems] == (
        [(code, 3)] if code else []
    )


def test_the_schema_of_the_outputs_follows_what_they_name() -> None:
    schema = checked(AUTH).output_schema

    assert schema["required"] == ["name", "more", "rows"]
    assert schema["properties"]["name"] == {"type": "string"}
    assert schema["properties"]["more"] == {"type": "string"}
    assert schema["properties"]["rows"]["type"] == "array"


def test_plans_without_the_new_keys_keep_their_digest() -> None:
    text = "id: p\nsteps:\n- {id: a, skill: lab, action: yield}\n"

    assert set(normal_form(plan(text))) == {"id", "name", "steps"}
    assert digest(plan(text)) != digest(plan(text + "outputs: {x: 1}\n"))


@pytest.mark.parametrize("key", ["params: {}", "approval: true", "skill: lab"])
def test_a_plan_step_has_no_keys_of_an_action(key: str) -> None:
    _, problems = form.read(source.parse(OUTER + "{}\n  " + key))
    assert [each.code for each in problems] == ["plan.unknown_key"]


def test_the_items_of_known_lists_are_bounded_with_the_steps_of_their_sub_plans() -> (
    None
):
    text = """id: p
inputs: {required: [ports], properties: {ports: {type: array}}}
steps:
- {id: each, kind: plan, plan: w, forEach: $inputs.ports}
"""
    saved = Saved(holds("w", *["leaf"] * 12), holds("leaf"))
    per_item = 1 + 13 + 12
    most = (subplans.MAX_STEP_RUNS - 1) // per_item

    allowed = checked(text, saved, {"ports": [0] * most})
    assert [*allowed.problems] == []
    assert allowed.step_runs == 1 + most * per_item
    refused = only(checked(text, saved, {"ports": [0] * (most + 1)}))
    assert refused.code == "plan.too_many_steps"
    assert "20,021 with the items" in refused.message


def test_a_pass_of_a_list_is_not_the_output_of_its_step_in_a_dry_run() -> None:
    outer = plan(
        "id: p\nsteps:\n- {id: each, kind: plan, plan: w, forEach: [a]}\n"
        "- {id: b, skill: lab, action: yield}\n"
    )
    levels = PlanLevels(outer, {}, {"each": plan(holds("w") + "outputs: {x: 1}\n")})
    levels.enter(outer.by_id["each"])

    level, _ = levels.at("b")

    assert level.outputs == {}
