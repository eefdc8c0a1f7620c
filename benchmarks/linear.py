"""Surveys and dissections of 1,000, 4,000 and 16,000 images: seconds per 1,000 images, and memory.

    python benchmarks/linear.py                  # three minutes on two cores

relu5 of diorama/alexnet; a data set that makes each image when it is asked for, from the 2,000 test images over and
over, so that the data do not grow. A survey gathers TopK, Moments and Threshold; a dissection is without its cache of
activations. Each runs in a process of its own, on one thread, after a short run whose time is not counted. Memory is
the most that the process has meanwhile, less what it had with the images loaded. That of Threshold grows by
definition: it keeps the 0.5 % largest activations.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from statistics import median
from typing import Any

import numpy as np
import torch
from side_by_side import Clock, Row, grown, report
from torch import Tensor
from torch.utils.data import Dataset

from cnnvis_helpers import diorama, zoo
from cnnvis_helpers.dissection import Labels, dissect
from cnnvis_helpers.survey import Moments, Threshold, TopK, survey

COUNTS = (1_000, 4_000, 16_000)
MOST = 1.1  # times as long per image
LAYER, SHARE = "relu5", 0.005
DRAWN = 2_000


class Repeated(Dataset[Tensor]):
    """The test images over and over, one at a time, as the network takes them."""

    def __init__(self, pixels: np.ndarray, net: zoo.Network, count: int) -> None:
        self.pixels, self.net, self.count = torch.from_numpy(pixels), net, count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, i: int) -> Tensor:
        return self.net.normalise(self.pixels[i % len(self.pixels)].permute(2, 0, 1).float() / 255)


class Maps:
    """Their label maps."""

    def __init__(self, maps: np.ndarray, count: int) -> None:
        self.maps, self.count = maps, count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, i: int) -> np.ndarray:
        return self.maps[i % len(self.maps)]


def rows(rounds: int, clock: Clock) -> Iterator[Row]:
    """Seconds per 1,000 images and MB, by the number of images; smaller numbers twice, to see how times scatter."""
    name = "process_time" if clock is time.process_time else "perf_counter"
    for what in ("survey", "dissect"):
        found = {n: [alone(what, n, name) for _ in range(1 + (n < COUNTS[-1]))] for n in COUNTS}
        seconds = {count: [1000 * run["seconds"] / count for run in runs] for count, runs in found.items()}
        first, *more = COUNTS
        for count in more:
            longer = [one / median(seconds[first]) for one in seconds[count]]
            yield Row(
                what=f"{what}, {count:,} images",
                against=f"{first:,} images",
                ours=median(seconds[count]),
                other=median(seconds[first]),
                ratios=longer,
                faster=False,
                goal=MOST,
                same="seconds per 1,000 images",
            )
        megabytes = {count: [run["MB"] for run in runs] for count, runs in found.items()}
        kept = [found[count][0]["threshold MB"] for count in COUNTS]
        yield Row(
            what=f"{what}, memory for {COUNTS[-1]:,} images",
            against=f"{first:,} images",
            ours=median(megabytes[COUNTS[-1]]),
            other=median(megabytes[first]),
            ratios=[one / median(megabytes[first]) for one in megabytes[COUNTS[-1]]],
            faster=False,
            goal=None,
            same=f"of these, values above the threshold: {kept[-1]:.1f} and {kept[0]:.1f} MB",
            unit="MB",
        )


def alone(what: str, count: int, clock: str) -> dict[str, float]:
    """Seconds and MB of a process of its own."""
    command = [sys.executable, __file__, "--alone", what, str(count), clock]
    result: dict[str, float] = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    return result


def measure(what: str, count: int, clock: Clock) -> dict[str, float]:
    """What `alone` asks for, in this process."""
    torch.set_num_threads(1)
    net, test = zoo.load("diorama/alexnet"), diorama.load("test", DRAWN)
    for values in (test.pixels, *(test.maps or {}).values()):
        values.max()  # files that are mapped into memory count from the first look
    names = {c: diorama.names(c) for c in diorama.CATEGORIES}

    def run(count: int) -> Any:
        data = Repeated(test.pixels, net, count)
        if what == "survey":
            return survey(net.model, data, [TopK(LAYER), Moments(LAYER), Threshold(LAYER, count, SHARE)])
        labels = Labels({c: Maps(maps, count) for c, maps in (test.maps or {}).items()}, names)
        return dissect(net.model, data, labels, LAYER, share=SHARE, cache=0)

    seconds: list[float] = []

    def timed() -> None:
        run(256)
        before = clock()
        run(count)
        seconds.append(clock() - before)

    memory = grown(timed)
    (threshold,) = survey(net.model, Repeated(test.pixels, net, 1), [Threshold(LAYER, 1, SHARE)])
    units, places = len(threshold.value), int(threshold.state_dict()["places"])
    return {"seconds": seconds[0], "MB": memory, "threshold MB": 4 * SHARE * units * places * count / 2**20}


if __name__ == "__main__":
    if "--alone" in sys.argv:
        kind, images, timer = sys.argv[2:]
        print(json.dumps(measure(kind, int(images), getattr(time, timer))))
    else:
        report(rows)
