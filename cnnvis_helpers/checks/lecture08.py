"""Checks of lecture 08's exercises; each takes the student's function.

- `check_corrupt`         a share of the labels is dealt out at random
- `check_langevin_step`   one step of the search, held within the box
- `check_critical_ratio`  the share of images with a critical neighbour
- `check_order`           a prediction: which setting has learnt most by heart, beside what was measured
- `check_stop_at`         early stopping with patience
- `reference_…`           the reference solutions
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import combinations

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from cnnvis_helpers import memorisation

from .core import exercise, run

__all__ = [
    "EPOCH",
    "SETTINGS",
    "by_heart",
    "check_corrupt",
    "check_critical_ratio",
    "check_langevin_step",
    "check_order",
    "check_stop_at",
    "reference_corrupt",
    "reference_critical_ratio",
    "reference_langevin_step",
    "reference_order",
    "reference_stop_at",
]


def _normal(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def _uniform(*shape: int, seed: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def _classes(*shape: int, most: int, seed: int) -> Tensor:
    return torch.randint(most, shape, generator=torch.Generator().manual_seed(seed))


def _order(count: int, seed: int) -> Tensor:
    return torch.randperm(count, generator=torch.Generator().manual_seed(seed))


# --- exercise 1 ----------------


def reference_corrupt(labels: Tensor, order: Tensor, drawn: Tensor, share: float) -> Tensor:
    """Labels (N,) in which the first `share` of the images in `order` (N,) have the labels `drawn` (N,) for them."""
    chosen = order[: round(share * len(labels))]
    corrupted = labels.clone()
    corrupted[chosen] = drawn[chosen]
    return corrupted


def check_corrupt(student: Callable[[Tensor, Tensor, Tensor, float], Tensor]) -> None:
    """Exercise 1: a share of the labels, drawn at random."""

    def always_wrong(labels: Tensor, order: Tensor, drawn: Tensor, share: float) -> Tensor:
        """Those that are right by chance get the next class."""
        corrupted = reference_corrupt(labels, order, drawn, share)
        chosen = order[: round(share * len(labels))]
        again = corrupted[chosen] == labels[chosen]
        corrupted[chosen[again]] = (labels[chosen[again]] + 1) % (int(torch.cat([labels, drawn]).max()) + 1)
        return corrupted

    def shuffled(labels: Tensor, order: Tensor, drawn: Tensor, share: float) -> Tensor:
        """The chosen images swap labels among themselves."""
        chosen, corrupted = order[: round(share * len(labels))], labels.clone()
        corrupted[chosen] = labels[chosen.roll(1)]
        return corrupted

    def in_order(labels: Tensor, order: Tensor, drawn: Tensor, share: float) -> Tensor:
        """The first drawn labels go to the chosen images."""
        chosen, corrupted = order[: round(share * len(labels))], labels.clone()
        corrupted[chosen] = drawn[: len(chosen)]
        return corrupted

    def first_ones(labels: Tensor, order: Tensor, drawn: Tensor, share: float) -> Tensor:
        count = round(share * len(labels))
        return torch.cat([drawn[:count], labels[count:]])

    run(
        student,
        [
            (
                torch.tensor([0, 1, 2, 3, 0]),
                torch.tensor([3, 1, 4, 0, 2]),
                torch.tensor([1, 2, 1, 0, 0]),
                0.6,
            ),
            (_classes(40, most=4, seed=1), _order(40, 2), _classes(40, most=4, seed=3), 0.4),
            (_classes(30, most=3, seed=4), _order(30, 5), _classes(30, most=3, seed=6), 1.0),
            (_classes(20, most=4, seed=7), _order(20, 8), _classes(20, most=4, seed=9), 0.0),
        ],
        reference_corrupt,
        passed="the chosen images have the labels drawn for them, some right by chance, and the others their own",
        mistakes={
            "You made every chosen label wrong. Labels drawn evenly are right by chance, one in as many as there are "
            "classes; a label that is never right says something about the image.": always_wrong,
            "You shuffled the labels among the chosen images: use those that were drawn.": shuffled,
            "The drawn label of image i is drawn[i]; you handed out the first ones.": in_order,
            "You took the first images. Which ones get a new label is said by `order`; data may be sorted.": first_ones,
            "You gave every image a drawn label: only a share of them.": lambda y, o, d, s: d.clone(),
            "You corrupted the images that were to keep their labels.": (
                lambda y, o, d, s: reference_corrupt(y, o.flip(0), d, 1 - s)
            ),
            "Nothing is changed.": lambda y, o, d, s: y.clone(),
        },
        hint="chosen = order[: round(share * N)]; in a copy of the labels, those of `chosen` become drawn[chosen].",
    )


# --- exercise 2 ----------------


def reference_langevin_step(
    changed: Tensor, images: Tensor, gradient: Tensor, noise: Tensor, radius: float
) -> Tensor:
    """`changed` (N, 3, H, W) after a step of r/4 up the sign and noise of r/8, within r of `images` and in [0, 1]."""
    moved = changed + radius * (0.25 * gradient.sign() + 0.125 * noise)
    return torch.minimum(torch.maximum(moved, images - radius), images + radius).clamp(0, 1)


def check_langevin_step(student: Callable[[Tensor, Tensor, Tensor, Tensor, float], Tensor]) -> None:
    """Exercise 2: one step of the Langevin search."""
    Step = Callable[[Tensor, Tensor, Tensor, Tensor, float], Tensor]

    def held(move: Callable[[Tensor, Tensor, float], Tensor]) -> Step:
        """A step with another move, and the right projection."""

        def step(c: Tensor, x: Tensor, g: Tensor, n: Tensor, r: float) -> Tensor:
            return torch.minimum(torch.maximum(c + move(g, n, r), x - r), x + r).clamp(0, 1)

        return step

    def free(c: Tensor, x: Tensor, g: Tensor, n: Tensor, r: float) -> Tensor:
        return c + r * (0.25 * g.sign() + 0.125 * n)

    def case(shape: tuple[int, ...], radius: float, seed: int) -> tuple[Tensor, ...]:
        x = _uniform(*shape, seed=seed)
        changed = (x + radius * (2 * _uniform(*shape, seed=seed + 1) - 1)).clamp(0, 1)
        return changed, x, 3 * _normal(*shape, seed=seed + 2), _normal(*shape, seed=seed + 3), radius  # type: ignore[return-value]

    run(
        student,
        [case((1, 3, 2, 2), 0.1, 10), case((2, 3, 4, 5), 0.2, 20), case((3, 3, 4, 4), 0.05, 30)],
        reference_langevin_step,
        passed="up the slope, with noise, never further than r from the image, and always a picture",
        mistakes={
            "You went down: the gradient is that of what shall RISE, so add.": (
                held(lambda g, n, r: r * (-0.25 * g.sign() + 0.125 * n))
            ),
            "Take the sign of the gradient: its size says nothing about how far to go.": (
                held(lambda g, n, r: r * (0.25 * g + 0.125 * n))
            ),
            "You left out the noise.": held(lambda g, n, r: 0.25 * r * g.sign()),
            "Take the noise as it is, not its sign: it is Gaussian.": (
                held(lambda g, n, r: r * (0.25 * g.sign() + 0.125 * n.sign()))
            ),
            "The noise has standard deviation r/8: multiply it by the radius too.": (
                held(lambda g, n, r: 0.25 * r * g.sign() + 0.125 * n)
            ),
            "You exchanged the two: a quarter of r for the sign, an eighth for the noise.": (
                held(lambda g, n, r: r * (0.125 * g.sign() + 0.25 * n))
            ),
            "You went a whole r: then one step is all there is. The step is r/4.": (
                held(lambda g, n, r: r * (g.sign() + 0.125 * n))
            ),
            "You projected before the noise was added, so the noise may leave the box: project last.": (
                lambda c, x, g, n, r: (
                    torch.minimum(torch.maximum(c + 0.25 * r * g.sign(), x - r), x + r) + 0.125 * r * n
                ).clamp(0, 1)
            ),
            "Nothing holds the steps: project into the box around the image, and into [0, 1].": free,
            "Colours left [0, 1]: clamp at the end.": lambda c, x, g, n, r: torch.minimum(
                torch.maximum(free(c, x, g, n, r), x - r), x + r
            ),
            "No value may be further than r from `images`: you held the colours only, or projected around `changed`, "
            "which after many steps may be anywhere.": (
                lambda c, x, g, n, r: free(c, x, g, n, r).clamp(0, 1)
            ),
            "You began again at `images`: the step starts where the search is, at `changed`.": (
                lambda c, x, g, n, r: torch.minimum(torch.maximum(free(x, x, g, n, r), x - r), x + r).clamp(
                    0, 1
                )
            ),
        },
        hint="changed + radius * (gradient.sign() / 4 + noise / 8), then into images ± radius, and into [0, 1].",
    )


# --- exercise 3 ----------------


def reference_critical_ratio(said: Tensor, said_near: Tensor, labels: Tensor) -> Tensor:
    """Share of images of whose neighbours the network says something else than of them; the labels play no part."""
    return (said != said_near).float().mean()


def check_critical_ratio(student: Callable[[Tensor, Tensor, Tensor], Tensor]) -> None:
    """Exercise 3: the critical-sample ratio, with the labels as a trap."""

    def case(count: int, classes: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
        labels = _classes(count, most=classes, seed=seed)
        said = torch.where(_uniform(count, seed=seed + 1) < 0.6, labels, labels.roll(1))
        near = torch.where(_uniform(count, seed=seed + 2) < 0.5, said, said.roll(1))
        return said, near, labels

    run(
        student,
        [
            (
                torch.tensor([1, 2, 2, 3, 3, 3, 2]),
                torch.tensor([0, 3, 1, 1, 3, 2, 2]),
                torch.tensor([0, 3, 1, 1, 2, 3, 0]),
            ),
            case(30, 4, 40),
            case(50, 3, 50),
        ],
        reference_critical_ratio,
        passed="an image is critical by what the network says of it, right or wrong",
        mistakes={
            "You compared the neighbours with the true labels. That is the error under attack: an image that the "
            "network has wrong from the start would count as critical, with no neighbour needed.": (
                lambda s, n, y: (n != y).float().mean()
            ),
            "That is the error on the images themselves; the neighbours have no part in it.": (
                lambda s, n, y: (s != y).float().mean()
            ),
            "You counted only images that the network has right. The ratio asks what it says, not whether that is "
            "true: a network that has learnt random labels would have hardly any image left.": (
                lambda s, n, y: (s != n)[s == y].float().mean()
            ),
            "You asked for right images and divided by all: no label is needed.": (
                lambda s, n, y: ((s != n) & (s == y)).float().mean()
            ),
            "That is the share of images that are NOT critical.": lambda s, n, y: (s == n).float().mean(),
            "That is their number: a ratio is a share of all images.": lambda s, n, y: (s != n).sum().float(),
            "You counted neighbours that become right. Any other answer counts.": (
                lambda s, n, y: ((s != n) & (n == y)).float().mean()
            ),
        },
        hint="The mean of said != said_near, as a real number.",
    )


# --- exercise 4 ----------------

EPOCH = 20
SETTINGS: Mapping[str, Mapping[str, float]] = {
    "plain": {},
    "width 4": {"width": 4},
    "dropout 0.75": {"dropout": 0.75},
    "shifts of 4 pixels": {"shift": 4},
}
_PLAIN = {"width": 16, "dropout": 0.0, "weight_decay": 0.0, "shift": 0, "critical": 0.0, "share": 0.4}


def by_heart(table: pd.DataFrame | None = None) -> dict[str, float]:
    """Measured: the share of the wrong labels that each of SETTINGS has learnt after EPOCH epochs, mean over seeds."""
    table = memorisation.stored() if table is None else table
    table = table[table.number == EPOCH]
    found = {}
    for name, changed in SETTINGS.items():
        setting = pd.Series({**_PLAIN, **changed})
        found[name] = float(table[(table[list(setting.index)] == setting).all(axis=1)].wrong.mean())
    return found


def reference_order() -> list[str]:
    """The settings of exercise 4 in the order that was measured, the one that knows most by heart first."""
    measured = by_heart()
    return sorted(measured, key=lambda name: -measured[name])


def check_order(student: Callable[[], Sequence[str]]) -> None:
    """Exercise 4: a prediction. Any order of the four settings is an answer; how much of it is right is said."""
    verdict = ""

    @exercise("you have committed yourself")
    def check(predict: Callable[[], Sequence[str]]) -> None:
        nonlocal verdict
        order = predict()
        assert isinstance(order, list | tuple), (
            f"Return a list of names, the one that knows most by heart first, not {type(order).__name__}."
        )
        unknown = [name for name in order if name not in SETTINGS]
        assert not unknown, f"{unknown[0]!r} is none of the settings: {', '.join(SETTINGS)}."
        twice = [name for name in order if list(order).count(name) > 1]
        assert not twice, f"You name {twice[0]!r} twice: every setting has one place."
        missing = [name for name in SETTINGS if name not in order]
        assert not missing, f"You do not say where {missing[0]!r} belongs: order all {len(SETTINGS)}."
        measured = by_heart()
        pairs = list(combinations(order, 2))
        right = sum(measured[first] > measured[second] for first, second in pairs)
        numbers = ", ".join(f"{name} {measured[name]:.0%}" for name in reference_order())
        verdict = f"measured after {EPOCH} epochs: {numbers}; {right} of your {len(pairs)} pairs stand in this order"

    check(student)
    if verdict:
        print(verdict)


# --- exercise 5 ----------------


def reference_stop_at(validation: Sequence[float], patience: int) -> int:
    """The epoch, from 1, whose weights are kept: the best when `patience` epochs in a row have brought no better."""
    best = 0
    for epoch, accuracy in enumerate(validation):
        if accuracy > validation[best]:
            best = epoch
        if epoch - best >= patience:
            break
    return best + 1


def check_stop_at(student: Callable[[Sequence[float], int], int]) -> None:
    """Exercise 5: early stopping with patience."""

    def last_tie(validation: Sequence[float], patience: int) -> int:
        best = 0
        for epoch, accuracy in enumerate(validation):
            if accuracy >= validation[best]:
                best = epoch
            if epoch - best >= patience:
                break
        return best + 1

    def first_fall(validation: Sequence[float], patience: int) -> int:
        for epoch in range(1, len(validation)):
            if validation[epoch] <= validation[epoch - 1]:
                return epoch
        return len(validation)

    def when_stopped(validation: Sequence[float], patience: int) -> int:
        return min(reference_stop_at(validation, patience) + patience, len(validation))

    def total(validation: Sequence[float], patience: int) -> int:
        """Counts all epochs without a new best, not those in a row."""
        best, without = 0, 0
        for epoch, accuracy in enumerate(validation[1:], start=1):
            if accuracy > validation[best]:
                best = epoch
            else:
                without += 1
            if without >= patience:
                break
        return best + 1

    run(
        student,
        [
            ([0.3, 0.5, 0.4, 0.45, 0.48, 0.6, 0.55, 0.5, 0.52, 0.51, 0.7], 3),
            ([0.3, 0.5, 0.4, 0.45, 0.6], 3),
            ([0.2, 0.4, 0.4, 0.3, 0.5, 0.45, 0.4, 0.44, 0.7], 3),
            ([0.5, 0.4, 0.3], 5),
            ([0.1, 0.2, 0.3, 0.4], 2),
            (np.round(_uniform(40, seed=60).cumsum(0).numpy() % 1.3, 2).tolist(), 6),
        ],
        reference_stop_at,
        passed="it waits, stops, and goes back to the best epoch that it has seen",
        mistakes={
            "You looked at the whole curve. Training stops when patience runs out; what comes later is not seen.": (
                lambda v, p: int(np.argmax(v)) + 1
            ),
            "That is the epoch at which training stops; the weights kept are those of the best epoch before.": (
                when_stopped
            ),
            "You count epochs from 0: the first is epoch 1.": lambda v, p: reference_stop_at(v, p) - 1,
            "Equal is not better: of equal epochs the first is kept, and waiting goes on.": last_tie,
            "You stopped at the first fall. Accuracies jitter: wait until `patience` epochs in a row were no better "
            "than the BEST.": first_fall,
            "Patience begins anew at each new best: you counted all epochs without one.": total,
            "You stopped one epoch too late: after `patience` epochs without a better one.": (
                lambda v, p: reference_stop_at(v, p + 1)
            ),
            "You stopped one epoch too early: after `patience` epochs without a better one.": (
                lambda v, p: reference_stop_at(v, max(p - 1, 1))
            ),
        },
        hint="Remember the best epoch; stop when `patience` epochs have passed since; return it, counted from 1.",
    )
