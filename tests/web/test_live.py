"""Live pages: nothing missed, nothing doubled, and nobody watches without the right."""

import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from asgiref.sync import sync_to_async
from asgiref.testing import ApplicationCommunicator
from django.conf import settings
from django.contrib.auth.models import Group
from django.db import connections
from django.test import Client

from audit import selectors as audit
from execfabric.asgi import application
from execfabric.identity.models import User
from execfabric.lib import clock
from execfabric.web import sockets
from orchestration.runs import live
from orchestration.runs.control import stops
from orchestration.runs.models import LogChunk, Run
from tests.builders import (
    approved,
    decided,
    driven,
    open_gate,
    plan,
    proposed,
    states,
    step,
)
from tests.console_builders import signed_in

TWO_STEPS = plan(step("first"), step("second", after="first"))


ORIGIN = (b"origin", b"http://localhost")


WITHIN = 8


real = pytest.mark.django_db(transaction=True)


def cookie(client: Client) -> bytes:
    name = settings.SESSION_COOKIE_NAME
    return f"{name}={client.cookies[name].value}".encode()


class Socket(ApplicationCommunicator):
    """One websocket, without the server that Channels' own helper asks for."""

    accepted = False

    async def open(self) -> None:
        await self.send_input({"type": "websocket.connect"})
        answer = await self.receive_output(timeout=WITHIN)
        self.accepted = answer["type"] == "websocket.accept"

    async def frame(self) -> str:
        message = await self.receive_output(timeout=WITHIN)
        assert message["type"] == "websocket.send", message
        return str(message["text"])

    async def leave(self) -> None:
        if not self.accepted:
            self.stop(exceptions=False)
            return
        await self.send_input({"type": "websocket.disconnect", "code": 1000})
        await self.wait(timeout=WITHIN)


def close_connections() -> None:
    connections.close_all()


@asynccontextmanager
async def watching(
    path: str, client: Client | None, origin: tuple[bytes, bytes] = ORIGIN
) -> AsyncIterator[Socket]:
    """Open a socket as a browser does."""
    headers = [origin, (b"host", b"localhost")]
    if client is not None:
        headers.append((b"cookie", cookie(client)))
    path, _, query = path.partition("?")
    scope = {
        "type": "websocket",
        "path": path,
        "query_string": query.encode(),
        "headers": headers,
        "subprotocols": [],
    }
    socket = Socket(application, scope)
    await socket.open()
    yield socket
    await socket.leave()
    await sync_to_async(close_connections)()


async def closed_with(socket: Socket) -> int:
    """Return the close code of the server; skip earlier frames."""
    until = time.monotonic() + WITHIN
    while time.monotonic() < until:
        message = await socket.receive_output(timeout=WITHIN)
        if message["type"] == "websocket.close":
            return int(message["code"])
    pytest.fail("it was not closed")


async def frame_with(socket: Socket, text: str) -> str:
    """Return the first frame that contains a text."""
    until = time.monotonic() + WITHIN
    while time.monotonic() < until:
        html = await socket.frame()
        if text in html:
            return html
    pytest.fail(f"no frame contains {text}")


def cursor_of(html: str) -> dict[str, str]:
    tag = re.findall(r'<span id="cursor"[^>]*>', html)[-1]
    return dict(re.findall(r'data-([\w-]+)="([^"]*)"', tag))


@sync_to_async
def prepared(proposer: User, operator: User) -> tuple[Run, Client, int]:
    run = proposed(TWO_STEPS, proposer)
    return run, signed_in(proposer), audit.head(run.stream)


@sync_to_async
def approve(run: Run, operator: User) -> None:
    decided(open_gate(run), operator)


@real
async def test_a_change_reaches_the_page_that_watches(
    registry, proposer, operator
) -> None:
    run, client, head = await prepared(proposer, operator)

    async with watching(f"/ws/runs/{run.pk}/?after={head}&log=", client) as socket:
        await frame_with(socket, 'id="cursor"')
        await approve(run, operator)
        html = await frame_with(socket, 'id="run-state"')

    assert 'data-state="running"' in html
    assert 'id="head-0"' in html
    assert int(cursor_of(html)["from"]) == head
    assert int(cursor_of(html)["seq"]) > head


@real
async def test_a_page_that_is_open_shows_a_stop_and_that_it_was_lifted(
    registry, proposer, operator
) -> None:
    run, client, head = await prepared(proposer, operator)
    by = operator.actor()

    async with watching(f"/ws/runs/{run.pk}/?after={head}&log=", client) as socket:
        await frame_with(socket, 'id="stop-banner" class="stack" hidden')
        row = await sync_to_async(stops.stop)(
            skill="", reason="Down.", cancel=False, by=by, at=clock.now()
        )
        shown = await frame_with(socket, 'data-testid="stop-banner"')
        await sync_to_async(stops.lift)(
            stop_id=row.pk, reason="Up.", by=by, at=clock.now()
        )
        await frame_with(socket, 'id="stop-banner" class="stack" hidden')

    assert "Down." in shown


@real
async def test_frames_from_an_old_cursor_give_each_event_once_and_in_order(
    registry, proposer, operator
) -> None:
    run, client, _ = await prepared(proposer, operator)
    await approve(run, operator)

    async with watching(
        f"/ws/runs/{run.pk}/?after=0&log=&view=events", client
    ) as socket:
        html = await frame_with(socket, 'id="ev-1"')

    last = await sync_to_async(audit.head)(run.stream)
    assert re.findall(r'id="ev-(\d+)"', html) == [str(n) for n in range(1, last + 1)]
    assert cursor_of(html) == {"seq": str(last), "log": "", "from": "0", "log-from": ""}


@pytest.mark.parametrize("address", ["?view=plan", "?view=plan&after=1&log="])
def test_a_page_that_shows_the_plan_is_sent_what_it_has_a_place_for(
    address, registry, proposer, operator
) -> None:
    run = approved(TWO_STEPS, proposer, operator)
    written(run, 0, "a line of the log")
    client = signed_in(proposer)
    page = client.get(f"/runs/{run.pk}?view=plan").content.decode()

    frame = client.get(f"/runs/{run.pk}/live{address}").content.decode()

    sent = re.findall(r'id="([^"]+)"[^>]*hx-swap-oob', frame)
    assert "run-state" in sent
    assert [part for part in sent if f'id="{part}"' not in page] == []
    assert "a line of the log" not in frame


@real
async def test_what_a_step_writes_is_sent_to_pages_that_show_its_log(
    registry, proposer, operator
) -> None:
    run, client, head = await prepared(proposer, operator)
    await sync_to_async(written)(run, 0, "seen before\n")
    path = f"/ws/runs/{run.pk}/?after={head}&log=0.12"

    async with watching(path, client) as socket:
        await sync_to_async(written)(run, 12, "new here\n")
        html = await frame_with(socket, "new here")

    assert 'hx-swap-oob="innerHTML:#log-0">seen before\nnew here' in html
    assert cursor_of(html)["log"] == "0.21"


def written(run: Run, offset: int, text: str) -> None:
    row = run.steps.get(key="first")
    LogChunk.objects.create(
        step_run=row, fence=1, offset=offset, text=text, at=clock.now()
    )
    live.run_changed(run.pk)


@real
async def test_a_page_without_session_is_accepted_and_then_told_to_sign_in(
    registry, proposer, operator
) -> None:
    run, _, _ = await prepared(proposer, operator)

    async with watching(f"/ws/runs/{run.pk}/?after=0&log=", None) as socket:
        assert socket.accepted
        assert await closed_with(socket) == sockets.SIGNED_OUT


@real
async def test_a_stranger_is_accepted_and_then_refused(
    registry, proposer, operator, stranger
) -> None:
    run, _, _ = await prepared(proposer, operator)
    client = await sync_to_async(signed_in)(stranger)

    async with watching(f"/ws/runs/{run.pk}/?after=0&log=", client) as socket:
        assert socket.accepted
        assert await closed_with(socket) == sockets.REFUSED


@real
async def test_another_sites_page_cannot_open_a_socket(
    registry, proposer, operator
) -> None:
    run, client, _ = await prepared(proposer, operator)
    elsewhere = (b"origin", b"http://elsewhere.example")

    async with watching(f"/ws/runs/{run.pk}/", client, elsewhere) as socket:
        assert not socket.accepted


@real
async def test_signing_out_closes_the_socket_of_every_tab(
    registry, proposer, operator
) -> None:
    run, client, head = await prepared(proposer, operator)

    async with watching(f"/ws/runs/{run.pk}/?after={head}&log=", client) as socket:
        await frame_with(socket, 'id="cursor"')
        await sync_to_async(client.post)("/accounts/logout/")
        assert await closed_with(socket) == sockets.SIGNED_OUT


@real
async def test_rights_that_are_taken_away_close_the_socket(
    registry, proposer, operator
) -> None:
    run, _, head = await prepared(proposer, operator)
    client = await sync_to_async(signed_in)(operator)

    async with watching(f"/ws/runs/{run.pk}/?after={head}&log=", client) as socket:
        await frame_with(socket, 'id="cursor"')
        await sync_to_async(operator.groups.remove)(
            await Group.objects.aget(name="operator")
        )
        assert await closed_with(socket) == sockets.REFUSED


@real
async def test_the_inbox_count_changes_by_itself(registry, proposer, operator) -> None:
    client = await sync_to_async(signed_in)(operator)

    async with watching("/ws/inbox/", client) as socket:
        await frame_with(socket, 'data-count="0"')
        run, _, _ = await prepared(proposer, operator)
        await frame_with(socket, 'data-count="1"')
        await approve(run, operator)
        await frame_with(socket, 'data-count="0"')


@real
@pytest.mark.promise("S4.9")
async def test_an_approval_step_pauses_the_run_and_a_frame_asks_for_the_answer(
    registry, proposer, operator, worker
) -> None:
    ask = {"id": "ask", "kind": "approval", "dependsOn": ["first"]}
    text = plan(step("first"), ask, step("last", after="ask"))
    run = await sync_to_async(approved)(text, proposer, operator)
    client = await sync_to_async(signed_in)(operator)
    head = await sync_to_async(audit.head)(run.stream)

    async with watching(f"/ws/runs/{run.pk}/?after={head}&log=", client) as socket:
        await frame_with(socket, 'id="cursor"')
        await sync_to_async(driven)(run, worker)
        html = await frame_with(socket, "gate-link-ask")
        gate = await sync_to_async(open_gate)(run, "ask")
        waiting = await sync_to_async(states)(run)

    assert f"/gates/{gate.pk}" in html
    assert waiting == {
        "first": "succeeded",
        "ask": "gated",
        "last": "pending",
    }


@real
async def test_whoever_decides_nothing_has_no_inbox_to_watch(
    registry, proposer
) -> None:
    client = await sync_to_async(signed_in)(proposer)

    async with watching("/ws/inbox/", client) as socket:
        assert await closed_with(socket) == sockets.REFUSED
