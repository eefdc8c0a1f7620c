"""Things that stand about in rooms, each drawn to fill a given rectangle: `curtain`, `bottle`, `box`, `tabletop`.

See `props` for the rectangles and the tint.
"""

from __future__ import annotations

import math

import numpy as np

from .canvas import Canvas
from .palette import Colour, pick, vary
from .props import CLOTH_COLOURS, WHITE, one_of, pattern, rectangles
from .shapes import Shape, polygon, rectangle, spline, stroke


def curtain(canvas: Canvas, x0: float, y0: float, x1: float, y1: float, tint: Colour = WHITE) -> None:
    """Hanging cloth in folds."""
    rng = canvas.rng
    colour = pick(rng, CLOTH_COLOURS) * np.asarray(tint, np.float32)
    width = x1 - x0
    texture = pattern(rng, 0.5)
    canvas.paint(
        rectangle(x0, y0, x1, y1),
        colour,
        material="fabric",
        texture=texture,
        owner="curtain",
        shade="upright",
        depth=0.3,
    )
    folds = int(np.clip(width / 11, 2, 9))
    x = x0 + width * (np.arange(folds) + rng.uniform(0.35, 0.65, folds)) / folds
    fold = 0.16 * width / folds
    shade = rectangles(np.stack([x - fold, y0 + 0 * x, x + fold, y1 + 0 * x], 1))
    canvas.paint(shade, colour * 0.35, shade="flat", opacity=0.35, soft=0.8, labelled=False)


def bottle(canvas: Canvas, x0: float, y0: float, x1: float, y1: float, tint: Colour = WHITE) -> None:
    """A bottle of glass with a label, or a jar where it is wide."""
    rng = canvas.rng
    width, height = x1 - x0, y1 - y0
    middle = (x0 + x1) / 2
    colour = vary(
        rng, one_of(rng, ((0.16, 0.42, 0.24), (0.45, 0.25, 0.12), (0.62, 0.76, 0.80), (0.2, 0.3, 0.6)))
    )
    colour = colour * np.asarray(tint, np.float32)
    slim = height > 2.2 * width
    shoulder = y0 + (0.36 * height if slim and height < 5 * width else min(0.2 * height, 0.7 * width))
    neck = 0.34 * width if not slim else 0.19 * width
    glass = spline(
        (middle - neck, y0),
        (middle + neck, y0),
        (middle + neck, y0 + 0.7 * (shoulder - y0)),
        (x1 - 0.02 * width, shoulder + 0.1 * width),
        (x1, y1),
        (x0, y1),
        (x0 + 0.02 * width, shoulder + 0.1 * width),
        (middle - neck, y0 + 0.7 * (shoulder - y0)),
        steps=4,
    )
    canvas.paint(glass, colour, material="glass", owner="bottle", shade="upright", depth=0.7)
    cap = max(2.0, min(0.3 * (shoulder - y0), 0.4 * width))
    canvas.paint(
        rectangle(middle - 1.15 * neck, y0 - 1, middle + 1.15 * neck, y0 + cap),
        pick(rng),
        material="metal",
        owner="bottle",
        shade="upright",
        depth=0.6,
    )
    body = y1 - shoulder
    canvas.paint(
        rectangle(x0 + 0.01 * width, shoulder + 0.28 * body, x1 - 0.01 * width, shoulder + 0.72 * body),
        pick(rng, ("white", "yellow", "red", "blue", "pink", "green")),
        material="paper",
        texture=pattern(rng, 0.5),
        owner="bottle",
        shade="upright",
        depth=0.6,
    )
    gleam = rectangle(x0 + 0.16 * width, shoulder + 0.12 * body, x0 + 0.25 * width, y1 - 0.1 * body)
    canvas.paint(gleam, WHITE, shade="flat", opacity=0.45, soft=0.8, labelled=False)


def box(canvas: Canvas, x0: float, y0: float, x1: float, y1: float, tint: Colour = WHITE) -> None:
    """A cardboard box with tape, or a parcel in coloured paper with a ribbon."""
    rng = canvas.rng
    width, height = x1 - x0, y1 - y0
    card = rng.random() < 0.5
    colour = vary(rng, (0.70, 0.54, 0.36)) if card else pick(rng, CLOTH_COLOURS)
    colour = colour * np.asarray(tint, np.float32)
    texture = "" if card else pattern(rng, 0.8)
    lid = min(0.14 * height, 0.3 * width)
    canvas.paint(rectangle(x0, y0 + lid, x1, y1), colour, material="paper", texture=texture, owner="box")
    top = polygon((x0, y0 + lid), (x0 + 0.12 * width, y0), (x1 - 0.12 * width, y0), (x1, y0 + lid))
    canvas.paint(top, np.minimum(colour * 1.25, 1), material="paper", owner="box", shade="flat")
    half = 0.07 * width
    middle = x0 + width * rng.uniform(0.4, 0.6)
    band = rectangle(
        middle - half, y0 + lid, middle + half, y1 if not card else y0 + lid + 0.3 * (height - lid)
    )
    band += polygon(
        (middle - half, y0 + lid),
        (middle - 0.8 * half, y0),
        (middle + 0.8 * half, y0),
        (middle + half, y0 + lid),
    )
    ribbon = vary(rng, (0.86, 0.78, 0.58)) if card else pick(rng, CLOTH_COLOURS)
    canvas.paint(band, ribbon, material="paper" if card else "fabric", owner="box", shade="flat")


def tabletop(canvas: Canvas, x0: float, y0: float, x1: float, y1: float, tint: Colour = WHITE) -> None:
    """The near edge of a table, bare or under a hanging cloth."""
    rng = canvas.rng
    width, height = x1 - x0, y1 - y0
    board = min(0.16 * height, 12.0)
    wood = vary(rng, one_of(rng, ((0.52, 0.34, 0.18), (0.72, 0.54, 0.32), (0.85, 0.82, 0.76)))) * np.asarray(
        tint
    )
    if rng.random() < 0.6:
        hem = np.linspace(x0, x1, 9)
        wavy = np.stack([hem, y1 - 0.04 * height * (1 + np.cos(np.arange(9) * math.pi))], 1)
        cloth = np.concatenate([[(x0 + 0.01 * width, y0), (x1 - 0.01 * width, y0)], wavy[::-1]])
        canvas.paint(
            Shape((cloth,), (True,)),
            pick(rng, CLOTH_COLOURS) * np.asarray(tint, np.float32),
            material="fabric",
            texture=pattern(rng, 0.75),
            owner="table",
            depth=0.5,
        )
        canvas.paint(
            rectangle(x0, y0, x1, y0 + 0.5 * board),
            WHITE,
            shade="flat",
            opacity=0.3,
            soft=0.6,
            labelled=False,
        )
        return
    canvas.paint(
        rectangle(x0 + 0.03 * width, y0 + board, x1 - 0.03 * width, y1),
        wood * 0.62,
        material="wood",
        owner="table",
    )
    canvas.paint(rectangle(x0, y0, x1, y0 + board), wood, material="wood", owner="table", shade="flat")
    handle = stroke(
        (x0 + 0.42 * width, y0 + board + 0.3 * (height - board)),
        (x0 + 0.58 * width, y0 + board + 0.3 * (height - board)),
        max(2.0, 0.05 * height),
    )
    canvas.paint(handle, (0.80, 0.72, 0.5), material="metal", part="knob", owner="table", shade="flat")
