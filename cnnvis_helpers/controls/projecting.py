"""From one unit back to the image, with the three rules at the ReLU side by side.

projector          the control: image x layer x unit -> the projections by gradient, deconvnet and guided rule
Projector          what it returns; its widgets are attributes
projection_tile    a signed projection as a picture centred on grey -> pixels
in_box             what of an image or projection lies in a receptive field

projector(net, images, ["relu2", "relu5"], titles=names)          # last line of a cell
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import ipywidgets as widgets
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from .. import figures, hooks, images
from ..backward_rules import RULES, choose_units, project
from ..receptive_field import ReceptiveField, receptive_field
from . import base

SIDE = 190  # pixels of each of the four pictures in a row
CLASSES = "the classes"  # stands for the logits in the list of layers
BURNT = 0.995  # of the absolute values are within the scale


def in_box(values: Tensor, box: Sequence[int], fill: float = 0.0) -> Tensor:
    """What lies in a receptive field, (C, H, W) -> (C, h, w); what hangs over the image's border gets `fill`.

    `box` is (top, left, bottom, right) as `ReceptiveField.box(..., clip=False)` gives it.
    """
    top, left, bottom, right = box
    height, width = values.shape[1:]
    pads = (max(0, -left), max(0, right - width), max(0, -top), max(0, bottom - height))
    wide = functional.pad(values, pads, value=fill)
    top, left = top + pads[2], left + pads[0]
    return wide[:, top : top + box[2] - box[0], left : left + box[3] - box[1]]


def projection_tile(projection: Tensor, side: int = SIDE, limit: float | None = None) -> np.ndarray:
    """A signed projection (3, h, w) as a picture, (side, side, 3) uint8: zero is mid-grey, for all three colours.

    `limit` is the value that is drawn as 1 (its negative as 0); by default the 99.5th percentile of the absolute
    values, so that a few peaks burn out and the rest be seen. A projection that is zero everywhere is grey.
    """
    values = projection.detach().float().cpu()
    if limit is None:
        limit = float(values.abs().flatten().quantile(BURNT)) or float(values.abs().max()) or 1.0
    picture = (0.5 + 0.5 * values / limit).clamp(0, 1)
    return figures.enlarge(picture, (side, side), smooth=min(values.shape[1:]) > 16)


class Projector(base.Control):
    """The widgets of `projector`: image, layer, unit, strongest, picture, text."""

    def __init__(
        self, net: Any, pictures: Sequence[Tensor], layers: Sequence[str], titles: Sequence[str]
    ) -> None:
        self.net, self.titles = net, list(titles)
        self.pictures = [images.fit(p, net.input_size) for p in pictures]
        self.fields = {layer: _field(net, layer) for layer in layers}
        self._choosing = False
        self.image = base.slider(len(self.pictures) - 1, "Image", "Number of the image; arrow keys move it")
        self.layer = base.dropdown([*layers, CLASSES], "Layer", "The layer whose units are projected")
        self.unit = base.slider(0, "Unit", "Number of the unit or class; arrow keys move it", "420px")
        self.strongest = widgets.Button(
            description="Most active unit",
            tooltip="Go to the unit of this layer that is most active in this image",
        )
        self.text, self.picture = base.message(), base.picture()
        super().__init__(
            widgets.VBox(
                [
                    base.row(self.image, self.layer),
                    base.row(self.unit, self.strongest),
                    self.text,
                    self.picture,
                ],
                layout=widgets.Layout(max_width="900px"),
            ),
            f"A control that needs a running kernel: every unit of {len(layers)} layers of {net.name}, projected back "
            f"to {len(self.pictures)} images by three rules.",
        )
        self.image.observe(lambda change: self._on_image(), names="value")
        self.layer.observe(lambda change: self._on_layer(), names="value")
        self.unit.observe(lambda change: self.draw(), names="value")
        self.strongest.on_click(lambda button: self._on_strongest())
        self._choosing = True
        self._on_image()
        self._choosing = False
        self._on_layer()

    def _on_image(self) -> None:
        """Another image: the activations of all layers, once."""
        self._x = self.net.prepare(self.pictures[self.image.value])
        self._a = hooks.activations(self.net.model, self._x, list(self.fields))
        with hooks.frozen(self.net.model), torch.no_grad():
            self._a[CLASSES] = self.net.model(self._x.clone())
        self.draw()

    def _on_layer(self) -> None:
        self._choosing = True  # the new end and the unit are one change, drawn once
        self.unit.max = self._a[self.layer.value].shape[1] - 1
        self._choosing = False
        self.draw()

    def _on_strongest(self) -> None:
        self.unit.value = int(choose_units(self._a[self.layer.value]).channel[0])

    def projections(self) -> dict[str, Tensor]:
        """Rule -> the projection (3, H, W) of the chosen unit, where it is most active; zeros for a silent one."""
        layer = None if self.layer.value == CLASSES else self.layer.value
        return {
            rule: project(self.net.model, self._x, self.unit.value, rule=rule, layer=layer, dead="zeros")[0]
            for rule in RULES
        }

    def draw(self) -> None:
        """Redraw from the widgets' values; three passes forward and back."""
        if self._choosing:
            return
        layer, unit, shown = self.layer.value, self.unit.value, self.pictures[self.image.value]
        found = choose_units(self._a[layer], unit)
        row, column, value = int(found.row[0]), int(found.column[0]), float(found.value[0])
        field, maps = self.fields.get(layer), self.projections()
        box = field.box(row, column, clip=False) if field else None
        factor = SIDE / self.net.input_size
        top = [figures.boxed(shown, [box] if box else [], factor)]
        top += [projection_tile(p) for p in maps.values()]
        sheet = figures.tile(figures.lettered(top, ["image", *maps]), 4, gap=6)
        if box:
            patch = in_box(shown, box, 0.5)
            below = [figures.enlarge(patch, (SIDE, SIDE), smooth=min(patch.shape[1:]) > 16)]
            below += [projection_tile(in_box(p, box)) for p in maps.values()]
            names = ["in the box", *(f"{rule}, in the box" for rule in maps)]
            sheet = np.concatenate([sheet, figures.tile(figures.lettered(below, names), 4, gap=6)])
        base.redraw(self.picture, sheet)
        base.say(self.text, self._sentence(layer, unit, value, (row, column) if field else None))

    def _sentence(self, layer: str, unit: int, value: float, place: tuple[int, int] | None) -> str:
        title = self.titles[self.image.value]
        what = f"Image {self.image.value}{f' ({title})' if title else ''}. "
        if layer == CLASSES:
            name = self.net.classes[unit]
            return f"{what}Class {unit}, {name}: logit {value:.2f}. Each projection has its own scale."
        what += f"Unit {unit} of {layer}: "
        if value == 0:
            return (
                what + "it is silent in this image, so nothing made it fire and there is nothing to project."
            )
        where = f" at row {place[0]}, column {place[1]} of its map" if place else ""
        return f"{what}activation {value:.2f}{where}. Each projection has its own scale; grey is zero."


def _field(net: Any, layer: str) -> ReceptiveField | None:
    """The layer's receptive field, or None where it is the whole image, or not known."""
    try:
        field = receptive_field(net.model, layer, (net.input_size, net.input_size))
    except hooks.LayerError:
        raise
    except ValueError:
        return None
    return None if field.whole else field


def projector(
    net: Any, pictures: Any, layers: Sequence[str], *, titles: Sequence[str] | None = None
) -> Projector:
    """Return a control to project any unit of some layers, or any class, back to any of some images.

    `net` is a `zoo.Network`; `pictures` are (3, H, W) or (N, 3, H, W) in [0, 1]; `layers` names of layers that give
    maps or rows behind a ReLU. Errors: ValueError for no picture, no layer, or another number of titles;
    hooks.LayerError for a layer that is not there.
    """
    shown = [pictures] if isinstance(pictures, Tensor) and pictures.ndim == 3 else list(pictures)
    names = list(titles) if titles is not None else [""] * len(shown)
    if not shown or not layers:
        raise ValueError(f"a projector needs a picture and a layer, not {len(shown)} and {len(layers)}")
    if len(names) != len(shown):
        raise ValueError(f"there are {len(names)} titles for {len(shown)} pictures")
    return Projector(net, shown, layers, names)
