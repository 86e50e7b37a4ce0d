"""The columns of plans and revisions that the audit log covers."""

from audit.history import Table
from orchestration.plans.models import Plan, PlanRevision

PLAN = Table(Plan, key=("id",), exempt={})
REVISION = Table(PlanRevision, key=("id",), exempt={})
