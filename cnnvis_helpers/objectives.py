"""What an image is made to maximise, in small parts that add up; and what is held against it.

unit(layer, channel)          one neuron: a channel at one place
channel(layer, channel)       a channel's mean over its map
logit(target_class)           a class, before the softmax
layer(name)                   everything in a layer: half the mean square, as DeepDream climbs
direction(layer, vector)      a mixture of channels
diversity(layer)              how unlike the images of a batch are
each([a, b, …])               a for the first image, b for the second, …
evaluate(model, objective, x) the objective of a batch
Objective                     what all of these are; +, - and * make new ones
total_variation, alpha_norm   penalties on pixels: neighbours that differ, colours far from the middle

wanted = logit([3, 17]) - 0.1 * channel("relu5", 7)          # two images, a class for each
evaluate(model, wanted, x)                                   # (2,)
penalty = 40 * total_variation(images) + 0.5 * alpha_norm(images, 6)        # (N,)
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from cnnvis_helpers.hooks import LayerError, record
from cnnvis_helpers.scores import logits, targets

LOGITS = ""  # the key of the model's own output; no layer can have this name
Numbers = int | Sequence[int]


@dataclass(frozen=True)
class Objective:
    """What to maximise: called with recorded outputs, it gives one number for each image, with gradients.

    Sums, differences and products of objectives, and of objectives and numbers, are objectives.

    Attributes: score, a mapping from layer name (`LOGITS` for the logits) to output → (N,); layers, the names
    that it reads; about, a name for it; images, how many images it is made for, None for any number.
    """

    score: Callable[[Mapping[str, Tensor]], Tensor]
    layers: frozenset[str]
    about: str
    images: int | None = None

    def __call__(self, seen: Mapping[str, Tensor]) -> Tensor:
        """The objective (N,) of outputs recorded for N images."""
        count = len(seen[min(self.layers)])
        if self.images not in (None, count):
            raise ValueError(f"The objective ({self.about}) is for {self.images} images, not for {count}.")
        return self.score(seen)

    def __add__(self, other: Any) -> Objective:
        return self._with(other, operator.add, "{} + {}")

    def __radd__(self, other: Any) -> Objective:
        return self if other == 0 else self + other  # sum(objectives) begins with 0

    def __sub__(self, other: Any) -> Objective:
        return self._with(other, operator.sub, "{} - {}")

    def __rsub__(self, other: Any) -> Objective:
        return -self + other

    def __neg__(self) -> Objective:
        return self * -1

    def __mul__(self, other: Any) -> Objective:
        return self._with(other, operator.mul, "({}) * ({})")

    __rmul__ = __mul__

    def _with(self, other: Any, operate: Callable[..., Tensor], name: str) -> Objective:
        if isinstance(other, int | float):
            about = name.format(self.about, f"{other:g}")
            return Objective(lambda seen: operate(self(seen), other), self.layers, about, self.images)
        if not isinstance(other, Objective):
            return NotImplemented
        if None not in (self.images, other.images) and self.images != other.images:
            raise ValueError(
                f"{self.about} is for {self.images} images and {other.about} for {other.images}: they differ."
            )
        return Objective(
            lambda seen: operate(self(seen), other(seen)),
            self.layers | other.layers,
            name.format(self.about, other.about),
            self.images if other.images is None else other.images,
        )


def unit(layer: str, channel: Numbers, place: tuple[int, int] | None = None) -> Objective:
    """Activation of a channel at one place (row, column) of its map; by default the middle (H // 2, W // 2).

    `channel` is one number for all images, or one for each. In a layer of vectors (N, C) a unit has no place.
    Take the layer before a ReLU: behind it, a unit that the start does not activate has no gradient.
    """

    def score(a: Tensor) -> Tensor:
        maps = _channels(a, channel, layer)  # (N, H, W)
        height, width = maps.shape[1:]
        row, column = (height // 2, width // 2) if place is None else place
        if not (0 <= row < height and 0 <= column < width):
            raise ValueError(
                f"Layer {layer!r} has rows 0 to {height - 1} and columns 0 to {width - 1}: no place {place}."
            )
        return maps[:, row, column]

    about = f"{layer}[{channel}]" + ("" if place is None else f" at {place}")
    return _of_layer(layer, score, about, _count(channel))


def channel(layer: str, channel: Numbers) -> Objective:
    """Mean of a channel over its map; `channel` is one number for all images, or one for each."""
    return _of_layer(
        layer,
        lambda a: _channels(a, channel, layer).mean((1, 2)),
        f"mean {layer}[{channel}]",
        _count(channel),
    )


def logit(target_class: Numbers) -> Objective:
    """Logit of a class: one for all images, or one for each.

    Not the probability, which can also be raised by lowering the other classes (Simonyan et al. 2014).
    """

    def score(y: Tensor) -> Tensor:
        return y.gather(1, targets(y, target_class)[:, None])[:, 0]

    return _of_layer(LOGITS, score, f"logit {target_class}", _count(target_class))


def layer(name: str) -> Objective:
    """½ · mean of the squared outputs of a layer; its gradient at the layer is the output itself, over its size.

    What DeepDream climbs (Mordvintsev, Olah & Tyka 2015), who hand the activation back as if it were a gradient.
    """
    return _of_layer(name, lambda a: a.square().flatten(1).mean(1) / 2, f"layer {name}")


def direction(layer: str, vector: Sequence[float] | Tensor) -> Objective:
    """Mean over the places of a layer of v · a / |v|: how far the outputs a go along the direction v, (C,)."""
    v = torch.as_tensor(vector, dtype=torch.float32).detach()
    if v.ndim != 1 or not v.isfinite().all() or not v.any():
        raise ValueError(
            f"A direction is a vector of finite numbers, not all zero, not a tensor {tuple(v.shape)}."
        )

    def score(a: Tensor) -> Tensor:
        maps = _maps(a, layer)
        if maps.shape[1] != len(v):
            raise ValueError(
                f"Layer {layer!r} has {maps.shape[1]} channels; the direction has {len(v)} numbers."
            )
        return maps.mean((2, 3)) @ (v / v.norm()).to(maps)

    return _of_layer(layer, score, f"direction in {layer}")


def diversity(layer: str) -> Objective:
    """Minus the mean cosine similarity of each image's style with that of the other images, in [-1, 1].

    Style is the Gram matrix of the channels, Σ a(p) a(p)ᵀ over the places p; for a layer of vectors, the vector.
    Added to what all images of a batch maximise, it makes them show different sides of it (Olah et al. 2017).
    Raises ValueError for a batch of one image.
    """

    def score(a: Tensor) -> Tensor:
        maps = _maps(a, layer).flatten(2)  # (N, C, places)
        if len(maps) < 2:
            raise ValueError("Diversity compares the images of a batch: make two or more.")
        style = maps @ maps.mT if maps.shape[2] > 1 else maps
        style = functional.normalize(style.flatten(1), dim=1)
        # Each image is compared with the others, not with itself.
        return ((style * style).sum(1) - style @ style.sum(0)) / (len(maps) - 1)

    return _of_layer(layer, score, f"diversity in {layer}")


def each(objectives: Sequence[Objective]) -> Objective:
    """One objective for each image: the first for the first image of a batch, and so on."""
    parts = list(objectives)
    if not parts:
        raise ValueError("At least one objective is needed.")
    return Objective(
        lambda seen: torch.stack([part(seen)[i] for i, part in enumerate(parts)]),
        frozenset().union(*(part.layers for part in parts)),
        "; ".join(part.about for part in parts),
        len(parts),
    )


def evaluate(model: nn.Module, objective: Objective, x: Tensor) -> Tensor:
    """The objective of each image of a batch `x` (N, 3, H, W), normalised, in the model's present mode: (N,).

    Raises: hooks.LayerError for an unknown layer, or one that gives no tensor; ValueError for a channel, place or
        class that is not there, and, where logits are wanted, a model that gives no table of logits.
    """
    with record(model, [name for name in objective.layers if name != LOGITS]) as seen:
        y = logits(model, x) if LOGITS in objective.layers else model(x)
        return objective({LOGITS: y, **{name: seen[name] for name in objective.layers if name != LOGITS}})


def total_variation(images: Tensor, beta: float = 2.0) -> Tensor:
    """How much neighbouring pixels differ: (N, C, H, W) → (N,), for β = 2 the mean squared difference of vertical
    neighbours plus that of horizontal ones.

    In general Σ (Δ↓² + Δ→²)^(β/2) over pixels and channels, divided by the number of neighbours in one
    direction; Δ is 0 at the border. With β = 1 a jump costs the same however many pixels it is spread over, and
    images grow spikes; with β = 2 the spread is cheaper and edges blur (Mahendran & Vedaldi 2015, 2016).
    Departure: a mean, not their sum, so that a weight serves every size. Raises ValueError for β below 1.
    """
    if beta < 1:
        raise ValueError(f"beta is 1 or more, not {beta}.")
    down = images[:, :, 1:] - images[:, :, :-1]
    across = images[:, :, :, 1:] - images[:, :, :, :-1]
    if beta == 2:
        return down.square().mean((1, 2, 3)) + across.square().mean((1, 2, 3))
    both = torch.stack([functional.pad(down, (0, 0, 0, 1)), functional.pad(across, (0, 1))])
    # vector_norm has the gradient 0 at 0, where a square root has none.
    return (
        torch.linalg.vector_norm(both, dim=0).pow(beta).sum((1, 2, 3))
        * 2
        / (down[0].numel() + across[0].numel())
    )


def alpha_norm(images: Tensor, alpha: float = 6.0, centre: float | Tensor = 0.5) -> Tensor:
    """Mean of (2 |x − centre|)^α: (N, C, H, W) → (N,). For centre ½, 0 for mid-grey, 1 for black and white.

    α = 2 is the L2 penalty of Simonyan et al. (2014), with the mean colour (3, 1, 1) for centre. A large α is flat
    in the middle and steep at the ends: it holds colours off the ends without greying the rest (Mahendran &
    Vedaldi 2015, α = 6). Departure: a mean, not a sum. Raises ValueError for α below 1.
    """
    if alpha < 1:
        raise ValueError(f"alpha is 1 or more, not {alpha}.")
    return (2 * (images - centre).abs()).pow(alpha).mean((1, 2, 3))


def sixth_norm(images: Tensor) -> Tensor:
    """Mean of (2 |x − ½|)⁶ of images in [0, 1]: (N, C, H, W) → (N,), 0 for mid-grey, 1 for black and white.

    Flat in the middle and steep at the ends, it holds colours off the ends without greying the rest.
    """
    return alpha_norm(images, 6)


def pixel_penalty(variation: float, extremes: float = 0.0, beta: float = 2.0) -> Callable[[Tensor], Tensor]:
    """The penalty x → `variation` · `total_variation(x, beta)` + `extremes` · `sixth_norm(x)`, for `synthesise`."""
    return lambda x: variation * total_variation(x, beta) + extremes * sixth_norm(x)


def _of_layer(
    name: str, score: Callable[[Tensor], Tensor], about: str, images: int | None = None
) -> Objective:
    return Objective(lambda seen: score(seen[name]), frozenset({name}), about, images)


def _count(numbers: Numbers | Tensor) -> int | None:
    return None if torch.as_tensor(numbers).ndim == 0 else len(numbers)  # type: ignore[arg-type]


def _maps(a: Tensor, layer: str) -> Tensor:
    """(N, C, H, W); vectors (N, C) are maps of one place."""
    if a.ndim not in (2, 4):
        raise LayerError(
            f"Layer {layer!r} gives {tuple(a.shape)}; units need maps (N, C, H, W) or vectors (N, C)."
        )
    return a if a.ndim == 4 else a[:, :, None, None]


def _channels(a: Tensor, numbers: Numbers, layer: str) -> Tensor:
    """The channel wanted of each image, (N, H, W)."""
    maps = _maps(a, layer)
    chosen = torch.as_tensor(numbers, device=a.device)
    if chosen.is_floating_point() or chosen.dtype == torch.bool or chosen.ndim > 1:
        raise ValueError(f"A channel is a whole number, or one for each image, not {numbers!r}.")
    if ((chosen < 0) | (chosen >= maps.shape[1])).any():
        raise ValueError(f"Layer {layer!r} has channels 0 to {maps.shape[1] - 1}: there is no {numbers}.")
    return maps[torch.arange(len(maps), device=a.device), chosen.expand(len(maps))]
