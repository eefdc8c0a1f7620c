"""What a survey can gather about the channels of a layer.

- `Statistic`: what all have in common: feed, merge, state
- `TopK`: the images that activate each channel most, and where
- `Threshold`: the value that a given share of the activations exceeds

    top = TopK("relu5", k=9)
    top.update(activations, indices)     # (N, C, H, W) and the N images' numbers
    top.merge(another)                   # as if fed with the other's images too

All are the same to the last bit in whatever batches, parts and order the activations come.
"""

from abc import ABC, abstractmethod
from fractions import Fraction
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cnnvis_helpers import weight_files
from cnnvis_helpers.scores import finite

State = dict[str, Tensor]


class Statistic(ABC):
    """Something about each channel of one layer that can be gathered batch by batch.

    A subclass says what a batch amounts to (`_measure`) and how two such states become one (`_join`, which must give
    the same bits in any order and grouping). It hands its arguments, as plain values, to `__init__` here: surveys are
    told apart by them. A state is made of scalar tensors and such whose first axis is the channel; `seen`, the number
    of images, is added here.
    """

    def __init__(self, layer: str, **settings: Any) -> None:
        self.layer = layer
        self.settings = {"statistic": type(self).__name__, "layer": layer, **settings}
        self._state: State = {}

    @abstractmethod
    def _measure(self, a: Tensor, indices: Tensor) -> State:
        """The state of one batch: a (N, C, H, W) as `checked` returns it, not to be changed; indices (N,) int64."""

    @abstractmethod
    def _join(self, one: State, two: State) -> State:
        """The state of the images of both."""

    @property
    def seen(self) -> int:
        """How many images it has been fed."""
        return int(self._state["seen"]) if self._state else 0

    def update(self, a: Tensor, indices: Tensor) -> None:
        """Feed activations (N, C, H, W), or (N, C) as maps of one position, of the images numbered `indices` (N,).

        Raises: ValueError for other shapes, and for NaN or infinite activations.
        """
        self.take(checked(self.layer, a, len(indices)), indices)

    def take(self, a: Tensor, indices: Tensor) -> None:
        """The same with what `checked` returned: one check will do for several statistics of a layer."""
        state = self._measure(a, indices.to(a.device))
        self._add({"seen": torch.tensor(len(a)), **{name: t.cpu() for name, t in state.items()}})

    def merge(self, other: "Statistic") -> None:
        """Take in what another statistic with the same settings gathered from other images.

        Raises: ValueError where the settings, or the numbers of channels, differ.
        """
        if self.settings != other.settings:
            raise ValueError(f"These cannot be merged: {self.settings} and {other.settings}.")
        other._settle()
        if other._state:
            self._add(other._state)

    def _add(self, state: State) -> None:
        if not self._state:
            self._state = dict(state)
            return
        self._agree(state)
        self._state = {**self._join(self._state, state), "seen": self._state["seen"] + state["seen"]}

    def _agree(self, state: State) -> None:
        channels = [next(len(t) for t in s.values() if t.ndim) for s in (self._state, state)]
        if channels[0] != channels[1]:
            raise ValueError(f"Layer {self.layer!r} had {channels[0]} channels, now it has {channels[1]}.")

    def _settle(self) -> None:  # noqa: B027 (most need none)
        """Bring the state up to date, where a subclass puts that off."""

    def state_dict(self) -> State:
        """All that was gathered, as a copy; empty before the first image."""
        self._settle()
        return {name: tensor.clone() for name, tensor in self._state.items()}

    def load_state_dict(self, state: State) -> None:
        """Put back what `state_dict` of a statistic with the same settings gave; what was here is dropped."""
        self._state = {name: tensor.clone() for name, tensor in state.items()}

    def _get(self, name: str) -> Tensor:
        self._settle()
        if not self._state:
            raise ValueError(f"The {type(self).__name__} of layer {self.layer!r} has seen no image yet.")
        return self._state[name]


def checked(layer: str, a: Tensor, images: int) -> Tensor:
    """Activations of so many images as statistics take them: (N, C, H, W) float32, finite, without negative zeros.

    Raises: ValueError as `Statistic.update`.
    """
    if a.ndim not in (2, 4) or len(a) != images or a.numel() == 0:
        raise ValueError(
            f"Layer {layer!r} gives {tuple(a.shape)} for {images} images; needed is "
            f"({images}, C, H, W) or ({images}, C)."
        )
    a = a.detach().float()
    if not finite(a):
        raise ValueError(f"Layer {layer!r} gives NaN or infinite values: look at the weights.")
    a = a.reshape(*a.shape, 1, 1) if a.ndim == 2 else a
    return a.contiguous() + 0.0  # -0.0 + 0.0 is 0.0: equal values, equal bits


class TopK(Statistic):
    """The k images with the largest activation of each channel: (C, min(k, images)) tensors, largest first.

    An image counts once for a channel, at its largest activation (the first such place by rows). Equal activations of
    several images are ranked by image number.

    Args:
        k: how many.
        basis: None for the channels themselves, or (D, C): D directions in the space of the channels. The activation
            of a direction at a place is the inner product with the channels there.

    Raises: ValueError for k below 1, and for a basis that is no table, is not finite or has other than C columns.
    """

    def __init__(self, layer: str, k: int = 9, *, basis: Tensor | None = None) -> None:
        if k < 1:
            raise ValueError(f"k must be at least 1, not {k}.")
        if basis is not None and (basis.ndim != 2 or not basis.isfinite().all()):
            raise ValueError(f"A basis is a finite table (directions, channels), not {tuple(basis.shape)}.")
        self.k = k
        self.basis = None if basis is None else basis.detach().float().cpu().clone()
        mark = None if self.basis is None else weight_files.fingerprint({"basis": self.basis})
        super().__init__(layer, k=k, basis=mark)

    def _measure(self, a: Tensor, indices: Tensor) -> State:
        if self.basis is not None:
            if self.basis.shape[1] != a.shape[1]:
                raise ValueError(
                    f"The basis has {self.basis.shape[1]} columns, layer {self.layer!r} {a.shape[1]} channels."
                )
            basis = self.basis.to(a.device)
            # One image at a time: a product over the batch may round differently with its size.
            a = torch.stack([torch.tensordot(basis, one, 1) for one in a]) + 0.0  # (N, D, H, W)
        peaks, places = a.flatten(2).max(2)  # (N, C) each
        return self._best(
            {
                "values": peaks.T,
                "images": indices.expand(a.shape[1], -1),
                "rows": places.T // a.shape[3],
                "columns": places.T % a.shape[3],
            }
        )

    def _join(self, one: State, two: State) -> State:
        return self._best({name: torch.cat([one[name], two[name]], 1) for name in one if name != "seen"})

    def _best(self, found: State) -> State:
        by_number = found["images"].sort(1).indices
        ranked = found["values"].gather(1, by_number)
        by_value = ranked.sort(dim=1, descending=True, stable=True).indices
        order = by_number.gather(1, by_value)[:, : self.k]
        return {name: tensor.gather(1, order) for name, tensor in found.items()}

    @property
    def values(self) -> Tensor:
        """The activations, float32."""
        return self._get("values")

    @property
    def images(self) -> Tensor:
        """The numbers of the images, int64."""
        return self._get("images")

    @property
    def rows(self) -> Tensor:
        """The row of the map where each activation is, int64."""
        return self._get("rows")

    @property
    def columns(self) -> Tensor:
        """The column of the map where each activation is, int64."""
        return self._get("columns")


class Threshold(Statistic):
    """The value that a given share of each channel's activations exceeds, over all images and places, exactly.

    Network dissection (Bau et al., CVPR 2017) asks for T with P(a > T) = 0.005. `value` is the smallest activation
    that at most that share of all lies above: the quantile at 1 - share by the inverted distribution function. To be
    exact it keeps the largest share of the activations, 0.5 % of one layer's on all images, and up to as many that wait
    to be put in order with them: 4 bytes each.

    Args:
        images: of how many images the survey is in all, `len(data)`, also where this is fed a part of them.
        share: between 0 and 1.

    Raises: ValueError for other numbers, when fed more images, and when the size of the maps changes.
    """

    def __init__(self, layer: str, images: int, share: float = 0.005) -> None:
        if images < 1 or not 0 < share < 1:
            raise ValueError(f"Needed are 1 image or more and a share in (0, 1), not {images} and {share}.")
        super().__init__(layer, images=images, share=float(share))
        self._waiting, self._waits = torch.zeros(0), 0  # found since the state was made: its first columns

    def _above(self, count: int) -> int:
        """How many of `count` activations may exceed the value; the share is the decimal number that was written."""
        return int(Fraction(str(self.settings["share"])) * count)

    def _measure(self, a: Tensor, indices: Tensor) -> State:
        a, places = a.flatten(2), a.shape[2] * a.shape[3]
        kept = self._state.get("values")
        if kept is None or kept.shape != (a.shape[1], self._kept(places)):
            return {
                "values": self._largest(a.transpose(0, 1).flatten(1), places),
                "places": torch.tensor(places),
            }
        # What is not above the least of these will not be kept. The few that are, in rows filled up with the least.
        least = kept[:, -1].to(a)
        channel, image = (a.amax(2) > least).T.nonzero(as_tuple=True)  # most maps can be left out
        maps = a[image, channel]
        above = maps > least[channel, None]
        channel = channel.repeat_interleave(above.sum(1))
        counts = channel.bincount(minlength=len(least))
        column = torch.arange(len(channel), device=a.device) - (counts.cumsum(0) - counts)[channel]
        found = least[:, None].repeat(1, max(1, int(counts.max())))
        found[channel, column] = maps[above]
        return {"values": found, "places": torch.tensor(places)}

    def _join(self, one: State, two: State) -> State:
        values = torch.cat([one["values"], two["values"]], 1)
        return {"values": self._largest(values, int(one["places"])), "places": one["places"]}

    def _largest(self, values: Tensor, places: int) -> Tensor:
        ascending = np.sort(values.cpu().numpy(), axis=1)  # up to ten times as fast as in torch
        return torch.from_numpy(ascending[:, : -self._kept(places) - 1 : -1].copy())

    def _kept(self, places: int) -> int:
        return self._above(self.settings["images"] * places) + 1

    def _add(self, state: State) -> None:
        images = self.seen + int(state["seen"])
        if images > self.settings["images"]:
            raise ValueError(f"This Threshold is for {self.settings['images']} images and is given {images}.")
        if not self._state:
            super()._add(state)
            return
        self._agree(state)
        self._state["seen"] = self._state["seen"] + state["seen"]
        # Putting values in order costs as much as there are: so new ones wait until there are as many. They wait in
        # one tensor: many small ones would lie scattered between what each batch needs, and memory grow by that.
        kept, found = self._state["values"], state["values"]
        if self._waits + found.shape[1] > kept.shape[1]:
            self._settle(found)
            return
        if self._waiting.shape != kept.shape:
            self._waiting = torch.empty_like(kept)
        self._waiting[:, self._waits : self._waits + found.shape[1]] = found
        self._waits += found.shape[1]

    def _agree(self, state: State) -> None:
        super()._agree(state)
        if self._state["places"] != state["places"]:
            raise ValueError(
                f"Layer {self.layer!r} gives maps of {self._state['places']} and of {state['places']} places."
            )

    def _settle(self, *more: Tensor) -> None:
        found = [*more, self._waiting[:, : self._waits]] if self._waits else [*more]
        if found:
            state = self._join(self._state, {**self._state, "values": torch.cat(found, 1)})
            self._state, self._waits = {**self._state, **state}, 0

    def load_state_dict(self, state: State) -> None:
        """Put back what `state_dict` of a statistic with the same settings gave; what was here is dropped."""
        self._waiting, self._waits = torch.zeros(0), 0
        super().load_state_dict(state)

    @property
    def value(self) -> Tensor:
        """The threshold of each channel, (C,) float32, for the images seen so far."""
        return self._get("values")[:, self._above(self.seen * int(self._get("places")))]
