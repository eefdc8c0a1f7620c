"""A network at several moments of its training: first filters and activations, step by step.

training_slider    the control
TrainingSlider     what it returns; its widgets are attributes
step_picture       first filters beside the channels of one layer -> pixels

steps = {name.partition("@")[2] or "end": zoo.load(name) for name in zoo.checkpoints("diorama/alexnet")}
training_slider(steps, image)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import ipywidgets as widgets
import numpy as np
from torch import Tensor

from .. import activations, figures, filters, hooks
from . import base

PANEL = 424  # pixels of the width of each panel


def _grid(pictures: Sequence[np.ndarray], width: int) -> np.ndarray:
    """Tiles that fill about `width` pixels as a grid about as high as wide, every value a crisp square."""
    columns = int(np.ceil(np.sqrt(len(pictures))))
    room = (width - 3 * (columns - 1)) // columns
    side = pictures[0].shape[1]
    cell = side * (room // side) if room >= side else room
    return figures.tile([figures.enlarge(p, (cell, cell)) for p in pictures], columns, gap=3)


def step_picture(weights: Tensor, activation: Tensor, most: int = 64, width: int = PANEL) -> np.ndarray:
    """Return colour filters (N, 3, kH, kW) beside the first `most` channels of an activation (C, H, W),
    uint8.

    Each filter has its own scale (grey is a weight of zero); the channels share one scale, whose ends stand
    at the colour bar. A large map is thinned to fit, never averaged: each square is one of its values.
    """
    limits = figures.limits_of(activation)
    left = _grid([figures.as_uint8(np.asarray(f)) for f in filters.to_colour(weights)], width)
    right = _grid([figures.colourise(a, limits=limits) for a in activation[:most]], width - 82)
    return figures.beside([left, right, figures.colour_scale(limits, min(right.shape[0], 300))], gap=12)


class TrainingSlider(base.Control):
    """The widgets of `training_slider`: step, layer, picture, text."""

    def __init__(self, networks: Mapping[str, Any], image: Tensor, layers: Sequence[str], layer: str) -> None:
        self.networks = dict(networks)
        self.pictured = image
        self._known: dict[str, dict[str, Tensor]] = {}
        steps = list(self.networks)
        self.step = widgets.SelectionSlider(
            options=steps,
            value=steps[0],
            description="Step",
            tooltip="Training step; arrow keys move it",
            continuous_update=True,
            style=base.STYLE,
            layout=widgets.Layout(width="480px"),
        )
        self.layer = base.dropdown(list(layers), "Layer", "The layer whose channels are shown on the right")
        self.layer.value = layer
        self.text = base.message()
        self.picture = base.picture()
        self.layers = list(layers)
        super().__init__(
            widgets.VBox([base.row(self.step, self.layer), self.text, self.picture]),
            f"A control that needs a running kernel: {len(steps)} training steps, {len(self.layers)} layers.",
        )
        for widget in (self.step, self.layer):
            widget.observe(lambda change: self.draw(), names="value")
        self.draw()

    def activation(self) -> Tensor:
        """The activation (C, H, W) of the chosen layer at the chosen step; one forward pass a step."""
        step = self.step.value
        if step not in self._known:
            net = self.networks[step]
            found = hooks.activations(net.model, net.prepare(self.pictured[None]), self.layers)
            self._known[step] = {name: a[0].float().cpu() for name, a in found.items()}
        return self._known[step][self.layer.value]

    def draw(self) -> None:
        """Redraw from the widgets' values."""
        model = self.networks[self.step.value].model
        first = filters.first_convolution(model)
        weights, activation = filters.weights(model, first), self.activation()
        base.redraw(self.picture, step_picture(weights, activation))
        smooth = float(filters.smoothness(weights).nanmean())
        zeros = float(activations.sparsity(activation[None]))
        most = float(activation.max())
        base.say(
            self.text,
            f"Step {self.step.value}. Left: {first}, {len(weights)} filters, mean smoothness {smooth:.2f} "
            f"(1 smooth, 0 noise). Right: {self.layer.value}, 0 … {most:.3g}, {zeros:.0%} zeros.",
        )


def training_slider(networks: Mapping[str, Any], image: Tensor, layer: str | None = None) -> TrainingSlider:
    """Return a control that shows one image's activations and the first filters at each training step.

    `networks`: step label -> `zoo.Network`, from first to last, all of one architecture. `image` (3, H, W) in
    [0, 1]. `layer`: the one to begin with (default: the middle one of the layers with non-negative maps of
    the last network). ValueError where there is no network or the layer is not among them.
    """
    if not networks:
        raise ValueError("there is no network to show: give at least one step")
    last = list(networks.values())[-1]
    layers = hooks.rectified_maps(last.model, last.prepare(image[None]), most=20)
    if layer is not None and layer not in layers:
        raise ValueError(f"layer {layer!r} gives no non-negative map; these do: {', '.join(layers)}")
    return TrainingSlider(networks, image, layers, layer or layers[len(layers) // 2])
