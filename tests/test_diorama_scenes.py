"""Diorama's places and what stands in their foreground."""

from __future__ import annotations

import numpy as np
import pytest

from cnnvis_helpers.diorama import vocabulary
from cnnvis_helpers.diorama.canvas import Canvas
from cnnvis_helpers.diorama.foreground import OCCLUDERS, for_place
from cnnvis_helpers.diorama.scenes import PLACES
from cnnvis_helpers.diorama.shapes import rectangle
from cnnvis_helpers.diorama.vocabulary import CLASSES, SCENES, names

SEEDS = range(6)


def blank(seed: int) -> Canvas:
    light = np.array([0.3, -0.6, 0.7], np.float32)
    return Canvas(np.random.default_rng(seed), light / np.linalg.norm(light))


def drawn(scene: str, seed: int, background: float = 0.0) -> tuple[Canvas, float]:
    canvas = blank(seed)
    canvas.rgb[:] = background
    return canvas, PLACES[scene].draw(canvas)


def present(canvas: Canvas, category: str) -> set[str]:
    return {names(category)[i] for i in np.unique(canvas.labels[category])}


def test_the_table_has_every_scene_in_order() -> None:
    assert tuple(PLACES) == SCENES


@pytest.mark.parametrize("scene", SCENES)
def test_a_scene_fills_and_labels_every_pixel(scene: str) -> None:
    for seed in SEEDS:
        canvas, horizon = drawn(scene, seed)
        # Nothing of the bare canvas shows through.
        np.testing.assert_allclose(canvas.rgb, drawn(scene, seed, background=1.0)[0].rgb, atol=1e-3)
        assert (canvas.labels["object"] > 0).all()
        assert (canvas.labels["material"] > 0).all()
        assert 0.2 * canvas.side <= horizon <= 0.8 * canvas.side


@pytest.mark.parametrize("scene", SCENES)
def test_a_scene_holds_none_of_the_classes(scene: str) -> None:
    for seed in SEEDS:
        canvas, _ = drawn(scene, seed)
        assert not present(canvas, "object") & set(CLASSES)
        assert not canvas.instance.any()
        assert not canvas.silhouette.any()


@pytest.mark.parametrize("scene", SCENES)
def test_same_seed_same_bytes_other_seed_other_picture(scene: str) -> None:
    (a, horizon), (b, again), (c, _) = drawn(scene, 3), drawn(scene, 3), drawn(scene, 4)
    assert horizon == again
    assert a.rgb.tobytes() == b.rgb.tobytes()
    for category, labels in a.labels.items():
        np.testing.assert_array_equal(labels, b.labels[category])
    assert np.abs(a.rgb - c.rgb).mean() > 0.02


@pytest.mark.parametrize("scene", SCENES)
def test_colours_stay_in_range(scene: str) -> None:
    """Lights may glare a little above 1, but a scene is neither burnt out nor black."""
    for seed in SEEDS:
        canvas, _ = drawn(scene, seed)
        assert canvas.rgb.min() >= -0.2
        assert (canvas.rgb > 1.1).all(2).mean() < 0.2
        assert canvas.rgb.mean() > (0.08 if PLACES[scene].night else 0.15)


@pytest.mark.parametrize("scene", SCENES)
def test_things_stand_on_what_the_table_says(scene: str) -> None:
    """Just below the returned line, most of the row belongs to the ground."""
    place = PLACES[scene]
    shares = []
    for seed in range(12):
        canvas, horizon = drawn(scene, seed)
        row = canvas.labels["object"][-2]
        ground = {place.ground_owner, "floor", "counter"} if place.indoors else {place.ground_owner}
        ground |= {"floor"} if scene == "street" else set()
        shares.append(np.isin(row, [vocabulary.index("object", g) for g in ground]).mean())
        assert int(horizon) < canvas.side
    assert np.median(shares) > 0.8


@pytest.mark.parametrize(
    ("scene", "expected"),
    [
        ("street", {"building", "road"}),
        ("beach", {"water", "ground", "sky"}),
        ("forest", {"forest edge", "ground"}),
        ("sea", {"water", "sky"}),
        ("underwater", {"water", "ground"}),
        ("living room", {"wall", "floor"}),
        ("kitchen", {"wall", "counter"}),
        ("night city", {"building", "road", "sky"}),
    ],
)
def test_what_makes_a_place_is_always_there(scene: str, expected: set[str]) -> None:
    for seed in SEEDS:
        assert expected <= present(drawn(scene, seed)[0], "object")


def test_a_scene_varies_more_in_colour_than_scenes_differ() -> None:
    """No average colour gives the place away: within-scene spread is at least half of the whole spread."""
    means = np.array([[drawn(scene, seed)[0].rgb.mean((0, 1)) for seed in range(12)] for scene in SCENES])
    day = means[:-1]  # the night is dark by nature
    assert day.std(1).mean() > 0.5 * day.reshape(-1, 3).std(0).mean()


def test_places_in_water_and_indoors() -> None:
    assert {s for s, p in PLACES.items() if p.water} == {"sea", "underwater"}
    assert {s for s, p in PLACES.items() if p.under_water} == {"underwater"}
    assert {s for s, p in PLACES.items() if p.indoors} == {"living room", "kitchen"}
    assert {s for s, p in PLACES.items() if p.night} == {"night city"}


@pytest.mark.parametrize("scene", SCENES)
def test_every_place_has_occluders(scene: str) -> None:
    fitting = for_place(scene)
    assert len(fitting) >= 2
    assert set(fitting) <= set(OCCLUDERS)


def test_an_unknown_place_has_no_occluders() -> None:
    assert for_place("moon") == ()


@pytest.mark.parametrize("name", OCCLUDERS)
@pytest.mark.parametrize(
    "box", [(40, 40, 150, 196), (10, 110, 180, 196), (80, 20, 110, 196), (60, 90, 120, 170)]
)
def test_an_occluder_covers_its_rectangle(name: str, box: tuple[int, int, int, int]) -> None:
    for seed in SEEDS:
        canvas = blank(seed)
        canvas.owner, canvas.main = "house", True
        canvas.paint(rectangle(-1, -1, 193, 193), (0.5, 0.5, 0.5), material="brick", part="house wall")
        OCCLUDERS[name].draw(canvas, *box)
        x0, y0, x1, y1 = (min(v, canvas.side) for v in box)
        hidden = ~canvas.instance
        assert hidden[y0:y1, x0:x1].mean() >= 0.5
        if name != "wave":  # a wave has a foot wider than its crest
            outside = hidden.copy()
            outside[max(0, y0 - 6) : y1 + 6, max(0, x0 - 14) : x1 + 14] = False
            assert outside.mean() < 0.01
        assert canvas.silhouette.all()  # the object behind is whole, only hidden
        assert (canvas.labels["material"][hidden] > 0).all()
        assert not present(canvas, "object") & (set(CLASSES) - {"house"})


@pytest.mark.parametrize("name", OCCLUDERS)
def test_an_occluder_draws_the_same_for_the_same_seed(name: str) -> None:
    first, second = blank(5), blank(5)
    for canvas in (first, second):
        OCCLUDERS[name].draw(canvas, 30, 60, 120, 196)
    assert first.rgb.tobytes() == second.rgb.tobytes()


@pytest.mark.parametrize("name", OCCLUDERS)
def test_an_occluder_may_leave_the_picture(name: str) -> None:
    canvas = blank(1)
    OCCLUDERS[name].draw(canvas, -60, 150, 30, 260)
    OCCLUDERS[name].draw(canvas, 400, 10, 430, 190)
    assert np.isfinite(canvas.rgb).all()
