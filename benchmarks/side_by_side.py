"""Two ways to the same result, timed in turns: what every benchmark here is made of.

- `Row`: a line of the table
- `race`: time two functions in turns and make the line
- `busy`, `Clock`: processor time instead of the clock's, where others use the machine too

    row = race("FGSM, 200 images", ours, "torchattacks", theirs, goal=1.0, same=same)

`same` compares what the two gave and raises AssertionError where the results differ.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import torch

Clock = Callable[[], float]
One = TypeVar("One")
Other = TypeVar("Other")


@dataclass(frozen=True)
class Row:
    """One comparison: median seconds of both, and the ratios of the rounds."""

    what: str
    against: str
    ours: float  # seconds, median
    other: float
    ratios: list[float]  # of the rounds
    faster: bool  # they are other / ours, "so many times as fast"; else ours / other, "so many times as long"
    goal: float | None  # at least so many times as fast, or at most so many times as long
    same: str  # how the results were compared
    work: str = ""  # ratio of multiplications, where that is known

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


def _seconds(run: Callable[[], object], clock: Clock) -> float:
    wait = torch.cuda.synchronize if torch.cuda.is_available() else lambda: None
    wait()
    before = clock()
    run()
    wait()
    return clock() - before
