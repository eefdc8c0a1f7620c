"""The filters of every convolution of several networks, with their smoothness.

filter_browser     the control
FilterBrowser      what it returns; its widgets are attributes
filter_picture     a filter bank -> pixels
filter_sentence    a filter bank -> what its numbers say

filter_browser({"trained": zoo.load("diorama/alexnet"), "untrained":
zoo.load("diorama/alexnet-untrained")})
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import ipywidgets as widgets
import numpy as np
import torch
from torch import Tensor

from .. import figures, filters
from . import base

COLOUR_CELL, GREY_CELL = 63, 40  # the most pixels of a filter's side
ROWS, SLICES = 10, 16  # filters on a page, and their slices, of a layer that has no colours


def _smoothness(w: Tensor) -> Tensor | None:
    """Smoothness by filter, or None where there are no neighbours to compare."""
    return filters.smoothness(w) if min(w.shape[2:]) > 1 else None


def filter_picture(w: Tensor, start: int = 0, most: int = 96) -> np.ndarray:
    """Return the picture of a filter bank (N, C, kH, kW), uint8.

    Three input channels: up to `most` filters from `start` in colour, each on its own scale, with its
    smoothness below, noisy ones framed. Otherwise ten filters from `start`, a row each: their first 16
    slices, on one scale centred on zero.
    """
    if w.shape[1] == 3:
        w = w[start : start + most]
        factor = max(1, COLOUR_CELL // max(w.shape[2:]))
        size = (w.shape[2] * factor, w.shape[3] * factor)
        tiles = [figures.enlarge(np.asarray(f), size) for f in filters.to_colour(w)]
        smooth = _smoothness(w)
        if smooth is not None:
            noisy = filters.is_noisy(w)
            tiles = [figures.frame(t) if n else t for t, n in zip(tiles, noisy.tolist(), strict=True)]
            tiles = figures.lettered(tiles, [f"{s:.2f}" for s in smooth.tolist()])
        return figures.tile(tiles, 12, gap=6)
    w = w[start : start + ROWS, :SLICES]
    limits = figures.limits_of(w, diverging=True)
    factor = max(1, GREY_CELL // max(w.shape[2:]))
    pixels = figures.colourise(w.flatten(0, 1), True, limits)  # (rows * slices, kH, kW, 3)
    gap, cell = 6, w.shape[2] * factor
    sheet = figures.tile(pixels, w.shape[1], gap=gap, scale=factor, background="#D0D0D0")
    above = max(1, cell // 2 - 8)  # white pixels over each number, so that it stands at the middle of its row
    blank = np.full((above, 34, 3), 255, np.uint8)
    numbers = figures.lettered([blank] * len(w), [str(start + i) for i in range(len(w))])
    below = ((0, max(0, cell + gap - numbers[0].shape[0])), (0, 0), (0, 0))
    names = np.concatenate([np.pad(n, below, constant_values=255)[: cell + gap] for n in numbers])
    names = names[: sheet.shape[0]]
    return figures.beside([names, sheet, figures.colour_scale(limits, min(sheet.shape[0], 240), True)])


def filter_sentence(w: Tensor) -> str:
    """Return what the numbers of a filter bank (N, C, kH, kW) say, in one or two sentences."""
    count, channels, height, width = w.shape
    begin = (
        f"{count} filters of {channels} × {height} × {width} weights, largest {float(w.abs().max()):.3g}. "
    )
    smooth = _smoothness(w)
    if smooth is None:
        return begin + "Kernels of 1 × 1 have no neighbours, so no smoothness."
    noisy = torch.nonzero(filters.is_noisy(w)).flatten().tolist()
    listed = ", ".join(map(str, noisy[:12])) + (" …" if len(noisy) > 12 else "")
    return (
        begin + f"Mean smoothness {float(smooth.nanmean()):.2f} (1 smooth, 0 white noise); "
        f"{len(noisy)} noisy (below 0.5){f': {listed}' if noisy else ''}."
    )


class FilterBrowser(base.Control):
    """The widgets of `filter_browser`: network, layer, first, picture, text."""

    def __init__(self, networks: Mapping[str, Any]) -> None:
        self.networks = dict(networks)
        self.network = base.dropdown(list(self.networks), "Network", "The network whose filters are shown")
        self.layer = base.dropdown([], "Layer", "The convolution whose filters are shown")
        self.first = base.slider(0, "From filter", "The first filter shown; arrow keys move it")
        self.text = base.message()
        self.picture = base.picture()
        self._choosing = False
        super().__init__(
            widgets.VBox([base.row(self.network, self.layer, self.first), self.text, self.picture]),
            f"A control that needs a running kernel: the filters of {len(self.networks)} networks.",
        )
        self.network.observe(lambda change: self._on_network(), names="value")
        self.layer.observe(lambda change: self._on_layer(), names="value")
        self.first.observe(lambda change: self.draw(), names="value")
        self._on_network()

    def _on_network(self) -> None:
        names = filters.convolutions(self.networks[self.network.value].model)
        before = self.layer.value
        self._choosing = True  # the new list of layers and the new choice are one change, drawn once
        self.layer.options = names
        self.layer.value = before if before in names else names[0]
        self._choosing = False
        self._on_layer()

    def _on_layer(self) -> None:
        if self._choosing:
            return
        w = self._weights()
        page = 96 if w.shape[1] == 3 else ROWS
        self._choosing = True
        self.first.max = max(0, len(w) - page)
        self.first.value = 0
        self.first.disabled = self.first.max == 0
        self._choosing = False
        self.draw()

    def _weights(self) -> Tensor:
        return filters.weights(self.networks[self.network.value].model, self.layer.value)

    def draw(self) -> None:
        """Redraw from the widgets' values."""
        if self._choosing:
            return
        w = self._weights()
        base.redraw(self.picture, filter_picture(w, self.first.value))
        base.say(self.text, f"{self.network.value}, {self.layer.value}: {filter_sentence(w)}")


def filter_browser(networks: Mapping[str, Any]) -> FilterBrowser:
    """Return a control to leaf through the filters of `networks` (name -> `zoo.Network`), layer by layer.

    ValueError where there is no network, or one has no convolution.
    """
    if not networks:
        raise ValueError("there is no network to show: give at least one")
    for name, net in networks.items():
        if not filters.convolutions(net.model):
            raise ValueError(f"network {name!r} has no convolution, so it has no filters to show")
    return FilterBrowser(networks)
