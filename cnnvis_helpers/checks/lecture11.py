"""Checks of lecture 11's exercises; each takes the student's function.

- `check_guess`       a prediction: three shares, given before the answer is seen
- `predicted`         the prediction as text, to stand beside what was measured
- `check_match`       the place whose features are most like those of a keypoint
- `check_pck`         percentage of correct keypoints, pair by pair
- `check_wilson`      Wilson's interval of a share
- `check_change`      a change of accuracy, scene by scene, with its bootstrap interval
- `reference_…`       the reference solutions
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from .core import exercise, run

__all__ = [
    "PARTS",
    "check_change",
    "check_guess",
    "check_match",
    "check_pck",
    "check_wilson",
    "predicted",
    "reference_change",
    "reference_guess",
    "reference_match",
    "reference_pck",
    "reference_wilson",
]

Pair = tuple[float, float]
PARTS = ("eye", "wheel", "tail tip")


def _normal(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


# --- exercise 1 ----------------


def reference_guess() -> dict[str, float]:
    """One prediction; any three shares pass."""
    return {"eye": 0.5, "wheel": 0.7, "tail tip": 0.3}


@exercise("your prediction stands; now look")
def check_guess(student: Callable[[], Mapping[str, float]]) -> None:
    """Exercise 1: a prediction is three shares between 0 and 1; whether it is right the next cell shows."""
    guess = student()
    assert isinstance(guess, Mapping) and set(guess) == set(PARTS), (
        f"Return a dictionary with a share for each of {', '.join(map(repr, PARTS))}, and nothing else."
    )
    for name, share in guess.items():
        number = isinstance(share, int | float) and not isinstance(share, bool)
        assert number and not math.isnan(share), f"The share of {name!r} is a number, not {share!r}."
        assert not 1 < share <= 100, (
            f"{share} for {name!r} looks like a percentage: a share lies between 0 and 1, so write {share / 100:g}."
        )
        assert 0 <= share <= 1, f"A share lies between 0 and 1; {share} for {name!r} does not."


def predicted(student: Callable[[], Mapping[str, float]], part: str) -> str:
    """The prediction for a part as text; a stub has made none."""
    try:
        guess = student()
    except NotImplementedError:
        guess = None
    said = isinstance(guess, Mapping) and isinstance(guess.get(part), int | float)
    return f"you said {guess[part]:.0%}" if said and guess is not None else "you made no prediction"


# --- exercise 2 ----------------


def reference_match(query: Tensor, features: Tensor, first: Pair, stride: Pair) -> Tensor:
    """For query (C,) and features (C, h, w): x and y, in pixels, of the unit with the largest cosine, (2,).

    first: y and x of the unit in the upper left corner; stride: pixels from unit to unit, down and across.
    """
    cosines = functional.cosine_similarity(query[:, None, None], features, dim=0)
    row, column = divmod(int(cosines.argmax()), features.shape[2])
    return torch.tensor([first[1] + stride[1] * column, first[0] + stride[0] * row])


def check_match(student: Callable[[Tensor, Tensor, Pair, Pair], Tensor]) -> None:
    """Exercise 2: the nearest neighbour of a vector in a map of features, as a place in the image."""

    def best(score: Tensor, first: Pair, stride: Pair, swapped: bool = False) -> Tensor:
        row, column = divmod(int(score.argmax()), score.shape[1])
        place = [first[1] + stride[1] * column, first[0] + stride[0] * row]
        return torch.tensor(place[::-1] if swapped else place)

    def cosines(query: Tensor, features: Tensor) -> Tensor:
        return functional.cosine_similarity(query[:, None, None], features, dim=0)

    def product(query: Tensor, features: Tensor) -> Tensor:
        return (query[:, None, None] * features).sum(0)

    def case(channels: int, rows: int, columns: int, seed: int, first: Pair, stride: Pair) -> tuple[Any, ...]:
        """One unit has the query's direction, but is short; another one is long and only roughly alike."""
        features = _normal(channels, rows, columns, seed=seed)
        query = features[:, rows - 1, 1].clone()
        features[:, rows - 1, 1] *= 0.2
        features[:, 0, columns - 1] = 4 * query + 5 * _normal(channels, seed=seed + 1)
        features[:, 1, 0] = 0.8 * query + 0.2 * _normal(channels, seed=seed + 2)
        return query, features, first, stride

    run(
        student,
        [
            case(8, 4, 6, 0, (0.5, 0.5), (8.0, 8.0)),
            case(12, 5, 7, 10, (2.5, 1.5), (4.0, 2.0)),
            case(16, 6, 5, 20, (4.5, 0.5), (8.0, 4.0)),
        ],
        reference_match,
        passed="the place that is most like it, in pixels",
        mistakes={
            "You compared by the plain product: a unit that is loud everywhere wins. Divide by both lengths.": (
                lambda q, f, a, s: best(product(q, f), a, s)
            ),
            "You compared by distance: a unit of the same direction that answers more weakly is far away then. Take "
            "the cosine.": lambda q, f, a, s: best(-(f - q[:, None, None]).norm(dim=0), a, s),
            "x and y are exchanged: x comes first, and it counts columns.": (
                lambda q, f, a, s: best(cosines(q, f), a, s, swapped=True)
            ),
            "That is the number of the unit, not a place in the image: times the stride, plus where the first unit "
            "stands.": lambda q, f, a, s: best(cosines(q, f), (0.0, 0.0), (1.0, 1.0)),
            "You left out where the first unit stands.": (
                lambda q, f, a, s: best(cosines(q, f), (0.0, 0.0), s)
            ),
            "You exchanged the two strides, or the two starts: both come as (down, across).": (
                lambda q, f, a, s: best(cosines(q, f), a[::-1], s[::-1])
            ),
            "You took the place that is LEAST like it.": lambda q, f, a, s: best(-cosines(q, f), a, s),
        },
        hint="Cosine along the channels, argmax, row and column from it, then first + stride · number; x before y.",
    )


# --- exercise 3 ----------------


def reference_pck(found: Tensor, targets: Tensor, radius: Tensor, pair: Tensor) -> Tensor:
    """Share of the keypoints found, of each pair, then the mean over pairs: a number.

    found (K, 2); targets (K, T, 2), with NaN where a keypoint has fewer than T; radius (K,); pair (K,), from 0 without
    gaps.
    """
    right = ((targets - found[:, None]).norm(dim=2) <= radius[:, None]).any(1).double()
    return torch.stack([right[pair == p].mean() for p in range(int(pair.max()) + 1)]).mean()


def check_pck(student: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]) -> None:
    """Exercise 3: the percentage of correct keypoints, at a radius for each."""

    def hits(found: Tensor, targets: Tensor, radius: Tensor) -> Tensor:
        return (targets - found[:, None]).norm(dim=2) <= radius[:, None]

    def over_pairs(right: Tensor, pair: Tensor) -> Tensor:
        return torch.stack([right[pair == p].double().mean() for p in range(int(pair.max()) + 1)]).mean()

    def square(f: Tensor, t: Tensor, r: Tensor, p: Tensor) -> Tensor:
        return over_pairs(((t - f[:, None]).abs().amax(2) <= r[:, None]).any(1), p)

    def case(counts: tuple[int, ...], seed: int) -> tuple[Tensor, ...]:
        """Pairs of different counts; every third keypoint is there twice, and some are missed."""
        pair = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
        k = len(pair)
        targets = 48 + 20 * _normal(k, 2, 2, seed=seed)
        radius = 3 + torch.rand(k, generator=torch.Generator().manual_seed(seed + 1))
        angle, chosen = _normal(k, seed=seed + 2), torch.arange(k) % 2
        share = torch.tensor([0.5, 0.98, 1.6, 0.0, 1.15])[torch.arange(k) % 5]
        away = (share * radius)[:, None] * torch.stack([angle.cos(), angle.sin()], 1)
        found = targets[torch.arange(k), chosen] + away
        alone = torch.arange(k) % 3 != 0
        found[alone] = targets[alone, 0] + away[alone]
        targets[alone, 1] = math.nan
        return found, targets, radius, pair

    run(
        student,
        [
            (
                torch.tensor([[10.0, 10.0], [30.0, 30.0], [50.0, 53.0]]),
                torch.tensor([[[12.0, 10.0]], [[36.0, 30.0]], [[50.0, 50.0]]]),
                torch.tensor([4.0, 4.0, 3.5]),
                torch.tensor([0, 0, 1]),
            ),
            case((5, 1, 4, 1, 6), 30),
            case((2, 9, 1, 3, 12), 40),
        ],
        reference_pck,
        passed="each pair counts once, and either of two eyes will do",
        mistakes={
            "You took the share over all keypoints: then a pair with many keypoints counts for more. First each pair's "
            "share, then the mean.": lambda f, t, r, p: hits(f, t, r).any(1).double().mean(),
            "You compare with the first target only: where a part is there twice, either is right.": (
                lambda f, t, r, p: over_pairs(hits(f, t, r)[:, 0], p)
            ),
            "You ask that ALL targets be near: one of them is enough, and NaN is never near.": (
                lambda f, t, r, p: over_pairs(hits(f, t, r).all(1), p)
            ),
            "You counted the wrong ones.": lambda f, t, r, p: 1 - over_pairs(hits(f, t, r).any(1), p),
            "You measured x and y on their own: the distance is √(dx² + dy²).": square,
            "You gave the number found, not the share.": lambda f, t, r, p: (
                hits(f, t, r).any(1).double().sum()
            ),
            "You gave the mean of the pairs' numbers: each pair's SHARE is wanted.": lambda f, t, r, p: (
                hits(f, t, r).any(1).double().sum() / (p.max() + 1)
            ),
        },
        hint="Distance to each target, ≤ radius, any target; the mean of each pair, then the mean over pairs.",
    )


# --- exercise 4 ----------------


def reference_wilson(right: int, asked: int, z: float = 1.96) -> Tensor:
    """Wilson's interval of right / asked: low and high, (2,)."""
    share = right / asked
    middle = (share + z**2 / (2 * asked)) / (1 + z**2 / asked)
    half = z / (1 + z**2 / asked) * math.sqrt(share * (1 - share) / asked + z**2 / (4 * asked**2))
    return torch.tensor([middle - half, middle + half])


def check_wilson(student: Callable[[int, int, float], Tensor]) -> None:
    """Exercise 4: an interval that holds for few answers, and for shares near 0 and 1."""

    def usual(right: int, asked: int, z: float) -> Tensor:
        p = right / asked
        half = z * math.sqrt(p * (1 - p) / asked)
        return torch.tensor([p - half, p + half])

    def cut(right: int, asked: int, z: float) -> Tensor:
        return usual(right, asked, z).clamp(0, 1)

    def uncentred(right: int, asked: int, z: float) -> Tensor:
        low, high = reference_wilson(right, asked, z).tolist()
        p, half = right / asked, (high - low) / 2
        return torch.tensor([p - half, p + half])

    def without_last(right: int, asked: int, z: float) -> Tensor:
        low, high = reference_wilson(right, asked, z).tolist()
        p, middle = right / asked, (low + high) / 2
        half = z / (1 + z**2 / asked) * math.sqrt(p * (1 - p) / asked)
        return torch.tensor([middle - half, middle + half])

    run(
        student,
        [(19, 20, 1.96), (20, 20, 1.96), (0, 7, 1.96), (31, 48, 1.96), (31, 48, 2.576)],
        reference_wilson,
        passed="20 of 20 is not certainty: the interval begins at 84 %",
        mistakes={
            "That is the textbook interval p ± z·√(p(1 − p)/n): for 20 of 20 it has no width at all.": usual,
            "That is the textbook interval, cut at 0 and 1: for 20 of 20 it has no width at all.": cut,
            "The middle is not p itself: it is drawn towards one half.": uncentred,
            "Under the root z²/(4n²) is missing: it is what is left where p is 0 or 1.": without_last,
            "Low comes first, then high.": lambda k, n, z: reference_wilson(k, n, z).flip(0),
            "You gave percent: shares lie between 0 and 1.": lambda k, n, z: 100 * reference_wilson(k, n, z),
            "You did not use z: 1.96 is built in, and case 5 asks for 99 %.": (
                lambda k, n, z: reference_wilson(k, n)
            ),
        },
        hint="Middle (p + z²/2n)/(1 + z²/n); half-width z/(1 + z²/n) · √(p(1 − p)/n + z²/4n²).",
    )


# --- exercise 5 ----------------


def reference_change(before: Tensor, after: Tensor, draws: Tensor) -> Tensor:
    """The change of accuracy from before (N,) to after (N,), both bool, of the same scenes: mean, low, high (3,).

    draws (R, N): the numbers of the scenes in each of R samples with replacement; low and high: 2.5 and 97.5 %.
    """
    difference = after.double() - before.double()
    means = difference[draws].mean(1)
    low, high = means.quantile(torch.tensor([0.025, 0.975], dtype=torch.double))
    return torch.stack([difference.mean(), low, high])


def check_change(student: Callable[[Tensor, Tensor, Tensor], Tensor]) -> None:
    """Exercise 5: a paired difference with its bootstrap interval."""

    def summed(difference: Tensor, means: Tensor, ends: tuple[float, float] = (0.025, 0.975)) -> Tensor:
        return torch.stack([difference.mean(), *means.quantile(torch.tensor(ends, dtype=torch.double))])

    def paired(before: Tensor, after: Tensor, draws: Tensor, **ends: Any) -> Tensor:
        difference = after.double() - before.double()
        return summed(difference, difference[draws].mean(1), **ends)

    def unpaired(before: Tensor, after: Tensor, draws: Tensor) -> Tensor:
        means = after.double()[draws].mean(1) - before.double()[draws.flip(0)].mean(1)
        return summed(after.double() - before.double(), means)

    def extremes(before: Tensor, after: Tensor, draws: Tensor) -> Tensor:
        return paired(before, after, draws, ends=(0.0, 1.0))

    def of_scenes(before: Tensor, after: Tensor, draws: Tensor) -> Tensor:
        difference = after.double() - before.double()
        return summed(difference, difference)

    def case(count: int, resamples: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
        generator = torch.Generator().manual_seed(seed)
        before = torch.rand(count, generator=generator) < 0.8
        after = before & (torch.rand(count, generator=generator) < 0.7)
        after[:3] = True
        return before, after, torch.randint(count, (resamples, count), generator=generator)

    run(
        student,
        [case(10, 50, 0), case(60, 200, 1), case(100, 400, 2)],
        reference_change,
        passed="the same scenes are compared with themselves",
        mistakes={
            "The sign is wrong: after minus before, so that a loss is negative.": (
                lambda b, a, d: paired(a, b, d)
            ),
            "You drew the scenes of the two separately: a scene that is hard is hard in both. Take the difference of "
            "each scene first.": unpaired,
            "You took the smallest and the largest: leave 2.5 % out at either end.": extremes,
            "You left 5 % out at either end: that is a 90 % interval.": (
                lambda b, a, d: paired(b, a, d, ends=(0.05, 0.95))
            ),
            "Those are the quantiles of the single scenes: an interval of the MEAN needs the mean of each draw.": (
                of_scenes
            ),
            "The first number is the mean of your scenes themselves, not of the draws.": lambda b, a, d: (
                torch.cat([(a.double() - b.double())[d].mean()[None], reference_change(b, a, d)[1:]])
            ),
        },
        hint="after − before for each scene; the mean over each row of draws; the 2.5 % and 97.5 % quantiles of these.",
    )
