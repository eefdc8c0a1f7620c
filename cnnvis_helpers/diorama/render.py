"""From (split, index) to a labelled image.

- `render`: one image with everything known about it
- `Knobs`: what can be fixed or biased: class, scene, size, place, occlusion, clutter, pose, light, concepts left out
- `Example`: the image, its label maps and its attributes
- `SPLITS`: the splits and how many images each has
- `VERSION`: version of the data set; any change of a pixel raises it

    >>> example = render("test", 3)
    >>> example.image.shape, example.label
    ((96, 96, 3), 3)
    >>> smaller = render("test", 3, Knobs(size=0.3))       # the same picture with a smaller tree
    >>> background = render("test", 3, Knobs(absent=True))  # … and without it

An image depends on (VERSION, split, index, knobs) alone. Every step draws on a random stream of its own, so turning one
knob leaves the other steps' choices alone: two images that differ in one knob are a controlled comparison.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image, ImageFilter

from .canvas import SIZE, Canvas
from .foreground import OCCLUDERS, for_place
from .objects import OBJECTS, Kind, Pen
from .palette import name_colours
from .scenes import PLACES, Place
from .shapes import ellipse
from .vocabulary import CATEGORIES, CLASSES, SCENES, names

VERSION = 1
SPLITS: Mapping[str, int] = {"train": 20_000, "validation": 2_000, "test": 2_000}
# What fills a scene from edge to edge cannot be left out of it: nothing would be there.
_BACKDROPS = {
    "sky": "beach",
    "road": "street",
    "floor": "living room",
    "counter": "kitchen",
    "ground": "beach",
    "water": "underwater",
    "wall": "living room",
    "forest edge": "forest",
    "cupboard": "kitchen",
}
_STEPS = ("plan", "scene", "clutter", "object", "occluder", "camera")


@dataclass(frozen=True)
class Knobs:
    """What to fix in an image; None leaves it to chance. The default is the data set itself.

    label, scene: names. scene_of: class name → scene name, the bias experiment. size: √(box area) / image side,
    0.1–0.95. position: (x, y) of the object's centre in units of the image side. occluded: share of the silhouette to
    hide (0 = nothing in front, at most 0.5; aimed at, not exact: see the attribute). clutter: how many other objects
    (0–4).
    facing: "left" or "right". turn: degrees of tilt. exposure: stops of brightness. blur: radius in pixels.
    without: names of objects, parts, materials, textures or scenes to leave out (of all but the main object's class).
    absent: leave the main object out.
    """

    label: str | None = None
    scene: str | None = None
    scene_of: Mapping[str, str] = field(default_factory=dict)
    size: float | None = None
    position: tuple[float, float] | None = None
    occluded: float | None = None
    clutter: int | None = None
    facing: str | None = None
    turn: float | None = None
    exposure: float | None = None
    blur: float | None = None
    without: frozenset[str] = frozenset()
    absent: bool = False

    def __post_init__(self) -> None:
        if isinstance(self.without, str):
            raise ValueError(f"without is a set of names, such as {{{self.without!r}}}, not one name")
        if self.position is not None and not (
            len(self.position) == 2 and all(-0.5 <= float(v) <= 1.5 for v in self.position)
        ):
            raise ValueError(f"position is (x, y), each between -0.5 and 1.5, not {self.position}")
        if self.clutter is not None and self.clutter != int(self.clutter):
            raise ValueError(f"clutter is a whole number of objects, not {self.clutter}")
        scenes = [s for s in (self.scene, *self.scene_of.values()) if s is not None]
        classes = [c for c in (self.label, *self.scene_of) if c is not None]
        for name, known, what in [(c, CLASSES, "class") for c in classes] + [
            (s, SCENES, "scene") for s in scenes
        ]:
            if name not in known:
                raise ValueError(f"unknown {what} {name!r}; there are {', '.join(known)}")
        for value, low, high, what in (
            (self.size, 0.1, 0.95, "size"),
            (self.occluded, 0.0, 0.5, "occluded"),
            (self.clutter, 0, 4, "clutter"),
            (self.turn, -180, 180, "turn"),
            (self.exposure, -4, 4, "exposure"),
            (self.blur, 0, 10, "blur"),
        ):
            if value is not None and not low <= value <= high:
                raise ValueError(f"{what} must lie between {low} and {high}, not {value}")
        if self.facing not in (None, "left", "right"):
            raise ValueError(f"facing must be 'left' or 'right', not {self.facing!r}")
        known_names = {n for category in CATEGORIES for n in names(category) if n}
        unknown = sorted(set(self.without) - known_names)
        if unknown:
            raise ValueError(
                f"cannot leave out {unknown[0]!r}: no category of Diorama has it (see vocabulary.names)"
            )
        for backdrop in sorted(set(_BACKDROPS) & set(self.without)):
            raise ValueError(
                f"{backdrop!r} fills whole scenes and cannot be left out of an image; leave out the scenes that show "
                f"it, such as {_BACKDROPS[backdrop]!r}"
            )
        if set(SCENES) <= set(self.without) or set(scenes) & set(self.without):
            raise ValueError("the scene asked for is left out by `without`: allow at least one scene")


@dataclass(frozen=True)
class Example:
    """An image and the truth about it.

    image: (96, 96, 3) uint8 RGB. label: index into CLASSES. maps: category → (96, 96) uint8 map of indices into
    `names(category)`. instance: (96, 96) bool, where the main object is seen. attributes: scene, size (share of the
    image that is the object), occluded (share of its silhouette, within the image, that is hidden), clutter (number of
    other objects), facing (−1 left, +1 right), turn (degrees), exposure (stops), blur (pixels), box (x0, y0, x1, y1,
    the last two exclusive; all 0 when nothing is seen). keypoints: name → [(x, y), …] in pixels, the same name more
    than once for a pair; points may lie behind an occluder or outside the image.
    """

    image: np.ndarray
    label: int
    maps: dict[str, np.ndarray]
    instance: np.ndarray
    attributes: dict[str, Any]
    keypoints: dict[str, list[tuple[float, float]]]


def streams(split: str, index: int) -> dict[str, np.random.Generator]:
    """One independent random generator for each step of image `index` of `split`.

    Raises `ValueError` for an unknown split and `IndexError` for an index outside it.
    """
    if split not in SPLITS:
        raise ValueError(f"unknown split {split!r}; there are {', '.join(SPLITS)}")
    if not 0 <= index < SPLITS[split]:
        raise IndexError(f"index {index} is outside the {split} split: 0 … {SPLITS[split] - 1}")
    number = list(SPLITS).index(split)
    return {s: np.random.default_rng([VERSION, number, int(index), k]) for k, s in enumerate(_STEPS)}


def render(split: str, index: int, knobs: Knobs | None = None) -> Example:
    """Draw image `index` of `split`: image i has class i mod 16 unless a knob says otherwise.

    Raises as `streams` does. Takes about 10 ms on one core.
    """
    knobs = knobs or Knobs()
    rng = streams(split, index)
    plan = rng["plan"]
    label = CLASSES[index % len(CLASSES)] if knobs.label is None else knobs.label
    kind = OBJECTS[label]
    scene = _choose_scene(plan, label, kind, knobs)
    place = PLACES[scene]
    azimuth = plan.uniform(-0.9, 0.9)
    light = np.array([math.sin(azimuth), -math.cos(azimuth), 0.8], np.float32)
    canvas = Canvas(rng["scene"], light / np.linalg.norm(light), without=frozenset(knobs.without))
    horizon = place.draw(canvas)
    canvas.ambient = np.array([0.72, 0.72, 0.85], np.float32) if place.night else None

    canvas.rng = rng["clutter"]
    clutter = _add_clutter(canvas, label, place, scene, horizon, knobs)
    canvas.rng = rng["object"]
    pen = _stand(canvas, plan, label, kind, place, horizon, knobs)
    if not knobs.absent:
        _draw_main(canvas, pen, label, kind, place)
        canvas.rng = rng["occluder"]
        _occlude(canvas, scene, knobs)

    rgb, maps, instance, silhouette = canvas.view()
    image, clean, camera = _photograph(rng["camera"], rgb, knobs)
    maps["scene"] = np.full((SIZE, SIZE), SCENES.index(scene), np.uint8)
    maps["colour"] = name_colours(clean)
    ys, xs = np.nonzero(instance)
    box = (int(xs.min()), int(ys.min()), int(xs.max()) + 1, int(ys.max()) + 1) if len(xs) else (0, 0, 0, 0)
    attributes = {
        "scene": SCENES.index(scene),
        "size": float(instance.mean()),
        "occluded": float(1 - instance.sum() / max(1, silhouette.sum())) if len(xs) else 0.0,
        "clutter": clutter,
        "facing": 1 if pen.mirrored else -1,
        "turn": math.degrees(pen.angle),
        **camera,
        "box": box,
    }
    ordered = {category: maps[category] for category in CATEGORIES}
    return Example(image, CLASSES.index(label), ordered, instance, attributes, pen.keypoints)


def _choose_scene(rng: np.random.Generator, label: str, kind: Kind, knobs: Knobs) -> str:
    """Four times in five a place where the object belongs, else any: scenes help, but do not give the class away."""
    usual = rng.random() < 0.8
    draws = rng.random(2)
    if knobs.scene is not None:
        return knobs.scene
    if label in knobs.scene_of:
        return knobs.scene_of[label]
    belongs = [s for s in kind.where if s not in knobs.without]
    anywhere = [s for s in SCENES if s not in knobs.without]
    choices = belongs if usual and belongs else anywhere
    return choices[int(draws[0] * len(choices))]


def _add_clutter(canvas: Canvas, label: str, place: Place, scene: str, horizon: float, knobs: Knobs) -> int:
    """Other, smaller objects in the background; returns how many."""
    rng, side = canvas.rng, canvas.side
    wanted = int(rng.integers(0, 3))
    if knobs.clutter is not None:
        wanted = knobs.clutter
    others = [c for c in CLASSES if c != label and c not in knobs.without]
    fitting = [c for c in others if scene in OBJECTS[c].where] or others
    for _ in range(wanted if others else 0):
        name = (fitting if rng.random() < 0.9 else others)[int(rng.integers(1 << 16)) % len(fitting)]
        kind = OBJECTS[name]
        size = rng.uniform(0.12, 0.22) * side
        height, width = size / math.sqrt(kind.aspect), size * math.sqrt(kind.aspect)
        x = rng.uniform(0.05, 0.95) * side
        y = horizon + rng.uniform(0.03, 0.22) * side
        if kind.stands == "air":
            y = rng.uniform(height + 2, max(height + 3, horizon))
        else:
            canvas.shadow(x, y, 0.4 * width, 0.05 * height, 0.3)
        canvas.owner = name
        kind.draw(Pen(canvas, (x, y), height, mirrored=bool(rng.random() < 0.5)))
    canvas.owner = ""
    return wanted if others else 0


def _stand(
    canvas: Canvas,
    rng: np.random.Generator,
    label: str,
    kind: Kind,
    place: Place,
    horizon: float,
    knobs: Knobs,
) -> Pen:
    """Where the main object stands, how large, and which way round."""
    side = canvas.side
    draws = rng.random(6)
    spread_x, spread_y = rng.beta(0.5, 0.5), rng.beta(0.7, 0.7)  # towards the edges: no hiding in the middle
    tilt = float(rng.normal())
    flying = kind.stands == "air" or (label == "bird" and not place.indoors and draws[0] < 0.45)
    swimming = place.under_water or kind.stands == "water"
    size = (0.36 + 0.36 * draws[1] if knobs.size is None else knobs.size) * side
    height = min(size / math.sqrt(kind.aspect), 0.95 * side)
    width = height * kind.aspect
    if width > 1.02 * side:
        width, height = 1.02 * side, 1.02 * side / kind.aspect
    over = 0.05  # at most this share of the object hangs over an edge
    left, right = width * (0.5 - over), side - width * (0.5 - over)
    x = left + (right - left) * spread_x if right > left else side / 2
    top_limit = height * (1 - 0.3 * over)  # the head is never cut off
    if flying:
        low, high = top_limit, max(top_limit, min(side, horizon + 0.1 * side))
    elif swimming:
        low, high = top_limit, side
    else:
        low, high = max(top_limit, horizon + 0.03 * side), 0.99 * side
    y = low + (high - low) * spread_y if high > low else min(low, 1.05 * side)
    if knobs.position is not None:
        x, y = knobs.position[0] * side, knobs.position[1] * side + height / 2
    mirrored = bool(draws[2] < 0.5) if knobs.facing is None else knobs.facing == "right"
    angle = tilt * (0.16 if flying or swimming else 0.035)
    pen = Pen(canvas, (x, y), height, mirrored, angle if knobs.turn is None else math.radians(knobs.turn))
    pen.flying = flying
    return pen


def _draw_main(canvas: Canvas, pen: Pen, label: str, kind: Kind, place: Place) -> None:
    """The main object with what ties it to the ground: its shadow, or foam where it stands in the sea."""
    (x, y), height = pen.foot, pen.height
    hovering = pen.flying or kind.stands == "water" or place.under_water
    if not hovering and not place.water:
        canvas.shadow(
            x - 0.1 * height * float(canvas.light[0]), y, 0.45 * height * kind.aspect, 0.06 * height, 0.5
        )
    canvas.owner, canvas.main = label, True
    kind.draw(pen)
    canvas.owner, canvas.main = "", False
    if place.water and not hovering:
        foam = ellipse(x, y, 0.52 * height * kind.aspect, 0.045 * height)
        canvas.paint(
            foam, (0.85, 0.91, 0.94), material="water", owner="water", opacity=0.75, soft=2.5, shade="flat"
        )


def _occlude(canvas: Canvas, scene: str, knobs: Knobs) -> None:
    """In four images of ten, hide 8–50 % of the main object behind something in the foreground."""
    rng, side = canvas.rng, canvas.side
    happens, aim = rng.random() < 0.4, rng.uniform(0.08, 0.5)
    if knobs.occluded is not None:
        happens, aim = knobs.occluded > 0, knobs.occluded
    ys, xs = np.nonzero(canvas.instance)
    choices = [name for name in for_place(scene) if name not in knobs.without]
    if not happens or not len(xs) or not choices:
        return
    occluder = OCCLUDERS[choices[rng.integers(len(choices))]]
    before = canvas.snapshot()
    way, offset, state = rng.random(), rng.random(), rng.bit_generator.state
    share = aim
    for _ in range(4):
        rect = _in_front(xs, ys, share, occluder.tall, way, offset, side)
        occluder.draw(canvas, *rect)
        hidden = 1 - canvas.instance.sum() / len(xs)
        if hidden <= 0.5:
            return
        canvas.restore(before)  # hid too much: the same occluder, narrower
        before = canvas.snapshot()
        rng.bit_generator.state = state
        share *= 0.6
    return


def _in_front(
    xs: np.ndarray, ys: np.ndarray, share: float, tall: bool, way: float, offset: float, side: int
) -> tuple[float, float, float, float]:
    """A rectangle that hides about `share` of the pixels at (xs, ys): (x0, y0, x1, y1), its foot below the canvas.

    Something tall is a band anywhere across the object; something low covers it from below, or one lower corner.
    """
    if tall:
        start = offset * (1 - share)
        x0, x1 = np.quantile(xs, (start, start + share))
        return float(x0), float(ys.min()) - 4.0, float(x1), side + 4.0
    if way < 0.4:
        y0 = np.quantile(ys, 1 - share)
        return float(xs.min()) - 0.1 * side, float(y0), float(xs.max()) + 0.1 * side, side + 4.0
    part = min(1.0, 1.05 * math.sqrt(share))
    y0 = float(np.quantile(ys, 1 - part))
    if way < 0.7:
        return float(xs.min()) - 0.08 * side, y0, float(np.quantile(xs, part)), side + 4.0
    return float(np.quantile(xs, 1 - part)), y0, float(xs.max()) + 0.08 * side, side + 4.0


def _photograph(
    rng: np.random.Generator, rgb: np.ndarray, knobs: Knobs
) -> tuple[np.ndarray, np.ndarray, dict[str, float]]:
    """Exposure, white balance, vignette, uneven light, contrast, blur and sensor noise.

    Returns the photo, the same without noise (colours are named from it) and what was done.
    """
    n = rng.normal(0, 1, 5)
    u = rng.random(4)
    exposure = 0.17 * n[0] if knobs.exposure is None else knobs.exposure
    t = np.linspace(-1, 1, SIZE, dtype=np.float32)
    y, x = t[:, None], t[None]
    vignette = 1 - 0.22 * u[0] * (y**2 + x**2) / 2
    uneven = 1 + 0.12 * n[3] * (y * math.sin(6 * u[1]) + x * math.cos(6 * u[1]))
    balance = np.array([1 + 0.05 * n[1], 1, 1 + 0.05 * n[2]], np.float32)
    lit = rgb * ((2.0**exposure) * vignette * uneven)[..., None].astype(np.float32) * balance
    lit = np.clip(lit, 0, 1) ** np.float32(math.exp(0.1 * n[4]))
    photo = Image.fromarray((255 * lit).astype(np.uint8))
    blur = 0.8 * u[2] if knobs.blur is None else knobs.blur
    if blur > 0.35:  # less is not seen
        photo = photo.filter(ImageFilter.GaussianBlur(float(blur)))
    clean = np.asarray(photo)
    noise = rng.standard_normal((SIZE, SIZE, 3), dtype=np.float32) * np.float32(1 + 5 * u[3])
    noisy = np.clip(clean + noise, 0, 255).astype(np.uint8)
    return noisy, clean, {"exposure": float(exposure), "blur": float(blur)}
