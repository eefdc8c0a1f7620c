"""Living things but pets: `person`, `bird`, `fish`.

Each is a function that draws one with a `Pen`; animals look to the left:

    >>> bird(Pen(canvas, foot=(96, 80), height=50, flying=True))
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..palette import contrasting, pick, vary
from ..shapes import Point, Shape, ellipse, polygon, rectangle, spline, stroke
from .forms import brush, eyes, lighter, rounded, tinted
from .pen import Pen, fitted

DARK = (0.04, 0.035, 0.03)

SKIN = ((0.96, 0.80, 0.69), (0.88, 0.66, 0.49), (0.74, 0.52, 0.36), (0.56, 0.37, 0.25), (0.40, 0.26, 0.18))
HAIR = ((0.10, 0.07, 0.05), (0.34, 0.20, 0.10), (0.82, 0.64, 0.28), (0.58, 0.24, 0.09), (0.62, 0.61, 0.60))


@fitted
def person(pen: Pen) -> None:
    """Someone facing us: trousers, shorts or a dress; arms anywhere between hanging and waving."""
    skin = vary(pen.rng, pen.choose(*SKIN))
    clothes = pick(pen.rng, ["red", "orange", "yellow", "green", "blue", "purple", "pink", "white"])
    weave = {"texture": pen.pattern(0.4, "striped", "dotted", "checkered", "zigzag", "swirly", "grid")}
    hair = vary(pen.rng, pen.choose(*HAIR))
    style = pen.choose("short", "short", "long", "bun", "curly")
    outfit = pen.choose("trousers", "trousers", "shorts", "dress")

    _legs(pen, outfit, skin)
    if style == "long":
        locks = rounded((-0.145, 0.67), (-0.14, 0.98), (0.14, 0.98), (0.145, 0.67), radius=0.09)
        pen.fill(locks, tinted(hair, 0.85), "fur", "hair", shade="upright")
    elif style == "curly":
        pen.fill(ellipse(0, 0.88, 0.185, 0.16), hair, "foliage", "hair", shade="round", depth=0.4)
    elif style == "bun":
        pen.fill(ellipse(0, 1.005, 0.06, 0.06), hair, "fur", "hair")

    if outfit == "dress":
        torso = rounded(
            (-0.14, 0.75), (0.14, 0.75), (0.12, 0.56), (0.23, 0.28), (-0.23, 0.28), (-0.12, 0.56), radius=0.06
        )
    else:
        torso = rounded((-0.155, 0.75), (0.155, 0.75), (0.13, 0.40), (-0.13, 0.40), radius=0.06)
    _arms(pen, skin, clothes, weave)
    pen.fill(rectangle(-0.04, 0.70, 0.04, 0.80), tinted(skin, 0.9), "skin", "human head", shade="flat")
    pen.fill(torso, clothes, "fabric", "torso", shade="upright", depth=0.5, **weave)
    if outfit != "dress" and pen.chance(0.35):  # a belt or an open jacket
        stripe = (
            rectangle(-0.128, 0.41, 0.128, 0.45) if pen.chance(0.5) else rectangle(-0.035, 0.42, 0.035, 0.74)
        )
        pen.fill(stripe, contrasting(pen.rng, clothes), "fabric", "torso", shade="flat")
    _face(pen, skin, hair, style)


def _legs(pen: Pen, outfit: str, skin: np.ndarray) -> None:
    """Two legs, apart as in standing or striding, with shoes."""
    stance = pen.between(0.06, 0.12)
    cloth = pick(pen.rng, ["blue", "blue", "black", "brown", "grey", "green", "red", "white"])
    shoes = rounded(
        (-stance - 0.085, 0), (-stance - 0.075, 0.065), (-stance + 0.05, 0.075), (-stance + 0.05, 0),
        radius=0.04,
    )  # fmt: skip
    shoes += rounded(
        (stance + 0.085, 0), (stance + 0.075, 0.065), (stance - 0.05, 0.075), (stance - 0.05, 0), radius=0.04
    )

    def pair(top: float, bottom: float, width: float, end_width: float) -> Shape:
        def x(y: float) -> float:  # a leg runs from the hip at 0.42 to the foot
            return 0.062 + (stance - 0.062) * (0.42 - y) / 0.37

        legs = stroke((-x(top), top), (-x(bottom), bottom), width, end_width)
        return legs + stroke((x(top), top), (x(bottom), bottom), width, end_width)

    style: dict[str, Any] = {"shade": "upright", "depth": 0.45}
    if outfit == "trousers":
        hips = rounded((-0.125, 0.36), (-0.125, 0.46), (0.125, 0.46), (0.125, 0.36), radius=0.03)
        pen.fill(pair(0.44, 0.04, 0.125, 0.095) + hips, cloth, "fabric", "human leg", **style)
    else:
        pen.fill(pair(0.42, 0.04, 0.095, 0.07), skin, "skin", "human leg", **style)
    if outfit == "shorts":
        hips = rectangle(-0.125, 0.34, 0.125, 0.46)
        pen.fill(pair(0.44, 0.22, 0.13, 0.135) + hips, cloth, "fabric", "human leg", **style)
    pen.fill(shoes, pick(pen.rng, ["black", "brown", "white", "red", "blue"]), "leather", "shoe")
    for side in (-1, 1):
        pen.keypoint("foot", side * stance, 0.03)


def _arms(pen: Pen, skin: np.ndarray, clothes: np.ndarray, weave: dict[str, str]) -> None:
    """Two arms; each hangs, reaches out, rests on the hip or waves."""
    elbows: list[list[Point]] = []
    hands: list[Point] = []
    # angles of upper arm and forearm from hanging straight down, outwards
    calm = ((0.26, 0.08), (0.34, 0.15), (0.65, -0.6))
    lively = ((0.7, 0.35), (0.75, 2.4), (1.0, 2.8))
    lively_side = pen.choose(-1, 1, 0)  # one arm at most, or the person would be too wide for its frame
    for side in (-1, 1):
        upper, lower = pen.choose(*(lively if side == lively_side else calm))
        upper += pen.between(-0.07, 0.07)
        shoulder = (side * 0.125, 0.70)
        elbow = (shoulder[0] + side * 0.155 * math.sin(upper), shoulder[1] - 0.155 * math.cos(upper))
        hand = (elbow[0] + side * 0.14 * math.sin(lower), elbow[1] - 0.14 * math.cos(lower))
        elbows.append([shoulder, elbow])
        hands.append(hand)
        pen.keypoint("hand", *hand)
    long_sleeves = pen.chance(0.5)
    sleeve_colour = tinted(clothes, 0.86)
    upper_arms = brush(elbows[0], 0.095, 0.08) + brush(elbows[1], 0.095, 0.08)
    forearms = brush([elbows[0][1], hands[0]], 0.075, 0.062) + brush([elbows[1][1], hands[1]], 0.075, 0.062)
    palms = ellipse(*hands[0], 0.046, 0.046, corners=14) + ellipse(*hands[1], 0.046, 0.046, corners=14)
    if long_sleeves:
        pen.fill(palms, skin, "skin", "arm", depth=0.2)
        sleeves = forearms + upper_arms
        short = [
            ((3 * h[0] + e[1][0]) / 4, (3 * h[1] + e[1][1]) / 4) for h, e in zip(hands, elbows, strict=True)
        ]
        sleeves = (
            upper_arms
            + brush([elbows[0][1], short[0]], 0.08, 0.07)
            + brush([elbows[1][1], short[1]], 0.08, 0.07)
        )
        pen.fill(sleeves, sleeve_colour, "fabric", "arm", depth=0.3, **weave)
    else:
        pen.fill(forearms + palms, skin, "skin", "arm", depth=0.3)
        pen.fill(upper_arms, sleeve_colour, "fabric", "arm", depth=0.3, **weave)


def _face(pen: Pen, skin: np.ndarray, hair: np.ndarray, style: str) -> None:
    """Head, hair above the brow or a hat, eyes, mouth, rosy cheeks, sometimes a beard."""
    pen.fill(ellipse(0, 0.865, 0.122, 0.128), skin, "skin", "human head", shade="round", depth=0.35)
    pen.keypoint("head", 0, 0.865)
    if style == "short" and pen.chance(0.3):
        beard = spline(
            (-0.12, 0.86), (-0.1, 0.77), (0, 0.725), (0.1, 0.77), (0.12, 0.86), (0.06, 0.815),
            (-0.06, 0.815), steps=4,
        )  # fmt: skip
        pen.fill(beard, hair, "fur", "hair", shade="flat")
    cheeks = ellipse(-0.072, 0.835, 0.024, 0.018, corners=12) + ellipse(
        0.072, 0.835, 0.024, 0.018, corners=12
    )
    pen.fill(cheeks, (0.9, 0.35, 0.3), "skin", "human head", shade="flat", opacity=0.4)
    mouth = brush([(-0.035, 0.805), (0, 0.793), (0.035, 0.805)], 0.02)
    pen.fill(mouth, (0.66, 0.16, 0.16), "skin", "human head", shade="flat")
    parting = pen.between(-0.05, 0.05)
    fringe = spline(
        (-0.128, 0.86), (-0.13, 0.95), (-0.07, 1.0), (0.07, 1.0), (0.13, 0.95), (0.128, 0.86),
        (0.095, 0.915), (parting, 0.935), (-0.095, 0.915), steps=4,
    )  # fmt: skip
    pen.fill(fringe, hair, "fur", "hair", depth=0.3)
    whites = ellipse(-0.047, 0.866, 0.028, 0.027, corners=14) + ellipse(
        0.047, 0.866, 0.028, 0.027, corners=14
    )
    pupils = ellipse(-0.047, 0.864, 0.018, 0.021, corners=12) + ellipse(
        0.047, 0.864, 0.018, 0.021, corners=12
    )
    pen.fill(whites, (0.97, 0.97, 0.95), "", "eye", shade="flat")
    pen.fill(pupils, DARK, "", "eye", shade="flat")
    pen.keypoint("eye", -0.047, 0.865)
    pen.keypoint("eye", 0.047, 0.865)
    if style != "curly" and style != "bun" and pen.chance(0.25):
        felt = pick(pen.rng)
        hat = rounded((-0.105, 0.93), (-0.085, 1.045), (0.085, 1.045), (0.105, 0.93), radius=0.05)
        hat += rounded((-0.19, 0.925), (-0.19, 0.955), (0.19, 0.955), (0.19, 0.925), radius=0.02)
        pen.fill(hat, felt, "fabric", "hair")


@fitted
def bird(pen: Pen) -> None:
    """A songbird: on its feet with folded wings, or (`pen.flying`) in the air with wings raised."""
    plumage = pick(
        pen.rng,
        [
            "red",
            "orange",
            "yellow",
            "green",
            "blue",
            "blue",
            "purple",
            "pink",
            "grey",
            "brown",
            "black",
            "white",
        ],
    )
    breast = contrasting(pen.rng, plumage) if pen.chance(0.5) else lighter(plumage, 0.55)
    wing = tinted(plumage, 0.62) if pen.chance(0.6) else contrasting(pen.rng, plumage)
    bars = pen.pattern(0.3, "striped", "speckled", "zigzag")
    lift = pen.between(-0.1, 0.12)
    tail = polygon((0.24, 0.50), (0.66, 0.52 + lift), (0.70, 0.42 + lift), (0.64, 0.36 + lift), (0.28, 0.30))
    pen.fill(tail, tinted(wing, 0.9), "feather", "bird tail")
    pen.keypoint("tail", 0.66, 0.44 + lift)
    if pen.flying:
        spread = pen.between(-0.05, 0.1)
        far = polygon(
            (-0.16, 0.5), (-0.13 + spread, 0.86), (-0.05 + spread, 1.12), (0.05 + spread, 1.0),
            (0.10 + spread, 0.9), (0.16, 0.7), (0.16, 0.5),
        )  # fmt: skip
        pen.fill(far, tinted(wing, 0.68), "feather", "bird wing", texture=bars)
    else:
        orange = vary(pen.rng, (0.85, 0.5, 0.15))
        feet = brush([(-0.06, 0.2), (-0.06, 0.02)], 0.038) + brush([(0.09, 0.2), (0.09, 0.02)], 0.038)
        feet += brush([(-0.14, 0.02), (-0.03, 0.02)], 0.036) + brush([(0.01, 0.02), (0.12, 0.02)], 0.036)
        pen.fill(feet, orange, "skin", "bird foot", shade="flat")
    body = spline(
        (-0.36, 0.58), (-0.36, 0.36), (-0.16, 0.19), (0.14, 0.19), (0.36, 0.36), (0.30, 0.52), (0.05, 0.60),
        (-0.12, 0.72), steps=5,
    )  # fmt: skip
    pen.fill(body, plumage, "feather", "bird body", shade="round", depth=0.55)
    front = spline(
        (-0.35, 0.54), (-0.35, 0.36), (-0.17, 0.20), (0.10, 0.20), (0.02, 0.33), (-0.16, 0.46), steps=4
    )
    pen.fill(front, breast, "feather", "bird body", depth=0.25)
    x, y = -0.24, 0.735
    if pen.chance(0.3):
        crest = polygon(
            (x - 0.08, y + 0.14), (x + 0.10, y + 0.30), (x + 0.09, y + 0.20), (x + 0.22, y + 0.20),
            (x + 0.12, y + 0.08),
        )  # fmt: skip
        pen.fill(crest, wing, "feather", "bird head")
    length = pen.between(0.17, 0.25)
    upper = polygon((x - 0.13, y + 0.085), (x - 0.17 - length, y - 0.025), (x - 0.13, y - 0.03))
    lower = polygon((x - 0.13, y - 0.015), (x - 0.13 - 0.8 * length, y - 0.03), (x - 0.12, y - 0.09))
    orange = pick(pen.rng, ["orange", "orange", "yellow", "black"])
    pen.fill(upper, orange, "leather", "beak", shade="flat")
    pen.fill(lower, tinted(orange, 0.7), "leather", "beak", shade="flat")
    pen.keypoint("beak", x - 0.17 - length, y - 0.02)
    pen.fill(ellipse(x, y, 0.185, 0.18), plumage, "feather", "bird head", shade="round", depth=0.45)
    eyes(pen, [(x - 0.06, y + 0.045)], 0.062, (0.98, 0.97, 0.92), (0.62, 0.66))
    if pen.flying:
        near = polygon(
            (-0.14, 0.46), (0.02 + spread, 0.80), (0.20 + spread, 1.05), (0.38 + spread, 1.17),
            (0.36 + spread, 1.03), (0.43 + spread, 1.0), (0.38 + spread, 0.89), (0.43 + spread, 0.84),
            (0.35 + spread, 0.74), (0.37, 0.66), (0.27, 0.48), (0.04, 0.39),
        )  # fmt: skip
        pen.fill(near, wing, "feather", "bird wing", texture=bars, depth=0.5)
        pen.keypoint("wing tip", 0.38 + spread, 1.17)
    else:
        folded = spline(
            (-0.14, 0.50), (0.06, 0.56), (0.34, 0.48), (0.53, 0.36), (0.25, 0.30), (0.02, 0.29),
            (-0.12, 0.36), steps=4,
        )  # fmt: skip
        pen.fill(folded, wing, "feather", "bird wing", shade="round", depth=0.4, texture=bars)
        pen.keypoint("wing tip", 0.52, 0.36)


@fitted
def fish(pen: Pen) -> None:
    """A reef fish: the body is scaled, the head smooth, the fins tall."""
    skin = pick(
        pen.rng, ["orange", "orange", "red", "yellow", "blue", "purple", "pink", "grey", "green", "white"]
    )
    pattern = pen.pattern(0.6, "striped", "striped", "dotted", "zigzag", "speckled")
    fin = contrasting(pen.rng, skin) if pen.chance(0.5) else tinted(skin, 0.72)
    tall = pen.between(0.30, 0.37)  # half the body's height; what is missing the fins add
    y, end = 0.5, 0.46
    snout = pen.between(-0.73, -0.62)
    fork = pen.between(0.0, 0.09)
    swish = pen.between(-0.05, 0.05)
    tail = spline(
        (end - 0.06, y), (0.72, y + 0.33 + swish), (0.80, y + 0.27 + swish), (0.75 - fork, y + swish),
        (0.80, y - 0.27 + swish), (0.72, y - 0.33 + swish), steps=4,
    )  # fmt: skip
    pen.fill(tail, fin, "plant", "fish tail", depth=0.5)
    pen.keypoint("tail", 0.64, y + swish)
    back = pen.between(0.24, 0.36)
    fins = polygon(
        (-0.28, y + tall * 0.72), (-0.12, y + 0.5), (0.08, y + 0.47), (back, y + 0.40),
        (back + 0.06, y + 0.12),
    )  # fmt: skip
    fins += polygon((-0.12, y - tall * 0.75), (0.0, y - 0.5), (0.13, y - 0.44), (0.24, y - 0.16))
    pen.fill(fins, fin, "plant", "fin", depth=0.4)
    body = spline(
        (snout, y - 0.02), (-0.46, y + tall * 0.7), (-0.08, y + tall), (0.28, y + tall * 0.6),
        (end + 0.06, y + 0.08), (end + 0.06, y - 0.08), (0.28, y - tall * 0.6), (-0.08, y - tall),
        (-0.46, y - tall * 0.74), steps=5,
    )  # fmt: skip
    pen.fill(body, skin, "scales", "fish body", shade="round", depth=0.55, texture=pattern)
    cheek = spline(
        (snout - 0.01, y - 0.02), (-0.47, y + tall * 0.68), (-0.32, y + tall * 0.72), (-0.23, y),
        (-0.31, y - tall * 0.76), (-0.47, y - tall * 0.72), steps=5,
    )  # fmt: skip
    pen.fill(cheek, lighter(skin, 0.12), "skin", "fish head", shade="round", depth=0.4)
    side_fin = spline((-0.14, y - 0.03), (0.1, y + 0.04), (0.14, y - 0.16), (-0.02, y - 0.15), steps=4)
    pen.fill(side_fin, tinted(fin, 0.85), "plant", "fin", depth=0.5)
    mouth = brush([(snout + 0.02, y - 0.09), (snout + 0.1, y - 0.11), (snout + 0.15, y - 0.085)], 0.032)
    pen.fill(mouth, tinted(skin, 0.3), "skin", "fish head", shade="flat")
    pen.keypoint("mouth", snout + 0.05, y - 0.095)
    eyes(pen, [(-0.46, y + 0.1)], 0.082, (0.98, 0.98, 0.94), (0.58, 0.62))
