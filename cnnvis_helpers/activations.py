"""How active, how sparse and how local a network's activations are.

sparsity(a)                          share of exact zeros
locality(a)                          1 = all activity in one place, 0 = spread like a uniform map
shuffled(a, generator)               the same values at random positions: the null for locality
active_share(model, batches, layers) share of the images on which each unit is active at all
dead_units(model, batches, layers)   mask of the units that no image activates

    a = hooks.activations(model, x, ["relu3"])["relu3"]            # (N, C, H, W), from non-negative layers
    print(f"{sparsity(a):.2f} zeros, locality {locality(a):.2f} against {locality(shuffled(a)):.2f} shuffled")
"""

from collections.abc import Iterable, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from cnnvis_helpers import hooks

Per = Literal["layer", "channel", "map"]


def sparsity(a: Tensor, per: Per = "layer") -> Tensor:
    """Share of exact zeros in activations (N, C, …), in [0, 1].

    `per="layer"` gives one number (a scalar tensor), `"channel"` (C,), `"map"` (N, C): one for each image
    and channel. Meant for layers behind a ReLU; elsewhere exact zeros are rare.
    """
    return _reduce((a == 0).float().flatten(2).mean(2) if a.ndim > 2 else (a == 0).float(), per)


def locality(a: Tensor, per: Per = "layer") -> Tensor:
    """How much the activity of each map gathers in one place: 1 - spread / spread of a uniform map.

    A map's positive values are taken as mass m(p) at positions p; its spread is the mean squared distance
    to its centre of mass, sum m |p - centre|² / sum m. A uniform H × W map has (H² - 1 + W² - 1) / 12. So
    1 means one position, 0 as spread as a uniform map, and negative values (not below -5) activity at
    opposite borders. Two separate spots count as spread. Maps without activity have no place: they are
    left out of means, and are NaN with `per="map"`. A map with few active positions is local by chance:
    compare with `locality(shuffled(a))`.

    `a` is (N, C, H, W) with H · W > 1; `per` as in `sparsity`. The measure is this course's own.
    Raises ValueError for other shapes.
    """
    if a.ndim != 4 or a.shape[2] * a.shape[3] < 2:
        raise ValueError(f"Locality needs maps (N, C, H, W) of at least two positions, got {tuple(a.shape)}.")
    height, width = a.shape[2:]
    mass = a.detach().double().clamp(min=0)
    total = mass.sum((2, 3))
    spread = _variance(mass.sum(3), total) + _variance(mass.sum(2), total)
    uniform = (height**2 - 1 + width**2 - 1) / 12
    return _reduce((1 - spread / uniform).float(), per)  # 0 / 0 = NaN marks the silent maps


def shuffled(a: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """The activations (N, C, H, W) with every map's values moved to random positions, each map by itself."""
    flat = a.flatten(2)
    order = torch.rand(flat.shape, generator=generator).argsort(2).to(a.device)
    return flat.gather(2, order).view_as(a)


def active_share(
    model: nn.Module, batches: Iterable[Tensor] | Tensor, layers: str | Sequence[str]
) -> dict[str, Tensor]:
    """Share of the images on which each unit is above zero anywhere, layer → (C,) in [0, 1].

    A unit is a channel of a map (N, C, H, W) or a column of (N, C). `batches` are prepared inputs; they
    are used once, one at a time, so that any number of images fits in memory; a single tensor is one batch.
    The model is left as it was. Raises ValueError for an unknown layer, for NaN in a layer's output, and if
    there are no images.
    """
    batches = [batches] if isinstance(batches, Tensor) else batches
    layers = [layers] if isinstance(layers, str) else list(layers)
    counts: dict[str, Tensor] = {}
    images = 0
    for batch in batches:
        for layer, a in hooks.activations(model, batch, layers).items():
            if a.isnan().any():
                raise ValueError(f"Layer {layer!r} gives NaN: look for NaN in the images or in the weights.")
            active = (a.flatten(2).amax(2) if a.ndim > 2 else a) > 0  # (N, C)
            counts[layer] = counts.get(layer, 0) + active.sum(0).cpu()
        images += len(batch)
    if images == 0:
        raise ValueError("No images: batches must hold at least one.")
    return {layer: counts[layer] / images for layer in layers}


def dead_units(
    model: nn.Module, batches: Iterable[Tensor] | Tensor, layers: str | Sequence[str]
) -> dict[str, Tensor]:
    """Mask of the units that are above zero on no image and at no position, layer → bool (C,).

    Same arguments and errors as `active_share`. "Dead" is a statement about these images: more images can
    only shrink the mask.
    """
    return {layer: share == 0 for layer, share in active_share(model, batches, layers).items()}


def _reduce(values: Tensor, per: Per) -> Tensor:
    """(N, C) → what `per` asks for; NaN entries are left out of the means."""
    if per == "map":
        return values
    if per == "channel":
        return values.nanmean(0)
    if per == "layer":
        return values.nanmean()
    raise ValueError(f"per is 'layer', 'channel' or 'map', got {per!r}.")


def _variance(mass: Tensor, total: Tensor) -> Tensor:
    """Variance of the position along the last axis of (N, C, L) under a mass, (N, C)."""
    position = torch.arange(mass.shape[2], dtype=mass.dtype, device=mass.device)
    mean = (mass * position).sum(2) / total
    return (mass * (position - mean[..., None]) ** 2).sum(2) / total
