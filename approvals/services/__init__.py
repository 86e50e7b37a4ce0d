"""Change gates, decisions and policies."""

from approvals.services.decisions import Recorded, record_decision, record_refusal
from approvals.services.gates import (
    expire,
    holds,
    open_gate,
    require_satisfiable,
    supersede,
    withdraw,
)
from approvals.services.policies import PolicyDraft, publish_policy, retire_policy
from approvals.services.transitions import GateChange

__all__ = [
    "GateChange",
    "PolicyDraft",
    "Recorded",
    "expire",
    "holds",
    "open_gate",
    "publish_policy",
    "record_decision",
    "record_refusal",
    "require_satisfiable",
    "retire_policy",
    "supersede",
    "withdraw",
]
