"""Refusals of accounts, tokens and rights."""

from execfabric.lib.refusal import Conflict, Denied, Invalid, Missing, RefusalKind


class NotSignedIn(Denied):
    """Authentication required: sign in, or send a valid token."""

    code = "auth.not_signed_in"
    kind = RefusalKind.UNAUTHENTICATED


class RightMissing(Denied):
    """Not allowed: your role does not include this right."""

    code = "auth.right_missing"


class AgentsCannotDecide(Denied):
    """Not allowed: an agent can only propose plans and read."""

    code = "auth.agents_cannot_decide"


class AccountUnknown(Invalid):
    """Unknown account."""

    code = "auth.account_unknown"


class AccountDeactivated(Conflict):
    """The account is deactivated. Activate it first."""

    code = "auth.account_inactive"


class UserExists(Conflict):
    """A user with this name already exists."""

    code = "auth.user_exists"


class AgentExists(Conflict):
    """An agent with this name already exists."""

    code = "auth.agent_exists"


class NameInvalid(Invalid):
    """Invalid name or label: it is missing, too long, or has invisible characters."""

    code = "auth.name_invalid"


class EmailInvalid(Invalid):
    """Invalid email address."""

    code = "auth.email_invalid"


class LifetimeInvalid(Invalid):
    """Invalid lifetime: a token is valid for 1 to 3650 days."""

    code = "auth.lifetime_invalid"


class TokenUnknown(Missing):
    """Unknown token, or it is not yours."""

    code = "auth.token_unknown"


class LinkInvalid(Missing):
    """This link is invalid: it was used, replaced, or has expired."""

    code = "auth.link_invalid"


class PasswordRefused(Invalid):
    """Cannot set this password: it does not follow the rules."""

    code = "auth.password_refused"

    def __init__(self, sentences: list[str]) -> None:
        self.sentences = sentences
        super().__init__(" ".join(sentences))
