"""Shift the clock of a process of the chaos test, which has this folder in its path.

Python imports this module at its start. It reads a variable that only the test sets.
"""

import importlib.abc
import importlib.util
import os
import sys
from datetime import datetime, timedelta

CLOCK = "execfabric.lib.clock"


class _Shifted(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Load the clock of the product, and put a shifted one in its place."""

    def find_spec(self, name, path, target=None):
        if name != CLOCK:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        self._real, spec.loader = spec.loader, self
        return spec

    def create_module(self, spec):
        return None

    def exec_module(self, module):
        self._real.exec_module(module)
        real = module.now
        shift = timedelta(seconds=float(os.environ["CHAOS_CLOCK_SHIFT_S"]))

        def now() -> datetime:
            return real() + shift

        module.now = now


sys.meta_path.insert(0, _Shifted())
