"""What several scenes are built from: skies, hills, windows.

- `Sky`, `day_sky`: the sky at some time of day, and the light it throws on everything below
- `hill_line`, `ridge`, `mountains`, `forest_edge`, `mesas`: what closes off the view
- `window`, `picture`: what hangs on a room's wall
- `mix`, `near_rows`: small helpers

    >>> sky = day_sky(canvas, horizon)
    >>> ridge(canvas, horizon, 20, mix(green * sky.light, sky.far, 0.4), "foliage", "hill")

All coordinates are canvas pixels, y down. `foot` is the line that a thing stands on.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..canvas import Canvas
from ..palette import Colour, pick, vary
from ..props import CLOTH_COLOURS, one_of, pattern, rectangles, union
from ..shapes import Shape, ellipse, polygon, rectangle

# Time of day: colour of the sky above, at the horizon, of clouds, and of the light on the ground.
SKIES: dict[str, tuple[Colour, Colour, Colour, Colour]] = {
    "day": ((0.25, 0.50, 0.88), (0.70, 0.85, 0.97), (1.00, 1.00, 1.00), (1.00, 1.00, 1.00)),
    "summer": ((0.30, 0.68, 0.82), (0.88, 0.95, 0.86), (1.00, 0.99, 0.94), (1.06, 1.04, 0.94)),
    "overcast": ((0.60, 0.64, 0.70), (0.80, 0.82, 0.84), (0.90, 0.91, 0.93), (0.84, 0.86, 0.90)),
    "storm": ((0.30, 0.34, 0.42), (0.62, 0.66, 0.68), (0.50, 0.52, 0.57), (0.66, 0.70, 0.76)),
    "sunset": ((0.32, 0.30, 0.60), (0.98, 0.60, 0.35), (1.00, 0.72, 0.60), (1.02, 0.82, 0.68)),
    "dawn": ((0.50, 0.60, 0.85), (0.98, 0.82, 0.75), (1.00, 0.90, 0.88), (1.00, 0.92, 0.90)),
    "dusk": ((0.22, 0.22, 0.46), (0.78, 0.52, 0.60), (0.62, 0.46, 0.60), (0.72, 0.66, 0.82)),
    "golden": ((0.62, 0.62, 0.62), (0.99, 0.86, 0.52), (1.00, 0.93, 0.76), (1.06, 0.94, 0.74)),
}
USUAL = ("day", "day", "summer", "overcast", "storm", "sunset", "dawn", "dusk", "golden")


@dataclass(frozen=True)
class Sky:
    """kind: a key of SKIES. far: the colour that distance fades into. light: multiplies colours on the ground."""

    kind: str
    far: np.ndarray
    light: np.ndarray


def mix(a: Colour, b: Colour, share: float) -> np.ndarray:
    """`share` of b in a."""
    return np.asarray(a, np.float32) * (1 - share) + np.asarray(b, np.float32) * share


def near_rows(rng: np.random.Generator, count: int, top: float, bottom: float) -> np.ndarray:
    """Random y of `count` things lying on the ground, more of them (as seen) far away; far ones come first."""
    return top + (bottom - top) * np.sort(rng.random(count)) ** 1.6


def _cumulus(rng: np.random.Generator, x: float, y: float, width: float) -> Shape:
    """A heap of puffs on a flat base, centre of the base at (x, y)."""
    count = int(rng.integers(4, 7))
    along = np.linspace(-0.5, 0.5, count)
    radius = width * rng.uniform(0.11, 0.17, count) * (1.5 - 2 * np.abs(along))
    puffs = [
        ellipse(x + a * width, y - 0.6 * r, 1.35 * r, r, corners=14)
        for a, r in zip(along, radius, strict=True)
    ]
    return union([*puffs, ellipse(x, y, 0.62 * width, 0.05 * width, corners=18)])


def day_sky(canvas: Canvas, horizon: float, kinds: Sequence[str] = USUAL) -> Sky:
    """Paint the sky at one of the given times of day, with veils and heaps of cloud and at times the sun."""
    rng, side = canvas.rng, canvas.side
    kind = one_of(rng, kinds)
    above, below, cloud, light = SKIES[kind]
    far = vary(rng, below)
    top = vary(rng, above)
    # Thin veils only: dense ones would show the cloud tile's hard threshold. Heaps of cloud are painted below.
    canvas.sky(top, far, horizon, rng.uniform(0.0, 0.35), cloud)
    if kind not in ("overcast", "storm") and rng.random() < 0.35:
        x, y = rng.uniform(0.1, 0.9) * side, rng.uniform(0.12, 0.75) * horizon
        canvas.glow(x, y, rng.uniform(0.1, 0.2) * side, 0.22 * (1 - far) + 0.05 * np.asarray(light))
        radius = rng.uniform(0.03, 0.06) * side
        canvas.paint(
            ellipse(x, y, radius, radius),
            mix(cloud, (1.0, 0.96, 0.75), 0.6),
            owner="sun",
            material="sky",
            shade="flat",
            soft=1.0,
        )
    for _ in range(int(rng.integers(0, 3))):
        x, y, width = (
            rng.uniform(0, 1) * side,
            rng.uniform(0.2, 0.8) * horizon,
            rng.uniform(0.15, 0.42) * side,
        )
        canvas.paint(
            _cumulus(rng, x, y, width),
            cloud,
            owner="cloud",
            material="cloud",
            depth=0.3,
            opacity=0.9,
            soft=width * 0.035,
        )
    return Sky(kind, far, np.asarray(light, np.float32))


# ---- hills and woods ---------------------------------------------------------------------------------------------


def hill_line(rng: np.random.Generator, roughness: float, points: int) -> np.ndarray:
    """A random skyline in [0, 1]: sines of doubling frequency, each weaker than the last by `roughness`."""
    t = np.linspace(0, 1, points)[None]
    octave = np.arange(6)[:, None]
    phase = rng.uniform(0, 2 * math.pi, (6, 1))
    z = (
        roughness**octave * np.sin(2 * math.pi * rng.uniform(0.7, 1.3, (6, 1)) * 2.0**octave * t + phase)
    ).sum(0)
    return (z - z.min()) / (z.max() - z.min() + 1e-9)


def _veiled(
    canvas: Canvas, shape: Shape, colour: Colour, contrast: float, material: str, owner: str, **style: Any
) -> None:
    """Paint something far away: its material's grain is weak, as if seen through air (contrast 0 … 1)."""
    canvas.paint(shape, colour, shade="flat", labelled=False, owner=owner)
    canvas.paint(shape, colour, material=material, owner=owner, opacity=contrast, **style)


def _down_to(top: np.ndarray, foot: float) -> Shape:
    """The area between a line, (n, 2) from left to right, and the horizontal y = foot."""
    return Shape((np.concatenate([top, [(top[-1, 0], foot), (top[0, 0], foot)]]),), (True,))


def ridge(
    canvas: Canvas,
    foot: float,
    height: float,
    colour: Colour,
    material: str,
    owner: str = "hill",
    *,
    roughness: float = 0.42,
    texture: str = "",
    second: Colour | None = None,
) -> None:
    """A range of hills along the horizon."""
    x = np.linspace(-3, canvas.side + 3, 60)
    top = np.stack([x, foot - height * (0.15 + 0.85 * hill_line(canvas.rng, roughness, 60))], 1)
    _veiled(
        canvas,
        _down_to(top, foot + 4),
        colour,
        0.45,
        material,
        owner,
        texture=texture,
        second=second,
        depth=0.8,
    )


def mountains(canvas: Canvas, foot: float, height: float, colour: Colour, snow: Colour | None) -> None:
    """Peaks with a lit and a shaded flank, snow-capped when a colour of snow is given."""
    rng, side = canvas.rng, canvas.side
    count = int(rng.integers(2, 5))
    centre = side * (np.arange(count) + rng.uniform(0.1, 0.9, count)) / count
    tall = height * rng.uniform(0.6, 1.0, count)
    tall[rng.integers(count)] = height
    half = tall * rng.uniform(0.8, 1.25, count)
    left_lit = float(canvas.light[0]) < 0
    body, shade, caps = [], [], []
    for x, h, w in zip(centre, tall, half, strict=True):
        t = np.linspace(0, 1, 9)
        rugged = 0.04 * h * rng.normal(0, 1, (2, 9)) * np.sin(math.pi * t)
        left = np.stack([x - w * t[::-1], foot - h * t + rugged[0]], 1)
        right = np.stack([x + w * t, foot - h * (1 - t) + rugged[1]], 1)
        body.append(_down_to(np.concatenate([left, right]), foot + 3))
        # The line between the flanks staggers down from the summit.
        spine = np.stack([x + w * 0.10 * np.cumsum(rng.normal(0, 1, 9)) * t, foot - h * (1 - t)], 1)
        spine[0, 0] = x
        flank = right if left_lit else left[::-1]
        shade.append(Shape((np.concatenate([spine, flank[::-1]]),), (True,)))
        low = rng.uniform(0.25, 0.45)
        line = np.linspace(-1, 1, 9)
        drip = low * h * (1 + 0.35 * rng.uniform(-1, 1, 9) + 0.25 * np.cos(math.pi * 4 * line))
        drip[[0, -1]] = 0.9 * low * h
        edge = np.stack([x + line * w * low * 1.0, foot - h + np.maximum(drip, np.abs(line) * low * h)], 1)
        caps.append(Shape((np.concatenate([edge, [right[1], (x, foot - h), left[-2]]]),), (True,)))
    _veiled(canvas, union(body), colour, 0.5, "rock", "hill", depth=0.5)
    if snow is not None:
        canvas.paint(union(caps), snow, material="snow", owner="hill", shade="flat")
    canvas.paint(union(shade), (0.10, 0.12, 0.25), shade="flat", opacity=0.28, labelled=False)


def forest_edge(canvas: Canvas, foot: float, height: float, colour: Colour, spiky: bool) -> None:
    """A wood far away, seen as one mass: a scalloped or saw-toothed top."""
    rng, side = canvas.rng, canvas.side
    bumps = int(rng.integers(16, 30)) if spiky else int(rng.integers(8, 15))
    t = np.linspace(0, 1, bumps * 6 + 1)
    phase = (t * bumps + 0.3 * np.sin(9 * t)) % 1
    shape = 1 - np.abs(2 * phase - 1) if spiky else np.sqrt(np.abs(np.sin(math.pi * phase)))
    size = rng.uniform(0.5, 1.0, bumps + 2)[(t * bumps).astype(int)]
    base = 0.45 + 0.3 * hill_line(rng, 0.4, len(t))
    top = np.stack([-3 + (side + 6) * t, foot - height * np.minimum(base + 0.35 * shape * size, 1.1)], 1)
    _veiled(canvas, _down_to(top, foot + 3), colour, 0.45, "foliage", "forest edge", depth=1.0)


def mesas(canvas: Canvas, foot: float, height: float, colour: Colour) -> None:
    """Flat-topped rocks of the desert, in bands."""
    rng, side = canvas.rng, canvas.side
    rocks, bands = [], []
    for _ in range(int(rng.integers(1, 4))):
        x, half, h = rng.uniform(0, 1) * side, rng.uniform(0.06, 0.2) * side, height * rng.uniform(0.5, 1)
        rocks.append(
            polygon(
                (x - 1.5 * half, foot + 3),
                (x - half, foot - 0.55 * h),
                (x - 0.9 * half, foot - h),
                (x + 0.85 * half, foot - h),
                (x + half, foot - 0.5 * h),
                (x + 1.6 * half, foot + 3),
            )
        )
        bands += [
            rectangle(x - 0.95 * half, foot - q * h, x + 0.9 * half, foot - (q - 0.07) * h)
            for q in (0.9, 0.68)
        ]
    _veiled(canvas, union(rocks), colour, 0.6, "rock", "rock", depth=0.6)
    canvas.paint(union(bands), (0.25, 0.1, 0.1), shade="flat", opacity=0.25, labelled=False)


# ---- rooms -------------------------------------------------------------------------------------------------------


def window(canvas: Canvas, x: float, y: float, width: float, height: float, dark: bool) -> None:
    """A window with a view of hills under the sky, bars, a sill and often curtains; dark: at night."""
    rng = canvas.rng
    frame = pick(rng, ("white", "white", "brown", "black", "green", "blue"))
    border = 4.5
    canvas.paint(
        rectangle(x - border, y - border, x + width + border, y + height + border)
        + rectangle(
            x - 2 * border, y + height + 0.6 * border, x + width + 2 * border, y + height + 2 * border
        ),
        frame,
        material="metal",
        part="window frame",
        owner="window",
        depth=0.25,
    )
    above, _, _, light = SKIES[one_of(rng, USUAL)]
    sky, land = (
        ((0.06, 0.08, 0.20), (0.04, 0.09, 0.09))
        if dark
        else (mix(above, (1, 1, 1), 0.35), (0.36, 0.52, 0.24))
    )
    style: dict[str, Any] = {"material": "glass", "part": "window pane", "owner": "window"}
    canvas.paint(rectangle(x, y, x + width, y + height), vary(rng, sky), shade="linear", depth=-0.5, **style)
    t = np.linspace(0, 1, 14)
    hills = np.stack([x + width * t, y + height * (0.85 - 0.35 * hill_line(rng, 0.4, 14))], 1)
    canvas.paint(_down_to(hills, y + height), vary(rng, land) * np.asarray(light), shade="flat", **style)
    bars = rectangle(x + width / 2 - 1.6, y, x + width / 2 + 1.6, y + height)
    if rng.random() < 0.6:
        bars += rectangle(x, y + 0.45 * height - 1.6, x + width, y + 0.45 * height + 1.6)
    canvas.paint(bars, frame, material="metal", part="window frame", owner="window", shade="flat")
    if rng.random() < 0.6:
        drape = 0.26 * width + 6
        cloth, texture = pick(rng, CLOTH_COLOURS), pattern(rng, 0.5)
        low = y + height * rng.uniform(1.0, 1.35)
        halves = rectangle(x - 10, y - 8, x - 10 + drape, low) + rectangle(
            x + width + 10 - drape, y - 8, x + width + 10, low
        )
        canvas.paint(halves, cloth, material="fabric", texture=texture, owner="curtain", depth=0.3)
        folds = np.concatenate(
            [x - 10 + drape * np.array([0.3, 0.68]), x + width + 10 - drape * np.array([0.3, 0.68])]
        )
        shade = np.stack([folds - 1.3, y - 8 + 0 * folds, folds + 1.3, low + 0 * folds], 1)
        canvas.paint(rectangles(shade), cloth * 0.3, shade="flat", opacity=0.35, labelled=False)
        rod = rectangle(x - 14, y - 10, x + width + 14, y - 7)
        canvas.paint(
            rod, pick(rng, ("brown", "black", "yellow")), material="wood", owner="curtain", shade="flat"
        )


def picture(canvas: Canvas, x: float, y: float, width: float, height: float) -> None:
    """A framed picture, abstract."""
    rng = canvas.rng
    outer = rectangle(x, y, x + width, y + height)
    border = max(2.5, 0.1 * min(width, height))
    canvas.paint(
        outer,
        pick(rng, ("brown", "black", "yellow", "white")),
        material="wood",
        part="frame",
        owner="picture",
        depth=0.2,
    )
    canvas.paint(
        rectangle(x + border, y + border, x + width - border, y + height - border),
        pick(rng),
        material="paper",
        texture=pattern(rng, 0.85),
        owner="picture",
        depth=0.1,
    )
