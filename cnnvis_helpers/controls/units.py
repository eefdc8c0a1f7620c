"""Which images a unit likes best, and which images are near each other in a layer's codes.

    unit_browser          layer x channel -> the top images with receptive-field boxes and activations
    embedding_explorer    network x layer -> a map of the images' codes; one image and its nearest neighbours
    unit_picture          the top images of one channel -> pixels
    map_picture           images as points, thumbnails or a grid -> pixels

unit_browser({"trained": tops}, fields, pictures, titles=names)        # last line of a cell
embedding_explorer({"trained": {"relu7": codes}}, pictures, labels, CLASSES)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import ipywidgets as widgets
import numpy as np
from PIL import Image, ImageDraw
from torch import Tensor

from .. import codes, figures
from ..figures.labels import LABEL_COLOURS
from ..patches import top_patches
from ..receptive_field import ReceptiveField
from ..survey import TopK
from . import base

CELL = 94  # pixels of a top image's side
SIDE, THUMB = 600, 30  # pixels of the map's side, and of a picture in it
NEAR = 8  # neighbours shown
MARK = "#D55E00"


def unit_picture(
    top: TopK, channel: int, field: ReceptiveField | None, pictures: Sequence[Tensor]
) -> np.ndarray:
    """Return the top images of one channel, uint8: with the receptive field's box, and below the patches in it.

    Above each patch stands its activation, best first. `field` None is for layers that see the whole image: they
    have no boxes and no patches.
    """
    images, values = top.images[channel].tolist(), top.values[channel].tolist()
    factor = CELL / max(pictures[images[0]].shape[1:])
    places = zip(top.rows[channel].tolist(), top.columns[channel].tolist(), strict=True)
    boxes = [[field.box(*place)] if field else [] for place in places]
    drawn = [figures.boxed(pictures[i], box, factor) for i, box in zip(images, boxes, strict=True)]
    rows = [*figures.lettered(drawn, [f"{value:.3g}" for value in values])]
    sheet = figures.tile(rows, len(rows), gap=4)
    if field is None:
        return sheet
    cut = top_patches(top, pictures, field.box, channels=[channel]).pixels[0]
    cells = [figures.enlarge(patch, (CELL, CELL), smooth=min(patch.shape[1:]) > 16) for patch in cut]
    below = figures.tile(cells, len(cells), gap=4)
    return np.concatenate([sheet, np.full((4, sheet.shape[1], 3), 255, np.uint8), below])


class UnitBrowser(base.Control):
    """The widgets of `unit_browser`: survey, layer, channel, picture, text."""

    def __init__(
        self,
        surveys: Mapping[str, Sequence[TopK]],
        fields: Mapping[str, ReceptiveField],
        pictures: Sequence[Tensor],
        titles: Sequence[str],
    ) -> None:
        self.surveys = {name: {top.layer: top for top in tops} for name, tops in surveys.items()}
        self.fields = {layer: field for layer, field in fields.items() if not field.whole}
        self.pictures, self.titles = pictures, list(titles)
        self.survey = base.dropdown(list(self.surveys), "Show", "The network, and its units or directions")
        self.layer = base.dropdown(self._layers(), "Layer", "The layer whose units are shown")
        self.channel = base.slider(0, "Unit", "Number of the unit; arrow keys move it", "420px")
        self.text, self.picture = base.message(), base.picture()
        self._choosing = False
        super().__init__(
            widgets.VBox([base.row(self.survey, self.layer), self.channel, self.text, self.picture]),
            f"A control that needs a running kernel: the top images of every unit of {len(self._layers())} layers.",
        )
        self.survey.observe(lambda change: self._on_layer(), names="value")
        self.layer.observe(lambda change: self._on_layer(), names="value")
        self.channel.observe(lambda change: self.draw(), names="value")
        self._on_layer()

    def _layers(self) -> list[str]:
        return list(self.surveys[self.survey.value])

    def _on_layer(self) -> None:
        if self._choosing:
            return
        before = self.layer.value
        self._choosing = True  # the new lists, ends and values are one change, drawn once
        self.layer.options = self._layers()
        self.layer.value = before if before in self._layers() else self._layers()[0]
        self.channel.max = len(self.top().values) - 1
        self._choosing = False
        self.draw()

    def top(self) -> TopK:
        """The survey of the chosen layer."""
        return self.surveys[self.survey.value][self.layer.value]

    def draw(self) -> None:
        """Redraw from the widgets' values."""
        if self._choosing:
            return
        top, channel = self.top(), self.channel.value
        shown = unit_picture(top, channel, self.fields.get(top.layer), self.pictures)
        base.redraw(self.picture, shown)
        names = Counter(self.titles[i] for i in top.images[channel].tolist())
        listed = ", ".join(f"{count} × {name}" for name, count in names.most_common())
        base.say(
            self.text,
            f"{self.survey.value}, {top.layer}, {channel} of {len(top.values)}: {listed}. "
            "Above each its activation; below, what lies in the box.",
        )


def unit_browser(
    surveys: Mapping[str, Sequence[TopK]],
    fields: Mapping[str, ReceptiveField],
    pictures: Sequence[Tensor],
    titles: Sequence[str],
) -> UnitBrowser:
    """Return a control to leaf through the images that activate each unit most.

    `surveys`: name -> TopK statistics of one survey, a layer each. `fields`: layer -> receptive field with an
    `input_size`; layers without one, or that see the whole image, are shown without boxes. `pictures[i]`, (3, H, W)
    in [0, 1], is the image that the surveys call i, `titles[i]` its name. ValueError where there is no survey, a
    layer is in one twice, or pictures, titles and the surveys' images differ in number.
    """
    if not surveys or not all(surveys.values()):
        raise ValueError("there is no survey to show: give a name and a list of one or more TopK")
    if len(titles) != len(pictures):
        raise ValueError(f"there are {len(titles)} titles for {len(pictures)} pictures")
    for name, tops in surveys.items():
        layers = [top.layer for top in tops]
        if len(set(layers)) < len(layers):
            raise ValueError(f"survey {name!r} has a layer twice: {', '.join(layers)}")
        last = max(int(top.images.max()) for top in tops)
        if last >= len(pictures):
            raise ValueError(f"survey {name!r} saw an image {last}, but there are {len(pictures)} pictures")
    return UnitBrowser(surveys, fields, pictures, titles)


def map_picture(
    points: np.ndarray,
    tiles: Sequence[np.ndarray],
    labels: Sequence[int],
    how: str,
    chosen: int,
    near: Sequence[int],
    side: int = SIDE,
) -> np.ndarray:
    """Return a map of images, (side, side, 3) uint8; the chosen one and the `near` ones are marked.

    `points` (N, 2) in the plane, y upwards; `tiles`: small square pictures (s, s, 3). `how`: "points" in the colours
    of the labels, "pictures" at their places (later ones cover earlier ones), or "grid", a cell for each.
    """
    sheet = Image.new("RGB", (side, side), "white")
    draw = ImageDraw.Draw(sheet)
    edge = tiles[0].shape[0]
    if how == "grid":
        cells = int(np.ceil(np.sqrt(len(points))))
        edge = side // cells
        corners = codes.assignment_grid(points, cells, cells)[:, ::-1] * edge
    else:
        low, extent = points.min(0), max(float(np.ptp(points, 0).max()), 1e-9)
        unit = (points - low) / extent
        unit[:, 1] = 1 - unit[:, 1]
        corners = np.rint(unit * (side - edge)).astype(int)
    marked = [*reversed(near), chosen]
    for i in [*range(len(points)), *marked]:  # marked ones again, on top
        x, y = corners[i].tolist()
        if how == "points":
            x, y, r = x + edge // 2, y + edge // 2, 8 if i == chosen else 5
            rim = ("black", 3 if i == chosen else 2) if i in marked else (None, 0)
            colour = LABEL_COLOURS[labels[i] % len(LABEL_COLOURS)]
            draw.ellipse((x - r, y - r, x + r, y + r), colour, *rim)
        else:
            tile = tiles[i] if edge == tiles[i].shape[0] else figures.enlarge(tiles[i], (edge, edge), True)
            sheet.paste(Image.fromarray(tile), (x, y))
            if i in marked:
                colour = MARK if i == chosen else "black"
                draw.rectangle(
                    (x, y, x + edge - 1, y + edge - 1), outline=colour, width=3 if i == chosen else 2
                )
    return np.asarray(sheet)


class EmbeddingExplorer(base.Control):
    """The widgets of `embedding_explorer`: network, layer, method, how, image, map, near, buttons, text."""

    def __init__(
        self,
        found: Mapping[str, Mapping[str, Any]],
        pictures: Sequence[Tensor],
        labels: Sequence[int],
        names: Sequence[str],
        seed: int,
    ) -> None:
        self.codes = {name: dict(layers) for name, layers in found.items()}
        self.pictures, self.labels, self.names = pictures, list(labels), list(names)
        self.tiles = [figures.enlarge(p, (THUMB, THUMB), smooth=True) for p in pictures]
        self.maps = {
            (name, layer, method): codes.embed(table, "tsne" if method == "t-SNE" else "pca", seed=seed)
            for name, layers in self.codes.items()
            for layer, table in layers.items()
            for method in ("t-SNE", "PCA")
        }
        self._near: dict[tuple[str, str], np.ndarray] = {}
        self._choosing = False
        self.network = base.dropdown(
            list(self.codes), "Network", "Whose codes, and at which step of training"
        )
        self.layer = base.dropdown(self._layers(), "Layer", "The layer that gives the codes")
        self.method = base.dropdown(["t-SNE", "PCA"], "Map by", "How the codes are put in the plane", "200px")
        self.how = base.dropdown(["points", "pictures", "grid"], "Show", "How the images are drawn", "200px")
        self.image = base.slider(len(pictures) - 1, "Image", "Number of the image; arrow keys move it")
        self.text, self.map, self.near = base.message(), base.picture(), base.picture()
        self.buttons = [
            widgets.Button(
                tooltip="Go to this neighbour", layout=widgets.Layout(width=f"{CELL}px", margin="0 4px 0 0")
            )
            for _ in range(min(NEAR, len(pictures) - 1))
        ]
        blank = widgets.HTML(layout=widgets.Layout(width=f"{CELL + 4}px"))
        super().__init__(
            widgets.VBox(
                [
                    base.row(self.network, self.layer),
                    base.row(self.method, self.how, self.image),
                    self.text,
                    self.near,
                    base.row(blank, *self.buttons),
                    self.map,
                ],
                layout=widgets.Layout(max_width="900px"),
            ),
            f"A control that needs a running kernel: {len(pictures)} images in {len(self.maps)} maps.",
        )
        for widget in (self.network, self.layer, self.method, self.how, self.image):
            widget.observe(self._on_choice, names="value")
        for button in self.buttons:
            button.on_click(lambda b: setattr(self.image, "value", int(b.description)))
        self.draw()

    def _layers(self) -> list[str]:
        return list(self.codes[self.network.value])

    def _on_choice(self, change: Any) -> None:
        if self._choosing:
            return
        if change["owner"] is self.network:
            before = self.layer.value
            self._choosing = True  # the new list of layers and the new choice are one change, drawn once
            self.layer.options = self._layers()
            self.layer.value = before if before in self._layers() else self._layers()[-1]
            self._choosing = False
        self.draw()

    def neighbours(self) -> list[int]:
        """The nearest other images of the chosen image, in the codes and not in the map."""
        key = self.network.value, self.layer.value
        if key not in self._near:
            self._near[key] = codes.neighbours(self.codes[key[0]][key[1]], len(self.buttons))
        return self._near[key][self.image.value].tolist()

    def draw(self) -> None:
        """Redraw from the widgets' values."""
        chosen, near = self.image.value, self.neighbours()
        points = self.maps[self.network.value, self.layer.value, self.method.value]
        drawn = map_picture(points, self.tiles, self.labels, self.how.value, chosen, near)
        base.redraw(self.map, drawn)
        row = [figures.enlarge(self.pictures[i], (CELL, CELL), smooth=True) for i in (chosen, *near)]
        row[0] = figures.frame(row[0], MARK, 3)
        told = [self.names[self.labels[i]] for i in (chosen, *near)]
        base.redraw(self.near, figures.tile(figures.lettered(row, told), len(row), gap=4))
        for button, i in zip(self.buttons, near, strict=True):
            button.description = str(i)
        same = sum(name == told[0] for name in told[1:])
        base.say(
            self.text,
            f"{self.network.value}, {self.layer.value}. Image {chosen} ({told[0]}) and its {len(near)} nearest "
            f"neighbours in the codes: {same} of the same class. Press a number to go there.",
        )


def embedding_explorer(
    codes: Mapping[str, Mapping[str, Any]],
    pictures: Sequence[Tensor],
    labels: Any,
    names: Sequence[str],
    *,
    seed: int = 0,
) -> EmbeddingExplorer:
    """Return a control to look at a map of images by their codes, and at one image's nearest neighbours.

    `codes`: network or training step -> layer -> (N, D) codes of the N `pictures` (3, H, W); `labels` (N,) are
    positions in `names`. All maps are made at once: t-SNE takes about a second for each 400 images and layer.
    ValueError where there are no codes, fewer than three pictures, or other numbers of codes or labels.
    """
    kinds = [int(label) for label in labels]
    if not codes or not all(codes.values()):
        raise ValueError("there are no codes to show: give a name and one or more layers")
    if len(pictures) < 3 or len(kinds) != len(pictures):
        raise ValueError(
            f"needed are 3 pictures or more with a label each, not {len(pictures)}, {len(kinds)}"
        )
    for name, layers in codes.items():
        for layer, table in layers.items():
            if len(table) != len(pictures):
                raise ValueError(f"{name}, {layer} has {len(table)} codes for {len(pictures)} pictures")
    return EmbeddingExplorer(codes, pictures, kinds, names, seed)
