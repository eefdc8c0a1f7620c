"""The places of Diorama: what fills an image before anything stands in it.

- `PLACES`: scene name → `Place`
- `Place`: the drawing function and what the composer must know

    >>> horizon = PLACES["meadow"].draw(canvas)     # every pixel is painted and labelled now

To add a scene, write `def moor(canvas: Canvas) -> float` in one of the modules here: it fills the canvas and returns
the y from which things can stand, downwards. Then add its name to `vocabulary.SCENES` and a row below.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..canvas import Canvas
from . import indoors, outdoors, town, waterside
from .kitchen import kitchen


@dataclass(frozen=True)
class Place:
    """A row of the table of places.

    draw: fills the canvas, returns the y of the line where things can start to stand. indoors: nothing flies.
    water: things stand in water. under_water: they float in it. night: what is added must be darkened.
    ground_owner: the object label of what things stand on.
    """

    draw: Callable[[Canvas], float]
    ground_owner: str = "ground"
    indoors: bool = False
    water: bool = False
    under_water: bool = False
    night: bool = False


PLACES: dict[str, Place] = {
    "street": Place(town.street, "road"),
    "beach": Place(waterside.beach),
    "meadow": Place(outdoors.meadow),
    "forest": Place(outdoors.forest),
    "mountain": Place(outdoors.mountain),
    "desert": Place(outdoors.desert),
    "sea": Place(waterside.sea, "water", water=True),
    "underwater": Place(waterside.underwater, water=True, under_water=True),
    "living room": Place(indoors.living_room, "floor", indoors=True),
    "kitchen": Place(kitchen, "floor", indoors=True),
    "night city": Place(town.night_city, "road", night=True),
}
