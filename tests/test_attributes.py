"""One knob turned and nothing else; accuracies and differences by hand; the stored table is what the networks say."""

from __future__ import annotations

import math
from pathlib import Path

import attribute_curves
import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from cnnvis_helpers import attributes, diorama, zoo


def bright(images: Tensor) -> Tensor:
    """A classifier that depends on the image: its mean brightness in sixteenths."""
    return (images.mean((1, 2, 3)) * 15.999).long()


def table_of(rows: dict[tuple[str, str, str], list[int | None]]) -> pd.DataFrame:
    index = pd.MultiIndex.from_tuples(rows, names=["attribute", "level", "who"])
    return pd.DataFrame(list(rows.values()), index=index, dtype="Int64")


# --- drawing ---


def test_one_knob_is_turned() -> None:
    for name, value in [("size", 0.3), ("facing", "left"), ("clutter", 3), ("exposure", -2), ("blur", 3)]:
        batch = attributes.drawn("test", [5, 2], name, value)
        for k, i in enumerate([5, 2]):
            example = diorama.render("test", i, diorama.Knobs(**{name: value}))  # type: ignore[arg-type]
            assert np.array_equal(batch.pixels[k], example.image)
        assert batch.labels.tolist() == [5, 2] and batch.maps is None


def test_every_level_can_be_drawn() -> None:
    assert set(attributes.LEVELS) == set(attributes.USUAL)
    for name, levels in attributes.LEVELS.items():
        assert len(set(levels)) == len(levels) > 1
        for level in levels:
            assert len(attributes.drawn("test", [0], name, level)) == 1


@pytest.mark.parametrize("index", [2, 5, 8, 13])  # a house, a person, a bird, a lamp
def test_what_is_turned_stays_whole_and_in_its_place(index: int) -> None:
    seen, middles = [], []
    for degrees in (0, 90, 180, -90):
        knobs = attributes._turned("test", index, degrees)
        example = diorama.render(
            "test", index, diorama.Knobs(turn=degrees, position=knobs.position, occluded=0)
        )
        assert knobs.turn == degrees
        seen.append(example.attributes["size"])
        x0, y0, x1, y1 = example.attributes["box"]
        middles.append(((x0 + x1) / 2, (y0 + y1) / 2))
    assert min(seen) > 0.85 * max(seen), "nothing is cut"
    assert max(math.dist(middles[0], m) for m in middles) < 8, "it is turned about its middle"
    upright = attributes._turned("test", index, 0)
    assert attributes._turned("test", index, 360 - 180).position != upright.position


def test_what_drawing_refuses() -> None:
    with pytest.raises(ValueError, match="no attribute 'colour'"):
        attributes.drawn("test", [0], "colour", 1)
    with pytest.raises(ValueError, match="size must lie between"):
        attributes.drawn("test", [0], "size", 2)
    with pytest.raises(ValueError, match="at least one example"):
        attributes.drawn("test", [], "size", 0.5)
    with pytest.raises(IndexError, match="outside the test split"):
        attributes.drawn("test", [10**6], "turn", 0)


# --- answers ---


def test_answers_are_those_to_the_drawn_images() -> None:
    table = attributes.answers({"bright": bright}, "size", [3, 7], levels=[0.3, 0.7])
    assert table.columns.tolist() == [3, 7]
    assert table.index.tolist() == [
        ("size", "0.3", "measured"), ("size", "0.3", "bright"), ("size", "0.7", "measured"), ("size", "0.7", "bright"),
    ]  # fmt: skip
    for level in (0.3, 0.7):
        batch = attributes.drawn("test", [3, 7], "size", level)
        assert table.loc[("size", str(level), "bright")].tolist() == bright(batch.images).tolist()
        measured = table.loc[("size", str(level), "measured")].to_numpy(float) / 1000
        assert measured == pytest.approx(batch.attributes["size"], abs=5e-4)
    dark = attributes.answers({"bright": bright}, "exposure", [3], levels=[-3, 3])
    assert dark[3].is_monotonic_increasing and len(dark) == 2


def test_what_answers_refuse() -> None:
    with pytest.raises(ValueError, match="call the classifier something else"):
        attributes.answers({"measured": bright}, "size", [0])
    with pytest.raises(ValueError, match="nothing to draw"):
        attributes.answers({"bright": bright}, "colour", [0])
    with pytest.raises(ValueError, match="no class each"):
        attributes.answers({"x": lambda x: x.mean((1, 2))}, "blur", [0], levels=[0])


# --- accuracies ---


def wilson(k: int, n: int, z: float = 1.959964) -> tuple[float, float]:
    """Wilson's formula, written out."""
    middle = (k + z * z / 2) / (n + z * z)
    half = z / (n + z * z) * math.sqrt(k * (n - k) / n + z * z / 4)
    return middle - half, middle + half


def test_a_curve_by_hand() -> None:
    rows: dict[tuple[str, str, str], list[int | None]] = {
        ("size", "0.2", "measured"): [10, 20, 30, 40] * 5,
        ("size", "0.2", "net"): [i % 16 if i < 6 else 15 for i in range(20)],  # scene 15 too
        ("size", "0.5", "net"): [i % 16 for i in range(18)] + [None, None],
        ("blur", "0", "net"): [0] * 20,
    }
    found = attributes.curve(table_of(rows), "size", "net")
    assert found["level"].tolist() == ["0.2", "0.5"] and found["images"].tolist() == [20, 18]
    assert found["accuracy"].tolist() == [7 / 20, 1]
    assert found[["low", "high"]].to_numpy() == pytest.approx(
        np.array([wilson(7, 20), wilson(18, 18)]), abs=1e-6
    )
    assert found["measured"][0] == pytest.approx(0.025) and math.isnan(found["measured"][1])
    wide = attributes.curve(table_of(rows), "size", "net", level=0.99)
    assert (wide["low"] < found["low"]).all()
    for name, who in [("turn", "net"), ("size", "me")]:
        with pytest.raises(ValueError, match=f"no '{name}' of '{who}'; it has .*size of net"):
            attributes.curve(table_of(rows), name, who)
    for level in (0, 1):
        with pytest.raises(ValueError, match="between 0 and 1"):
            attributes.curve(table_of(rows), "size", "net", level=level)


def test_a_difference_is_taken_scene_by_scene() -> None:
    right = [i % 16 for i in range(100)]
    half = [c if i % 2 else 15 - c for i, c in enumerate(right)]
    rows: dict[tuple[str, str, str], list[int | None]] = {
        ("blur", "0", "net"): [*right[:99], None],
        ("blur", "2", "net"): list(half),
        ("blur", "4", "net"): [None] * 60 + right[60:],
    }
    table = table_of(rows)
    mean, low, high = attributes.difference(table, "blur", "net", 0, 2)
    assert mean == pytest.approx(-50 / 99) and low < mean < high < 0
    assert attributes.difference(table, "blur", "net", 2, 0).mean == pytest.approx(50 / 99)
    assert attributes.difference(table, "blur", "net", 0, 4) == (0, 0, 0), (
        "nothing changes on the common scenes"
    )
    assert high - low == pytest.approx(2 * 1.96 * math.sqrt(0.25 / 99), rel=0.1)
    with pytest.raises(ValueError, match="no blur 3; it has 0, 2, 4"):
        attributes.difference(table, "blur", "net", 0, 3)


# --- the stored table ---


def test_the_stored_table_is_whole() -> None:
    table = attributes.stored()
    for name, levels in attributes.LEVELS.items():
        for who in (*attribute_curves.NETWORKS, "colour histogram"):
            found = attributes.curve(table, name, who)
            assert found["level"].tolist() == [str(level) for level in levels]
            assert found["images"].sum() >= attribute_curves.IMAGES and found["images"].nunique() == 1
            assert found["images"].min() % 16 == 0, "all classes alike"
        assert ((name, str(levels[0]), "measured") in table.index) == (name in attributes.MEASURED)
    said = table[table.index.get_level_values("who") != "measured"].stack()
    assert said.between(0, 15).all()


@pytest.mark.parametrize(("name", "level"), [("size", 0.3), ("turn", 90), ("blur", 2)])
def test_the_stored_answers_are_those_of_the_network(name: str, level: float) -> None:
    net = zoo.load("diorama/alexnet")
    scenes = range(7, 19)
    predictors = {net.name: lambda x: net.probabilities(x).argmax(1)}
    again = attributes.answers(predictors, name, scenes, levels=[level])
    known = attributes.stored().loc[again.index, list(scenes)]
    assert (known == again).to_numpy().mean() > 0.95, "but for an answer on the edge"


# --- the script ---


def test_an_interrupted_script_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attribute_curves, "NETWORKS", ())
    monkeypatch.setattr(attribute_curves, "CHUNK", 2)
    monkeypatch.setattr(attribute_curves, "histogram", lambda n: bright)
    monkeypatch.setattr(attributes, "LEVELS", {"size": (0.3, 0.6), "facing": ("left", "right")})
    monkeypatch.setattr(attribute_curves, "scenes_of", lambda name, n: n if name == "size" else n + 2)
    out = tmp_path / "new" / "table.csv"
    real, calls = attributes.answers, []

    def once(*args: object) -> pd.DataFrame:
        calls.append(args)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(attributes, "answers", once)
    with pytest.raises(KeyboardInterrupt):
        attribute_curves.main(["--scenes", "4", "--out", str(out)])
    assert not out.exists() and [p.name for p in out.parent.iterdir()] == ["table.part"]
    attribute_curves.main(["--scenes", "4", "--out", str(out)])
    assert [p.name for p in out.parent.iterdir()] == ["table.csv"] and len(calls) == 3 + 3
    found = attributes.stored(out)
    who = {"colour histogram": bright}
    expected = pd.concat([real(who, "size", range(4)), real(who, "facing", range(6))])
    pd.testing.assert_frame_equal(found, expected)
    assert found.loc[("size", "0.3", "measured")].isna().tolist() == [False] * 4 + [True] * 2


def test_few_levels_get_more_scenes_and_the_histogram_counts_colours() -> None:
    counts = {name: attribute_curves.scenes_of(name, attribute_curves.SCENES) for name in attributes.LEVELS}
    for name, count in counts.items():
        assert (
            count % attribute_curves.CHUNK == 0
            and count * len(attributes.LEVELS[name]) >= attribute_curves.IMAGES
        )
    assert attribute_curves.scenes_of("facing", 16) == 16
    image = torch.zeros(1, 3, 2, 2)
    image[0, :, 0, 0] = torch.tensor([1.0, 0.5, 0.0])
    found = attribute_curves.colours(image)[0]
    assert found[5 * 36 + 2 * 6] == pytest.approx(0.5) and found[0] == pytest.approx(math.sqrt(0.75))
    assert (found > 0).sum() == 2
