"""Which columns of gates, decisions and policies the record covers."""

from approvals.models import Decision, Gate, Policy
from audit.history import Table

GATE = Table(
    Gate, key=("id",), exempt={"stream": "A row is looked up by it, and missing there."}
)
DECISION = Table(Decision, key=("id",), exempt={})
POLICY = Table(Policy, key=("id",), exempt={})
