"""Critical samples: images close to which the network says something else than it says of them.

- `critical_samples`: which images have such a neighbour within a radius, and the neighbour
- `critical_ratio`: the share that has one, by radius
- `Critical`: what `critical_samples` gives

    found = critical_samples(model, images, 4 / 255, normalise=normalise)
    found.mask, found.images                              # (N,) bool, (N, 3, H, W)
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from cnnvis_helpers.adversarial.attacks import Normalise, classes_of, prepared
from cnnvis_helpers.hooks import frozen
from cnnvis_helpers.scores import logits


class Critical(NamedTuple):
    """Which images are critical (N,), and the neighbours (N, 3, H, W) found; where none was, the last one tried."""

    mask: Tensor
    images: Tensor


def critical_samples(
    model: nn.Module,
    images: Tensor,
    radius: float | Tensor,
    *,
    normalise: Normalise,
    steps: int = 12,
    rate: float = 0.25,
    noise: float = 0.125,
    generator: torch.Generator | None = None,
    batch: int = 250,
    progress: bool = False,
) -> Critical:
    """Search the box of `radius` around each image for a point that the model gives another class than the image.

    Langevin adversarial sample search (Arpit et al., ICML 2017, algorithm 1): steps along the sign of a gradient plus
    Gaussian noise on every value, each held within the box (L∞), until the class changes. The class to differ from is
    the model's own for the image; no label is asked for. What the search does not find may exist all the same: the mask
    is a bound from below.

    Departures: `rate` and `noise` are shares of the radius, not fixed; neighbours stay within [0, 1], where images are;
    the gradient is that of log Σ exp z_other − z_own, z the logits: its sign is that of −log ŷ_own's gradient, but it
    does not vanish where ŷ_own rounds to 1, as it does for networks that are trained to the end.

    Args:
        model: (N, 3, H, W) normalised images → (N, classes) logits; run in evaluation mode and left as it was.
        images: (N, 3, H, W) in [0, 1]; not changed.
        radius: largest change of a value, from 0 to 1, one for all images or (N,).
        normalise: images in [0, 1] → what the model takes.
        steps: the most steps for an image.
        rate, noise: size of the step along the sign, and standard deviation of the noise, in radii. With noise 0 the
            search is an iterated gradient-sign attack from the image itself.
        generator: draws the noise, on the CPU; without one, every call draws the same.
        batch: at most so many images pass through the model at once; the noise does not depend on it.

    Raises: ImageError for what is no batch of images in [0, 1]; ValueError for settings out of range, and for a model
        that gives no logits of two classes or more, does not depend on the image, or has no finite gradient.
    """
    _check(steps, rate, noise)
    images, box = prepared(model, images, radius, batch)
    own = classes_of(model, images, None, normalise, batch)
    low, high = (images - box).clamp(min=0), (images + box).clamp(max=1)
    box = box.expand(len(images), 1, 1, 1)
    generator = generator or torch.Generator().manual_seed(0)
    changed, found = images.clone(), torch.zeros_like(own, dtype=torch.bool)
    with frozen(model), torch.enable_grad():
        for step in tqdm(range(steps + 1), disable=not progress, desc="critical samples"):
            # Drawn for all images, also those that need no more: an image's noise depends on no other image's luck.
            drawn = noise * torch.randn(images.shape, generator=generator).to(images)
            if found.all():
                break
            for rows in (~found).nonzero().flatten().split(batch):
                slope, said = _slope(model, changed[rows], own[rows], normalise)
                if step:
                    found[rows] = said != own[rows]
                if step < steps:
                    rows, slope = rows[~found[rows]], slope[~found[rows]]
                    moved = changed[rows] + box[rows] * (rate * slope.sign() + drawn[rows])
                    changed[rows] = torch.minimum(torch.maximum(moved, low[rows]), high[rows])
    return Critical(found, changed)


def critical_ratio(
    model: nn.Module,
    images: Tensor,
    radii: Sequence[float],
    *,
    normalise: Normalise,
    generator: torch.Generator | None = None,
    **settings: Any,
) -> Tensor:
    """Share of images that are critical, for each radius: (len(radii),), in the order of `radii`.

    A neighbour within a radius is one within every larger radius, so the radii are searched from the smallest on, each
    among the images that are left: the ratio cannot fall. Arguments and errors as `critical_samples`; ValueError
    for radii out of range or none.
    """
    if not len(radii) or not all(0 <= radius <= 1 for radius in radii):
        raise ValueError(f"radii are one or more numbers from 0 to 1, such as [4 / 255], not {radii}.")
    generator = generator or torch.Generator().manual_seed(0)
    total, left, ratios = len(images), images, {}
    for radius in sorted(radii):
        if len(left) or not total:  # no image at all is an error of the search
            found = critical_samples(
                model, left, radius, normalise=normalise, generator=generator, **settings
            )
            left = left[~found.mask.to(left.device)]
        ratios[radius] = 1 - len(left) / total
    return torch.tensor([ratios[radius] for radius in radii])


def _slope(model: nn.Module, images: Tensor, own: Tensor, normalise: Normalise) -> tuple[Tensor, Tensor]:
    """Gradient (N, 3, H, W) of log Σ exp z_other − z_own with respect to the images, and the classes (N,) given."""
    x = images.detach().requires_grad_()
    y = logits(model, normalise(x.clone()))
    if y.shape[1] < 2:
        raise ValueError("The model gives one logit: there is no other class to come to.")
    if not y.requires_grad:
        raise ValueError("The model's logits do not depend on the image: there is no gradient to follow.")
    is_own = nn.functional.one_hot(own, y.shape[1]).bool()
    loss = y.masked_fill(is_own, -math.inf).logsumexp(1) - y[is_own]
    (gradient,) = torch.autograd.grad(loss.sum(), x)
    if not (loss.isfinite().all() and gradient.isfinite().all()):
        raise ValueError("The gradient is not finite: the model's logits or weights are NaN or huge.")
    return gradient, y.detach().argmax(1)


def _check(steps: int, rate: float, noise: float) -> None:
    if steps < 1 or not (rate > 0 and math.isfinite(rate)) or not (noise >= 0 and math.isfinite(noise)):
        raise ValueError(
            "One step at least, a rate above 0 and a noise of 0 or more are needed, not "
            f"steps {steps}, rate {rate}, noise {noise}."
        )
