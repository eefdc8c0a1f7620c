"""Colours: draw one, vary one, name one.

- `RGB`: a typical colour for each of the eleven colour names
- `vary`: a colour of the same kind, a little lighter, duller or shifted
- `pick`: a random colour, of any kind or of the given kinds
- `contrasting`: a random colour that stands out against another
- `name_colours`: the colour name of every pixel of an image

All colours are (r, g, b) arrays in [0, 1].
"""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from .vocabulary import COLOURS

Colour = Sequence[float] | np.ndarray

RGB: dict[str, tuple[float, float, float]] = {
    "black": (0.08, 0.08, 0.09),
    "white": (0.93, 0.93, 0.92),
    "grey": (0.50, 0.50, 0.50),
    "red": (0.80, 0.10, 0.10),
    "orange": (0.95, 0.50, 0.08),
    "yellow": (0.95, 0.85, 0.15),
    "green": (0.18, 0.55, 0.18),
    "blue": (0.12, 0.30, 0.80),
    "purple": (0.48, 0.18, 0.62),
    "pink": (0.95, 0.55, 0.70),
    "brown": (0.42, 0.25, 0.12),
}


def vary(rng: np.random.Generator, colour: Colour) -> np.ndarray:
    """A colour of the same kind: hue, saturation and brightness each moved a little."""
    h, s, v = colorsys.rgb_to_hsv(*(min(max(float(c), 0.0), 1.0) for c in colour))
    dh, ds, dv = rng.normal(0, 1, 3)
    fs, fv = rng.random(2)
    h = (h + 0.015 * dh) % 1
    s = min(max(s * (0.7 + 0.4 * fs) + 0.02 * ds, 0.0), 1.0)
    v = min(max(v * (0.8 + 0.35 * fv) + 0.03 * dv, 0.04), 1.0)
    return np.array(colorsys.hsv_to_rgb(h, s, v), np.float32)


def pick(rng: np.random.Generator, kinds: Sequence[str] = COLOURS) -> np.ndarray:
    """A random colour of one of the named kinds (each kind equally likely; repeat a name to favour it)."""
    return vary(rng, RGB[kinds[int(rng.integers(len(kinds)))]])


def contrasting(rng: np.random.Generator, colour: Colour) -> np.ndarray:
    """A random colour that stands out against `colour` (the best of eight tries at worst)."""
    tries = [pick(rng) for _ in range(8)]
    distances = [float(np.abs(c - np.asarray(colour)).sum()) for c in tries]
    far_enough = [i for i, d in enumerate(distances) if d > 0.7]
    return tries[far_enough[0] if far_enough else int(np.argmax(distances))]


@lru_cache(maxsize=1)
def _names_by_rgb() -> np.ndarray:
    """Colour name of each cell of a 32×32×32 RGB cube, from hue, saturation and brightness."""
    g = (np.arange(32) + 0.5) / 32
    r, g, b = np.meshgrid(g, g, g, indexing="ij")
    top, low = np.maximum(np.maximum(r, g), b), np.minimum(np.minimum(r, g), b)
    chroma = top - low + 1e-9
    saturation = chroma / (top + 1e-9)
    hue = 60 * np.where(
        top == r, ((g - b) / chroma) % 6, np.where(top == g, (b - r) / chroma + 2, (r - g) / chroma + 4)
    )
    id_of = {name: i for i, name in enumerate(COLOURS)}
    kinds = ["red", "orange", "yellow", "green", "blue", "purple", "pink"]
    limits = [14, 40, 68, 170, 258, 300, 345]  # degrees of hue; above the last it is red again
    named = np.select([hue < t for t in limits], [id_of[k] for k in kinds], id_of["red"])
    red, orange, yellow = (named == id_of[k] for k in ("red", "orange", "yellow"))
    for where, kind in (  # later rows win
        (orange & (top < 0.62) | red & (top < 0.40) | yellow & (top < 0.40), "brown"),
        (red & (saturation < 0.55) & (top > 0.7) | orange & (saturation < 0.35) & (top > 0.75), "pink"),
        ((saturation <= 0.22) | (top <= 0.16), "grey"),
        ((saturation <= 0.22) & (top > 0.82), "white"),
        (top < 0.2, "black"),
    ):
        named = np.where(where, id_of[kind], named)
    return named.astype(np.uint8)


def name_colours(image: np.ndarray) -> np.ndarray:
    """The colour name of every pixel: (H, W, 3) uint8 RGB → (H, W) uint8, an index into `COLOURS`."""
    q = image >> 3
    return _names_by_rgb()[q[..., 0], q[..., 1], q[..., 2]]
