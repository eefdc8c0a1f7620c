"""What every channel of every layer answers to an image.

explorer           the control: image x layer x channel, and the reader's own photograph
Explorer           what it returns; its widgets are attributes
channel_picture    image under the map, map alone, colour bar -> pixels
strongest          the channels with the highest peaks
strip              small maps of chosen channels -> pixels

explorer(net, images, titles=names)          # last line of a cell
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import ipywidgets as widgets
import numpy as np
import torch
from torch import Tensor

from .. import figures, hooks, images
from . import base

SIDE = 384  # pixels of each of the two large pictures
SHOWN = 12  # channels in the strip
THUMB = 66  # pixels of a map in the strip
REMEMBERED = 8  # images whose activations are kept: for a VGG that is half a gigabyte


def strongest(activation: Tensor, count: int = SHOWN) -> list[int]:
    """Return the channels of one activation (C, H, W) with the highest peaks, the highest first."""
    peaks = activation.amax(dim=(1, 2))
    return peaks.argsort(descending=True, stable=True)[:count].tolist()


def channel_picture(image: Tensor, channel_map: Tensor, side: int = SIDE) -> np.ndarray:
    """Return the picture of one channel (h, w) for one image (3, H, W), uint8.

    From left to right: the map laid over the image, the map alone with every value a square, its colour bar
    with the values of its ends. The scale is this map's own.
    """
    limits = figures.limits_of(channel_map)
    photo = figures.enlarge(image, (side, side), smooth=True)
    over = figures.blend(photo, channel_map, limits)
    alone = figures.enlarge(figures.colourise(channel_map, limits=limits), (side, side))
    return figures.beside([over, alone, figures.colour_scale(limits, side)])


def strip(activation: Tensor, channels: Sequence[int], current: int | None = None) -> np.ndarray:
    """Return small maps of `channels` of one activation (C, H, W) on one colour scale, uint8.

    The current channel is framed.
    """
    limits = figures.limits_of(activation[list(channels)])
    maps = [
        figures.enlarge(figures.colourise(activation[c], limits=limits), (THUMB, THUMB)) for c in channels
    ]
    maps = [figures.frame(m, width=3) if c == current else m for m, c in zip(maps, channels, strict=True)]
    return figures.tile(maps, len(maps), gap=6)


class Explorer(base.Control):
    """The widgets of `explorer`: layer, image, channel, upload, picture, strip, strongest, text, message."""

    def __init__(
        self, net: Any, pictures: Sequence[Tensor], layers: Sequence[str], titles: Sequence[str]
    ) -> None:
        self.net = net
        self.pictures = [images.fit(p, net.input_size) for p in pictures]  # what the network sees
        self.titles = list(titles)
        self.layers = list(layers)
        self._known: dict[int, tuple[dict[str, Tensor], str]] = {}
        self._choosing = False
        self.layer = base.dropdown(self.layers, "Layer", "The layer whose channels are shown")
        self.image = base.slider(len(self.pictures) - 1, "Image", "Number of the image; arrow keys move it")
        self.channel = base.slider(0, "Channel", "Number of the channel; arrow keys move it", "330px")
        self.upload = base.upload_button()
        self.message = base.message()
        self.text = base.message()
        self.picture = base.picture()
        self.strip = base.picture()
        self.strongest = [
            widgets.Button(
                tooltip="Show this channel", layout=widgets.Layout(width=f"{THUMB + 2}px", margin="0 2px")
            )
            for _ in range(SHOWN)
        ]
        count = len(self.pictures)
        super().__init__(
            widgets.VBox(
                [
                    base.row(self.layer, self.image, self.upload),
                    base.row(self.channel, self.message),
                    self.text,
                    widgets.HTML("The map laid over the image, and alone with its scale:"),
                    self.picture,
                    widgets.HTML("Strongest channels, on one scale; press a number to look at it:"),
                    self.strip,
                    base.row(*self.strongest),
                ],
                layout=widgets.Layout(max_width="900px"),
            ),
            f"A control that needs a running kernel: {count} images × {len(layers)} layers of {net.name}.",
        )
        self.layer.observe(self._on_choice, names="value")
        self.image.observe(self._on_choice, names="value")
        self.channel.observe(lambda change: self.draw(), names="value")
        self.upload.observe(self._on_upload, names="value")
        for button in self.strongest:
            button.on_click(lambda b: setattr(self.channel, "value", int(b.description)))
        base.say(self.message, "Move a slider, or upload a photo of your own.")
        self._on_layer()

    def activation(self) -> Tensor:
        """The activation (C, H, W) of the chosen layer for the chosen image; one forward pass an image."""
        return self._look(self.image.value)[0][self.layer.value]

    def _look(self, index: int) -> tuple[dict[str, Tensor], str]:
        if index not in self._known:
            x = self.net.prepare(self.pictures[index][None])
            with (
                hooks.frozen(self.net.model),
                torch.no_grad(),
                hooks.record(self.net.model, self.layers) as rec,
            ):
                probability, best = self.net.model(x).softmax(1)[0].max(0)
                maps = {name: rec[name][0].float().cpu() for name in self.layers}
            while len(self._known) >= REMEMBERED:
                self._known.pop(next(iter(self._known)))
            answer = f"the network says {self.net.classes[int(best)]} ({float(probability):.0%})"
            self._known[index] = maps, answer
        return self._known[index]

    def _on_choice(self, change: Any) -> None:
        self._on_layer() if change["owner"] is self.layer else self.draw()

    def _on_layer(self) -> None:
        """Another layer has other channels: begin with its strongest."""
        activation = self.activation()
        self._choosing = True  # the slider's new end and value are one change, drawn once
        self.channel.max = len(activation) - 1
        self.channel.value = strongest(activation, 1)[0]
        self._choosing = False
        self.draw()

    def _on_upload(self, change: Any) -> None:
        given = base.uploaded(self.upload)
        if given is not None:
            self.add(*given)

    def add(self, name: str, content: bytes) -> None:
        """Add a picture file to the images and show it; a file that cannot be read gives a sentence."""
        try:
            photo = images.load(content, size=self.net.input_size)
        except images.ImageError as error:
            base.say(self.message, str(error), warning=True)
            return
        self.pictures.append(photo)
        self.titles.append(name)
        base.say(self.message, f"Added {name} as image {len(self.pictures) - 1}, its middle square.")
        self.image.max = len(self.pictures) - 1
        self.image.value = len(self.pictures) - 1

    def draw(self) -> None:
        """Redraw from the widgets' values."""
        if self._choosing:
            return
        activation, channel = self.activation(), self.channel.value
        one = activation[channel]
        best = strongest(activation)
        base.redraw(self.picture, channel_picture(self.pictures[self.image.value], one))
        base.redraw(self.strip, strip(activation, best, channel))
        for button, c in zip(self.strongest, [*best, *[None] * SHOWN], strict=False):
            button.layout.display = "none" if c is None else ""
            button.description = "" if c is None else str(c)
        base.say(self.text, self.sentence_now())

    def sentence_now(self) -> str:
        """What the picture shows, in numbers."""
        index, channel, activation = self.image.value, self.channel.value, self.activation()
        one, title = activation[channel], self.titles[index]
        return (
            f"{self.layer.value}, channel {channel} of {len(activation)}: {one.shape[0]} × {one.shape[1]} "
            f"values from {one.min():.3g} to {one.max():.3g}, {(one == 0).float().mean():.0%} zeros. "
            f"Image {index}{f' ({title})' if title else ''}: {self._look(index)[1]}."
        )


def explorer(
    net: Any, images: Any, layers: Sequence[str] | None = None, titles: Sequence[str] | None = None
) -> Explorer:
    """Return a control to look at any channel of any layer for any of `images`.

    `net`: a `zoo.Network`. `images`: (N, 3, H, W) or a list of (3, H, W), in [0, 1]; each is cut to what the
    network sees. `layers`: names (default: the layers with non-negative maps, at most 20, in execution
    order). `titles`: a name for each image. Readers may add a photograph of their own. ValueError where there
    is no image or layer.
    """
    pictures = list(images)
    if not pictures:
        raise ValueError("there is no image to explore: give at least one")
    if titles is not None and len(titles) != len(pictures):
        raise ValueError(f"there are {len(titles)} titles for {len(pictures)} images")
    if layers is None:
        layers = hooks.rectified_maps(net.model, net.prepare(pictures[0][None]), most=20)
    if not layers:
        raise ValueError("no layer of this network gives a non-negative map: name the layers to show")
    return Explorer(net, pictures, layers, titles or [""] * len(pictures))
