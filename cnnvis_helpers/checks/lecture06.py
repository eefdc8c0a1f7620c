"""Checks of lecture 06's exercises; each takes the student's function.

- `check_fgsm_step`   one step of ε along the sign of the gradient
- `check_project`     back into the ε-ball and into [0, 1]
- `check_roulette`    a string for each turn of the wheel
- `check_replace`     which elites MAP-Elites replaces
- `reference_…`       the reference solutions
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from .core import run

__all__ = [
    "check_fgsm_step",
    "check_project",
    "check_replace",
    "check_roulette",
    "reference_fgsm_step",
    "reference_project",
    "reference_replace",
    "reference_roulette",
]


def _normal(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def _uniform(*shape: int, seed: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


# --- exercise 1 ----------------


def reference_fgsm_step(images: Tensor, gradient: Tensor, epsilon: float) -> Tensor:
    """Images (N, 3, H, W) one step of ε up the loss, in [0, 1]; `gradient` is that of the loss."""
    return (images + epsilon * gradient.sign()).clamp(0, 1)


def check_fgsm_step(student: Callable[[Tensor, Tensor, float], Tensor]) -> None:
    """Exercise 1: the fast gradient sign method."""
    still = _normal(1, 3, 2, 2, seed=1)
    still[0, 0] = 0.0  # no gradient here: these values stay
    run(
        student,
        [
            (0.3 + 0.4 * _uniform(1, 3, 2, 2, seed=0), still, 0.1),
            (_uniform(2, 3, 4, 5, seed=2), 5 * _normal(2, 3, 4, 5, seed=3), 0.3),
            (_uniform(3, 3, 4, 4, seed=4), 0.01 * _normal(3, 3, 4, 4, seed=5), 0.05),
        ],
        reference_fgsm_step,
        passed="every value moves by ε up the loss, and none leaves [0, 1]",
        mistakes={
            "You went down: the loss of the true class is to RISE, so add.": (
                lambda x, g, e: (x - e * g.sign()).clamp(0, 1)
            ),
            "You stepped along the gradient itself: the bound is on every value, and the best step uses all of ε at "
            "each. Take the sign.": lambda x, g, e: (x + e * g).clamp(0, 1),
            "You scaled the gradient to length ε: that is the best step for a bound on the length. Here the bound is "
            "on every value: take the sign.": lambda x, g, e: (x + e * _unit(g)).clamp(0, 1),
            "You divided by the largest value: only that one moves by ε. Take the sign.": (
                lambda x, g, e: (x + e * g / g.abs().amax((1, 2, 3), keepdim=True)).clamp(0, 1)
            ),
            "Colours left [0, 1]: such an image cannot be shown. Clamp at the end.": lambda x, g, e: (
                x + e * g.sign()
            ),
            "Where the gradient is 0 its sign is 0, and the value stays: take torch.sign, not a comparison with > 0.": (
                lambda x, g, e: (x + e * torch.where(g > 0, 1.0, -1.0)).clamp(0, 1)
            ),
            "Where the gradient is 0 the value stays: torch.sign, not a comparison with ≥ 0.": (
                lambda x, g, e: (x + e * torch.where(g >= 0, 1.0, -1.0)).clamp(0, 1)
            ),
            "ε is a share of the colour range already: do not divide by 255 again.": (
                lambda x, g, e: (x + e / 255 * g.sign()).clamp(0, 1)
            ),
        },
        hint="images + epsilon * gradient.sign(), clamped to [0, 1].",
    )


def _unit(g: Tensor) -> Tensor:
    return g / g.flatten(1).norm(dim=1)[:, None, None, None]


# --- exercise 2 ----------------


def reference_project(changed: Tensor, images: Tensor, epsilon: float) -> Tensor:
    """The nearest images to `changed` (N, 3, H, W) within ε of `images` in every value, and within [0, 1]."""
    return torch.minimum(torch.maximum(changed, images - epsilon), images + epsilon).clamp(0, 1)


def check_project(student: Callable[[Tensor, Tensor, float], Tensor]) -> None:
    """Exercise 2: projection into the ε-ball and into the colours."""

    def scaled(changed: Tensor, images: Tensor, epsilon: float) -> Tensor:
        """Shrink the whole change until its largest value is ε."""
        change = changed - images
        most = change.flatten(1).abs().amax(1).clamp(min=epsilon)[:, None, None, None]
        return (images + change * epsilon / most).clamp(0, 1)

    def by_length(changed: Tensor, images: Tensor, epsilon: float) -> Tensor:
        change = changed - images
        length = change.flatten(1).norm(dim=1).clamp(min=epsilon)[:, None, None, None]
        return (images + change * epsilon / length).clamp(0, 1)

    run(
        student,
        [
            (
                torch.tensor([0.5, 0.56, 0.9, 0.1]).view(1, 1, 2, 2),
                torch.tensor([0.5, 0.5, 0.5, 0.5]).view(1, 1, 2, 2),
                0.1,
            ),
            (_uniform(2, 3, 4, 5, seed=0) * 1.6 - 0.3, _uniform(2, 3, 4, 5, seed=1), 0.2),
            (_uniform(3, 3, 4, 4, seed=2) * 1.2 - 0.1, _uniform(3, 3, 4, 4, seed=3), 0.05),
        ],
        reference_project,
        passed="nothing further than ε from where it was, nothing outside [0, 1], and the rest untouched",
        mistakes={
            "Colours left [0, 1]: the ball of an almost black pixel reaches below 0.": (
                lambda c, x, e: torch.minimum(torch.maximum(c, x - e), x + e)
            ),
            "You held the colours only: no value may be further than ε from the ORIGINAL.": lambda c, x, e: (
                c.clamp(0, 1)
            ),
            "That is the change, not the image: add it to the original, and clamp to [0, 1].": (
                lambda c, x, e: (c - x).clamp(-e, e)
            ),
            "You shrank the whole change: the bound is on each value, so those that keep to it stay.": scaled,
            "You shrank the change to length ε: that is the L2 ball. Here each value has its own bound.": by_length,
            "You moved every value to the rim of the ball: those inside it stay.": (
                lambda c, x, e: (x + e * (c - x).sign()).clamp(0, 1)
            ),
            "Only the upper bound is held: the lower one is images − ε.": (
                lambda c, x, e: torch.minimum(c, x + e).clamp(0, 1)
            ),
            "Only the lower bound is held: the upper one is images + ε.": (
                lambda c, x, e: torch.maximum(c, x - e).clamp(0, 1)
            ),
        },
        hint="Cut `changed` below at images − ε and above at images + ε, then clamp to [0, 1].",
    )


# --- exercise 3 ----------------


def reference_roulette(fitness: Tensor, turns: Tensor) -> Tensor:
    """The string (M,) at which the wheel stops after each of `turns` (M,) in [0, 1), for fitness (N,)."""
    ends = fitness.double().cumsum(0) / fitness.sum()
    return torch.searchsorted(ends, turns.double(), right=True)


def check_roulette(student: Callable[[Tensor, Tensor], Tensor]) -> None:
    """Exercise 3: roulette selection, with the turns of the wheel given."""
    lecture = torch.tensor([7.0, 5.0, 7.0, 4.0, 8.0, 3.0])

    def wheel(weights: Tensor, turns: Tensor, right: bool = True) -> Tensor:
        ends = weights.double().cumsum(0) / weights.double().sum()
        return torch.searchsorted(ends, turns.double(), right=right).clamp(max=len(weights) - 1)

    run(
        student,
        [
            (torch.tensor([1.0, 2.0, 1.0]), torch.tensor([0.1, 0.3, 0.7, 0.9])),
            (lecture, torch.tensor([0.02, 0.22, 0.36, 0.5, 0.68, 0.7, 0.9, 0.95])),
            (torch.tensor([3.0, 0.0, 1.0, 4.0]), torch.tensor([0.0, 0.2, 0.45, 0.8, 0.99])),
            (8 * _uniform(9, seed=0), _uniform(40, seed=1)),
        ],
        reference_roulette,
        passed="each string has a sector as wide as its share of the fitness",
        mistakes={
            "Every string got the same sector: its width is its share of the total FITNESS.": (
                lambda f, t: wheel(torch.ones_like(f), t)
            ),
            "You took the fittest each time: that is no wheel, and the others never have a child.": (
                lambda f, t: f.argmax().expand(len(t)).clone()
            ),
            "You number from 1: the first string is number 0.": lambda f, t: wheel(f, t) + 1,
            "You are one too low: a string's sector ENDS at its running sum, and begins at the one before.": (
                lambda f, t: wheel(f, t) - 1
            ),
            "You sorted the strings: the numbers returned are those of the population as it came.": (
                lambda f, t: wheel(f.sort(descending=True).values, t)
            ),
            "You squared the shares, or took them twice.": lambda f, t: wheel(f.square(), t),
            "A sector holds its beginning but not its end: with turn 0 and a share of 0 this matters.": (
                lambda f, t: wheel(f, t, right=False)
            ),
            "You compared the turns with running sums of fitness that go up to Σ f, not to 1.": (
                lambda f, t: torch.searchsorted(f.double().cumsum(0), t.double(), right=True)
            ),
        },
        hint="The running sums of the shares are the ends of the sectors; count how many of them are ≤ the turn.",
    )


# --- exercise 4 ----------------


def reference_replace(fitness: Tensor, scores: Tensor) -> Tensor:
    """For fitness (C,) of the elites and scores (N, C) of children: the child that replaces each elite, or −1, (C,)."""
    best, child = scores.max(0)
    return torch.where(best > fitness, child, -1)


def check_replace(student: Callable[[Tensor, Tensor], Tensor]) -> None:
    """Exercise 4: the replacement rule of MAP-Elites."""

    def last_wins(fitness: Tensor, scores: Tensor) -> Tensor:
        """Each child is compared with the old elite, not with the children before it."""
        found = torch.full_like(fitness, -1, dtype=torch.long)
        for child, score in enumerate(scores):
            found[score > fitness] = child
        return found

    def own_class_only(fitness: Tensor, scores: Tensor) -> Tensor:
        """A child competes only in the class that it is most probable for."""
        top = scores.argmax(1, keepdim=True)
        return reference_replace(fitness, torch.zeros_like(scores).scatter(1, top, scores.gather(1, top)))

    def overall(fitness: Tensor, scores: Tensor) -> Tensor:
        """The one best child of all competes everywhere, and no other."""
        row = int(scores.amax(1).argmax())
        return torch.where(scores[row] > fitness, row, -1)

    def worst(fitness: Tensor, scores: Tensor) -> Tensor:
        low, child = scores.min(0)
        return torch.where(low < fitness, child, -1)

    def case(classes: int, count: int, seed: int) -> tuple[Tensor, Tensor]:
        return 0.7 * _uniform(classes, seed=seed), (2 * _normal(count, classes, seed=seed + 1)).softmax(1)

    run(
        student,
        [
            (torch.tensor([0.5, 0.3, 0.1]), torch.tensor([[0.7, 0.2, 0.1], [0.6, 0.2, 0.2]])),
            case(4, 12, 20),
            case(6, 30, 30),
        ],
        reference_replace,
        passed="each class keeps the best it has ever seen, whoever it was made for",
        mistakes={
            "You compared each child with the OLD elite, so the last better child wins, not the best.": last_wins,
            "A child competed only in its own most probable class: it takes the place of EVERY elite that it beats. "
            "What was found on the way to one class serves another.": own_class_only,
            "You replaced elites by worse children: an elite gives way only to a better one.": (
                lambda fitness, scores: scores.argmax(0)
            ),
            "You let only the one best child of all compete: each class has a best child of its own.": overall,
            "You kept the children that are WORSE.": worst,
            "Equal is not better: where no child is above the elite, it stays, and the answer is −1.": (
                lambda fitness, scores: torch.where(scores.amax(0) > fitness, scores.argmax(0), 0)
            ),
            "That says which elites are replaced, but not by which child.": (
                lambda fitness, scores: (scores.amax(0) > fitness).long()
            ),
        },
        hint="scores.max(0) gives the best score of each class and its child; −1 where that is not above the fitness.",
    )
