"""The processes of the benchmark, and what they cost."""

import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import psutil  # type: ignore[import-untyped]

from execfabric.local import commands, part, processes
from execfabric.local.part import Part, Running
from tests.bench import bare

PROCESSES = 2
"""Worker processes, for the product and for the bare canvas alike."""


@contextmanager
def worker(env: Mapping[str, str]) -> Iterator[Running]:
    """The product's worker with its command line, ready."""
    with _ready(commands.worker(env, concurrency=PROCESSES)) as running:
        yield running


@contextmanager
def keeper(env: Mapping[str, str]) -> Iterator[Running]:
    """The product's keeper, ready."""
    with tempfile.TemporaryDirectory() as folder:
        ready = Path(folder) / "ready"
        with _ready(commands.keeper(env, ready_file=ready)) as running:
            yield running


@contextmanager
def bare_worker(env: Mapping[str, str]) -> Iterator[Running]:
    """A worker of the bare canvas, with the same options, ready."""
    argv = commands.worker_command(concurrency=PROCESSES, name="bare")
    swapped = {"execfabric.celery": bare.__name__, "execfabric": bare.QUEUE}
    argv = [swapped.get(word, word) for word in argv]
    wanted = Part(
        name="bare", argv=argv, env=env, ready=lambda one: one.said(" ready.")
    )
    with _ready(wanted) as running:
        yield running


def rss_mib(running: Running) -> float:
    """Memory of a part and all it started: what would be free without it.

    Pages that its processes share are counted once.
    """
    total = 0
    for member in processes.family(running.identity):
        try:
            total += member.memory_full_info().pss
        except psutil.NoSuchProcess:
            continue
    return total / 2**20


@contextmanager
def _ready(wanted: Part) -> Iterator[Running]:
    running = part.start(wanted, None)
    try:
        part.await_ready(running)
        yield running
    except BaseException:
        print(running.output()[-4000:], file=sys.stderr)
        raise
    finally:
        running.kill()
