"""What a dissection costs beside a bare forward pass over the same images.

    python benchmarks/dissection.py                  # two minutes

relu5 of diorama/alexnet over the 2,000 test images, with 20 exchanges of labels: with one thread, where all work
counts alike, and with all that torch uses. How cost and memory grow with the images is in `linear.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import torch
from side_by_side import Clock, Row, race, report
from torch import Tensor

from cnnvis_helpers import diorama, zoo
from cnnvis_helpers.dissection import Dissection, Labels, dissect

IMAGES, BATCH, GOAL = 2_000, 64, 1.7


def rows(rounds: int, clock: Clock) -> Iterator[Row]:
    """One row for each number of threads."""
    net, test = zoo.load("diorama/alexnet"), diorama.load("test", IMAGES)
    labels = Labels(test.maps or {}, {c: diorama.names(c) for c in diorama.CATEGORIES})
    x = net.prepare(test.images)
    threads = torch.get_num_threads()
    for some in sorted({1, threads}):
        torch.set_num_threads(some)
        try:
            yield race(
                f"dissection, relu5, {IMAGES:,} images, {some} thread{'s'[: some > 1]}",
                lambda: dissect(net.model, x, labels, "relu5", batch=BATCH)["relu5"],
                "forward pass",
                partial(bare, net, x),
                same=as_many,
                faster=False,
                goal=GOAL,
                rounds=rounds,
                clock=clock,
            )
        finally:
            torch.set_num_threads(threads)


@torch.no_grad()
def bare(net: zoo.Network, x: Tensor) -> int:
    """The forward pass; how many images passed."""
    return sum(len(net.model(part)) for part in x.split(BATCH))


def as_many(found: Dissection, count: int) -> str:
    """The forward pass finds nothing: all that can be compared is that both saw all images."""
    assert found.tally.seen == count
    return f"{count:,} images"


if __name__ == "__main__":
    report(rows)
