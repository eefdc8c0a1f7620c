"""Places of water: `beach`, `sea`, `underwater`. Each fills the canvas and returns the y from which things stand.

- `crests`, `glitter`: what makes water look like water
"""

from __future__ import annotations

import math

import numpy as np

from ..canvas import Canvas
from ..palette import Colour, pick, vary
from ..props import CLOTH_COLOURS, grass_tuft, one_of, pattern, rock, seaweed, union
from ..shapes import Shape, ellipse, polygon, rectangle, ring, stroke
from . import pieces
from .pieces import Sky, mix, near_rows

# Sea water by day; the sky's light and colour are mixed in.
WATERS: tuple[Colour, ...] = (
    (0.10, 0.36, 0.56),
    (0.10, 0.50, 0.54),
    (0.26, 0.42, 0.48),
    (0.16, 0.28, 0.46),
    (0.30, 0.62, 0.62),
    (0.34, 0.40, 0.34),
)


def crests(canvas: Canvas, horizon: float, bottom: float, colour: Colour, count: int = 26) -> None:
    """Wave crests as thin lenses with a dark trough below each, smaller and closer together towards the horizon."""
    rng, side = canvas.rng, canvas.side
    y = near_rows(rng, count, horizon + 2, bottom)
    near = (y - horizon) / (side - horizon)
    width = (3 + 34 * near) * rng.uniform(0.6, 1.4, count)
    thick = (0.7 + 3.2 * near) * rng.uniform(0.7, 1.3, count)
    x = rng.uniform(0, side, count)
    t = np.array([-1, -0.5, 0, 0.5, 1, 0.5, 0, -0.5])
    arch = np.array([0.3, -0.6, -1, -0.6, 0.3, 0.1, -0.1, 0.1])  # a lens bent upwards
    corners = np.stack([x[:, None] + width[:, None] * t, y[:, None] + thick[:, None] * arch], 2)
    trough = corners + np.stack([0 * thick, 1.1 * thick], 1)[:, None]
    canvas.paint(
        Shape(tuple(trough), (True,) * count),
        np.asarray(colour) * 0.45,
        shade="flat",
        opacity=0.35,
        labelled=False,
    )
    canvas.paint(
        Shape(tuple(corners), (True,) * count),
        mix(colour, (1, 1, 1), 0.6),
        shade="flat",
        opacity=0.75,
        labelled=False,
    )


def glitter(canvas: Canvas, x: float, horizon: float, bottom: float, colour: Colour) -> None:
    """The light's path on the water: dashes that spread towards the viewer."""
    rng = canvas.rng
    y = near_rows(rng, 30, horizon + 1, bottom)
    near = (y - horizon) / (canvas.side - horizon)
    middle = x + rng.normal(0, 1, 30) * (3 + 16 * near)
    half, thick = (2 + 9 * near) * rng.uniform(0.5, 1.3, 30), 0.5 + 1.2 * near
    dashes = np.stack([middle - half, y, middle, y - thick, middle + half, y, middle, y + thick], 1).reshape(
        -1, 4, 2
    )
    canvas.paint(Shape(tuple(dashes), (True,) * 30), colour, shade="flat", opacity=0.75, labelled=False)


def _open_water(canvas: Canvas, horizon: float, bottom: float, sky: Sky) -> np.ndarray:
    """Water from the horizon down to `bottom`, mirroring some of the sky; returns its colour."""
    rng = canvas.rng
    water = mix(vary(rng, one_of(rng, WATERS)) * sky.light, sky.far, rng.uniform(0.05, 0.2))
    canvas.ground(
        horizon, water, "water", owner="water", bottom=bottom, scale=0.75, haze=mix(water, sky.far, 0.6)
    )
    crests(canvas, horizon, bottom, mix(water, sky.far, 0.3), 14 if bottom < 0.75 * canvas.side else 34)
    if rng.random() < 0.4:
        x = rng.uniform(0.15, 0.85) * canvas.side
        glitter(canvas, x, horizon, bottom, mix(sky.far, (1.0, 0.98, 0.88), 0.6))
    return water


def beach(canvas: Canvas) -> float:
    """Sand before the sea: surf, wet sand, at times a parasol, a headland, rocks or dune grass."""
    rng, side = canvas.rng, canvas.side
    horizon = rng.uniform(0.3, 0.45) * side
    sky = pieces.day_sky(canvas, horizon)
    if rng.random() < 0.4:
        land = (
            vary(rng, one_of(rng, ((0.34, 0.46, 0.32), (0.52, 0.46, 0.40), (0.70, 0.66, 0.58)))) * sky.light
        )
        pieces.ridge(canvas, horizon, rng.uniform(0.05, 0.12) * side, mix(land, sky.far, 0.45), "rock")
    shore = horizon + rng.uniform(0.1, 0.22) * side
    slope = rng.uniform(-0.07, 0.07) * side if rng.random() < 0.6 else rng.choice([-1.0, 1.0]) * 0.16 * side
    slope = float(np.sign(slope)) * min(abs(slope), shore - horizon - 4)  # the surf never reaches the horizon
    _open_water(canvas, horizon, shore + abs(slope) + 8, sky)
    sands = (
        (0.88, 0.77, 0.54),
        (0.93, 0.87, 0.74),
        (0.72, 0.62, 0.48),
        (0.55, 0.52, 0.50),
        (0.90, 0.70, 0.56),
    )
    sand = vary(rng, one_of(rng, sands)) * sky.light
    t = np.linspace(0, 1, 24)
    x = -4 + (side + 8) * t
    surf = shore + slope * (2 * t - 1) + 2.5 * np.sin(rng.uniform(0, 6) + 8 * t) + 1.5 * np.sin(19 * t)

    def strip(upper: np.ndarray, lower: np.ndarray | float) -> Shape:
        below = np.broadcast_to(np.asarray(lower, float), upper.shape)
        return Shape((np.concatenate([np.stack([x, upper], 1), np.stack([x, below], 1)[::-1]]),), (True,))

    canvas.paint(strip(surf, side + 3.0), sand, material="sand", owner="ground", shade="linear", depth=-0.12)
    wet = rng.uniform(0.05, 0.1) * side
    canvas.paint(
        strip(surf, surf + wet), sand * (0.62, 0.62, 0.66), shade="flat", opacity=0.7, soft=2, labelled=False
    )
    lace = 1.5 + 3.0 * np.abs(np.sin(rng.uniform(0, 6) + 13 * t)) + rng.uniform(0, 1.5, 24)
    foam = strip(surf - lace, surf + 0.6 * lace)
    for back in (0.45, 0.75) if rng.random() < 0.8 else (0.5,):  # breakers behind, thinner with distance
        line = surf - (surf - horizon - 3) * back
        thick = (1 - back) * (1 + 3.5 * np.clip(np.sin(rng.uniform(0, 6) + rng.uniform(5, 9) * t), 0, 1))
        foam += strip(line - thick, line + 0.5 * thick)
    canvas.paint(
        foam,
        np.array((0.95, 0.97, 0.97)) * sky.light,
        material="water",
        owner="water",
        shade="flat",
        soft=0.7,
    )
    _dents(canvas, float(surf.max()) + wet, sand)
    foot = float(surf.max()) + wet
    if rng.random() < 0.35:
        x0, y = rng.uniform(0.1, 0.9) * side, foot + rng.uniform(0.0, 0.08) * side
        _parasol(canvas, x0, y, rng.uniform(0.26, 0.36) * side, sky)
    for y in near_rows(rng, int(rng.integers(0, 4)), foot, 0.92 * side):
        left, size = rng.uniform(-0.1, 1) * side, rng.uniform(0.4, 1) * (7 + 0.25 * (y - horizon))
        canvas.shadow(left + 0.8 * size, y, 0.9 * size, 0.2 * size, 0.35)
        one_of(rng, (rock, rock, grass_tuft))(canvas, left, y - size, left + 1.6 * size, y, sky.light)
    return min(float(surf.max()) + 2, 0.75 * side)


def _dents(canvas: Canvas, top: float, colour: np.ndarray) -> None:
    """Trodden sand: small shaded hollows."""
    rng, side = canvas.rng, canvas.side
    y = near_rows(rng, 20, top, side)
    near = (y - top) / (side - top) + 0.25
    x = rng.uniform(0, side, 20)
    spots = zip(x, y, near, strict=True)
    hollows = union([ellipse(a, b, 6 * q, 1.8 * q, corners=10) for a, b, q in spots])
    canvas.paint(hollows, colour * 0.55, shade="flat", opacity=0.35, soft=0.7, labelled=False)


def _parasol(canvas: Canvas, x: float, y: float, height: float, sky: Sky) -> None:
    """A beach umbrella stuck in the sand at (x, y), a little tilted."""
    rng = canvas.rng
    tilt = rng.uniform(-0.15, 0.15) * height
    half, brim = 0.55 * height, y - 0.68 * height
    canvas.shadow(x, y, 0.5 * height, 0.07 * height, 0.35)
    canvas.paint(
        stroke((x, y), (x + tilt, y - height), 2.6),
        (0.85, 0.84, 0.80),
        material="metal",
        owner="umbrella",
        shade="flat",
    )
    t = np.linspace(0, math.pi, 15)
    dome = np.stack([x + tilt + half * np.cos(t), brim - 0.34 * height * np.sin(t)], 1)
    hem = np.linspace(-1, 1, 13)
    scallops = np.stack([x + tilt + half * hem, brim - 0.045 * height * np.abs(np.sin(3 * math.pi * hem))], 1)
    cloth = pick(rng, CLOTH_COLOURS) * sky.light
    canvas.paint(
        Shape((np.concatenate([dome, scallops]),), (True,)),
        cloth,
        material="fabric",
        texture=pattern(rng, 0.4),
        owner="umbrella",
        shade="round",
        depth=0.5,
    )
    top = (x + tilt, brim - 0.34 * height)
    gores = [
        polygon(top, (x + tilt + half * a, brim), (x + tilt + half * (a + 1 / 3), brim))
        for a in (-1.0, -1 / 3, 1 / 3)
    ]
    canvas.paint(
        union(gores), sky.light * 0.92, material="fabric", owner="umbrella", shade="flat", opacity=0.75
    )


def sea(canvas: Canvas) -> float:
    """Open water with waves, sunlight on it, islands or cliffs far away, rocks in the surf."""
    rng, side = canvas.rng, canvas.side
    horizon = rng.uniform(0.32, 0.52) * side
    sky = pieces.day_sky(canvas, horizon)
    coast = rng.random()
    land = vary(rng, one_of(rng, ((0.36, 0.46, 0.36), (0.50, 0.46, 0.44), (0.74, 0.70, 0.64)))) * sky.light
    if coast < 0.25:
        pieces.ridge(canvas, horizon, rng.uniform(0.05, 0.13) * side, mix(land, sky.far, 0.5), "rock")
    elif coast < 0.5:  # an island
        t = np.linspace(0, 1, 16)
        x0, width, height = (
            rng.uniform(0, 0.7) * side,
            rng.uniform(0.2, 0.4) * side,
            rng.uniform(0.04, 0.12) * side,
        )
        top = height * np.sqrt(np.sin(math.pi * t)) * (0.4 + 0.6 * pieces.hill_line(rng, 0.5, 16))
        isle = np.stack([x0 + width * t, horizon + 2 - top], 1)
        canvas.paint(
            Shape((isle,), (True,)), mix(land, sky.far, 0.35), material="rock", owner="hill", depth=0.5
        )
    _open_water(canvas, horizon, side, sky)
    for y in near_rows(rng, int(rng.integers(0, 3)), horizon + 0.06 * side, 0.8 * side):
        x, size = rng.uniform(-0.1, 1) * side, rng.uniform(0.5, 1) * (6 + 0.25 * (y - horizon))
        rock(canvas, x, y - size, x + 1.5 * size, y, sky.light * 0.8)
        wash = ellipse(x + 0.75 * size, y, 1.05 * size, 0.14 * size + 1)
        canvas.paint(wash, (0.92, 0.95, 0.96), shade="flat", opacity=0.8, soft=1.2, labelled=False)
    return horizon


def underwater(canvas: Canvas) -> float:
    """Under the surface: light from above, reefs fading into the distance, sand, seaweed, corals and bubbles."""
    rng, side = canvas.rng, canvas.side
    floor = rng.uniform(0.66, 0.79) * side
    depths: tuple[tuple[Colour, Colour], ...] = (  # colour of the water above and below
        ((0.30, 0.70, 0.86), (0.05, 0.25, 0.50)),
        ((0.36, 0.78, 0.76), (0.05, 0.36, 0.42)),
        ((0.20, 0.50, 0.78), (0.05, 0.13, 0.38)),
        ((0.46, 0.72, 0.54), (0.12, 0.34, 0.28)),
        ((0.62, 0.66, 0.82), (0.26, 0.22, 0.48)),
        ((0.70, 0.82, 0.80), (0.32, 0.46, 0.50)),
    )
    above, below = one_of(rng, depths)
    top, deep = vary(rng, above), vary(rng, below)
    # Colour changes with depth; the stroke over it labels the water and adds faint ripples.
    canvas.rgb[:] = top + (deep - top) * (np.linspace(0, 1.2, side, dtype=np.float32)[:, None, None] ** 0.8)
    canvas.paint(
        rectangle(-2, -2, side + 2, floor + 3),
        mix(top, deep, 0.4),
        material="water",
        owner="water",
        shade="flat",
        opacity=0.28,
    )
    for distance in (0.72, 0.45):
        if rng.random() < 0.7:
            reef = mix(vary(rng, (0.30, 0.34, 0.38)), deep, distance)
            pieces.ridge(
                canvas,
                floor,
                rng.uniform(0.08, 0.3) * side * (1.2 - distance),
                reef,
                "rock",
                "rock",
                roughness=0.55,
            )
    _shafts(canvas, mix(top, (1, 1, 1), 0.5), floor)
    tint = mix(np.ones(3), mix(top, deep, 0.4) * 1.5, 0.5)
    soil = vary(rng, one_of(rng, ((0.82, 0.76, 0.58), (0.60, 0.58, 0.54), (0.90, 0.86, 0.76)))) * tint
    canvas.ground(floor, soil, "sand", haze=mix(soil, deep, 0.6))
    for y in near_rows(rng, int(rng.integers(1, 5)), floor + 3, 0.97 * side):
        near = 0.7 + 1.2 * (y - floor) / side
        x, width = rng.uniform(-0.05, 0.95) * side, rng.uniform(0.06, 0.16) * side * near
        if rng.random() < 0.6:
            seaweed(canvas, x, y - rng.uniform(0.18, 0.5) * side, x + width, y, tint)
        elif rng.random() < 0.5:
            rock(canvas, x, y - 0.7 * width, x + 1.3 * width, y, tint)
        else:
            _coral(canvas, x + width / 2, y, rng.uniform(0.1, 0.22) * side, tint)
    _bubbles(canvas, int(rng.integers(0, 9)))
    return floor


def _shafts(canvas: Canvas, colour: np.ndarray, foot: float) -> None:
    """Beams of light that widen from the surface downwards."""
    rng, side = canvas.rng, canvas.side
    slant = rng.uniform(-0.35, 0.35) * side
    beams = []
    for x in rng.uniform(0, side, 4):
        width = rng.uniform(0.03, 0.08) * side
        beams.append(
            polygon(
                (x, -2),
                (x + width, -2),
                (x + slant + 2.2 * width, foot + 8),
                (x + slant - 0.8 * width, foot + 8),
            )
        )
    canvas.paint(
        union(beams),
        colour,
        shade="linear",
        depth=0.5,
        opacity=rng.uniform(0.08, 0.2),
        soft=3,
        labelled=False,
    )


def _coral(canvas: Canvas, x: float, y: float, height: float, tint: np.ndarray) -> None:
    """A branching coral, rooted at (x, y)."""
    rng = canvas.rng
    colour = pick(rng, ("red", "orange", "pink", "purple", "yellow", "white")) * np.minimum(tint, 1.0)
    width = 0.13 * height
    branches = stroke((x, y + 2), (x, y - 0.5 * height), 1.4 * width, width)
    for angle in rng.uniform(0.25, 0.75, 2).tolist() + (-rng.uniform(0.25, 0.75, 2)).tolist() + [0.05]:
        low = y - height * rng.uniform(0.15, 0.45)
        length = height * rng.uniform(0.45, 0.6)
        knee = (x + 0.7 * length * math.sin(angle * 1.6), low - 0.45 * length)
        tip = (knee[0] + 0.25 * length * math.sin(angle), knee[1] - 0.55 * length)
        branches += stroke((x, low), knee, width, 0.85 * width) + stroke(knee, tip, 0.85 * width, 0.7 * width)
        branches += ellipse(*knee, 0.42 * width, 0.42 * width, corners=8) + ellipse(
            *tip, 0.5 * width, 0.5 * width, corners=8
        )
    canvas.paint(branches, colour, material="plant", owner="seaweed", shade="round", depth=0.5)


def _bubbles(canvas: Canvas, count: int) -> None:
    """Bubbles, each a bright ring."""
    if not count:
        return
    rng, side = canvas.rng, canvas.side
    spots = rng.random((count, 3)) * (side, 0.9 * side, 1)
    rings = union([ring(x, y, 2 + 2.8 * q, 1.2) for x, y, q in spots])
    canvas.paint(rings, (0.88, 0.96, 1.0), material="water", owner="bubble", shade="flat", opacity=0.75)
