"""Attacks beside torchattacks': the same images, and how long both take.

    python benchmarks/attacks.py                 # a minute on two cores
    pip install --no-deps torchattacks           # the versions that it asks for are old ones

diorama/alexnet, test images, no random start. torchattacks gets a model that takes images in [0, 1], with frozen
parameters, and as many images at a time as ours. In double precision the images are the same. In single precision a
gradient that is 0 but for rounding may have either sign, and the next step starts elsewhere: so a few images differ,
but the network is fooled by the same ones.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from side_by_side import Clock, Row, installed, race, report
from torch import Tensor, nn

from cnnvis_helpers import diorama, zoo
from cnnvis_helpers.adversarial import fgsm, is_fooled, pgd

Normalise = Callable[[Tensor], Tensor]
Way = Callable[[nn.Module, Tensor, Tensor], Tensor]

IMAGES, BATCH = 200, 50
EPSILON, STEPS = 4 / 255, 5
RATE = EPSILON / 4
MOST = 1e-7  # difference of a value in double precision
APART = 0.01  # share of the values that may differ in single precision


class Normalised(nn.Module):
    """A network that takes images in [0, 1]."""

    def __init__(self, model: nn.Module, normalise: Normalise) -> None:
        super().__init__()
        self.model, self.normalise = model, normalise

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, classes)."""
        return self.model(self.normalise(images))


def rows(rounds: int, clock: Clock) -> Iterator[Row]:
    """FGSM away from the label and towards a class, and PGD."""
    if not installed("torchattacks"):
        return
    net, test = zoo.load("diorama/alexnet"), diorama.load("test", IMAGES)
    model = net.model.eval().requires_grad_(False)
    exact = copy.deepcopy(model).double()
    for steps, targeted in ((None, False), (None, True), (STEPS, False)):
        classes = (test.labels + 1) % len(net.classes) if targeted else test.labels
        one, other = (partial(way, net.normalise, targeted, steps) for way in (ours, theirs))

        def same(
            our: Tensor, their: Tensor, one: Way = one, other: Way = other, classes: Tensor = classes
        ) -> str:
            some = exact, test.images[:BATCH].double(), classes[:BATCH]
            apart = float((one(*some) - other(*some)).abs().max())
            assert apart <= MOST, f"in double precision images differ by {apart:.1e}"
            share = float(((our - their).abs() > 1e-6).float().mean())
            assert share <= APART, f"{share:.1e} of the values differ"
            fooled = [is_fooled(model, x, test.labels, normalise=net.normalise) for x in (our, their)]
            assert fooled[0].equal(fooled[1]), "other images fool the network"
            both = f"{share:.0e} of the values differ, {int(fooled[0].sum())} images fool it by both"
            return f"largest difference in double precision {apart:.0e}; in single {both}"

        yield race(
            f"{f'PGD, {steps} steps' if steps else 'FGSM'}{', towards a class' if targeted else ''}, {IMAGES} images",
            partial(one, model, test.images, classes),
            "torchattacks",
            partial(other, model, test.images, classes),
            same=same,
            goal=0.95,
            rounds=rounds,
            clock=clock,
        )


def ours(
    normalise: Normalise, targeted: bool, steps: int | None, model: nn.Module, images: Tensor, classes: Tensor
) -> Tensor:
    """What our FGSM makes of the images, or our PGD in so many steps."""
    aim: dict[str, Any] = {"target_class" if targeted else "labels": classes}
    given: dict[str, Any] = {"normalise": normalise, "batch": BATCH, **aim}
    if steps is None:
        return fgsm(model, images, EPSILON, **given)
    return pgd(model, images, EPSILON, steps=steps, rate=RATE, random_start=False, **given)


def theirs(
    normalise: Normalise, targeted: bool, steps: int | None, model: nn.Module, images: Tensor, classes: Tensor
) -> Tensor:
    """What torchattacks' make of them."""
    from torchattacks import FGSM, PGD

    network = Normalised(model, normalise).eval()
    if steps is None:
        attack = FGSM(network, eps=EPSILON)
    else:
        attack = PGD(network, eps=EPSILON, alpha=RATE, steps=steps, random_start=False)
    if targeted:
        attack.set_mode_targeted_by_function(lambda images, labels: labels, quiet=True)
    parts = zip(images.split(BATCH), classes.split(BATCH), strict=True)
    return torch.cat([attack(part, their) for part, their in parts])


if __name__ == "__main__":
    report(rows)
