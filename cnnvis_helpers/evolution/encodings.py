"""How a genome describes an image: genomes (N, genes) in [0, 1] → images (N, 3, s, s) in [0, 1].

- `Direct`: a gene for each colour value of each pixel
- `CPPN`: genes are the connections of a small network that computes colours from places
- `Encoding`: what both are; write your own with a number and a function

    code = CPPN(96)
    images = code.decode(genomes := torch.rand(8, code.genes))   # (8, 3, 96, 96)
    large = CPPN(384, side=384).decode(genomes)                  # the same patterns, drawn finer

CPPN: compositional pattern-producing network (Stanley, *Genetic Programming and Evolvable Machines*, 2007).
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

_INPUTS = 4  # x, y, r and 1
_KINDS = 4  # sine, sigmoid, Gaussian and linear nodes


class Encoding(Protocol):
    """What `confidence` needs: the number of genes, and how they become images."""

    @property
    def genes(self) -> int:
        """Length of a genome."""

    def decode(self, genomes: Tensor) -> Tensor:
        """Genomes (N, genes) in [0, 1] → images (N, 3, s, s) in [0, 1]."""


@dataclass(frozen=True)
class Direct:
    """A gene for each of 3 · side² colour values; an image is enlarged to `size` where `side` is smaller.

    Departure from Nguyen et al. (2015): red, green and blue, where they have hue, saturation and value.
    """

    size: int
    side: int | None = None  # None: as `size`

    def __post_init__(self) -> None:
        _sizes(self.size, self.side)

    @property
    def genes(self) -> int:
        """Length of a genome, 3 · side²."""
        return 3 * (self.side or self.size) ** 2

    def decode(self, genomes: Tensor) -> Tensor:
        """Genomes (N, genes) in [0, 1] → images (N, 3, size, size). Raises: ValueError for other genomes."""
        side = self.side or self.size
        return _enlarged(_checked(genomes, self.genes).reshape(-1, 3, side, side), self.size)


@dataclass(frozen=True)
class CPPN:
    """Colours as a function of place: patterns that repeat, mirror and vary as smooth functions do.

    Inputs are x and y from −1 to 1, the distance r from the centre, and 1. Each of `layers` layers has `width`
    possible nodes, a quarter each sine, sigmoid, Gaussian and linear (cut to ±1), which see the inputs and all layers
    before; three outputs see everything and give red, green and blue through a sigmoid. A gene is one possible
    connection, of weight
        reach · sign(v) · max(0, |v| − 0.2)³ / 0.8³,  v = 2 · gene − 1:
    near the middle there is no connection, most are weak and a few are strong. So mutation changes weights, makes and
    cuts connections and, by a node's first or last one, makes and removes nodes. Departure: the evolving graphs of
    Nguyen et al. (2015), which have no limit, are replaced by this one, large enough for them here, in which a
    population is drawn as one tensor.

    `reach` is the largest weight into each layer and the outputs: a sine of weight 8 has 2.5 waves across the image.
    Patterns are drawn with `side` pixels, by default half of `size`, and enlarged, since they are smooth.
    """

    size: int
    side: int | None = None
    width: int = 8
    layers: int = 2
    reach: tuple[float, ...] = (8.0, 4.0, 1.5)

    def __post_init__(self) -> None:
        _sizes(self.size, self.side)
        if (
            self.width < _KINDS
            or self.width % _KINDS
            or self.layers < 1
            or len(self.reach) != self.layers + 1
        ):
            raise ValueError(
                f"A CPPN has layers of 4, 8, 12 … nodes and a reach for each layer and the outputs, not {self.layers} "
                f"layers of {self.width} with reach {self.reach}."
            )

    @cached_property
    def _shapes(self) -> list[tuple[int, int]]:
        """Connections into each layer, and into the outputs: (nodes, what they see)."""
        ends = [*[self.width] * self.layers, 3]
        return [(nodes, _INPUTS + i * self.width) for i, nodes in enumerate(ends)]

    @cached_property
    def _scale(self) -> Tensor:
        """What makes weights of the cubes, (genes,): 0.8³ becomes the layer's reach."""
        parts = zip(self._shapes, self.reach, strict=True)
        return torch.cat([torch.full((nodes * seen,), reach / 0.8**3) for (nodes, seen), reach in parts])

    @cached_property
    def _places(self) -> Tensor:
        """The inputs at every pixel, (4, side²)."""
        side = self.side or max(1, round(self.size / 2))
        axis = (torch.arange(side) + 0.5) / side * 2 - 1  # pixel centres, so that finer drawings agree
        y, x = torch.meshgrid(axis, axis, indexing="ij")
        return torch.stack([x, y, (x.square() + y.square()).sqrt(), torch.ones_like(x)]).flatten(1)

    @property
    def genes(self) -> int:
        """Length of a genome: the number of possible connections."""
        return sum(nodes * seen for nodes, seen in self._shapes)

    def weights(self, genomes: Tensor) -> list[Tensor]:
        """Weights (N, nodes, seen) into each layer and the outputs; 0 where there is no connection."""
        v = 2 * _checked(genomes, self.genes) - 1
        strength = functional.softshrink(v, 0.2).pow_(3).mul_(self._scale.to(v))
        parts = strength.split([nodes * seen for nodes, seen in self._shapes], 1)
        return [part.unflatten(1, shape) for part, shape in zip(parts, self._shapes, strict=True)]

    def decode(self, genomes: Tensor) -> Tensor:
        """Genomes (N, genes) in [0, 1] → images (N, 3, size, size). Raises: ValueError for other genomes."""
        places = self._places.to(genomes)
        layers: list[Tensor] = []
        for weights in self.weights(genomes):
            # The inputs are the same for all genomes: one product serves the whole population.
            summed = (weights[:, :, :_INPUTS].flatten(0, 1) @ places).unflatten(0, weights.shape[:2])
            for values, their in zip(layers, weights[:, :, _INPUTS:].split(self.width, 2), strict=False):
                summed = summed.baddbmm_(their, values)
            layers.append(_answers(summed) if len(layers) < self.layers else summed.sigmoid_())
        side = round(places.shape[1] ** 0.5)
        return _enlarged(layers[-1].unflatten(2, (side, side)), self.size)


def _answers(summed: Tensor) -> Tensor:
    """Apply each quarter's function to sums (N, nodes, places), in place; all have values in [−1, 1]."""
    sine, sigmoid, gaussian, linear = summed.chunk(_KINDS, 1)
    sine.sin_()
    sigmoid.sigmoid_().mul_(2).sub_(1)
    gaussian.square_().neg_().clamp_(min=-80).exp_().mul_(2).sub_(1)  # -1 below -80 in any case, and sooner
    linear.clamp_(-1, 1)
    return summed


def _checked(genomes: Tensor, genes: int) -> Tensor:
    if genomes.ndim != 2 or genomes.shape[1] != genes or not genomes.is_floating_point():
        raise ValueError(
            f"Genomes of this encoding are floats (N, {genes}), not {genomes.dtype} {tuple(genomes.shape)}."
        )
    if genomes.numel():
        low, high = torch.aminmax(genomes)
        if not (low >= 0 and high <= 1):  # NaN is neither
            raise ValueError(
                "A genome cannot be decoded: its genes are numbers from 0 to 1, and some are not."
            )
    return genomes


def _enlarged(images: Tensor, size: int) -> Tensor:
    """Images (N, C, s, s) as (N, C, size, size), the channels of a pixel side by side: so networks see them sooner."""
    n, channels, side, _ = images.shape
    if 2 * side == size:
        wide = images.new_empty(n, side, side, 2, channels)
        # Channel by channel: all at once takes twice as long.
        for values, into in zip(images.unbind(1), wide.unbind(4), strict=True):
            _double(values, into, 2)
        tall = images.new_empty(n, side, 2, size, channels)
        _double(wide.flatten(2, 3), tall, 1)
        return tall.flatten(1, 2).permute(0, 3, 1, 2)
    images = images.clone(memory_format=torch.channels_last)
    if side == size:
        return images
    return functional.interpolate(images, size=(size, size), mode="bilinear", antialias=side > size)


def _double(values: Tensor, into: Tensor, dim: int) -> None:
    """Twice as many values along `dim`, as `interpolate` has them in several times the time (for three channels).

    `into` has an axis of 2 behind `dim`.
    """
    count = values.shape[dim]
    before, after = into.unbind(dim + 1)  # a quarter of a pixel before and after the old centres
    left, right = values.narrow(dim, 0, count - 1), values.narrow(dim, 1, count - 1)
    torch.lerp(right, left, 0.25, out=before.narrow(dim, 1, count - 1))
    torch.lerp(left, right, 0.25, out=after.narrow(dim, 0, count - 1))
    for half, end in ((before, 0), (after, -1)):  # at the edges there is nothing to blend with
        half.select(dim, end).copy_(values.select(dim, end))


def _sizes(size: int, side: int | None) -> None:
    if size < 1 or (side is not None and side < 1):
        raise ValueError(f"Images have a pixel at least, not size {size} and side {side}.")
