"""Places in a town: `street` by day, `night_city`. Each fills the canvas and returns the y from which things stand.

- `facades`, `skyline`, `street_lamp`: what they are built from
"""

from __future__ import annotations

import numpy as np

from ..canvas import Canvas
from ..palette import Colour, pick, vary
from ..props import CLOTH_COLOURS, bush, one_of, rectangles, union
from ..shapes import Shape, ellipse, polygon, rectangle, stroke
from . import pieces
from .pieces import Sky, mix

_WALLS: dict[str, tuple[Colour, ...]] = {
    "brick": ((0.58, 0.30, 0.22), (0.66, 0.44, 0.32), (0.46, 0.36, 0.34)),
    "plaster": (
        (0.92, 0.90, 0.84),
        (0.93, 0.80, 0.50),
        (0.86, 0.60, 0.55),
        (0.62, 0.74, 0.80),
        (0.68, 0.78, 0.62),
    ),
    "metal": ((0.40, 0.48, 0.55), (0.30, 0.42, 0.46), (0.55, 0.52, 0.50)),
}


def skyline(canvas: Canvas, foot: float, colour: Colour) -> None:
    """Towers so far away that they are one silhouette."""
    rng, side = canvas.rng, canvas.side
    x = np.arange(-4, side + 4, 12) + rng.uniform(-3, 3, len(np.arange(-4, side + 4, 12)))
    width, top = rng.uniform(9, 20, len(x)), foot * (1 - rng.uniform(0.1, 0.85, len(x)) ** 1.5)
    towers = rectangles(np.stack([x, top, x + width, foot + 0 * x + 3], 1))
    antenna = int(np.argmin(top))
    towers += rectangle(x[antenna] + 5, top[antenna] - 9, x[antenna] + 6.5, top[antenna])
    canvas.paint(towers, colour, material="plaster", owner="building", shade="flat")


def _window_boxes(
    rng: np.random.Generator, x0: float, y0: float, x1: float, y1: float, style: str
) -> np.ndarray:
    """The windows of one facade, (n, 4) boxes, row by row."""
    columns = {"grid": int(rng.integers(2, 5)), "ribbon": 1, "columns": int(rng.integers(3, 6))}[style]
    pitch = (x1 - x0) / columns
    # Windows never get so small that they flicker at the final size.
    tall = max(
        9.0, {"grid": pitch * rng.uniform(0.95, 1.4), "ribbon": 11.0, "columns": 0.45 * (y1 - y0)}[style]
    )
    rows = max(1, int((y1 - y0) / tall))
    fill_x, fill_y = {"grid": (0.56, 0.60), "ribbon": (0.86, 0.5), "columns": (0.5, 0.84)}[style]
    column, row = np.meshgrid(np.arange(columns), np.arange(rows))
    x = x0 + pitch * (column.ravel() + (1 - fill_x) / 2)
    y = y0 + tall * (row.ravel() + 0.35 * (1 - fill_y))
    return np.stack([x, y, x + pitch * fill_x, y + tall * fill_y], 1)


def facades(canvas: Canvas, foot: float, light: Colour, *, night: bool = False) -> None:
    """A row of town buildings with flat tops; by day some have shops with awnings, at night lit windows."""
    rng, side = canvas.rng, canvas.side
    unlit: list[np.ndarray] = []  # dark windows of all buildings, painted in one stroke
    x = -rng.uniform(0, 0.15) * side
    while x < side - 6:
        width = rng.uniform(0.24, 0.42) * side
        top = foot * (1 - (rng.uniform(0.35, 0.9) if night else rng.uniform(0.42, 0.95)))
        material = one_of(rng, tuple(_WALLS))
        colour = vary(rng, one_of(rng, _WALLS[material])) * np.asarray(light, np.float32)
        body = rectangle(x, top, x + width, foot + 3)
        crown = rng.random()
        if crown < 0.3:  # a parapet
            body += rectangle(x - 1.5, top - 2, x + width + 1.5, top + 4)
        elif crown < 0.55:  # set back above
            body += rectangle(x + 0.22 * width, top - 9, x + 0.78 * width, top)
        elif crown < 0.65:
            body += rectangle(x + 0.62 * width, top - 14, x + 0.66 * width, top)
        canvas.paint(body, colour, material=material, owner="building", depth=0.25)
        shop = not night and rng.random() < 0.35 and foot - top > 40
        style = one_of(rng, ("grid", "grid", "grid", "ribbon", "columns"))
        lowest = foot - (26 if shop else 6)
        boxes = _window_boxes(rng, x + 0.06 * width, top + 6, x + 0.94 * width, lowest, style)
        if night:
            lit = rng.random(len(boxes)) < rng.uniform(0.3, 0.7)
            glow = one_of(rng, ((1.0, 0.84, 0.45), (1.0, 0.92, 0.70), (0.75, 0.90, 1.0), (1.0, 0.66, 0.35)))
            unlit.append(boxes[~lit])
            boxes, pane = boxes[lit], vary(rng, glow)
        else:
            glass = vary(rng, one_of(rng, ((0.30, 0.42, 0.52), (0.70, 0.80, 0.86), (0.20, 0.25, 0.32))))
            pane = glass * np.asarray(light, np.float32)
        if len(boxes):
            canvas.paint(
                rectangles(boxes),
                pane,
                material="glass",
                owner="building",
                part="building window",
                shade="flat" if night else "linear",
                depth=0.4,
            )
        if shop:
            _shop(canvas, x + 0.08 * width, x + 0.92 * width, foot, light)
        x += width + (rng.uniform(0.02, 0.1) * side if rng.random() < 0.3 else 0)
    if sum(map(len, unlit)):
        canvas.paint(
            rectangles(np.concatenate(unlit)),
            (0.10, 0.12, 0.19),
            material="glass",
            owner="building",
            part="building window",
            shade="flat",
        )


def _shop(canvas: Canvas, x0: float, x1: float, foot: float, light: Colour) -> None:
    """A shop window under a striped awning."""
    rng = canvas.rng
    canvas.paint(
        rectangle(x0, foot - 17, x1, foot - 3),
        vary(rng, (0.35, 0.42, 0.46)) * np.asarray(light),
        material="glass",
        owner="building",
        part="building window",
        depth=0.5,
    )
    colour = pick(rng, CLOTH_COLOURS) * np.asarray(light, np.float32)
    lower = 12 * rng.uniform(0.9, 1.2)
    awning = polygon((x0, foot - 23), (x1, foot - 23), (x1 + 3, foot - lower), (x0 - 3, foot - lower))
    canvas.paint(awning, colour, material="fabric", owner="building", shade="linear", depth=0.4)
    stripes = int(max(2, (x1 - x0) // 8))
    step = (x1 - x0) / stripes / 2
    white = [
        polygon((x, foot - 23), (x + step, foot - 23), (x + step, foot - lower), (x, foot - lower))
        for x in x0 + step * (0.5 + 2 * np.arange(stripes))
    ]
    canvas.paint(
        union(white),
        np.asarray(light) * 0.93,
        material="fabric",
        texture="striped",
        second=np.asarray(light) * 0.93,
        owner="building",
        shade="flat",
    )


def street_lamp(canvas: Canvas, x: float, foot: float, height: float, lit: bool) -> None:
    """A thin lamp post: upright with a lantern, or with an arm over the road."""
    rng = canvas.rng
    top = foot - height
    width = max(2.4, 0.022 * height)
    iron = pick(rng, ("black", "grey", "green")) * 0.7
    pole = stroke((x, foot), (x, top), 1.4 * width, width) + rectangle(
        x - 1.6 * width, foot - 5, x + 1.6 * width, foot
    )
    armed = rng.random() < 0.5
    reach = (0.2 * height if rng.random() < 0.5 else -0.2 * height) if armed else 0.0
    if armed:
        pole += stroke((x, top), (x + reach, top - 2), width)
    canvas.paint(pole, iron, material="metal", owner="street lamp", shade="flat")
    bulb = ellipse(x + reach, top + (1 if armed else -2), 4.5, 2.6 if armed else 4.5, corners=14)
    canvas.paint(
        bulb,
        (1.0, 0.95, 0.75) if lit else (0.86, 0.88, 0.86),
        material="glass",
        owner="street lamp",
        shade="flat",
    )
    if lit:
        canvas.glow(x + reach, top + 0.2 * height, 0.2 * canvas.side, (0.34, 0.27, 0.13))


def _kerb_and_road(canvas: Canvas, horizon: float, sky: Sky, tarmac: np.ndarray) -> None:
    """A road across the view: pavement, kerb, tarmac and its markings."""
    rng, side = canvas.rng, canvas.side
    stone = vary(rng, one_of(rng, ((0.62, 0.59, 0.55), (0.70, 0.58, 0.48), (0.52, 0.53, 0.56)))) * sky.light
    kerb = horizon + rng.uniform(0.06, 0.16) * side
    material = one_of(rng, ("stone", "tile", "plaster"))
    canvas.ground(horizon, stone, material, owner="floor", bottom=kerb + 3, haze=sky.far)
    canvas.ground(kerb, tarmac, "asphalt", owner="road", scale=0.6)
    # Asphalt's grain, undiminished so near, would be speckle: half of it goes.
    canvas.paint(rectangle(-2, kerb, side + 2, side + 2), tarmac, shade="flat", opacity=0.5, labelled=False)
    canvas.paint(
        rectangle(-2, kerb - 2, side + 2, kerb + 2),
        np.minimum(stone * 1.2, 1),
        material="stone",
        owner="floor",
        shade="flat",
    )
    canvas.paint(
        rectangle(-2, kerb + 2, side + 2, kerb + 5),
        (0, 0, 0),
        shade="flat",
        opacity=0.3,
        soft=1,
        labelled=False,
    )
    paint_colour = (
        vary(rng, one_of(rng, ((0.90, 0.90, 0.86), (0.90, 0.90, 0.86), (0.92, 0.74, 0.22)))) * sky.light
    )
    y = kerb + rng.uniform(0.4, 0.7) * (side - kerb)
    if rng.random() < 0.25:  # a zebra crossing
        step = 0.11 * side
        x = rng.uniform(0.15, 0.55) * side + step * np.arange(4)
        bottom = side + 3
        stripes = [
            polygon(
                (a, kerb + 6),
                (a + 0.5 * step, kerb + 6),
                (mix([a], [side / 2], -0.5)[0] + 0.8 * step, bottom),
                (mix([a], [side / 2], -0.5)[0], bottom),
            )
            for a in x
        ]
    else:
        step = rng.uniform(0.22, 0.34) * side
        x = np.arange(-1, 6) * step + rng.uniform(0, 1) * step
        stripes = [
            polygon((a, y), (a + 0.55 * step, y), (a + 0.53 * step, y + 5), (a - 0.03 * step, y + 5))
            for a in x
        ]
    canvas.paint(union(stripes), paint_colour, material="asphalt", part="stripe", owner="road", shade="flat")


def _road_ahead(canvas: Canvas, horizon: float, sky: Sky, tarmac: np.ndarray) -> None:
    """A road that runs away from the viewer between two pavements or lawns."""
    rng, side = canvas.rng, canvas.side
    lawn = rng.random() < 0.4
    beside = (0.36, 0.52, 0.22) if lawn else one_of(rng, ((0.62, 0.59, 0.55), (0.70, 0.58, 0.48)))
    canvas.ground(
        horizon,
        vary(rng, beside) * sky.light,
        "grass" if lawn else one_of(rng, ("stone", "tile")),
        owner="floor",
        haze=sky.far,
    )
    vanishing = rng.uniform(0.25, 0.75) * side
    left, right = vanishing - rng.uniform(0.5, 0.8) * side, vanishing + rng.uniform(0.5, 0.8) * side
    top = horizon + 1
    road = polygon((vanishing - 7, top), (vanishing + 7, top), (right, side + 2), (left, side + 2))
    canvas.paint(road, tarmac, material="asphalt", owner="road", shade="linear", depth=-0.2)
    canvas.paint(
        road, tarmac, shade="flat", opacity=0.55, labelled=False
    )  # tames the grain, which is too coarse here

    def line_at(share: float, width: float, start: float, end: float) -> Shape:
        # `share` of the way from the left to the right edge of the road; start … end from the horizon to the viewer
        x0, x1 = mix([vanishing - 7], [vanishing + 7], share)[0], mix([left], [right], share)[0]
        return stroke(
            (x0 + (x1 - x0) * start, top + (side - top) * start),
            (x0 + (x1 - x0) * end, top + (side - top) * end),
            width * start + 0.6,
            width * end + 0.6,
        )

    edges = line_at(0.0, 9, 0, 1.02) + line_at(1.0, 9, 0, 1.02)
    canvas.paint(edges, sky.light * 0.75, material="stone", owner="floor", shade="flat")
    dashes = [line_at(0.5, 8, d, 1.45 * d) for d in (0.09, 0.18, 0.34, 0.66)]
    canvas.paint(
        union(dashes), sky.light * 0.9, material="asphalt", part="stripe", owner="road", shade="flat"
    )


def street(canvas: Canvas) -> float:
    """A street in a town: facades with windows and shops, pavement, road, at times a street lamp or hedges."""
    rng, side = canvas.rng, canvas.side
    horizon = rng.uniform(0.46, 0.6) * side
    sky = pieces.day_sky(canvas, horizon)
    if rng.random() < 0.3:
        skyline(canvas, horizon, mix(vary(rng, (0.45, 0.48, 0.56)) * sky.light, sky.far, 0.5))
    facades(canvas, horizon, sky.light)
    tarmac = vary(rng, one_of(rng, ((0.33, 0.33, 0.36), (0.44, 0.43, 0.42), (0.30, 0.33, 0.40)))) * sky.light
    layout = rng.random()
    if layout < 0.5:
        _kerb_and_road(canvas, horizon, sky, tarmac)
    elif layout < 0.82:
        _road_ahead(canvas, horizon, sky, tarmac)
    else:  # a paved square
        stone = (
            vary(rng, one_of(rng, ((0.62, 0.58, 0.52), (0.66, 0.45, 0.36), (0.54, 0.56, 0.60)))) * sky.light
        )
        canvas.ground(horizon, stone, one_of(rng, ("stone", "brick", "tile")), owner="road", haze=sky.far)
    foot = horizon + 0.04 * side
    for _ in range(int(rng.integers(0, 3)) if rng.random() < 0.4 else 0):
        x, width = rng.uniform(0, 0.9) * side, rng.uniform(0.1, 0.3) * side
        bush(canvas, x, foot - rng.uniform(0.05, 0.09) * side, x + width, foot, sky.light * 0.9)
    if rng.random() < 0.4:
        street_lamp(canvas, rng.uniform(0.05, 0.95) * side, foot + 2, rng.uniform(0.3, 0.46) * side, False)
    return horizon


def night_city(canvas: Canvas) -> float:
    """A town at night: lit windows, lamps and signs, their light on the road; never too dark to see by."""
    rng, side = canvas.rng, canvas.side
    horizon = rng.uniform(0.46, 0.6) * side
    skies: tuple[tuple[Colour, Colour], ...] = (
        ((0.04, 0.05, 0.16), (0.24, 0.18, 0.34)),
        ((0.03, 0.08, 0.16), (0.12, 0.28, 0.36)),
        ((0.08, 0.05, 0.14), (0.46, 0.24, 0.22)),
        ((0.05, 0.08, 0.22), (0.22, 0.26, 0.50)),
    )
    above, below = one_of(rng, skies)
    far = vary(rng, below)
    canvas.sky(vary(rng, above), far, horizon, rng.uniform(0, 0.4), mix(far, (0.5, 0.5, 0.6), 0.4))
    stars = rng.random((24, 3)) * (side, 0.6 * horizon, 1)
    canvas.paint(
        union([ellipse(x, y, 0.6 + 0.7 * q, 0.6 + 0.7 * q, corners=6) for x, y, q in stars]),
        (0.95, 0.95, 0.85),
        shade="flat",
        opacity=0.8,
        labelled=False,
    )
    if rng.random() < 0.45:
        x, y, radius = (
            rng.uniform(0.1, 0.9) * side,
            rng.uniform(0.1, 0.35) * side,
            rng.uniform(0.035, 0.06) * side,
        )
        moon: Shape = ellipse(x, y, radius, radius)
        if rng.random() < 0.5:
            moon = moon - ellipse(x + 0.5 * radius, y - 0.2 * radius, 0.9 * radius, 0.9 * radius)
        canvas.glow(x, y, 3 * radius, (0.16, 0.16, 0.2))
        canvas.paint(moon, (0.96, 0.94, 0.82), material="sky", owner="sun", shade="flat", soft=0.6)
    if rng.random() < 0.4:
        skyline(canvas, horizon, mix(far, (0.05, 0.06, 0.14), 0.45))
    facades(canvas, horizon, vary(rng, (0.42, 0.40, 0.54)), night=True)
    _neon_signs(canvas, horizon)
    wet = rng.random() < 0.5
    tarmac = vary(rng, one_of(rng, ((0.22, 0.22, 0.28), (0.26, 0.22, 0.25), (0.17, 0.23, 0.30))))
    canvas.ground(
        horizon, tarmac, one_of(rng, ("asphalt", "asphalt", "stone")), owner="road", scale=0.6, haze=far
    )
    if wet:
        _reflections(canvas, horizon)
    if rng.random() < 0.5:
        level, step = horizon + rng.uniform(0.4, 0.65) * (side - horizon), 0.3 * side
        start = np.arange(-1, 4) * step + rng.uniform(0, 1) * step
        dashes = np.stack([start, level + 0 * start, start + 0.5 * step, level + 4 + 0 * start], 1)
        canvas.paint(
            rectangles(dashes),
            (0.5, 0.5, 0.48),
            material="asphalt",
            part="stripe",
            owner="road",
            shade="flat",
        )
    for _ in range(int(rng.integers(0, 3) * rng.random() + 0.5)):
        street_lamp(
            canvas, rng.uniform(0.05, 0.95) * side, horizon + 0.05 * side, rng.uniform(0.32, 0.5) * side, True
        )
    return horizon


def _neon_signs(canvas: Canvas, horizon: float) -> None:
    """A few bright plates on the facades."""
    rng, side = canvas.rng, canvas.side
    for _ in range(int(rng.integers(0, 4))):
        x, y = rng.uniform(0.05, 0.9) * side, rng.uniform(0.66, 0.86) * horizon
        width, height = (6.0, 26.0) if rng.random() < 0.5 else (rng.uniform(16, 30), 7.0)
        colour = pick(rng, ("red", "pink", "blue", "green", "yellow", "purple", "orange"))
        colour = np.minimum(colour * 1.2 + 0.08, 1)
        canvas.paint(
            rectangle(x, y, x + width, y + height), colour, owner="building", material="glass", shade="flat"
        )
        canvas.paint(
            rectangle(x - 5, y - 5, x + width + 5, y + height + 5),
            colour,
            shade="flat",
            opacity=0.28,
            soft=4,
            labelled=False,
        )


def _reflections(canvas: Canvas, horizon: float) -> None:
    """Lights mirrored in a wet road: soft upright streaks."""
    rng, side = canvas.rng, canvas.side
    for _ in range(2):
        x = rng.uniform(0, side, 4)
        length = rng.uniform(0.3, 0.8, 4) * (side - horizon)
        half = rng.uniform(1.5, 5, 4)
        streaks = np.stack([x - half, horizon + 2 + 0 * x, x + half, horizon + length], 1)
        colour = vary(rng, one_of(rng, ((1.0, 0.8, 0.4), (1.0, 0.5, 0.4), (0.5, 0.8, 1.0), (0.9, 0.5, 0.9))))
        canvas.paint(rectangles(streaks), colour, shade="flat", opacity=0.33, soft=2.5, labelled=False)
