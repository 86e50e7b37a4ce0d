"""Hints over a real broker of their own, through restarts, hangs and forks."""

import os
import signal
import threading
from uuid import uuid4

import pytest

from orchestration.runs import dispatch


def arrived() -> list[str]:
    """Every hint that is in the list now, the oldest first."""
    found = []
    while (hint := dispatch.next_hint(0.01)) is not None:
        found.append(hint)
    return found


def test_hints_arrive_in_their_order(broker) -> None:
    ids = [uuid4() for _ in range(3)]

    dispatch.send(ids)

    assert arrived() == [str(one) for one in ids]


def test_after_a_restart_of_the_broker_the_first_hint_arrives(broker) -> None:
    dispatch.send([uuid4()])
    broker.kill()
    broker.start()
    later = uuid4()

    dispatch.send([later])

    assert arrived() == [str(later)]


@pytest.mark.parametrize("act", ["send", "send_dry_runs"])
def test_a_broker_that_is_gone_costs_the_hint_and_no_error(broker, caplog, act) -> None:
    dispatch.send([uuid4()])
    broker.kill()

    getattr(dispatch, act)([uuid4()])

    assert "Cannot send a hint" in caplog.text
    broker.start()
    assert arrived() == []


@pytest.mark.parametrize("act", ["send", "send_dry_runs"])
def test_a_broker_that_hangs_holds_nobody_longer_than_the_timeouts(
    broker, monkeypatch, caplog, act
) -> None:
    monkeypatch.setattr(dispatch, "TIMEOUT_S", 0.2)
    timeouts = {"socket_timeout": 0.2, "socket_connect_timeout": 0.2}
    monkeypatch.setattr(dispatch, "TIMEOUTS", timeouts)
    os.kill(broker.pid, signal.SIGSTOP)
    try:
        sender = threading.Thread(target=getattr(dispatch, act), args=[[uuid4()]])
        sender.start()
        sender.join(30)
    finally:
        os.kill(broker.pid, signal.SIGCONT)

    assert not sender.is_alive()
    assert "Cannot send a hint" in caplog.text


def test_a_seat_waits_while_the_broker_is_gone(broker, caplog) -> None:
    broker.kill()

    assert dispatch.next_hint(0.01) is None
    assert "Cannot read hints" in caplog.text

    broker.start()
    dispatch.send([uuid4()])
    assert len(arrived()) == 1


def test_the_keeper_hints_everything_after_it_could_not_reach_the_broker(
    broker, caplog
) -> None:
    broker.kill()
    assert not dispatch.has_reconnected()
    assert "Cannot reach the broker" in caplog.text
    broker.start()

    assert dispatch.has_reconnected()
    assert not dispatch.has_reconnected()
    broker.kill()
    broker.start()
    assert dispatch.has_reconnected()
    assert not dispatch.has_reconnected()


def test_many_threads_send_at_once(broker) -> None:
    ids = [[uuid4() for _ in range(20)] for _ in range(8)]
    threads = [threading.Thread(target=dispatch.send, args=[some]) for some in ids]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert set(arrived()) == {str(one) for some in ids for one in some}


def test_a_forked_child_and_its_parent_do_not_share_a_connection(broker) -> None:
    dispatch.send([uuid4()])
    arrived()
    child_id, parent_id = uuid4(), uuid4()

    if (child := os.fork()) == 0:
        dispatch.send([child_id])
        os._exit(0)
    os.waitpid(child, 0)
    dispatch.send([parent_id])

    assert arrived() == [str(child_id), str(parent_id)]


def test_only_the_newest_hints_are_stored(broker, monkeypatch) -> None:
    monkeypatch.setattr(dispatch, "MAX_HINTS", 2)
    ids = [uuid4() for _ in range(3)]

    dispatch.send(ids)

    assert arrived() == [str(one) for one in ids[1:]]
