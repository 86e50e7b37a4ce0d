"""Run the keeper: one loop of sweeps. Several keepers may run at once."""

import logging
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.db import InterfaceError, OperationalError, connection

from execfabric.infra import database
from execfabric.lib import clock
from orchestration.runs import dispatch
from orchestration.runs.keeper import sweep

log = logging.getLogger("keeper")


class Command(BaseCommand):
    help = "Sweep once a second until it is stopped."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--every", type=float, default=1.0, help="seconds")
        parser.add_argument("--once", action="store_true")
        parser.add_argument("--ready-file", default="", help="touched at each sweep")

    def handle(self, *args: Any, **options: Any) -> None:
        self._stopped = self._hint_all = False
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        if not options["once"]:
            database.bound_transactions()
        self.stdout.write("keeper ready")
        self.stdout.flush()
        while not self._stopped:
            self._sweep()
            if options["ready_file"]:
                # A full disk must not stop the sweeps.
                with suppress(OSError):
                    Path(options["ready_file"]).touch()
            if options["once"]:
                return
            time.sleep(options["every"])

    def _stop(self, *_: Any) -> None:
        # Only a flag: a signal handler must not take a lock that may be held already.
        self._stopped = True

    def _sweep(self) -> None:
        """Sweep once; the next round retries what failed."""
        try:
            # First: what others hint after this reaches the broker.
            self._hint_all = dispatch.has_reconnected() or self._hint_all
            done = sweep.sweep(at=clock.now(), hint_all=self._hint_all)
        except (OperationalError, InterfaceError) as error:
            log.warning("The database is unreachable: %s", error)
            connection.close()
        except Exception:
            log.exception("The sweep failed.")
            connection.close()
        else:
            self._hint_all = False
            if any((done.leases, done.released, done.expired, done.dry_runs)):
                log.info("%s", done)
