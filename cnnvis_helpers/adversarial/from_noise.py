"""Images of nothing that a network is sure of: from Gaussian noise to 99 % of any class.

- `fool`: the images
- `fool_steps`: the same, step by step: for a film, or to stop early
- `Fooling`: what both give

    found = fool(net.model, range(16), normalise=net.normalise, size=96)
    found.images, found.confidence, found.steps                            # (16, 3, 96, 96), (16,), (16,)
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from cnnvis_helpers.adversarial.attacks import Normalise, classes_of, loss_gradient, prepared


class Fooling(NamedTuple):
    """After a step: the images (N, 3, s, s) in [0, 1]; the probability (N,) of the class wanted of each; and how
    many steps (N,) each has taken, for it stops when it is sure enough."""

    images: Tensor
    confidence: Tensor
    steps: Tensor


def fool(
    model: nn.Module,
    classes: Sequence[int] | Tensor,
    *,
    steps: int = 100,
    progress: bool = False,
    **settings: Any,
) -> Fooling:
    """Images that the model is sure of, from Gaussian noise: the last of `fool_steps`, with its arguments."""
    film = fool_steps(model, classes, steps=steps, **settings)
    for result in tqdm(film, total=steps, disable=not progress, desc="fooling"):  # noqa: B007
        pass
    return result


def fool_steps(
    model: nn.Module,
    classes: Sequence[int] | Tensor,
    *,
    normalise: Normalise,
    size: int,
    start: Tensor | None = None,
    steps: int = 100,
    rate: float = 0.004,
    confidence: float = 0.99,
    generator: torch.Generator | None = None,
    batch: int = 64,
) -> Iterator[Fooling]:
    """Go down L = −Σ 1{y = k} log ŷ_k by gradient steps on the pixels, and yield after each step.

    As Nguyen, Yosinski and Clune (CVPR 2015) do, without any penalty: what comes out need not look like anything. An
    image stops when its probability has reached `confidence`; the loop ends when all have, or after `steps`. Departure:
    the gradient is divided by its mean absolute value, so that `rate` is the mean change of a value in one step.

    Args:
        model, normalise, batch: as in `fgsm`. Between the steps the model is as it was.
        classes: the class wanted of each image; a class may come several times.
        size: side s of the images in pixels.
        start: images (N, 3, s, s) in [0, 1]; by default noise of mean ½ and standard deviation 0.2, cut to [0, 1].
        confidence: above 0 and below 1.
        generator: draws the noise; without one, every call draws the same.

    Raises: as `fgsm`; ValueError for settings out of range.
    """
    wanted = torch.as_tensor(classes)
    if wanted.ndim != 1 or not len(wanted):
        raise ValueError(f"classes is a list with one class for each image, not {classes!r}.")
    if steps < 1 or size < 1 or not (rate > 0 and math.isfinite(rate)) or not 0 < confidence < 1:
        raise ValueError(
            "One step and pixel at least, a rate above 0 and a confidence between 0 and 1 are needed, not steps "
            f"{steps}, size {size}, rate {rate}, confidence {confidence}."
        )
    if start is None:
        generator = generator or torch.Generator().manual_seed(0)
        start = (0.5 + 0.2 * torch.randn(len(wanted), 3, size, size, generator=generator)).clamp(0, 1)
    if start.shape != (len(wanted), 3, size, size):
        raise ValueError(f"The start is images {(len(wanted), 3, size, size)}, not {tuple(start.shape)}.")
    x, _ = prepared(model, start, 0.0, batch)
    wanted = classes_of(model, x, wanted, normalise, batch)

    def run() -> Iterator[Fooling]:
        now = x
        gradient, sure = loss_gradient(model, now, wanted, normalise, batch)
        taken = torch.zeros_like(wanted)
        for _ in range(steps):
            going = sure < confidence
            mean = gradient.abs().mean((1, 2, 3), keepdim=True).clamp(min=1e-30)
            now = torch.where(going[:, None, None, None], (now - rate * gradient / mean).clamp(0, 1), now)
            taken += going
            gradient, sure = loss_gradient(model, now, wanted, normalise, batch)
            yield Fooling(now, sure, taken.clone())
            if (sure >= confidence).all():
                return

    return run()
