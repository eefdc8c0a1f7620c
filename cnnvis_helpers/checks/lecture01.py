"""Checks of lecture 01's exercises; each takes the student's function.

- `check_convolution`      a convolution layer by hand
- `check_smoothness`       how much neighbouring weights agree
- `check_dead_channels`    channels that no batch activates, in one pass
- `check_locality`         how much a map's activity gathers in one place
- `reference_…`            the reference solutions
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor
from torch.nn import functional

from .core import compare, exercise, run

__all__ = [
    "check_convolution",
    "check_dead_channels",
    "check_locality",
    "check_smoothness",
    "reference_convolution",
    "reference_dead_channels",
    "reference_locality",
    "reference_smoothness",
]


def reference_convolution(x: Tensor, w: Tensor, b: Tensor, stride: int, padding: int) -> Tensor:
    """A convolution layer by torch: (C, H, W), (N, C, k, k), (N,) → (N, H', W')."""
    return functional.conv2d(x[None], w, b, stride, padding)[0]


def check_convolution(student: Callable[[Tensor, Tensor, Tensor, int, int], Tensor]) -> None:
    """Exercise 1: a convolution layer by hand, with bias, stride and padding."""
    generator = torch.Generator().manual_seed(0)

    def random(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator)

    right = reference_convolution
    run(
        student,
        [
            (random(1, 4, 4), random(1, 1, 2, 2), torch.zeros(1), 1, 0),
            (random(3, 6, 7), random(4, 3, 3, 3), random(4), 1, 0),
            (random(3, 9, 9), random(2, 3, 3, 3), random(2), 2, 0),
            (random(2, 8, 8), random(5, 2, 5, 5), random(5), 3, 2),
        ],
        right,
        passed="your layer equals conv2d, with bias, stride and padding",
        mistakes={
            "You flipped the kernel: what deep learning calls convolution is cross-correlation.": (
                lambda x, w, b, s, p: right(x, w.flip(2, 3), b, s, p)
            ),
            "The bias is missing.": lambda x, w, b, s, p: right(x, w, torch.zeros_like(b), s, p),
            "The stride is missing: neighbouring windows start `stride` pixels apart.": (
                lambda x, w, b, s, p: right(x, w, b, 1, p)
            ),
            "The padding is missing: put `padding` zeros around the image first.": (
                lambda x, w, b, s, p: right(x, w, b, s, 0)
            ),
            "You added the bias once for every input channel: it is added once for each filter.": (
                lambda x, w, b, s, p: right(x, w, b * len(x), s, p)
            ),
            "You took the mean over the channels: they are summed.": (
                lambda x, w, b, s, p: right(x, w / len(x), b, s, p)
            ),
        },
        hint="Value [i, y, x] is b[i] plus the sum of w[i] times the window that starts at row stride · y.",
    )


def reference_smoothness(w: Tensor) -> Tensor:
    """The larger of r(right) and r(down), (N, C, kH, kW) → (N,)."""
    return torch.maximum(_agreement(w[..., :-1], w[..., 1:]), _agreement(w[..., :-1, :], w[..., 1:, :]))


def _agreement(a: Tensor, b: Tensor) -> Tensor:
    return 1 - (a - b).square().sum((1, 2, 3)) / (a.square() + b.square()).sum((1, 2, 3))


def check_smoothness(student: Callable[[Tensor], Tensor]) -> None:
    """Exercise 2: the larger of two neighbour correlations, over all channels of a filter together."""
    generator = torch.Generator().manual_seed(1)
    stripes = torch.tensor([[1.0, 1.0, 1.0], [-1.0, -1.0, -1.0], [1.0, 1.0, 1.0]])[None, None]
    noise = torch.randn(4, 3, 5, 6, generator=generator)
    uneven = torch.randn(4, 3, 4, 4, generator=generator) * torch.tensor([5.0, 1.0, 0.1])[:, None, None]
    shifted = uneven + 2.0

    def both(function: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
        return lambda w: torch.maximum(
            function(w[..., :-1], w[..., 1:]), function(w[..., :-1, :], w[..., 1:, :])
        )

    def by_channel(a: Tensor, b: Tensor) -> Tensor:
        r = 1 - (a - b).square().sum((2, 3)) / (a.square() + b.square()).sum((2, 3))
        return r.mean(1)

    def around(w: Tensor) -> Tensor:
        return torch.maximum(_agreement(w, w.roll(-1, 3)), _agreement(w, w.roll(-1, 2)))

    def average(w: Tensor) -> Tensor:
        return (_agreement(w[..., :-1], w[..., 1:]) + _agreement(w[..., :-1, :], w[..., 1:, :])) / 2

    run(
        student,
        [(stripes,), (noise,), (uneven,), (shifted,)],
        reference_smoothness,
        passed="stripes are smooth along themselves, noise is near 0, strong channels count more",
        mistakes={
            "You averaged the two directions: take the larger, or fine stripes count as noise.": average,
            "You averaged over channels: sum over all channels before you divide.": both(by_channel),
            "The last column met the first: torch.roll wraps around, slices do not.": around,
            "You subtracted the mean: the filter's mean belongs to its pattern here.": (
                lambda w: reference_smoothness(w - w.mean((1, 2, 3), keepdim=True))
            ),
            "You took the smaller direction: take the larger.": lambda w: torch.minimum(
                _agreement(w[..., :-1], w[..., 1:]), _agreement(w[..., :-1, :], w[..., 1:, :])
            ),
            "You compared along the diagonal.": lambda w: _agreement(w[..., :-1, :-1], w[..., 1:, 1:]),
        },
        hint="r = 1 - sum (a - b)² / sum (a² + b²), a = w[..., :-1] and b = w[..., 1:] to the right.",
    )


def reference_dead_channels(batches: Iterable[Tensor]) -> Tensor:
    """True for channels above zero nowhere, over batches (N, C, H, W) → (C,)."""
    return torch.stack([(a <= 0).all(dim=3).all(dim=2).all(dim=0) for a in batches]).all(0)


class _Stream:
    """Batches that note how often they are gone through."""

    def __init__(self, batches: list[Tensor]) -> None:
        self.batches = batches
        self.passes = 0

    def __iter__(self) -> Iterator[Tensor]:
        self.passes += 1
        return (batch.clone() for batch in self.batches)


@exercise("dead means never above zero, over all batches, images and positions, in one pass")
def check_dead_channels(student: Callable[[Iterable[Tensor]], Tensor]) -> None:
    """Exercise 4: a streaming detector."""
    generator = torch.Generator().manual_seed(2)
    first = torch.zeros(3, 5, 2, 2)
    first[:, 0] = 1.0  # always active
    first[2, 1, 1, 0] = 0.1  # active once, at one position
    second = torch.zeros(2, 5, 2, 2)  # a smaller last batch
    second[0, 2, 0, 0] = 2.0  # active in the last batch only
    second[:, 3] = -1.0  # negative is not active either
    mixed = [torch.randn(4, 6, 3, 3, generator=generator) - 2.5 for _ in range(3)]
    for batch in mixed:
        batch[:, 2] = -0.5  # dead
        batch[:, 0], batch[:, 0, 1, 1] = -1.0, 1.0  # active on every image, with a negative mean
    for batches in ([first, second], mixed):
        stack = torch.cat(batches)
        stream = _Stream(batches)
        result = student(stream)
        assert stream.passes == 1, (
            "you go through the batches more than once: a stream passes once, so update as its batches come."
        )
        compare(
            result,
            reference_dead_channels(batches),
            mistakes={
                "You looked at the last batch only: a channel lives if any batch activates it.": (
                    (batches[-1] <= 0).all(3).all(2).all(0)
                ),
                "You looked at the first batch only.": (batches[0] <= 0).all(3).all(2).all(0),
                "A channel is dead when NO image activates it; yours is silent on at least one image.": (
                    (stack <= 0).all(3).all(2).any(0)
                ),
                "You took means: a few positive values drown in the others. Take the largest value.": (
                    stack.mean((0, 2, 3)) <= 0
                ),
                "You compare with == 0: a map can be silent and negative, so ask whether anything is > 0.": (
                    (stack == 0).all(3).all(2).all(0)
                ),
                "That is the mask of the living channels: turn it round.": (
                    ~(stack <= 0).all(3).all(2).all(0)
                ),
            },
            hint="Keep one True/False a channel: was it ever above zero? Update it with each batch.",
        )


def reference_locality(m: Tensor) -> Tensor:
    """1 - spread / spread of a uniform map, for one map (H, W), by plain sums over positions."""
    height, width = m.shape
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    share = m / m.sum()
    cy, cx = (share * y).sum(), (share * x).sum()
    spread = (share * ((y - cy) ** 2 + (x - cx) ** 2)).sum()
    return 1 - spread / ((height**2 - 1 + width**2 - 1) / 12)


def check_locality(student: Callable[[Tensor], Tensor]) -> None:
    """Exercise 3: the locality of one map."""
    generator = torch.Generator().manual_seed(3)
    spot = torch.zeros(5, 7)
    spot[0, 6] = 3.0
    pair = torch.zeros(4, 6)
    pair[1, 1], pair[1, 2], pair[3, 5] = 3.0, 1.0, 1.0
    cloud = torch.rand(6, 5, generator=generator) ** 4

    def spread_around(m: Tensor, cy: Tensor | float, cx: Tensor | float) -> Tensor:
        y, x = torch.meshgrid(torch.arange(m.shape[0]), torch.arange(m.shape[1]), indexing="ij")
        return (m / m.sum() * ((y - cy) ** 2 + (x - cx) ** 2)).sum()

    def uniform(m: Tensor) -> float:
        return (m.shape[0] ** 2 - 1 + m.shape[1] ** 2 - 1) / 12

    def around_the_middle(m: Tensor) -> Tensor:
        return 1 - spread_around(m, (m.shape[0] - 1) / 2, (m.shape[1] - 1) / 2) / uniform(m)

    def around_the_peak(m: Tensor) -> Tensor:
        row, column = divmod(int(m.argmax()), m.shape[1])
        return 1 - spread_around(m, row, column) / uniform(m)

    run(
        student,
        [(torch.full((4, 5), 2.0),), (spot,), (pair,), (cloud,)],
        reference_locality,
        passed="1 for one spot, 0 for a uniform map, and what lies between",
        mistakes={
            "You return spread / uniform spread: locality is 1 minus that.": lambda m: (
                1 - reference_locality(m)
            ),
            "You measured distances from the middle of the map: take the centre of mass.": around_the_middle,
            "You measured distances from the peak: take the centre of mass.": around_the_peak,
            "You took the root: the spread is the mean SQUARED distance.": (
                lambda m: 1 - (1 - reference_locality(m)).clamp(min=0).sqrt()
            ),
            "You summed m · distance² without dividing by the sum of m.": (
                lambda m: 1 - (1 - reference_locality(m)) * m.sum()
            ),
        },
        hint="Divide the map by its sum: centre = mean position, spread = mean squared distance.",
    )
