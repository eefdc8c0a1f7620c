"""Arrays to pixels, fast: no matplotlib figure is built here, so that controls can redraw at every move.

SEQUENTIAL, DIVERGING   names of the two colour maps of the course
CATEGORICAL             Okabe-Ito palette (safe for colour-blind readers), as "#rrggbb"
as_uint8                an image in any usual form -> (H, W, 3) uint8
limits_of               the two ends of a colour scale for a map
colourise               a map of numbers -> (H, W, 3) uint8
blend                   a map laid over an image -> (H, W, 3) uint8
enlarge                 resize pixels, crisp or smooth
frame                   paint a coloured border inside a picture
boxed                   an enlarged picture with boxes drawn on it
tile                    pictures side by side -> one array

picture = tile([image, colourise(activation[3])], columns=2, scale=2)
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

import matplotlib
import numpy as np
from numpy.typing import NDArray
from PIL import Image

SEQUENTIAL = "magma"
DIVERGING = "RdBu_r"
CATEGORICAL = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#B3A800", "#4D4D4D")

Limits = tuple[float, float]
Pixels = NDArray[np.uint8]


def as_array(values: Any) -> NDArray[Any]:
    """Return a NumPy array of a tensor (on any device, with or without gradient), list or array."""
    if hasattr(values, "detach"):  # a torch tensor, without importing torch here
        values = values.detach().cpu().float() if values.is_floating_point() else values.detach().cpu()
        return np.asarray(values.numpy())
    return np.asarray(values)


def as_uint8(image: Any) -> Pixels:
    """Return an image as (H, W, 3) uint8.

    Accepts (3, H, W), (H, W, 3) or (H, W); floats in [0, 1] (clipped) or uint8. Where both ends of the shape
    are 3, a tensor is read channels first and an array channels last. ValueError for any other shape.
    """
    array = as_array(image)
    if array.ndim == 3:
        first, last = array.shape[0] in (1, 3), array.shape[2] in (1, 3)
        if first and (not last or hasattr(image, "detach")):
            array = np.moveaxis(array, 0, 2)
        elif not last:
            raise ValueError(f"an image has shape (3, H, W), (H, W, 3) or (H, W), this has {array.shape}")
    elif array.ndim != 2:
        raise ValueError(f"an image has shape (3, H, W), (H, W, 3) or (H, W), this has {array.shape}")
    if array.dtype == bool:
        array = array.astype(np.float32)
    if array.dtype != np.uint8:
        array = np.rint(np.clip(np.nan_to_num(array.astype(np.float32)), 0, 1) * 255).astype(np.uint8)
    if array.ndim == 2:
        array = array[:, :, None]
    return np.ascontiguousarray(np.broadcast_to(array, (*array.shape[:2], 3)))


@cache
def _table(name: str) -> Pixels:
    """The 256 colours of a colour map, (256, 3) uint8."""
    return np.asarray(matplotlib.colormaps[name](np.arange(256), bytes=True))[:, :3]


def limits_of(values: Any, diverging: bool = False) -> Limits:
    """Return (low, high) of the scale of `values`: (min(0, least), most), or (-m, m) with m = max |value|.

    A map that is zero everywhere gets the scale (0, 1), or (-1, 1): a scale of no width has no colours.
    """
    array = as_array(values)
    finite = array[np.isfinite(array)]
    if finite.size == 0:
        return (-1.0, 1.0) if diverging else (0.0, 1.0)
    if diverging:
        most = float(np.abs(finite).max()) or 1.0
        return -most, most
    low, high = min(0.0, float(finite.min())), float(finite.max())
    return (low, high) if high > low else (low, low + 1.0)


def colourise(values: Any, diverging: bool = False, limits: Limits | None = None) -> Pixels:
    """Return the colours of a map of numbers, (..., ) -> (..., 3) uint8, with the colour maps of the course.

    `limits` are the values of the first and the last colour (default `limits_of`); values beyond them take
    the end colours, and a NaN is drawn grey. With `diverging` the middle colour, white, should be zero: keep
    the limits symmetric.
    """
    array = as_array(values).astype(np.float32)
    low, high = limits or limits_of(array, diverging)
    if not high > low:
        raise ValueError(f"limits go from a low to a higher value, these are {low} and {high}")
    unknown = np.isnan(array)
    place = np.clip((np.where(unknown, low, array) - low) / (high - low), 0, 1)
    colours = _table(DIVERGING if diverging else SEQUENTIAL)[np.rint(place * 255).astype(np.uint8)]
    colours[unknown] = 160
    return colours


def enlarge(pixels: Any, size: tuple[int, int], smooth: bool = False) -> Pixels:
    """Return `pixels` ((H, W, 3) uint8) at `size` = (height, width).

    Crisp (nearest neighbour: every number stays a visible square) unless `smooth`, for photographs.
    """
    how = Image.Resampling.LANCZOS if smooth else Image.Resampling.NEAREST
    return np.asarray(Image.fromarray(as_uint8(pixels)).resize((size[1], size[0]), how))


def _heat_at(heat: Any, size: tuple[int, int]) -> NDArray[np.float32]:
    """The map `heat` (h, w) brought to `size` = (H, W), bilinear, its outer pixels' centres half a cell
    inside."""
    array = as_array(heat).astype(np.float32)
    if array.ndim != 2:
        raise ValueError(f"a heat map has shape (h, w), this has {array.shape}")
    return np.asarray(Image.fromarray(array).resize((size[1], size[0]), Image.Resampling.BILINEAR))


def blend(
    image: Any, heat: Any, limits: Limits | None = None, strength: float = 0.85, diverging: bool = False
) -> Pixels:
    """Return `image` with the map `heat` (h, w) laid over it, (H, W, 3) uint8.

    Where the heat is zero the image stays, darkened and half drained of its colour; elsewhere it fades with
    the heat while the colour of the heat is added, so that strong places glow. A diverging map, whose zero is
    white, covers a paler image instead. The map is brought to the size of the image bilinearly, over the
    whole image: receptive-field centres are not considered.
    """
    picture = as_uint8(image).astype(np.float32)
    heat_map = _heat_at(heat, picture.shape[:2])
    low, high = limits or limits_of(as_array(heat), diverging)
    place = np.clip((heat_map - low) / (high - low), 0, 1)[:, :, None]
    grey = (picture @ np.array([0.299, 0.587, 0.114], dtype=np.float32))[:, :, None]
    colours = colourise(heat_map, diverging, (low, high)).astype(np.float32)
    if diverging:
        weight = strength * np.sqrt(np.abs(2 * place - 1))
        out = (1 - weight) * (0.5 * grey + 100) + weight * colours
    else:
        out = (1 - strength * place) * 0.62 * (0.5 * picture + 0.5 * grey) + strength * colours
    return np.rint(np.clip(out, 0, 255)).astype(np.uint8)


def frame(pixels: Any, colour: str = "#D55E00", width: int = 2) -> Pixels:
    """Return a copy of `pixels` with a border of `width` pixels of `colour` painted over its edge."""
    out = as_uint8(pixels).copy()
    rgb = rgb_of(colour)
    out[:width], out[-width:], out[:, :width], out[:, -width:] = rgb, rgb, rgb, rgb
    return out


def boxed(
    image: Any,
    boxes: Sequence[Sequence[int]],
    factor: float = 1,
    colours: Sequence[str] = ("#D55E00",),
    width: int = 2,
) -> Pixels:
    """Return `image` enlarged smoothly `factor` times, with boxes drawn inside their edges, uint8.

    A box is (top, left, bottom, right) in pixels of `image`, bottom and right excluded; what hangs over the border
    is cut off. It has a line of `width` pixels in its colour (the colours begin again after the last) within a
    white one, so that it is seen on any ground.
    """
    picture = as_uint8(image)
    height, across = (round(side * factor) for side in picture.shape[:2])
    out = enlarge(picture, (height, across), smooth=True).copy()
    for i, box in enumerate(boxes):
        top, left, bottom, right = (max(0, round(side * factor)) for side in box)
        inside = out[top:bottom, left:right]
        if inside.size:
            inside[:] = frame(frame(inside, "white", width + 1), colours[i % len(colours)], width)
    return out


def rgb_of(colour: str) -> Pixels:
    """Return the (3,) uint8 colour of "#rrggbb" or of any name that matplotlib knows."""
    from matplotlib.colors import to_rgb

    return np.rint(np.array(to_rgb(colour)) * 255).astype(np.uint8)


def tile(
    pictures: Iterable[Any] | Sequence[Any],
    columns: int | None = None,
    gap: int | tuple[int, int] = 2,
    scale: int = 1,
    background: str = "white",
) -> Pixels:
    """Return pictures of one size side by side as one array, (rows * (H * scale + gap) - gap, ..., 3) uint8.

    `pictures` are images (see `as_uint8`); colour a map of numbers first (`colourise`). `columns` defaults to
    a grid about as wide as high; `gap`, or (gap between rows, gap between columns), is in pixels of the
    result; `scale` repeats each pixel, crisp. Empty places of the last row have the background. ValueError
    where there is no picture or the sizes differ.
    """
    tiles = [as_uint8(picture) for picture in pictures]
    if not tiles:
        raise ValueError("there is no picture to tile: give at least one")
    if any(t.shape != tiles[0].shape for t in tiles):
        raise ValueError(f"tiles share one size, these have {sorted({t.shape[:2] for t in tiles})}")
    columns = min(columns or int(np.ceil(np.sqrt(len(tiles)))), len(tiles))
    rows = -(-len(tiles) // columns)
    height, width = tiles[0].shape[0] * scale, tiles[0].shape[1] * scale
    down, across = gap if isinstance(gap, tuple) else (gap, gap)
    sheet = np.empty((rows * (height + down) - down, columns * (width + across) - across, 3), dtype=np.uint8)
    sheet[:] = rgb_of(background)
    for i, pixels in enumerate(tiles):
        top, left = (i // columns) * (height + down), (i % columns) * (width + across)
        sheet[top : top + height, left : left + width] = pixels.repeat(scale, 0).repeat(scale, 1)
    return sheet
