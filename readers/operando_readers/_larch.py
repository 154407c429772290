"""The one place where larch is imported: when it is needed, and without what it does to others.

`import larch` silences the warnings of the whole process and adds a handler to the root logger;
both are put back as they were. The import takes 2 s and 250 MB, hence never at import time.
"""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator
from importlib import import_module
from types import ModuleType


def larch(name: str) -> ModuleType:
    """Return a module of larch, `larch("xafs")` or `larch("io")`, imported without side effects."""
    with _undone():
        return import_module(f"larch.{name}")


@contextlib.contextmanager
def _undone() -> Iterator[None]:
    """Put the warning filters and the root logger back as they were."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    with warnings.catch_warnings():
        yield
    for handler in list(root.handlers):
        if handler not in handlers:
            root.removeHandler(handler)
    root.setLevel(level)
