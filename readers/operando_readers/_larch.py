"""The one place where larch is imported: when it is needed, and without what it does to others.

`import larch` silences the warnings of the whole process and gives the root logger a handler and a
level; all are put back as they were. The import takes 2 s and 250 MB, hence never at import time.
"""

from __future__ import annotations

import contextlib
import logging
import sys
import threading
import warnings
from collections.abc import Iterator
from importlib import import_module
from types import ModuleType
from typing import Any, cast

_IMPORTING = threading.RLock()


def larch(name: str) -> ModuleType:
    """Return a module of larch, `larch("xafs")` or `larch("io")`, imported without side effects.

    May be called from any thread: one imports, the others wait for it. While it does, warnings of
    the other threads are silenced too.
    """
    full = f"larch.{name}"
    with _IMPORTING:
        if full in sys.modules:
            return import_module(full)
        with _undone():
            return import_module(full)


@contextlib.contextmanager
def _undone() -> Iterator[None]:
    """Put the warning filters and the root logger back as they were, whatever happens."""
    # In place, and not by catch_warnings: that swaps the list, so another thread that is inside its
    # own catch_warnings at the end of the import would bring the list of larch back.
    filters = cast("list[Any]", warnings.filters)
    filters_before = list(filters)
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    try:
        yield
    finally:
        filters[:] = filters_before
        for handler in list(root.handlers):
            # Exactly what `logging.basicConfig` adds: a log file opened meanwhile is not larch's.
            if handler not in handlers and type(handler) is logging.StreamHandler:
                root.removeHandler(handler)
        root.setLevel(level)
