"""Refusals about the registry."""

from execfabric.lib.refusal import Conflict, Denied, Invalid, Missing


class SkillUnknown(Missing):
    """There is no such skill, or it is not visible to you."""

    code = "skill.unknown"


class SkillVersionUnknown(Missing):
    """There is no such version of the skill."""

    code = "skill.version_unknown"


class SkillNotPermitted(Denied):
    """You may not edit or publish this skill."""

    code = "skill.not_permitted"


class VersionNotDraft(Conflict):
    """A published version never changes; make a new one."""

    code = "skill.version_not_draft"


class VersionTaken(Conflict):
    """This version number exists already; choose a higher one."""

    code = "skill.version_taken"


class VersionInvalid(Invalid):
    """A version number has the form 1.2.3."""

    code = "skill.version_invalid"


class DigestStale(Conflict):
    """The draft changed since you looked at it; reload and look again."""

    code = "skill.digest_stale"


class ContractInvalid(Invalid):
    """The contract is not valid."""

    code = "skill.contract_invalid"


class ContractUnreadable(Conflict):
    """Cannot read the contract of this skill version: a newer release wrote it."""

    code = "skill.contract_unreadable"


class SecondAdminRequired(Denied):
    """This version weakens a safeguard: an admin who did not edit it must publish it."""

    code = "skill.second_admin_required"


class HandlerMissing(Conflict):
    """The code of this action is not installed here."""

    code = "skill.handler_missing"


class SecretMissing(Conflict):
    """A secret of the skill's configuration is not set; the worker's log names it."""

    code = "skill.secret_missing"


class SecretsClosed(Conflict):
    """Only worker processes can read secrets."""

    code = "skill.secrets_closed"


class ReasonRequired(Invalid):
    """Give a reason."""

    code = "skill.reason_required"
