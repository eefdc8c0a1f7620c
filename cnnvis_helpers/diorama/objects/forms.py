"""Forms that several objects share.

- `rounded`: a polygon with rounded corners
- `brush`: a stroke through points with round ends
- `above`: a shape cut off flat at its foot
- `tinted`, `lighter`: a colour made darker or brighter, or mixed with white
- `union`: many shapes as one
- `LIVERIES`: patterns that a painted vehicle can wear
- `glass`: the colour of a window pane
- `wheels`, `eyes`: the same on every vehicle, on every animal

    >>> pane = rounded((0, 0), (0.3, 0), (0.3, 0.2), (0, 0.2), radius=0.05)
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from ..palette import Colour, vary
from ..shapes import Point, Shape, ellipse, polygon, polyline
from .pen import Pen

LIVERIES = ("striped", "dotted", "checkered", "zigzag", "grid")


def union(shapes: Iterable[Shape]) -> Shape:
    """All shapes as one, painted in one go: for strokes of the same colour, material and part."""
    shapes = list(shapes)
    polygons = tuple(p for shape in shapes for p in shape.polygons)
    return Shape(polygons, tuple(s for shape in shapes for s in shape.solid))


def rounded(*points: Point, radius: float) -> Shape:
    """The polygon through the points with its corners rounded (less where an edge is short)."""
    corner = np.array(points, dtype=float)
    to_last, to_next = np.roll(corner, 1, 0) - corner, np.roll(corner, -1, 0) - corner

    def along(edge: np.ndarray) -> np.ndarray:
        length = np.hypot(edge[:, 0], edge[:, 1])[:, None] + 1e-9
        return corner + edge / length * np.minimum(radius, 0.45 * length)

    start, end = along(to_last)[:, None], along(to_next)[:, None]
    t = np.linspace(0, 1, 5)[None, :, None]
    curve = (1 - t) ** 2 * start + 2 * t * (1 - t) * corner[:, None] + t**2 * end
    return polygon(*curve.reshape(-1, 2))


def brush(points: Sequence[Point], width: float, end_width: float | None = None) -> Shape:
    """Strokes through the points with round joints and round ends."""
    end_width = width if end_width is None else end_width
    ends = ellipse(*points[0], width / 2, width / 2, corners=12)
    ends += ellipse(*points[-1], end_width / 2, end_width / 2, corners=12)
    return polyline(points, width, end_width) + ends


def above(shape: Shape, floor: float) -> Shape:
    """The shape with everything below `floor` pushed up to it."""
    return shape.moved(lambda points: np.maximum(points, (-np.inf, floor)))


def tinted(colour: Colour, factor: float) -> np.ndarray:
    """The colour, `factor` times as bright."""
    return np.clip(np.asarray(colour, np.float32) * np.float32(factor), 0, 1)


def lighter(colour: Colour, share: float) -> np.ndarray:
    """The colour mixed with `share` of white."""
    colour = np.asarray(colour, np.float32)
    return colour + (1 - colour) * np.float32(share)


def glass(pen: Pen) -> np.ndarray:
    """The colour of a pane: mostly dark, sometimes it mirrors the sky."""
    return vary(pen.rng, (0.24, 0.36, 0.47) if pen.chance(0.65) else (0.72, 0.84, 0.92))


def wheels(pen: Pen, centres: Sequence[Point], radius: float, hub: Colour | None = None) -> None:
    """Tyres with hub caps, one keypoint each."""
    hub = vary(pen.rng, (0.72, 0.73, 0.77)) if hub is None else hub

    def discs(share: float) -> Shape:
        return union(ellipse(x, y, share * radius, share * radius) for x, y in centres)

    pen.fill(discs(1.0), vary(pen.rng, (0.1, 0.1, 0.11)), "rubber", "wheel", shade="round", depth=0.4)
    pen.fill(discs(0.58), hub, "metal", "wheel", depth=0.7)
    pen.fill(discs(0.2), (0.2, 0.2, 0.22), "metal", "wheel", shade="flat")
    for x, y in centres:
        pen.keypoint("wheel", x, y)


def eyes(pen: Pen, centres: Sequence[Point], radius: float, iris: Colour, pupil: tuple[float, float]) -> None:
    """Eyes with pupils (`pupil`: width and height as shares of the eye) and a glint, one keypoint each."""

    def discs(rx: float, ry: float, dx: float = 0.0, dy: float = 0.0) -> Shape:
        return union(ellipse(x + dx, y + dy, rx * radius, ry * radius, corners=16) for x, y in centres)

    pen.fill(discs(1.0, 1.05), iris, "", "eye", shade="flat")
    pen.fill(discs(*pupil), (0.03, 0.03, 0.04), "", "eye", shade="flat")
    glint = discs(0.26, 0.26, -0.3 * radius, 0.36 * radius)
    pen.fill(glint, (1, 1, 1), "", "eye", shade="flat")
    for x, y in centres:
        pen.keypoint("eye", x, y)
