"""Outlines that can be painted: polygons with holes, composed with `+` and `-`.

- `Shape`: a union of filled polygons and holes, painted in order
- `polygon`, `rectangle`, `ellipse`, `spline`, `stroke`, `polyline`, `ring`: makers of shapes

    >>> rim = ellipse(0, 0.5, 0.3, 0.3) - ellipse(0, 0.5, 0.25, 0.25)

Coordinates are (x, y) pairs in whatever frame the painter uses: objects use their own (x to the right, y up, the
foot at 0 and the top at about 1), scenes use canvas pixels (y down).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

Point = tuple[float, float]


@dataclass(frozen=True)
class Shape:
    """Polygons painted in order: `solid[i]` says whether polygon i fills or cuts a hole."""

    polygons: tuple[np.ndarray, ...]
    solid: tuple[bool, ...]

    def __add__(self, other: Shape) -> Shape:
        """Union of the two: `other` is painted after `self`, its holes included."""
        return Shape(self.polygons + other.polygons, self.solid + other.solid)

    def __sub__(self, other: Shape) -> Shape:
        """`self` with all polygons of `other` cut out."""
        return Shape(self.polygons + other.polygons, self.solid + (False,) * len(other.polygons))

    def moved(self, where: Callable[[np.ndarray], np.ndarray]) -> Shape:
        """The shape with `where` applied to every (n, 2) array of corners."""
        return Shape(tuple(where(p) for p in self.polygons), self.solid)


def _one(points: np.ndarray) -> Shape:
    return Shape((points,), (True,))


def polygon(*points: Point) -> Shape:
    """The polygon through the given corners."""
    return _one(np.array(points, dtype=float))


def rectangle(x0: float, y0: float, x1: float, y1: float) -> Shape:
    """The axis-parallel rectangle between two corners."""
    return polygon((x0, y0), (x1, y0), (x1, y1), (x0, y1))


def ellipse(x: float, y: float, rx: float, ry: float, angle: float = 0.0, corners: int = 26) -> Shape:
    """An ellipse with centre (x, y), radii rx and ry, turned by `angle` radians."""
    t = np.linspace(0, 2 * np.pi, corners, endpoint=False)
    c, s = math.cos(angle), math.sin(angle)
    u, v = rx * np.cos(t), ry * np.sin(t)
    return _one(np.stack([x + u * c - v * s, y + u * s + v * c], 1))


def spline(*points: Point, steps: int = 5) -> Shape:
    """A smooth closed outline through the points (uniform Catmull-Rom spline)."""
    p1 = np.array(points, dtype=float)[:, None]  # (n, 1, 2): one segment from each point to the next
    p0, p2, p3 = np.roll(p1, 1, 0), np.roll(p1, -1, 0), np.roll(p1, -2, 0)
    t = np.linspace(0, 1, steps, endpoint=False)[None, :, None]
    curve = (
        2 * p1 + (p2 - p0) * t + (2 * p0 - 5 * p1 + 4 * p2 - p3) * t**2 + (3 * p1 - p0 - 3 * p2 + p3) * t**3
    )
    return _one(0.5 * curve.reshape(-1, 2))


def stroke(a: Point, b: Point, width: float, end_width: float | None = None) -> Shape:
    """A straight stroke from a to b, as wide as `width` at a and `end_width` at b."""
    end_width = width if end_width is None else end_width
    dx, dy = b[0] - a[0], b[1] - a[1]
    length = math.hypot(dx, dy) + 1e-9
    nx, ny = -dy / length / 2, dx / length / 2
    return polygon(
        (a[0] + nx * width, a[1] + ny * width),
        (b[0] + nx * end_width, b[1] + ny * end_width),
        (b[0] - nx * end_width, b[1] - ny * end_width),
        (a[0] - nx * width, a[1] - ny * width),
    )


def polyline(points: Sequence[Point], width: float, end_width: float | None = None) -> Shape:
    """Strokes joined at round corners; the width changes evenly from the first to the last point."""
    end_width = width if end_width is None else end_width
    widths = np.linspace(width, end_width, len(points))
    shape = stroke(points[0], points[1], widths[0], widths[1])
    for i in range(1, len(points) - 1):
        shape += ellipse(*points[i], widths[i] / 2, widths[i] / 2, corners=10)
        shape += stroke(points[i], points[i + 1], widths[i], widths[i + 1])
    return shape


def ring(x: float, y: float, radius: float, width: float) -> Shape:
    """A circle's outline, `width` wide inwards."""
    return ellipse(x, y, radius, radius) - ellipse(x, y, radius - width, radius - width)
