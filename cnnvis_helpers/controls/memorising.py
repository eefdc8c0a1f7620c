"""Critical samples by hand: an image, a radius, a network, and the neighbour that gets another answer, if there is one.

memoriser    the control: image, perturbation, neighbour, with what the network says of both
Memoriser    what it returns; its widgets are attributes
RADII        the radii to choose from, in steps of an 8-bit colour

memoriser({"true labels": net, "random labels": other}, images, labels, normalise=normalise, classes=names)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import ipywidgets as widgets
import torch
from torch import Tensor, nn

from .. import figures, memorisation
from ..adversarial.attacks import Normalise
from ..hooks import frozen
from . import base
from .fooling import visible

SIDE = 192  # pixels of each of the three panels
RADII = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0)


class Memoriser(base.Control):
    """The widgets of `memoriser`: network, image, radius, picture, text."""

    def __init__(
        self,
        models: Mapping[str, nn.Module],
        pictures: Tensor,
        labels: Sequence[int],
        normalise: Normalise,
        classes: Sequence[str],
    ) -> None:
        self.models, self.pictures, self.labels = dict(models), pictures, labels
        self.normalise, self.classes = normalise, classes
        self.network = base.dropdown(list(self.models), "Network", "What the network has learnt")
        self.image = base.slider(len(pictures) - 1, "Image", "Number of the image; arrow keys move it")
        self.radius = widgets.SelectionSlider(
            options=[(f"{r:g}", r) for r in RADII],
            value=2.0,
            description="r · 255",
            tooltip="The largest change of a value, in steps of an 8-bit colour; arrow keys move it",
            style=base.STYLE,
            layout=widgets.Layout(width="520px"),
        )
        self.picture, self.text = base.picture(), base.message()
        super().__init__(
            widgets.VBox(
                [base.row(self.network, self.image), self.radius, self.picture, self.text],
                layout=widgets.Layout(max_width="900px"),
            ),
            f"A control that needs a running kernel: search next to any of {len(pictures)} images for one that "
            f"gets another answer, from a network that has learnt {' or '.join(self.models)}.",
        )
        for widget in (self.network, self.image, self.radius):
            widget.observe(lambda change: self.draw(), names="value")
        self.draw()

    def draw(self) -> None:
        """Search with the widgets' values and redraw: a dozen small passes."""
        model, radius, index = self.models[self.network.value], self.radius.value / 255, self.image.value
        image = self.pictures[index : index + 1]
        found = memorisation.critical_samples(model, image, radius, normalise=self.normalise)
        with frozen(model), torch.no_grad():
            before, after = model(self.normalise(torch.cat([image, found.images]))).softmax(1).cpu()
        tiles = [
            figures.enlarge(picture.cpu(), (SIDE, SIDE))
            for picture in (image[0], visible(found.images[0] - image[0], radius), found.images[0])
        ]
        names = [self._answer(before), "change, enlarged", self._answer(after)]
        base.redraw(self.picture, figures.beside(figures.lettered(tiles, names, 13)))
        verdict = (
            f"{self._answer(after)} of a neighbour. The image is critical."
            if found.mask[0]
            else f"nothing else within the radius, as far as the search sees (at its end {self._answer(after)})."
        )
        base.say(
            self.text,
            f"Image {index} shows a {self.classes[self.labels[index]]}; r = {self.radius.value:g}/255. The network "
            f"that has learnt {self.network.value} says {self._answer(before)} of it, and {verdict}",
        )

    def _answer(self, p: Tensor) -> str:
        return f"{self.classes[int(p.argmax())]} ({float(p.max()):.2f})"


def memoriser(
    models: Mapping[str, nn.Module],
    pictures: Tensor,
    labels: Sequence[int] | Tensor,
    *,
    normalise: Normalise,
    classes: Sequence[str],
) -> Memoriser:
    """Return a control that searches next to an image for one that a network gives another class.

    `models`: what was learnt → the network, evaluated and left as it was. `pictures`: (N, 3, H, W) in [0, 1].
    `labels`: the classes that they show, numbers into `classes`; they are only told to the reader. `normalise`: images
    in [0, 1] → what the models take. ValueError where there is no network or image, or another number of labels.
    """
    if not models:
        raise ValueError("there is no network to search: give at least one")
    if not len(pictures):
        raise ValueError("there is no image to change: give at least one")
    if len(labels) != len(pictures):
        raise ValueError(f"there are {len(labels)} labels for {len(pictures)} images")
    return Memoriser(models, pictures, [int(label) for label in labels], normalise, classes)
