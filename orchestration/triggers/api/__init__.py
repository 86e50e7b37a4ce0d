"""Schedules and webhooks for clients."""

from ninja import Router

from orchestration.triggers.api.hooks import router as hooks
from orchestration.triggers.api.schedules import router as schedules

router = Router()
router.add_router("", schedules)
router.add_router("", hooks)
