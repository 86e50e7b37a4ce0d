"""The states of a skill and of a skill version, and their transitions."""

from enum import StrEnum

from execfabric.lib.machine import StateMachine


class SkillState(StrEnum):
    """The state of a skill, which decides if plans may use it."""

    DRAFT = "draft"  # no version published yet; only its editors see it
    ACTIVE = "active"  # plans may use it
    DEPRECATED = "deprecated"  # plans may still use it, with a warning
    QUARANTINED = "quarantined"  # its steps do not start, approved or not


class SkillEvent(StrEnum):
    PUBLISHED = "published"
    REBOUND = "rebound"  # the current contract again, with the code installed now
    DEPRECATED = "deprecated"
    QUARANTINED = "quarantined"
    RESTORED = "restored"


class VersionState(StrEnum):
    """The state of a version, which decides if it may be edited or used."""

    DRAFT = "draft"  # may be edited; cannot run
    PUBLISHED = "published"  # immutable; can run
    WITHDRAWN = "withdrawn"  # immutable; new plans cannot pin it


class VersionEvent(StrEnum):
    PUBLISHED = "published"
    WITHDRAWN = "withdrawn"


# fmt: off
SKILL: StateMachine[SkillState, SkillEvent] = StateMachine(
    name="skill",
    initial=SkillState.DRAFT,
    rows=(
        # from                    on                       to
        (SkillState.DRAFT,       SkillEvent.PUBLISHED,   SkillState.ACTIVE),
        (SkillState.ACTIVE,      SkillEvent.PUBLISHED,   SkillState.ACTIVE),
        (SkillState.DEPRECATED,  SkillEvent.PUBLISHED,   SkillState.ACTIVE),
        (SkillState.ACTIVE,      SkillEvent.REBOUND,     SkillState.ACTIVE),
        (SkillState.DEPRECATED,  SkillEvent.REBOUND,     SkillState.DEPRECATED),
        (SkillState.ACTIVE,      SkillEvent.DEPRECATED,  SkillState.DEPRECATED),
        (SkillState.ACTIVE,      SkillEvent.QUARANTINED, SkillState.QUARANTINED),
        (SkillState.DEPRECATED,  SkillEvent.QUARANTINED, SkillState.QUARANTINED),
        (SkillState.DEPRECATED,  SkillEvent.RESTORED,    SkillState.ACTIVE),
        (SkillState.QUARANTINED, SkillEvent.RESTORED,    SkillState.ACTIVE),
    ),
    final=frozenset(),
)

VERSION: StateMachine[VersionState, VersionEvent] = StateMachine(
    name="skill version",
    initial=VersionState.DRAFT,
    rows=(
        # from                    on                       to
        (VersionState.DRAFT,     VersionEvent.PUBLISHED, VersionState.PUBLISHED),
        (VersionState.PUBLISHED, VersionEvent.WITHDRAWN, VersionState.WITHDRAWN),
    ),
    final=frozenset({VersionState.WITHDRAWN}),
)
# fmt: on
