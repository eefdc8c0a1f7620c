"""Road vehicles: `car`, `bus`, `bicycle`.

Each is a function that draws one with a `Pen`, the front to the left:

    >>> car(Pen(canvas, foot=(96, 150), height=70))
"""

from __future__ import annotations

import math

import numpy as np

from ..palette import contrasting, pick, vary
from ..shapes import Shape, ellipse, polygon, rectangle, ring, stroke
from .forms import LIVERIES, above, brush, glass, lighter, rounded, tinted, union, wheels
from .pen import Pen, fitted

LAMP_LIGHT = (1.0, 0.95, 0.70)
TAIL_LIGHT = (0.85, 0.10, 0.08)


@fitted
def car(pen: Pen) -> None:
    """A saloon, a beetle, an estate or a pick-up: they differ in where the cabin begins and ends."""
    paint = pick(
        pen.rng, ["red", "orange", "yellow", "green", "blue", "purple", "pink", "white", "grey", "black"]
    )
    livery = {"texture": pen.pattern(0.1, *LIVERIES)}
    half = pen.between(1.06, 1.24)
    waist = pen.between(0.48, 0.56)
    radius = pen.between(0.20, 0.235)
    kind = pen.choose("saloon", "saloon", "beetle", "estate", "pick-up")
    # x of the cabin's foot and roof, front and rear, in half lengths
    front, roof_front, roof_rear, rear = {
        "saloon": (-0.58, -0.26, 0.36, 0.72),
        "beetle": (-0.62, -0.24, 0.34, 0.92),
        "estate": (-0.60, -0.30, 0.78, 0.95),
        "pick-up": (-0.56, -0.26, 0.14, 0.20),
    }[kind]
    lean = pen.between(-0.05, 0.05)
    front, roof_front, roof_rear, rear = (
        half * (x + lean * (abs(x) < 0.7)) for x in (front, roof_front, roof_rear, rear)
    )
    bend = 0.34 if kind == "beetle" else 0.14

    cabin = rounded((front, waist - 0.06), (roof_front, 1), (roof_rear, 1), (rear, waist - 0.06), radius=bend)
    pen.fill(cabin, tinted(paint, 0.95), "metal", "car cabin", shade="round", depth=0.5, **livery)
    pillar = (roof_front + roof_rear) / 2 + pen.between(-0.05, 0.08)
    sill, top = waist + 0.01, 0.90
    ahead = rounded(
        (front + 0.13, sill), (roof_front + 0.05, top), (pillar - 0.035, top), (pillar - 0.035, sill),
        radius=0.05,
    )  # fmt: skip
    behind = rounded(
        (pillar + 0.035, sill), (pillar + 0.035, top), (roof_rear - 0.07, top), (rear - 0.16, sill),
        radius=0.07,
    )  # fmt: skip
    panes = ahead if kind == "pick-up" else ahead + behind
    pen.fill(panes, glass(pen), "glass", "car window", depth=0.8)

    tail = waist - (0.04 if kind == "saloon" else 0.0)
    body = rounded(
        (-half, 0.13), (-half - 0.01, waist - 0.12), (-half + 0.16, waist - 0.03),
        (front - 0.02, waist + 0.03), (rear, waist + 0.03), (half - 0.03, tail), (half + 0.01, 0.13),
        radius=0.13,
    )  # fmt: skip
    pen.fill(body, paint, "metal", "car body", shade="round", depth=0.55, **livery)
    if pen.chance(0.25):
        pen.fill(
            rectangle(-half + 0.04, waist * 0.62, half - 0.03, waist * 0.62 + 0.06),
            contrasting(pen.rng, paint), "metal", "stripe", shade="flat",
        )  # fmt: skip
    # A veil of darkness over the door and a line round it: labelled, and still the body's colour.
    seam = tinted(paint, 0.35)
    door_end = pillar if kind == "pick-up" else pillar + 0.02
    door = rounded(
        (front + 0.12, 0.17), (front + 0.12, waist), (door_end, waist), (door_end, 0.17), radius=0.06
    )
    pen.fill(door, seam, "metal", "vehicle door", shade="flat", opacity=0.13)
    edge = stroke((door_end, 0.17), (door_end, waist), 0.022)
    handle = rectangle(door_end - 0.13, waist - 0.10, door_end - 0.04, waist - 0.065)
    pen.fill(edge + handle, seam, "metal", "vehicle door", shade="flat")
    axles = [(-0.6 * half, radius), (0.6 * half, radius)]
    arches = ellipse(*axles[0], radius * 1.2, radius * 1.2) + ellipse(*axles[1], radius * 1.2, radius * 1.2)
    pen.fill(above(arches, 0.13), tinted(paint, 0.28), "metal", "car body", shade="flat")
    chrome = pen.choose((0.75, 0.76, 0.78), (0.22, 0.22, 0.24))
    bumpers = brush([(-half - 0.02, 0.17), (-0.6 * half - radius * 1.1, 0.17)], 0.075)
    bumpers += brush([(0.6 * half + radius * 1.1, 0.17), (half + 0.02, 0.17)], 0.075)
    pen.fill(bumpers, chrome, "metal", "bumper", depth=0.6)
    lamp_y = waist - 0.17
    pen.fill(ellipse(half - 0.05, lamp_y, 0.05, 0.065), TAIL_LIGHT, "glass", "car body", shade="flat")
    pen.fill(ellipse(-half + 0.08, lamp_y, 0.078, 0.078), LAMP_LIGHT, "glass", "headlight", shade="flat")
    pen.keypoint("headlight", -half + 0.08, lamp_y)
    wheels(pen, axles, radius)


@fitted
def bus(pen: Pen) -> None:
    """A city bus, a coach with a slanting front, or a school bus with a bonnet."""
    kind = pen.choose("city", "coach", "school")
    paint = pick(pen.rng, ["yellow", "orange"] if kind == "school" else
                 ["red", "yellow", "blue", "green", "white", "orange", "purple", "pink", "grey"])  # fmt: skip
    livery = {"texture": pen.pattern(0.1, *LIVERIES)}
    half = pen.between(1.12, 1.30)
    bonnet = 0.34 if kind == "school" else 0.0
    nose = -half + bonnet  # where the tall part begins
    slant = {"city": 0.02, "coach": 0.17, "school": 0.06}[kind]
    body = rounded(
        (-half if not bonnet else nose, 0.11), (nose, 0.5), (nose + slant, 1), (half, 1), (half, 0.11),
        radius=pen.between(0.06, 0.13),
    )  # fmt: skip
    if bonnet:
        body += rounded(
            (-half, 0.11), (-half, 0.45), (-half + 0.1, 0.5), (nose + 0.1, 0.53), (nose + 0.1, 0.11),
            radius=0.09,
        )  # fmt: skip
    pen.fill(body, paint, "metal", "bus body", depth=0.5, **livery)
    roof = rounded(
        (nose + slant + 0.05, 0.94), (nose + slant + 0.05, 1), (half - 0.03, 1), (half - 0.03, 0.94),
        radius=0.05,
    )  # fmt: skip
    pen.fill(roof, lighter(paint, 0.45), "metal", "bus body", shade="flat")

    sill, top = pen.between(0.51, 0.56), 0.87
    pane = glass(pen)
    door = rectangle(nose + 0.27, 0.15, nose + 0.49, top)
    n = pen.choose(3, 4, 4, 5)
    left, right = nose + 0.54, half - 0.07
    width = (right - left) / n
    panes = polygon(
        (nose + 0.03, sill - 0.04), (nose + slant * 0.8 + 0.04, top), (nose + 0.22, top),
        (nose + 0.22, sill - 0.04),
    )  # fmt: skip
    for i in range(n):
        x = left + i * width
        panes += rounded(
            (x, sill), (x, top), (x + width - 0.055, top), (x + width - 0.055, sill), radius=0.04
        )
    pen.fill(panes, pane, "glass", "bus window", depth=0.8)
    stripe_y = sill - pen.between(0.10, 0.16)
    if pen.chance(0.75):
        stripe = rectangle(nose + 0.01, stripe_y - 0.05, half, stripe_y + 0.025)
        pen.fill(stripe, contrasting(pen.rng, paint), "metal", "stripe", shade="flat")
    frame = tinted(paint, 0.35)
    pen.fill(door, frame, "metal", "vehicle door", shade="flat")
    leaves = rectangle(nose + 0.29, 0.19, nose + 0.37, top - 0.03) + rectangle(
        nose + 0.39, 0.19, nose + 0.47, top - 0.03
    )
    pen.fill(leaves, pane, "glass", "vehicle door", depth=0.7)
    axles = [(-0.62 * half - (0.03 if bonnet else 0.0), 0.16), (0.58 * half, 0.16)]
    if not bonnet:  # the front wheel stands behind the door
        axles[0] = (nose + 0.68, 0.16)
    arches = ellipse(*axles[0], 0.195, 0.195) + ellipse(*axles[1], 0.195, 0.195)
    pen.fill(above(arches, 0.11), tinted(paint, 0.25), "metal", "bus body", shade="flat")
    bumpers = brush([(-half - 0.01, 0.13), (-half + 0.16, 0.13)], 0.08) + brush(
        [(half - 0.16, 0.13), (half + 0.01, 0.13)], 0.08
    )
    pen.fill(bumpers, (0.25, 0.25, 0.27), "metal", "bumper")
    pen.fill(ellipse(half - 0.04, 0.30, 0.035, 0.06), TAIL_LIGHT, "glass", "bus body", shade="flat")
    pen.fill(ellipse(-half + 0.08, 0.28, 0.065, 0.065), LAMP_LIGHT, "glass", "headlight", shade="flat")
    pen.keypoint("headlight", -half + 0.08, 0.28)
    wheels(pen, axles, 0.16)


@fitted
def bicycle(pen: Pen) -> None:
    """A racer with a diamond frame or a town bicycle with a low step.

    Its tubes are thicker than real ones: they must survive at a height of 30 pixels.
    """
    paint = pick(pen.rng, ["red", "orange", "yellow", "green", "blue", "purple", "pink", "white", "black"])
    dark = vary(pen.rng, (0.1, 0.1, 0.1))
    radius = pen.between(0.31, 0.345)
    reach = pen.between(0.45, 0.49)
    town = pen.chance(0.45)
    front, rear = (-reach, radius), (reach, radius)
    crank = (0.05, radius - 0.03)
    seat = (0.20, 0.70)
    head = (-0.30, 0.70)
    grip_height = pen.between(0.92, 0.99)

    tyres = ring(*front, radius, 0.066) + ring(*rear, radius, 0.066)
    # Rings overlap nothing, but a hole cuts whatever came before it: spokes must follow.
    pen.fill(tyres, dark, "rubber", "wheel", shade="flat")
    first_angle = pen.between(0, math.pi / 4)
    inner = radius - 0.05
    spokes: list[Shape] = []
    for x, y in (front, rear):
        for angle in first_angle + np.arange(4) * math.pi / 4:
            dx, dy = inner * math.cos(angle), inner * math.sin(angle)
            spokes.append(stroke((x - dx, y - dy), (x + dx, y + dy), 0.02))
        spokes.append(ellipse(x, y, 0.05, 0.05, corners=12))
        pen.keypoint("wheel", x, y)
    pen.fill(union(spokes), (0.72, 0.73, 0.75), "metal", "wheel", shade="flat")

    if town:
        tubes = brush([head, (-0.12, radius + 0.1), crank], 0.072)
        tubes += brush([(head[0] + 0.02, head[1] - 0.06), (-0.05, radius + 0.2), (0.11, radius + 0.17)], 0.05)
    else:
        tubes = brush([head, crank], 0.066) + brush([(head[0], head[1] - 0.02), (0.17, 0.64)], 0.066)
    tubes += brush([crank, seat], 0.066) + brush([crank, rear], 0.056) + brush([(0.17, 0.62), rear], 0.05)
    tubes += brush([front, head, (head[0] + 0.03, grip_height - 0.05)], 0.062)
    pen.fill(tubes, paint, "metal", "bicycle frame", depth=0.3)
    foot = (crank[0] - 0.1, crank[1] - 0.11)
    gear = (
        ring(*crank, 0.085, 0.04)
        + brush([crank, foot], 0.04)
        + brush([(foot[0] - 0.05, foot[1]), (foot[0] + 0.05, foot[1])], 0.045)
    )
    pen.fill(gear, (0.33, 0.33, 0.35), "metal", "bicycle frame", shade="flat")
    saddle = rounded((0.04, 0.73), (0.05, 0.785), (0.32, 0.81), (0.34, 0.72), (0.2, 0.70), radius=0.04)
    pen.fill(saddle, pick(pen.rng, ["black", "black", "brown"]), "leather", "saddle")
    pen.keypoint("saddle", 0.2, 0.76)
    post = (head[0] + 0.03, grip_height - 0.03)
    if town:
        bar = brush([post, (post[0] - 0.07, grip_height), (post[0] + 0.14, grip_height - 0.04)], 0.058)
    else:
        bar = brush(
            [
                post,
                (post[0] - 0.13, grip_height - 0.01),
                (post[0] - 0.17, grip_height - 0.11),
                (post[0] - 0.08, grip_height - 0.17),
            ],
            0.055,
        )
    pen.fill(bar, dark, "rubber", "handlebar", shade="flat")
    pen.keypoint("handlebar", *post)
    if town and pen.chance(0.6):
        basket = polygon(
            (head[0] - 0.25, 0.85), (head[0] - 0.21, 0.63), (head[0] - 0.02, 0.63), (head[0] + 0.0, 0.85)
        )
        pen.fill(
            basket,
            vary(pen.rng, (0.68, 0.47, 0.25)),
            "wood",
            "bicycle frame",
            texture="woven",
            second=(0.4, 0.26, 0.12),
        )
    lamp = (head[0] - 0.04, 0.62)
    pen.fill(ellipse(*lamp, 0.058, 0.058, corners=16), LAMP_LIGHT, "glass", "headlight", shade="flat")
    pen.keypoint("headlight", *lamp)
