"""Checks of lecture 02's exercises; each takes the student's function.

- `check_receptive_field`  size, stride and start of the boxes that a chain of windows sees
- `check_merge`            the best images of two parts of a data set, merged
- `check_purity`           how far the patches of a channel share a label, where some have none
- `check_knn_purity`       share of the nearest other codes with the same label
- `reference_…`            the reference solutions
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from .core import compare, exercise, run

__all__ = [
    "check_knn_purity",
    "check_merge",
    "check_purity",
    "check_receptive_field",
    "reference_knn_purity",
    "reference_merge",
    "reference_purity",
    "reference_receptive_field",
]

Windows = list[tuple[int, int, int]]
Best = tuple[Tensor, Tensor]


def reference_receptive_field(windows: Windows) -> tuple[int, int, int]:
    """(size, stride, start) behind windows (kernel, stride, padding), first layer first."""
    size, stride, start = 1, 1, 0
    for kernel, step, padding in windows:
        start -= padding * stride
        size += (kernel - 1) * stride
        stride *= step
    return size, stride, start


def check_receptive_field(student: Callable[[Windows], tuple[int, int, int]]) -> None:
    """Exercise 1: the recurrence of the receptive field for a chain of layers."""

    def variant(
        grow: Callable[[int, int, int], int], pad: Callable[[int, int], int]
    ) -> Callable[[Windows], tuple[int, int, int]]:
        def wrong(windows: Windows) -> tuple[int, int, int]:
            size, stride, start = 1, 1, 0
            for kernel, step, padding in windows:
                size, start = size + grow(kernel, stride, step), start + pad(padding, stride)
                stride *= step
            return size, stride, start

        return wrong

    def right_pad(padding: int, stride: int) -> int:
        return -padding * stride

    def right_growth(kernel: int, stride: int, step: int) -> int:
        return (kernel - 1) * stride

    run(
        student,
        [
            ([(3, 1, 0)],),
            ([(3, 1, 1), (3, 1, 1)],),
            ([(11, 4, 2), (3, 2, 0), (5, 1, 2), (3, 2, 0)],),  # torchvision's AlexNet up to pool2
            ([(9, 2, 4), (3, 2, 1), (5, 1, 2), (3, 2, 1), (3, 1, 1), (3, 1, 1), (3, 1, 1)],),
        ],
        reference_receptive_field,
        passed="size, stride and start of every chain, from one window to Diorama's relu5",
        mistakes={
            "A window of k positions adds k − 1 steps to the size, not k.": variant(
                lambda k, j, s: k * j, right_pad
            ),
            "You widened by the stride behind the layer: its window steps in the units of the map it reads.": (
                variant(lambda k, j, s: (k - 1) * j * s, right_pad)
            ),
            "You forgot that deep layers step over many pixels: multiply k − 1 by the stride so far.": variant(
                lambda k, j, s: k - 1, right_pad
            ),
            "Padding moves the first box to the left: start becomes smaller.": variant(
                right_growth, lambda p, j: p * j
            ),
            "Padding is counted in positions of the map that is padded: multiply it by the stride so far.": (
                variant(right_growth, lambda p, j: -p)
            ),
        },
        hint="Return the tuple (size, stride, start). For each layer change start, then size, then stride.",
    )


def reference_merge(one: Best, two: Best, k: int) -> Best:
    """The k best of both parts, largest first: pairs (values, images) of tables (C, any number)."""
    values, images = (torch.cat(pair, 1) for pair in zip(one, two, strict=True))
    order = values.argsort(dim=1, descending=True)[:, :k]
    return values.gather(1, order), images.gather(1, order)


@exercise("the best of both parts, channel by channel, each value with its own image")
def check_merge(student: Callable[[Best, Best, int], Best]) -> None:
    """Exercise 2: merge the top images of two parts of a data set."""
    generator = torch.Generator().manual_seed(2)

    def part(channels: int, count: int, first: int) -> Best:
        values = torch.rand(channels, count, generator=generator).sort(dim=1, descending=True).values
        images = torch.stack(
            [torch.randperm(90, generator=generator)[:count] + first for _ in range(channels)]
        )
        return values, images

    for one, two, k in (
        (part(1, 2, 0), part(1, 2, 100), 2),
        (part(4, 5, 0), part(4, 5, 100), 5),
        (part(3, 2, 0), part(3, 4, 100), 4),  # a part of fewer images than k
    ):
        values, images = reference_merge(one, two, k)
        both = torch.cat([one[0], two[0]], 1)
        order = both.argsort(dim=1, descending=True)[:, :k]
        smallest = both.argsort(dim=1)[:, :k]
        stuck = torch.cat([one[1], two[1]], 1)
        given = student((one[0].clone(), one[1].clone()), (two[0].clone(), two[1].clone()), k)
        assert isinstance(given, tuple | list) and len(given) == 2, (
            "return two tables, (values, images), each of shape (channels, k)."
        )
        compare(
            given[0],
            values,
            what="your table of values",
            mistakes={
                "You kept the smallest: the best are the largest.": both.gather(1, smallest),
                "You cut before you ranked: first put both parts in order, then keep k.": both[:, :k],
                "You kept the first part only.": one[0][:, :k],
                "Largest first, please.": values.flip(1),
            },
            hint="For each channel: put both parts side by side, rank, keep the k largest.",
        )
        compare(
            given[1],
            images,
            what="your table of images",
            mistakes={
                "These are places in the joined table: look up which images stand there (torch.gather).": order,
                "The images must follow their values: reorder both in the same way (torch.gather).": stuck[
                    :, :k
                ],
            },
            hint="Reorder the images exactly as you reorder the values.",
        )


def reference_purity(labels: Tensor) -> Tensor:
    """Share of the most frequent label among the k of each row, (C, k) → (C,); 0 means no label."""
    share = []
    for row in labels:
        counts = torch.bincount(row[row > 0], minlength=2)
        share.append(max(int(counts.max()), 1) / len(row))
    return torch.tensor(share)


def check_purity(student: Callable[[Tensor], Tensor]) -> None:
    """Exercise 3: label purity where 0 stands for "no label"."""
    generator = torch.Generator().manual_seed(3)
    simple = torch.tensor([[1, 1, 1, 2], [3, 3, 2, 2]])
    bare = torch.tensor([[0, 0, 0, 5], [0, 0, 7, 7], [0, 0, 0, 0]])
    many = torch.randint(0, 5, (20, 9), generator=generator)
    sparse = many * (torch.rand(20, 9, generator=generator) < 0.4)

    def counted(labels: Tensor) -> Tensor:
        return (labels[:, :, None] == labels[:, None]).sum(2).amax(1) / labels.shape[1]

    def among_labelled(labels: Tensor) -> Tensor:
        named = (labels > 0).sum(1)
        return reference_purity(labels) * labels.shape[1] / named.clamp(min=1)

    def pairs(labels: Tensor) -> Tensor:
        equal = (labels[:, :, None] == labels[:, None]) & (labels[:, :, None] > 0)
        return equal.sum((1, 2)) / labels.shape[1] ** 2

    def zero_for_none(labels: Tensor) -> Tensor:
        return reference_purity(labels) * (labels > 0).any(1)

    run(
        student,
        [(simple,), (bare,), (many,), (sparse,)],
        reference_purity,
        passed="the share of the commonest label, with 1/k where there is none",
        mistakes={
            "You counted 0 as a label: two patches without a label do not agree.": counted,
            "You divided by the number of labelled patches: divide by k, or one such patch is pure.": (
                among_labelled
            ),
            "That is the share of equal pairs: take the most frequent label's share of the k patches.": pairs,
            "A row without labels has purity 1/k: every patch is a kind of its own.": zero_for_none,
            "You averaged over the channels: return one number for each.": lambda labels: reference_purity(
                labels
            ).mean(),
        },
        hint="For each row: how often does its commonest label other than 0 occur (once, if none)? Divide by k.",
    )


def reference_knn_purity(codes: Tensor, labels: Tensor, k: int) -> float:
    """Mean share of each code's k nearest other codes that carry its label."""
    distance = torch.cdist(codes.double(), codes.double(), compute_mode="donot_use_mm_for_euclid_dist")
    near = distance.fill_diagonal_(torch.inf).topk(k, largest=False).indices  # (N, k)
    return float((labels[near] == labels[:, None]).double().mean())


def check_knn_purity(student: Callable[[Tensor, Tensor, int], float]) -> None:
    """Exercise 4: k-NN purity."""
    generator = torch.Generator().manual_seed(4)
    line = torch.tensor([[0.0], [1.0], [2.1], [10.0], [11.0], [12.1]])
    halves = torch.tensor([0, 0, 0, 1, 1, 1])
    kinds = torch.arange(60) % 3
    scale = torch.rand(60, 1, generator=generator) * 5 + 0.2  # lengths differ: angles are no distances
    cloud = (torch.eye(3)[kinds] + 0.45 * torch.randn(60, 3, generator=generator)) * scale
    twins = torch.randn(20, 4, generator=generator).repeat_interleave(2, 0)
    twins[::2] += 1e-4 * torch.randn(20, 4, generator=generator)
    apart = torch.arange(40) % 2 + 2 * (torch.arange(40) // 20)  # twins carry different labels

    def near(codes: Tensor, labels: Tensor, k: int, *, own: bool, largest: bool = False) -> Tensor:
        distance = torch.cdist(codes.double(), codes.double(), compute_mode="donot_use_mm_for_euclid_dist")
        if not own:
            distance.fill_diagonal_(-torch.inf if largest else torch.inf)
        return labels[distance.topk(k, largest=largest).indices] == labels[:, None]

    def by_product(codes: Tensor, labels: Tensor, k: int) -> float:
        product = (codes @ codes.T).fill_diagonal_(-torch.inf)
        return float((labels[product.topk(k).indices] == labels[:, None]).double().mean())

    def vote(codes: Tensor, labels: Tensor, k: int) -> float:
        return float((near(codes, labels, k, own=False).double().mean(1) > 0.5).double().mean())

    run(
        student,
        [(line, halves, 2), (cloud, kinds, 3), (cloud, kinds, 10), (twins, apart, 3)],
        reference_knn_purity,
        passed="every code leaves itself out, and the share is over all neighbours",
        mistakes={
            "Each code is its own nearest neighbour in your answer: leave it out.": lambda c, y, k: float(
                near(c, y, k, own=True).double().mean()
            ),
            "You took the farthest codes: near means a small distance.": lambda c, y, k: float(
                near(c, y, k, own=False, largest=True).double().mean()
            ),
            "You ranked by inner products, which prefer long codes: use distances.": by_product,
            "You took a majority vote: count every neighbour.": vote,
            "That is the number of equal neighbours: divide by k.": lambda c, y, k: (
                reference_knn_purity(c, y, k) * k
            ),
        },
        hint="Distances by torch.cdist, infinity on the diagonal, the k smallest of each row, the mean of equal.",
    )
