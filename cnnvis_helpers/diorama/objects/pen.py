"""The pen that objects are drawn with, in their own coordinates.

- `Pen`: fills shapes and notes keypoints in an object's frame
- `Kind`: what the composer must know of a kind of object
- `fitted`: lets a function draw at any size and place; the drawing is then moved and scaled into the frame

An object's frame: the foot at (0, 0), y UP, the top at about y = 1, x to the right, centred on 0. So a
drawing function knows nothing of where, how large, or which way round it will stand:

    def mushroom(pen: Pen) -> None:
        pen.fill(rectangle(-0.1, 0, 0.1, 0.6), pick(pen.rng, ["white"]), "plant", "stem", shade="upright")
        cap = ellipse(0, 0.65, 0.4, 0.3)
        pen.fill(cap, pick(pen.rng, ["red"]), "skin", "crown", texture="dotted", shade="round")

Unless mirrored, objects that have a front look to the left.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..canvas import SUPERSAMPLING, Canvas
from ..palette import Colour
from ..shapes import Shape
from ..vocabulary import TEXTURES


@dataclass
class Pen:
    """Draws one object: `foot` and `height` in canvas pixels, `mirrored` faces right, `angle` in radians.

    flying: the object is in the air (a bird spreads its wings).
    """

    canvas: Canvas
    foot: tuple[float, float]
    height: float
    mirrored: bool = False
    angle: float = 0.0
    flying: bool = False
    keypoints: dict[str, list[tuple[float, float]]] = field(default_factory=dict)

    @property
    def rng(self) -> np.random.Generator:
        """The canvas' generator: every random choice of an object comes from it."""
        return self.canvas.rng

    def between(self, low: float, high: float) -> float:
        """A random number in [low, high)."""
        return low + (high - low) * float(self.rng.random())

    def chance(self, probability: float) -> bool:
        """True with the given probability."""
        return float(self.rng.random()) < probability

    def choose(self, *options: Any) -> Any:
        """One of the options, each equally likely (repeat one to favour it)."""
        return options[int(self.rng.integers(len(options)))]

    def pattern(self, probability: float, *names: str) -> str:
        """With the given probability one of the named textures (of all, when none is named), otherwise ""."""
        return self.choose(*(names or TEXTURES)) if self.chance(probability) else ""

    def to_canvas(self, points: np.ndarray) -> np.ndarray:
        """(n, 2) points of the object's frame → canvas pixels."""
        x = -points[:, 0] if self.mirrored else points[:, 0]
        y = points[:, 1]
        c, s = math.cos(self.angle) * self.height, math.sin(self.angle) * self.height
        return np.stack([self.foot[0] + x * c - y * s, self.foot[1] - x * s - y * c], 1)

    def fill(self, shape: Shape, colour: Colour, material: str = "", part: str = "", **style: Any) -> None:
        """`Canvas.paint` in the object's frame; `style` is passed on (texture, second, shade, depth …)."""
        self.canvas.paint(shape.moved(self.to_canvas), colour, material=material, part=part, **style)

    def glow(self, x: float, y: float, radius: float, colour: Colour) -> None:
        """`Canvas.glow` in the object's frame."""
        px, py = self.to_canvas(np.array([[x, y]]))[0]
        self.canvas.glow(float(px), float(py), radius * self.height, colour)

    def keypoint(self, name: str, x: float, y: float) -> None:
        """Note a named point of the object; a name can occur more than once (two wheels).

        Stored in pixels of the finished image.
        """
        px, py = self.to_canvas(np.array([[x, y]]))[0] / SUPERSAMPLING
        self.keypoints.setdefault(name, []).append((float(px), float(py)))


Drawing = Callable[[Pen], None]
Placing = Callable[[np.ndarray], np.ndarray]


class _Draft(Pen):
    """A pen that only notes what it is asked to draw."""

    def __init__(self, pen: Pen) -> None:
        super().__init__(pen.canvas, pen.foot, pen.height, flying=pen.flying)
        self.outlines: list[np.ndarray] = []
        self.steps: list[Callable[[Pen, Placing, float], None]] = []  # (pen, place, scale)

    def fill(self, shape: Shape, colour: Colour, material: str = "", part: str = "", **style: Any) -> None:
        if style.get("labelled", True):
            self.outlines += [p for p, solid in zip(shape.polygons, shape.solid, strict=True) if solid]
        self.steps.append(lambda pen, place, _: pen.fill(shape.moved(place), colour, material, part, **style))

    def glow(self, x: float, y: float, radius: float, colour: Colour) -> None:
        def step(pen: Pen, place: Placing, scale: float) -> None:
            ((px, py),) = place(np.array([[x, y]]))
            pen.glow(px, py, radius * scale, colour)

        self.steps.append(step)

    def keypoint(self, name: str, x: float, y: float) -> None:
        def step(pen: Pen, place: Placing, _: float) -> None:
            ((px, py),) = place(np.array([[x, y]]))
            pen.keypoint(name, px, py)

        self.steps.append(step)

    def finish(self, pen: Pen) -> None:
        """Draw it all with `pen`, moved and scaled to stand on 0, be 1 high and be centred on x = 0."""
        corners = np.concatenate(self.outlines)
        low, high = corners.min(0), corners.max(0)
        scale = 1 / float(high[1] - low[1])
        origin = np.array([(low[0] + high[0]) / 2, low[1]])
        for step in self.steps:
            step(pen, lambda points: (points - origin) * scale, scale)


def fitted(draw: Drawing) -> Drawing:
    """`draw`, but whatever its limbs do, its labelled strokes stand on 0, are 1 high and centred on x = 0.

    So every pose fills its frame and the composer can trust it. Only moved and scaled, so wheels stay round.
    """

    @functools.wraps(draw)
    def drawn(pen: Pen) -> None:
        draft = _Draft(pen)
        draw(draft)
        draft.finish(pen)

    return drawn


@dataclass(frozen=True)
class Kind:
    """A row of the table of objects.

    aspect: width over height, about. where: the scenes it belongs to (a name given twice is twice as likely).
    stands: "ground", "air", "water" (swims in it) or "afloat" (on the surface).
    """

    draw: Drawing
    aspect: float
    where: tuple[str, ...]
    stands: str = "ground"
