"""Draw a Diorama image to order and hear what a network says of it, live.

Studio          the control: one widget a knob
studio          make one
knobs_of        the widgets' values as `diorama.Knobs`
answer_table    probabilities as a table with bars
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any

import ipywidgets as widgets
import numpy as np
import torch

from .. import diorama, figures
from ..zoo import Network
from . import base

ANY = "as it comes"


def knobs_of(
    label: str, scene: str, size: float, hidden: float, exposure: float, facing: str, absent: bool
) -> diorama.Knobs:
    """The knobs that the control's values stand for; "as it comes" and a size of 0 leave a knob to chance."""
    return diorama.Knobs(
        label=None if label == ANY else label,
        scene=None if scene == ANY else scene,
        size=size or None,
        occluded=hidden,
        exposure=exposure,
        facing=None if facing == ANY else facing,
        absent=absent,
    )


def answer_table(probabilities: torch.Tensor, classes: Sequence[str], most: int = 5) -> str:
    """The most probable classes as an HTML table with bars; probabilities: (classes,)."""
    best = probabilities.topk(min(most, len(classes)))
    rows = "".join(
        f"<tr><td style='padding-right:8px'>{html.escape(classes[int(i)])}</td>"
        f"<td style='width:130px'><div style='height:11px;width:{100 * float(p):.1f}%;"
        f"background:{figures.CATEGORICAL[0]}'></div></td>"
        f"<td style='padding-left:8px;text-align:right'>{float(p):.2f}</td></tr>"
        for p, i in zip(best.values, best.indices, strict=True)
    )
    return f"<div role='status' aria-live='polite'><table style='line-height:1.5'>{rows}</table></div>"


class Studio(base.Control):
    """One widget a knob: `number`, `label`, `scene`, `size`, `hidden`, `exposure`, `facing`, `absent`.

    `picture` shows the image and its main object, `answer` what the network says.
    """

    def __init__(self, net: Network, split: str = "test") -> None:
        self.net, self.split = net, split
        self.number = base.slider(
            199, "Image", "Number of the test image: its scene, clutter, light and camera"
        )
        self.label = base.dropdown((ANY, *diorama.CLASSES), "Object", "What the main object is")
        self.scene = base.dropdown((ANY, *diorama.SCENES), "Scene", "Where it stands")
        self.facing = base.dropdown((ANY, "left", "right"), "Facing", "Which way round it stands")
        self.size = _real(
            0, 0.9, 0.05, 0, "Size", "Square root of its box's area over the image's side; 0: as it comes"
        )
        self.hidden = _real(0, 0.5, 0.05, 0, "Hidden", "About what share of it something in front hides")
        self.exposure = _real(-2, 2, 0.25, 0, "Exposure", "Brightness in stops: +1 doubles the light")
        self.absent = widgets.Checkbox(
            description="leave it out", indent=False, tooltip="Draw all but the main object"
        )
        self.picture = base.picture()
        self.answer = widgets.HTML(layout=widgets.Layout(width="300px"))
        knobs = (self.label, self.scene, self.facing, self.size, self.hidden, self.exposure, self.absent)
        for widget in (self.number, *knobs):
            widget.observe(self.draw, "value")
        super().__init__(
            widgets.VBox(
                [
                    base.row(self.number, self.label, self.scene),
                    base.row(self.size, self.hidden, self.facing),
                    base.row(self.exposure, self.absent),
                    base.row(self.picture, self.answer),
                ]
            ),
            "[control: draw a Diorama image to order and see what the network says; run the notebook to use it]",
        )
        self.draw()

    def draw(self, _: Any = None) -> None:
        """Draw the image that the knobs ask for and show the network's answer."""
        knobs = knobs_of(
            self.label.value,
            self.scene.value,
            self.size.value,
            self.hidden.value,
            self.exposure.value,
            self.facing.value,
            self.absent.value,
        )
        example = diorama.render(self.split, self.number.value, knobs)
        base.redraw(self.picture, example_strip(example))
        image = torch.from_numpy(example.image).permute(2, 0, 1)[None].float() / 255
        self.answer.value = answer_table(self.net.probabilities(image)[0], self.net.classes)


def example_strip(example: diorama.Example, scale: int = 3) -> np.ndarray:
    """The image, and beside it the main object as the labels know it (all else faded): (H, W, 3) uint8."""
    faded = np.uint8(255) - (255 - example.image) // 6
    truth = np.where(example.instance[..., None], example.image, faded)
    return figures.tile([example.image, truth], columns=2, scale=scale, gap=8)


def _real(
    low: float, high: float, step: float, value: float, description: str, tooltip: str
) -> widgets.FloatSlider:
    return widgets.FloatSlider(
        value=value,
        min=low,
        max=high,
        step=step,
        description=description,
        tooltip=tooltip,
        style=base.STYLE,
        layout=widgets.Layout(width="300px"),
    )


def studio(net: Network, split: str = "test") -> Studio:
    """A control that draws a Diorama image to order and shows what `net` says of it.

    Answers in well under 0.1 s: about 10 ms to draw and one forward pass of the embedded networks.
    """
    return Studio(net, split)
