"""Refusals about identity and rights."""

from execfabric.lib.refusal import Conflict, Denied, Invalid, Missing, RefusalKind


class NotSignedIn(Denied):
    """Sign in, or send a valid token."""

    code = "auth.not_signed_in"
    kind = RefusalKind.UNAUTHENTICATED


class RightMissing(Denied):
    """Your role does not include this right."""

    code = "auth.right_missing"


class AgentsCannotDecide(Denied):
    """An agent can propose and read; it can never decide, control a run or change the registry."""

    code = "auth.agents_cannot_decide"


class AccountUnknown(Invalid):
    """There is no such account."""

    code = "auth.account_unknown"


class AccountInactive(Conflict):
    """This account is deactivated. Activate it first."""

    code = "auth.account_inactive"


class UserExists(Conflict):
    """A user with this name already exists."""

    code = "auth.user_exists"


class AgentExists(Conflict):
    """An agent with this name already exists."""

    code = "auth.agent_exists"


class NameInvalid(Invalid):
    """A name or label is missing, too long, or has invisible characters."""

    code = "auth.name_invalid"


class EmailInvalid(Invalid):
    """This is not a valid email address."""

    code = "auth.email_invalid"


class LifetimeInvalid(Invalid):
    """A token is valid for at least 1 day and at most 3650 days."""

    code = "auth.lifetime_invalid"


class TokenUnknown(Missing):
    """Unknown token, or it is not yours."""

    code = "auth.token_unknown"


class LinkInvalid(Missing):
    """This link was used, replaced, or has expired."""

    code = "auth.link_invalid"


class PasswordRefused(Invalid):
    """This password does not follow the rules."""

    code = "auth.password_refused"

    def __init__(self, sentences: list[str]) -> None:
        self.sentences = sentences
        super().__init__(" ".join(sentences))
