"""The roles of the product and what each of them may do."""

from collections.abc import Collection
from enum import StrEnum


class Role(StrEnum):
    """The four groups that give rights."""

    PROPOSER = "proposer"
    OPERATOR = "operator"
    ADMIN = "admin"
    AUDITOR = "auditor"


class Right(StrEnum):
    PROPOSE = "propose"  # validate, dry-run and propose plans
    DECIDE = "decide"  # decide gates, where the gate's groups say so too
    CONTROL = "control"  # pause, resume and cancel any run
    SEE_ALL = "see_all"  # read every run, gate and plan
    REGISTRY = "registry"  # edit and publish skill versions
    CONFIG = "config"  # read the configuration of skills: paths, hosts, secret names
    POLICY = "policy"  # edit approval policies
    TRACE = "trace"  # browse and verify the whole audit log
    INDETERMINATE = "indeterminate"  # resolve the unknown outcome of a step


_OPERATOR = frozenset(
    {
        Right.PROPOSE,
        Right.DECIDE,
        Right.CONTROL,
        Right.SEE_ALL,
        Right.TRACE,
        Right.INDETERMINATE,
    }
)
RIGHTS: dict[Role, frozenset[Right]] = {
    Role.PROPOSER: frozenset({Right.PROPOSE}),
    Role.OPERATOR: _OPERATOR,
    Role.ADMIN: _OPERATOR | {Right.REGISTRY, Right.CONFIG, Right.POLICY},
    Role.AUDITOR: frozenset({Right.SEE_ALL, Right.CONFIG, Right.TRACE}),
}

OF_AGENTS = frozenset({Right.PROPOSE})
"""The most that an agent can have, regardless of its owner."""


def rights_from(groups: Collection[str]) -> frozenset[Right]:
    return frozenset().union(*(RIGHTS[role] for role in Role if role in groups))
