"""Write skill versions: drafts, publication, and the bound code."""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError

from audit import services as audit
from execfabric.lib import canonical
from execfabric.lib.actor import Actor, system
from orchestration.skills import history, installed
from orchestration.skills.domain import contract as contracts
from orchestration.skills.domain import rebase
from orchestration.skills.domain.contract import (
    ActionContract,
    EffectClass,
    SkillContract,
)
from orchestration.skills.domain.handlers import Registered
from orchestration.skills.domain.states import (
    SKILL,
    VERSION,
    SkillEvent,
    SkillState,
    VersionEvent,
    VersionState,
)
from orchestration.skills.errors import ContractInvalid, HandlerMissing
from orchestration.skills.execution import schema_problems
from orchestration.skills.models import DIGEST_DOMAIN, Skill, SkillVersion

STREAM = "registry"
SETUP = system("setup")
VERSION_NUMBER = re.compile(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)")


def content(contract: SkillContract) -> tuple[bytes, str]:
    """Return the body of a version and its digest, bound to the installed code.

    :raises HandlerMissing: when a handler is not installed
    """
    keys = [
        key
        for action in contract.actions
        for key in (action.handler, action.probe)
        if key
    ]
    code = {key: _handler(key).code_digest for key in keys}
    body = canonical.dumps({"contract": contracts.as_json(contract), "code": code})
    return body, canonical.digest(DIGEST_DOMAIN, body).hex()


def write_draft(
    skill: Skill,
    contract: SkillContract,
    *,
    shipped: Any,
    by: Actor,
    at: datetime,
    notes: Sequence[str] = (),
) -> SkillVersion:
    """Add a draft to a skill, bound to the installed code.

    `shipped` is the shipped contract that it is based on, as JSON; None if unknown.

    :raises ContractInvalid: when the contract contradicts itself
    :raises HandlerMissing: when a handler is not installed
    """
    check(contract)
    body, digest = content(contract)
    draft = SkillVersion.objects.create(
        skill=skill,
        version=contract.version,
        body=body,
        digest=digest,
        shipped=shipped,
        created_at=at,
        created_by=by.key,
        created_by_name=by.name,
    )
    facts = {"notes": list(notes)} if notes else {}
    record("skill.drafted", draft, by=by, at=at, facts=facts)
    return draft


def rewrite(
    draft: SkillVersion, contract: SkillContract, *, by: Actor, at: datetime
) -> None:
    """Replace the contract of a draft, and bind it to the installed code.

    :raises HandlerMissing: when a handler is not installed
    """
    draft.body, draft.digest = content(contract)
    draft.save(update_fields=["body", "digest", "edited_by"])
    record("skill.draft_changed", draft, by=by, at=at)


def make_current(
    draft: SkillVersion,
    *,
    by: Actor,
    at: datetime,
    event: SkillEvent = SkillEvent.PUBLISHED,
    facts: Mapping[str, Any] = {},
) -> SkillVersion:
    """Publish a draft as the current version of its skill.

    :raises IllegalTransition: when the skill's state has no such move
    """
    contract = draft.contract()
    content(contract)
    draft.state = VERSION.next(VersionState(draft.state), VersionEvent.PUBLISHED)
    draft.published_at, draft.published_by = at, by.key
    draft.published_by_name = by.name
    draft.save(
        update_fields=["state", "published_at", "published_by", "published_by_name"]
    )
    skill = Skill.objects.select_for_update().get(pk=draft.skill_id)
    skill.state = SKILL.next(SkillState(skill.state), event)
    skill.current = draft
    skill.name, skill.description = contract.name, contract.description
    skill.save(update_fields=["state", "current", "name", "description"])
    record(f"skill.{event}", draft, by=by, at=at, facts=facts)
    return draft


def rebind(skill: Skill, *, at: datetime) -> SkillVersion | None:
    """Bind the current contract of a locked skill, and its drafts, to the installed code.

    The contract and the state of the skill stay as they are. Runs that were approved with
    other code need a new approval. Return None if nothing has changed, or no step of the
    skill may start anyway.

    :raises HandlerMissing: when a handler of the current version is not installed
    """
    current = skill.current
    if current is None or not SKILL.allows(SkillState(skill.state), SkillEvent.REBOUND):
        return None
    for draft in skill.versions.filter(state=VersionState.DRAFT):
        with suppress(HandlerMissing):
            if not _fits(draft):
                rewrite(draft, draft.contract(), by=SETUP, at=at)
    if _fits(current):
        return None
    contract = current.contract()
    taken = set(skill.versions.values_list("version", flat=True))
    number = rebase.free_number(contract.version, contract.version, taken)
    renumbered = replace(contract, version=number)
    draft = write_draft(skill, renumbered, shipped=current.shipped, by=SETUP, at=at)
    return make_current(draft, by=SETUP, at=at, event=SkillEvent.REBOUND)


def check(contract: SkillContract) -> None:
    """Check that a contract is consistent.

    :raises ContractInvalid: with all problems
    """
    problems = [
        f"config {p}" for p in schema_problems(contract.config_schema, contract.config)
    ]
    names = {action.name for action in contract.actions}
    for action in contract.actions:
        for schema in (action.input_schema, action.output_schema):
            try:
                Draft202012Validator.check_schema(schema)
            except SchemaError as error:
                problems.append(f"{action.name}: {error.message}")
        if action.timeout_s <= 0 or action.retry.attempts < 1:
            problems.append(
                f"{action.name}: the timeout and the attempts must be positive"
            )
        problems += [f"{action.name}: {text}" for text in action.limits.problems()]
        if action.undo and action.undo not in names:
            problems.append(f"{action.name}: unknown action {action.undo!r} in undo")
        problems += [f"{action.name}: {text}" for text in _probe_problems(action)]
    if problems:
        message = f"The contract is invalid: {'; '.join(problems)}."
        raise ContractInvalid(message, problems=problems)


def _probe_problems(action: ActionContract) -> Iterator[str]:
    fields = action.input_schema.get("properties", {})
    if action.probe_param and not (action.probe and action.probe_param in fields):
        yield f"unknown param {action.probe_param!r} in probe_param, or no probe"
    if action.effect_class is EffectClass.PROBEABLE and not action.probe:
        yield "the effect class probeable needs a probe"


def record(
    kind: str,
    version: SkillVersion,
    *,
    by: Actor,
    at: datetime,
    facts: Mapping[str, Any] = {},
) -> None:
    skill = Skill.objects.get(pk=version.skill_id)
    about = {"skill": skill.slug, "version": version.version, "digest": version.digest}
    written = audit.Fact(
        kind,
        {**about, **facts},
        component=f"skill:{skill.slug}",
        rows=(history.SKILL.born(skill), history.VERSION.born(version)),
    )
    audit.append(STREAM, [written], by=by, at=at)


def _fits(version: SkillVersion) -> bool:
    """Return True if a version is bound to the installed code.

    :raises HandlerMissing: when one of its handlers is not installed
    """
    code = version.content()["code"]
    return all(_handler(key).has_code(digest) for key, digest in code.items())


def _handler(key: str) -> Registered:
    handler = installed.find(key)
    if handler is None:
        raise HandlerMissing(f"The handler {key} is not installed here. Ask an admin.")
    return handler
