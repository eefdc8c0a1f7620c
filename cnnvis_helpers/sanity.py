"""Does a map depend on what it claims to explain? Nulls, networks whose weights are lost, likeness and intervals.

nulls(maps, generator=g)              maps that know nothing of the image, for the same scores as the real ones
randomise(model, seed=0)              copies of the model with ever more layers drawn anew
similarity(a, b)                      do two maps agree?
bootstrap(values, seed=0)             mean with its confidence interval

    for name, copy in randomise(model): ...                          # "fc8", then "fc7" too, …
    mean, low, high = bootstrap(inside - area(masks), seed=0)        # paired: image by image
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from copy import deepcopy
from typing import Any, NamedTuple

import numpy as np
import scipy.stats
import torch
from skimage.metrics import structural_similarity
from torch import Tensor, nn
from torch.nn import functional

from cnnvis_helpers.faithfulness import checked_maps
from cnnvis_helpers.hooks import find
from cnnvis_helpers.occlusion import blurred


def nulls(maps: Tensor, *, generator: torch.Generator) -> dict[str, Tensor]:
    """Maps that know nothing of their image, name → (N, H, W) float32: what scores are compared with.

    "noise": uniform noise blurred with a sigma of 1/16 of the shorter side, on a torus, so that no place is special.
    "centre": a Gaussian in the middle, sigma a quarter of each side; photographers put objects there.
    "shuffled": each image gets the map of another, none its own (left out for a single map).
    """
    maps = checked_maps(maps)
    count, height, width = maps.shape
    sigma = min(height, width) / 16
    reach = math.ceil(3 * sigma)
    noise = torch.rand(count, 1, height, width, generator=generator, device=generator.device)
    noise = blurred(functional.pad(noise, [reach] * 4, mode="circular"), sigma)
    noise = noise[:, 0, reach : reach + height, reach : reach + width]
    down, across = torch.linspace(-2, 2, height)[:, None], torch.linspace(-2, 2, width)
    result = {"noise": noise, "centre": (-(down**2 + across**2) / 2).exp().expand(count, -1, -1)}
    if count > 1:
        order = torch.randperm(count, generator=generator, device=generator.device).to(maps.device)
        result["shuffled"] = torch.empty_like(maps).index_copy_(0, order, maps[order.roll(1)])
    return {name: null.float().to(maps.device) for name, null in result.items()}


def randomise(
    model: nn.Module, layers: Sequence[str] | None = None, *, cascading: bool = True, seed: int = 0
) -> Iterator[tuple[str, nn.Module]]:
    """Yield layer by layer, from the output to the input, its name and a copy of the model with its weights lost.

    A map that explains the model must change with it. Weights are drawn by the layer's own `reset_parameters`:
    torch's default for its kind, which need not be what the model once started from; batch norm forgets its
    statistics. Each copy is the caller's to keep; the model itself and the global generators stay as they are.

    Args:
        layers: names in the order in which they go; one that holds others goes with all of them ("layer4"). None
            is every layer with parameters of its own, in reverse order of registration.
        cascading: layers stay lost, so that the last copy has none of the trained ones; False loses one at a time.
        seed: fixes the new weights.

    Raises: hooks.LayerError for an unknown layer; ValueError for a layer that has no parameters or cannot draw them.
    Source: Adebayo et al., *Sanity checks for saliency maps*, NeurIPS 2018.
    """
    if layers is None:
        layers = [name for name, module in model.named_modules() if _has_weights(module)][::-1]
    names = list(layers)
    for name in filter(None, names):
        find(model, name)
    if not names:
        raise ValueError("There is no layer to draw anew: name some that have weights.")
    lost = deepcopy(model).cpu()  # on another device, layers would draw from that device's generator
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        for name in names:
            weighted: list[Any] = [m for m in lost.get_submodule(name).modules() if _has_weights(m)]
            stuck = [type(m).__name__ for m in weighted if not hasattr(m, "reset_parameters")]
            if stuck or not weighted:
                why = f"holds a {stuck[0]} without reset_parameters()" if stuck else "has no weights"
                raise ValueError(f"Layer {name!r} {why}, so it cannot be drawn anew.")
            for module in weighted:
                module.reset_parameters()

    def copy(number: int) -> nn.Module:
        result = deepcopy(model)
        for name in names[0 if cascading else number : number + 1]:
            result.get_submodule(name).load_state_dict(lost.get_submodule(name).state_dict())
        return result

    return ((name, copy(number)) for number, name in enumerate(names))


class Similarity(NamedTuple):
    """How alike two maps are, image by image."""

    rank: Tensor  # (N,), Spearman's correlation of the pixels, in [-1, 1]
    structure: Tensor  # (N,), structural similarity (SSIM), in [-1, 1]


def similarity(a: Tensor, b: Tensor) -> Similarity:
    """Compare the absolute values of maps (N, H, W), each divided by its largest; NaN where one is constant.

    scipy's `spearmanr` and scikit-image's `structural_similarity`, windows of 7 × 7. Smooth maps, and maps that
    both show the image's edges, are alike without meaning the same: compare with maps of other images.
    """
    first, second = (checked_maps(maps).detach().abs().cpu().double().numpy() for maps in (a, b))
    if first.shape != second.shape or min(first.shape[1:]) < 7:
        raise ValueError(
            f"Maps of one shape, at least 7 × 7 pixels, can be compared, not {first.shape} and {second.shape}."
        )
    result = torch.full((2, len(first)), math.nan)
    for i, (one, other) in enumerate(zip(first, second, strict=True)):
        if np.ptp(one) > 0 and np.ptp(other) > 0:
            result[0, i] = float(scipy.stats.spearmanr(one.ravel(), other.ravel()).statistic)
            result[1, i] = structural_similarity(one / one.max(), other / other.max(), data_range=1.0)
    return Similarity(result[0], result[1])


class Interval(NamedTuple):
    """A mean and its confidence interval."""

    mean: float
    low: float
    high: float


def bootstrap(values: Tensor | Sequence[float], *, level: float = 0.95, seed: int = 0) -> Interval:
    """Mean of one number per image, and its percentile bootstrap interval (scipy's, 9999 resamples); NaN is left out.

    The interval is about other images of the same kind, not about other networks. To compare two methods, pass the
    differences, image by image. It is too narrow for few values: take 20 or more.

    Raises: ValueError for fewer than two numbers, infinite ones, and a level that is not between 0 and 1.
    """
    numbers = torch.as_tensor(values).detach().cpu().double().flatten().numpy()
    numbers = numbers[~np.isnan(numbers)]
    if len(numbers) < 2 or not np.isfinite(numbers).all() or not 0 < level < 1:
        raise ValueError(
            f"A bootstrap needs two or more finite numbers and a level between 0 and 1, not {len(numbers)} numbers "
            f"that are not NaN and level {level}."
        )
    found = scipy.stats.bootstrap(
        (numbers,),
        np.mean,
        confidence_level=level,
        method="percentile",
        batch=1000,
        random_state=np.random.default_rng(seed),
    ).confidence_interval
    return Interval(float(numbers.mean()), float(found.low), float(found.high))


def _has_weights(module: nn.Module) -> bool:
    """Whether the module itself, not those inside it, holds what training has set."""
    return hasattr(module, "reset_parameters") or next(module.parameters(recurse=False), None) is not None
