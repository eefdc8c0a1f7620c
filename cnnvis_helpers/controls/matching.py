"""A part of one image looked for in another: pair, keypoint and features by hand.

matcher    the control
Matcher    what it returns; its widgets are attributes
marked     an image with rings and crosses, as pixels

methods = {"relu4": correspondence.of_layer(net.model, "relu4"), "DAISY": correspondence.of_daisy(16)}
matcher(methods, images, task, prepare=net.prepare)          # last line of a cell
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import ipywidgets as widgets
import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from .. import correspondence, figures
from . import base

SIDE = 224  # pixels of each of the three panels
STEP = 2  # pixels from place to place


def marked(
    image: Any,
    side: int,
    rings: Sequence[tuple[float, float, float]] = (),
    crosses: Sequence[tuple[float, float]] = (),
) -> np.ndarray:
    """An image (3, s, s), or pixels, at `side` pixels, with rings (x, y, radius) and crosses (x, y): (side, side, 3).

    Points are in pixels of the image, from its upper left corner. Rings are orange, crosses white in black, so that
    they differ in form and not in colour alone.
    """
    pixels = figures.as_uint8(image)
    factor = side / pixels.shape[1]
    sheet = Image.fromarray(figures.enlarge(pixels, (side, side), smooth=True))
    draw = ImageDraw.Draw(sheet)
    for x, y, radius in rings:
        for colour, width, more in (("white", 4, 1), ("#D55E00", 2, 0)):
            x0, y0, r = x * factor, y * factor, radius * factor + more
            draw.ellipse((x0 - r, y0 - r, x0 + r, y0 + r), outline=colour, width=width)
    arm = max(4, side // 32)
    for x, y in crosses:
        for colour, width in (("black", 5), ("white", 2)):
            for down in (1, -1):
                ends = (
                    x * factor - arm,
                    y * factor - down * arm,
                    x * factor + arm,
                    y * factor + down * arm,
                )
                draw.line(ends, fill=colour, width=width)
    return np.asarray(sheet)


class Matcher(base.Control):
    """The widgets of `matcher`: pair, keypoint, method, picture, text."""

    def __init__(
        self,
        methods: Mapping[str, correspondence.Extract],
        pictures: Tensor,
        task: correspondence.Task,
        prepare: Callable[[Tensor], Tensor],
        titles: Sequence[str],
    ) -> None:
        self.methods, self.pictures, self.task = dict(methods), pictures, task
        self.prepare, self.titles = prepare, list(titles)
        self._kept: dict[tuple[int, str], Tensor] = {}
        self._choosing = False
        self.pair = base.slider(len(task.pairs) - 1, "Pair", "Number of the pair; arrow keys move it")
        self.keypoint = base.dropdown([], "Part", "The part of the first image that is looked for")
        self.method = base.dropdown(
            list(self.methods), "Features", "What is compared: a layer, or no network"
        )
        self.picture, self.text = base.picture(), base.message()
        super().__init__(
            widgets.VBox(
                [base.row(self.pair, self.keypoint, self.method), self.picture, self.text],
                layout=widgets.Layout(max_width="900px"),
            ),
            f"A control that needs a running kernel: look for the parts of one image in another, in "
            f"{len(task.pairs)} pairs, by {', '.join(self.methods)}.",
        )
        self.pair.observe(lambda change: self._on_pair(), names="value")
        for widget in (self.keypoint, self.method):
            widget.observe(lambda change: self.draw(), names="value")
        self._on_pair()

    def maps(self, pair: int, method: str) -> Tensor:
        """How like each place of the second image is to the pair's keypoints: (keypoints, rows, columns)."""
        if (pair, method) not in self._kept:
            mine = self.task.pair == pair
            x = self.prepare(self.pictures[self.task.pairs[pair]])
            found = correspondence.likeness(self.methods[method], x, self.task.source[mine], STEP)
            self._kept[pair, method] = found
        return self._kept[pair, method]

    def _on_pair(self) -> None:
        """Another pair: its keypoints."""
        self._choosing = True
        mine = (self.task.pair == self.pair.value).nonzero().flatten().tolist()
        names = [self.task.names[k] for k in mine]
        self.keypoint.options = [
            (f"{name} {names[: i + 1].count(name)}" if names.count(name) > 1 else name, i)
            for i, name in enumerate(names)
        ]
        self.keypoint.value = 0
        self._choosing = False
        self.draw()

    def draw(self) -> None:
        """Redraw from the widgets' values; the features of a pair are computed once."""
        if self._choosing:
            return
        pair, method, row = self.pair.value, self.method.value, self.keypoint.value
        k = int((self.task.pair == pair).nonzero()[row])
        like = self.maps(pair, method)[row]
        best = int(like.argmax())
        found = [STEP * (best % like.shape[1]) + 0.5, STEP * (best // like.shape[1]) + 0.5]
        radius = float(self.task.radius[k])
        targets = [(x, y) for x, y in self.task.targets[k].tolist() if not math.isnan(x)]
        away = min(math.dist(found, target) for target in targets)
        rings, cross = [(x, y, radius) for x, y in targets], [(found[0], found[1])]
        first, second = (self.pictures[i] for i in self.task.pairs[pair].tolist())
        x, y = self.task.source[k].tolist()
        limits = figures.limits_of(like)
        heat = figures.enlarge(figures.colourise(like, limits=limits), (SIDE, SIDE))
        tiles = [marked(first, SIDE, [(x, y, radius)]), marked(second, SIDE, rings, cross), heat]
        names = ["looked for", "ring: truth; cross: found", f"likeness, {method}"]
        shown = [*figures.lettered(tiles, names, 13), figures.colour_scale(limits, SIDE)]
        base.redraw(self.picture, figures.beside(shown))
        title = f" ({self.titles[pair]})" if self.titles[pair] else ""
        base.say(
            self.text,
            f"Pair {pair}{title}, {self.keypoint.label} by {method}: found {away:.1f} px from the truth, which is "
            f"{'right' if away <= radius else 'wrong'} (within {radius:.1f} px). Cosine there {float(like.max()):.2f}.",
        )


def matcher(
    methods: Mapping[str, correspondence.Extract],
    pictures: Tensor,
    task: correspondence.Task,
    *,
    prepare: Callable[[Tensor], Tensor] | None = None,
    titles: Sequence[str] | None = None,
) -> Matcher:
    """Return a control that looks for a keypoint of one image in another by features of your choice.

    Args:
        methods: name → function of `correspondence`, such as `of_layer(model, "relu4")`.
        pictures: (N, 3, H, W) in [0, 1], the images of the task. task: of `correspondence.keypoint_task`.
        prepare: images → what the methods take, such as `net.prepare`; None hands the images on.
        titles: a name for each pair.

    Raises: ValueError for no method, too few images, or another number of titles.
    """
    if not methods:
        raise ValueError("there is nothing to compare: give at least one method")
    if pictures.ndim != 4 or len(pictures) <= int(task.pairs.max()):
        raise ValueError(
            f"the task needs {int(task.pairs.max()) + 1} images (N, 3, H, W), not {tuple(pictures.shape)}"
        )
    if titles is not None and len(titles) != len(task.pairs):
        raise ValueError(f"there are {len(titles)} titles for {len(task.pairs)} pairs")
    return Matcher(methods, pictures, task, prepare or torch.Tensor.float, titles or [""] * len(task.pairs))
