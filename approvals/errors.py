"""Refusals of gates, decisions and policies."""

from execfabric.lib.refusal import Conflict, Denied, Invalid, Missing


class GateUnknown(Missing):
    """Unknown gate, or you do not have access to it."""

    code = "approval.gate_unknown"


class GateAlreadySettled(Conflict):
    """This approval was closed before your decision arrived."""

    code = "approval.already_settled"


class GateExpired(Conflict):
    """This approval has expired."""

    code = "approval.expired"


class GateSuperseded(Conflict):
    """This approval is no longer needed: the content changed or the run was cancelled."""

    code = "approval.superseded"


class GateDoesNotHold(Conflict):
    """The approval does not cover what was about to run."""

    code = "approval.does_not_hold"


class StaleDigest(Conflict):
    """The content has changed since you opened this page. Review it and decide again."""

    code = "approval.stale_digest"


class AlreadyDecided(Conflict):
    """You have already decided on this approval. A decision cannot be changed."""

    code = "approval.already_decided"


class AccountInactive(Denied):
    """Your account is not active."""

    code = "approval.account_inactive"


class OwnProposal(Denied):
    """You cannot approve your own proposal."""

    code = "approval.own_proposal"


class EditedByYou(Denied):
    """You cannot approve a plan that you edited."""

    code = "approval.edited_by_you"


class AgentOwner(Denied):
    """You cannot approve a proposal of your own agent."""

    code = "approval.agent_owner"


class ProposerInactive(Conflict):
    """The proposer's account is deactivated. Activate it, or cancel the run."""

    code = "approval.proposer_inactive"


class ExcludedFromGate(Denied):
    """You are excluded from this approval."""

    code = "approval.excluded"


class NotInGroup(Denied):
    """You are not in a group that this approval needs."""

    code = "approval.not_in_group"


class CommentRequired(Invalid):
    """Cannot reject: a comment is required. Enter your reason."""

    code = "approval.comment_required"


class CommentUnreadable(Invalid):
    """Invalid comment: it is too long or contains control characters."""

    code = "approval.comment_unreadable"


class RequirementInvalid(Invalid):
    """Invalid gate: it needs a group, and at least one approval from each group."""

    code = "approval.requirement_invalid"


class Unsatisfiable(Invalid):
    """Not enough people can approve this."""

    code = "approval.unsatisfiable"


class PolicyUnknown(Missing):
    """Unknown policy, or it is retired."""

    code = "policy.unknown"


class PolicyInvalid(Invalid):
    """Invalid policy."""

    code = "policy.invalid"
