"""Places in the country: `meadow`, `forest`, `mountain`, `desert`.

Each fills the canvas and returns the y from which things can stand. Time of day, materials and colours vary within a
scene more than between scenes, so that a histogram of colours says little about the place.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..canvas import Canvas
from ..palette import Colour, pick, vary
from ..props import bush, cactus, fence, grass_tuft, one_of, rectangles, rock, union
from ..shapes import Shape, ellipse, polygon, rectangle
from . import pieces
from .pieces import Sky, mix, near_rows


def meadow(canvas: Canvas) -> float:
    """Grassland under rolling hills, with fields, hedges, a path, a fence or specks of bloom."""
    rng, side = canvas.rng, canvas.side
    horizon = rng.uniform(0.4, 0.56) * side
    sky = pieces.day_sky(canvas, horizon)
    greens = (
        (0.34, 0.54, 0.18),
        (0.44, 0.58, 0.22),
        (0.62, 0.60, 0.26),
        (0.24, 0.46, 0.22),
        (0.70, 0.56, 0.30),
    )
    grass = vary(rng, one_of(rng, greens)) * sky.light
    layers = int(rng.integers(1, 4))
    for layer in range(layers):
        distance = 1 - (layer + 1) / (layers + 1)
        colour = vary(rng, one_of(rng, (*greens, (0.60, 0.48, 0.66), (0.78, 0.68, 0.32)))) * sky.light
        field = rng.random() < 0.25
        pieces.ridge(
            canvas,
            horizon,
            (0.2 - 0.045 * layer) * side,
            mix(colour * 0.85, sky.far, 0.65 * distance),
            "grass",
            roughness=0.33,
            texture="striped" if field else "",
            second=mix(colour * 0.65, sky.far, 0.6 * distance),
        )
    if rng.random() < 0.4:
        wood = (
            vary(rng, one_of(rng, ((0.20, 0.38, 0.18), (0.46, 0.36, 0.14), (0.30, 0.44, 0.16)))) * sky.light
        )
        pieces.forest_edge(canvas, horizon, rng.uniform(0.06, 0.12) * side, mix(wood, sky.far, 0.2), False)
    canvas.ground(horizon, grass, "grass", haze=mix(grass, sky.far, 0.5))
    detail = rng.random()
    if detail < 0.35:
        _bloom(canvas, horizon, sky)
    elif detail < 0.55:
        _path(canvas, horizon, vary(rng, (0.74, 0.62, 0.44)) * sky.light)
    if rng.random() < 0.3:
        foot = horizon + 0.09 * side
        if rng.random() < 0.65:
            fence(canvas, -6, foot - rng.uniform(0.09, 0.13) * side, side + 6, foot, sky.light)
        else:  # a wall of field stones
            stone = vary(rng, (0.58, 0.55, 0.50)) * sky.light
            canvas.paint(
                rectangle(-2, foot - 0.07 * side, side + 2, foot),
                stone,
                material="stone",
                owner="fence",
                depth=0.5,
            )
    for y in near_rows(rng, int(rng.integers(0, 4)), horizon + 6, horizon + 0.25 * side):
        x, size = rng.uniform(-0.1, 1) * side, rng.uniform(0.05, 0.1) * side * (1 + (y - horizon) / 30)
        one_of(rng, (bush, grass_tuft, grass_tuft, rock))(
            canvas, x, y - 0.6 * size, x + 1.2 * size, y, sky.light
        )
    return horizon


def _bloom(canvas: Canvas, horizon: float, sky: Sky) -> None:
    """Specks of blossom all over the grass, too small to be flowers."""
    rng, side = canvas.rng, canvas.side
    colour = pick(rng, ("white", "yellow", "red", "pink", "purple", "orange", "blue")) * sky.light
    y = near_rows(rng, 60, horizon + 3, side)
    size = 0.7 + 1.9 * (y - horizon) / (side - horizon)
    x = rng.uniform(0, side, 60)
    dots = union([ellipse(a, b, r, 0.75 * r, corners=6) for a, b, r in zip(x, y, size, strict=True)])
    canvas.paint(dots, colour, material="plant", owner="ground", shade="flat")


def _path(canvas: Canvas, horizon: float, colour: np.ndarray) -> None:
    """A trodden path that winds to the horizon."""
    rng, side = canvas.rng, canvas.side
    t = np.linspace(0, 1, 12)
    middle = rng.uniform(0.2, 0.8) * side + 0.16 * side * np.sin(
        rng.uniform(0, 6) + 5 * np.sqrt(t)
    ) * np.sqrt(t)
    half, y = 1.0 + 0.13 * side * t, horizon + 2 + (side + 2 - horizon) * t
    outline = np.concatenate([np.stack([middle - half, y], 1), np.stack([middle + half, y], 1)[::-1]])
    canvas.paint(Shape((outline,), (True,)), colour, material="sand", owner="ground", shade="flat", soft=0.8)


def forest(canvas: Canvas) -> float:
    """Inside a wood: a wall of leaves, trunks near and far, undergrowth; green, autumnal, misty or snowed in."""
    rng, side = canvas.rng, canvas.side
    horizon = rng.uniform(0.48, 0.62) * side
    seasons: tuple[tuple[Colour, Colour, str], ...] = (  # leaves, ground, material of the ground
        ((0.22, 0.42, 0.16), (0.32, 0.40, 0.15), "grass"),
        ((0.34, 0.52, 0.20), (0.42, 0.34, 0.20), "earth"),
        ((0.16, 0.34, 0.28), (0.28, 0.36, 0.22), "grass"),
        ((0.70, 0.46, 0.16), (0.56, 0.36, 0.16), "earth"),
        ((0.62, 0.28, 0.14), (0.46, 0.32, 0.20), "earth"),
        ((0.60, 0.68, 0.70), (0.88, 0.91, 0.95), "snow"),
        ((0.50, 0.60, 0.62), (0.40, 0.42, 0.28), "grass"),
    )
    leaves, soil, material = one_of(rng, seasons)
    dim = rng.uniform(0.75, 1.15)
    foliage = vary(rng, leaves) * dim
    # Light falls through the wood from one side: the far end is paler.
    mist = mix(
        foliage,
        one_of(rng, ((0.90, 0.95, 0.80), (0.80, 0.88, 0.95), (1.0, 0.88, 0.65))),
        rng.uniform(0.1, 0.6),
    )
    canvas.paint(
        rectangle(-2, -2, side + 2, horizon + 4),
        foliage,
        material="foliage",
        part="leaf",
        owner="forest edge",
        depth=-0.25,
    )
    canvas.paint(
        ellipse(rng.uniform(0.2, 0.8) * side, horizon, 0.5 * side, 0.36 * side),
        mist,
        shade="flat",
        opacity=0.65,
        soft=12,
        labelled=False,
    )
    bark = one_of(rng, ((0.36, 0.26, 0.17), (0.30, 0.27, 0.25), (0.50, 0.30, 0.20), (0.85, 0.83, 0.78)))
    _trunks(canvas, horizon, 9, (0.008, 0.016), mix(vary(rng, bark) * dim * 0.9, mist, 0.6), False)
    ground = vary(rng, soil) * dim
    canvas.ground(horizon, ground, material, haze=mix(ground, mist, 0.6))
    if rng.random() < 0.35:
        _path(canvas, horizon, mix(ground, (0.62, 0.50, 0.36), 0.6))
    _trunks(
        canvas, horizon, int(rng.integers(3, 7)), (0.018, 0.035), mix(vary(rng, bark) * dim, mist, 0.15), True
    )
    # A canopy hangs in from above.
    x = np.linspace(-0.05, 1.05, 12) * side
    drop = rng.uniform(0.04, 0.16, 12) * side
    lobes = union([ellipse(a, 0, 0.075 * side, b, corners=14) for a, b in zip(x, drop, strict=True)])
    canvas.paint(lobes, foliage * 0.72, material="foliage", part="leaf", owner="forest edge", shade="flat")
    for _ in range(int(rng.integers(0, 5))):
        x0, width = rng.uniform(-0.1, 0.95) * side, rng.uniform(0.12, 0.26) * side
        foot = horizon + rng.uniform(0.02, 0.1) * side
        grow = one_of(rng, (bush, bush, grass_tuft, rock))
        grow(canvas, x0, foot - rng.uniform(0.07, 0.13) * side, x0 + width, foot, np.full(3, 0.85 * dim))
    if rng.random() < 0.3:
        _light_shafts(canvas, (1.0, 0.96, 0.75), horizon + 0.15 * side, 0.16)
    return horizon


def _trunks(
    canvas: Canvas, horizon: float, count: int, widths: tuple[float, float], colour: np.ndarray, near: bool
) -> None:
    """Trunks that reach from the ground out of the picture; near ones are thicker and stand lower."""
    rng, side = canvas.rng, canvas.side
    x = side * (np.arange(count) + rng.uniform(0.0, 1.0, count)) / count
    half = side * rng.uniform(*widths, count)
    foot = horizon + (rng.uniform(0.0, 0.06, count) * side if near else rng.uniform(0.5, 4, count))
    lean = rng.normal(0, 2.5, count)
    trunks, roots = [], []
    for a, w, y, d in zip(x, half, foot, lean, strict=True):
        trunks.append(
            polygon(
                (a - 0.75 * w + d, -2),
                (a + 0.75 * w + d, -2),
                (a + w, y - 2 * w),
                (a + 1.7 * w, y),
                (a - 1.7 * w, y),
                (a - w, y - 2 * w),
            )
        )
        roots.append(ellipse(a, y, 2.2 * w, 0.7 * w, corners=12))
    style: dict[str, Any] = {"material": "wood", "part": "trunk", "owner": "forest edge"}
    if not near:
        canvas.paint(union(trunks), colour, shade="flat", **style)
        return
    canvas.paint(union(roots), (0, 0, 0), shade="flat", opacity=0.3, soft=1.5, labelled=False)
    for trunk in trunks:
        canvas.paint(trunk, vary(rng, colour), shade="upright", depth=0.8, **style)
    if float(colour.mean()) > 0.55:  # a birch: dark scars
        scars = rectangles(
            np.array(
                [
                    (
                        a - 0.6 * w + d * (1 - b / y),
                        b,
                        a + w * rng.uniform(-0.2, 0.5) + d * (1 - b / y),
                        b + 2.2,
                    )
                    for a, w, y, d in zip(x, half, foot, lean, strict=True)
                    for b in rng.uniform(0, horizon - 6, 6)
                ]
            )
        )
        canvas.paint(scars, (0.12, 0.11, 0.10), shade="flat", opacity=0.8, labelled=False)


def _light_shafts(canvas: Canvas, colour: Colour, foot: float, opacity: float) -> None:
    """Slanting beams of light."""
    rng, side = canvas.rng, canvas.side
    slant = rng.uniform(-0.3, 0.3) * side
    beams = []
    for x in rng.uniform(0, side, 3):
        width = rng.uniform(0.04, 0.09) * side
        beams.append(polygon((x, -2), (x + width, -2), (x + slant + 2 * width, foot), (x + slant, foot)))
    canvas.paint(union(beams), colour, shade="linear", depth=0.6, opacity=opacity, soft=4, labelled=False)


def mountain(canvas: Canvas) -> float:
    """Peaks behind foothills, in summer or winter; meadow, scree, snow or a lake in front."""
    rng, side = canvas.rng, canvas.side
    horizon = rng.uniform(0.48, 0.62) * side
    sky = pieces.day_sky(canvas, horizon)
    stone = vary(
        rng, one_of(rng, ((0.45, 0.47, 0.56), (0.55, 0.48, 0.46), (0.38, 0.44, 0.50), (0.60, 0.44, 0.40)))
    )
    snow = mix(np.array((0.94, 0.96, 1.0)) * sky.light, sky.far, 0.1) if rng.random() < 0.75 else None
    height = rng.uniform(0.3, 0.46) * side
    if rng.random() < 0.6:
        pieces.ridge(
            canvas, horizon, 0.7 * height, mix(stone * sky.light, sky.far, 0.65), "rock", roughness=0.6
        )
    pieces.mountains(canvas, horizon, height, mix(stone * sky.light, sky.far, 0.25), snow)
    wood = vary(rng, one_of(rng, ((0.20, 0.36, 0.24), (0.30, 0.42, 0.22), (0.50, 0.40, 0.18)))) * sky.light
    if rng.random() < 0.7:
        pieces.forest_edge(
            canvas, horizon, rng.uniform(0.06, 0.12) * side, mix(wood, sky.far, 0.2), rng.random() < 0.7
        )
    else:
        pieces.ridge(canvas, horizon, 0.12 * side, mix(wood, sky.far, 0.25), "grass")
    grounds: tuple[tuple[str, Colour], ...] = (
        ("grass", (0.40, 0.52, 0.22)),
        ("grass", (0.58, 0.56, 0.28)),
        ("rock", (0.52, 0.48, 0.44)),
        ("snow", (0.90, 0.93, 0.97)),
        ("earth", (0.50, 0.40, 0.30)),
    )
    material, colour = one_of(rng, grounds)
    ground = vary(rng, colour) * sky.light
    canvas.ground(horizon, ground, material, haze=mix(ground, sky.far, 0.5))
    if rng.random() < 0.25:  # a lake at the foot of the hills
        shore = horizon + rng.uniform(0.06, 0.12) * side
        t = np.linspace(0, 1, 18)
        edge = np.stack([-4 + (side + 8) * t, shore + 5 * np.sin(rng.uniform(0, 6) + 6 * t)], 1)
        lake = Shape((np.concatenate([[(side + 4, horizon), (-4, horizon)], edge]),), (True,))
        canvas.paint(
            lake, mix(sky.far, vary(rng, (0.25, 0.45, 0.55)), 0.6), material="water", owner="water", depth=0.5
        )
    for y in near_rows(rng, int(rng.integers(0, 6)), horizon + 0.1 * side, side * 0.9):
        x, size = rng.uniform(-0.1, 1) * side, rng.uniform(0.3, 0.9) * (8 + 0.35 * (y - horizon))
        grow = one_of(rng, (rock, rock, grass_tuft) if material != "snow" else (rock,))
        grow(canvas, x, y - size, x + 1.6 * size, y, sky.light)
    return horizon


def desert(canvas: Canvas) -> float:
    """Dunes, mesas or cracked flats in yellow, red, white or grey, with cacti and rocks."""
    rng, side = canvas.rng, canvas.side
    horizon = rng.uniform(0.4, 0.56) * side
    sky = pieces.day_sky(canvas, horizon)
    sands = (
        (0.88, 0.68, 0.40),
        (0.82, 0.48, 0.30),
        (0.92, 0.84, 0.68),
        (0.72, 0.58, 0.46),
        (0.90, 0.76, 0.50),
    )
    sand = vary(rng, one_of(rng, sands)) * sky.light
    if rng.random() < 0.5:
        red = vary(rng, one_of(rng, ((0.70, 0.40, 0.28), (0.62, 0.46, 0.38), sand))) * sky.light
        pieces.mesas(canvas, horizon, rng.uniform(0.14, 0.26) * side, mix(red, sky.far, 0.3))
    else:
        pieces.ridge(canvas, horizon, 0.2 * side, mix(sand * 0.75, sky.far, 0.4), "sand", roughness=0.3)
    _dunes(canvas, horizon, rng.uniform(0.05, 0.13) * side, mix(sand, sky.far, 0.12))
    flats = rng.random()
    material = "sand" if flats < 0.75 else "earth"
    canvas.ground(
        horizon,
        sand,
        material,
        texture="cracked" if flats > 0.82 else "",
        second=sand * 0.55,
        haze=mix(sand, sky.far, 0.5),
    )
    if flats < 0.6:
        _ripples(canvas, horizon, sand)
    for y in near_rows(rng, int(rng.integers(0, 5)), horizon + 3, horizon + 0.3 * side):
        near = 1 + 2.2 * (y - horizon) / side
        x, height = rng.uniform(0, 1) * side, rng.uniform(0.12, 0.24) * side * near
        canvas.shadow(x, y, 0.22 * height, 0.04 * height, 0.4)
        width = rng.uniform(0.5, 0.8) * height if rng.random() < 0.75 else 0.25 * height
        cactus(canvas, x - width / 2, y - height, x + width / 2, y, sky.light)
    for y in near_rows(rng, int(rng.integers(0, 4)), horizon + 0.08 * side, 0.95 * side):
        x, size = rng.uniform(-0.1, 1) * side, rng.uniform(0.4, 1) * (6 + 0.25 * (y - horizon))
        canvas.shadow(x + 0.8 * size, y, 0.9 * size, 0.2 * size, 0.4)
        rock(canvas, x, y - size, x + 1.7 * size, y, sky.light)
    return horizon


def _dunes(canvas: Canvas, foot: float, height: float, colour: np.ndarray) -> None:
    """Crescents of sand with one flank in shadow."""
    rng, side = canvas.rng, canvas.side
    sign = 1 if float(canvas.light[0]) < 0 else -1
    bodies, shades = [], []
    for x in rng.uniform(0, side, 3):
        half, h = rng.uniform(0.25, 0.5) * side, height * rng.uniform(0.6, 1.2)
        bodies.append(
            polygon(
                (x - half, foot + 2),
                (x - 0.4 * half, foot - 0.55 * h),
                (x, foot - h),
                (x + 0.4 * half, foot - 0.5 * h),
                (x + half, foot + 2),
            )
        )
        shades.append(
            polygon(
                (x, foot - h),
                (x + sign * 0.4 * half, foot - 0.5 * h),
                (x + sign * half, foot + 2),
                (x + sign * 0.35 * half, foot + 2),
                (x + sign * 0.1 * half, foot - 0.5 * h),
            )
        )
    canvas.paint(union(bodies), colour, material="sand", owner="hill", depth=0.2)
    canvas.paint(union(shades), colour * 0.45, shade="flat", opacity=0.4, soft=0.6, labelled=False)


def _ripples(canvas: Canvas, horizon: float, colour: np.ndarray) -> None:
    """Long curved ripples in the sand."""
    rng, side = canvas.rng, canvas.side
    y = horizon + (side - horizon) * np.linspace(0.08, 1.0, 9) ** 1.5 * rng.uniform(0.9, 1.05)
    bow, t = rng.uniform(-0.05, 0.05) * side, np.linspace(0, 1, 16)
    lines = []
    for row in y:
        near = (row - horizon) / (side - horizon)
        wavy = row + near * (bow * np.sin(math.pi * t) + 4 * np.sin(rng.uniform(0, 6) + 11 * t))
        x, thick = (
            -4 + (side + 8) * t,
            (0.5 + 2.0 * near) * (0.4 + 0.6 * np.sin(9 * t + rng.uniform(0, 6)) ** 2),
        )
        lines.append(
            Shape((np.concatenate([np.stack([x, wavy], 1), np.stack([x, wavy + thick], 1)[::-1]]),), (True,))
        )
    canvas.paint(union(lines), colour * 0.5, shade="flat", opacity=0.4, soft=0.8, labelled=False)
