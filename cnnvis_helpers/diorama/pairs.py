"""Two objects in one picture, to ask a map which of them it means.

- `two_objects`: pictures with one object on the left and another on the right, their classes and their masks
- `Pairs`: what it returns

    >>> pairs = two_objects("test", 8)
    >>> pairs.masks[:, 0]          # (8, 96, 96) bool, True on the object of class pairs.labels[:, 0], on the left
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .canvas import SIZE
from .dataset import collate
from .render import SPLITS, Example, Knobs, render
from .vocabulary import CLASSES

_SCENES = ("meadow", "street", "beach", "desert")  # without walls, whose corners the cut would show


@dataclass(frozen=True)
class Pairs:
    """N pictures of two objects; the first is the left one."""

    images: Tensor  # (N, 3, 96, 96) float32 in [0, 1]
    labels: Tensor  # (N, 2) positions in CLASSES, never equal
    masks: Tensor  # (N, 2, 96, 96) bool


def two_objects(split: str, n: int) -> Pairs:
    """The first n pairs of a split: one scene and light drawn twice, with another object, cut in the middle and joined.

    Objects that reach over the middle are cut there. Nothing hides them, and there is no clutter.

    Raises: ValueError for an unknown split, or more pairs than it has.
    """
    if split not in SPLITS or not 1 <= n <= SPLITS[split] // 2:
        raise ValueError(f"There are {SPLITS} images; {n} pairs of {split!r} cannot be drawn.")
    middle, i = SIZE // 2, 0
    examples: list[Example] = []
    labels: list[list[int]] = []
    while len(labels) < n:
        classes = [i % 16, (5 * i + 3 + i // 16) % 16]
        if classes[0] != classes[1]:
            for k, c in enumerate(classes):
                place = (0.25 + 0.5 * k, 0.6)
                knobs = Knobs(CLASSES[c], _SCENES[i % 4], position=place, size=0.34, clutter=0, occluded=0)
                examples.append(render(split, i, knobs))
            labels.append(classes)
        i += 1
    images, masks = collate(examples, labels=False).images, np.stack([e.instance for e in examples])
    masks = masks.reshape(n, 2, SIZE, SIZE)
    masks[:, 0, :, middle:], masks[:, 1, :, :middle] = False, False
    joined = torch.cat([images[0::2, ..., :middle], images[1::2, ..., middle:]], 3)
    return Pairs(joined, torch.tensor(labels), torch.from_numpy(masks))
