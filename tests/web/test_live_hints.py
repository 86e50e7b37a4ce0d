"""Hints of what changed: few, never late for the work, never a failure."""

import asyncio
import time
from typing import Any
from uuid import uuid4

import pytest
from asgiref.sync import sync_to_async
from django.db import transaction

from execfabric.infra import live
from orchestration.runs.live import group, run_changed

real = pytest.mark.django_db(transaction=True)


class Heard:
    """Counts the hints about one run, on a connection of its own."""

    def __init__(self, run_id: Any) -> None:
        self.count = 0
        self.group = group(run_id)

    async def listen(self) -> None:
        await live.listen(self.group, self.hint)

    def hint(self) -> None:
        self.count += 1


async def test_a_hundred_changes_at_once_are_few_hints_and_at_least_one() -> None:
    run_id = uuid4()
    heard = Heard(run_id)
    task = asyncio.create_task(heard.listen())
    await asyncio.sleep(0.3)

    for _ in range(100):
        await sync_to_async(live.hint)(group(run_id))
    await asyncio.sleep(0.5)
    task.cancel()

    assert 1 <= heard.count <= 20


@real
def test_nothing_is_hinted_when_the_transaction_is_rolled_back(monkeypatch) -> None:
    given: list[Any] = []
    monkeypatch.setattr(live._sender, "hint", lambda *hint: given.append(hint))

    with transaction.atomic():
        run_changed("undone")
        transaction.set_rollback(True)
    with transaction.atomic():
        run_changed("run")
        assert given == []

    assert given == [(group("run"),)]


def test_a_hint_never_fails_and_never_waits_without_a_channel_layer(settings) -> None:
    settings.CHANNEL_LAYERS = {
        "default": {
            "BACKEND": "channels_redis.core.RedisChannelLayer",
            "CONFIG": {"hosts": ["redis://127.0.0.1:1/0"]},
        }
    }
    sender = live._Sender()
    watched = group(uuid4())

    started = time.perf_counter()
    for _ in range(1000):
        sender.hint(watched)
    each = (time.perf_counter() - started) / 1000

    assert each < 50e-6
