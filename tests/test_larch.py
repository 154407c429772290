"""larch is imported late, in one place, and leaves the process as it found it."""

from __future__ import annotations

import logging
import re
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

from operando_readers import _larch

ROOT = Path(__file__).resolve().parents[1]
IGNORE_ALL = ("ignore", None, Warning, None, 0)
IMPORT = re.compile(
    r"^\s*(?:import|from)\s+larch\b|(?:import_module|__import__)\(\s*f?[\"']larch\b", re.MULTILINE
)


def _python(code: str) -> str:
    """Run code in a process of its own, with the paths of this one."""
    paths = [str(ROOT), str(ROOT / "readers")]
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:0] = {paths!r}\n{code}"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_importing_larch_changes_neither_warnings_nor_logging() -> None:
    """Four threads ask at once; afterwards everything is as before and warnings still show."""
    out = _python("""
import logging, threading, warnings
warnings.filterwarnings("error", "a filter of the caller")
root = logging.getLogger()
root.setLevel(logging.INFO)
before = list(warnings.filters), list(root.handlers), root.level
from operando_readers._larch import larch
found = []
threads = [
    threading.Thread(target=lambda name=name: found.append(larch(name)))
    for name in ("xafs", "io", "math", "xafs")
]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
assert (list(warnings.filters), list(root.handlers), root.level) == before
assert sorted(module.__name__ for module in found) == [
    "larch.io", "larch.math", "larch.xafs", "larch.xafs"
]
assert callable(larch("xafs").find_e0)
assert (list(warnings.filters), list(root.handlers), root.level) == before
assert root.isEnabledFor(logging.INFO)
print("as before")
""")
    assert out == "as before"


def test_larch_alone_would_change_them() -> None:
    """The effects are there to be undone; were they gone, `_larch` could go too."""
    out = _python("""
import logging, warnings
import larch
print(("ignore", None, Warning, None, 0) in warnings.filters, logging.getLogger().handlers != [])
""")
    assert out == "True True"


def test_nothing_imports_larch_by_itself() -> None:
    out = _python("""
import sys
import operando, operando_readers
import operando_readers._larch
from operando.reading import formats
formats()
operando.read, operando.check
print(sorted(name for name in sys.modules if name == "larch" or name.startswith("larch.")))
""")
    assert out == "[]"


def test_no_other_file_imports_larch() -> None:
    sources = [path for part in ("operando", "readers") for path in (ROOT / part).rglob("*.py")]
    assert len(sources) > 50
    importing = [path.name for path in sources if IMPORT.search(path.read_text(encoding="utf-8"))]
    assert importing == []
    for line in ("import larch.io", "    from larch import Group", 'import_module("larch.xafs")'):
        assert IMPORT.search(line)
    for line in ("from operando_readers._larch import larch", 'larch("xafs")', "# import larch"):
        assert not IMPORT.search(line)


class _Rude:
    """An import with the manners of larch, which does something else half-way."""

    def __init__(self, meanwhile: Callable[[], None] = lambda: None) -> None:
        self.meanwhile = meanwhile
        self.calls = 0

    def __call__(self, name: str) -> ModuleType:
        self.calls += 1
        warnings.simplefilter("ignore")
        logging.getLogger().addHandler(logging.StreamHandler())
        logging.getLogger().setLevel(logging.CRITICAL)
        self.meanwhile()
        return ModuleType(name)


@pytest.fixture
def root() -> Iterator[logging.Logger]:
    """The root logger, given back as it was, with a handler of its own meanwhile."""
    logger = logging.getLogger()
    handlers, level = list(logger.handlers), logger.level
    logger.setLevel(logging.INFO)
    yield logger
    logger.handlers[:] = handlers
    logger.setLevel(level)


def test_a_failing_import_is_undone_too(
    monkeypatch: pytest.MonkeyPatch, root: logging.Logger
) -> None:
    def fail() -> None:
        raise ImportError("a library is missing")

    before = list(warnings.filters), list(root.handlers), root.level
    monkeypatch.setattr(_larch, "import_module", _Rude(fail))
    with pytest.raises(ImportError, match="a library is missing"):
        _larch.larch("none_such")
    assert (list(warnings.filters), list(root.handlers), root.level) == before


def test_a_thread_that_catches_warnings_meanwhile_brings_nothing_back(
    monkeypatch: pytest.MonkeyPatch, root: logging.Logger
) -> None:
    """It enters before the end of the import and leaves after it, with the filters of then."""
    entered, imported = threading.Event(), threading.Event()
    filters = warnings.filters

    def catch() -> None:
        with warnings.catch_warnings():
            entered.set()
            imported.wait(10)

    thread = threading.Thread(target=catch)

    def meanwhile() -> None:
        thread.start()
        assert entered.wait(10)

    before = list(filters)
    monkeypatch.setattr(_larch, "import_module", _Rude(meanwhile))
    _larch.larch("none_such")
    imported.set()
    thread.join()
    assert warnings.filters is filters
    assert list(filters) == before
    assert IGNORE_ALL not in filters


def test_a_log_file_opened_meanwhile_stays(
    monkeypatch: pytest.MonkeyPatch, root: logging.Logger, tmp_path: Path
) -> None:
    log = logging.FileHandler(tmp_path / "run.log", delay=True)
    monkeypatch.setattr(_larch, "import_module", _Rude(lambda: root.addHandler(log)))
    before = list(root.handlers)
    _larch.larch("none_such")
    assert root.handlers == [*before, log]
    assert root.level == logging.INFO


def test_a_warning_silenced_during_the_import_is_heard_afterwards(
    monkeypatch: pytest.MonkeyPatch, root: logging.Logger
) -> None:
    def speak() -> None:
        warnings.warn_explicit("late", UserWarning, "a.py", 1, registry=registry)

    registry: dict[str | tuple[str, type[Warning], int], int] = {}
    monkeypatch.setattr(_larch, "import_module", _Rude(speak))
    _larch.larch("none_such")
    with pytest.raises(UserWarning, match="late"):
        speak()
