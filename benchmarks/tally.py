"""Counting what units and concepts have in common, beside counting it unit by unit in numpy.

    python benchmarks/tally.py                   # a minute on two cores

relu5 of diorama/alexnet over 200 test images with all their label maps; the activations are there already. The other
way is that of NetDissect-Lite, written from its description: for each image and each unit whose map exceeds its
threshold somewhere, the map is enlarged and compared with the threshold, and the labels under the mask are counted by
`numpy.bincount`, category by category. The weights of the enlargement are computed once; it is ours in numpy, operation
by operation, so that all counts are the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np
import torch
from side_by_side import Clock, Row, race, report
from torch import Tensor

from cnnvis_helpers import diorama, hooks, zoo
from cnnvis_helpers.dissection import Labels, Tally
from cnnvis_helpers.receptive_field import ReceptiveField, receptive_field
from cnnvis_helpers.survey import Threshold

IMAGES, BATCH, SIDE, LAYER = 200, 64, 96, "relu5"


def rows(rounds: int, clock: Clock) -> Iterator[Row]:
    """Without exchanges of labels, which is the same work, and with them, which is 21 times as much."""
    net, test = zoo.load("diorama/alexnet"), diorama.load("test", IMAGES)
    labels = Labels(test.maps or {}, {c: diorama.names(c) for c in diorama.CATEGORIES})
    field = receptive_field(net.model, LAYER, (SIDE, SIDE), local=True)
    x = net.prepare(test.images)
    a = torch.cat([hooks.activations(net.model, part, LAYER)[LAYER] for part in x.split(BATCH)]).contiguous()
    threshold = Threshold(LAYER, IMAGES)
    threshold.update(a, torch.arange(IMAGES))
    for shuffles, goal in ((0, 3.0), (20, None)):
        exchanges = f", and {shuffles} exchanges of labels" if shuffles else ""
        yield race(
            f"tally of {a.shape[1]} units, {IMAGES} images{exchanges}",
            partial(ours, a, labels, threshold.value, field, shuffles),
            "as NetDissect-Lite, without exchanges",
            partial(unit_by_unit, a.numpy(), labels, threshold.value.numpy(), field),
            same=same,
            goal=goal,
            rounds=rounds,
            clock=clock,
        )


def ours(a: Tensor, labels: Labels, thresholds: Tensor, field: ReceptiveField, shuffles: int) -> np.ndarray:
    """IoU of units and concepts by `Tally`."""
    tally = Tally(LAYER, labels, thresholds, field, shuffles=shuffles)
    for positions in torch.arange(IMAGES).split(BATCH):
        tally.update(a[torch.tensor(tally.order)[positions]], positions)
    return tally.iou


def unit_by_unit(a: np.ndarray, labels: Labels, thresholds: np.ndarray, field: ReceptiveField) -> np.ndarray:
    """The same in loops over images, units and categories."""
    units, category_of = a.shape[1], labels.category_of
    both = np.zeros((units, len(labels.concepts)), np.int64)
    masks = np.zeros((units, len(labels.categories)), np.int64)
    pixels = np.zeros(len(labels.concepts), np.int64)
    low, weight = places(field, 0, a.shape[2])
    left, across = places(field, 1, a.shape[3])
    for i, maps in enumerate(a):
        shown = [(c, label) for c, label in enumerate(labels.read(i)) if label.max() >= 0]
        for _, label in shown:
            pixels += np.bincount(label[label >= 0], minlength=len(pixels))
        for unit, one in enumerate(maps):
            if one.max() <= thresholds[unit]:
                continue
            tall = one[low] + weight[:, None] * (one[low + 1] - one[low])
            mask = tall[:, left] + across * (tall[:, left + 1] - tall[:, left]) > thresholds[unit]
            area = np.count_nonzero(mask)
            for c, label in shown:
                masks[unit, c] += area
                under = label[mask]
                both[unit] += np.bincount(under[under >= 0], minlength=len(pixels))
    return both / np.maximum(masks[:, category_of] + pixels - both, 1)


def places(field: ReceptiveField, axis: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """For each pixel the map's value before it, and the weight (float32) of the one after that."""
    first = field.start[axis] + (field.size[axis] - 1) / 2
    at = ((np.arange(SIDE) - first) / field.stride[axis]).clip(0, count - 1)
    low = np.minimum(at.astype(np.int64), count - 2)
    return low, (at - low).astype(np.float32)


def same(ours: np.ndarray, theirs: np.ndarray) -> str:
    """Raises: AssertionError where any IoU differs in its last bit."""
    assert np.array_equal(ours, theirs), f"{(ours != theirs).sum()} of {ours.size} IoUs differ"
    return f"all {ours.size:,} IoUs equal to the last bit"


if __name__ == "__main__":
    report(rows)
