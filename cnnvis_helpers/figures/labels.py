"""Label maps with the names of what they show.

label_maps    a Diorama example: the image and each category of labels, with legends; (figure, axes)

show(label_maps(diorama.render("test", 6)), "A cat and its six label maps.")
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from .raster import CATEGORICAL, Pixels, as_array, as_uint8, enlarge, rgb_of, tile
from .style import INK, WIDTH, canvas, line_height, styled

BASIC_COLOURS = {
    "black": "#111111", "white": "#FFFFFF", "grey": "#8C8C8C", "gray": "#8C8C8C", "red": "#D22B2B",
    "orange": "#F28C28", "yellow": "#F5D628", "green": "#2E8B3D", "blue": "#2456C7", "purple": "#7B3FA0",
    "pink": "#F291B5", "brown": "#7A4A21",
}  # fmt: skip
UNLABELLED = "#ECECEC"
# after the eight of the palette: Paul Tol's "muted" colours, for maps with many names
LABEL_COLOURS = (
    *CATEGORICAL,
    *("#88CCEE", "#DDCC77", "#882255", "#44AA99", "#AA4499", "#332288", "#117733", "#999933"),
)


def _label_picture(values: Any, names: Sequence[str], most: int) -> tuple[Pixels, list[tuple[str, str]]]:
    """Colours of a map of indices (H, W), and its legend (name, colour), the largest areas first."""
    found, counts = np.unique(values, return_counts=True)
    unknown = [int(v) for v in found if v >= len(names)]
    if unknown:
        raise ValueError(f"the map holds label {unknown[0]}, but there are only {len(names)} names")
    ranked = [int(v) for v in found[np.argsort(-counts, kind="stable")] if names[v]]
    pixels = np.empty((*values.shape, 3), np.uint8)
    pixels[:] = rgb_of(UNLABELLED)
    legend: list[tuple[str, str]] = []
    for place, value in enumerate(ranked):
        colour = BASIC_COLOURS.get(names[value], LABEL_COLOURS[place % len(LABEL_COLOURS)])
        pixels[values == value] = rgb_of(colour)
        legend.append((names[value], colour))
    if len(legend) > most:
        legend = [*legend[: most - 1], (f"{len(legend) - most + 1} smaller", "none")]
    return pixels, legend or [("no label here", UNLABELLED)]


@styled
def label_maps(
    example: Any,
    names: Mapping[str, Sequence[str]] | None = None,
    *,
    title: str | None = None,
    caption: str | None = None,
    width: float = WIDTH,
    most: int = 12,
) -> tuple[Figure, Axes]:
    """Show a Diorama example: the image, each category's label map with the names in it, and the main object.

    `example` has `.image` (H, W, 3), `.maps` (category -> (H, W) indices) and, if there is one, `.instance`
    (H, W) bool. `names`: category -> names by index ("" = unlabelled, drawn pale grey); default: those of
    Diorama. Colours are given anew in each map, by area, but a basic colour is drawn as itself. A legend has
    at most `most` entries.
    """
    if names is None:
        from .. import diorama

        names = {category: diorama.names(category) for category in example.maps}
    pictures, heads = [as_uint8(example.image)], ["image"]
    legends: list[list[tuple[str, str]]] = [[]]
    for category, values in example.maps.items():
        pixels, legend = _label_picture(as_array(values), names[category], most)
        pictures.append(pixels)
        heads.append(category)
        legends.append(legend)
    instance = getattr(example, "instance", None)
    if instance is not None:
        pictures.append(np.where(as_array(instance)[:, :, None], as_uint8(example.image), rgb_of(UNLABELLED)))
        heads.append("main object")
        legends.append([])
    columns, gap = min(4, len(pictures)), 12
    side = int((width - gap * (columns - 1)) // columns)
    tiles = [
        enlarge(p, (side, side), smooth=h in ("image", "main object"))
        for p, h in zip(pictures, heads, strict=True)
    ]
    line, high = round(line_height(8.5)), round(line_height(9)) + 3
    across = 2 if max(len(n) for legend in legends for n, _ in legend) <= 13 else 1
    depths = [
        max(-(-len(legend) // across) for legend in legends[r : r + columns]) * line + 6
        for r in range(0, len(tiles), columns)
    ]
    raster = tile(tiles, columns, (gap + high + max(depths[:-1], default=0), gap))
    figure, axes = canvas(raster, header=high, footer=depths[-1], title=title, caption=caption)
    for i, (head, legend) in enumerate(zip(heads, legends, strict=True)):
        x, y = (
            (i % columns) * (side + gap),
            (i // columns) * (side + gap + high + max(depths[:-1], default=0)),
        )
        axes.text(x, y - 6, head, size=9, weight="bold", va="baseline")
        for k, (name, colour) in enumerate(legend):
            left, top = x + (k % across) * side / across, y + side + 5 + (k // across) * line
            if colour != "none":
                axes.add_patch(Rectangle((left + 0.5, top + 3), 10, 10, fc=colour, ec="#888888", lw=0.5))
            axes.text(left + 15, top + 8, name, size=8.5, va="center", color=INK)
    return figure, axes
