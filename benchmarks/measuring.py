"""How the benchmarks measure and report: CPU time, peak memory, one line a figure."""

from __future__ import annotations

import multiprocessing
import resource
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np


def cpu_seconds(work: Callable[[], Any], repeats: int) -> float:
    """Median CPU time of several calls."""
    spent = []
    for _ in range(repeats):
        before = time.process_time()
        work()
        spent.append(time.process_time() - before)
    return float(np.median(spent))


def report(name: str, text: str, goal: str, reached: bool) -> bool:
    """Print one figure: `<topic>.<name>: <text>, goal <goal>, ok` or `SHORT`."""
    print(f"{name}: {text}, goal {goal}, {'ok' if reached else 'SHORT'}", flush=True)
    return reached


def peak_megabytes(work: Callable[[], Any]) -> float:
    """Return the peak memory of a process that holds the data and does the work.

    By the operating system's account, in a forked child: its peak starts at what is in use, while
    that of this process may lie higher from earlier work. Python and the data are included.
    """
    context = multiprocessing.get_context("fork")
    answers = context.SimpleQueue()

    def measured() -> None:
        unit = 2**20 if sys.platform == "darwin" else 2**10
        work()
        answers.put(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit)

    child = context.Process(target=measured)
    child.start()
    peak: float = answers.get()
    child.join()
    return peak
