"""A survey on a dask cluster of two workers beside one worker, and with a worker killed half-way.

    python benchmarks/cluster.py                     # a minute or two

TopK and Moments of relu1, relu3 and relu5 of diorama/alexnet over 6,000 images, on workers of one thread in
processes of their own, which are started before the clock and ended before the next are. Wall-clock time, so nothing
else should run. The scheduler and the process that merges run on the same machine: with two cores they take their share
of both.
"""

from __future__ import annotations

import os
import signal
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from linear import Repeated
from side_by_side import Clock, Row, installed, report

from cnnvis_helpers import diorama, zoo
from cnnvis_helpers.survey import Moments, Statistic, TopK, survey

if TYPE_CHECKING:
    from distributed import Client

IMAGES = 6_000  # enough that sending data and model to the workers matters little
BATCH = 32  # one worker is as fast with 64, two are not: they share the processor's last cache


def equal(one: list[Statistic], two: list[Statistic]) -> str:
    """Whether the states are the same, byte for byte."""
    for mine, other in zip(one, two, strict=True):
        a, b = mine.state_dict(), other.state_dict()
        assert a.keys() == b.keys() and all(
            a[name].numpy().tobytes() == b[name].numpy().tobytes() for name in a
        )
    return "the same bytes"


@contextmanager
def started(workers: int) -> Iterator[Client]:
    """A cluster of its own, so that no other takes a share of the machine meanwhile."""
    from distributed import Client, LocalCluster

    kind: dict[str, Any] = {"threads_per_worker": 1, "dashboard_address": ":0", "silence_logs": 50}
    with LocalCluster(n_workers=workers, **kind) as cluster, Client(cluster) as client:
        ready(client, workers)
        yield client


def ready(client: Client, workers: int) -> None:
    """Wait for the workers, with one thread each and everything imported."""
    while len(client.nthreads()) < workers:
        time.sleep(0.1)
    client.run(torch.set_num_threads, 1)


def rows(rounds: int, clock: Clock) -> Iterator[Row]:
    """One worker and two; two, one of which is killed. The clock is the wall's: the work is in other processes."""
    if not installed("distributed"):
        return
    net, test = zoo.load("diorama/alexnet"), diorama.load("test")
    data = Repeated(test.pixels, net, IMAGES)
    wanted: list[Any] = [made(layer) for layer in ("relu1", "relu3", "relu5") for made in (TopK, Moments)]

    def run(client: Client, part: range | None = None) -> list[Statistic]:
        return survey(net.model, data, wanted, batch=BATCH, part=part, client=client)

    def timed(workers: int) -> tuple[float, list[Statistic]]:
        with started(workers) as client:
            run(client, range(256))
            before = time.perf_counter()
            found = run(client)
            return time.perf_counter() - before, found

    times = []
    for i in range(rounds):
        first, second = (timed(workers) for workers in ((1, 2) if i % 2 else (2, 1)))
        one, two = (first, second) if i % 2 else (second, first)
        same = equal(two[1], one[1])
        times.append((two[0], one[0]))
    yield Row(
        what=f"survey of {IMAGES:,} images, two workers",
        against="one worker",
        ours=statistics.median(t[0] for t in times),
        other=statistics.median(t[1] for t in times),
        ratios=[one / two for two, one in times],
        faster=True,
        goal=1.7,
        same=same,
    )
    with started(2) as client:
        yield killed(lambda: run(client), client, rounds)


def killed(run: Callable[[], list[Statistic]], client: Client, rounds: int) -> Row:
    """The same with one of the two workers killed half-way: at most twice as long, as if it had never been there."""
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        whole = run()
        between = time.perf_counter()
        pid = next(iter(client.run(os.getpid).values()))
        killer = threading.Timer((between - start) / 2, os.kill, (pid, signal.SIGKILL))
        again = time.perf_counter()
        killer.start()
        found = run()
        end = time.perf_counter()
        assert not killer.is_alive() and pid not in client.run(os.getpid).values(), "it was killed meanwhile"
        same = equal(found, whole)
        times.append((end - again, between - start))
        ready(client, 2)
    ours, other = ([t[i] for t in times] for i in (0, 1))
    return Row(
        what="the same, one worker killed half-way",
        against="two workers",
        ours=statistics.median(ours),
        other=statistics.median(other),
        ratios=[a / b for a, b in times],
        faster=False,
        goal=2.0,
        same=same,
    )


if __name__ == "__main__":
    report(rows)
