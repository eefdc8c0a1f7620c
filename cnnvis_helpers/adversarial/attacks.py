"""Attacks within a bound: one step, or several, along the sign of the gradient.

- `fgsm`: one step
- `pgd`: several, from a random start
- `Attack`: what both are
- `prepared`, `classes_of`, `loss_gradient`: what all of this package needs: inputs checked, classes, the gradient

    changed = fgsm(model, images, 2 / 255, labels, normalise=net.normalise)
    changed = pgd(model, images, 2 / 255, target_class=3, normalise=net.normalise)    # towards class 3
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional
from tqdm.auto import tqdm

from cnnvis_helpers.hooks import frozen
from cnnvis_helpers.images import ImageError, check
from cnnvis_helpers.scores import finite, logits, targets

Classes = int | Sequence[int] | Tensor | None
Normalise = Callable[[Tensor], Tensor]


class Attack(Protocol):
    """What `fgsm` and `pgd` are, and a `functools.partial` of them."""

    def __call__(
        self,
        model: nn.Module,
        images: Tensor,
        epsilon: float | Tensor,
        labels: Classes = None,
        *,
        normalise: Normalise,
        target_class: Classes = None,
        batch: int = 64,
    ) -> Tensor:
        """Images (N, 3, H, W) in [0, 1] → changed ones, no value further than ε from where it was."""


def fgsm(
    model: nn.Module,
    images: Tensor,
    epsilon: float | Tensor,
    labels: Classes = None,
    *,
    normalise: Normalise,
    target_class: Classes = None,
    batch: int = 64,
) -> Tensor:
    """Change images by one step of ε along the sign of the loss's gradient (Goodfellow et al., ICLR 2015).

    x' = x + ε · sign ∇ₓ(−log ŷ_label), or x − ε · sign ∇ₓ(−log ŷ_target), cut to [0, 1]. A value whose gradient is
    exactly 0 stays as it is.

    Args:
        model: (N, 3, H, W) normalised images → (N, classes) logits; left as it was.
        images: (N, 3, H, W) in [0, 1]; not changed.
        epsilon: from 0 to 1, one for all images or (N,), one for each.
        labels: the class that an image is to lose: one, one for each, or None for the class that the model gives.
        normalise: images in [0, 1] → what the model takes, such as `Network.normalise`.
        target_class: the class that an image is to get, instead; then `labels` is not used.
        batch: at most so many images pass through the model at once; the result is the same.

    Returns: (N, 3, H, W) in [0, 1], on the model's device.
    Raises: ImageError for what is no batch of images in [0, 1]; ValueError for ε out of range, an unknown class, and
        a model that gives no logits, that does not depend on the image, or whose gradient is not finite.
    """
    images, radius = prepared(model, images, epsilon, batch)
    towards, classes = _aim(model, images, labels, target_class, normalise, batch)
    gradient, _ = loss_gradient(model, images, classes, normalise, batch)
    return gradient.sign_().mul_(towards * radius).add_(images).clamp_(0, 1)


def pgd(
    model: nn.Module,
    images: Tensor,
    epsilon: float | Tensor,
    labels: Classes = None,
    *,
    normalise: Normalise,
    target_class: Classes = None,
    steps: int = 10,
    rate: float | None = None,
    random_start: bool = True,
    generator: torch.Generator | None = None,
    batch: int = 64,
    progress: bool = False,
) -> Tensor:
    """Several steps along the sign of the gradient, each held within ε and [0, 1] (Madry et al., ICLR 2018).

    Without the random start it is the iterated attack of Kurakin et al. (2017), and one step of `rate` ε is `fgsm`.
    Arguments, result and errors as `fgsm`, and

    Args:
        steps: how many gradients; 1 or more.
        rate: size of a step; by default 2.5 · ε / steps, which reaches any point of the bound from any other.
        random_start: begin at a point drawn evenly from the bound.
        generator: draws it; without one, every call draws the same.
    """
    if steps < 1 or (rate is not None and not (rate > 0 and math.isfinite(rate))):
        raise ValueError(f"One step at least and a rate above 0 are needed, not {steps} and {rate}.")
    images, radius = prepared(model, images, epsilon, batch)
    towards, classes = _aim(model, images, labels, target_class, normalise, batch)
    size = 2.5 * radius / steps if rate is None else rate
    low, high = (images - radius).clamp_(min=0), (images + radius).clamp_(max=1)
    changed = images
    if random_start:
        generator = generator or torch.Generator().manual_seed(0)
        start = torch.rand(images.shape, generator=generator) * 2 - 1
        changed = (images + radius * start.to(images)).clamp_(low, high)
    pace = (towards * torch.as_tensor(size).to(images)).expand(len(images), 1, 1, 1)
    parts = []
    with tqdm(total=steps * -(-len(images) // batch), disable=not progress, desc="attack") as bar:
        for some in torch.arange(len(images), device=images.device).split(batch):
            part = changed[some]
            for _ in range(steps):
                gradient, _ = loss_gradient(model, part, classes[some], normalise, batch)
                part = gradient.sign_().mul_(pace[some]).add_(part).clamp_(low[some], high[some])
                bar.update()
            parts.append(part)
    return torch.cat(parts)


def prepared(model: nn.Module, images: Tensor, epsilon: float | Tensor, batch: int) -> tuple[Tensor, Tensor]:
    """Images on the model's device, and ε as (1, 1, 1, 1) or (N, 1, 1, 1); both checked."""
    check(images)
    if images.ndim != 4:
        raise ImageError(f"Images are a batch (N, 3, H, W), not {tuple(images.shape)}; pass image[None].")
    if batch < 1:
        raise ValueError(f"batch is {batch}; at least one image is needed at a time.")
    images = images.detach().to(next(model.parameters(), images))
    radius = torch.as_tensor(epsilon).detach().to(images)
    if radius.shape not in ((), (len(images),)):
        raise ValueError(
            f"epsilon is one number, or one for each of {len(images)} images, not {tuple(radius.shape)}."
        )
    wrong = radius[~((radius >= 0) & (radius <= 1))]  # NaN is neither
    if wrong.numel():
        raise ValueError(
            f"epsilon is a share of the colour range, from 0 to 1, such as 4 / 255, not {wrong.flatten()[0]:g}."
        )
    return images, radius.reshape(-1, 1, 1, 1)


def classes_of(model: nn.Module, images: Tensor, wanted: Classes, normalise: Normalise, batch: int) -> Tensor:
    """Class numbers (N,), checked; the model's own where None is wanted."""
    with frozen(model), torch.no_grad():
        parts = images.split(batch) if wanted is None else [images[:1]]
        # A copy: a normalisation that returns its argument, and a first layer that works in place, would change it.
        y = torch.cat([logits(model, normalise(part.clone())) for part in parts])
    return targets(y.expand(len(images), -1), wanted)


def loss_gradient(
    model: nn.Module, images: Tensor, classes: Tensor, normalise: Normalise, batch: int
) -> tuple[Tensor, Tensor]:
    """Gradient (N, 3, H, W) of −log ŷ of each image's class with respect to the image, and ŷ (N,)."""
    gradients, sure = [], []
    with frozen(model), torch.enable_grad():
        for part, wanted in zip(images.split(batch), classes.split(batch), strict=True):
            x = part.detach().requires_grad_()
            loss = functional.cross_entropy(logits(model, normalise(x.clone())), wanted, reduction="none")
            if not loss.requires_grad:
                raise ValueError(
                    "The model's logits do not depend on the image: there is no gradient to follow."
                )
            (gradient,) = torch.autograd.grad(loss.sum(), x)
            if not finite(gradient):
                raise ValueError(
                    "The gradient of the loss is not finite: the model's logits or weights are NaN or huge."
                )
            gradients.append(gradient)
            sure.append((-loss.detach()).exp())
    return torch.cat(gradients), torch.cat(sure)


def _aim(
    model: nn.Module, images: Tensor, labels: Classes, target_class: Classes, normalise: Normalise, batch: int
) -> tuple[int, Tensor]:
    """1 and the classes whose loss is to rise, or −1 and those whose loss is to fall."""
    if target_class is None:
        return 1, classes_of(model, images, labels, normalise, batch)
    return -1, classes_of(model, images, target_class, normalise, batch)
