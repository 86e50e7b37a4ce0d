"""The contract of a skill: its actions, their schemas, effects, risks and limits.

A contract is plain data. Its canonical bytes and the digest of its code result in the
digest of a SkillVersion. All facts about an action that matter to an approver are here.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from enum import StrEnum
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, TypeVar

from execfabric.lib.risk import Risk as Risk  # noqa: PLC0414 - skill authors import it here
from orchestration.skills.domain.limits import Limits
from orchestration.skills.errors import ContractUnreadable

if TYPE_CHECKING:
    from jsonschema import Draft202012Validator

T = TypeVar("T")
Readers = Mapping[str, Callable[[Any], Any]]
FEATURES: frozenset[str] = frozenset()
"""Features in `requires` that this release supports."""


class EffectClass(StrEnum):
    """The effect of running an action twice."""

    PURE = "pure"  # touches nothing outside its own output; may run any number of times
    IDEMPOTENT = "idempotent"  # a second run with the same key changes nothing more
    PROBEABLE = "probeable"  # the target can be asked whether it happened
    NON_IDEMPOTENT = "non_idempotent"  # a second run is a second effect


class DryRunKind(StrEnum):
    """The method by which an action predicts its effect."""

    NATIVE = "native"  # previewed by the target system, which changes nothing
    SIMULATED = "simulated"  # computed by the skill without any effect
    NONE = "none"  # not available


FILE_SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "title": "file",
    "required": ["$file"],
    "additionalProperties": False,
    "properties": {
        "$file": {
            "type": "object",
            "required": ["sha256", "name", "size"],
            "properties": {
                "sha256": {"type": "string", "pattern": "^[0-9a-f]{64}$"},
                "name": {"type": "string"},
                "size": {"type": "integer", "minimum": 0},
                "media_type": {"type": "string"},
            },
        }
    },
}
"""JSON Schema of a file that steps exchange: a reference by digest."""

FILES_SCHEMA: Mapping[str, Any] = {
    "title": "files",
    "anyOf": [FILE_SCHEMA, {"type": "array", "items": FILE_SCHEMA}],
}
"""One file or a list of files."""


@dataclass(frozen=True)
class RetryRule:
    """The number of attempts of an action, and the delays in seconds."""

    attempts: int = 1
    backoff: str = "exponential"  # or "constant"
    initial_s: float = 2.0
    max_s: float = 60.0


@dataclass(frozen=True)
class ActionContract:
    """One operation of a skill.

    Without a declared effect class and risk, an action has the most dangerous ones.
    """

    name: str
    summary: str
    """A sentence for the approver; `{param}` is replaced by its value."""
    handler: str
    """`skill.action@N`: the registered code, and its version."""
    input_schema: Mapping[str, Any]
    output_schema: Mapping[str, Any]
    effect_class: EffectClass = EffectClass.NON_IDEMPOTENT
    risk: Risk = Risk.CRITICAL
    timeout_s: float = 60.0
    limits: Limits = field(default_factory=Limits)
    """The limits of a call, including the programs that it starts."""
    retry: RetryRule = field(default_factory=RetryRule)
    undo: str = ""
    """The action of the same skill that undoes this one; empty for none."""
    undo_params: Mapping[str, Any] = field(default_factory=dict)
    """Params of the undo with references to this step, such as `$self.output.x`; used
    if the `rollback` of the plan has none."""
    dry_run: DryRunKind = DryRunKind.NONE
    checks_target: bool = False
    """True if the handler can check that its target exists."""
    sandboxed: bool = False
    """True if the action may run only in the sandbox."""
    files: tuple[str, ...] = ()
    """Names of the output files, for `$step.files.<name>` in plans."""
    probe: str = ""
    """The registered code that finds out if an attempt has had its effect, as
    `skill.action-probe@N`; empty for none."""
    probe_param: str = ""
    """The param without which a call cannot be probed; empty if each can."""
    needs: tuple[str, ...] | None = None
    """Config keys, with their secrets, that the action gets; None for all."""

    dry_run_secrets: tuple[str, ...] = ()
    """The keys of the skill's config whose secrets its dry run and target check get:
    read-only credentials. They get no other secrets."""

    def is_probed(self, params: Mapping[str, Any]) -> bool:
        """Return True if a call with these params has a probe."""
        return bool(self.probe) and (not self.probe_param or self.probe_param in params)

    @cached_property
    def input_validator(self) -> "Draft202012Validator":
        """The compiled input schema, cached because compiling is slow."""
        return _validator(self.input_schema)

    @cached_property
    def output_validator(self) -> "Draft202012Validator":
        return _validator(self.output_schema)

    def given(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """Return the part of the skill's config that a call of this action gets."""
        if self.needs is None:
            return dict(config)
        return {key: value for key, value in config.items() if key in self.needs}


@dataclass(frozen=True)
class SkillContract:
    slug: str
    version: str
    name: str
    description: str
    actions: tuple[ActionContract, ...]
    domain: str = "general"
    config: Mapping[str, Any] = field(default_factory=dict)
    """Values of the installation, such as a base URL. Secrets are references:
    `{"$secret": "name"}`."""
    config_schema: Mapping[str, Any] = field(default_factory=dict)
    allowed: tuple[str, ...] = ()
    """Operations that the skill may do, as text for users (S1.40)."""
    forbidden: tuple[str, ...] = ()
    requires: tuple[str, ...] = ()
    """Features that a release must support to run the skill safely, see `from_json`."""

    def action(self, name: str) -> ActionContract | None:
        for item in self.actions:
            if item.name == name:
                return item
        return None


def _validator(schema: Mapping[str, Any]) -> "Draft202012Validator":
    # Not at the top: the program that runs handlers validates nothing, and the import
    # would double its start-up time.
    from execfabric.lib.schema import FORMATS, validator  # noqa: PLC0415

    return validator(schema, format_checker=FORMATS)


def as_json(contract: SkillContract) -> dict[str, Any]:
    """Return the contract as a JSON value: what is digested, stored and shown."""
    value: dict[str, Any] = json.loads(json.dumps(asdict(contract)))
    for action in value["actions"]:
        # Left out if empty, so that older contracts keep their digests.
        for name in ("dry_run_secrets", "probe", "probe_param"):
            if not action[name]:
                del action[name]
    return value


def from_json(value: Mapping[str, Any]) -> SkillContract:
    """Read a contract that `as_json` of this or another release wrote.

    Keys that a newer release has added are ignored. A key that must not be ignored,
    because a safeguard depends on it, comes with a feature in `requires`.

    :raises ContractUnreadable: when it requires an unknown feature, or holds a value
        that this release does not know
    """
    try:
        if unknown := sorted(set(value.get("requires", ())) - FEATURES):
            raise ContractUnreadable(
                f"Cannot read the contract: it requires {', '.join(unknown)}, which"
                " this release does not know. Upgrade this installation.",
                requires=unknown,
            )
        return _read(SkillContract, _OF_SKILL, value)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ContractUnreadable(
            f"Cannot read the contract: {error}. Upgrade this installation if a newer"
            " release wrote the contract."
        ) from error


def _read(kind: type[T], readers: Readers, value: Mapping[str, Any]) -> T:
    """Build a dataclass from the fields that it has in this release."""
    names = {item.name for item in fields(kind)}  # type: ignore[arg-type]
    known = {
        name: readers[name](item) if name in readers else item
        for name, item in value.items()
        if name in names
    }
    return kind(**known)


# By hand and not with pydantic: that would double the start-up time of the program
# which runs handlers, for twenty lines.
_OF_ACTION: Readers = {
    "dry_run": DryRunKind,
    "dry_run_secrets": tuple,
    "effect_class": EffectClass,
    "files": tuple,
    "limits": partial(_read, Limits, {}),
    "needs": lambda value: None if value is None else tuple(value),
    "retry": partial(_read, RetryRule, {}),
    "risk": Risk,
}
_OF_SKILL: Readers = {
    "actions": lambda value: tuple(
        _read(ActionContract, _OF_ACTION, item) for item in value
    ),
    "allowed": tuple,
    "forbidden": tuple,
    "requires": tuple,
}
