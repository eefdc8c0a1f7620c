"""Checks of lecture 05's exercises; each takes the student's function.

- `check_code_error`        how far a code is from the one wanted, relative to it
- `check_total_variation`   how much neighbouring pixels differ
- `check_clip_contribution` pixels that hardly matter become the mean colour
- `check_dream_step`        one step of a dream: shift, gradient, shift back, normalise
- `reference_…`             the reference solutions
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from .core import run

__all__ = [
    "check_clip_contribution",
    "check_code_error",
    "check_dream_step",
    "check_total_variation",
    "reference_clip_contribution",
    "reference_code_error",
    "reference_dream_step",
    "reference_total_variation",
]


def _normal(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def _uniform(*shape: int, seed: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


# --- exercise 1 ----------------


def reference_code_error(codes: Tensor, wanted: Tensor) -> Tensor:
    """‖codes − wanted‖² / ‖wanted‖² of each image, (N, …) twice → (N,)."""
    return (codes - wanted).flatten(1).square().sum(1) / wanted.flatten(1).square().sum(1)


def check_code_error(student: Callable[[Tensor, Tensor], Tensor]) -> None:
    """Exercise 1: the relative squared distance of codes, one number for each image."""

    def distance(a: Tensor, b: Tensor) -> Tensor:
        return (a - b).flatten(1).square().sum(1)

    def size(a: Tensor) -> Tensor:
        return a.flatten(1).square().sum(1)

    run(
        student,
        [
            (
                torch.tensor([[1.0, 2.0, 2.0], [3.0, 0.0, 4.0]]),
                torch.tensor([[1.0, 0.0, 2.0], [0.0, 0.0, 2.0]]),
            ),
            (_normal(3, 4, seed=0), 2 * _normal(3, 4, seed=1)),
            (_normal(2, 4, 3, 5, seed=2), 3 * _normal(2, 4, 3, 5, seed=3)),
        ],
        reference_code_error,
        passed="the squared distance of the codes, relative to the one wanted: 0 the same, 1 for a code of zeros",
        mistakes={
            "You did not divide: the same loss must serve layers of any size, so divide by ‖wanted‖².": distance,
            "You divided by the wrong code: the one that is wanted stays the same during the run.": (
                lambda a, b: distance(a, b) / size(a)
            ),
            "That is the square root: the loss takes the squared norms.": (
                lambda a, b: (distance(a, b) / size(b)).sqrt()
            ),
            "You divided by ‖wanted‖: the numerator is squared, so the denominator is too.": (
                lambda a, b: distance(a, b) / size(b).sqrt()
            ),
            "You added the images up: each has an error of its own, (N,).": (
                lambda a, b: distance(a, b).sum() / size(b).sum()
            ),
            "You divided number by number and then took the mean: numbers near zero would decide. Sum first, "
            "then divide.": lambda a, b: ((a - b) / b).flatten(1).square().mean(1),
            "You summed over the channels only: the norm runs over everything but the images.": (
                lambda a, b: (a - b).square().sum(1) / b.square().sum(1)
            ),
        },
        hint="Both norms run over all numbers of an image's code; flatten(1) keeps the images apart.",
    )


# --- exercise 2 ----------------


def reference_total_variation(images: Tensor) -> Tensor:
    """Mean squared difference of vertical neighbours plus that of horizontal ones, (N, C, H, W) → (N,)."""
    down, across = _differences(images)
    return down.square().mean((1, 2, 3)) + across.square().mean((1, 2, 3))


def _differences(images: Tensor) -> tuple[Tensor, Tensor]:
    return images[:, :, 1:] - images[:, :, :-1], images[:, :, :, 1:] - images[:, :, :, :-1]


def check_total_variation(student: Callable[[Tensor], Tensor]) -> None:
    """Exercise 2: the total variation of images, for the exponent 2."""

    def slipped(images: Tensor) -> Tensor:
        """The slip of a well-known repository: one axis too early."""
        channels, rows = images[:, 1:] - images[:, :-1], images[:, :, 1:] - images[:, :, :-1]
        return channels.square().mean((1, 2, 3)) + rows.square().mean((1, 2, 3))

    def wrapped(images: Tensor) -> Tensor:
        return sum(  # type: ignore[return-value]
            (images.roll(-1, axis) - images).square().mean((1, 2, 3)) for axis in (2, 3)
        )

    def each(of: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
        return lambda images: sum(of(d) for d in _differences(images))  # type: ignore[return-value]

    stripes = torch.zeros(1, 3, 4, 5)
    stripes[:, :, ::2] = 1.0
    run(
        student,
        [(stripes,), (_uniform(2, 3, 5, 5, seed=0),), (_uniform(3, 3, 6, 4, seed=1),)],
        reference_total_variation,
        passed="the mean squared differences, down plus across",
        mistakes={
            "One of your differences runs over the COLOURS: in (N, C, H, W) rows are axis 2 and columns axis 3. "
            "Well-known code has this slip.": slipped,
            "You took absolute values: for the exponent 2 the differences are squared.": each(
                lambda d: d.abs().mean((1, 2, 3))
            ),
            "You added up: take means, so that one weight serves images of every size.": each(
                lambda d: d.square().sum((1, 2, 3))
            ),
            "You compared the last row with the first: the image is no torus here; leave that pair out.": wrapped,
            "Half is missing: differences down AND across.": (
                lambda images: _differences(images)[0].square().mean((1, 2, 3))
            ),
            "Half is missing: differences across AND down.": (
                lambda images: _differences(images)[1].square().mean((1, 2, 3))
            ),
            "You averaged over the images too: each has its own, (N,).": each(lambda d: d.square().mean()),
            "Add the two means; do not average them.": each(lambda d: d.square().mean((1, 2, 3)) / 2),
        },
        hint="images[:, :, 1:] - images[:, :, :-1] are the differences down; take the mean of their squares.",
    )


# --- exercise 3 ----------------


def reference_clip_contribution(x: Tensor, gradient: Tensor, percentile: float) -> Tensor:
    """Image (C, H, W) with 0 for all pixels whose |Σ x · gradient| over colours is below the percentile."""
    return _kept(x, (x * gradient).sum(0).abs(), percentile)


def _kept(x: Tensor, weight: Tensor, percentile: float) -> Tensor:
    return x * (weight >= torch.quantile(weight, percentile / 100))


def check_clip_contribution(student: Callable[[Tensor, Tensor, float], Tensor]) -> None:
    """Exercise 3: clipping pixels of small contribution."""
    run(
        student,
        [
            (_normal(2, 2, 3, seed=3), _normal(2, 2, 3, seed=53), 50.0),
            (_normal(3, 5, 5, seed=0), _normal(3, 5, 5, seed=1), 90.0),
            (_normal(3, 4, 6, seed=2), _normal(3, 4, 6, seed=3), 30.0),
        ],
        reference_clip_contribution,
        passed="pixels that hardly matter are 0, the others as they were",
        mistakes={
            "You took absolute values before the sum: the colours of a pixel may cancel. Sum over the colours first.": (
                lambda x, g, p: _kept(x, (x * g).abs().sum(0), p)
            ),
            "You left out the absolute value: a pixel that works against the class contributes too.": (
                lambda x, g, p: _kept(x, (x * g).sum(0), p)
            ),
            "That clips small pixels: the contribution needs the gradient, |Σ x · gradient|.": (
                lambda x, g, p: _kept(x, x.norm(dim=0), p)
            ),
            "That clips small gradients: the contribution is |Σ x · gradient|.": (
                lambda x, g, p: _kept(x, g.norm(dim=0), p)
            ),
            "You cleared the pixels that matter MOST and kept the others.": (
                lambda x, g, p: x - _kept(x, (x * g).sum(0).abs(), p)
            ),
            "You clipped each colour on its own: a pixel stays or goes as a whole.": (
                lambda x, g, p: x * ((x * g).abs() >= torch.quantile((x * g).abs(), p / 100))
            ),
            "`percentile` lies between 0 and 100; torch.quantile wants a share: divide by 100.": (
                lambda x, g, p: _kept(x, (x * g).sum(0).abs(), 100.0)
            ),
        },
        hint="One number for each pixel, |Σ over colours of x · gradient|; 0 where it is below its percentile.",
    )


# --- exercise 4 ----------------


def reference_dream_step(
    gradient: Callable[[Tensor], Tensor], picture: Tensor, down: int, right: int, rate: float
) -> Tensor:
    """The picture (3, H, W) one step on: shifted, differentiated, shifted back, over the mean |gradient|, in [0, 1]."""
    towards = _towards(gradient, picture, down, right)
    return (picture + rate * towards / towards.abs().mean()).clamp(0, 1)


def _towards(gradient: Callable[[Tensor], Tensor], picture: Tensor, down: int, right: int) -> Tensor:
    return gradient(picture.roll((down, right), (1, 2))).roll((-down, -right), (1, 2))


def check_dream_step(
    student: Callable[[Callable[[Tensor], Tensor], Tensor, int, int, float], Tensor],
) -> None:
    """Exercise 4: one jittered, normalised step."""

    def slope(size: tuple[int, int], seed: int) -> Callable[[Tensor], Tensor]:
        w = _normal(3, *size, seed=seed)  # tied to places, so that a shift changes the gradient
        return lambda picture: w * (1 + picture)

    def step(picture: Tensor, towards: Tensor, rate: float) -> Tensor:
        return (picture + rate * towards / towards.abs().mean()).clamp(0, 1)

    run(
        student,
        [
            (slope((4, 4), 0), _uniform(3, 4, 4, seed=10), 1, 0, 0.02),
            (slope((5, 6), 1), _uniform(3, 5, 6, seed=11), 2, -1, 0.1),
            (slope((6, 4), 2), _uniform(3, 6, 4, seed=12), -1, 3, 0.3),
        ],
        reference_dream_step,
        passed="a step of the wanted size, and the picture has not moved",
        mistakes={
            "The gradient still stands where the shifted picture was: shift it back by (−down, −right).": (
                lambda f, x, d, r, a: step(x, f(x.roll((d, r), (1, 2))), a)
            ),
            "You did not shift: the network sees the picture moved by (down, right).": (
                lambda f, x, d, r, a: step(x, f(x), a)
            ),
            "down and right are exchanged: axis 1 goes down, axis 2 to the right.": (
                lambda f, x, d, r, a: step(x, _towards(f, x, r, d), a)
            ),
            "You shifted the other way first: picture.roll((down, right), (1, 2)), and back with minus.": (
                lambda f, x, d, r, a: step(x, _towards(f, x, -d, -r), a)
            ),
            "The step is not normalised: divide the gradient by the mean of its absolute values.": (
                lambda f, x, d, r, a: (x + a * _towards(f, x, d, r)).clamp(0, 1)
            ),
            "You divided by the largest value: one pixel would decide on the size of the step. Divide by the mean of "
            "the absolute values.": lambda f, x, d, r, a: (
                x + a * _towards(f, x, d, r) / _towards(f, x, d, r).abs().max()
            ).clamp(0, 1),
            "You divided by the mean itself: positive and negative values cancel. Absolute values first.": (
                lambda f, x, d, r, a: (x + a * _towards(f, x, d, r) / _towards(f, x, d, r).mean()).clamp(0, 1)
            ),
            "You kept only the sign: the step goes along the gradient.": (
                lambda f, x, d, r, a: (x + a * _towards(f, x, d, r).sign()).clamp(0, 1)
            ),
            "You went downhill: a dream climbs.": lambda f, x, d, r, a: step(x, -_towards(f, x, d, r), a),
            "Colours left [0, 1]: clamp at the end.": (
                lambda f, x, d, r, a: x + a * _towards(f, x, d, r) / _towards(f, x, d, r).abs().mean()
            ),
        },
        hint="roll, gradient, roll back, divide by its mean absolute value, add `rate` times that, clamp to [0, 1].",
    )
