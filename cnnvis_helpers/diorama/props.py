"""Things that stand about, each drawn to fill a given rectangle, near or far.

- `bush`, `rock`, `grass_tuft`, `post`, `fence`, `cactus`: on land
- `wave`, `seaweed`: in water
- `curtain`, `bottle`, `box`, `tabletop` are in `props_indoors`
- `one_of`, `pattern`, `union`, `rectangles`: small helpers of everything that draws scenes

    >>> bush(canvas, 20, 120, 90, 196)       # roughly fills x 20 … 90, y 120 … 196, with its foot at the bottom

Rectangles are in canvas pixels, y down. Every drawer takes the tint of the light. Scenes use them for what stands far
away, `foreground` for what can hide part of the main object.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np

from .canvas import Canvas
from .palette import Colour, pick, vary
from .shapes import Shape, ellipse, polygon, rectangle
from .vocabulary import TEXTURES

WHITE = (1.0, 1.0, 1.0)
CLOTH_COLOURS = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "white", "brown", "grey")
T = TypeVar("T")


def one_of(rng: np.random.Generator, options: Sequence[T]) -> T:
    """One of the options, each equally likely."""
    return options[int(rng.integers(len(options)))]


def pattern(rng: np.random.Generator, share: float, names: Sequence[str] = TEXTURES) -> str:
    """One of the named textures in `share` of the cases, else "" (plain)."""
    return one_of(rng, names) if rng.random() < share else ""


def union(shapes: Sequence[Shape]) -> Shape:
    """All the shapes as one, so that one stroke paints them."""
    return Shape(tuple(p for s in shapes for p in s.polygons), tuple(b for s in shapes for b in s.solid))


def rectangles(boxes: np.ndarray) -> Shape:
    """Many rectangles as one shape: (n, 4) rows of x0, y0, x1, y1."""
    corners = boxes[:, [0, 1, 2, 1, 2, 3, 0, 3]].reshape(-1, 4, 2)
    return Shape(tuple(corners), (True,) * len(corners))


def _rounded(x0: float, y0: float, x1: float, y1: float, squareness: float, angles: np.ndarray) -> np.ndarray:
    """Points of the rectangle's superellipse at the given angles (0: right, π/2: up), (n, 2)."""
    c, s = np.cos(angles), np.sin(angles)
    x = (x0 + x1) / 2 + (x1 - x0) / 2 * np.sign(c) * np.abs(c) ** squareness
    return np.stack([x, y1 - (y1 - y0) * np.abs(s) ** squareness], 1)


# ---- outdoors ----------------------------------------------------------------------------------------------------


def bush(canvas: Canvas, x0: float, y0: float, x1: float, y1: float, tint: Colour = WHITE) -> None:
    """A leafy bush: one mass with a scalloped outline, lit lobes, at times berries."""
    rng = canvas.rng
    greens = (
        (0.20, 0.44, 0.14),
        (0.30, 0.50, 0.16),
        (0.13, 0.36, 0.22),
        (0.42, 0.48, 0.14),
        (0.55, 0.34, 0.12),
    )
    colour = vary(rng, one_of(rng, greens)) * np.asarray(tint, np.float32)
    width, height = x1 - x0, y1 - y0
    lobe = 0.2 * min(width, 1.6 * height)
    count = int(np.clip((width + 2 * height) / (1.5 * lobe), 5, 16))
    angles = np.linspace(0.06, math.pi - 0.06, count)
    rim = _rounded(x0 + lobe, y0 + lobe, x1 - lobe, y1, 0.7, angles)
    rim = rim + rng.normal(0, 0.12 * lobe, rim.shape)
    radii = lobe * rng.uniform(0.75, 1.1, count)
    mass = Shape((rim,), (True,)) + rectangle(x0 + 0.6 * lobe, y1 - 0.8 * lobe, x1 - 0.6 * lobe, y1)
    mass += union(
        [ellipse(x, min(y, y1 - 0.4 * r), r, r, corners=12) for (x, y), r in zip(rim, radii, strict=True)]
    )
    canvas.paint(mass, colour, material="foliage", part="leaf", owner="bush", shade="round", depth=0.55)
    lit = rng.random((5, 2)) * (0.6 * width, 0.5 * height) + (x0 + 0.2 * width, y0 + 0.15 * height)
    canvas.paint(
        union([ellipse(x, y, 0.6 * lobe, 0.45 * lobe, corners=10) for x, y in lit]),
        np.minimum(colour * 1.45 + 0.03, 1),
        shade="flat",
        opacity=0.4,
        soft=1.0,
        labelled=False,
    )
    if rng.random() < 0.25 and height > 24:
        berries = rng.random((9, 2)) * (0.7 * width, 0.7 * height) + (x0 + 0.15 * width, y0 + 0.2 * height)
        size = max(1.3, 0.035 * min(width, height))
        canvas.paint(
            union([ellipse(x, y, size, size, corners=8) for x, y in berries]),
            pick(rng, ("red", "white", "purple", "orange", "blue")) * np.asarray(tint, np.float32),
            material="plant",
            owner="bush",
            shade="flat",
        )


def rock(canvas: Canvas, x0: float, y0: float, x1: float, y1: float, tint: Colour = WHITE) -> None:
    """A boulder with a flat foot and a lit upper facet; in the north it wears moss."""
    rng = canvas.rng
    stones = (
        (0.50, 0.47, 0.44),
        (0.60, 0.50, 0.40),
        (0.38, 0.38, 0.42),
        (0.62, 0.40, 0.30),
        (0.68, 0.64, 0.58),
    )
    colour = vary(rng, one_of(rng, stones)) * np.asarray(tint, np.float32)
    angles = np.linspace(0, math.pi, 9) + np.concatenate([[0], rng.uniform(-0.13, 0.13, 7), [0]])
    outline = _rounded(x0, y0, x1, y1, 0.62, angles)
    inward = rng.uniform(0.0, 0.10, (9, 1)) * (np.array([(x0 + x1) / 2, y1]) - outline)
    outline = outline + inward
    canvas.paint(Shape((outline,), (True,)), colour, material="rock", owner="rock", shade="round", depth=0.6)
    top = outline[2:7]
    drop = np.array([0.0, (y1 - y0) * 0.3])
    facet = np.concatenate([top, (top + drop)[::-1] + rng.normal(0, 0.03 * (y1 - y0), top.shape)])
    mossy = rng.random() < 0.2
    colour = (
        vary(rng, (0.30, 0.44, 0.16)) * np.asarray(tint, np.float32) if mossy else np.minimum(colour * 1.5, 1)
    )
    canvas.paint(
        Shape((facet,), (True,)),
        colour,
        shade="flat",
        opacity=0.75 if mossy else 0.35,
        soft=1.2,
        labelled=False,
    )


def _blades(rng: np.random.Generator, x0: float, y0: float, x1: float, y1: float, count: int) -> Shape:
    """Bent blades of grass side by side, each up to the height of the rectangle."""
    width, height = x1 - x0, y1 - y0
    blade = width / count * rng.uniform(1.5, 2.1, count)
    root = x0 + width * (np.arange(count) + rng.uniform(0.2, 0.8, count)) / count
    # Outer blades lean outwards and are shorter, as in a real tuft.
    side = 2 * (root - x0) / width - 1
    tip_x = np.clip(root + 0.10 * width * side + rng.normal(0, 0.06 * width, count), x0 - 2, x1 + 2)
    tip_y = y1 - height * (1 - 0.3 * side**2) * rng.uniform(0.72, 1.05, count)
    middle_x, middle_y = 0.75 * root + 0.25 * tip_x, 0.45 * y1 + 0.55 * tip_y
    corners = np.stack(
        [
            root - blade / 2,
            y1 + 0 * root,
            middle_x - 0.42 * blade,
            middle_y,
            tip_x,
            tip_y,
            middle_x + 0.42 * blade,
            middle_y,
            root + blade / 2,
            y1 + 0 * root,
        ],
        1,
    ).reshape(count, 5, 2)
    return Shape(tuple(corners), (True,) * count)


def grass_tuft(canvas: Canvas, x0: float, y0: float, x1: float, y1: float, tint: Colour = WHITE) -> None:
    """A tuft of long grass, darker blades behind lighter ones."""
    rng = canvas.rng
    kinds = ((0.32, 0.52, 0.16), (0.45, 0.58, 0.20), (0.62, 0.58, 0.26), (0.20, 0.44, 0.22))
    colour = vary(rng, one_of(rng, kinds)) * np.asarray(tint, np.float32)
    count = int(np.clip((x1 - x0) / 4, 9, 16))
    style: dict[str, Any] = {"material": "plant", "part": "leaf", "owner": "grass tuft", "shade": "linear"}
    canvas.paint(_blades(rng, x0, y0, x1, y1, count), colour * 0.68, depth=0.5, **style)
    canvas.paint(_blades(rng, x0, y0 + 0.18 * (y1 - y0), x1, y1, count), colour, depth=0.7, **style)


def post(canvas: Canvas, x0: float, y0: float, x1: float, y1: float, tint: Colour = WHITE) -> None:
    """A post of wood or metal with a cap, or, where it must be stout, a pillar of brick or stone."""
    rng = canvas.rng
    width, height = x1 - x0, y1 - y0
    light = np.asarray(tint, np.float32)
    stout = width > 0.24 * height
    kinds = (("brick", (0.60, 0.32, 0.24)), ("stone", (0.62, 0.59, 0.54)), ("plaster", (0.82, 0.76, 0.66)))
    thin = (("wood", (0.48, 0.34, 0.20)), ("wood", (0.68, 0.52, 0.32)), ("metal", (0.30, 0.33, 0.36)))
    material, usual = one_of(rng, kinds if stout else thin)
    painted = material == "metal" and rng.random() < 0.5
    colour = vary(rng, pick(rng) if painted else usual) * light
    banded = material == "metal" and rng.random() < 0.4
    cap = min(0.35 * width, 0.12 * height)
    canvas.paint(
        rectangle(x0 + 0.08 * width, y0 + cap * 0.6, x1 - 0.08 * width, y1),
        colour,
        material=material,
        texture="striped" if banded else "",
        second=(0.93, 0.93, 0.9),
        owner="post",
        shade="linear" if stout else "upright",
        depth=0.35 if stout else 0.75,
    )
    if rng.random() < 0.5 or stout:
        top: Shape = rectangle(x0, y0, x1, y0 + cap)
    else:
        top = ellipse((x0 + x1) / 2, y0 + cap, 0.5 * width, cap)
    canvas.paint(
        top, np.minimum(colour * 1.25, 1), material=material, owner="post", shade="upright", depth=0.5
    )


def fence(canvas: Canvas, x0: float, y0: float, x1: float, y1: float, tint: Colour = WHITE) -> None:
    """Pickets on two rails, painted or of bare wood."""
    rng = canvas.rng
    width, height = x1 - x0, y1 - y0
    count = max(2, round(width / float(np.clip(0.26 * height, 7, 24))))
    pitch = width / count
    bare = one_of(rng, ((0.90, 0.90, 0.87), (0.55, 0.40, 0.26), (0.72, 0.58, 0.40), (0.45, 0.42, 0.40)))
    painted = rng.random() < 0.2
    colour = pick(rng, ("red", "green", "blue", "yellow")) if painted else vary(rng, bare)
    colour = colour * np.asarray(tint, np.float32)
    y = y0 + height * np.array([0.26, 0.66])
    rails = rectangles(np.stack([x0 + 0 * y, y, x1 + 0 * y, y + max(2.0, 0.1 * height)], 1))
    canvas.paint(rails, colour * 0.72, material="wood", owner="fence", shade="flat")
    left = x0 + pitch * (np.arange(count) + 0.12)
    tip = min(0.5 * pitch, 0.2 * height) * (0 if rng.random() < 0.3 else 1)
    pickets = [
        polygon(
            (x, y1),
            (x, y0 + tip),
            (x + 0.38 * pitch, y0),
            (x + 0.76 * pitch, y0 + tip),
            (x + 0.76 * pitch, y1),
        )
        for x in left
    ]
    canvas.paint(union(pickets), colour, material="wood", owner="fence", shade="linear", depth=0.3)
    edges = np.stack([left + 0.62 * pitch, y0 + tip + 0 * left, left + 0.76 * pitch, y1 + 0 * left], 1)
    canvas.paint(rectangles(edges), colour * 0.5, shade="flat", opacity=0.45, labelled=False)


def cactus(canvas: Canvas, x0: float, y0: float, x1: float, y1: float, tint: Colour = WHITE) -> None:
    """A saguaro: a ribbed column with two raised arms; in a narrow rectangle only the column."""
    rng = canvas.rng
    width, height = x1 - x0, y1 - y0
    kinds = ((0.24, 0.46, 0.22), (0.34, 0.52, 0.28), (0.20, 0.42, 0.34))
    colour = vary(rng, one_of(rng, kinds)) * np.asarray(tint, np.float32)
    armless = width < 0.35 * height
    trunk = width * (0.5 if armless else 0.24)
    middle = (x0 + x1) / 2

    def limb(x: float, top: float, bottom: float, half: float) -> Shape:
        return ellipse(x, top + half, half, half, corners=14) + rectangle(
            x - half, top + half, x + half, bottom
        )

    shape = limb(middle, y0, y1, trunk)
    if not armless:
        arm = 0.13 * width
        for sign in (-1, 1):
            elbow = y0 + height * rng.uniform(0.45, 0.65)
            x = middle + sign * (width / 2 - arm)
            shape += limb(x, y0 + height * rng.uniform(0.12, 0.3), elbow, arm)
            shape += ellipse(x, elbow, arm, arm, corners=12) + rectangle(
                min(x, middle), elbow - arm, max(x, middle), elbow + arm
            )
    canvas.paint(shape, colour, material="plant", owner="cactus", shade="round", depth=0.55)
    offsets = middle + trunk * np.array([-0.55, 0.0, 0.55])
    rib = max(0.8, 0.1 * trunk)
    ribs = np.stack([offsets - rib, y0 + trunk + 0 * offsets, offsets + rib, y1 + 0 * offsets], 1)
    canvas.paint(rectangles(ribs), colour * 0.5, shade="flat", opacity=0.5, labelled=False)


# ---- water -------------------------------------------------------------------------------------------------------


def wave(canvas: Canvas, x0: float, y0: float, x1: float, y1: float, tint: Colour = WHITE) -> None:
    """A swell in front: a body of water with a foaming crest."""
    rng = canvas.rng
    colour = vary(
        rng, one_of(rng, ((0.12, 0.40, 0.58), (0.12, 0.48, 0.52), (0.28, 0.42, 0.50)))
    ) * np.asarray(tint)
    height = y1 - y0
    flank = max(
        0.0, 0.9 * height - 0.5 * (x1 - x0)
    )  # water cannot stand upright: a tall wave has a wide foot
    left, width = x0 - flank, x1 - x0 + 2 * flank
    t = np.linspace(0, 1, 21)
    swell = 0.06 * min(height, width) * (1 + np.sin(rng.uniform(0, 6.3) + 9 * t))
    steep = 2.0 if flank else 6.0
    top = np.stack([left + width * t, y0 + swell + 0.95 * height * np.abs(2 * t - 1) ** steep], 1)
    foot = np.array([(left + width, y1), (left, y1)])
    canvas.paint(
        Shape((np.concatenate([top, foot]),), (True,)), colour, material="water", owner="water", depth=0.6
    )
    thickness = max(2.5, 0.07 * min(width, height))
    foam = np.concatenate([top, top[::-1] + np.stack([0 * t, thickness * rng.uniform(0.5, 1.8, 21)], 1)])
    canvas.paint(
        Shape((foam,), (True,)), (0.93, 0.96, 0.97), owner="water", material="water", shade="flat", soft=0.8
    )


def seaweed(canvas: Canvas, x0: float, y0: float, x1: float, y1: float, tint: Colour = WHITE) -> None:
    """Swaying ribbons that rise from the ground, some darker behind."""
    rng = canvas.rng
    kinds = (
        (0.16, 0.44, 0.20),
        (0.30, 0.46, 0.14),
        (0.52, 0.34, 0.16),
        (0.60, 0.22, 0.36),
        (0.62, 0.50, 0.16),
    )
    colour = vary(rng, one_of(rng, kinds)) * np.asarray(tint, np.float32)
    width, height = x1 - x0, y1 - y0
    count = max(2, round(width / float(np.clip(0.16 * height, 6, 26))))
    pitch = width / count
    t = np.linspace(0, 1, 12)[None]
    phase, turns = rng.uniform(0, 6.3), rng.uniform(5, 9)
    for behind in (True, False):
        x = x0 + pitch * (np.arange(count)[:, None] + rng.uniform(0.3, 0.7, (count, 1)))
        reach = height * rng.uniform(0.72, 1.0, (count, 1))
        sway = 0.22 * pitch * np.sin(phase + turns * t + 0.9 * np.arange(count)[:, None]) * (0.3 + t)
        # Wide in the middle, pointed at the tip, slightly frilled.
        half = pitch * (0.34 + 0.13 * np.sin(math.pi * t) + 0.05 * np.sin(19 * t)) * np.sqrt(1.02 - t)
        y = y1 - reach * t
        ribbons = np.concatenate(
            [np.stack([x + sway - half, y], 2), np.stack([x + sway + half, y], 2)[:, ::-1]], 1
        )
        canvas.paint(
            Shape(tuple(ribbons), (True,) * count),
            colour * (0.65 if behind else 1.0),
            material="plant",
            part="leaf",
            owner="seaweed",
            shade="linear",
            depth=0.5,
        )
        phase += 2.0
