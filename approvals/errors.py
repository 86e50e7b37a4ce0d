"""Refusals about gates, decisions and policies; one code per reason."""

from execfabric.lib.refusal import Conflict, Denied, Invalid, Missing


class GateUnknown(Missing):
    """There is no such gate, or you may not see it."""

    code = "approval.gate_unknown"


class GateAlreadySettled(Conflict):
    """This gate was settled before your decision arrived."""

    code = "approval.already_settled"


class GateExpired(Conflict):
    """The time to decide on this gate is over."""

    code = "approval.expired"


class GateSuperseded(Conflict):
    """What this gate asked about has changed or is no longer wanted."""

    code = "approval.superseded"


class GateDoesNotHold(Conflict):
    """The approval does not cover what was about to run."""

    code = "approval.does_not_hold"


class StaleDigest(Conflict):
    """You decided on other content than this gate asks about; look at it again."""

    code = "approval.stale_digest"


class AlreadyDecided(Conflict):
    """You have already decided on this gate; a decision cannot be changed."""

    code = "approval.already_decided"


class AccountInactive(Denied):
    """Your account is not active."""

    code = "approval.account_inactive"


class OwnProposal(Denied):
    """Nobody decides on what they proposed."""

    code = "approval.own_proposal"


class EditedByYou(Denied):
    """Nobody decides on what they edited."""

    code = "approval.edited_by_you"


class AgentOwner(Denied):
    """Nobody decides on what their own agent proposed."""

    code = "approval.agent_owner"


class ProposerInactive(Conflict):
    """The proposer's account is deactivated. Activate it, or cancel the run."""

    code = "approval.proposer_inactive"


class ExcludedFromGate(Denied):
    """You are excluded from deciding on this gate."""

    code = "approval.excluded"


class NotInGroup(Denied):
    """You are in none of the groups that this gate asks."""

    code = "approval.not_in_group"


class CommentRequired(Invalid):
    """A rejection needs a comment that says why."""

    code = "approval.comment_required"


class CommentUnreadable(Invalid):
    """The comment is too long or contains characters that cannot be recorded."""

    code = "approval.comment_unreadable"


class RequirementInvalid(Invalid):
    """A gate must ask at least one group, and of each group at least one person."""

    code = "approval.requirement_invalid"


class Unsatisfiable(Invalid):
    """Nobody could give the approvals that this gate needs."""

    code = "approval.unsatisfiable"


class PolicyUnknown(Missing):
    """There is no such policy in force."""

    code = "policy.unknown"


class PolicyInvalid(Invalid):
    """The policy is not valid."""

    code = "policy.invalid"
