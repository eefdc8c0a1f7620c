"""Checks of lecture 09's exercises; each takes the student's function.

- `check_best_guess`      the picture with the least expected squared error, and that error
- `check_feature_error`   squared errors of features, each layer by its own norm
- `check_climb`           one step in the space of codes, and back into their range
- `check_expected`        a prediction, in the words that were asked
- `reference_…`           the reference solutions
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from .core import WrongAnswer, compare, exercise, run

__all__ = [
    "check_best_guess",
    "check_climb",
    "check_expected",
    "check_feature_error",
    "reference_best_guess",
    "reference_climb",
    "reference_expected",
    "reference_feature_error",
]


def _normal(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def _uniform(*shape: int, seed: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


# --- exercise 1 ----------------


def reference_best_guess(pictures: Tensor, chances: Tensor) -> tuple[Tensor, Tensor]:
    """The least expected squared error among pictures (K, 3, H, W) with chances (K,): the picture, and the error."""
    guess = (chances[:, None, None, None] * pictures).sum(0)
    return guess, (chances * (pictures - guess).square().mean((1, 2, 3))).sum()


def check_best_guess(student: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]) -> None:
    """Exercise 1: the mean minimises the expected squared error."""

    @exercise(
        "under squared error the mean of all that may have been is the best guess, and its error their variance"
    )
    def check(guarded: Callable[..., tuple[Tensor, Tensor]]) -> None:
        for number, (pictures, chances) in enumerate(
            (
                (torch.tensor([0.0, 1.0]).view(2, 1, 1, 1).expand(2, 3, 1, 1), torch.tensor([0.25, 0.75])),
                (_uniform(5, 3, 4, 6, seed=0), torch.tensor([0.1, 0.4, 0.2, 0.05, 0.25])),
            ),
            start=1,
        ):
            result = guarded(pictures.clone(), chances.clone())
            if not isinstance(result, tuple) or len(result) != 2:
                raise WrongAnswer(
                    "Return two things: the picture (3, H, W) and its expected error, a number."
                )
            guess, error = reference_best_guess(pictures, chances)
            likely = pictures[int(chances.argmax())]
            gaps = (pictures - guess).square()
            compare(
                result[0],
                guess,
                what=f"case {number}: your picture",
                mistakes={
                    "The chances differ: weigh each picture with its own.": pictures.mean(0),
                    "That is the most likely picture: sharp, but it pays more squared error than the mean.": likely,
                    "The median is best for the ABSOLUTE error: for the squared one it is the mean.": (
                        pictures.median(0).values
                    ),
                    "The chances add up to 1 already: do not divide by their number again.": guess
                    / len(chances),
                },
                hint="Set the derivative of Σ p (x − g)² to zero: g is the mean of the pictures, weighted by chances.",
            )
            compare(
                torch.as_tensor(result[1]),
                error,
                what=f"case {number}: your error",
                mistakes={
                    "Take the mean over colours and pixels, not the sum.": (
                        chances * gaps.sum((1, 2, 3))
                    ).sum(),
                    "Weigh the errors, too, with the chances.": gaps.mean(),
                    "That is its square root: the squared error is asked.": error.sqrt(),
                    "That is the error of the most likely picture, not of the mean.": (
                        (chances * (pictures - likely).square().mean((1, 2, 3))).sum()
                    ),
                    "Square each difference first, then take the mean: differences cancel.": torch.tensor(
                        0.0
                    ),
                },
                hint="Σ p · mean (x − g)², over colours and pixels.",
            )

    check(student)


# --- exercise 2 ----------------


def reference_feature_error(made: Sequence[Tensor], wanted: Sequence[Tensor]) -> Tensor:
    """Mean over layers of ‖made − wanted‖² / ‖wanted‖², for two lists of (N, …): (N,)."""
    errors = [
        (a - b).flatten(1).square().sum(1) / b.flatten(1).square().sum(1)
        for a, b in zip(made, wanted, strict=True)
    ]
    return torch.stack(errors).mean(0)


def check_feature_error(student: Callable[[list[Tensor], list[Tensor]], Tensor]) -> None:
    """Exercise 2: the relative squared error of features."""

    def each(
        made: Sequence[Tensor], wanted: Sequence[Tensor], rule: Callable[[Tensor, Tensor], Tensor]
    ) -> Tensor:
        """The mean over layers of a rule for (N, numbers)."""
        return torch.stack(
            [rule(a.flatten(1), b.flatten(1)) for a, b in zip(made, wanted, strict=True)]
        ).mean(0)

    def square(v: Tensor) -> Tensor:
        return v.square().sum(1)

    def lists(*shapes: tuple[int, ...], seed: int) -> list[Tensor]:
        # layers of very different size, as those of a network are
        return [10.0**k * _normal(*shape, seed=seed + k).relu() for k, shape in enumerate(shapes)]

    shapes = (3, 2, 4, 4), (3, 5, 2, 2), (3, 7)
    run(
        student,
        [
            ([torch.tensor([[1.0, 2.0]])], [torch.tensor([[2.0, 0.0]])]),
            (lists(*shapes, seed=0), lists(*shapes, seed=10)),
        ],
        reference_feature_error,
        passed="every layer and every image counts alike, whatever the size of its numbers",
        mistakes={
            "Divide each layer by its own norm, or the layer with the largest numbers decides alone.": (
                lambda made, wanted: each(made, wanted, lambda a, b: square(a - b))
            ),
            "Divide by the norm of the WANTED features, not of the made ones: else a loud picture looks good.": (
                lambda made, wanted: each(made, wanted, lambda a, b: square(a - b) / square(a))
            ),
            "Take the mean over layers, not the sum.": (
                lambda made, wanted: len(made) * reference_feature_error(made, wanted)
            ),
            "Divide by the SQUARED norm.": (
                lambda made, wanted: each(made, wanted, lambda a, b: square(a - b) / b.norm(dim=1))
            ),
            "Square: ‖a − b‖² / ‖b‖², not ‖a − b‖ / ‖b‖.": (
                lambda made, wanted: each(made, wanted, lambda a, b: (a - b).norm(dim=1) / b.norm(dim=1))
            ),
            "Each image has a norm of its own: do not mix the images of a batch.": (
                lambda made, wanted: each(made, wanted, lambda a, b: square(a - b) / b.square().sum())
            ),
        },
        hint="For each layer: flatten behind the first axis, sum the squared differences, divide; then the mean.",
    )


# --- exercise 3 ----------------


def reference_climb(
    codes: Tensor, gradient: Tensor, length: float, decay: float, mean: Tensor, std: Tensor, sigmas: float
) -> Tensor:
    """Codes (N, units) after a step of `length` along their gradients, decay, and a cut to [0, mean + sigmas · std]."""
    moved = (codes + length * gradient / gradient.norm(dim=1, keepdim=True)) * (1 - decay)
    return moved.clamp(min=0).minimum(mean + sigmas * std)


def check_climb(student: Callable[..., Tensor]) -> None:
    """Exercise 3: one step of the ascent in the space of codes."""

    def cut(moved: Tensor, mean: Tensor, std: Tensor, sigmas: float) -> Tensor:
        return moved.clamp(min=0).minimum(mean + sigmas * std)

    def unit(g: Tensor) -> Tensor:
        return g / g.norm(dim=1, keepdim=True)

    def case(n: int, units: int, seed: int) -> tuple[Tensor, Tensor, float, float, Tensor, Tensor, float]:
        mean, std = _uniform(units, seed=seed), 0.1 + 0.3 * _uniform(units, seed=seed + 1)
        codes = 1.5 * _uniform(n, units, seed=seed + 2)
        return codes, 5 * _normal(n, units, seed=seed + 3), 1.5, 0.1, mean, std, 2.0

    run(
        student,
        [
            (
                torch.tensor([[1.0, 1.0]]),
                torch.tensor([[3.0, 4.0]]),
                1.0,
                0.0,
                torch.tensor([1.0, 1.0]),
                torch.tensor([0.1, 0.5]),
                3.0,
            ),
            case(3, 12, 0),
        ],
        reference_climb,
        passed="up the gradient by a fixed length, a little shrunk, and nothing outside the range of real codes",
        mistakes={
            "You went down: the class is to like the picture MORE.": (
                lambda c, g, n, d, m, s, k: cut((c - n * unit(g)) * (1 - d), m, s, k)
            ),
            "Divide the gradient by its length, or the size of the step depends on the network.": (
                lambda c, g, n, d, m, s, k: cut((c + n * g) * (1 - d), m, s, k)
            ),
            "Each code has a gradient of its own: divide each by its own length, not all by one.": (
                lambda c, g, n, d, m, s, k: cut((c + n * g / g.norm()) * (1 - d), m, s, k)
            ),
            "A step of a given length, not the sign of each unit: that is the attack of lecture 06.": (
                lambda c, g, n, d, m, s, k: cut((c + n * g.sign()) * (1 - d), m, s, k)
            ),
            "Codes come out of a ReLU: none is below 0.": (
                lambda c, g, n, d, m, s, k: ((c + n * unit(g)) * (1 - d)).minimum(m + k * s)
            ),
            "The upper end is missing: mean + sigmas · std, unit by unit.": (
                lambda c, g, n, d, m, s, k: ((c + n * unit(g)) * (1 - d)).clamp(min=0)
            ),
            "The lower end is 0, not mean − sigmas · std.": (
                lambda c, g, n, d, m, s, k: (
                    ((c + n * unit(g)) * (1 - d)).maximum(m - k * s).minimum(m + k * s)
                )
            ),
            "The range is σ wide for ONE sigma: multiply std by `sigmas`.": (
                lambda c, g, n, d, m, s, k: cut((c + n * unit(g)) * (1 - d), m, s, 1.0)
            ),
            "The decay is missing: multiply by 1 − decay after the step.": (
                lambda c, g, n, d, m, s, k: cut(c + n * unit(g), m, s, k)
            ),
            "Let the code shrink AFTER the step, the step with it.": (
                lambda c, g, n, d, m, s, k: cut(c * (1 - d) + n * unit(g), m, s, k)
            ),
            "You multiplied by `decay`: that is the share that is LOST.": (
                lambda c, g, n, d, m, s, k: cut((c + n * unit(g)) * d, m, s, k)
            ),
            "Cut last: here the decay comes after the cut.": (
                lambda c, g, n, d, m, s, k: cut(c + n * unit(g), m, s, k) * (1 - d)
            ),
        },
        hint="codes + length · gradient / ‖gradient‖, times 1 − decay; cut at 0 and at mean + sigmas · std.",
    )


# --- exercise 4 ----------------

WORDS = {"logit": ("higher", "same", "lower"), "distance": ("nearer", "same", "further")}


def reference_expected() -> dict[str, str]:
    """A prediction; any other words of `WORDS` pass too."""
    return {"logit": "higher", "distance": "further"}


def check_expected(student: Callable[[], dict[str, str]]) -> None:
    """Exercise 4: a prediction in the words that were asked; right or wrong, the next cell tells."""

    @exercise("you have committed yourself; the next cells tell whether it comes out so")
    def check(guarded: Callable[[], dict[str, str]]) -> None:
        result = guarded()
        if not isinstance(result, dict) or set(result) != set(WORDS):
            raise WrongAnswer(f"Return a dictionary with the keys {' and '.join(map(repr, WORDS))}.")
        for key, words in WORDS.items():
            if result[key] not in words:
                raise WrongAnswer(
                    f"For {key!r} choose one of {', '.join(map(repr, words))}, not {result[key]!r}."
                )

    check(student)
