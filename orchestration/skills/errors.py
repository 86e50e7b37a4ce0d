"""Refusals about the registry."""

from execfabric.lib.refusal import Conflict, Denied, Invalid, Missing


class SkillUnknown(Missing):
    """Unknown skill, or you do not have access to it."""

    code = "skill.unknown"


class SkillVersionUnknown(Missing):
    """Unknown version of the skill."""

    code = "skill.version_unknown"


class SkillNotPermitted(Denied):
    """You are not allowed to edit or publish this skill. Ask an admin."""

    code = "skill.not_permitted"


class VersionNotDraft(Conflict):
    """Cannot change a published version. Create a new one."""

    code = "skill.version_not_draft"


class VersionTaken(Conflict):
    """Duplicate version number. Use a higher one."""

    code = "skill.version_taken"


class VersionInvalid(Invalid):
    """Invalid version number. Use the form 1.2.3."""

    code = "skill.version_invalid"


class DigestStale(Conflict):
    """The draft has changed since you opened this page. Reload and review it again."""

    code = "skill.digest_stale"


class ContractInvalid(Invalid):
    """The contract is invalid."""

    code = "skill.contract_invalid"


class ContractUnreadable(Conflict):
    """Cannot read the contract of this skill version: a newer release wrote it."""

    code = "skill.contract_unreadable"


class SecondAdminRequired(Denied):
    """This version weakens a safeguard. An admin who did not edit it must publish it."""

    code = "skill.second_admin_required"


class HandlerMissing(Conflict):
    """The code of this action is not installed here."""

    code = "skill.handler_missing"


class SecretMissing(Conflict):
    """A secret of the skill's configuration is missing. The worker's log names it."""

    code = "skill.secret_missing"


class SecretsClosed(Conflict):
    """Only worker processes can read secrets."""

    code = "skill.secrets_closed"


class ReasonRequired(Invalid):
    """A reason is required."""

    code = "skill.reason_required"
