"""Things in the foreground that can hide part of the main object.

- `OCCLUDERS`: name → `Occluder` (how it is drawn, whether it is tall, the scenes that it fits)
- `for_place`: the names of the occluders that fit a scene

    >>> name = for_place("meadow")[0]
    >>> OCCLUDERS[name].draw(canvas, 20, 120, 90, 196)       # roughly fills x 20 … 90, y 120 … 196

To add one, write a drawer in `props` and add a row to the table.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from .canvas import Canvas
from .palette import Colour
from .props import WHITE, bush, cactus, fence, grass_tuft, post, rock, seaweed, wave
from .props_indoors import bottle, box, curtain, tabletop


class Drawer(Protocol):
    """Draws something that roughly fills a rectangle of the canvas, its foot at y1."""

    def __call__(
        self, canvas: Canvas, x0: float, y0: float, x1: float, y1: float, tint: Colour = WHITE
    ) -> None: ...


@dataclass(frozen=True)
class Occluder:
    """A row of the table: the drawer, whether it may reach from bottom to top only, and the scenes that it fits."""

    draw: Drawer
    tall: bool
    where: tuple[str, ...]


_LAND = ("street", "beach", "meadow", "forest", "mountain", "desert", "night city")
_ROOMS = ("living room", "kitchen")

# A name that is also in the vocabulary can be left out of images by that name.
OCCLUDERS: dict[str, Occluder] = {
    "bush": Occluder(bush, False, ("street", "meadow", "forest", "mountain", "night city")),
    "rock": Occluder(rock, False, ("beach", "meadow", "forest", "mountain", "desert", "sea", "underwater")),
    "grass tuft": Occluder(grass_tuft, False, ("beach", "meadow", "forest", "mountain")),
    "post": Occluder(post, True, (*_LAND, "sea")),
    "fence": Occluder(fence, False, ("street", "meadow", "mountain", "beach", "night city")),
    "cactus": Occluder(cactus, True, ("desert",)),
    "wave": Occluder(wave, False, ("sea",)),
    "seaweed": Occluder(seaweed, True, ("underwater",)),
    "curtain": Occluder(curtain, True, _ROOMS),
    "bottle": Occluder(bottle, True, _ROOMS),
    "box": Occluder(box, False, _ROOMS),
    "table": Occluder(tabletop, False, _ROOMS),
}


def for_place(scene: str) -> tuple[str, ...]:
    """The names of the occluders that fit a scene, in the order of the table; none for an unknown scene."""
    return tuple(name for name, occluder in OCCLUDERS.items() if scene in occluder.where)
