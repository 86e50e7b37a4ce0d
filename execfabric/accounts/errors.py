"""Refusals about identity and rights."""

from execfabric.lib.refusal import Denied, Invalid


class NotSignedIn(Denied):
    """Sign in, or send a valid token."""

    code = "auth.not_signed_in"


class RightMissing(Denied):
    """Your role does not include this right."""

    code = "auth.right_missing"


class AgentsCannotDecide(Denied):
    """An agent can propose and read; it can never decide, control a run or change the registry."""

    code = "auth.agents_cannot_decide"


class AccountUnknown(Invalid):
    """There is no such account."""

    code = "auth.account_unknown"
