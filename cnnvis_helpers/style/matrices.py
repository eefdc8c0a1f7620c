"""Gram matrices of the layers of a model, and losses on them: what is in a picture, wherever it is.

- `gram`, `grams`: of maps; of named layers for images of any size
- `style_loss`, `content_loss`: how far Gram matrices, or maps, are from wanted ones
- `error`: the squared distance of both, of one layer
- `Reader`: the maps of named layers, in a pass that ends behind the last of them
- `INPUT`: stands for the image itself in a list of layers

    wanted = grams(net.model, net.normalise(brick[None]), [INPUT, "relu1", "relu2"])     # name → (1, C, C)
    style_loss(grams(net.model, x, [INPUT, "relu1", "relu2"]), wanted)                   # (N,)
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from cnnvis_helpers.hooks import LayerError, frozen, record
from cnnvis_helpers.inversion import Cut, code_error

INPUT = "input"


def gram(maps: Tensor) -> Tensor:
    """Mean over the places of the product of any two channels, (N, C, H, W) → (N, C, C).

    Divided by the number of places, so that images of any size can be compared; the channels' means are not taken out.
    Departure: Gatys et al. divide in the loss instead, by the numbers of places and of channels.
    Raises ValueError for anything but maps.
    """
    if maps.ndim != 4 or not maps.numel():
        raise ValueError(f"A Gram matrix is made of maps (N, C, H, W), not of {tuple(maps.shape)}.")
    flat = maps.flatten(2)
    return flat @ flat.mT / flat.shape[2]


class Reader:
    """The maps of named layers, with gradients: the forward pass ends behind the last of them."""

    def __init__(self, model: nn.Module, layers: Sequence[str]) -> None:
        self.model, self.layers = model, list(dict.fromkeys(layers))
        if not self.layers:
            raise ValueError("At least one layer is needed.")
        self.inner = [name for name in self.layers if name != INPUT]
        self._cuts = [Cut(model, name) for name in self.inner]

    def __call__(self, x: Tensor) -> dict[str, Tensor]:
        if len(self._cuts) > 1:  # the one behind which most of the layers have run is the last
            with torch.no_grad():
                self._cuts = [max(self._cuts, key=lambda cut: self._passed(cut, x[:1]))]
        # With a channel of ones, the means are in the Gram matrix.
        found = {INPUT: torch.cat([x, torch.ones_like(x[:, :1])], 1)}
        if self._cuts:
            with record(self.model, self.inner) as rec:
                self._cuts[0](x)
            found |= rec
        for name in self.layers:
            if found[name].ndim != 4:
                raise LayerError(f"Layer {name!r} gives {tuple(found[name].shape)}, no maps (N, C, H, W).")
        return {name: found[name] for name in self.layers}

    def _passed(self, cut: Cut, x: Tensor) -> int:
        with record(self.model, self.inner) as rec:
            cut(x)
        return sum(map(len, rec.calls.values()))


def grams(model: nn.Module, x: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
    """The Gram matrices (N, C, C) of `layers` for normalised images (N, 3, H, W) of any size, without gradients.

    `INPUT` among the layers gives the images' own, with a channel of ones: (N, 4, 4), means and products of the
    colours. What comes after the last layer does not run. Raises ValueError for images that are not finite, LayerError
    for layers that are unknown, do not run, or give no maps.
    """
    if x.ndim != 4 or not x.numel() or not x.isfinite().all():
        raise ValueError(f"Finite images (N, 3, H, W) are needed, one at least, not {tuple(x.shape)}.")
    with frozen(model), torch.no_grad():
        return {name: gram(maps) for name, maps in Reader(model, layers)(x).items()}


def style_loss(
    grams: Mapping[str, Tensor], target: Mapping[str, Tensor], weights: Mapping[str, float] | None = None
) -> Tensor:
    """Weighted mean over the target's layers of ‖G − Ĝ‖² / ‖Ĝ‖², (N,): 0 for the same, 1 for an image of no activity.

    Departure from Gatys et al.: each layer is divided by the size of its target, instead of by numbers of places and
    channels, so that no layer outweighs another by the scale of its activations. Without `weights` all count alike.
    Raises ValueError for unlike layers, weights below 0 or all 0, and a target of zeros.
    """
    weights = weights or dict.fromkeys(target, 1.0)
    if not target or set(weights) != set(target) or not set(target) <= set(grams):
        raise ValueError(
            f"Gram matrices ({', '.join(grams)}), target ({', '.join(target)}) and weights ({', '.join(weights)}) must "
            "name the same layers."
        )
    total = sum(weights.values())
    if min(weights.values()) < 0 or not total > 0:
        raise ValueError(f"Weights are 0 or more, and not all 0, not {dict(weights)}.")
    parts = [w / total * error(grams[name], target[name], name) for name, w in weights.items()]
    return torch.stack(parts).sum(0)


def content_loss(maps: Tensor, target: Tensor) -> Tensor:
    """‖F − F̂‖² / ‖F̂‖² of maps (N, C, H, W) of one layer, (N,): `inversion.code_error`; here places do count."""
    return error(maps, target, "of the content")


def error(reached: Tensor, wanted: Tensor, name: str) -> Tensor:
    """`inversion.code_error` of what layer `name` gives, (N,); ValueError for unlike shapes and a target of zeros."""
    if reached.shape[1:] != wanted.shape[1:]:
        raise ValueError(
            f"Layer {name}: {tuple(reached.shape)} cannot be compared with {tuple(wanted.shape)}."
        )
    if not wanted.flatten(1).any(1).all():
        raise ValueError(f"Layer {name} does not answer to the picture at all: leave it out.")
    return code_error(reached, wanted)
