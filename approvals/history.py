"""The columns of gates, decisions and policies that the audit log covers."""

from approvals.models import Decision, Gate, Policy
from audit.history import Table

GATE = Table(Gate, exempt={"stream": "Used to find rows: a wrong one is missing."})
DECISION = Table(Decision)
POLICY = Table(Policy)
