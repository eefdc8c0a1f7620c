"""Grids of pictures: each takes arrays or tensors and returns (figure, axes); none keeps what it was given.

image_grid        photographs, projections or other colour pictures, with titles and row labels
filter_grid       filters of a first layer in colour; chosen ones framed, numbers below
grey_grid         single slices of filters, signed: diverging about zero, with a colour bar
activation_grid   the channels of one activation, on one colour scale with a colour bar
overlay           maps laid over images

fig, axes = activation_grid(activations["relu3"][0], caption="The channels of relu3 for the cat.")
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from .raster import (
    Limits,
    Pixels,
    as_array,
    as_uint8,
    blend,
    colourise,
    enlarge,
    limits_of,
    tile,
)
from .style import BAR_WIDTH, FAINT, INK, WIDTH, canvas, line_height, styled

MARK = "#D55E00"


def _columns(count: int, most: int) -> int:
    """At most `most` columns, and of the wide ones the number that leaves the fewest empty places."""
    if count <= most:
        return count
    return min(range(most, max(1, most // 2), -1), key=lambda c: -count % c)


def _crisp(tiles: Sequence[Pixels], columns: int, gap: int, most: int, width: float) -> list[Pixels]:
    """Enlarge small tiles by one whole factor, so that every value is an equally large square."""
    room = (width - gap * (columns - 1)) / columns
    factor = max(1, min(int(room // tiles[0].shape[1]), most // max(tiles[0].shape[:2]) or 1))
    return [t.repeat(factor, 0).repeat(factor, 1) for t in tiles]


def _cut(text: str, width: float, size: float) -> str:
    letters = max(3, int(width / (0.56 * size * 110 / 72)))
    return text if len(text) <= letters else text[: letters - 1] + "…"


def _sheet(
    tiles: Sequence[Pixels],
    columns: int,
    *,
    gap: int = 4,
    above: Sequence[str] | None = None,
    below: Sequence[str] | None = None,
    rows: Sequence[str] | None = None,
    framed: Iterable[int] = (),
    background: str = "white",
    **canvas_options: Any,
) -> tuple[Figure, Axes]:
    """Tiles of one size as one crisp raster, with text above and below each, row labels and frames."""
    height, width = tiles[0].shape[:2]
    for name, texts in (("titles", above), ("numbers", below)):
        if texts is not None and len(texts) != len(tiles):
            raise ValueError(f"{name} has {len(texts)} entries for {len(tiles)} pictures")
    size = 9.0 if width >= 60 else 8.0
    line = round(line_height(size))
    high = max((t.count("\n") + 1 for t in above), default=0) * line + 4 if above else 0
    low = max((t.count("\n") + 1 for t in below), default=0) * line + 3 if below else 0
    left = round(max(map(len, rows)) * 0.6 * 9 * 110 / 72) + 8 if rows else 0
    step = gap + low + (high if any((above or [])[columns:]) else 0)  # column heads need no room further down
    raster = tile(tiles, columns, (step, gap), background=background)
    figure, axes = canvas(raster, header=high, footer=low, left=left, **canvas_options)
    framed = set(framed)
    for i in range(len(tiles)):
        x, y = (i % columns) * (width + gap), (i // columns) * (height + step)
        if above:
            text = "\n".join(_cut(part, width + gap, size) for part in above[i].split("\n"))
            axes.text(x, y - 7, text, size=size, va="baseline", color=INK, linespacing=1.15)
        if below:
            axes.text(x + width / 2, y + height + 5, below[i], size=size, va="top", ha="center", color=FAINT)
        if i in framed:
            box = Rectangle(
                (x - 1.5, y - 1.5), width + 3, height + 3, fill=False, ec=MARK, lw=2, clip_on=False
            )
            axes.add_patch(box)
    for r, label in enumerate(rows or ()):
        y = r * (height + step) + height / 2
        axes.text(-8, y, label, size=9, va="center", ha="right", color=INK)
    return figure, axes


def _marked(marked: Any, count: int) -> list[int]:
    """Indices out of a boolean mask over all tiles, or out of indices."""
    if marked is None:
        return []
    array = as_array(marked)
    if array.dtype == bool:
        if array.shape != (count,):
            raise ValueError(f"a mask of marked pictures has shape ({count},), this has {array.shape}")
        return [int(i) for i in np.flatnonzero(array)]
    return [int(i) for i in array]


def _texts(values: Any, form: str) -> list[str] | None:
    if values is None:
        return None
    return [
        v if isinstance(v, str) else form.format(v)
        for v in (values if isinstance(values, list) else as_array(values).tolist())
    ]


def _same_size(
    pictures: Sequence[Pixels], smooth: bool, columns: int, gap: int, width: float, scale: float
) -> list[Pixels]:
    """Bring pictures to one size: as wide as the column allows, at most `scale` times the largest."""
    room = (width - gap * (columns - 1)) // columns
    side_h, side_w = (max(p.shape[k] for p in pictures) for k in (0, 1))
    factor = min(room / side_w, scale)
    if not smooth:
        factor = max(1, int(factor)) if factor >= 1 else factor
    size = (round(side_h * factor), round(side_w * factor))
    return [enlarge(p, size, smooth) for p in pictures]


@styled
def image_grid(
    images: Any,
    titles: Sequence[str] | None = None,
    columns: int | None = None,
    *,
    rows: Sequence[str] | None = None,
    numbers: Any = None,
    marked: Any = None,
    crisp: bool = False,
    title: str | None = None,
    caption: str | None = None,
    width: float = WIDTH,
    scale: float = 2.5,
    gap: int = 6,
    axes: Axes | None = None,
) -> tuple[Figure, Axes]:
    """Show pictures in a grid.

    `images`: (N, 3, H, W), (N, H, W, 3) or a list of pictures, floats in [0, 1] or uint8. `titles` stand
    above each picture ("\\n" makes two lines), `numbers` (text, or numbers shown with 3 digits) below, `rows`
    left of each row; `marked` pictures (indices or boolean mask) are framed. Photographs are enlarged
    smoothly, at most `scale` times; `crisp` keeps their pixels as squares. Sizes are in pixels.
    """
    pictures = [as_uint8(image) for image in images]
    if not pictures:
        raise ValueError("there is no image to show: give at least one")
    columns = min(columns or _columns(len(pictures), 6), len(pictures))
    room = width - (max(map(len, rows)) * 8.3 + 8 if rows else 0)
    tiles = _same_size(pictures, not crisp, columns, gap, room, scale)
    return _sheet(
        tiles, columns, gap=gap, above=titles, below=_texts(numbers, "{:.3g}"), rows=rows,
        framed=_marked(marked, len(tiles)), title=title, caption=caption, axes=axes,
    )  # fmt: skip


@styled
def filter_grid(
    filters: Any,
    columns: int | None = None,
    *,
    numbers: Any = None,
    marked: Any = None,
    title: str | None = None,
    caption: str | None = None,
    width: float = WIDTH,
    largest: int = 72,
    gap: int = 5,
    axes: Axes | None = None,
) -> tuple[Figure, Axes]:
    """Show filters in colour, every weight a crisp square.

    `filters`: (N, kH, kW, 3) in [0, 1], where 0.5 is a weight of zero (as `filters.to_colour` gives them).
    `marked`: indices or a boolean mask of filters to frame, for example the noisy ones. `numbers` stand below
    each filter (3 digits). A filter is drawn at most `largest` pixels wide.
    """
    array = as_array(filters)
    if array.ndim != 4 or array.shape[3] != 3:
        raise ValueError(f"colour filters have shape (N, kH, kW, 3), these have {array.shape}")
    columns = min(columns or _columns(len(array), 12), len(array))
    tiles = _crisp([as_uint8(np.asarray(f)) for f in array], columns, gap, largest, width)
    return _sheet(
        tiles, columns, gap=gap, below=_texts(numbers, "{:.2f}"), framed=_marked(marked, len(tiles)),
        title=title, caption=caption, axes=axes,
    )  # fmt: skip


@styled
def grey_grid(
    slices: Any,
    columns: int | None = None,
    *,
    limits: Limits | None = None,
    grey: bool = False,
    rows: Sequence[str] | None = None,
    titles: Sequence[str] | None = None,
    numbers: Any = None,
    marked: Any = None,
    label: str = "weight",
    title: str | None = None,
    caption: str | None = None,
    width: float = WIDTH,
    largest: int = 56,
    gap: int = 4,
    axes: Axes | None = None,
) -> tuple[Figure, Axes]:
    """Show signed slices on one diverging scale centred on zero, with a colour bar named `label`.

    A slice is one input channel of one filter; it has no colour of its own. `slices`: (N, kH, kW), or
    (N, C, kH, kW), a row for each filter. With `grey` the slices are taken as pictures in [0, 1] (0.5 = zero,
    as `filters.grey_slices` gives them) and drawn in grey without a colour bar.
    """
    array = as_array(slices)
    if array.ndim == 4:
        columns = columns or array.shape[1]
        array = array.reshape(-1, *array.shape[2:])
    if array.ndim != 3:
        raise ValueError(f"slices have shape (N, kH, kW) or (N, C, kH, kW), these have {array.shape}")
    limits = limits or limits_of(array, diverging=True)
    columns = min(columns or _columns(len(array), 16), len(array))
    pixels = [as_uint8(s) if grey else colourise(s, True, limits) for s in array]
    # white is a weight of zero here: a grey seam keeps pale slices apart
    ragged = bool(len(array) % columns or titles or numbers is not None)
    room = width - (0 if grey else BAR_WIDTH) - (max(map(len, rows)) * 8.3 + 8 if rows else 0)
    tiles = _crisp(pixels, columns, gap, largest, room)
    return _sheet(
        tiles, columns, gap=gap, above=titles, below=_texts(numbers, "{:.2f}"), rows=rows,
        framed=_marked(marked, len(tiles)), colour_bar=None if grey else (limits, True, label),
        background="white" if ragged else "#DCDCDC",
        title=title, caption=caption, axes=axes,
    )  # fmt: skip


@styled
def activation_grid(
    activation: Any,
    channels: Sequence[int] | None = None,
    columns: int | None = None,
    *,
    most: int = 96,
    limits: Limits | None = None,
    diverging: bool = False,
    numbered: bool = True,
    marked: Any = None,
    label: str = "activation",
    title: str | None = None,
    caption: str | None = None,
    width: float = WIDTH,
    largest: int = 96,
    gap: int = 4,
    axes: Axes | None = None,
) -> tuple[Figure, Axes]:
    """Show the channels of one activation (C, H, W) on ONE colour scale, with a colour bar.

    `channels` chooses and orders them (default: the first `most`); `numbered` writes the channel's index
    below; `marked` are positions in the grid. `limits` fixes the scale, so that two figures can be compared.
    """
    array = as_array(activation)
    if array.ndim != 3:
        raise ValueError(
            f"an activation has shape (C, H, W), this has {array.shape}: take one image of the batch"
        )
    chosen = list(range(min(most, len(array)))) if channels is None else [int(c) for c in channels]
    if not chosen or not all(0 <= c < len(array) for c in chosen):
        raise ValueError(f"channels lie in 0 … {len(array) - 1}, these are {chosen[:8]}")
    limits = limits or limits_of(array[chosen], diverging)
    columns = min(columns or _columns(len(chosen), 12), len(chosen))
    tiles = _crisp(
        [colourise(array[c], diverging, limits) for c in chosen], columns, gap, largest, width - BAR_WIDTH
    )
    return _sheet(
        tiles, columns, gap=gap, below=[str(c) for c in chosen] if numbered else None,
        framed=_marked(marked, len(tiles)), colour_bar=(limits, diverging, label),
        title=title, caption=caption, axes=axes,
    )  # fmt: skip


@styled
def overlay(
    images: Any,
    heats: Any,
    titles: Sequence[str] | None = None,
    columns: int | None = None,
    *,
    limits: Limits | None = None,
    diverging: bool = False,
    strength: float = 0.85,
    label: str = "activation",
    title: str | None = None,
    caption: str | None = None,
    width: float = WIDTH,
    scale: float = 2.5,
    gap: int = 6,
    axes: Axes | None = None,
) -> tuple[Figure, Axes]:
    """Show maps (h, w) laid over images, all on one colour scale with a colour bar.

    `images`: one picture or N of them; `heats`: one map or N. One image with N maps repeats the image.
    A map is enlarged bilinearly to the whole image.
    """
    maps = as_array(heats) if not isinstance(heats, (list, tuple)) else [as_array(h) for h in heats]
    if isinstance(maps, np.ndarray) and maps.ndim == 2:
        maps = maps[None]
    one = not isinstance(images, (list, tuple)) and as_array(images).ndim <= 3
    pictures = [as_uint8(images)] * len(maps) if one else [as_uint8(image) for image in images]
    if len(pictures) != len(maps):
        raise ValueError(f"there are {len(maps)} maps for {len(pictures)} images")
    limits = limits or limits_of(np.concatenate([m.ravel() for m in maps]), diverging)
    columns = min(columns or _columns(len(pictures), 5), len(pictures))
    enlarged = _same_size(pictures, True, columns, gap, width - BAR_WIDTH, scale)
    tiles = [blend(p, m, limits, strength, diverging) for p, m in zip(enlarged, maps, strict=True)]
    return _sheet(
        tiles, columns, gap=gap, above=titles, colour_bar=(limits, diverging, label),
        title=title, caption=caption, axes=axes,
    )  # fmt: skip
