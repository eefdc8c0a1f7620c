"""The living room: `living_room` fills the canvas and returns the y from which things can stand.

- `boards`, `tiles`: floors, of any room
- `ROOM_LIGHTS`, `WOODS`, `PASTELS`: colours of rooms
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..canvas import Canvas
from ..palette import Colour, pick, vary
from ..props import CLOTH_COLOURS, one_of, pattern, rectangles, union
from ..props_indoors import box
from ..shapes import Shape, ellipse, rectangle, spline, stroke
from . import pieces
from .pieces import mix

WALLPAPERS = ("striped", "dotted", "zigzag", "grid", "honeycomb", "swirly", "checkered")
WOODS: tuple[Colour, ...] = ((0.56, 0.36, 0.20), (0.74, 0.56, 0.36), (0.36, 0.24, 0.17), (0.62, 0.58, 0.52))
PASTELS = ("white", "yellow", "pink", "blue", "green", "grey", "orange", "red", "purple", "brown")
# Lamp light and daylight of rooms: multiplies everything.
ROOM_LIGHTS: tuple[Colour, ...] = ((1.0, 1.0, 1.0), (1.0, 0.96, 0.88), (0.88, 0.92, 1.0), (0.98, 0.84, 0.66))


def living_room(canvas: Canvas) -> float:
    """A wall with window and pictures, a floor, at times a sofa, a sideboard, a rug."""
    rng, side = canvas.rng, canvas.side
    horizon = rng.uniform(0.54, 0.68) * side
    light = vary(rng, one_of(rng, ROOM_LIGHTS)) * 1.05
    depth = rng.uniform(0.25, 0.75)  # from pastel to full colour
    wall = mix((0.96, 0.94, 0.90), pick(rng, PASTELS), depth) * light
    canvas.paint(
        rectangle(-2, -2, side + 2, horizon + 4),
        wall,
        material="plaster",
        texture=pattern(rng, 0.45, WALLPAPERS),
        second=wall * one_of(rng, (0.82, 0.88, 1.14)),
        owner="wall",
        depth=0.25,
    )
    if rng.random() < 0.3:
        _wainscot(canvas, horizon, light)
    _hang(canvas)
    _floor(canvas, horizon, light)
    skirting = vary(rng, one_of(rng, ((0.94, 0.93, 0.89), (0.94, 0.93, 0.89), WOODS[0]))) * light
    canvas.paint(
        rectangle(-2, horizon - 4, side + 2, horizon + 2),
        skirting,
        material="ceramic",
        owner="wall",
        shade="flat",
    )
    furniture = rng.random()
    if furniture < 0.4:
        _sofa(canvas, rng.uniform(-0.15, 0.5) * side, horizon + rng.uniform(0.06, 0.1) * side, light)
    elif furniture < 0.68:
        _sideboard(canvas, rng.uniform(-0.1, 0.6) * side, horizon + rng.uniform(0.03, 0.06) * side, light)
    if rng.random() < 0.5:
        _rug(canvas, horizon, light)
    return horizon


def _wainscot(canvas: Canvas, foot: float, light: np.ndarray) -> None:
    """Panelling on the lower part of the wall."""
    rng, side = canvas.rng, canvas.side
    colour = vary(rng, one_of(rng, ((0.92, 0.90, 0.86), *WOODS))) * light
    top = foot - rng.uniform(0.14, 0.2) * side
    canvas.paint(rectangle(-2, top, side + 2, foot + 2), colour, material="wood", owner="wall", depth=0.15)
    x = np.arange(0, side, 0.14 * side) + rng.uniform(0, 10)
    grooves = np.stack([x, top + 0 * x, x + 1.6, foot + 0 * x], 1)
    lines = rectangles(np.concatenate([grooves, [(-2, top - 3, side + 2, top + 1)]]))
    canvas.paint(lines, colour * 0.6, shade="flat", opacity=0.7, labelled=False)


def _hang(canvas: Canvas) -> None:
    """A window and pictures, none over another."""
    rng, side = canvas.rng, canvas.side
    taken: list[tuple[float, float]] = []  # from where to where the wall is covered
    if rng.random() < 0.6:
        x, width = float(rng.uniform(0.06, 0.66) * side), rng.uniform(0.22, 0.34) * side
        dark = rng.random() < 0.3
        pieces.window(canvas, x, rng.uniform(0.07, 0.14) * side, width, rng.uniform(0.22, 0.32) * side, dark)
        taken.append((x - 16, x + width + 16))  # with its curtains
    for _ in range(int(rng.integers(0, 4))):
        x, y = float(rng.uniform(0.02, 0.82) * side), rng.uniform(0.04, 0.24) * side
        width, height = rng.uniform(0.09, 0.2) * side, rng.uniform(0.09, 0.18) * side
        if all(x + width < left or x > right for left, right in taken):
            pieces.picture(canvas, x, y, width, height)
            taken.append((x - 4, x + width + 4))


def _rug(canvas: Canvas, horizon: float, light: np.ndarray) -> None:
    """A round rug, seen as an ellipse, with a paler border."""
    rng, side = canvas.rng, canvas.side
    x, y = float(rng.uniform(0.3, 0.7) * side), horizon + 0.62 * (side - horizon)
    rx, ry = rng.uniform(0.3, 0.45) * side, rng.uniform(0.26, 0.34) * (side - horizon)
    colour = pick(rng, CLOTH_COLOURS) * light
    border, inner = ellipse(x, y, rx, ry, corners=36), ellipse(x, y, 0.88 * rx, 0.86 * ry, corners=36)
    canvas.paint(border, mix(colour, (1, 1, 1), 0.35), material="fabric", owner="rug")
    style: dict[str, Any] = {
        "material": "fabric",
        "texture": pattern(rng, 0.75),
        "owner": "rug",
        "shade": "flat",
    }
    canvas.paint(inner, colour, **style)


def _floor(canvas: Canvas, horizon: float, light: np.ndarray) -> None:
    """Boards, carpet or tiles."""
    rng = canvas.rng
    kind = rng.random()
    if kind < 0.5:
        wood = vary(rng, one_of(rng, WOODS)) * light
        canvas.ground(horizon, wood, "wood", owner="floor", scale=0.7)
        boards(canvas, horizon, wood)
        return
    colour = pick(rng) * light
    if kind < 0.8:
        texture = pattern(rng, 0.4, ("woven", "honeycomb", "dotted", "swirly"))
        canvas.ground(
            horizon, colour, "fabric", owner="floor", texture=texture, second=pick(rng) * light, scale=0.4
        )
    else:
        tiles(canvas, horizon, light)


def tiles(canvas: Canvas, top: float, light: np.ndarray) -> None:
    """A tiled floor, plain or chequered."""
    rng = canvas.rng
    colour = mix(pick(rng), (0.92, 0.90, 0.86), rng.uniform(0.3, 0.8)) * light
    if rng.random() < 0.4:
        canvas.ground(top, colour, "tile", owner="floor", scale=0.5)
        return
    second = pick(rng, ("black", "grey", "brown", "red", "green", "blue", "white", "orange")) * light
    _chequers(canvas, top, colour, second)


def _chequers(canvas: Canvas, top: float, colour: np.ndarray, second: np.ndarray) -> None:
    """A chequered floor in the same perspective as `Canvas.ground`.

    The squares are polygons, because a tile that is sampled shows moiré; far away, where they would be finer than a
    pixel, they give way to their mean colour.
    """
    rng, side = canvas.rng, canvas.side
    canvas.ground(top, colour, "ceramic", owner="floor", texture="checkered", second=colour)
    square = rng.uniform(0.2, 0.34) * side
    nearest = 0.62 * side / (side + 4 - top + 0.06 * side)
    distance = nearest + square / (0.8 * side) * (np.arange(10) + rng.random())  # of the lines between rows
    distance = np.concatenate([[nearest], distance[distance < 4.5]])
    y = top + 0.62 * side / distance - 0.06 * side
    shift = rng.random()
    dark = []
    for row in range(len(y) - 1):
        reach = int(side * distance[row + 1] * 0.55 / square) + 2
        column = np.arange(-reach + (row + reach) % 2, reach, 2) + shift
        near, far = (
            side / 2 + np.stack([column, column + 1]) * square / (1.1 * distance[k]) for k in (row, row + 1)
        )
        low, high = np.full(len(column), y[row]), np.full(len(column), y[row + 1])
        corners = np.stack([near[0], low, near[1], low, far[1], high, far[0], high], 1).reshape(-1, 4, 2)
        dark += list(corners)
    style: dict[str, Any] = {
        "material": "ceramic",
        "texture": "checkered",
        "second": second,
        "owner": "floor",
        "shade": "flat",
    }
    canvas.paint(Shape(tuple(dark), (True,) * len(dark)), second, **style)
    style["second"] = blend = mix(colour, second, 0.5)
    canvas.paint(rectangle(-2, top + 1, side + 2, float(y[-1]) + 1), blend, **style)


def boards(canvas: Canvas, horizon: float, colour: np.ndarray) -> None:
    """The joints between floor boards, running towards the viewer."""
    rng, side = canvas.rng, canvas.side
    middle, step = side * rng.uniform(0.35, 0.65), rng.uniform(0.09, 0.14) * side
    joints = [
        stroke((middle + k * step, horizon), (middle + 3.2 * k * step, side + 2), 0.8, 2.2)
        for k in np.arange(-7, 8) + 0.5
    ]
    canvas.paint(union(joints), colour * 0.4, shade="flat", opacity=0.5, labelled=False)


def _sofa(canvas: Canvas, x: float, foot: float, light: np.ndarray) -> None:
    """A wide sofa with two seats, its foot at y = foot."""
    rng, side = canvas.rng, canvas.side
    width, height = rng.uniform(0.55, 0.72) * side, rng.uniform(0.26, 0.32) * side
    colour, texture = pick(rng, CLOTH_COLOURS) * light, pattern(rng, 0.3)
    second = colour * one_of(rng, (0.55, 0.7, 1.4))  # a loud pattern would hide the shape
    style: dict[str, Any] = {
        "material": "leather" if rng.random() < 0.25 else "fabric",
        "texture": texture,
        "second": second,
        "owner": "sofa",
    }
    canvas.shadow(x + width / 2, foot, 0.52 * width, 0.1 * height, 0.4)
    legs = rectangles(np.array([[x + q * width, foot - 6, x + q * width + 5, foot] for q in (0.05, 0.92)]))
    canvas.paint(legs, (0.22, 0.15, 0.1), material="wood", owner="sofa", shade="flat")
    back = spline(
        (x + 0.03 * width, foot - 5),
        (x + 0.04 * width, foot - 0.93 * height),
        (x + 0.5 * width, foot - height),
        (x + 0.96 * width, foot - 0.93 * height),
        (x + 0.97 * width, foot - 5),
        steps=4,
    )
    canvas.paint(back, colour * 0.9, shade="round", depth=0.5, **style)
    seats = rectangle(x + 0.1 * width, foot - 0.46 * height, x + 0.9 * width, foot - 4)
    canvas.paint(seats, colour, shade="linear", depth=0.7, **style)
    arms: Shape | None = None
    for left in (x, x + 0.87 * width):
        w = 0.13 * width
        arm = spline(
            (left, foot - 4),
            (left, foot - 0.58 * height),
            (left + 0.5 * w, foot - 0.68 * height),
            (left + w, foot - 0.58 * height),
            (left + w, foot - 4),
            steps=4,
        )
        arms = arm if arms is None else arms + arm
    assert arms is not None
    canvas.paint(arms, colour, shade="linear", depth=0.45, **style)
    # Seams: between the seats, under the cushions, inside the arms.
    seams = rectangles(
        np.array(
            [
                [x + 0.495 * width, foot - 0.9 * height, x + 0.505 * width, foot - 0.2 * height],
                [x + 0.12 * width, foot - 0.22 * height, x + 0.88 * width, foot - 0.2 * height],
                [x + 0.12 * width, foot - 0.48 * height, x + 0.88 * width, foot - 0.45 * height],
                [x + 0.12 * width, foot - 0.58 * height, x + 0.135 * width, foot - 4],
                [x + 0.865 * width, foot - 0.58 * height, x + 0.88 * width, foot - 4],
            ]
        )
    )
    canvas.paint(seams, (0, 0, 0), shade="flat", opacity=0.45, soft=0.6, labelled=False)
    if rng.random() < 0.7:
        q, size = x + rng.uniform(0.16, 0.7) * width, 0.36 * height
        pillow = spline(
            (q, foot - 0.42 * height),
            (q + 0.1 * size, foot - 0.42 * height - size),
            (q + size, foot - 0.45 * height - size),
            (q + 1.1 * size, foot - 0.42 * height),
            steps=4,
        )
        canvas.paint(
            pillow,
            pick(rng, CLOTH_COLOURS) * light,
            material="fabric",
            texture=pattern(rng, 0.7),
            part="cushion",
            owner="sofa",
            shade="round",
        )


def _sideboard(canvas: Canvas, x: float, foot: float, light: np.ndarray) -> None:
    """A low cabinet or a shelf with boxes, standing against the wall."""
    rng, side = canvas.rng, canvas.side
    width, height = rng.uniform(0.36, 0.55) * side, rng.uniform(0.17, 0.26) * side
    wood = vary(rng, one_of(rng, (*WOODS, (0.90, 0.88, 0.84)))) * light
    material = "wood"
    if rng.random() < 0.3:
        wood, material = pick(rng, CLOTH_COLOURS) * light, "ceramic"
    canvas.shadow(x + width / 2, foot, 0.5 * width, 0.06 * height, 0.4)
    top = foot - height
    body = rectangle(x, top, x + width, foot - 5) + rectangles(
        np.array([[x + q * width, foot - 6, x + q * width + 5, foot] for q in (0.04, 0.9)])
    )
    canvas.paint(body, wood, material=material, owner="cupboard", depth=0.3)
    doors = int(rng.integers(2, 4))
    w = width / doors
    if rng.random() < 0.35:  # open shelves, filled
        holes = rectangles(
            np.array(
                [
                    [x + 4, top + 6 + k * 0.45 * height, x + width - 4, top + (0.4 + 0.45 * k) * height]
                    for k in (0, 1)
                ]
            )
        )
        canvas.paint(holes, wood * 0.35, material="wood", owner="cupboard", shade="flat")
        for k in (0, 1):
            for q in (rng.uniform(0.05, 0.3), rng.uniform(0.5, 0.7)):
                low = top + (0.4 + 0.45 * k) * height
                box(canvas, x + q * width, low - 0.26 * height, x + (q + 0.22) * width, low, light)
    else:
        fronts = rectangles(
            np.array([[x + k * w + 3, top + 6, x + (k + 1) * w - 3, foot - 9] for k in range(doors)])
        )
        canvas.paint(
            fronts,
            np.minimum(wood * 1.12, 1),
            material=material,
            part="cabinet door",
            owner="cupboard",
            depth=0.3,
        )
        knobs = union(
            [ellipse(x + (k + 0.5) * w, top + 0.32 * height, 2.4, 2.4, corners=10) for k in range(doors)]
        )
        canvas.paint(
            knobs, pick(rng, ("yellow", "black", "grey")), material="metal", part="knob", owner="cupboard"
        )
    canvas.paint(
        rectangle(x - 3, top - 3, x + width + 3, top + 3),
        np.minimum(wood * 1.25, 1),
        material=material,
        owner="cupboard",
        shade="flat",
    )
