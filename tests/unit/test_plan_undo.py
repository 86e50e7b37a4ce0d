"""What undoes a step, and with which params."""

import pytest
from jsonschema import Draft202012Validator

from orchestration.plans.domain.document import StepDocument
from orchestration.plans.domain.parts import RollbackDocument
from orchestration.plans.domain.references import Scope, resolve
from orchestration.plans.domain.undo import undo_of
from orchestration.skills import installed
from orchestration.skills.domain.contract import ActionContract, SkillContract

GIT, JIRA, FILES = (
    next(one for one in installed.contracts() if one.slug == slug)
    for slug in ("git-operations", "jira-write", "files")
)
COMMIT = "0" * 40
NAME_AND_COLOUR = {"name": {"type": "string"}, "colour": {"type": "string"}}
ODD_NAMES = {"plain_1": {}, "with-hyphen": {}, "with space": {}}


def a_step(action="create", params=None, rollback=None) -> StepDocument:
    return StepDocument(
        id="it",
        skill="things",
        action=action,
        params={"name": "$inputs.name", "size": 3} if params is None else params,
        rollback=rollback,
    )


def an_action(name, properties=NAME_AND_COLOUR, **more) -> ActionContract:
    return ActionContract(
        name=name,
        summary=name,
        handler=f"things.{name}@1",
        input_schema={"type": "object", "properties": properties},
        output_schema={"type": "object"},
        **more,
    )


def a_skill(*actions) -> SkillContract:
    return SkillContract("things", "1.0.0", "Things", "Things.", actions)


CREATE = an_action(
    "create", undo="remove", undo_params={"name": "$self.output.made_as"}
)
REMOVE = an_action("remove")
HIDE = an_action("hide")
THINGS = a_skill(CREATE, REMOVE, HIDE)


@pytest.mark.parametrize(
    ("rollback", "expected"),
    [
        pytest.param(
            None,
            {"action": "remove", "params": {"name": "$self.output.made_as"}},
            id="the contract's undo stands without a word in the plan",
        ),
        pytest.param(
            RollbackDocument("remove", None),
            {"action": "remove", "params": {"name": "$self.output.made_as"}},
            id="the contract's undo by name",
        ),
        pytest.param(
            RollbackDocument("", None),
            {"action": "remove", "params": {"name": "$self.output.made_as"}},
            id="an empty rollback",
        ),
        pytest.param(
            RollbackDocument("hide", None),
            {"action": "hide", "params": {"name": "$self.params.name"}},
            id="another action takes the step's params, not the contract's",
        ),
        pytest.param(
            RollbackDocument("remove", {"name": "x"}),
            {"action": "remove", "params": {"name": "x"}},
            id="given params are taken as given",
        ),
        pytest.param(
            RollbackDocument("remove", {}),
            {"action": "remove", "params": {}},
            id="given params may be none at all",
        ),
        pytest.param(RollbackDocument("burn", None), None, id="an unknown action"),
        pytest.param(RollbackDocument("burn", {"a": 1}), None, id="unknown, params"),
    ],
)
def test_a_rollback_without_params_takes_those_of_its_step(rollback, expected):
    assert undo_of(a_step(rollback=rollback), THINGS) == expected


def test_the_undo_of_a_contract_gets_only_its_declared_params() -> None:
    step = a_step(params={"name": "a", "colour": "red", "size": 3})

    undo = undo_of(step, THINGS)

    assert undo == {"action": "remove", "params": {"name": "$self.output.made_as"}}


def test_a_commit_is_not_reverted_with_its_own_message() -> None:
    step = StepDocument(
        id="it",
        skill="git-operations",
        action="commit-files",
        params={"branch": "main", "message": "Add the report", "files": {"a": "b"}},
    )

    undo = undo_of(step, GIT)

    assert undo is not None
    assert set(undo["params"]) == {"branch", "commit", "repository"}


@pytest.mark.parametrize(
    "action", [pytest.param("hide", id="without undo"), pytest.param("burn", id="none")]
)
def test_a_step_without_an_undo_has_none(action) -> None:
    assert undo_of(a_step(action=action), THINGS) is None


def test_a_contract_with_an_unknown_undo_has_none() -> None:
    assert undo_of(a_step(), a_skill(CREATE)) is None


def test_a_param_reaches_its_undo_with_any_name_and_is_resolved_once() -> None:
    skill = a_skill(
        an_action("create", ODD_NAMES, undo="remove"), an_action("remove", ODD_NAMES)
    )
    written = {"plain_1": "$$5", "with-hyphen": [1], "with space": "a"}
    step = a_step(params=written)
    ran = resolve(step.params, Scope({}, {}))

    undo = undo_of(step, skill)

    assert undo is not None
    scope = Scope({}, {}, self_={"params": ran, "output": {}, "files": {}})
    assert resolve(undo["params"], scope) == {
        "plain_1": "$5",
        "with-hyphen": [1],
        "with space": "a",
    }


@pytest.mark.parametrize(
    ("contract", "step", "output"),
    [
        pytest.param(
            GIT,
            StepDocument(
                id="step-1",
                skill="git-operations",
                action="create-branch",
                params={"name": "feature/PROJ-123-new-feature"},
                rollback=RollbackDocument("delete-branch"),
            ),
            {"branch": "feature/x", "commit": COMMIT, "repository": "main"},
            id="the example of the skill document",
        ),
        pytest.param(
            JIRA,
            StepDocument(
                id="step-2",
                skill="jira-write",
                action="transition",
                params={"issue": "PROJ-123", "status": "In Progress"},
            ),
            {"issue": "PROJ-123", "status": "In Progress", "previous_status": "Open"},
            id="a transition goes back to where it came from",
        ),
        pytest.param(
            FILES,
            StepDocument(
                id="publish",
                skill="files",
                action="publish",
                params={"file": "$report.files.document", "to": "published/"},
            ),
            {"path": "published/a.html", "sha256": "f" * 64},
            id="publishing",
        ),
    ],
)
def test_the_undo_of_a_built_in_action_is_accepted_by_it(contract, step, output):
    undo = undo_of(step, contract)

    assert undo is not None
    self_ = {"params": step.params, "output": output, "files": {}}
    resolved = resolve(undo["params"], Scope({}, {}, self_=self_))
    action = contract.action(undo["action"])
    assert not list(Draft202012Validator(action.input_schema).iter_errors(resolved))
    assert "$" not in str(resolved)
