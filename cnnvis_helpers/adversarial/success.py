"""How well attacks do: by ε, image by image, and from one network to another.

- `is_fooled`: which images get another class than theirs, or the target
- `success_curve`: share of images that an attack fools, by ε
- `smallest_epsilon`: how little is enough, image by image; `Smallest` is its result
- `transfer`: whom the examples made for one network fool

    rates = success_curve(model, images, [1 / 255, 4 / 255], labels, normalise=net.normalise)      # (2,)
    half = smallest_epsilon(model, images, labels, normalise=net.normalise).epsilon.median()
    table = transfer([model, other], images, 4 / 255, labels, normalise=net.normalise)             # (2, 2)
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from cnnvis_helpers.adversarial.attacks import Attack, Classes, Normalise, classes_of, fgsm, prepared


class Smallest(NamedTuple):
    """The smallest ε (N,) found to fool, infinite where none did, and the images (N, 3, H, W) that it makes."""

    epsilon: Tensor
    images: Tensor


def is_fooled(
    model: nn.Module,
    images: Tensor,
    labels: Classes,
    *,
    normalise: Normalise,
    target_class: Classes = None,
    batch: int = 64,
) -> Tensor:
    """Mask (N,): the model's class is not the label or, given a target, is the target. Errors as `fgsm`."""
    if labels is None and target_class is None:
        raise ValueError("Whether an image is fooled depends on its label or on a target: give one of them.")
    images, _ = prepared(model, images, 0.0, batch)
    given = classes_of(model, images, None, normalise, batch)
    if target_class is not None:
        return given == classes_of(model, images, target_class, normalise, batch)
    return given != classes_of(model, images, labels, normalise, batch)


def success_curve(
    model: nn.Module,
    images: Tensor,
    epsilons: Sequence[float],
    labels: Classes = None,
    *,
    normalise: Normalise,
    attack: Attack = fgsm,
    target_class: Classes = None,
    batch: int = 64,
    progress: bool = False,
) -> Tensor:
    """Share of images that an attack fools, for each ε: (len(epsilons),).

    Counted are the images that the model has right (or, given a target, does not yet take for it). For `pgd` with
    settings of your own give a `functools.partial`. Errors as `fgsm`; ValueError where no image is left to count.
    """
    settings = {"normalise": normalise, "target_class": target_class, "batch": batch}
    clean, _ = prepared(model, images, 0.0, batch)
    labels = classes_of(model, clean, labels, normalise, batch)
    counted = ~is_fooled(model, clean, labels, **settings)  # type: ignore[arg-type]
    if not counted.any():
        raise ValueError(
            "No image is left to fool: the model has none of them right, or takes all for the target."
        )
    rates = []
    for epsilon in tqdm(epsilons, disable=not progress, desc="ε"):
        changed = attack(model, clean, epsilon, labels, **settings)  # type: ignore[arg-type]
        fooled = is_fooled(model, changed, labels, **settings)  # type: ignore[arg-type]
        rates.append(fooled[counted].float().mean())
    return torch.stack(rates) if rates else torch.zeros(0)


def smallest_epsilon(
    model: nn.Module,
    images: Tensor,
    labels: Classes = None,
    *,
    normalise: Normalise,
    attack: Attack = fgsm,
    target_class: Classes = None,
    most: float = 32 / 255,
    halvings: int = 8,
    batch: int = 64,
    progress: bool = False,
) -> Smallest:
    """The smallest ε with which an attack fools, for each image, by binary search between 0 and `most`.

    Found to within `most` / 2 ** `halvings`. It is a bound from above on the distance to the nearest other class:
    a better attack needs less. Where an attack succeeds at some ε but not at all larger ones, which `fgsm` does at
    times, one of its thresholds is found, not always the first. An image that is fooled already has ε = 0; one that
    `most` does not fool has ε = ∞ and is returned unchanged. Errors as `fgsm`.
    """
    if halvings < 1:
        raise ValueError(f"At least one halving is needed, not {halvings}.")
    settings = {"normalise": normalise, "target_class": target_class, "batch": batch}
    clean, high = prepared(model, images, most, batch)
    labels = classes_of(model, clean, labels, normalise, batch)
    high = high.flatten().expand(len(clean)).clone()
    low, best, found = torch.zeros_like(high), clean.clone(), torch.zeros_like(high, dtype=torch.bool)
    done = is_fooled(model, clean, labels, **settings)  # type: ignore[arg-type]
    epsilon = high.clone()
    for _ in tqdm(range(halvings + 1), disable=not progress, desc="binary search"):
        changed = attack(model, clean, epsilon, labels, **settings)  # type: ignore[arg-type]
        success = is_fooled(model, changed, labels, **settings) & ~done  # type: ignore[arg-type]
        best[success], high[success] = changed[success], epsilon[success]
        low = torch.where(success, low, epsilon)
        found |= success
        epsilon = (low + high) / 2
    return Smallest(high.where(found, math.inf).masked_fill(done, 0.0), best)


def transfer(
    models: Sequence[nn.Module],
    images: Tensor,
    epsilon: float,
    labels: Classes,
    *,
    normalise: Normalise | Sequence[Normalise],
    attack: Attack = fgsm,
    batch: int = 64,
) -> Tensor:
    """Table (M, M): entry [i, j] is the share of images, made to fool model i, that fool model j.

    Only images that all models have right are counted. `labels` None means the first model's classes; `normalise`
    is one for all models or one for each. Errors as `fgsm`; ValueError where no image is right everywhere.
    """
    ways = [normalise] * len(models) if callable(normalise) else list(normalise)
    if len(ways) != len(models) or not models:
        raise ValueError(
            f"Each of {len(models)} models needs its `normalise`, or one serves all; got {len(ways)}."
        )
    clean, _ = prepared(models[0], images, epsilon, batch)
    labels = classes_of(models[0], clean, labels, ways[0], batch)
    pairs = list(zip(models, ways, strict=True))

    def fooled(changed: Tensor) -> Tensor:
        each = [
            is_fooled(m, changed, labels, normalise=way, batch=batch).to(clean.device) for m, way in pairs
        ]
        return torch.stack(each)  # (M, N)

    right = ~fooled(clean).any(0)
    if not right.any():
        raise ValueError("No image is right in all models: there is nothing to compare.")
    attacks = (attack(m, clean, epsilon, labels, normalise=way, batch=batch) for m, way in pairs)
    return torch.stack([fooled(changed)[:, right].float().mean(1) for changed in attacks])
