"""What the images that activate a channel most look like there, and whether they share a class.

top_patches(top, images, box)          the parts of the images that the top activations see, all of one size
label_purity(labels)                   share of the most frequent label among each channel's top images
chance_purity(labels, k)               the same for images drawn at random: the null
mean_interval(purity)                  mean over channels with a bootstrap interval
share_above(purity, chance)            share of channels purer than chance, with Wilson's interval
directions(channels, seed)             a random rotation of a layer's channels, as a basis for TopK
Patches                                what `top_patches` returns

    (top,) = survey(model, normalised, [TopK("relu5", k=9)])
    found = top_patches(top, pictures, field.box)       # field = receptive_field(model, "relu5", (96, 96))
    print(mean_interval(label_purity(labels[top.images])), chance_purity(labels, 9).mean())

Zeiler and Fergus, *Visualizing and understanding convolutional networks*, ECCV 2014, show channels by their top nine
patches. Szegedy et al., *Intriguing properties of neural networks*, ICLR 2014, find that random directions look as
meaningful as channels: give `TopK` a basis from `directions` and compare.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy import stats
from torch import Tensor

from cnnvis_helpers.images import ImageError, check
from cnnvis_helpers.survey import TopK

Box = Callable[[int, int], Sequence[int]]


@dataclass(frozen=True)
class Patches:
    """The k patches of each of C channels, best first."""

    pixels: Tensor  # (C, k, 3, s, t) float32 in [0, 1]
    boxes: Tensor  # (C, k, 4) int64: top, left, bottom, right in pixels of the image, as `box` gives them
    values: Tensor  # (C, k) float32: the activations
    images: Tensor  # (C, k) int64: numbers of the images
    rows: Tensor  # (C, k) int64: row of the layer's map
    columns: Tensor  # (C, k) int64: column of the layer's map


def top_patches(
    top: TopK, pictures: Any, box: Box, *, channels: Sequence[int] | None = None, fill: float = 0.5
) -> Patches:
    """Cut out what each top activation sees.

    Every patch has the size of the largest box. A smaller one was clipped: it is filled up on the side where it meets
    the border. Memory is that of the patches; for large fields choose `channels`.

    Args:
        top: fed by a survey of the same images, normalised.
        pictures: `pictures[i]` is the image (3, H, W) in [0, 1], or (image, label), that the survey calls i. Each is
            read once.
        box: a function of (row, column) in the layer's map that gives top, left, bottom, right of the receptive field
            in pixels, bottom and right excluded. It may hang over the image's border, or be clipped there.
        channels: which channels (or directions), None for all.
        fill: the grey of what lies outside the image, in [0, 1].

    Raises: ValueError for a channel or an image that does not exist, no picture in [0, 1], and boxes without pixels.
    """
    chosen = list(range(len(top.values)) if channels is None else channels)
    if not chosen or min(chosen) < 0 or max(chosen) >= len(top.values):
        raise ValueError(f"Channels are one or more of 0 to {len(top.values) - 1}, not {chosen}.")
    values, images, rows, columns = (t[chosen] for t in (top.values, top.images, top.rows, top.columns))
    places = zip(rows.flatten().tolist(), columns.flatten().tolist(), strict=True)
    boxes = torch.tensor([[int(side) for side in box(*place)] for place in places])  # (C · k, 4)
    sizes = boxes[:, 2:] - boxes[:, :2]
    size = sizes.amax(0)
    if (sizes < 0).any() or (size == 0).any():  # one unit alone may see nothing but padding
        raise ValueError("A box is (top, left, bottom, right), with bottom and right behind the last pixel.")
    pixels = torch.full((len(boxes), 3, *size.tolist()), fill)
    for number in images.unique().tolist():
        picture = _picture(pictures, number)
        limits = torch.tensor(picture.shape[1:])
        for i in (images.flatten() == number).nonzero().flatten().tolist():
            first = boxes[i, :2].clamp(min=0)
            last = boxes[i, 2:].minimum(limits).maximum(first)
            shift = torch.where(boxes[i, :2] <= 0, size - sizes[i], 0) - boxes[i, :2]  # from image to patch
            (y0, x0), (y1, x1), (dy, dx) = first.tolist(), last.tolist(), shift.tolist()
            pixels[i, :, y0 + dy : y1 + dy, x0 + dx : x1 + dx] = picture[:, y0:y1, x0:x1]
    shape = values.shape
    return Patches(
        pixels.view(*shape, *pixels.shape[1:]), boxes.view(*shape, 4), values, images, rows, columns
    )


def _picture(pictures: Any, number: int) -> Tensor:
    if number >= len(pictures):
        raise ValueError(
            f"The survey saw an image {number}, but here are {len(pictures)}: give the same images."
        )
    item = pictures[number]
    picture = item[0] if isinstance(item, tuple | list) else item
    try:
        check(picture)
    except ImageError as error:
        raise ValueError(f"Image {number} cannot be cut into patches. {error}") from None
    if picture.ndim != 3:
        raise ValueError(f"Image {number} must be one picture (3, H, W), not {tuple(picture.shape)}.")
    return picture.detach().float().cpu()


def label_purity(labels: Tensor) -> Tensor:
    """Share of the most frequent label among the k top images of each channel: labels (C, k) → (C,) float64.

    It lies between 1/k and 1. Where several objects are in a picture, the label is that of the whole picture: a channel
    that sees a wheel well may have low purity.

    Raises: ValueError for another shape.
    """
    if labels.ndim != 2 or labels.numel() == 0:
        raise ValueError(f"Labels are (channels, k), such as labels[top.images], not {tuple(labels.shape)}.")
    return (labels[:, :, None] == labels[:, None]).sum(2).amax(1).double() / labels.shape[1]


def chance_purity(labels: Tensor | Sequence[int], k: int, *, draws: int = 10_000, seed: int = 0) -> Tensor:
    """The purity of k different images drawn at random from a data set with these labels (N,): (draws,) float64.

    Raises: ValueError where k is not between 1 and N.
    """
    counts = torch.as_tensor(labels).unique(return_counts=True)[1].numpy(force=True)
    if not 1 <= k <= counts.sum():
        raise ValueError(f"k must be from 1 to {counts.sum()}, the number of labels, not {k}.")
    drawn = np.random.default_rng(seed).multivariate_hypergeometric(counts, k, size=draws)  # (draws, classes)
    return torch.from_numpy(drawn.max(1) / k)


def mean_interval(purity: Tensor, *, level: float = 0.95, seed: int = 0) -> tuple[float, float, float]:
    """The mean over channels, and the ends of its bootstrap interval (percentiles of 9,999 resamples of channels).

    Raises: ValueError for fewer than two channels.
    """
    if purity.ndim != 1 or len(purity) < 2:
        raise ValueError(f"An interval needs the purity of two or more channels, not {tuple(purity.shape)}.")
    found = stats.bootstrap(
        (purity.numpy(force=True),),
        np.mean,
        confidence_level=level,
        method="percentile",
        batch=200,  # of 9,999: bounds the memory
        random_state=np.random.default_rng(seed),
    ).confidence_interval
    return float(purity.mean()), float(found.low), float(found.high)


def share_above(
    purity: Tensor, chance: Tensor, *, alpha: float = 0.05, level: float = 0.95
) -> tuple[float, float, float]:
    """Share of channels whose purity at most a share `alpha` of the random draws reaches, with Wilson's interval.

    `chance` is `chance_purity` for the same k. For channels that pick images at random the share is `alpha` or, since
    purity has few values, less.
    """
    reached = (chance[None] >= purity[:, None]).sum(1).double() / len(chance)  # (C,)
    pure = int((reached <= alpha).sum())
    interval = stats.binomtest(pure, len(purity)).proportion_ci(level, method="wilson")
    return pure / len(purity), float(interval.low), float(interval.high)


def directions(channels: int, seed: int) -> Tensor:
    """A random rotation (or reflection) of the channels' space, (channels, channels) float32; rows are orthonormal.

    Uniform over all of them (Haar measure). `TopK(layer, basis=directions(C, 0))` looks at C directions at once.

    Raises: ValueError for fewer than two channels.
    """
    if channels < 2:
        raise ValueError(f"Directions need two or more channels, not {channels}.")
    matrix = stats.ortho_group.rvs(channels, random_state=np.random.default_rng(seed))
    return torch.from_numpy(np.asarray(matrix, dtype=np.float32))
