"""Checks of lecture 07's exercises; each takes the student's function.

- `check_thresholds`    the activation that a share of all of a unit's activations exceeds
- `check_ious`          IoU over the data set, and the mean of the images' IoU
- `check_chance`        the best IoU when images exchange their labels
- `check_counts`        detectors, and different concepts among them
- `reference_…`         the reference solutions
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from .core import compare, exercise, run

__all__ = [
    "check_chance",
    "check_counts",
    "check_ious",
    "check_thresholds",
    "reference_chance",
    "reference_counts",
    "reference_ious",
    "reference_thresholds",
]


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


# --- exercise 1 ----------------


def reference_thresholds(activations: Tensor, share: float) -> Tensor:
    """Of each channel the smallest activation that at most `share` of all lies above, (N, C, h, w) → (C,)."""
    values = activations.transpose(0, 1).flatten(1).sort(descending=True).values
    return values[:, int(share * values.shape[1])]


def check_thresholds(student: Callable[[Tensor, float], Tensor]) -> None:
    """Exercise 1: one threshold for each unit, over all images and places."""

    def example(seed: int, *shape: int) -> Tensor:
        return (
            torch.randn(shape, generator=_generator(seed)).relu()
            * torch.arange(1, shape[1] + 1)[:, None, None]
        )

    counted = torch.arange(200.0)[torch.randperm(200, generator=_generator(3))].view(2, 1, 10, 10)

    def by_image(a: Tensor, share: float) -> Tensor:
        return torch.stack([reference_thresholds(one[None], share) for one in a]).mean(0)

    run(
        student,
        [(counted, 0.125), (example(1, 8, 3, 8, 8), 0.0625), (example(2, 4, 5, 16, 8), 0.015625)],
        reference_thresholds,
        passed="each unit exceeds its threshold at the given share of all images and places",
        mistakes={
            "You took one threshold for all units: each unit has its own.": lambda a, share: (
                a.flatten().sort(descending=True).values[int(share * a.numel())].expand(a.shape[1]).clone()
            ),
            "That is the threshold at the LOWER end: the share lies above it.": lambda a, share: (
                a.transpose(0, 1).flatten(1).sort().values[:, int(share * a.numel() / a.shape[1])]
            ),
            "You took the largest activation of each image: all places count.": lambda a, share: (
                a.amax((2, 3)).sort(0, descending=True).values[int(share * len(a))]
            ),
            "You averaged thresholds of single images: put all images into one list.": by_image,
            "You took the share of the largest activation: the share counts activations.": lambda a, share: (
                (1 - share) * a.amax((0, 2, 3))
            ),
            "One too high: as many as allowed may lie ABOVE the threshold, so it is the next value.": lambda a, share: (
                a.transpose(0, 1).flatten(1).topk(int(share * a.numel() / a.shape[1])).values[:, -1]
            ),
        },
        hint="Bring the channels to the front, flatten the rest, sort; count from the largest.",
    )  # fmt: skip


# --- exercise 2 ----------------


def reference_ious(masks: Tensor, shown: Tensor) -> tuple[Tensor, Tensor]:
    """IoU over all images, and the mean of the images' IoU where the union is not empty; (N, H, W) bool twice."""
    both = (masks & shown).flatten(1).sum(1)
    either = (masks | shown).flatten(1).sum(1)
    return both.sum() / either.sum(), (both / either)[either > 0].mean()


@exercise("one ratio over the data set, and the mean of the images' ratios")
def check_ious(student: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]) -> None:
    """Exercise 2: two ways to put images together."""
    for seed in (1, 2, 3):
        g = _generator(seed)
        masks, shown = torch.rand(6, 8, 8, generator=g) > 0.7, torch.rand(6, 8, 8, generator=g) > 0.4
        shown[:3, 2:], masks[1] = False, False
        masks[5], shown[5] = False, False  # an image with neither: 0/0
        both, either = (masks & shown).flatten(1).sum(1), (masks | shown).flatten(1).sum(1)
        expected = reference_ious(masks.clone(), shown.clone())
        answer = student(masks.clone(), shown.clone())
        assert isinstance(answer, tuple | list) and len(answer) == 2, (
            "return two numbers: over the data set, mean of images"
        )
        each = both / either.clamp(min=1)
        one, two = (torch.as_tensor(value, dtype=torch.float32) for value in answer)
        compare(
            one,
            expected[0],
            what="the IoU over the data set",
            mistakes={
                "That is the mean of the images' IoU: the data set has one intersection and one union.": expected[
                    1
                ],
                "You divided by the sum of both areas: the intersection is then counted twice.": (
                    both.sum() / (masks.sum() + shown.sum())
                ),
                "You divided by the concept's area: that is recall.": both.sum() / shown.sum(),
                "You divided by the mask's area: that is precision.": both.sum() / masks.sum(),
            },
            hint="Add the intersections of all images, add the unions, divide once.",
        )
        compare(
            two,
            expected[1],
            what="the mean of the images' IoU",
            mistakes={
                "0/0 is no number: leave out the images in which neither the mask nor the concept occurs.": (
                    torch.tensor(torch.nan)
                ),
                "You counted images with an empty union as 0: leave them out.": each.mean(),
                "You left out the images without the concept: a mask there is a miss, and counts as 0.": (
                    each[shown.flatten(1).any(1)].mean()
                ),
                "That is the IoU over the data set once more: divide image by image, then take the mean.": expected[0],
            },
            hint="One ratio for each image whose union is not empty; then their mean.",
        )  # fmt: skip


# --- exercise 3 ----------------


def reference_chance(masks: Tensor, shown: Tensor, orders: Tensor) -> Tensor:
    """Of each order, (R, N), the largest IoU over concepts with the labels (N, K, H, W) of other images: (R,)."""
    return torch.stack([_ious(masks, shown[order]).max() for order in orders])


def _ious(masks: Tensor, shown: Tensor) -> Tensor:
    both = (masks[:, None] & shown).sum((0, 2, 3))
    return both / (masks[:, None] | shown).sum((0, 2, 3)).clamp(min=1)


def check_chance(student: Callable[[Tensor, Tensor, Tensor], Tensor]) -> None:
    """Exercise 3: the null of a dissection."""

    def example(seed: int, n: int, k: int) -> tuple[Tensor, Tensor, Tensor]:
        g = _generator(seed)
        masks = torch.rand(n, 6, 7, generator=g) > 0.8
        shown = torch.rand(n, k, 6, 7, generator=g) > torch.linspace(0.3, 0.9, k)[:, None, None]
        shown[:, -1] |= masks  # the last concept is the unit's own
        return masks, shown, torch.stack([torch.randperm(n, generator=g) for _ in range(5)])

    run(
        student,
        [example(1, 4, 2), example(2, 7, 5)],
        reference_chance,
        passed="the best IoU of each exchange of labels: what the choice of a name is worth",
        mistakes={
            "You kept the concept that is best with the true labels: by chance, too, the best name is chosen anew.": (
                lambda m, s, orders: torch.stack(
                    [_ious(m, s[order])[_ious(m, s).argmax()] for order in orders]
                )
            ),
            "You took the mean over the concepts: take the largest.": (
                lambda m, s, orders: torch.stack([_ious(m, s[order]).mean() for order in orders])
            ),
            "You exchanged nothing: these are the true labels.": (
                lambda m, s, orders: _ious(m, s).max().expand(len(orders)).clone()
            ),
            "You exchanged the concepts' axis: image i gets the labels of image order[i].": (
                lambda m, s, orders: torch.stack(
                    [_ious(m, s[:, order % s.shape[1]]).max() for order in orders]
                )
            ),
            "You exchanged masks AND labels, so they still belong together: exchange one of them.": (
                lambda m, s, orders: torch.stack([_ious(m[order], s[order]).max() for order in orders])
            ),
            "That is the mean over the orders: return one number for each.": (
                lambda m, s, orders: reference_chance(m, s, orders).mean()
            ),
        },
        hint="For each order: labels[order], IoU over all images for every concept, the largest.",
    )


# --- exercise 4 ----------------


def reference_counts(iou: Tensor, above: float) -> tuple[int, int]:
    """How many rows of (C, K) have a maximum above `above`, and at how many different places it stands."""
    top, best = iou.max(1)
    detects = top > above
    return int(detects.sum()), len(best[detects].unique())


@exercise("detectors, and the different concepts that they detect")
def check_counts(student: Callable[[Tensor, float], tuple[int, int]]) -> None:
    """Exercise 4: counting."""
    cases = [
        (torch.tensor([[0.05, 0.09], [0.00, 0.20], [0.03, 0.01], [0.10, 0.00]]), 0.04),
        (torch.tensor([[0.06, 0.05, 0.09], [0.01, 0.02, 0.03], [0.05, 0.07, 0.30]]), 0.04),
        (torch.rand(30, 12, generator=_generator(4)) ** 12, 0.5),
        (torch.zeros(3, 4), 0.04),
    ]
    for iou, above in cases:
        units, concepts = reference_counts(iou, above)
        answer = student(iou.clone(), above)
        assert isinstance(answer, tuple | list) and len(answer) == 2, (
            "return two whole numbers: detectors, concepts"
        )
        one, two = (int(value) for value in answer)
        best = iou.argmax(1)
        compare(
            one,
            units,
            what="the number of detectors",
            mistakes={
                "You counted pairs of unit and concept: a unit is one detector, of its best concept.": int(
                    (iou > above).sum()
                ),
                "You counted all units: only those whose best IoU is above the bound are detectors.": len(
                    iou
                ),
                "You counted concepts: count units.": int((iou > above).any(0).sum()),
            },
            hint="A unit is a detector where its largest IoU is above `above`.",
        )
        compare(
            two,
            concepts,
            what="the number of different concepts",
            mistakes={
                "You counted the concepts that any unit has above the bound: only its BEST concept counts.": int(
                    (iou > above).any(0).sum()
                ),
                "You counted the best concepts of all units: those of detectors alone.": len(best.unique()),
                "You counted each detector: several may share a concept.": units,
            },
            hint="Best concepts of the detectors, each counted once.",
        )  # fmt: skip
