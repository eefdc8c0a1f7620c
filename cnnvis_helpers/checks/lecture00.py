"""Checks of lecture 00's exercises.

- `check_iou`, `check_pointing_accuracy`, `check_wilson_interval`: take the student's function
- `reference_pointing_accuracy`: the reference solution, for use in the lecture
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from scipy.stats import binomtest

from .core import compare, exercise, run

__all__ = [
    "check_iou",
    "check_pointing_accuracy",
    "check_wilson_interval",
    "reference_iou",
    "reference_pointing_accuracy",
    "reference_wilson_interval",
]

Masks = torch.Tensor


def reference_iou(a: Masks, b: Masks) -> float:
    """One IoU over all masks; 0 when both are empty."""
    union = int((a | b).sum())
    return int((a & b).sum()) / union if union else 0.0


def _mean_of_ious(a: Masks, b: Masks) -> float:
    return sum(reference_iou(x, y) for x, y in zip(a, b, strict=True)) / len(a)


def check_iou(student: Callable[[Masks, Masks], float]) -> None:
    """Exercise 1: one IoU over the data set, 0 for two empty sets of masks."""
    generator = torch.Generator().manual_seed(0)
    square = torch.zeros(1, 4, 4, dtype=torch.bool)
    square[0, :2, :2] = True
    shifted = square.roll(1, 2)
    # Images of very different sizes of mask: here one IoU and the mean of IoUs are far apart.
    a = torch.rand(5, 8, 8, generator=generator) < torch.tensor([0.9, 0.5, 0.1, 0.02, 0.0])[:, None, None]
    b = torch.rand(5, 8, 8, generator=generator) < 0.4
    empty = torch.zeros(2, 4, 4, dtype=torch.bool)
    run(
        student,
        [(square, shifted), (a, b), (empty, empty)],
        reference_iou,
        passed="one IoU over the whole data set, and 0 where there is nothing to agree on",
        mistakes={
            "You took the mean of the images' IoUs: sum intersections and unions over all images.": _mean_of_ious,
            "You divided by |A| + |B|, but |A ∪ B| = |A| + |B| − |A ∩ B|.": lambda a, b: (
                int((a & b).sum()) / max(1, int(a.sum() + b.sum()))
            ),
            "That is Dice's coefficient, 2|A ∩ B| / (|A| + |B|).": lambda a, b: (
                2 * int((a & b).sum()) / max(1, int(a.sum() + b.sum()))
            ),
        },
        hint="Count the pixels in both masks, count the pixels in at least one, divide; mind two empty masks.",
    )


def reference_pointing_accuracy(heat: torch.Tensor, instance: Masks) -> float:
    """Share of the images whose highest heat lies on the object, by a plain loop."""
    hits = 0
    for h, mask in zip(heat, instance, strict=True):
        row, column = divmod(int(h.argmax()), h.shape[1])
        hits += bool(mask[row, column])
    return hits / len(heat)


def check_pointing_accuracy(student: Callable[[torch.Tensor, Masks], float]) -> None:
    """Exercise 2: the pointing game."""
    generator = torch.Generator().manual_seed(1)
    corner = torch.zeros(2, 3, 5)
    corner[0, 2, 1] = corner[1, 0, 4] = 1.0
    masks = torch.zeros(2, 3, 5, dtype=torch.bool)
    masks[0, 2, 1] = True  # a hit in the first image, a miss in the second
    masks[1, 2, 4] = True
    heat = torch.randn(40, 6, 9, generator=generator)  # wider than high, and with negative values
    instance = torch.rand(40, 6, 9, generator=generator) < 0.4

    def energy(heat: torch.Tensor, instance: Masks) -> float:
        return float((heat * instance).sum() / heat.sum())

    def transposed(heat: torch.Tensor, instance: Masks) -> float:
        flat = heat.flatten(1).argmax(1)
        rows, columns = flat % heat.shape[1], flat // heat.shape[1]
        return float(
            instance[torch.arange(len(heat)), rows, columns.clamp(max=heat.shape[2] - 1)].float().mean()
        )

    def over_all(heat: torch.Tensor, instance: Masks) -> float:
        return float(instance.flatten()[heat.flatten().argmax()])

    run(
        student,
        [(corner, masks), (heat, instance)],
        reference_pointing_accuracy,
        passed="the share of images whose highest heat lies on the object",
        mistakes={
            "You measured the share of heat on the object; the pointing game looks only at the highest place.": energy,
            "Rows and columns are exchanged: place i of a flat (H, W) map is row i // W, column i % W.": transposed,
            "You looked for the highest place of the whole batch; each image has its own.": over_all,
        },
        hint="Find the highest position of each map (flatten, argmax), look it up in that image's mask, average.",
    )


def reference_wilson_interval(k: int, n: int, z: float = 1.96) -> tuple[float, float]:
    """Wilson's interval from scipy, with the confidence that belongs to z."""
    from scipy.stats import norm

    interval = binomtest(k, n).proportion_ci(confidence_level=float(2 * norm.cdf(z) - 1), method="wilson")
    return float(interval.low), float(interval.high)


@exercise("the same interval as scipy's, also for k = 0 and k = n")
def check_wilson_interval(student: Callable[..., tuple[float, float]]) -> None:
    """Exercise 3: Wilson's interval, against scipy."""
    for k, n, z in ((50, 100, 1.96), (193, 200, 1.96), (10, 10, 1.96), (0, 7, 1.96), (30, 40, 1.0)):
        p = k / n
        plain = z * (p * (1 - p) / n) ** 0.5
        result = student(k, n, z)
        assert isinstance(result, tuple | list) and len(result) == 2, (
            f"return two numbers, the lower and the upper end; yours is {result!r}."
        )
        compare(
            [float(v) for v in result],
            torch.tensor(reference_wilson_interval(k, n, z), dtype=torch.float64).numpy(),
            what=f"for k = {k}, n = {n}, z = {z} your interval",
            mistakes={
                "That is the simple interval p ± z√(p(1−p)/n): for k = n it has no width at all.": [
                    p - plain,
                    p + plain,
                ],
                "The upper end comes second.": list(reference_wilson_interval(k, n, z))[::-1],
            },
            hint="Check that both the middle and the half-width are divided by 1 + z²/n.",
        )
