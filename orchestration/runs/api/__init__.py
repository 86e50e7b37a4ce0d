"""Runs for clients: propose, read, control, decide, fetch and verify."""

from ninja import Router

from orchestration.runs.api.acts import router as acts
from orchestration.runs.api.artifacts import router as artifacts
from orchestration.runs.api.attention import router as attention
from orchestration.runs.api.events import router as events
from orchestration.runs.api.files import router as files
from orchestration.runs.api.plans import router as plans
from orchestration.runs.api.reads import router as reads
from orchestration.runs.api.reruns import router as reruns
from orchestration.runs.api.rollback import router as rollback
from orchestration.runs.api.saved_plans import router as saved_plans
from orchestration.runs.api.step_acts import router as step_acts
from orchestration.runs.api.stops import router as stops

router = Router()
# First: a path of `reads` takes any text where these take an id.
router.add_router("", artifacts)
router.add_router("", reads)
router.add_router("", acts)
router.add_router("", reruns)
router.add_router("", step_acts)
router.add_router("", rollback)
router.add_router("", attention)
router.add_router("", plans)
router.add_router("", files)
router.add_router("", events)
router.add_router("", saved_plans)
router.add_router("", stops)
