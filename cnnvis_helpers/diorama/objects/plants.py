"""Plants: `tree`, `flower`.

Each is a function that draws one with a `Pen`:

    >>> tree(Pen(canvas, foot=(40, 120), height=60))
"""

from __future__ import annotations

import math

import numpy as np

from ..palette import pick, vary
from ..shapes import Point, Shape, ellipse, polygon, rectangle, spline, stroke
from .forms import above, brush, lighter, tinted, union
from .pen import Pen, fitted


@fitted
def tree(pen: Pen) -> None:
    """A broad-leaved tree (sometimes autumnal, in blossom or with fruit), a conifer or a palm."""
    bark = vary(pen.rng, (0.40, 0.26, 0.15))
    kind = pen.choose("round", "round", "conifer", "palm")
    pen.keypoint("foot", 0, 0.02)
    if kind == "palm":
        _palm(pen, bark)
    elif kind == "conifer":
        _conifer(pen, bark)
    else:
        _broad_leaved(pen, bark)


def _palm(pen: Pen, bark: np.ndarray) -> None:
    lean = pen.between(-0.16, 0.16)
    top = 0.76
    trunk: list[Point] = [(lean * t * t, top * t) for t in np.linspace(0, 1, 5)]
    pen.fill(
        above(brush(trunk, 0.125, 0.08), 0),
        bark,
        "wood",
        "trunk",
        shade="upright",
        texture="striped",
        second=tinted(bark, 0.6),
    )
    green = vary(pen.rng, (0.22, 0.50, 0.16))
    fronds: list[Shape] = []
    for angle in np.linspace(-0.35, math.pi + 0.35, 8) + pen.rng.normal(0, 0.06, 8):
        dx, dy = 0.41 * math.cos(angle), 0.41 * math.sin(angle)
        out, up = lean + dx, top + 0.62 * dy
        # What an upright frond lacks in height of arch, it has in width.
        broad = math.copysign(0.05 * math.sin(angle), dx)
        arch = (lean + 0.55 * dx - broad, top + 0.75 * dy + 0.09)
        under = (lean + 0.55 * dx + broad, top + 0.6 * dy - 0.02)
        fronds.append(
            spline((lean - 0.02, top - 0.02), arch, (out, up - 0.07), under, (lean + 0.02, top - 0.03))
        )
    pen.fill(union(fronds[::2]), tinted(green, 0.75), "plant", "leaf", depth=0.4)
    pen.fill(union(fronds[1::2]), tinted(green, 1.15), "plant", "leaf", depth=0.4)
    if pen.chance(0.5):
        nuts = ellipse(lean - 0.05, top - 0.04, 0.045, 0.045) + ellipse(lean + 0.05, top - 0.05, 0.045, 0.045)
        pen.fill(nuts, (0.36, 0.21, 0.11), "wood", "leaf", shade="flat")
    pen.keypoint("crown top", lean, top + 0.1)


def _conifer(pen: Pen, bark: np.ndarray) -> None:
    pen.fill(rectangle(-0.06, 0, 0.06, 0.3), bark, "wood", "trunk", shade="upright", depth=0.6)
    green = vary(pen.rng, pen.choose((0.12, 0.40, 0.18), (0.16, 0.45, 0.16), (0.18, 0.42, 0.30)))
    tiers = pen.choose(3, 4, 5)
    widest = pen.between(0.34, 0.42)
    for i in range(tiers):
        low = 0.14 + 0.60 * i / tiers
        half = widest * (1 - 0.72 * i / tiers)
        hem = [
            (float(x), low + (0.035 if j % 2 else -0.02)) for j, x in enumerate(np.linspace(-half, half, 9))
        ]
        tip = 1.0 if i == tiers - 1 else min(1.0, low + 0.44)
        pen.fill(
            polygon(*hem, (0, tip)),
            tinted(green, 0.72 + 0.55 * i / tiers),
            "foliage",
            "crown",
            shade="upright",
            depth=0.6,
        )
    if pen.chance(0.2):
        snow = polygon((0, 1.0), (-0.09, 0.80), (-0.03, 0.83), (0.0, 0.79), (0.04, 0.83), (0.09, 0.80))
        pen.fill(snow, (0.95, 0.96, 1.0), "snow", "crown")
    pen.keypoint("crown top", 0, 1.0)


LEAVES = (
    (0.24, 0.52, 0.14), (0.34, 0.58, 0.15), (0.16, 0.43, 0.17), (0.24, 0.52, 0.14), (0.34, 0.58, 0.15),
    (0.88, 0.50, 0.12), (0.86, 0.32, 0.12), (0.90, 0.72, 0.16), (0.95, 0.66, 0.76),
)  # fmt: skip


def _broad_leaved(pen: Pen, bark: np.ndarray) -> None:
    green = vary(pen.rng, pen.choose(*LEAVES))
    thick = pen.between(0.065, 0.10)
    trunk = polygon(
        (-thick * 1.5, 0), (-thick * 0.8, 0.12), (-thick * 0.7, 0.62), (thick * 0.7, 0.62),
        (thick * 0.8, 0.12), (thick * 1.5, 0),
    )  # fmt: skip
    branches = stroke((0, 0.36), (-0.2, 0.6), thick, 0.04) + stroke((0, 0.4), (0.18, 0.6), thick, 0.04)
    pen.fill(trunk + branches, bark, "wood", "trunk", shade="upright", depth=0.6)
    wide = pen.between(0.33, 0.43)
    n = pen.choose(7, 8, 9)
    t = np.linspace(0, 2 * np.pi, 22, endpoint=False)

    def tuft(x: float, y: float, radius: float) -> Shape:
        wavy = radius * (1 + 0.09 * pen.rng.standard_normal(22))
        return polygon(*np.stack([x + wavy * np.cos(t), y + wavy * np.sin(t)], 1))

    rim = [2 * math.pi * i / n + 0.2 * float(pen.rng.standard_normal()) for i in range(n)]
    outer = [tuft(0.66 * wide * math.cos(a), 0.68 + 0.19 * math.sin(a), pen.between(0.13, 0.18)) for a in rim]
    pen.fill(
        union(outer) + ellipse(0, 0.68, wide * 0.75, 0.22),
        tinted(green, 0.85),
        "foliage",
        "crown",
        shade="round",
        depth=0.75,
    )
    # A few lit tufts in front give the crown its depth.
    front = [
        tuft(pen.between(-0.5, 0.5) * wide, pen.between(0.62, 0.84), pen.between(0.07, 0.12))
        for _ in range(4)
    ]
    pen.fill(union(front), lighter(green, 0.12), "foliage", "crown", depth=0.6, opacity=0.75)
    if green[1] > green[0] and pen.chance(0.25):
        turn = pen.between(0, 2 * math.pi)  # on a sunflower's spiral no two touch
        spiral = [(0.6 * math.sqrt((i + 0.5) / 7), turn + 2.4 * i) for i in range(7)]
        spots = [(r * wide * math.cos(a), 0.68 + 0.22 * r * math.sin(a)) for r, a in spiral]
        fruit = [ellipse(x, y, 0.034, 0.034, corners=12) for x, y in spots]
        pen.fill(union(fruit), pick(pen.rng, ["red", "orange", "yellow"]), "plant", "crown", shade="flat")
    pen.keypoint("crown top", 0, 0.9)


@fitted
def flower(pen: Pen) -> None:
    """A daisy, a sunflower or a tulip on a curved stem with two leaves."""
    green = vary(pen.rng, (0.22, 0.52, 0.17))
    kind = pen.choose("daisy", "daisy", "sunflower", "tulip")
    bend = pen.between(-0.12, 0.12)
    stem: list[Point] = [(bend * 4 * t * (1 - t), 0.66 * t) for t in np.linspace(0, 1, 6)]
    pen.fill(above(brush(stem, 0.06, 0.05), 0), green, "plant", "stem", shade="flat")
    leaves: list[Shape] = []
    for side in (-1, 1):
        y, reach = pen.between(0.08, 0.24), pen.between(0.25, 0.31)
        x = bend * 4 * (y / 0.66) * (1 - y / 0.66)
        tip = (x + side * reach, y + pen.between(0.10, 0.2))
        leaves.append(spline((x, y), (x + side * 0.13, y + 0.14), tip, (x + side * 0.17, y), (x, y - 0.03)))
    pen.fill(union(leaves), tinted(green, pen.between(0.85, 1.2)), "plant", "leaf", depth=0.5)
    if kind == "tulip":
        _tulip(pen, (0.0, 0.62))
    else:
        _daisy(pen, (0.0, 0.70), kind == "sunflower")


def _daisy(pen: Pen, centre: Point, sunflower: bool) -> None:
    x, y = centre
    colour = (
        vary(pen.rng, (0.98, 0.80, 0.10))
        if sunflower
        else pick(pen.rng, ["red", "orange", "yellow", "pink", "purple", "blue", "white"])
    )
    n = pen.choose(14, 16) if sunflower else pen.choose(6, 8, 8, 10, 12)
    reach = pen.between(0.265, 0.30)
    heart = reach * (0.5 if sunflower else pen.between(0.32, 0.40))
    squash = pen.between(0.85, 1.0)
    half_width = min(0.1, 0.78 * reach * math.pi / n)
    turn = pen.between(0, 2 * math.pi / n)

    def petal(angle: float) -> Shape:
        middle = 0.62 * reach
        direction = math.atan2(math.sin(angle) * squash, math.cos(angle))
        return ellipse(
            x + middle * math.cos(angle),
            y + middle * math.sin(angle) * squash,
            0.40 * reach,
            half_width,
            direction,
            corners=16,
        )

    petals = [petal(turn + 2 * math.pi * i / n) for i in range(n)]
    texture = pen.pattern(0.12, "speckled", "striped")
    pen.fill(
        ellipse(x, y, 0.6 * reach, 0.6 * reach * squash), tinted(colour, 0.6), "plant", "petal", shade="flat"
    )
    pen.fill(union(petals[::2]), tinted(colour, 0.8), "plant", "petal", depth=0.4, texture=texture)
    pen.fill(union(petals[1::2]), colour, "plant", "petal", depth=0.4, texture=texture)
    middle = (
        (0.36, 0.21, 0.10)
        if sunflower
        else vary(pen.rng, pen.choose((0.95, 0.78, 0.15), (0.38, 0.22, 0.10), (0.97, 0.92, 0.45)))
    )
    if np.abs(np.asarray(middle) - colour).sum() < 0.5:  # a yellow centre would be lost among yellow petals
        middle = (0.38, 0.22, 0.10)
    pen.fill(
        ellipse(x, y, heart, heart * squash), middle, "foliage", "flower centre", shade="round", depth=0.5
    )
    pen.keypoint("flower centre", x, y)


def _tulip(pen: Pen, foot: Point) -> None:
    x, y = foot
    colour = pick(pen.rng, ["red", "orange", "yellow", "pink", "purple", "white"])
    inside = ellipse(x, y + 0.22, 0.2, 0.1)
    behind = polygon(
        (x - 0.19, y + 0.2), (x - 0.1, y + 0.37), (x, y + 0.28), (x + 0.1, y + 0.37), (x + 0.19, y + 0.2)
    )
    pen.fill(behind, tinted(colour, 0.7), "plant", "petal")
    pen.fill(inside, tinted(colour, 0.42), "plant", "flower centre", shade="flat")
    sides = spline(
        (x, y - 0.02), (x - 0.19, y + 0.07), (x - 0.235, y + 0.36), (x - 0.09, y + 0.24), (x, y + 0.12),
        steps=5,
    )  # fmt: skip
    sides += spline(
        (x, y - 0.02), (x + 0.19, y + 0.07), (x + 0.235, y + 0.36), (x + 0.09, y + 0.24), (x, y + 0.12),
        steps=5,
    )  # fmt: skip
    pen.fill(sides, tinted(colour, 0.9), "plant", "petal", depth=0.5)
    front = spline(
        (x, y - 0.03), (x - 0.13, y + 0.08), (x - 0.08, y + 0.22), (x, y + 0.29), (x + 0.08, y + 0.22),
        (x + 0.13, y + 0.08), steps=5,
    )  # fmt: skip
    pen.fill(front, lighter(colour, 0.12), "plant", "petal", shade="round", depth=0.4)
    pen.keypoint("flower centre", x, y + 0.22)
