"""Changing the registry: drafts, publication, states. Published versions never change."""

import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import transaction
from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError

from audit import services as audit
from execfabric.accounts.authority import Right, require
from execfabric.lib import canonical
from execfabric.lib.actor import Actor, ActorKind
from orchestration.skills import builtin, selectors
from orchestration.skills.domain import contract as contracts
from orchestration.skills.domain.contract import (
    ActionContract,
    RetryRule,
    Risk,
    SkillContract,
)
from orchestration.skills.domain.states import (
    SKILL,
    VERSION,
    SkillEvent,
    SkillState,
    VersionEvent,
    VersionState,
)
from orchestration.skills.errors import (
    ContractInvalid,
    DigestStale,
    HandlerMissing,
    ReasonRequired,
    SkillNotPermitted,
    VersionInvalid,
    VersionNotDraft,
    VersionTaken,
)
from orchestration.skills.models import DIGEST_DOMAIN, Skill, SkillVersion
from orchestration.skills.outputs import problems

STREAM = "registry"
EDITABLE = frozenset({"description", "config", "allowed", "forbidden", "actions"})
EDITABLE_OF_ACTION = frozenset(
    {"summary", "risk", "effect_class", "timeout_s", "retry", "undo", "fallback"}
)
_VERSION = re.compile(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)")


@transaction.atomic
def draft_from(
    *, slug: str, changes: Mapping[str, Any], version: str, by: Actor, at: datetime
) -> SkillVersion:
    """A new draft made from the current version with some of its values changed.

    :raises SkillNotPermitted: without the right to publish this skill
    :raises VersionInvalid: when `version` is not of the form 1.2.3
    :raises VersionTaken: when the skill has that version already
    :raises ContractInvalid: when a change names what cannot be changed, or is wrong
    """
    skill = selectors.get(by, slug)
    _require_publisher(by, skill)
    if not _VERSION.fullmatch(version):
        raise VersionInvalid(version=version)
    if SkillVersion.objects.filter(skill=skill, version=version).exists():
        raise VersionTaken(skill=slug, version=version)
    current = skill.current or skill.versions.latest("created_at")
    contract = changed(replace(current.contract(), version=version), changes)
    return _write_draft(skill, contract, by=by, at=at)


@transaction.atomic
def update_draft(
    *, version_id: UUID, changes: Mapping[str, Any], by: Actor, at: datetime
) -> SkillVersion:
    """Change a draft again.

    :raises VersionNotDraft: when it was published meanwhile
    """
    draft = _locked(version_id, by)
    if draft.state != VersionState.DRAFT:
        raise VersionNotDraft(version=draft.version)
    draft.body, draft.digest = content(changed(draft.contract(), changes))
    draft.save(update_fields=["body", "digest"])
    _record("skill.draft_changed", draft, by=by, at=at)
    return draft


@transaction.atomic
def publish(*, version_id: UUID, digest: str, by: Actor, at: datetime) -> SkillVersion:
    """Make a draft immutable and the current version of its skill.

    `digest` is that of the content which the publisher saw. Running runs stay with
    the version that they were approved with.

    :raises DigestStale: when the draft was changed since
    :raises VersionNotDraft: when it is not a draft any more
    :raises HandlerMissing: when this installation lacks code that it names
    """
    draft = _locked(version_id, by)
    if draft.state != VersionState.DRAFT:
        raise VersionNotDraft(version=draft.version)
    if draft.digest != digest:
        raise DigestStale(expected=draft.digest, found=digest)
    return _publish(draft, by=by, at=at)


@transaction.atomic
def set_state(
    *, slug: str, event: SkillEvent, reason: str, by: Actor, at: datetime
) -> Skill:
    """Deprecate, quarantine or restore a skill.

    :raises ReasonRequired: without a reason
    :raises IllegalTransition: when its state has no such move
    """
    found = selectors.get(by, slug)
    _require_publisher(by, found)
    if not reason.strip():
        raise ReasonRequired
    skill = Skill.objects.select_for_update().get(pk=found.pk)
    source = SkillState(skill.state)
    skill.state = SKILL.next(source, event)
    skill.save(update_fields=["state"])
    fact = {"skill": slug, "from": str(source), "to": skill.state, "reason": reason}
    audit.append(STREAM, [audit.Fact(f"skill.{event}", fact)], by=by, at=at)
    return skill


@transaction.atomic
def register(contract: SkillContract, *, source: str, by: Actor, at: datetime) -> Skill:
    """Make a skill known and publish its first or next version, at start-up.

    A version that exists already is left as it is: it is immutable.
    """
    skill, _ = Skill.objects.get_or_create(
        slug=contract.slug,
        defaults={
            "name": contract.name,
            "description": contract.description,
            "domain": contract.domain,
            "source": source,
            "created_at": at,
        },
    )
    skill = Skill.objects.select_for_update().get(pk=skill.pk)
    if not skill.versions.filter(version=contract.version).exists():
        draft = _write_draft(skill, contract, by=by, at=at)
        _publish(draft, by=by, at=at)
        skill.refresh_from_db()
    return skill


@transaction.atomic
def rebind(*, slug: str, by: Actor, at: datetime) -> SkillVersion | None:
    """After an upgrade, publish the current contract anew with the code installed now.

    Runs approved with the old code stay bound to it and are refused; new proposals
    get the new version. None when the current version fits already.
    """
    skill = Skill.objects.select_for_update().get(slug=slug)
    if (
        skill.current is None
        or content(skill.current.contract())[1] == skill.current.digest
    ):
        return None
    major, minor, patch = (int(part) for part in skill.current.version.split("."))
    taken = set(skill.versions.values_list("version", flat=True))
    while f"{major}.{minor}.{patch}" in taken:
        patch += 1
    number = f"{major}.{minor}.{patch}"
    contract = replace(skill.current.contract(), version=number)
    return _publish(_write_draft(skill, contract, by=by, at=at), by=by, at=at)


def changed(contract: SkillContract, changes: Mapping[str, Any]) -> SkillContract:
    """The contract with the changes made, checked.

    :raises ContractInvalid: see `draft_from`
    """
    if unknown := set(changes) - EDITABLE:
        raise ContractInvalid(f"These cannot be changed: {', '.join(sorted(unknown))}.")
    fields = {key: value for key, value in changes.items() if key != "actions"}
    for name in {"allowed", "forbidden"} & set(fields):
        fields[name] = tuple(fields[name])
    by_name: Mapping[str, Any] = changes.get("actions", {})
    if missing := set(by_name) - {action.name for action in contract.actions}:
        raise ContractInvalid(f"There is no action {', '.join(sorted(missing))}.")
    actions = tuple(
        _changed(item, by_name.get(item.name, {})) for item in contract.actions
    )
    made = replace(contract, **fields, actions=actions)
    _check(made)
    return made


def content(contract: SkillContract) -> tuple[bytes, str]:
    """The body of a version and its digest, bound to the code installed here.

    :raises HandlerMissing: when a handler is not installed
    """
    code = {}
    for action in contract.actions:
        found = builtin.find(action.handler)
        if found is None:
            raise HandlerMissing(f"The handler {action.handler} is not installed here.")
        code[action.handler] = found.code_sha256
    body = canonical.dumps({"contract": contracts.as_json(contract), "code": code})
    return body, canonical.digest(DIGEST_DOMAIN, body).hex()


def _changed(action: ActionContract, changes: Mapping[str, Any]) -> ActionContract:
    if unknown := set(changes) - EDITABLE_OF_ACTION:
        raise ContractInvalid(
            f"Of {action.name} these cannot be changed: {', '.join(sorted(unknown))}."
        )
    fields = dict(changes)
    try:
        if "risk" in fields:
            fields["risk"] = Risk(fields["risk"])
        if "effect_class" in fields:
            fields["effect_class"] = contracts.EffectClass(fields["effect_class"])
        if "retry" in fields:
            fields["retry"] = RetryRule(**fields["retry"])
        return replace(action, **fields)
    except (TypeError, ValueError) as error:
        raise ContractInvalid(f"{action.name}: {error}") from error


def _check(contract: SkillContract) -> None:
    found = [f"config {p}" for p in problems(contract.config_schema, contract.config)]
    names = {action.name for action in contract.actions}
    for action in contract.actions:
        for schema in (action.input_schema, action.output_schema):
            try:
                Draft202012Validator.check_schema(schema)
            except SchemaError as error:
                found.append(f"{action.name}: {error.message}")
        if action.timeout_s <= 0 or action.retry.attempts < 1:
            found.append(
                f"{action.name}: the timeout and the attempts must be positive"
            )
        found += [
            f"{action.name}: there is no action {other}"
            for other in (action.undo, action.fallback)
            if other and other not in names
        ]
    if found:
        raise ContractInvalid(" ".join(found), problems=found)


def _write_draft(
    skill: Skill, contract: SkillContract, *, by: Actor, at: datetime
) -> SkillVersion:
    _check(contract)
    body, digest = content(contract)
    draft = SkillVersion.objects.create(
        skill=skill,
        version=contract.version,
        body=body,
        digest=digest,
        created_at=at,
        created_by=by.key,
        created_by_name=by.name,
    )
    _record("skill.drafted", draft, by=by, at=at)
    return draft


def _publish(draft: SkillVersion, *, by: Actor, at: datetime) -> SkillVersion:
    contract = draft.contract()
    content(contract)
    draft.state = VERSION.next(VersionState(draft.state), VersionEvent.PUBLISHED)
    draft.published_at, draft.published_by = at, by.key
    draft.published_by_name = by.name
    draft.save(
        update_fields=["state", "published_at", "published_by", "published_by_name"]
    )
    skill = Skill.objects.select_for_update().get(pk=draft.skill_id)
    skill.state = SKILL.next(SkillState(skill.state), SkillEvent.PUBLISHED)
    skill.current = draft
    skill.name, skill.description = contract.name, contract.description
    skill.save(update_fields=["state", "current", "name", "description"])
    _record("skill.published", draft, by=by, at=at)
    return draft


def _locked(version_id: UUID, by: Actor) -> SkillVersion:
    found = selectors.version(by, version_id)
    _require_publisher(by, found.skill)
    return SkillVersion.objects.select_for_update().get(pk=version_id)


def _require_publisher(by: Actor, skill: Skill) -> None:
    if by.kind is not ActorKind.SYSTEM:
        require(by, Right.REGISTRY)
        if not selectors.may(by, "publish_skill", skill):
            raise SkillNotPermitted(skill=skill.slug)


def _record(kind: str, version: SkillVersion, *, by: Actor, at: datetime) -> None:
    fact = {
        "skill": version.skill.slug,
        "version": version.version,
        "digest": version.digest,
    }
    audit.append(STREAM, [audit.Fact(kind, fact)], by=by, at=at)
