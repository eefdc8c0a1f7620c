"""How an image is written down as numbers that an optimiser may change, and where it starts.

    Pixels(start)         the pixels themselves
    Fourier(start)        amplitudes of waves, low frequencies first, colours decorrelated if wanted
    noise_start(…)        faint noise around mid-grey
    zero_start(…)         what the network takes for 0: the mean colour (Simonyan)
    spectrum_scale(size)  the 1/f scale of the waves
    Yosinski, YOSINSKI    what Yosinski et al. do to the pixels after each step, and their four settings

    params = Fourier(noise_start(16, 96, generator), decorrelate=True)
    optimiser = torch.optim.Adam([params.values], lr=0.05)
    params.images()                                  # (16, 3, 96, 96) in [0, 1], with gradients

The numbers change what is a small step, and so which image is found, not which images there are: any start in [0, 1],
such as a mean image, can be written down in either way.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional
from torchvision.transforms.v2.functional import gaussian_blur

from cnnvis_helpers.images import check

Squash = Literal["clamp", "sigmoid"]
# Rows: grey, red against blue, green against both (Ohta, Kanade & Sakai 1980): nearly the principal axes of the colours
# of photographs. Times the spread along them, grey's being 1: the mean over the sample photographs of `images`.
_AXES = torch.tensor([[1.0, 1.0, 1.0], [1.0, 0.0, -1.0], [-1.0, 2.0, -1.0]])
_SPREAD = torch.tensor([1.0, 0.4, 0.12])
COLOURS = functional.normalize(_AXES, dim=1) * _SPREAD[:, None]  # colour = coordinates @ COLOURS
# Independent changes of one size in all coordinates change the three colours, on average, by that size.
COLOURS /= (3 * COLOURS.square().mean()).sqrt()


class Pixels:
    """Images (N, 3, s, s), one number for each pixel and colour.

    "clamp": the numbers are the colours, and `settle` puts those outside [0, 1] back to the nearer end. "sigmoid":
    the colour is 1 / (1 + e^(−4 · number)), which never quite reaches the ends and has slope 1 at mid-grey; a start is
    taken to [0.001, 0.999].

    Attributes: values, the numbers, a leaf with requires_grad; squash.
    Raises: images.ImageError for a start that is not (N, 3, H, W) in [0, 1]; ValueError for another `squash`.
    """

    def __init__(self, start: Tensor, squash: Squash = "clamp") -> None:
        check(start)
        if start.ndim != 4:
            raise ValueError(f"The start is a batch of images (N, 3, H, W), not {tuple(start.shape)}.")
        if squash not in ("clamp", "sigmoid"):
            raise ValueError(f"squash is 'clamp' or 'sigmoid', not {squash!r}.")
        self.squash = squash
        self.values = self._written(start.detach()).clone().requires_grad_()

    def images(self) -> Tensor:
        """The images (N, 3, s, s) in [0, 1]; gradients flow to `values`, those of clamped colours unchanged."""
        drawn = self._drawn(self.values)
        if self.squash == "sigmoid":
            return (4 * drawn).sigmoid()
        clamped = drawn.detach().clamp(0, 1)  # once settled, colours are outside by rounding alone
        return drawn + (clamped - drawn.detach())

    @torch.no_grad()
    def settle(self) -> None:
        """After a step of the optimiser: bring the colours of "clamp" back into [0, 1]."""
        if self.squash == "clamp":
            self.values.copy_(self._encoded(self._drawn(self.values).clamp(0, 1)))

    @torch.no_grad()
    def set(self, images: Tensor) -> None:
        """Make these the images, of the same shape; colours outside [0, 1] become the nearer end."""
        self.values.copy_(self._written(images.clamp(0, 1)))

    def _written(self, images: Tensor) -> Tensor:
        return self._encoded(images.clamp(0.001, 0.999).logit() / 4 if self.squash == "sigmoid" else images)

    def _drawn(self, values: Tensor) -> Tensor:
        """Numbers → colours, before squashing."""
        return values

    def _encoded(self, colours: Tensor) -> Tensor:
        """The inverse of `_drawn`."""
        return colours


class Fourier(Pixels):
    """Images (N, 3, s, s), two numbers for each wave and colour: the spectrum of the image over a 1/f scale.

    A step of one size in all numbers changes low frequencies most, as those of photographs are strongest
    (Olah, Mordvintsev & Schubert 2017). The scale is such that independent steps of one size in all numbers are on
    average of that size in a pixel: rates for pixels serve here.

    Args:
        start, squash: as for `Pixels`; the default here is "sigmoid".
        decay: the scale is 1/f^decay; 0 treats all frequencies alike.
        decorrelate: colours in coordinates in which those of photographs are nearly uncorrelated; grey moves most.
    """

    def __init__(
        self, start: Tensor, squash: Squash = "sigmoid", *, decay: float = 1.0, decorrelate: bool = True
    ) -> None:
        self._size = (start.shape[-2], start.shape[-1])
        self._scale = spectrum_scale(self._size, decay).to(start)
        self._colours = (COLOURS if decorrelate else torch.eye(3)).to(start)
        super().__init__(start, squash)

    def _drawn(self, values: Tensor) -> Tensor:
        spectrum = torch.view_as_complex(values) * self._scale
        waves = torch.fft.irfft2(spectrum, s=self._size, norm="ortho")
        return torch.einsum("nkhw,kc->nchw", waves, self._colours)

    def _encoded(self, colours: Tensor) -> Tensor:
        waves = torch.einsum("nchw,ck->nkhw", colours, torch.linalg.inv(self._colours))
        return torch.view_as_real(torch.fft.rfft2(waves, norm="ortho") / self._scale)


def spectrum_scale(size: int | tuple[int, int], decay: float = 1.0) -> Tensor:
    """1/f^decay on the grid of `torch.fft.rfft2`, (H, W // 2 + 1), with mean square ½ over all H · W frequencies.

    A wave has two numbers, hence the ½. f is in cycles per pixel; the mean colour, with f = 0, is scaled like the
    longest wave of the longer side.
    """
    height, width = (size, size) if isinstance(size, int) else size
    down, across = torch.fft.fftfreq(height)[:, None], torch.fft.fftfreq(width)[None]
    scale = (down.square() + across.square()).sqrt().clamp(min=1 / max(height, width)) ** -decay
    return (scale / (2 * scale.square().mean()).sqrt())[:, : width // 2 + 1]


def noise_start(
    count: int,
    size: int,
    generator: torch.Generator | None = None,
    *,
    middle: float = 0.5,
    spread: float = 0.06,
) -> Tensor:
    """Images (count, 3, size, size) of uniform noise between middle − spread/2 and middle + spread/2."""
    if count < 1 or size < 1:
        raise ValueError(f"One image of one pixel at least is needed, not {count} of size {size}.")
    return middle - spread / 2 + spread * torch.rand(count, 3, size, size, generator=generator)


def zero_start(count: int, size: int, normalise: Callable[[Tensor], Tensor]) -> Tensor:
    """Images (count, 3, size, size) that `normalise` makes 0: of one colour, the mean of the training images.

    Simonyan et al. (2014) start from the zero image and add the training set's mean to the result; for images in
    [0, 1] that is the same as starting from the mean. Raises ValueError for a `normalise` that is no scaling and
    shift of each colour, or has no zero in [0, 1].
    """
    if count < 1 or size < 1:
        raise ValueError(f"One image of one pixel at least is needed, not {count} of size {size}.")
    shape = (count, 3, size, size)
    low, high = normalise(torch.zeros(shape)), normalise(torch.ones(shape))
    zero = low / (low - high)
    if not (
        zero.isfinite().all() and normalise(zero).abs().max() < 1e-3 and 0 <= zero.min() <= zero.max() <= 1
    ):
        raise ValueError(
            "There is no image in [0, 1] that `normalise` makes 0: it must scale and shift colours, mean to 0."
        )
    return zero


@dataclass(frozen=True)
class Yosinski:
    """What Yosinski et al. (2015) do to an image after each step; (image − mean colour, gradient, number) → image.

    In this order: all values shrink by the share `decay`; every `every` steps, a Gaussian blur with standard
    deviation `blur` pixels; pixels whose length over the colours is below the percentile `norm` of the image
    become 0, and so do those with a contribution below the percentile `contribution`. A pixel's contribution
    is |Σ x · ∂f/∂x| over its colours, with the gradient of the objective f before the step.
    """

    decay: float = 0.0
    blur: float = 0.0
    every: int = 0
    norm: float = 0.0
    contribution: float = 0.0

    def __post_init__(self) -> None:
        percentiles = 0 <= self.norm <= 100 and 0 <= self.contribution <= 100
        if not (0 <= self.decay < 1 and self.blur >= 0 and self.every >= 0 and percentiles):
            raise ValueError(
                f"decay is from 0 to below 1, blur and every are 0 or more, percentiles 0 to 100: not {self}."
            )

    def __call__(self, images: Tensor, gradient: Tensor, number: int) -> Tensor:
        """Images and the objective's gradient, both (N, 3, s, s), and the step's number, from 1 → new images."""
        images = images * (1 - self.decay)
        if self.blur and self.every and number % self.every == 0:
            reach = min(
                math.ceil(4 * self.blur), min(images.shape[2:]) - 1
            )  # mirrored at the border, at most once
            images = gaussian_blur(images, [2 * reach + 1, 2 * reach + 1], [self.blur, self.blur])
        if self.norm:
            images = _clipped(images, images.norm(dim=1), self.norm)
        if self.contribution:
            images = _clipped(images, (images * gradient).sum(1).abs(), self.contribution)
        return images


def _clipped(images: Tensor, weight: Tensor, percentile: float) -> Tensor:
    """Images with 0 for the pixels whose weight (N, s, s) is below the percentile of their own image."""
    bound = weight.flatten(1).quantile(percentile / 100, dim=1)
    return images * (weight >= bound[:, None, None])[:, None]


# Table 1 of the paper, found there by random search; which of them looks best depends on the unit.
YOSINSKI = (
    Yosinski(blur=0.5, every=4, norm=50),
    Yosinski(decay=0.3, norm=20),
    Yosinski(decay=0.0001, blur=1.0, every=4),
    Yosinski(blur=0.5, every=4, contribution=90),
)
