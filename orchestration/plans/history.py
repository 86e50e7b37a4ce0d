"""The columns of plans and revisions that the audit log covers."""

from audit.history import Table
from orchestration.plans.models import Plan, PlanRevision

PLAN = Table(Plan)
REVISION = Table(
    PlanRevision, exempt={"name": "Computed by Postgres from `body`, which is covered."}
)
