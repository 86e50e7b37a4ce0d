"""Runs for clients: propose, read, control, decide, fetch and verify."""

from ninja import Router

from orchestration.runs.api.acts import router as acts
from orchestration.runs.api.plans import router as plans
from orchestration.runs.api.reads import router as reads

router = Router()
router.add_router("", reads)
router.add_router("", acts)
router.add_router("", plans)
