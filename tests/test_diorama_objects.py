"""Objects fill the frame that the composer trusts, in one piece, and label every pixel."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pytest
from scipy import ndimage

from cnnvis_helpers.diorama import textures, vocabulary
from cnnvis_helpers.diorama.canvas import SUPERSAMPLING, Canvas
from cnnvis_helpers.diorama.objects import OBJECTS, Pen
from cnnvis_helpers.diorama.objects.forms import above, lighter, rounded, tinted
from cnnvis_helpers.diorama.objects.pen import fitted
from cnnvis_helpers.diorama.shapes import ellipse, rectangle

DRAWS = 40
SIDE = 480  # canvas pixels: larger than in an image, so that a pixel's width hardly counts
FOOT = (SIDE / 2, 360.0)


def height_of(name: str) -> float:
    """As tall as an object may be (a surface is cut out of one tile), in canvas pixels."""
    return min(200.0, 0.85 * textures.TILE / OBJECTS[name].aspect)


# In every draw; what only some have (a chimney, a collar) is not listed.
PARTS = {
    "car": "wheel,car body,car cabin,car window,vehicle door,headlight,bumper",
    "bus": "wheel,bus body,bus window,vehicle door,headlight,bumper",
    "house": "house wall,roof,house door,house window,window frame,knob",
    "tree": "trunk",
    "boat": "hull,mast",
    "person": "human head,hair,eye,torso,arm,human leg,shoe",
    "cat": "cat head,ear,eye,nose,furry body,furry leg,furry tail",
    "dog": "dog head,snout,ear,eye,nose,furry body,furry leg,furry tail",
    "bird": "bird head,beak,eye,bird body,bird wing,bird tail",
    "fish": "fish head,eye,fish body,fish tail,fin",
    "plane": "fuselage,plane wing,plane tail,plane window,engine",
    "flower": "stem,leaf,petal,flower centre",
    "chair": "seat,chair back,chair leg",
    "lamp": "lamp shade,lamp pole,lamp base",
    "cup": "cup body,cup rim,drink,handle",
    "bicycle": "wheel,bicycle frame,saddle,handlebar,headlight",
}
EITHER = {"tree": {"crown", "leaf"}, "boat": {"sail", "boat cabin"}}
KEYPOINTS = {
    "car": {"wheel": 2, "headlight": 1},
    "bus": {"wheel": 2, "headlight": 1},
    "house": {"roof top": 1, "door": 1},
    "tree": {"crown top": 1, "foot": 1},
    "boat": {"bow": 1, "mast top": 1},
    "person": {"head": 1, "hand": 2, "foot": 2, "eye": 2},
    "cat": {"eye": 2, "ear": 2, "nose": 1, "tail tip": 1},
    "dog": {"eye": 1, "ear": 1, "nose": 1, "tail tip": 1},
    "bird": {"beak": 1, "eye": 1, "tail": 1, "wing tip": 1},
    "fish": {"eye": 1, "tail": 1, "mouth": 1},
    "plane": {"nose": 1, "tail": 1, "wing tip": 1},
    "flower": {"flower centre": 1},
    "chair": {"seat": 1, "back top": 1},
    "lamp": {"shade": 1, "base": 1},
    "cup": {"handle": 1, "rim": 1},
    "bicycle": {"wheel": 2, "headlight": 1, "saddle": 1, "handlebar": 1},
}


@dataclass
class Drawn:
    canvas: Canvas
    pen: Pen

    @property
    def box(self) -> tuple[float, float, float, float]:
        """Left, right, bottom and top of the silhouette in the object's frame."""
        rows, columns = np.nonzero(self.canvas.silhouette)
        h = self.pen.height
        left, right = (columns.min() - FOOT[0]) / h, (columns.max() + 1 - FOOT[0]) / h
        return left, right, (FOOT[1] - rows.max() - 1) / h, (FOOT[1] - rows.min()) / h

    @property
    def parts(self) -> set[str]:
        seen = np.unique(self.canvas.labels["part"][self.canvas.instance])
        return {vocabulary.names("part")[i] for i in seen}


def draw(name: str, seed: int, *, mirrored: bool = False, flying: bool = False, height: float = 0.0) -> Drawn:
    canvas = Canvas(
        np.random.default_rng(seed), np.array([0.3, -0.5, 0.81]), side=SIDE, owner=name, main=True
    )
    canvas.rgb[:] = 0.5
    pen = Pen(canvas, FOOT, height or height_of(name), mirrored=mirrored, flying=flying)
    OBJECTS[name].draw(pen)
    return Drawn(canvas, pen)


@lru_cache(maxsize=1)  # the tests run kind by kind
def draws(name: str) -> list[Drawn]:
    return [draw(name, seed, flying=name == "bird" and seed % 2 == 0) for seed in range(DRAWS)]


def test_one_kind_for_each_class() -> None:
    assert tuple(OBJECTS) == vocabulary.CLASSES
    for kind in OBJECTS.values():
        assert set(kind.where) <= set(vocabulary.SCENES)
    stands = {name: kind.stands for name, kind in OBJECTS.items() if kind.stands != "ground"}
    assert stands == {"plane": "air", "fish": "water", "boat": "afloat"}


@pytest.mark.parametrize("name", vocabulary.CLASSES)
class TestEveryKind:
    def test_fills_its_frame(self, name: str) -> None:
        aspect = OBJECTS[name].aspect
        for drawn in draws(name):
            left, right, bottom, top = drawn.box
            assert 0.92 <= top - bottom <= 1.05
            assert abs(bottom) <= 0.02
            assert abs(left + right) / 2 <= 0.08 * aspect
            assert 0.77 <= (right - left) / aspect <= 1.23

    def test_is_one_piece(self, name: str) -> None:
        for drawn in draws(name):
            pieces, _ = ndimage.label(drawn.canvas.instance, np.ones((3, 3)))
            sizes = np.bincount(pieces.ravel())[1:]
            assert sizes.max() >= 0.97 * sizes.sum()

    def test_has_its_parts(self, name: str) -> None:
        for drawn in draws(name):
            assert set(PARTS[name].split(",")) <= drawn.parts
            assert drawn.parts & EITHER.get(name, drawn.parts)
            assert drawn.canvas.instance[drawn.canvas.labels["part"] > 0].all()

    def test_labels_are_in_the_vocabulary(self, name: str) -> None:
        for drawn in draws(name):
            for category, labels in drawn.canvas.labels.items():
                assert labels.max() < len(vocabulary.names(category))
            mine = drawn.canvas.labels["object"] == vocabulary.index("object", name)
            np.testing.assert_array_equal(mine, drawn.canvas.instance)

    def test_keypoints_lie_on_it(self, name: str) -> None:
        for drawn in draws(name):
            assert {k: len(v) for k, v in drawn.pen.keypoints.items()} == KEYPOINTS[name]
            near = ndimage.binary_dilation(drawn.canvas.silhouette, iterations=int(0.04 * drawn.pen.height))
            for points in drawn.pen.keypoints.values():
                for x, y in points:
                    assert near[round(y * SUPERSAMPLING), round(x * SUPERSAMPLING)]

    def test_same_seed_same_picture(self, name: str) -> None:
        first, again = draws(name)[3], draw(name, 3)
        assert first.canvas.rgb.tobytes() == again.canvas.rgb.tobytes()
        assert all((first.canvas.labels[k] == again.canvas.labels[k]).all() for k in first.canvas.labels)
        assert first.pen.keypoints == again.pen.keypoints
        assert first.canvas.rgb.tobytes() != draws(name)[5].canvas.rgb.tobytes()

    def test_small_ones_hold_together(self, name: str) -> None:
        """At 30 image pixels the thin strokes of a bicycle or a chair are still there."""
        for seed in range(6):
            drawn = draw(name, seed, height=60.0)
            pieces, _ = ndimage.label(drawn.canvas.instance, np.ones((3, 3)))
            sizes = np.bincount(pieces.ravel())[1:]
            assert sizes.max() >= 0.97 * sizes.sum()


def test_mirrored_faces_the_other_way() -> None:
    left, right = draw("car", 0), draw("car", 0, mirrored=True)
    axis = FOOT[0] / SUPERSAMPLING
    (x, y), (mirrored_x, mirrored_y) = left.pen.keypoints["headlight"][0], right.pen.keypoints["headlight"][0]
    assert x < axis < mirrored_x
    assert (x + mirrored_x) / 2 == pytest.approx(axis)
    assert y == pytest.approx(mirrored_y)


def test_a_flying_bird_has_no_feet() -> None:
    assert "bird foot" in draw("bird", 1).parts
    assert "bird foot" not in draw("bird", 1, flying=True).parts


def test_fitted_moves_and_scales() -> None:
    @fitted
    def slab(pen: Pen) -> None:  # 4 wide, 2 high, its foot at 10
        pen.fill(rectangle(5, 10, 9, 12), (1, 0, 0))
        pen.fill(rectangle(0, 0, 50, 50), (1, 0, 0), labelled=False)  # a reflection counts for nothing
        pen.fill(rectangle(6, 11, 8, 12) - rectangle(0, 0, 50, 50), (1, 0, 0))  # nor does a hole
        pen.keypoint("corner", 9, 12)

    canvas = Canvas(np.random.default_rng(0), np.array([0.0, 0.0, 1.0]), side=SIDE, owner="cup", main=True)
    pen = Pen(canvas, (100.0, 300.0), 50.0)
    slab(pen)
    rows, columns = np.nonzero(canvas.silhouette)
    assert (columns.min(), rows.min()) == (50, 250)
    assert (columns.max(), rows.max()) == pytest.approx((150, 300), abs=1)
    assert pen.keypoints == {"corner": [(150 / SUPERSAMPLING, 250 / SUPERSAMPLING)]}


def test_forms() -> None:
    square = rounded((0, 0), (1, 0), (1, 1), (0, 1), radius=0.2).polygons[0]
    assert square.min() >= 0
    assert square.max() <= 1
    assert (
        np.abs(square - 0.5).max(1).min() >= 0.5 - 0.2 / 4 - 1e-9
    )  # a Bézier corner misses its point by r/4
    assert not (square == (0, 0)).all(1).any()
    assert above(ellipse(0, 0, 1, 1), -0.5).polygons[0][:, 1].min() == -0.5
    np.testing.assert_allclose(tinted((0.4, 0.6, 0.8), 1.5), (0.6, 0.9, 1.0), rtol=1e-6)
    np.testing.assert_allclose(lighter((0.0, 0.5, 1.0), 0.5), (0.5, 0.75, 1.0))
