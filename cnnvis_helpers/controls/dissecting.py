"""Leaf through the units of dissected layers: masks over top images, concept, IoU.

    dissector      layer x unit -> its best images, lit where it exceeds its threshold; its best concepts
    lit            an image, dark outside a mask -> pixels

dissector(model, x, pictures, dissect(model, x, labels, ["relu1", "relu5"]))        # last line of a cell
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import ipywidgets as widgets
import numpy as np
from torch import Tensor, nn

from .. import figures
from ..dissection import DETECTOR, Dissection
from ..survey import TopK, survey
from . import base

CELL = 94  # pixels of a top image's side
IMAGES = 8  # top images of a unit
NAMES = 3  # concepts in the sentence
DARK = 0.25  # what is left of the light outside a mask


def lit(image: Any, mask: Any) -> np.ndarray:
    """Return an image, uint8, dark where the mask (H, W) is False. ValueError where the sizes differ."""
    pixels, inside = figures.as_uint8(image), figures.as_array(mask).astype(bool)
    if pixels.shape[:2] != inside.shape:
        raise ValueError(f"the image is {pixels.shape[:2]}, the mask {inside.shape}: they must agree")
    return np.where(inside[..., None], pixels, (pixels * DARK).astype(np.uint8))


class Dissector(base.Control):
    """The widgets of `dissector`: layer, order, unit, text, picture."""

    def __init__(
        self,
        model: nn.Module,
        x: Tensor,
        pictures: Sequence[Tensor],
        found: Mapping[str, Dissection],
        tops: Mapping[str, TopK],
    ) -> None:
        self.model, self.x, self.pictures = model, x, pictures
        self.found, self.tops = dict(found), dict(tops)
        self.tables = {layer: result.table() for layer, result in self.found.items()}
        self.ious = {layer: result.iou for layer, result in self.found.items()}
        self.layer = base.dropdown(list(self.found), "Layer", "The layer whose units are shown")
        self.order = base.dropdown(["best first", "by number"], "Units", "In which order the slider goes")
        self.unit = base.slider(0, "Unit", "Place of the unit in the order; arrow keys move it", "420px")
        self.text, self.picture = base.message(), base.picture()
        self._choosing = False
        self.layer.value = list(self.found)[-1]
        super().__init__(
            widgets.VBox([base.row(self.layer, self.order), self.unit, self.text, self.picture]),
            f"A control that needs a running kernel: masks and concepts of every unit of {len(self.found)} layers.",
        )
        self.layer.observe(lambda change: self._on_layer(), names="value")
        self.order.observe(lambda change: self.draw(), names="value")
        self.unit.observe(lambda change: self.draw(), names="value")
        self._on_layer()

    def _on_layer(self) -> None:
        self._choosing = True  # a smaller maximum may move the slider: drawn once
        self.unit.max = len(self.tables[self.layer.value]) - 1
        self._choosing = False
        self.draw()

    def chosen(self) -> int:
        """The number of the unit that is shown."""
        place = int(self.unit.value)
        if self.order.value == "by number":
            return place
        return int(np.argsort(-self.tables[self.layer.value].iou.to_numpy(), kind="stable")[place])

    def draw(self) -> None:
        """Redraw from the widgets' values."""
        if self._choosing:
            return
        layer, unit = self.layer.value, self.chosen()
        base.redraw(self.picture, self.drawn(layer, unit))
        base.say(self.text, self.told(layer, unit))

    def drawn(self, layer: str, unit: int) -> np.ndarray:
        """The best images of a unit above, lit by its mask below, as pixels."""
        images = self.tops[layer].images[unit].tolist()
        masks = self.found[layer].masks(self.model, self.x[images], [unit])[:, 0].cpu()
        plain = [figures.enlarge(self.pictures[i], (CELL, CELL), smooth=True) for i in images]
        shaded = [
            lit(one, figures.enlarge(mask.float()[None], (CELL, CELL))[..., 0] > 127)
            for one, mask in zip(plain, masks, strict=True)
        ]
        values = [f"{value:.3g}" for value in self.tops[layer].values[unit].tolist()]
        return figures.tile(figures.lettered(plain, values) + figures.lettered(shaded, [""] * len(values)),
                            len(images), gap=4)  # fmt: skip

    def told(self, layer: str, unit: int) -> str:
        """The sentence about a unit."""
        row, iou, concepts = (
            self.tables[layer].iloc[unit],
            self.ious[layer][unit],
            self.found[layer].tally.labels.concepts,
        )
        order = [k for k in np.argsort(-iou, kind="stable")[:NAMES] if iou[k] > 0]
        names = "; ".join(f"{concepts[k][1]} ({concepts[k][0]}) {iou[k]:.3f}" for k in order)
        verdict = "a detector" if row.iou > DETECTOR else "no detector"
        chance = "" if np.isnan(row.chance) else f" By chance {row.chance:.3f}."
        return (
            f"{layer}, unit {unit} of {len(self.tables[layer])}, {verdict}. IoU with {names or 'nothing'}.{chance} "
            "Below each image the same, lit where the unit exceeds its threshold; between them its activation."
        )


def dissector(
    model: nn.Module, x: Tensor, pictures: Sequence[Tensor], found: Mapping[str, Dissection]
) -> Dissector:
    """Return a control to leaf through the units of dissected layers.

    `x` (N, 3, H, W): normalised images of the size that was dissected; `pictures[i]` (3, h, w) in [0, 1] is image i as
    it is shown. `found`: layer -> its dissection. The top images are looked for at once, in one pass. ValueError where
    there is nothing to show, or images and pictures differ in number.
    """
    if not found:
        raise ValueError("there is no dissection to show: give the result of dissect")
    if len(pictures) != len(x):
        raise ValueError(f"there are {len(pictures)} pictures for {len(x)} images")
    turned = [layer for layer, result in found.items() if result.basis is not None]
    if turned:
        raise ValueError(f"{turned[0]} was dissected along directions: this control shows units")
    wanted = [TopK(layer, min(IMAGES, len(x))) for layer in found]
    tops = survey(model, x, wanted, batch=min(64, len(x)))
    return Dissector(model, x, pictures, found, {top.layer: top for top in tops})
