"""Two ways to the same result, timed in turns: what every benchmark here is made of.

- `Row`: a line of the table
- `race`: time two functions in turns and make the line
- `busy`, `Clock`: processor time instead of the clock's, where others use the machine too
- `report`: what a script does that is run alone: a line for each of its rows
- `installed`: whether a peer is there; says so where it is not
- `grown`: by how much a function raises the memory of its process

    row = race("FGSM, 200 images", ours, "torchattacks", theirs, goal=1.0, same=same)

`same` compares what the two gave and raises AssertionError where the results differ.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TypeVar

import psutil
import torch

Clock = Callable[[], float]
One = TypeVar("One")
Other = TypeVar("Other")


@dataclass(frozen=True)
class Row:
    """One comparison: medians of both, and the ratios of the rounds."""

    what: str
    against: str
    ours: float  # median, in `unit`
    other: float
    ratios: list[float]  # of the rounds
    faster: bool  # they are other / ours, "so many times as fast"; else ours / other, "so many times as long"
    goal: float | None  # at least so many times as fast, or at most so many times as long
    same: str  # how the results were compared
    work: str = ""  # ratio of multiplications, where that is known
    unit: str = "s"

    @property
    def ratio(self) -> float:
        """The median of the rounds' ratios."""
        return statistics.median(self.ratios)

    @property
    def met(self) -> bool | None:
        """Whether the goal is met; None without one."""
        if self.goal is None:
            return None
        return self.ratio >= self.goal if self.faster else self.ratio <= self.goal


def race(
    what: str,
    ours: Callable[[], One],
    against: str,
    other: Callable[[], Other],
    *,
    same: Callable[[One, Other], str],
    faster: bool = True,
    goal: float | None = None,
    rounds: int = 5,
    clock: Clock = time.perf_counter,
    work: str = "",
) -> Row:
    """Run both once and compare their results, then `rounds` times in turns, ours first in every second round.

    Raises: AssertionError where `same` finds the results different; `same` returns in words how they agree.
    """
    agreement = same(ours(), other())  # warms up as well
    times = []
    for i in range(rounds):
        first, second = (ours, other) if i % 2 else (other, ours)
        pair = _seconds(first, clock), _seconds(second, clock)
        times.append(pair if i % 2 else pair[::-1])
    return Row(
        what=what,
        against=against,
        ours=statistics.median(t[0] for t in times),
        other=statistics.median(t[1] for t in times),
        ratios=[t[1] / t[0] if faster else t[0] / t[1] for t in times],
        faster=faster,
        goal=goal,
        same=agreement,
        work=work,
    )


def busy() -> Clock:
    """Processor time of one thread: the clock for a machine that others use too."""
    torch.set_num_threads(1)
    return time.process_time


def report(rows: Callable[[int, Clock], Iterator[Row]]) -> None:
    """Print a line for each row: what a script here does when it is run alone."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--busy", action="store_true", help="one thread and its processor time")
    args = parser.parse_args()
    for row in rows(args.rounds, busy() if args.busy else time.perf_counter):
        goal = (
            ""
            if row.goal is None
            else f", goal {'≥' if row.faster else '≤'} {row.goal}: {'met' if row.met else 'MISSED'}"
        )
        kind = "fast" if row.faster else "long"
        print(
            f"{row.what} | {row.against}: {row.ours:.3f} and {row.other:.3f} {row.unit}, {row.ratio:.2f} "
            f"({min(row.ratios):.2f}-{max(row.ratios):.2f}) times as {kind}{goal}; {row.same}",
            flush=True,
        )


def installed(module: str) -> bool:
    """Whether a peer is installed; where it is not, a line on stderr says that its rows are left out."""
    found = find_spec(module) is not None
    if not found:
        print(f"{module} is not installed: no comparison with it.", file=sys.stderr)
    return found


def grown(run: Callable[[], object]) -> float:
    """By how many MB `run` raises this process's memory, looked at every 5 ms."""
    with contextlib.suppress(
        OSError, AttributeError
    ):  # glibc keeps what was freed, which would hide some of it
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    process, over = psutil.Process(), threading.Event()
    seen = [process.memory_info().rss]

    def watch() -> None:
        while not over.wait(0.005):
            seen.append(process.memory_info().rss)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        run()
    finally:
        over.set()
        watcher.join()
    return (max(seen) - seen[0]) / 2**20


def _seconds(run: Callable[[], object], clock: Clock) -> float:
    wait = torch.cuda.synchronize if torch.cuda.is_available() else lambda: None
    wait()
    before = clock()
    run()
    wait()
    return clock() - before
