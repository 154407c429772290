"""Show how far long work is: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import Any

from dask.callbacks import Callback
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from operando.run.experiment import Say


@contextlib.contextmanager
def progress() -> Iterator[Say]:
    """Yield the function to call with a line before each stage; the bar counts dask's tasks."""
    if not sys.stderr.isatty():
        yield lambda text: print(f"operando: {text}", file=sys.stderr, flush=True)  # noqa: T201
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("starting", total=None)

        def start(dsk: Any, state: Any) -> None:
            total = sum(len(state[key]) for key in ("ready", "waiting"))
            bar.update(task, total=total, completed=0)

        def done(key: Any, result: Any, dsk: Any, state: Any, worker: Any) -> None:
            bar.advance(task)

        def say(text: str) -> None:
            bar.update(task, description=text, total=None, completed=0)

        with Callback(start_state=start, posttask=done):
            yield say
