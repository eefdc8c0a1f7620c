"""Is a map right? Scores against the object's true place and against the model.

pointing_game(maps, masks)            is the highest pixel on the object?
share_inside(maps, masks), area(masks)  share of the map's energy on the object, and of the pixels: chance
iou(maps, masks), top_pixels(…)       overlap of the object and as many top pixels
dataset_iou(pred, masks)              one overlap for a whole data set
deletion(model, x, maps)              how fast the class goes when the map's top pixels go first
insertion(model, x, maps)             how fast it comes when they come first
checked_maps(maps, masks)             one sentence about maps or masks that are none

    inside = share_inside(maps, masks)                               # (N,), compare with area(masks)

Maps are (N, H, W), finite, higher where the class is seen; masks (N, H, W), bool, True on the object. Results have one
number per image. Ties between pixels go to the first in reading order.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from cnnvis_helpers.occlusion import Classes, blurred, evaluate, filling
from cnnvis_helpers.scores import targets

# --- against the object ----------------


def pointing_game(maps: Tensor, masks: Tensor, tolerance: float = 0) -> Tensor:
    """Is the map's highest pixel at most `tolerance` pixels (Euclidean) from the object? (N,) bool.

    A constant map points nowhere: a miss. A guess hits with probability `area(masks)`, if `tolerance` is 0. Source:
    Zhang et al., *Top-down neural attention by excitation backprop*, ECCV 2016; there the tolerance is 15.
    """
    flat = checked_maps(maps, masks).flatten(1)
    if not tolerance >= 0:
        raise ValueError(f"tolerance is {tolerance}; it is a distance in pixels, 0 or more.")
    peak, width = flat.argmax(1).view(-1, 1, 1), maps.shape[2]
    rows = torch.arange(maps.shape[1], device=maps.device)[:, None] - peak // width  # (N, H, 1)
    columns = torch.arange(width, device=maps.device) - peak % width  # (N, 1, W)
    near = rows**2 + columns**2 <= tolerance**2
    return (near & masks).any(2).any(1) & (flat.amax(1) > flat.amin(1))


def share_inside(maps: Tensor, masks: Tensor) -> Tensor:
    """Share of the map's positive values that lies on the object, (N,) in [0, 1]; chance is `area(masks)`.

    Negative values count as zero. A map without positive values has no energy to share out: NaN. Maps on a pedestal,
    such as RISE's, are near chance whatever they show: subtract each map's own mean first.
    """
    energy = checked_maps(maps, masks).clamp(min=0)
    return (energy * masks).sum((1, 2)) / energy.sum((1, 2))


def area(masks: Tensor) -> Tensor:
    """Share of the pixels that belong to the object, (N,): what a map without information puts inside."""
    return checked_maps(masks.float(), masks).mean((1, 2))


def top_pixels(maps: Tensor, masks: Tensor) -> Tensor:
    """The map's highest pixels, as many as the object has, (N, H, W) bool.

    A map with few values above zero, such as a rectified one, fills up with zeros from the top left.
    """
    return _rank(checked_maps(maps, masks)) < masks.sum((1, 2), keepdim=True)


def iou(maps: Tensor, masks: Tensor) -> Tensor:
    """Intersection over union of the object and `top_pixels`, image by image, (N,) in [0, 1].

    The number of pixels is the true one, so the score asks where the object is, not how large.
    """
    found = top_pixels(maps, masks)
    return (found & masks).sum((1, 2)) / (found | masks).sum((1, 2))


def dataset_iou(pred: Tensor, masks: Tensor) -> float:
    """Σ intersections / Σ unions over all images: one fraction, not the mean of the images' fractions.

    Large objects count for more. `pred` and `masks` are bool (N, H, W), either may be empty in some images.
    """
    if pred.shape != masks.shape or pred.dtype != torch.bool or masks.dtype != torch.bool or not masks.any():
        raise ValueError(
            f"pred and masks are bool tensors of one shape, masks not all empty, not {pred.dtype} "
            f"{tuple(pred.shape)} and {masks.dtype} {tuple(masks.shape)}."
        )
    return float((pred & masks).sum() / (pred | masks).sum())


# --- against the model ----------------


class Curves(NamedTuple):
    """Probability of the class while pixels go or come."""

    area: Tensor  # (N,), under the curve, over the share of pixels: in [0, 1]
    probability: Tensor  # (N, steps + 1)


def deletion(
    model: nn.Module,
    x: Tensor,
    maps: Tensor,
    target_class: Classes = None,
    *,
    steps: int = 48,
    fill: float | Tensor = 0.0,
    batch: int = 64,
    progress: bool = False,
) -> Curves:
    """Replace the map's pixels by the fill, the highest first; a map that is right has a small area.

    After step t, ⌊t · H · W / steps⌋ pixels are gone: none at 0, all at the end. Images with holes are unlike any
    that the model was trained on, so a low curve may also mean that holes confuse it: compare with `nulls`.

    Args:
        x: normalised images (N, 3, H, W); maps of the same height and width.
        target_class: one class for all images, one for each, or None for the class that the model gives to x.
        fill: see `occlusion.filling`; 0 is the mean colour.
        batch: at most so many pictures in memory at once.

    Raises: ValueError for images, maps, classes, steps or a model that do not fit.
    Source: Petsiuk, Das & Saenko, *RISE: randomized input sampling for explanation*, BMVC 2018; 224 steps there.
    """
    return _curves(model, x, x, filling(x, fill), maps, target_class, steps, batch, progress)


def insertion(
    model: nn.Module,
    x: Tensor,
    maps: Tensor,
    target_class: Classes = None,
    *,
    steps: int = 48,
    fill: float | Tensor | None = None,
    batch: int = 64,
    progress: bool = False,
) -> Curves:
    """Start from the fill and bring the image's pixels in, the map's highest first; a right map has a large area.

    `fill` None is the image blurred with a sigma of 1/16 of its shorter side (the paper: 11 × 11 pixels, sigma 5,
    for 224). A blurred start has no sharp holes, which would bring edges of their own. The rest as `deletion`.
    """
    shown = filling(x, 0.0 if fill is None else fill)
    start = blurred(x, min(x.shape[2:]) / 16) if fill is None else shown
    return _curves(model, x, start, x, maps, target_class, steps, batch, progress)


def _curves(
    model: nn.Module,
    x: Tensor,
    start: Tensor,
    end: Tensor,
    maps: Tensor,
    target_class: Classes,
    steps: int,
    batch: int,
    progress: bool,
) -> Curves:
    rank = _rank(checked_maps(maps)).to(x.device)
    if maps.shape != (len(x), *x.shape[2:]):
        raise ValueError(f"Maps for images {tuple(x.shape)} are (N, H, W), not {tuple(maps.shape)}.")
    pixels = rank[0].numel()
    if not 1 <= steps <= pixels:
        raise ValueError(f"steps is {steps}; it must be 1 to the number of pixels, {pixels}.")
    start, end = start.detach(), end.detach()
    changed = torch.arange(steps + 1) * pixels // steps  # pixels changed at each step

    clean = evaluate(model, lambda index: x.detach()[index], len(x), batch=batch)
    chosen = targets(clean, target_class)

    def picture(index: Tensor) -> Tensor:
        image, count = index // (steps + 1), changed[index % (steps + 1)].to(x.device)
        return torch.where((rank[image] < count.view(-1, 1, 1))[:, None], end[image], start[image])

    y = evaluate(model, picture, len(x) * (steps + 1), batch=batch, progress=progress)
    y = y.float().softmax(1).view(len(x), steps + 1, -1)
    probability = y[torch.arange(len(x), device=y.device), :, chosen]
    return Curves(torch.trapezoid(probability, changed.to(probability) / pixels), probability)


def _rank(maps: Tensor) -> Tensor:
    """Place of each pixel in the order from the highest to the lowest, (N, H, W), from 0."""
    order = maps.flatten(1).argsort(dim=1, descending=True, stable=True)
    return order.argsort(dim=1).view_as(maps)  # the inverse of a permutation


def checked_maps(maps: Tensor, masks: Tensor | None = None) -> Tensor:
    """The maps, detached, if they and the masks are what this module takes."""
    if maps.ndim != 3 or maps.numel() == 0 or not maps.is_floating_point() or not maps.isfinite().all():
        raise ValueError(
            f"Maps are finite floats (N, H, W), at least one of them, not {maps.dtype} {tuple(maps.shape)}"
            f"{' with NaN or infinite values' if not maps.isfinite().all() else ''}."
        )
    if masks is not None and (masks.dtype != torch.bool or masks.shape != maps.shape):
        raise ValueError(
            f"Masks are bool {tuple(maps.shape)} like the maps, True on the object, not {masks.dtype} "
            f"{tuple(masks.shape)}."
        )
    if masks is not None and not masks.flatten(1).any(1).all():
        empty = int((~masks.flatten(1).any(1)).nonzero()[0])
        raise ValueError(f"The mask of image {empty} is empty: leave out images without the object.")
    return maps.detach()
