"""Keeps parts alive: starts them in order, restarts them with back-off, stops them."""

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from execfabric.lib import space
from execfabric.local import leftovers, processes
from execfabric.local import part as parts
from execfabric.local.errors import PartFailed, StartFailed, Stopped
from execfabric.local.journal import Journal
from execfabric.local.layout import DataDir
from execfabric.local.leftovers import Recorded, Stage
from execfabric.local.part import Part, Running

FIRST_PAUSE = 0.5
LONGEST_PAUSE = 30.0
STEADY_AFTER = 60.0
"""Seconds of service after which earlier failures no longer count."""
TICK = 0.1
LOOK_EVERY = 1.0
"""Seconds between two looks at the free space."""


def pause_before_restart(failures: int) -> float:
    """Seconds to wait before the next try, doubling from half a second to thirty."""
    return float(min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(failures - 1, 10)))


@dataclass
class Watched:
    """One part under supervision."""

    part: Part
    running: Running
    since: float
    """When the present instance was started (monotonic)."""
    ready: bool = False
    failures: int = 0
    restarts: int = 0
    again_at: float | None = None
    """When to start it again, while it is down (monotonic)."""

    @property
    def state(self) -> str:
        """One word for `status`."""
        if self.again_at is not None:
            return "waiting to restart"
        return "ready" if self.ready else "starting"


class Supervisor:
    """The parts of one data directory. Used from one thread, the main thread."""

    def __init__(self, data: DataDir, journal: Journal) -> None:
        self._data = data
        self._journal = journal
        self._watched: list[Watched] = []
        self._stop_asked = False
        self._stage = Stage.STARTING
        self._unrecorded = False
        """Whether what is written down is not what runs."""
        self._short = False
        """Whether the disk was almost full at the last look."""
        self._look_again_at = 0.0

    def enter(self, stage: Stage) -> None:
        """Write down how far the installation is."""
        self._stage = stage
        self.record()

    def ask_to_stop(self) -> None:
        """Remember that a stop was asked for; safe in a signal handler."""
        self._stop_asked = True

    def begin(self, part: Part) -> Running:
        """Start a part and wait for its gate; from then on it is kept alive.

        :raises StartFailed: when it does not get ready; nothing of it is left
        :raises Stopped: when a stop was asked for
        """
        return self.begin_all([part])[0]

    def begin_all(self, wanted: Sequence[Part]) -> list[Running]:
        """Start parts that do not need one another; wait for all their gates."""
        begun = [self._watch(part) for part in wanted]
        try:
            for watched in begun:
                parts.await_ready(watched.running, give_up=self._give_up)
                self._is_ready(watched)
        except BaseException:
            for watched in begun:
                self._watched.remove(watched)
                watched.running.stop()
            self.record()
            raise
        return [watched.running for watched in begun]

    def complete(self, name: str, argv: Sequence[str], env: dict[str, str]) -> None:
        """Run a command to its end.

        :raises PartFailed: when it fails
        :raises Stopped: when a stop was asked for
        """
        part = Part(name=name, argv=argv, env=env, ready=lambda _: False)
        running = parts.start(part, self._journal)
        try:
            while running.alive:
                self._give_up()
                time.sleep(parts.POLL)
        finally:
            running.stop()
        if code := running.child.returncode:
            message = f"The command `{name}` failed (exit {code})."
            raise PartFailed(message)

    def watch(self, *, until: Callable[[], bool] = lambda: False) -> None:
        """Keep every part alive until a stop is asked for."""
        while not self._stop_asked and not until():
            self._look_at_disk()
            for watched in self._watched:
                self._tend_whatever_happens(watched)
            if self._unrecorded:
                self.record()
            time.sleep(TICK)

    def stop(self) -> None:
        """Stop every part in the reverse order of the start."""
        self.enter(Stage.STOPPING)
        while self._watched:
            watched = self._watched.pop()
            watched.running.stop()
            self._journal.line("supervisor", f"{watched.part.name} stopped")
        self.record()

    def _watch(self, part: Part) -> Watched:
        self._give_up()
        running = parts.start(part, self._journal)
        watched = Watched(part, running, time.monotonic())
        self._watched.append(watched)
        self.record()
        return watched

    def _is_ready(self, watched: Watched) -> None:
        watched.ready = True
        seconds = time.monotonic() - watched.since
        name = watched.part.name
        self._journal.line("supervisor", f"{name} ready after {seconds:.1f} s")
        self.record()

    def _look_at_disk(self) -> None:
        """Say when the disk gets full; restart everything at once when it is not."""
        now = time.monotonic()
        if now < self._look_again_at:
            return
        self._look_again_at = now + LOOK_EVERY
        short = space.shortage([self._data.root], space.least_free())
        if short and not self._short:
            text = f"{short} New work waits until there is more."
            self._journal.line("supervisor", text)
        elif self._short and not short:
            self._journal.line("supervisor", "The disk has room again.")
            for watched in self._watched:
                watched.failures = 0
                if watched.again_at is not None:
                    watched.again_at = now
        self._short = short is not None

    def _tend_whatever_happens(self, watched: Watched) -> None:
        """Tend one part; no failure of that ends the supervision of the others."""
        try:
            self._tend(watched)
        except Exception as error:  # noqa: BLE001  it must outlive whatever happens
            text = f"{watched.part.name} cannot be tended: {error!r}"
            self._journal.line("supervisor", text)
            watched.failures += 1
            pause = pause_before_restart(watched.failures)
            watched.again_at = time.monotonic() + pause

    def _tend(self, watched: Watched) -> None:
        now = time.monotonic()
        if watched.again_at is not None:
            if now >= watched.again_at:
                self._start_again(watched)
        elif not watched.running.alive:
            self._went_down(watched, f"ended (exit {watched.running.child.returncode})")
        elif not watched.ready:
            if watched.part.ready(watched.running):
                self._is_ready(watched)
            elif now - watched.since > watched.part.ready_within:
                self._went_down(watched, "did not get ready")
        elif now - watched.since > STEADY_AFTER:
            watched.failures = 0

    def _went_down(self, watched: Watched, what: str) -> None:
        watched.running.kill()
        watched.ready = False
        watched.failures += 1
        pause = pause_before_restart(watched.failures)
        watched.again_at = time.monotonic() + pause
        name = watched.part.name
        self._journal.line("supervisor", f"{name} {what}; again in {pause:g} s")
        self.record()

    def _start_again(self, watched: Watched) -> None:
        watched.restarts += 1
        watched.again_at = None
        watched.since = time.monotonic()
        try:
            watched.running = parts.start(watched.part, self._journal)
        except StartFailed as error:
            self._went_down(watched, f"did not start: {error}")
        self.record()

    def _give_up(self) -> None:
        if self._stop_asked:
            raise Stopped

    def record(self) -> None:
        """Write down what runs, for `status`, `down` and the next `up`.

        What cannot be written now is written as soon as it can be.
        """
        own = processes.identify(os.getpid())
        recorded = {}
        if own:
            recorded[leftovers.SUPERVISOR] = Recorded(own.pid, own.started, self._stage)
        for watched in self._watched:
            found = watched.running.identity
            recorded[watched.part.name] = Recorded(
                found.pid, found.started, watched.state, watched.restarts
            )
        try:
            leftovers.write(self._data, recorded)
        except OSError as error:
            if not self._unrecorded:
                text = f"Cannot write {self._data.run}: {error}. Trying again."
                self._journal.line("supervisor", text)
            self._unrecorded = True
        else:
            self._unrecorded = False
