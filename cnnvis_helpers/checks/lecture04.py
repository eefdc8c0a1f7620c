"""Checks of lecture 04's exercises; each takes the student's function.

- `check_relu_back`     what a ReLU sends back, by three rules
- `check_unpool`        every value back to the place of its window's maximum
- `check_guided`        guided backpropagation through a small network, by hand
- `check_class_blind`   mean cosine between the projections of all pairs of classes
- `reference_…`         the reference solutions
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from .core import run

__all__ = [
    "check_class_blind",
    "check_guided",
    "check_relu_back",
    "check_unpool",
    "reference_class_blind",
    "reference_guided",
    "reference_relu_back",
    "reference_unpool",
]

RULES = ("gradient", "deconvnet", "guided")


def _drawn(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


# --- exercise 1 ----------------


def reference_relu_back(z: Tensor, g: Tensor, rule: str) -> Tensor:
    """What goes on to the ReLU's input z from the signal g at its output."""
    if rule == "gradient":
        return g * (z > 0)
    return g.relu() if rule == "deconvnet" else g.relu() * (z > 0)


def check_relu_back(student: Callable[[Tensor, Tensor, str], Tensor]) -> None:
    """Exercise 1: the three rules."""
    z, g = torch.tensor([3.0, -1.0, 2.0, -2.0, 0.0]), torch.tensor([2.0, 1.0, -1.0, -3.0, 5.0])

    def swapped(z: Tensor, g: Tensor, rule: str) -> Tensor:
        other = {"gradient": "deconvnet", "deconvnet": "gradient", "guided": "guided"}[rule]
        return reference_relu_back(z, g, other)

    run(
        student,
        [(z, g, rule) for rule in RULES] + [(_drawn(1, 4, 5), _drawn(2, 4, 5), rule) for rule in RULES],
        reference_relu_back,
        passed="the gradient asks the input, the deconvnet the signal, guided backpropagation both",
        mistakes={
            "That is the gradient: this rule also asks the sign of the signal.": lambda z, g, rule: (
                g * (z > 0)
            ),
            "You exchanged two rules: the gradient looks at z, the deconvnet at g.": swapped,
            "That is the deconvnet's rule: this rule also asks whether the ReLU was on, z > 0.": (
                lambda z, g, rule: g.relu()
            ),
            "You let the signal pass where z is exactly 0: a ReLU is off there.": (
                lambda z, g, rule: (g if rule == "gradient" else g.relu()) * (z >= 0)
            ),
            "You took the absolute value of the signal: what is negative becomes 0.": (
                lambda z, g, rule: g.abs() * (z > 0 if rule == "guided" else 1)
            ),
            "You sent back the activation: the signal g goes back, and z only decides where.": (
                lambda z, g, rule: z.relu() * (g > 0 if rule != "gradient" else 1)
            ),
            "You sent back ones and zeros: multiply them by the signal.": lambda z, g, rule: (
                (z > 0) if rule == "gradient" else (g > 0) if rule == "deconvnet" else (z > 0) & (g > 0)
            ).float(),
        },
        hint="gradient: g where z > 0; deconvnet: g where g > 0; guided: g where both; 0 elsewhere.",
    )


# --- exercise 2 ----------------


def reference_unpool(values: Tensor, switches: Tensor, size: tuple[int, int]) -> Tensor:
    """Values (C, h, w) to their switches, row · W + column, in (C, H, W); the last window of a place stays."""
    return _unpooled(values, switches, size)


def _unpooled(values: Tensor, switches: Tensor, size: tuple[int, int], how: str = "last") -> Tensor:
    out = torch.zeros(len(values), size[0] * size[1])
    for c in range(len(values)):
        pairs = list(zip(values[c].flatten().tolist(), switches[c].flatten().tolist(), strict=True))
        for value, place in pairs[::-1] if how == "first" else pairs:
            out[c, place] = value + (out[c, place] if how == "sum" else 0)
            if how == "largest":
                out[c, place] = max(v for v, p in pairs if p == place)
    return out.view(len(values), *size)


def check_unpool(student: Callable[[Tensor, Tensor, tuple[int, int]], Tensor]) -> None:
    """Exercise 2: unpooling with switches, also where windows overlap."""

    def example(
        seed: int, channels: int, side: tuple[int, int], kernel: int, stride: int, padding: int = 0
    ) -> tuple[Tensor, Tensor, tuple[int, int]]:
        pooled, switches = functional.max_pool2d(
            _drawn(seed, 1, channels, *side), kernel, stride, padding, return_indices=True
        )
        return _drawn(seed + 50, *pooled.shape[1:]), switches[0], side

    def transposed(values: Tensor, switches: Tensor, size: tuple[int, int]) -> Tensor:
        rows, columns = switches % size[1] % size[0], switches // size[1] % size[1]
        return _unpooled(values, rows * size[1] + columns, size)

    def spread(values: Tensor, switches: Tensor, size: tuple[int, int]) -> Tensor:
        return functional.interpolate(values[None], size)[0]

    run(
        student,
        [
            (torch.tensor([[[5.0, -6.0]]]), torch.tensor([[[1, 6]]]), (2, 4)),
            example(1, 2, (4, 6), 2, 2),
            example(2, 3, (7, 9), 3, 2, 1),
        ],
        reference_unpool,
        passed="every value at its switch, zero elsewhere, and where windows overlap the last one stays",
        mistakes={
            "Where several windows name one place you added their values, as the gradient does: here the last one "
            "in reading order stays.": lambda v, s, size: _unpooled(v, s, size, "sum"),
            "Where several windows name one place you kept the first: the last one in reading order stays.": (
                lambda v, s, size: _unpooled(v, s, size, "first")
            ),
            "Where several windows name one place you kept the largest value: the last one stays.": (
                lambda v, s, size: _unpooled(v, s, size, "largest")
            ),
            "You used the switches of channel 0 for every channel: each has its own.": (
                lambda v, s, size: _unpooled(v, s[:1].expand_as(s), size)
            ),
            "You exchanged rows and columns: a switch is row · W + column.": transposed,
            "You spread each value over its window: only the place of the maximum gets it.": spread,
            "You dropped negative values: it is the ReLU's part to rectify, not the unpooling's.": (
                lambda v, s, size: _unpooled(v.relu(), s, size)
            ),
        },
        hint="Begin with zeros (C, H · W) and write value after value to its place; then give it the shape (C, H, W).",
    )


# --- exercise 3 ----------------


def reference_guided(weights: Sequence[Tensor], x: Tensor, c: int) -> Tensor:
    """Output c of x → W x → ReLU → W x → … → W x, back to x (n,) by the guided rule."""
    return _back(weights, x, c)


def _back(
    weights: Sequence[Tensor], x: Tensor, c: int, rule: str = "guided", start: str = "one", ends: int = 0
) -> Tensor:
    inputs = []  # of the ReLUs
    y = x
    for w in weights[:-1]:
        inputs.append(w @ y)
        y = inputs[-1].relu()
    logits = weights[-1] @ y
    g = torch.zeros_like(logits)
    g[c] = 1.0 if start == "one" else logits[c]
    if start == "all":
        g[:] = 1.0
    g = weights[-1].T @ g
    for number, (w, z) in enumerate(zip(reversed(weights[:-1]), reversed(inputs), strict=True)):
        one = rule if not (ends and number) else "gradient"
        g = w.T @ reference_relu_back(z, g, one)
    return g


def check_guided(student: Callable[[Sequence[Tensor], Tensor, int], Tensor]) -> None:
    """Exercise 3: guided backpropagation by hand."""

    def example(seed: int, *sizes: int) -> tuple[list[Tensor], Tensor]:
        return [_drawn(seed + i, sizes[i + 1], sizes[i]) for i in range(len(sizes) - 1)], _drawn(
            seed + 50, sizes[0]
        )

    one = [torch.tensor([[1.0, 1], [1, -1], [0, 1], [-2, 0]]), torch.tensor([[2.0, 1, -1, -3], [1, 1, 1, 1]])]
    deep, deeper = example(1, 6, 8, 8, 3), example(2, 5, 9, 9, 9, 4)
    run(
        student,
        [(one, torch.tensor([1.0, 2.0]), 0), (*deep, 1), (*deeper, 3)],
        reference_guided,
        passed="guided backpropagation through every ReLU, back to the input",
        mistakes={
            "That is the gradient: rectify the signal at every ReLU, too.": lambda w, x, c: _back(
                w, x, c, "gradient"
            ),
            "That is the deconvnet's rule: also ask whether each ReLU was on, z > 0.": (
                lambda w, x, c: _back(w, x, c, "deconvnet")
            ),
            "You began with the logit: begin with 1 at output c and 0 elsewhere.": (
                lambda w, x, c: _back(w, x, c, start="logit")
            ),
            "You began with 1 at every output: only output c gets it.": lambda w, x, c: _back(
                w, x, c, start="all"
            ),
            "You rectified the result: there is no ReLU at the input, and its signs say what to add and what to take "
            "away.": lambda w, x, c: _back(w, x, c).relu(),
            "You used the rule at the last ReLU only: it holds at every ReLU.": lambda w, x, c: _back(
                w, x, c, ends=1
            ),
        },
        hint="Forward: keep the input z of every ReLU. Back: g ← Wᵀ g, then g where z > 0 and g > 0, and so on.",
    )


# --- exercise 4 ----------------


def reference_class_blind(maps: Tensor) -> Tensor:
    """Mean cosine between the projections (K, 3, H, W) of all pairs of different classes: one number."""
    unit = functional.normalize(maps.flatten(1), dim=1)
    cosines = unit @ unit.T
    count = len(maps)
    return (cosines.sum() - cosines.diagonal().sum()) / (count * (count - 1))


def check_class_blind(student: Callable[[Tensor], Tensor]) -> None:
    """Exercise 4: how little a projection depends on the class that one asks about."""

    def cosines(maps: Tensor) -> Tensor:
        unit = functional.normalize(maps.flatten(1), dim=1)
        return unit @ unit.T

    def off(table: Tensor) -> Tensor:
        return (table.sum() - table.diagonal().sum()) / (len(table) * (len(table) - 1))

    flat = torch.zeros(2, 3, 1, 2)
    flat[0, 0, 0, 0], flat[1, 0, 0] = 2.0, torch.tensor([-3.0, 4.0])  # cosine -0.6
    run(
        student,
        [
            (flat,),
            (_drawn(1, 4, 3, 5, 6) + 0.7,),
            (_drawn(2, 3, 3, 4, 4) * torch.tensor([1.0, 5, 30]).view(3, 1, 1, 1),),
        ],
        reference_class_blind,
        passed="1 where the class plays no part, about 0 where projections have nothing in common",
        mistakes={
            "You counted each class with itself, which is always 1: take the pairs of different classes.": (
                lambda maps: cosines(maps).mean()
            ),
            "You took products without dividing by the lengths: strong projections would count more.": (
                lambda maps: off(maps.flatten(1) @ maps.flatten(1).T)
            ),
            "You compared absolute values: a projection is signed, and opposite signs are no agreement.": (
                lambda maps: off(cosines(maps.abs()))
            ),
            "You took the size of each cosine: opposite projections have a cosine of -1.": (
                lambda maps: off(cosines(maps).abs())
            ),
            "You subtracted each projection's mean: that is the correlation. Zero is the natural middle here.": (
                lambda maps: off(cosines(maps - maps.mean((1, 2, 3), keepdim=True)))
            ),
            "You compared only with the first class: take all pairs.": lambda maps: cosines(maps)[
                0, 1:
            ].mean(),
            "You added the cosines: take their mean.": lambda maps: (
                off(cosines(maps)) * (len(maps) * (len(maps) - 1))
            ),
            "You added each pair once: take the mean over the pairs.": lambda maps: (
                off(cosines(maps)) * (len(maps) * (len(maps) - 1) / 2)
            ),
        },
        hint="Flatten each projection, divide it by its length, multiply all with all, and leave the diagonal out.",
    )
