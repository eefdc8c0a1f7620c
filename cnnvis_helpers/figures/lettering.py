"""Text on pixels, without matplotlib: for pictures that a control redraws at every move.

lettered       pictures with a line of text below each -> pictures of one size
colour_scale   a colour bar with the values of its ends -> (H, W, 3) uint8
beside         pictures of one height next to each other -> one array

picture = beside([colourise(activation), colour_scale((0, 4.2), height=activation.shape[0])])
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from .raster import Limits, Pixels, as_uint8, colourise

_INK = (34, 34, 34)


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    """The font of the figures, from the files that matplotlib brings along."""
    return ImageFont.truetype(str(Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")), size)


def lettered(pictures: Sequence[Any], texts: Sequence[str], size: int = 12) -> list[Pixels]:
    """Return copies of `pictures` with its text centred in a white line below each; `size` in pixels."""
    out = []
    for picture, text in zip(pictures, texts, strict=True):
        pixels = as_uint8(picture)
        height, width = pixels.shape[:2]
        sheet = Image.new("RGB", (width, height + size + 5), "white")
        sheet.paste(Image.fromarray(pixels), (0, 0))
        ImageDraw.Draw(sheet).text((width / 2, height + 2), text, _INK, _font(size), anchor="ma")
        out.append(np.asarray(sheet))
    return out


def colour_scale(limits: Limits, height: int, diverging: bool = False, size: int = 12) -> Pixels:
    """Return a vertical colour bar, `height` × 72 pixels, with the values of its ends (3 digits)."""
    low, high = limits
    ramp = colourise(np.linspace(high, low, height)[:, None].repeat(14, 1), diverging, limits)
    sheet = Image.new("RGB", (72, height), "white")
    sheet.paste(Image.fromarray(ramp), (0, 0))
    draw = ImageDraw.Draw(sheet)
    draw.text((19, 0), f"{high:.3g}", _INK, _font(size), anchor="la")
    draw.text((19, height - 1), f"{low:.3g}", _INK, _font(size), anchor="ld")
    return np.asarray(sheet)


def beside(pictures: Sequence[Any], gap: int = 10) -> Pixels:
    """Return pictures of any sizes in a row, their tops aligned, on white."""
    parts = [as_uint8(picture) for picture in pictures]
    width = sum(p.shape[1] for p in parts) + gap * (len(parts) - 1)
    sheet = np.full((max(p.shape[0] for p in parts), width, 3), 255, np.uint8)
    left = 0
    for p in parts:
        sheet[: p.shape[0], left : left + p.shape[1]] = p
        left += p.shape[1] + gap
    return sheet
