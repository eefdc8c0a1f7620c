"""Craft of air and water: `plane`, `boat`.

Each is a function that draws one with a `Pen`, the front to the left:

    >>> plane(Pen(canvas, foot=(96, 60), height=30))
"""

from __future__ import annotations

import numpy as np

from ..palette import contrasting, pick, vary
from ..shapes import ellipse, polygon, polyline, rectangle, spline, stroke
from .forms import LIVERIES, glass, lighter, rounded, tinted, union
from .pen import Pen, fitted


@fitted
def plane(pen: Pen) -> None:
    """A jetliner or a small propeller plane, seen from the side and a little from above."""
    paint = pick(pen.rng, ["white", "white", "grey", "red", "blue", "yellow", "green", "orange", "pink"])
    accent = contrasting(pen.rng, paint)
    livery = {"texture": pen.pattern(0.1, *LIVERIES)}
    jet = pen.chance(0.65)
    fat = 0.145 if jet else 0.19  # half the fuselage's height
    sweep = pen.between(0.34, 0.5) if jet else pen.between(0.02, 0.12)
    mid = 0.45  # height of the fuselage's axis

    far_wing = polygon(
        (-0.12, mid + 0.05), (-0.12 + sweep * 0.9, 0.88), (0.06 + sweep * 0.9, 0.88), (0.26, mid + 0.05)
    )
    far_tail = polygon((0.66, mid + 0.08), (0.80, mid + 0.24), (0.91, mid + 0.24), (0.92, mid + 0.08))
    pen.fill(far_wing, tinted(paint, 0.68), "metal", "plane wing")
    pen.fill(far_tail, tinted(paint, 0.68), "metal", "plane tail")
    fin = rounded((0.56, mid + 0.06), (0.83, 1), (1.03, 1), (0.97, mid + 0.04), radius=0.05)
    pen.fill(fin, accent, "metal", "plane tail", texture=pen.pattern(0.25, *LIVERIES))
    nose = -1.05 if jet else -0.9
    fuselage = spline(
        (nose, mid - 0.02), (nose + 0.1, mid + 0.66 * fat), (nose + 0.36, mid + fat), (0.1, mid + fat),
        (0.75, mid + 0.13), (1.04, mid + 0.11), (0.98, mid + 0.03), (0.5, mid - 0.8 * fat),
        (0.0, mid - fat), (nose + 0.34, mid - fat), (nose + 0.08, mid - 0.68 * fat), steps=4,
    )  # fmt: skip
    pen.fill(fuselage, paint, "metal", "fuselage", shade="round", depth=0.6, **livery)
    pen.keypoint("nose", nose, mid - 0.02)
    pen.keypoint("tail", 1.03, mid + 0.08)
    if pen.chance(0.7):
        band = polygon(
            (nose + 0.06, mid - 0.045), (0.93, mid + 0.055), (0.95, mid + 0.09), (nose + 0.03, mid + 0.0)
        )
        pen.fill(band, accent, "metal", "stripe", shade="flat")
    pane = vary(pen.rng, (0.13, 0.24, 0.36))
    if jet:
        cockpit = polygon(
            (nose + 0.07, mid + 0.04), (nose + 0.15, mid + 0.11), (nose + 0.26, mid + 0.115),
            (nose + 0.24, mid + 0.04),
        )  # fmt: skip
        spots = np.linspace(nose + 0.40, 0.60, pen.choose(6, 7, 8))
        cabin = cockpit + union(ellipse(float(x), mid + 0.07, 0.036, 0.042, corners=12) for x in spots)
        pen.fill(cabin, pane, "glass", "plane window", shade="flat")
    else:
        dome = rounded(
            (-0.48, mid + fat - 0.06), (-0.36, mid + fat + 0.13), (0.02, mid + fat + 0.1),
            (0.2, mid + fat - 0.06), radius=0.1,
        )  # fmt: skip
        pen.fill(dome, pane, "glass", "plane window", depth=0.9)

    tip = (0.16 + sweep, 0.0)
    near_wing = rounded(
        (-0.26, mid - 0.04), (tip[0] - 0.18, 0.0), (tip[0] + 0.02, 0.0), (0.18, mid - 0.02), radius=0.05
    )
    near_tail = rounded(
        (0.64, mid + 0.06), (0.85, mid - 0.13), (1.0, mid - 0.13), (0.94, mid + 0.06), radius=0.03
    )
    if jet:
        x, y = -0.03 + 0.42 * sweep, mid * 0.46
        engine = rounded(
            (x - 0.22, y - 0.08), (x - 0.22, y + 0.07), (x + 0.12, y + 0.05), (x + 0.12, y - 0.05),
            radius=0.05,
        )  # fmt: skip
        pen.fill(near_tail, lighter(paint, 0.1), "metal", "plane tail", depth=0.6)
        pen.fill(near_wing, lighter(paint, 0.15), "metal", "plane wing", depth=0.7)
        pen.fill(engine, accent, "metal", "engine", shade="round")
        pen.fill(
            ellipse(x - 0.205, y - 0.005, 0.03, 0.07), (0.12, 0.12, 0.14), "metal", "engine", shade="flat"
        )
    else:
        pen.fill(near_tail, lighter(paint, 0.1), "metal", "plane tail", depth=0.6)
        pen.fill(near_wing, lighter(paint, 0.15), "metal", "plane wing", depth=0.7)
        blades = ellipse(nose - 0.02, mid - 0.02, 0.028, 0.3) + ellipse(nose - 0.02, mid - 0.02, 0.06, 0.09)
        pen.fill(blades, (0.22, 0.17, 0.14), "wood", "engine", shade="flat")
    pen.keypoint("wing tip", tip[0] - 0.06, 0.02)


@fitted
def boat(pen: Pen) -> None:
    """A sailing boat, or a little steamer with a cabin and a funnel; all have a mast."""
    half = pen.between(0.53, 0.62)
    deck = pen.between(0.19, 0.25)
    material = pen.choose("wood", "metal")
    paint = pick(
        pen.rng, ["red", "blue", "green", "white", "brown", "brown", "orange", "purple", "black", "yellow"]
    )
    timber = vary(pen.rng, (0.42, 0.29, 0.16))
    if pen.chance(0.65):
        _sails(pen, half, deck, timber)
    else:
        _cabin(pen, half, deck, timber)
    hull = spline(
        (-half * 1.06, deck + 0.09), (-half * 0.5, deck + 0.015), (half * 0.5, deck), (half, deck + 0.03),
        (half * 0.97, deck * 0.5), (half * 0.8, 0.0), (0.0, 0.0), (-half * 0.68, 0.0),
        (-half * 0.9, deck * 0.55), steps=4,
    )  # fmt: skip
    pen.fill(hull, paint, material, "hull", depth=0.7, texture=pen.pattern(0.08, "striped", "zigzag"))
    if pen.chance(0.75):
        gunwale = polyline(
            [(-half * 1.05, deck + 0.075), (-half * 0.5, deck - 0.012), (half * 0.5, deck - 0.03),
            (half * 0.99, deck - 0.005)], 0.05,
        )  # fmt: skip
        pen.fill(gunwale, contrasting(pen.rng, paint), material, "stripe", shade="flat")
    pen.keypoint("bow", -half * 1.05, deck + 0.08)


def _sails(pen: Pen, half: float, deck: float, timber: np.ndarray) -> None:
    """A mast with a mainsail behind it and mostly a jib before it."""
    x = pen.between(-0.1, 0.06)
    cloth = pick(pen.rng, ["white", "white", "red", "blue", "yellow", "orange", "pink", "green"])
    weave = {"texture": pen.pattern(0.4, "striped", "checkered", "zigzag", "dotted", "grid")}
    boom = deck + pen.between(0.08, 0.12)
    belly = pen.between(0.02, 0.07)
    clew = half * pen.between(0.78, 0.95)
    mainsail = polygon(
        (x, boom), (x, 0.97), (x + 0.28 * (clew - x) + belly, 0.75), (x + 0.68 * (clew - x) + belly, 0.48),
        (clew, boom + 0.02),
    )  # fmt: skip
    pen.fill(mainsail, cloth, "fabric", "sail", shade="upright", depth=0.5, **weave)
    if pen.chance(0.8):
        tack = -half * pen.between(0.82, 0.95)
        jib = polygon((x, 0.9), (x, boom), (tack, boom - 0.01), (tack * 0.55 + x * 0.4, boom + 0.26))
        jib_cloth = cloth if pen.chance(0.6) else pick(pen.rng, ["red", "yellow", "blue", "white"])
        pen.fill(jib, jib_cloth, "fabric", "sail", shade="upright", depth=0.5)
    spars = stroke((x, deck - 0.06), (x, 1.0), 0.045, 0.032) + stroke((x, boom), (clew, boom + 0.02), 0.03)
    pen.fill(spars, timber, "wood", "mast", shade="upright")
    if pen.chance(0.5):
        pennant = polygon((x, 1.0), (x, 0.92), (x + 0.17, 0.955))
        pen.fill(pennant, pick(pen.rng, ["red", "blue", "yellow", "orange"]), "fabric", "mast", shade="flat")
    pen.keypoint("mast top", x, 1.0)


def _cabin(pen: Pen, half: float, deck: float, timber: np.ndarray) -> None:
    """A cabin with portholes, a funnel, and a mast with a flag at the bow."""
    wall = pick(pen.rng, ["white", "white", "yellow", "grey", "brown", "blue"])
    roof_y = pen.between(0.52, 0.6)
    funnel_x = pen.between(0.0, 0.14)
    funnel = polygon(
        (funnel_x - 0.085, roof_y - 0.05), (funnel_x - 0.075, 0.86), (funnel_x + 0.075, 0.86),
        (funnel_x + 0.085, roof_y - 0.05),
    )  # fmt: skip
    pen.fill(
        funnel,
        pick(pen.rng, ["red", "orange", "black", "yellow", "blue"]),
        "metal",
        "chimney",
        shade="upright",
        depth=0.6,
    )
    pen.fill(
        rectangle(funnel_x - 0.078, 0.77, funnel_x + 0.078, 0.86),
        (0.12, 0.12, 0.13),
        "metal",
        "chimney",
        shade="upright",
    )
    mast_x = -half * 0.62
    pen.fill(
        stroke((mast_x, deck - 0.04), (mast_x, 1.0), 0.045, 0.035), timber, "wood", "mast", shade="upright"
    )
    flag = polygon(
        (mast_x, 1.0), (mast_x, 0.84), (mast_x + 0.24, 0.86), (mast_x + 0.21, 0.92), (mast_x + 0.24, 0.98)
    )
    pen.fill(flag, pick(pen.rng, ["red", "blue", "yellow", "green", "orange"]), "fabric", "mast",
             texture=pen.pattern(0.4, "striped", "checkered"))  # fmt: skip
    left, right = -half * 0.42, half * 0.78
    pen.fill(
        polygon((left, deck - 0.03), (left + 0.03, roof_y), (right - 0.03, roof_y), (right, deck - 0.03)),
        wall,
        "wood",
        "boat cabin",
    )
    roof = rectangle(left - 0.04, roof_y - 0.02, right + 0.02, roof_y + 0.045)
    pen.fill(roof, contrasting(pen.rng, wall), "wood", "boat cabin", shade="flat")
    y = (deck + roof_y) / 2 + 0.015
    spots = np.linspace(left + 0.12, right - 0.12, 3)
    portholes = [ellipse(float(x), y, 0.066, 0.066) for x in spots]
    pen.fill(union(portholes), glass(pen), "glass", "boat cabin", depth=0.8)
    pen.keypoint("mast top", mast_x, 1.0)
