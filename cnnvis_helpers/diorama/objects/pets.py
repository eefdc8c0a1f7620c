"""Pets: `cat`, `dog`.

Each is a function that draws one with a `Pen`, looking to the left (a cat looks at us):

    >>> cat(Pen(canvas, foot=(96, 150), height=70))
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..palette import pick, vary
from ..shapes import Point, Shape, ellipse, polygon, polyline, spline, stroke
from .forms import brush, eyes, lighter, rounded, tinted, union
from .pen import Pen, fitted

DARK = (0.04, 0.035, 0.03)
FUR = (
    (0.88, 0.55, 0.22),
    (0.17, 0.15, 0.16),
    (0.93, 0.90, 0.84),
    (0.52, 0.50, 0.49),
    (0.46, 0.30, 0.18),
    (0.78, 0.66, 0.50),
)


def _coat(pen: Pen, patterned: float, *patterns: str) -> tuple[np.ndarray, dict[str, Any]]:
    """The colour of a fur, and the style that goes with every stroke of it."""
    fur = vary(pen.rng, pen.choose(*FUR))
    marks = tinted(fur, 0.42) if fur.mean() > 0.3 else lighter(fur, 0.35)
    return fur, {"texture": pen.pattern(patterned, *patterns), "second": marks}


@fitted
def cat(pen: Pen) -> None:
    """A cat that sits facing us or stands sideways and looks at us; the tail is free."""
    fur, style = _coat(pen, 0.5, "striped", "striped", "speckled", "marbled")
    belly = lighter(fur, 0.65)
    tuxedo = pen.chance(0.4)
    if pen.chance(0.55):
        x = pen.between(-0.03, 0.03)
        rise = pen.between(0.12, 0.42)
        tail: list[Point] = [(0.15, 0.075), (0.38, 0.06), (0.53, 0.06 + 0.4 * rise), (0.52, 0.06 + rise)]
        pen.fill(brush(tail, 0.12, 0.085), tinted(fur, 0.9), "fur", "furry tail", **style)
        body = spline(
            (-0.2, 0), (0.2, 0), (0.29, 0.13), (0.22, 0.38), (0.12, 0.6), (-0.12, 0.6), (-0.22, 0.38),
            (-0.29, 0.13), steps=4,
        )  # fmt: skip
        pen.fill(body, fur, "fur", "furry body", shade="round", depth=0.55, **style)
        if tuxedo:
            pen.fill(ellipse(0, 0.42, 0.1, 0.17), belly, "fur", "furry body", depth=0.2)
        haunches = ellipse(-0.2, 0.1, 0.11, 0.105) + ellipse(0.2, 0.1, 0.11, 0.105)
        pen.fill(haunches, tinted(fur, 0.82), "fur", "furry leg", depth=0.5, **style)
        legs = stroke((-0.075, 0.36), (-0.085, 0.05), 0.105, 0.095) + stroke(
            (0.075, 0.36), (0.085, 0.05), 0.105, 0.095
        )
        pen.fill(legs, tinted(fur, 1.08), "fur", "furry leg", shade="upright", depth=0.3, **style)
        paws = ellipse(-0.092, 0.035, 0.068, 0.042) + ellipse(0.092, 0.035, 0.068, 0.042)
        pen.fill(paws, belly if tuxedo else lighter(fur, 0.12), "fur", "furry leg")
        head = (x, 0.755)
    else:
        sway = pen.between(-0.06, 0.1)
        tail = [(0.38, 0.5), (0.52, 0.58), (0.56, 0.78), (0.5 + sway, 0.95)]
        pen.fill(brush(tail, 0.12, 0.085), tinted(fur, 0.9), "fur", "furry tail", **style)
        step = pen.between(-0.06, 0.06)
        far = brush([(-0.16, 0.36), (-0.15 - step, 0.045)], 0.115, 0.09) + brush(
            [(0.28, 0.36), (0.27 + step, 0.045)], 0.12, 0.09
        )
        pen.fill(far, tinted(fur, 0.68), "fur", "furry leg", **style)
        body = spline(
            (-0.36, 0.38), (-0.33, 0.58), (0.05, 0.60), (0.38, 0.61), (0.47, 0.48), (0.4, 0.28),
            (0.05, 0.24), (-0.28, 0.25), steps=4,
        )  # fmt: skip
        pen.fill(body, fur, "fur", "furry body", shade="round", depth=0.55, **style)
        near = brush([(-0.27, 0.36), (-0.28 + step, 0.045)], 0.125, 0.095) + brush(
            [(0.37, 0.38), (0.39 - step, 0.045)], 0.14, 0.095
        )
        pen.fill(near, tinted(fur, 0.95), "fur", "furry leg", **style)
        if tuxedo:
            socks = ellipse(-0.29 + step, 0.045, 0.062, 0.045) + ellipse(0.38 - step, 0.045, 0.062, 0.045)
            pen.fill(socks, belly, "fur", "furry leg")
        head = (-0.33, 0.70)
    if pen.chance(0.35):
        collar = rounded(
            (head[0] - 0.15, head[1] - 0.23), (head[0] - 0.15, head[1] - 0.15),
            (head[0] + 0.15, head[1] - 0.15), (head[0] + 0.15, head[1] - 0.23), radius=0.04,
        )  # fmt: skip
        pen.fill(
            collar,
            pick(pen.rng, ["red", "blue", "pink", "green", "yellow"]),
            "leather",
            "collar",
            shade="flat",
        )
    _cat_head(pen, head, pen.between(0.94, 1.06), fur, style)
    pen.keypoint("tail tip", *tail[-1])


def _cat_head(pen: Pen, centre: Point, size: float, fur: np.ndarray, style: dict[str, Any]) -> None:
    """A cat's face from the front: pointed ears, slit pupils, muzzle, whiskers."""
    x, y = centre
    rx, ry = 0.25 * size, 0.205 * size
    sides = (-1, 1)

    def ear(s: int, *corners: Point) -> Shape:
        return polygon(*((x + s * a * rx, y + b * ry) for a, b in corners))

    outer = [ear(s, (0.98, 0.2), (0.88, 1.72), (0.1, 0.85)) for s in sides]
    inner = [ear(s, (0.83, 0.6), (0.79, 1.42), (0.36, 0.9)) for s in sides]
    pen.fill(union(outer), tinted(fur, 0.92), "fur", "ear", depth=0.2, **style)
    pen.fill(union(inner), (0.88, 0.55, 0.55), "skin", "ear", shade="flat")
    for s in sides:
        pen.keypoint("ear", x + s * rx * 0.8, y + ry * 1.3)
    pen.fill(ellipse(x, y, rx, ry), fur, "fur", "cat head", shade="round", depth=0.45, **style)
    muzzle = ellipse(x - 0.36 * rx, y - 0.46 * ry, rx * 0.4, ry * 0.34) + ellipse(
        x + 0.36 * rx, y - 0.46 * ry, rx * 0.4, ry * 0.34
    )
    pen.fill(muzzle, lighter(fur, 0.6), "fur", "cat head", shade="flat")
    iris = vary(pen.rng, pen.choose((0.62, 0.85, 0.22), (0.96, 0.80, 0.15), (0.35, 0.68, 0.92)))
    eyes(
        pen, [(x - 0.44 * rx, y + 0.14 * ry), (x + 0.44 * rx, y + 0.14 * ry)], 0.066 * size, iris, (0.42, 0.9)
    )
    whiskers = [
        stroke((x + s * rx * 0.3, y - ry * 0.42), (x + s * rx * 1.28, y - ry * (0.42 + tilt)), 0.013)
        for s in sides
        for tilt in (-0.2, 0.12)
    ]
    pen.fill(union(whiskers), lighter(fur, 0.8), shade="flat", opacity=0.75, labelled=False)
    across, down = (-0.34, -0.17, 0, 0.17, 0.34), (-0.56, -0.68, -0.5, -0.68, -0.56)
    mouth = polyline([(x + a * rx, y + d * ry) for a, d in zip(across, down, strict=True)], 0.014)
    pen.fill(mouth, tinted(fur, 0.3), "fur", "cat head", shade="flat")
    nose = polygon((x - 0.17 * rx, y - 0.16 * ry), (x + 0.17 * rx, y - 0.16 * ry), (x, y - 0.46 * ry))
    pen.fill(nose, (0.86, 0.38, 0.42), "skin", "nose", shade="flat")
    pen.keypoint("nose", x, y - 0.28 * ry)


@fitted
def dog(pen: Pen) -> None:
    """A dog from the side: legs long or short, ears hanging or upright, mostly with a collar."""
    fur, style = _coat(pen, 0.25, "speckled", "speckled", "marbled")
    # The backs of all breeds are at one height: short legs mean a deep body.
    belly = pen.between(0.24, 0.34)
    back = 0.62
    stretch = pen.between(0.94, 1.08)
    step = pen.between(-0.07, 0.07)
    wag = pen.between(0.35, 1.25)

    tail: list[Point] = [(0.38 * stretch, back - 0.05)]
    tail.append((tail[0][0] + 0.15 * math.cos(wag - 0.3), tail[0][1] + 0.15 * math.sin(wag - 0.3)))
    tail.append((tail[1][0] + 0.15 * math.cos(wag + 0.3), tail[1][1] + 0.15 * math.sin(wag + 0.3)))
    pen.fill(brush(tail, 0.11, 0.07), tinted(fur, 0.9), "fur", "furry tail", **style)
    pen.keypoint("tail tip", *tail[-1])
    far = [
        [(-0.2 * stretch, 0.36), (-0.2 * stretch - step, 0.05)],
        [(0.26 * stretch, 0.38), (0.29 * stretch, 0.2), (0.25 * stretch + step, 0.05)],
    ]
    pen.fill(
        brush(far[0], 0.12, 0.085) + brush(far[1], 0.13, 0.085),
        tinted(fur, 0.66),
        "fur",
        "furry leg",
        **style,
    )
    body = spline(
        (-0.40 * stretch, 0.42), (-0.34 * stretch, back), (0.0, back - 0.02), (0.34 * stretch, back),
        (0.45 * stretch, 0.48), (0.38 * stretch, belly + 0.04), (0.1, belly + 0.03),
        (-0.28 * stretch, belly - 0.03), steps=4,
    )  # fmt: skip
    pen.fill(body, fur, "fur", "furry body", shade="round", depth=0.55, **style)
    marks = lighter(fur, 0.6) if fur.mean() < 0.5 else tinted(fur, 0.5)
    spotted = not style["texture"] and pen.chance(0.45)
    if spotted:
        saddle = spline(
            (-0.08, back - 0.02), (0.12, back - 0.01), (0.29, back - 0.005), (0.28, 0.48), (0.1, 0.39),
            (-0.06, 0.47), steps=4,
        )  # fmt: skip
        pen.fill(saddle, marks, "fur", "furry body", depth=0.5)
    near = [
        [(-0.31 * stretch, 0.40), (-0.32 * stretch + step, 0.05)],
        [(0.36 * stretch, 0.44), (0.41 * stretch, 0.22), (0.38 * stretch - step, 0.05)],
    ]
    pen.fill(
        brush(near[0], 0.135, 0.09) + brush(near[1], 0.17, 0.09),
        tinted(fur, 0.96),
        "fur",
        "furry leg",
        **style,
    )
    paws = ellipse(near[0][-1][0] - 0.03, 0.035, 0.07, 0.04) + ellipse(
        near[1][-1][0] - 0.03, 0.035, 0.07, 0.04
    )
    pen.fill(paws, lighter(fur, 0.25), "fur", "furry leg", shade="flat")

    x, y = -0.38 * stretch, pen.between(0.78, 0.86)
    neck = stroke((-0.27 * stretch, 0.46), (x + 0.05, y), 0.27, 0.2)
    pen.fill(neck, fur, "fur", "furry body", shade="upright", depth=0.25, **style)
    if pen.chance(0.65):
        leather = pick(pen.rng, ["red", "blue", "green", "yellow", "purple"])
        pen.fill(
            brush([(x - 0.08, y - 0.17), (x + 0.19, y - 0.09)], 0.065),
            leather,
            "leather",
            "collar",
            shade="flat",
        )
    _dog_head(pen, (x, y), fur, style, marks if spotted and pen.chance(0.6) else None)


def _dog_head(
    pen: Pen, centre: Point, fur: np.ndarray, style: dict[str, Any], patch: np.ndarray | None
) -> None:
    """A dog's head from the side; `patch`: the colour of a patch round the eye."""
    x, y = centre
    long = pen.between(0.24, 0.31)  # how far the nose is from the middle of the head
    upright = pen.chance(0.35)
    flap = tinted(fur, 0.55) if fur.mean() > 0.25 else lighter(fur, 0.18)
    if upright:
        pricked = rounded((x - 0.01, y + 0.07), (x + 0.13, y + 0.33), (x + 0.19, y - 0.02), radius=0.05)
        other = pricked.moved(lambda points: points - (0.12, 0.02))
        pen.fill(other, tinted(flap, 0.75), "fur", "ear", shade="flat")
    pen.fill(ellipse(x, y, 0.175, 0.16), fur, "fur", "dog head", shade="round", depth=0.45, **style)
    if upright:  # the near ear stands before the head
        pen.fill(pricked, flap, "fur", "ear")
        pen.keypoint("ear", x + 0.11, y + 0.2)
    if patch is not None:
        pen.fill(ellipse(x - 0.05, y + 0.055, 0.075, 0.075), patch, "fur", "dog head", shade="flat")
    if pen.chance(0.4):
        tongue = rounded(
            (x - long + 0.04, y - 0.10), (x - long + 0.05, y - 0.23), (x - long + 0.12, y - 0.23),
            (x - long + 0.13, y - 0.10), radius=0.03,
        )  # fmt: skip
        pen.fill(tongue, (0.93, 0.42, 0.48), "skin", "snout", shade="flat")
    snout = spline(
        (x - 0.02, y + 0.05), (x - 0.7 * long, y + 0.045), (x - long - 0.03, y - 0.01),
        (x - long, y - 0.115), (x - 0.5 * long, y - 0.145), (x, y - 0.13), steps=4,
    )  # fmt: skip
    pen.fill(snout, lighter(fur, 0.22), "fur", "snout", shade="round", depth=0.4)
    mouth = brush(
        [(x - long - 0.01, y - 0.085), (x - 0.6 * long, y - 0.10), (x - 0.3 * long, y - 0.075)], 0.022
    )
    pen.fill(mouth, tinted(fur, 0.25), "fur", "snout", shade="flat")
    pen.fill(ellipse(x - long - 0.015, y + 0.015, 0.052, 0.045), DARK, "leather", "nose", shade="flat")
    pen.keypoint("nose", x - long - 0.015, y + 0.015)
    eyes(pen, [(x - 0.065, y + 0.055)], 0.052, (0.97, 0.95, 0.9), (0.68, 0.72))
    if not upright:
        hanging = spline(
            (x + 0.03, y + 0.125), (x + 0.13, y + 0.13), (x + 0.2, y - 0.05), (x + 0.15, y - 0.2),
            (x + 0.07, y - 0.17), (x + 0.04, y - 0.03), steps=4,
        )  # fmt: skip
        pen.fill(hanging, flap, "fur", "ear", shade="round", depth=0.4)
        pen.keypoint("ear", x + 0.11, y - 0.02)
