"""Things that stand: `house`, `chair`, `lamp`, `cup`.

Each is a function that draws one with a `Pen`:

    >>> chair(Pen(canvas, foot=(40, 120), height=60))
"""

from __future__ import annotations

import math

import numpy as np

from ..palette import contrasting, pick, vary
from ..shapes import Point, ellipse, polygon, rectangle, spline, stroke
from .forms import brush, glass, lighter, rounded, tinted, union
from .pen import Pen, fitted


@fitted
def house(pen: Pen) -> None:
    """A house seen from its gable (with one side in perspective) or from its long side."""
    material = pen.choose("brick", "wood", "plaster", "stone")
    kinds = {
        "wood": ["brown", "white", "red", "blue", "yellow", "green"],
        "plaster": ["white", "yellow", "pink", "orange", "blue"],
    }
    plain = {"brick": (0.66, 0.30, 0.22), "stone": (0.64, 0.62, 0.57)}
    wall = vary(pen.rng, plain[material]) if material in plain else pick(pen.rng, kinds[material])
    tiles = pick(pen.rng, ["red", "red", "brown", "grey", "black", "orange", "blue", "green"])
    eaves = pen.between(0.50, 0.60)
    if pen.chance(0.55):
        left, right = _gable_house(pen, wall, material, tiles, eaves)
        attic = True
    else:
        left, right = _long_house(pen, wall, material, tiles, eaves)
        attic = False
    _openings(pen, left, right, eaves, attic)


def _chimney(pen: Pen, x: float, low: float, top: float) -> None:
    """A chimney whose foot is hidden by the roof that is painted next."""
    brick = vary(pen.rng, (0.55, 0.27, 0.2))
    pen.fill(rectangle(x - 0.06, low, x + 0.06, top), brick, "brick", "chimney")
    pen.fill(
        rectangle(x - 0.08, top - 0.05, x + 0.08, top), tinted(brick, 0.6), "stone", "chimney", shade="flat"
    )


def _gable_house(
    pen: Pen, wall: np.ndarray, material: str, tiles: np.ndarray, eaves: float
) -> tuple[float, float]:
    """Paints walls and roof; returns where the front wall begins and ends."""
    half = pen.between(0.40, 0.47)  # of the front
    depth = pen.between(0.38, 0.5)  # of the side, foreshortened
    over = 0.09
    slope = (1 - eaves) / half
    if pen.chance(0.6):
        _chimney(pen, depth * 0.75, 0.75, 1.06)
    pen.fill(
        polygon((half, 0), (half + depth, 0.03), (half + depth, eaves), (half, eaves)),
        tinted(wall, 0.7),
        material,
        "house wall",
        depth=0.15,
    )
    roof = polygon(
        (0, 1.0), (depth, 0.985), (half + depth + over * 0.6, eaves - 0.06),
        (half + over, eaves - slope * over),
    )  # fmt: skip
    pen.fill(roof, tinted(tiles, 0.82), "tile", "roof", depth=0.2)
    pen.fill(
        polygon((-half, 0), (half, 0), (half, eaves), (0, 0.98), (-half, eaves)),
        wall,
        material,
        "house wall",
        depth=0.2,
    )
    foot = eaves - slope * over
    verges = stroke((-half - over, foot), (0.01, 1.0), 0.085) + stroke(
        (half + over, foot), (-0.01, 1.0), 0.085
    )
    pen.fill(verges, tiles, "tile", "roof")
    pen.fill(ellipse(0, 1.0, 0.045, 0.045), tiles, "tile", "roof", shade="flat")
    pen.keypoint("roof top", 0, 1.0)
    return -half, half


def _long_house(
    pen: Pen, wall: np.ndarray, material: str, tiles: np.ndarray, eaves: float
) -> tuple[float, float]:
    """Paints walls and roof; returns where the front wall begins and ends."""
    half = pen.between(0.60, 0.72)
    over = 0.09
    hip = pen.between(0.08, 0.34)  # how far the ridge is drawn in
    if pen.chance(0.7):
        _chimney(pen, pen.choose(-1, 1) * pen.between(0.15, 0.3), 0.75, 1.08)
    pen.fill(rectangle(-half, 0, half, eaves + 0.02), wall, material, "house wall", depth=0.25)
    roof = polygon(
        (-half - over, eaves - 0.03), (half + over, eaves - 0.03), (half - hip, 1.0), (-half + hip, 1.0)
    )
    pen.fill(roof, tiles, "tile", "roof", depth=0.4)
    gutter = rectangle(-half - over, eaves - 0.045, half + over, eaves - 0.005)
    pen.fill(gutter, tinted(tiles, 0.55), "tile", "roof", shade="flat")
    pen.keypoint("roof top", 0, 1.0)
    return -half, half


def _openings(pen: Pen, left: float, right: float, eaves: float, attic: bool) -> None:
    """A door and windows, each in a bay of its own."""
    bays = 2 if right - left < 1.0 else 3
    width = (right - left) / bays
    centres = [left + width * (i + 0.5) for i in range(bays)]
    door_x = centres.pop(int(pen.rng.integers(bays)))
    side = min(0.23, width * 0.62)
    y = pen.between(0.15, 0.19)
    panes = [(x, y, side) for x in centres]
    if attic:
        panes.append((0.0, eaves + 0.06, 0.19))
    white = pick(pen.rng, ["white", "white", "white", "brown", "blue"])
    lit = (1.0, 0.85, 0.45)
    pane = lit if pen.chance(0.2) else glass(pen)
    frames = [rectangle(x - s / 2 - 0.03, y0 - 0.03, x + s / 2 + 0.03, y0 + s + 0.03) for x, y0, s in panes]
    glasses = [rectangle(x - s / 2, y0, x + s / 2, y0 + s) for x, y0, s in panes]
    bars = [
        stroke((x, y0), (x, y0 + s), 0.03) + stroke((x - s / 2, y0 + s / 2), (x + s / 2, y0 + s / 2), 0.03)
        for x, y0, s in panes
    ]
    pen.fill(union(frames), white, "wood", "window frame", shade="flat")
    pen.fill(union(glasses), pane, "glass", "house window", depth=0.6)
    pen.fill(union(bars), white, "wood", "window frame", shade="flat")
    if pen.chance(0.3):  # shutters
        shutters = [
            rectangle(x + e * (side / 2 + 0.02), y - 0.02, x + e * (side / 2 + 0.085), y + side + 0.02)
            for x in centres
            for e in (-1, 1)
        ]
        pen.fill(
            union(shutters),
            pick(pen.rng, ["green", "blue", "red", "brown"]),
            "wood",
            "window frame",
            shade="flat",
        )
    leaf = pick(pen.rng, ["brown", "red", "green", "blue", "black", "orange"])
    pen.fill(rectangle(door_x - 0.13, 0, door_x + 0.13, 0.41), white, "wood", "window frame", shade="flat")
    pen.fill(rectangle(door_x - 0.10, 0, door_x + 0.10, 0.38), leaf, "wood", "house door", depth=0.4)
    pen.fill(
        ellipse(door_x + 0.06, 0.18, 0.024, 0.024, corners=12),
        (0.95, 0.85, 0.35),
        "metal",
        "knob",
        shade="flat",
    )
    pen.keypoint("door", door_x, 0.19)


@fitted
def chair(pen: Pen) -> None:
    """A chair in three-quarter view, one from the front, or an armchair."""
    frame = pick(pen.rng, ["brown", "brown", "black", "white", "red", "blue", "orange", "green", "yellow"])
    cover = frame if pen.chance(0.35) else pick(pen.rng)
    weave = pen.pattern(0.35, "striped", "checkered", "dotted", "woven", "zigzag")
    kind = pen.choose("turned", "turned", "front", "armchair")
    if kind == "armchair":
        _armchair(pen, cover, weave)
    else:
        _dining_chair(pen, frame, cover, weave, turned=kind == "turned")


def _dining_chair(pen: Pen, frame: np.ndarray, cover: np.ndarray, weave: str, turned: bool) -> None:
    """Four legs, a seat, and a back of a panel, slats or spindles.

    The seat is a parallelogram (turned: it looks to the left) or a trapezium (from the front). Its corners
    are at the chair's front or back: one near to us and one far, or, seen from the front, left and right.
    """
    material = "wood" if pen.chance(0.75) else "metal"
    thick = pen.between(0.062, 0.078)
    cloth = {"texture": weave, "second": contrasting(pen.rng, cover)}
    if turned:
        front_near, front_far = (-0.33, 0.40), (-0.09, 0.48)
        back_near, back_far = (0.06, 0.40), (0.30, 0.48)
        lean = (0.055, 0.53)
    else:
        front_near, front_far = (-0.34, 0.39), (0.34, 0.39)
        back_near, back_far = (-0.26, 0.49), (0.26, 0.49)
        lean = (0.0, 0.52)
    drop = 0.1 if turned else 0.08  # far legs end higher in the picture
    far_corners = (front_far, back_far) if turned else (back_near, back_far)
    near_corners = (front_near, back_near) if turned else (front_near, front_far)
    far = [stroke(corner, (corner[0], drop), thick * 0.9) for corner in far_corners]
    pen.fill(union(far), tinted(frame, 0.6), material, "chair leg", shade="flat")

    def on_back(along: float, up: float) -> Point:
        """A point of the back: `along` from its near to its far edge, `up` from the seat to the top."""
        x = back_near[0] + along * (back_far[0] - back_near[0]) + up * lean[0]
        return x, back_near[1] + along * (back_far[1] - back_near[1]) + up * lean[1]

    posts = brush([on_back(0, -0.1), on_back(0, 1)], thick) + brush([on_back(1, -0.1), on_back(1, 1)], thick)
    filling = pen.choose("panel", "panel", "slats", "spindles")
    if filling == "panel":
        panel = polygon(on_back(0, 0.32), on_back(1, 0.32), on_back(1, 1.0), on_back(0, 1.0))
        pen.fill(posts, frame, material, "chair back")
        pen.fill(panel, cover, "fabric" if weave else material, "chair back", **cloth)
    elif filling == "slats":
        slats = [stroke(on_back(0, up), on_back(1, up), 0.1) for up in (0.46, 0.9)]
        pen.fill(posts + union(slats), frame, material, "chair back")
    else:
        rail = stroke(on_back(0, 0.93), on_back(1, 0.93), 0.11)
        spindles = [
            stroke(on_back(a, 0), on_back(a, 0.95), thick * 0.75)
            for a in ((0.5,) if turned else (0.33, 0.67))
        ]
        pen.fill(posts + rail + union(spindles), frame, material, "chair back")
    near = [stroke((corner[0], corner[1] + 0.01), (corner[0], 0), thick) for corner in near_corners]
    pen.fill(union(near), tinted(frame, 0.9), material, "chair leg", shade="flat")
    top = (
        (front_near, back_near, back_far, front_far)
        if turned
        else (front_near, front_far, back_far, back_near)
    )
    slab = polygon(*((x * 1.04, y) for x, y in top))
    edge = slab.moved(lambda points: points - (0, 0.06))
    sides = stroke(
        (front_near[0] * 1.04, front_near[1] - 0.03),
        (near_corners[1][0] * 1.04, near_corners[1][1] - 0.03),
        0.06,
    )
    pen.fill(edge + sides, tinted(cover, 0.62), material, "seat", shade="flat")
    pen.fill(slab, lighter(cover, 0.12), "fabric" if weave else material, "seat", depth=0.25, **cloth)
    middle = np.mean(top, 0)
    pen.keypoint("seat", float(middle[0]), float(middle[1]))
    pen.keypoint("back top", *on_back(0.5, 1.0))


def _armchair(pen: Pen, cover: np.ndarray, weave: str) -> None:
    """Upholstered, high-backed, from the front."""
    style = {"texture": weave, "second": tinted(cover, 0.6) if cover.mean() > 0.35 else lighter(cover, 0.35)}
    feet = rectangle(-0.34, 0, -0.26, 0.14) + rectangle(0.26, 0, 0.34, 0.14)
    pen.fill(feet, vary(pen.rng, (0.34, 0.21, 0.11)), "wood", "chair leg", shade="flat")
    back = rounded((-0.31, 0.2), (-0.33, 1.0), (0.33, 1.0), (0.31, 0.2), radius=0.2)
    pen.fill(back, tinted(cover, 0.88), "fabric", "chair back", shade="round", depth=0.55, **style)
    pen.fill(
        rounded((-0.36, 0.1), (-0.36, 0.36), (0.36, 0.36), (0.36, 0.1), radius=0.04),
        tinted(cover, 0.7),
        "fabric",
        "seat",
        **style,
    )
    cushion = rounded((-0.29, 0.31), (-0.29, 0.45), (0.29, 0.45), (0.29, 0.31), radius=0.06)
    pen.fill(cushion, lighter(cover, 0.2), "fabric", "seat", shade="round", depth=0.4, **style)
    for side in (-1, 1):
        arm = rounded(
            (side * 0.25, 0.09), (side * 0.25, 0.56), (side * 0.40, 0.58), (side * 0.40, 0.09), radius=0.075
        )
        pen.fill(arm, cover, "fabric", "armrest", shade="round", depth=0.55, **style)
    pen.keypoint("seat", 0, 0.42)
    pen.keypoint("back top", 0, 1.0)


@fitted
def lamp(pen: Pen) -> None:
    """A table lamp: a shade of cloth on a pole with a flat foot or on a vase; more than half are lit."""
    cloth = pick(pen.rng, ["white", "yellow", "orange", "red", "green", "blue", "pink", "purple"])
    metal = pick(pen.rng, ["black", "brown", "grey", "yellow", "white"])
    lit = pen.chance(0.6)
    weave = pen.pattern(0.3, "striped", "dotted", "zigzag", "grid", "swirly")
    hem = pen.between(0.53, 0.60)
    low, high = pen.between(0.245, 0.30), pen.between(0.11, 0.19)
    if lit:
        pen.glow(0, 0.78, 0.75, (0.28, 0.22, 0.10))
        cloth = lighter(cloth * np.float32(1.15) + np.float32(0.05), 0.15)
    pen.fill(
        stroke((0, 0.03), (0, hem + 0.06), 0.06), metal, "metal", "lamp pole", shade="upright", depth=0.6
    )
    if pen.chance(0.5):
        fat = pen.between(0.13, 0.17)
        vase = spline(
            (-0.08, 0.03), (-fat, 0.17), (-0.75 * fat, 0.33), (-0.04, 0.44), (0.04, 0.44),
            (0.75 * fat, 0.33), (fat, 0.17), (0.08, 0.03), steps=4,
        )  # fmt: skip
        pen.fill(
            rounded((-0.12, 0), (-0.12, 0.06), (0.12, 0.06), (0.12, 0), radius=0.02),
            metal,
            "wood",
            "lamp base",
            shade="flat",
        )
        glaze = pick(pen.rng)
        pen.fill(
            vase,
            glaze,
            "ceramic",
            "lamp base",
            shade="round",
            depth=0.6,
            texture=pen.pattern(0.3, "striped", "dotted", "swirly", "zigzag"),
        )
    else:
        pen.fill(ellipse(0, 0.045, 0.18, 0.045), metal, "metal", "lamp base", shade="round")
        if pen.chance(0.4):
            beads = ellipse(0, 0.18, 0.06, 0.05) + ellipse(0, 0.30, 0.045, 0.04)
            pen.fill(beads, metal, "metal", "lamp base", shade="round", depth=0.5)
    bell = pen.chance(0.3)
    waist = (low + high) / 2 - (0.05 if bell else 0.0)
    middle = (hem + 1) / 2
    outline = polygon((-low, hem), (-waist, middle), (-high, 0.98), (high, 0.98), (waist, middle), (low, hem))
    shade = outline + ellipse(0, hem, low, 0.03)
    pen.fill(
        shade,
        cloth,
        "fabric",
        "lamp shade",
        shade="upright",
        depth=0.22 if lit else 0.55,
        texture=weave,
        second=tinted(cloth, 0.62),
    )
    trim = stroke((-low, hem + 0.012), (low, hem + 0.012), 0.03) + ellipse(0, 0.98, high, 0.022)
    pen.fill(trim, (1.0, 0.97, 0.82) if lit else tinted(cloth, 0.6), "fabric", "lamp shade", shade="flat")
    pen.keypoint("shade", 0, middle)
    pen.keypoint("base", 0, 0.04)


@fitted
def cup(pen: Pen) -> None:
    """A mug or a teacup, seen a little from above, with a drink; sometimes on a saucer."""
    glaze = pick(
        pen.rng,
        ["red", "orange", "yellow", "green", "blue", "purple", "pink", "white", "white", "brown", "grey"],
    )
    weave = pen.pattern(0.5)
    half = pen.between(0.37, 0.42)
    foot = half * (pen.between(0.88, 1.0) if pen.chance(0.6) else pen.between(0.55, 0.7))
    bow = pen.between(0.09, 0.12)  # half the height of the rim's ellipse
    top = 0.88
    saucer = foot < 0.8 * half or pen.chance(0.15)
    low = 0.05 if saucer else 0.0
    if saucer:
        plate = ellipse(0.06, 0.07, 0.52, 0.075)
        pen.fill(plate, tinted(glaze, 0.8), "ceramic", "", depth=0.5)
        pen.fill(ellipse(0.06, 0.085, 0.40, 0.05), lighter(glaze, 0.3), "ceramic", "", shade="flat")
    # The handle is a ring behind the body; its left part is hidden.
    side = (half + foot) / 2
    x, y = side + 0.05, 0.49
    handle = ellipse(x, y, 0.21, 0.245) - ellipse(x - 0.005, y, 0.115, 0.145)
    pen.fill(handle, tinted(glaze, 0.88), "ceramic", "handle", shade="round", depth=0.5)
    pen.keypoint("handle", x + 0.16, y)

    angles = np.linspace(math.pi, 2 * math.pi, 9)
    round_foot = [(foot * math.cos(a), low + bow * 0.75 + bow * 0.75 * math.sin(a)) for a in angles]
    bulge = 0.5 * (half + foot) + 0.1 * (half - foot)
    body = polygon((-half, top), (-bulge, 0.45), *round_foot, (bulge, 0.45), (half, top))
    pen.fill(body, glaze, "ceramic", "cup body", shade="upright", depth=0.75, texture=weave)
    pen.fill(ellipse(0, top, half, bow), lighter(glaze, 0.35), "ceramic", "cup rim", shade="flat")
    drink = pen.choose((0.27, 0.15, 0.07), (0.62, 0.36, 0.15), (0.90, 0.84, 0.74), (0.45, 0.25, 0.12))
    pen.fill(ellipse(0, top - 0.015, half * 0.86, bow * 0.76), vary(pen.rng, drink), "", "drink", depth=0.3)
    pen.keypoint("rim", 0, top)
