"""A survey on a dask cluster of two workers beside one worker, and with a worker killed half-way.

    python benchmarks/cluster.py                     # a minute or two

TopK and Moments of relu1, relu3 and relu5 of diorama/alexnet over 6,000 images, on workers of one thread in
processes of their own, started before the clock. Wall-clock time, so nothing else should run. The scheduler and the
process that merges run on the same machine: with two cores they take their share of both.
"""

from __future__ import annotations

import os
import signal
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import torch
from linear import Repeated
from side_by_side import Clock, Row, installed, race, report

from cnnvis_helpers import diorama, zoo
from cnnvis_helpers.survey import Moments, Statistic, TopK, survey

if TYPE_CHECKING:
    from distributed import Client

IMAGES = 6_000  # enough that sending data and model to the workers matters little


def equal(one: list[Statistic], two: list[Statistic]) -> str:
    """Whether the states are the same, byte for byte."""
    for mine, other in zip(one, two, strict=True):
        a, b = mine.state_dict(), other.state_dict()
        assert a.keys() == b.keys() and all(
            a[name].numpy().tobytes() == b[name].numpy().tobytes() for name in a
        )
    return "the same bytes"


def ready(client: Client, workers: int) -> None:
    """Wait for the workers, with one thread each and everything imported."""
    while len(client.nthreads()) < workers:
        time.sleep(0.1)
    client.run(torch.set_num_threads, 1)


def rows(rounds: int, clock: Clock) -> Iterator[Row]:
    """One worker and two; two, one of which is killed. The clock is the wall's: the work is in other processes."""
    if not installed("distributed"):
        return
    from distributed import Client, LocalCluster

    net, test = zoo.load("diorama/alexnet"), diorama.load("test")
    data = Repeated(test.pixels, net, IMAGES)
    wanted: list[Any] = [made(layer) for layer in ("relu1", "relu3", "relu5") for made in (TopK, Moments)]
    with ExitStack() as stack:
        clients = []
        for n in (1, 2):
            cluster = LocalCluster(n_workers=n, threads_per_worker=1, dashboard_address=":0", silence_logs=50)
            clients.append(stack.enter_context(Client(stack.enter_context(cluster))))
            ready(clients[-1], n)
        one, two = clients
        yield race(
            f"survey of {IMAGES:,} images, two workers",
            lambda: survey(net.model, data, wanted, client=two),
            "one worker",
            lambda: survey(net.model, data, wanted, client=one),
            same=equal,
            goal=1.7,
            rounds=rounds,
        )
        yield killed(lambda: survey(net.model, data, wanted, client=two), two, rounds)


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
