"""The kitchen: `kitchen` fills the canvas and returns the y from which things can stand."""

from __future__ import annotations

import numpy as np

from ..canvas import Canvas
from ..palette import Colour, pick, vary
from ..props import CLOTH_COLOURS, one_of, pattern, rectangles, union
from ..props_indoors import bottle
from ..shapes import ellipse, polygon, rectangle, ring
from . import pieces
from .indoors import PASTELS, ROOM_LIGHTS, WOODS, boards, tiles
from .pieces import mix


def kitchen(canvas: Canvas) -> float:
    """A fitted kitchen: seen whole with its floor, or close up, where things stand on the worktop."""
    rng, side = canvas.rng, canvas.side
    light = vary(rng, one_of(rng, ROOM_LIGHTS)) * 1.05
    close = rng.random() < 0.45
    worktop = (rng.uniform(0.52, 0.62) if close else rng.uniform(0.34, 0.4)) * side
    tile = mix((0.95, 0.94, 0.91), pick(rng, PASTELS), rng.uniform(0.2, 0.7)) * light
    tiled = rng.random() < 0.75
    canvas.paint(
        rectangle(-2, -2, side + 2, worktop + 4),
        tile,
        material="tile" if tiled else "plaster",
        texture=pattern(rng, 0.3, ("checkered",)) if tiled else "",
        second=tile * 0.8,
        owner="wall",
        depth=0.25,
    )
    paint = pick(rng, ("brown", "white", "blue", "green", "red", "grey", "yellow", "pink", "orange", "white"))
    wooden = rng.random() < 0.35
    fronts = (vary(rng, one_of(rng, WOODS)) if wooden else mix(paint, (0.9, 0.9, 0.88), 0.25)) * light
    material = "wood" if wooden else "ceramic"  # lacquer shines like glaze
    metal = pick(rng, ("grey", "white", "black", "yellow"))
    low = (rng.uniform(0.17, 0.24) if close else rng.uniform(0.1, 0.15)) * side
    stove = rng.uniform(0.1, 0.65) * side  # left edge of stove and hood
    _upper_wall(canvas, low, worktop, stove, fronts, material, metal, light)
    if close:
        _worktop_plane(canvas, worktop, light)
        _on_worktop(canvas, worktop, 0.2 * side, light)
        return worktop
    floor = worktop + rng.uniform(0.2, 0.25) * side
    _floor_of_kitchen(canvas, floor, light)
    _lower_cabinets(canvas, worktop, floor, stove, fronts, material, metal, light)
    _on_worktop(canvas, worktop, 0.13 * side, light)
    if rng.random() < 0.45:
        _fridge(canvas, one_of(rng, (-0.04 * side, 0.76 * side)), 0.1 * side, floor + 4, light)
    return floor


def _doors(
    canvas: Canvas,
    edges: np.ndarray,
    top: float,
    bottom: float,
    colour: np.ndarray,
    material: str,
    metal: Colour,
    handles_low: bool,
) -> None:
    """A row of cabinet doors between consecutive x, each with a groove and a handle."""
    canvas.paint(
        rectangle(float(edges[0]), top - 1, float(edges[-1]), bottom + 1),
        colour,
        material=material,
        part="cabinet door",
        owner="cupboard",
        depth=0.25,
    )
    boxes = np.stack(
        [edges[:-1], np.full(len(edges) - 1, top), edges[1:], np.full(len(edges) - 1, bottom)], 1
    )
    inset = np.array([6.0, 6.0, -6.0, -6.0])
    gaps = np.stack([edges - 1.0, np.full_like(edges, top), edges + 1.0, np.full_like(edges, bottom)], 1)
    lines = rectangles(boxes + inset) - rectangles(boxes + inset * 1.3) + rectangles(gaps)
    lines += rectangle(float(edges[0]), bottom - 1, float(edges[-1]), bottom + 1)
    canvas.paint(lines, colour * 0.4, shade="flat", opacity=0.65, labelled=False)
    y = bottom - 7.5 if handles_low else top + 7.5
    middle = (edges[:-1] + edges[1:]) / 2
    handles = np.stack(
        [middle - 6, np.full_like(middle, y - 1.4), middle + 6, np.full_like(middle, y + 1.4)], 1
    )
    canvas.paint(rectangles(handles), metal, material="metal", part="handle", owner="cupboard", shade="flat")


def _upper_wall(
    canvas: Canvas,
    low: float,
    worktop: float,
    stove: float,
    fronts: np.ndarray,
    material: str,
    metal: Colour,
    light: np.ndarray,
) -> None:
    """What hangs above the worktop: cabinets and a hood, a shelf with jars, or a window."""
    rng, side = canvas.rng, canvas.side
    kind = rng.random()
    if kind < 0.6:
        width = rng.uniform(0.2, 0.27) * side
        edges = np.arange(rng.uniform(-0.2, 0) * side, side + width, width)
        _doors(canvas, edges, -4, low, fronts, material, metal, True)
        canvas.paint(
            rectangle(-2, low + 1, side + 2, low + 5),
            (0, 0, 0),
            shade="flat",
            opacity=0.25,
            soft=1.5,
            labelled=False,
        )
        if rng.random() < 0.5:  # a hood over the stove
            x, w = stove, 0.24 * side
            hood = polygon((x, low + 10), (x + w, low + 10), (x + 0.72 * w, low - 8), (x + 0.28 * w, low - 8))
            hood += rectangle(x + 0.3 * w, -2, x + 0.7 * w, low - 6) + rectangle(x, low + 9, x + w, low + 13)
            steel = vary(rng, (0.72, 0.74, 0.76)) * light
            canvas.paint(hood, steel, material="metal", owner="cupboard", shade="upright", depth=0.5)
    elif kind < 0.85:
        height = worktop - 0.16 * side
        width = rng.uniform(0.26, 0.4) * side
        pieces.window(
            canvas, rng.uniform(0.08, 0.5) * side, 0.07 * side, width, max(0.16 * side, 0.75 * height), False
        )
    else:
        y = low + 0.04 * side
        canvas.paint(
            rectangle(-2, y, side + 2, y + 5),
            vary(rng, one_of(rng, WOODS)) * light,
            material="wood",
            owner="cupboard",
            shade="flat",
        )
        for x in np.arange(0.04, 0.95, 0.2) * side + rng.uniform(0, 0.08, 5) * side:
            height = rng.uniform(0.1, 0.17) * side
            bottle(canvas, x, y - height, x + rng.uniform(0.06, 0.11) * side, y, light)


def _worktop_plane(canvas: Canvas, top: float, light: np.ndarray) -> None:
    """The worktop seen from close by, in perspective, with the upstand behind it."""
    rng, side = canvas.rng, canvas.side
    kinds = (
        ("wood", WOODS),
        ("plaster", ((0.62, 0.60, 0.58), (0.40, 0.40, 0.42), (0.75, 0.72, 0.68))),
        ("ceramic", ((0.92, 0.91, 0.88), (0.30, 0.30, 0.33), (0.78, 0.66, 0.54), (0.52, 0.62, 0.60))),
    )
    material, colours = one_of(rng, kinds)
    colour = vary(rng, one_of(rng, colours)) * light
    texture = pattern(rng, 0.6, ("marbled", "speckled", "speckled")) if material == "ceramic" else ""
    second = mix(colour, one_of(rng, ((0.15, 0.15, 0.15), (0.95, 0.95, 0.93), (0.5, 0.3, 0.2))), 0.6)
    canvas.ground(top, colour, material, owner="counter", texture=texture, second=second, scale=0.8)
    canvas.paint(
        rectangle(-2, top - 5, side + 2, top + 1),
        np.minimum(colour * 1.2, 1),
        material=material,
        owner="counter",
        shade="flat",
    )
    canvas.paint(
        rectangle(-2, top + 1, side + 2, top + 8),
        (0, 0, 0),
        shade="flat",
        opacity=0.22,
        soft=2,
        labelled=False,
    )


def _floor_of_kitchen(canvas: Canvas, top: float, light: np.ndarray) -> None:
    """Tiles, most often chequered, or boards."""
    rng = canvas.rng
    if rng.random() < 0.25:
        wood = vary(rng, one_of(rng, WOODS)) * light
        canvas.ground(top, wood, "wood", owner="floor", scale=0.7)
        boards(canvas, top, wood)
        return
    tiles(canvas, top, light)


def _lower_cabinets(
    canvas: Canvas,
    top: float,
    floor: float,
    stove: float,
    fronts: np.ndarray,
    material: str,
    metal: Colour,
    light: np.ndarray,
) -> None:
    """Cabinets under a worktop, with an oven among them."""
    rng, side = canvas.rng, canvas.side
    width = rng.uniform(0.17, 0.24) * side
    edges = np.arange(rng.uniform(-0.15, 0) * side, side + width, width)
    _doors(canvas, edges, top + 6, floor - 5, fronts, material, metal, False)
    canvas.paint(
        rectangle(-2, floor - 5, side + 2, floor + 2),
        (0.12, 0.11, 0.11),
        material="wood",
        owner="cupboard",
        shade="flat",
    )
    # The oven: a pale front, knobs above a dark window.
    w = 0.24 * side
    enamel = vary(rng, one_of(rng, ((0.92, 0.92, 0.90), (0.70, 0.72, 0.74), (0.20, 0.20, 0.22)))) * light
    canvas.paint(
        rectangle(stove, top, stove + w, floor - 2), enamel, material="metal", owner="cupboard", depth=0.2
    )
    glass = rectangle(stove + 0.12 * w, top + 0.4 * (floor - top), stove + 0.88 * w, floor - 8)
    canvas.paint(glass, vary(rng, (0.14, 0.13, 0.15)), material="glass", owner="cupboard", depth=0.6)
    bar = rectangle(
        stove + 0.12 * w, top + 0.31 * (floor - top), stove + 0.88 * w, top + 0.31 * (floor - top) + 2.4
    )
    canvas.paint(bar, metal, material="metal", part="handle", owner="cupboard", shade="flat")
    knobs = union(
        [
            ellipse(stove + q * w, top + 0.19 * (floor - top), 2.2, 2.2, corners=10)
            for q in (0.2, 0.4, 0.6, 0.8)
        ]
    )
    canvas.paint(
        knobs,
        (0.12, 0.12, 0.13) if float(enamel.mean()) > 0.4 else (0.85, 0.85, 0.85),
        material="metal",
        part="knob",
        owner="cupboard",
        shade="flat",
    )
    slab = vary(rng, one_of(rng, (*WOODS, (0.86, 0.85, 0.82), (0.25, 0.25, 0.27)))) * light
    canvas.paint(
        rectangle(-2, top - 2, side + 2, top + 6), slab, material="ceramic", owner="counter", shade="flat"
    )
    plates = union([ellipse(stove + q * w, top - 2, 0.17 * w, 1.6, corners=12) for q in (0.27, 0.73)])
    canvas.paint(plates, (0.10, 0.10, 0.10), material="metal", owner="counter", shade="flat")


def _fridge(canvas: Canvas, x: float, top: float, foot: float, light: np.ndarray) -> None:
    """A tall refrigerator with two doors."""
    rng, side = canvas.rng, canvas.side
    colour = (pick(rng, CLOTH_COLOURS) if rng.random() < 0.45 else vary(rng, (0.90, 0.91, 0.91))) * light
    width = 0.28 * side
    canvas.paint(rectangle(x, top, x + width, foot), colour, material="metal", owner="cupboard", depth=0.25)
    gap = top + 0.34 * (foot - top)
    lines = rectangles(
        np.array(
            [[x, gap, x + width, gap + 2], [x, top, x + 1.5, foot], [x + width - 1.5, top, x + width, foot]]
        )
    )
    canvas.paint(lines, colour * 0.4, shade="flat", opacity=0.7, labelled=False)
    edge = x + 0.12 * width if x > 0.5 * side else x + 0.84 * width
    handles = rectangles(np.array([[edge, gap - 22, edge + 3, gap - 6], [edge, gap + 8, edge + 3, gap + 34]]))
    canvas.paint(handles, (0.75, 0.76, 0.78), material="metal", part="handle", owner="cupboard", shade="flat")


def _on_worktop(canvas: Canvas, top: float, height: float, light: np.ndarray) -> None:
    """Bottles and jars at the back of the worktop, and at times a tap."""
    rng, side = canvas.rng, canvas.side
    for _ in range(int(rng.integers(0, 4))):
        x, h = rng.uniform(0, 0.95) * side, height * rng.uniform(0.6, 1.1)
        width = h * rng.uniform(0.3, 0.4) if rng.random() < 0.6 else h * rng.uniform(0.55, 0.7)
        bottle(canvas, x, top + 2 - h, x + width, top + 2, light)
    if rng.random() < 0.4:
        x = rng.uniform(0.1, 0.85) * side
        radius, y = 0.32 * height, top - 0.55 * height
        arc = ring(x + radius, y, radius, 3.4) - rectangle(x - 2, y, x + 2 * radius + 2, y + radius + 2)
        spout = rectangle(x, y - 0.5, x + 3.4, top + 2) + rectangle(
            x + 2 * radius - 3.4, y - 0.5, x + 2 * radius, y + 5
        )
        steel = vary(rng, (0.74, 0.76, 0.78)) * light
        canvas.paint(
            arc + spout + rectangle(x - 4, top - 2, x + 8, top + 2),
            steel,
            material="metal",
            part="tap",
            owner="counter",
            shade="flat",
        )
