"""An image depends on (version, split, index, knobs) alone, and its labels are the truth."""

from __future__ import annotations

import hashlib
import importlib
import subprocess
import sys
import threading

import numpy as np
import pytest

from cnnvis_helpers import diorama
from cnnvis_helpers.diorama import CATEGORIES, CLASSES, SCENES, Knobs, index, names, render
from cnnvis_helpers.diorama.palette import RGB, name_colours
from cnnvis_helpers.diorama.vocabulary import COLOURS

render_module = importlib.import_module(
    "cnnvis_helpers.diorama.render"
)  # the package's `render` is the function


def fingerprint(split: str, i: int) -> str:
    e = render(split, i)
    maps = b"".join(e.maps[c].tobytes() for c in CATEGORIES)
    return hashlib.sha256(e.image.tobytes() + maps + e.instance.tobytes()).hexdigest()[:16]


def test_same_bytes_in_any_order_process_and_thread() -> None:
    forwards = [fingerprint("test", i) for i in range(4)]
    assert [fingerprint("test", i) for i in reversed(range(4))] == forwards[::-1]
    code = (
        "from tests.test_diorama_render import fingerprint; print(*map(fingerprint, ['test'] * 4, range(4)))"
    )
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert other.stdout.split() == forwards
    found: dict[int, str] = {}

    def work(i: int) -> None:
        found[i] = fingerprint("test", i)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert [found[i] for i in range(4)] == forwards


def test_splits_and_indices_give_different_images() -> None:
    prints = [fingerprint(s, i) for s in diorama.SPLITS for i in (0, 16)]
    assert len(set(prints)) == len(prints)


def test_example_is_complete_and_consistent() -> None:
    for i in range(32):
        e = render("validation", i)
        assert e.image.shape == (96, 96, 3) and e.image.dtype == np.uint8
        assert e.label == i % 16
        assert tuple(e.maps) == CATEGORIES
        for category in CATEGORIES:
            assert e.maps[category].shape == (96, 96)
            assert e.maps[category].max() < len(names(category))
        assert (e.maps["object"][e.instance] == index("object", CLASSES[e.label])).all()
        assert (e.maps["object"] > 0).all() and (e.maps["scene"] == e.attributes["scene"]).all()
        x0, y0, x1, y1 = e.attributes["box"]
        assert e.instance[y0:y1, x0:x1].sum() == e.instance.sum() == round(e.attributes["size"] * 96 * 96)
        assert e.instance[y0].any() and e.instance[y1 - 1].any()
        assert e.instance[:, x0].any() and e.instance[:, x1 - 1].any()
        assert 0 <= e.attributes["occluded"] <= 0.55


def test_a_class_can_be_asked_for_and_left_out() -> None:
    e = render("test", 0, Knobs(label="lamp", scene="kitchen", occluded=0, facing="left"))
    assert CLASSES[e.label] == "lamp" and SCENES[e.attributes["scene"]] == "kitchen"
    assert e.attributes["occluded"] == 0 and e.attributes["facing"] == -1
    for i in range(20):
        e = render(
            "test", i, Knobs(without=frozenset({"striped", "brick", "wheel", "forest", "car"}), clutter=4)
        )
        assert not (e.maps["texture"] == index("texture", "striped")).any()
        assert not (e.maps["material"] == index("material", "brick")).any()
        assert not (e.maps["part"] == index("part", "wheel")).any()
        assert SCENES[e.attributes["scene"]] != "forest"
        assert (
            i % 16 == 0 or not (e.maps["object"] == index("object", "car")).any()
        )  # images 0 and 16 are named after their cars


def test_one_knob_leaves_the_other_choices_alone() -> None:
    """The controlled comparison: a smaller object changes nothing far from it."""
    same, seen = 0, 0
    for i in range(16):
        full, absent = render("test", i, Knobs(occluded=0)), render("test", i, Knobs(absent=True))
        assert not absent.instance.any() and absent.attributes["box"] == (0, 0, 0, 0)
        assert absent.attributes["scene"] == full.attributes["scene"]
        assert absent.attributes["clutter"] == full.attributes["clutter"]
        equal = (full.image == absent.image).all(-1)
        assert not equal[full.instance].mean() > 0.2  # the object was there …
        same += int(equal[~full.instance].sum())
        seen += int((~full.instance).sum())
    assert same / seen > 0.7  # … and all but its shadow, glow and foam is the same picture without it


def test_leaving_out_leaves_no_hole() -> None:
    props = set(names("object")) - {"", *render_module._BACKDROPS} - set(CLASSES)
    for i, scene in enumerate(SCENES):
        shown = {
            names("object")[v] for v in np.unique(render("test", i, Knobs(scene=scene)).maps["object"])
        } & props
        for prop in shown:
            e = render("test", i, Knobs(scene=scene, without=frozenset({prop})))
            assert (e.maps["object"] > 0).all() and not (e.maps["object"] == index("object", prop)).any(), (
                scene,
                prop,
            )


def test_size_and_position_obey() -> None:
    for i in range(16):
        e = render("test", i, Knobs(size=0.3, position=(0.3, 0.6), occluded=0, turn=0))
        x0, y0, x1, y1 = e.attributes["box"]
        assert np.sqrt((x1 - x0) * (y1 - y0)) / 96 == pytest.approx(0.3, abs=0.08)
        assert (x0 + x1) / 192 == pytest.approx(0.3, abs=0.06)
        assert (y0 + y1) / 192 == pytest.approx(0.6, abs=0.06)


def test_leaving_out_all_other_classes_leaves_no_clutter() -> None:
    e = render("test", 3, Knobs(without=frozenset(CLASSES), clutter=2))
    assert e.attributes["clutter"] == 0 and e.instance.any()


def test_bias_ties_a_class_to_a_scene() -> None:
    knobs = Knobs(scene_of={"cat": "desert"})
    cat = CLASSES.index("cat")
    assert {SCENES[render("train", cat + 16 * i, knobs).attributes["scene"]] for i in range(6)} == {"desert"}


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (dict(label="unicorn"), "unknown class 'unicorn'; there are car"),
        (dict(scene="moon"), "unknown scene 'moon'; there are street"),
        (dict(scene_of={"cat": "moon"}), "unknown scene 'moon'"),
        (dict(size=1.5), "size must lie between 0.1 and 0.95"),
        (dict(occluded=0.9), "occluded must lie between 0.0 and 0.5"),
        (dict(clutter=-1), "clutter must lie between 0 and 4"),
        (dict(facing="up"), "facing must be 'left' or 'right'"),
        (dict(without=frozenset({"plaid"})), "cannot leave out 'plaid'"),
        (dict(without=frozenset({"wall"})), "'wall' fills whole scenes .* such as 'living room'"),
        (dict(without=frozenset(SCENES)), "at least one scene"),
        (dict(exposure=float("nan")), "exposure must lie between"),
        (dict(without="cat"), "without is a set of names"),
        (dict(position=(float("nan"), 0.5)), "position is"),
        (dict(position=(50.0, 0.5)), "position is"),
        (dict(clutter=2.5), "whole number"),
        (dict(scene_of={"cat": "beach"}, without=frozenset({"beach"})), "left out by `without`"),
        (dict(without=frozenset({"sky"})), "'sky' fills whole scenes"),
    ],
)
def test_bad_knobs_get_one_sentence(bad: dict, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Knobs(**bad)


def test_bad_split_and_index() -> None:
    with pytest.raises(ValueError, match="unknown split 'dev'; there are train, validation, test"):
        render("dev", 0)
    with pytest.raises(IndexError, match="index 2000 is outside the test split: 0 … 1999"):
        render("test", 2000)
    with pytest.raises(ValueError, match="unknown category 'smell'; there are scene"):
        names("smell")
    with pytest.raises(ValueError, match="unknown part 'rotor'; there are wheel"):
        index("part", "rotor")


def test_colours_are_named_as_people_name_them() -> None:
    swatches = (np.array([[RGB[c] for c in COLOURS]]) * 255).astype(np.uint8)
    assert [COLOURS[i] for i in name_colours(swatches)[0]] == list(COLOURS)
    others = {
        (255, 0, 0): "red",
        (0, 255, 0): "green",
        (30, 30, 30): "black",
        (250, 250, 250): "white",
        (120, 70, 30): "brown",
    }
    for rgb, name in others.items():
        assert COLOURS[int(name_colours(np.array([[rgb]], np.uint8))[0, 0])] == name


# The first images of each split, drawn with numpy 2.4 and Pillow 13. Where this test fails and nothing in
# diorama/ was changed, another numpy or Pillow draws differently: the networks still work, but printed numbers move.
GOLDEN = {
    ("train", 0): "1012a4966f53b423",
    ("train", 5): "3f926a14742b031a",
    ("train", 11): "47af46dbfe951ada",
    ("validation", 0): "7eb3c66526df3553",
    ("validation", 5): "c382a95e7418be21",
    ("validation", 11): "56193d9717870c16",
    ("test", 0): "6da4df75b90030d2",
    ("test", 5): "e1d83007d609ce1e",
    ("test", 11): "6179c2d50f429a74",
}


@pytest.mark.parametrize("key", GOLDEN)
def test_images_are_those_the_networks_were_trained_on(key: tuple[str, int]) -> None:
    assert fingerprint(*key) == GOLDEN[key], (
        f"image {key} is not the one of data-set version {diorama.VERSION}: if you changed the drawing code, raise "
        "VERSION, render the sample and retrain; if not, your numpy or Pillow draws differently from the pinned ones"
    )
