"""Network dissection: against slow loops, planted detectors, chance; gates, anchors, interruptions, folders."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import Subset

from cnnvis_helpers import dissection, hooks, images
from cnnvis_helpers.dissection import Dissection, Labels, Tally, dissect, read_folder, upsample
from cnnvis_helpers.patches import directions
from cnnvis_helpers.receptive_field import ReceptiveField, receptive_field
from cnnvis_helpers.survey import ResumeError, Threshold, survey

SIZE = 16
COLOURS = ("black", "red", "green", "blue")
VALUES = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]])


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def net() -> nn.Sequential:
    """Whole-number weights and strides that are powers of two: all arithmetic is exact."""
    layers = nn.Sequential(
        nn.Conv2d(3, 6, 3, stride=2, padding=1),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2),
        nn.Conv2d(6, 5, 3, padding=1),
        nn.Flatten(),
        nn.Linear(5 * 16, 4),
    )
    g = generator(3)
    for parameter in layers.parameters():
        parameter.data = torch.randint(-3, 4, parameter.shape, generator=g).float()
    return layers


def world(n: int, seed: int = 0) -> tuple[Tensor, Labels]:
    """Images of coloured rectangles with noise; a category without gaps and two that not every image carries."""
    g = np.random.default_rng(seed)
    colour = np.zeros((n, SIZE, SIZE), np.uint8)
    thing, stuff = np.zeros((n, SIZE, SIZE), np.uint8), np.zeros((n, SIZE, SIZE), np.int16)
    for i in range(n):
        for _ in range(3):
            (top, left), (height, width) = g.integers(0, 12, 2), g.integers(3, 9, 2)
            place = (i, slice(top, top + height), slice(left, left + width))
            colour[place] = g.integers(0, 4)
            if i % 3:
                thing[place] = g.integers(0, 3)
            if i % 4 == 0:
                stuff[place] = g.choice([0, 7, 300])
    noise = torch.from_numpy(g.integers(-1, 2, (n, 3, SIZE, SIZE))).float()
    x = 4 * VALUES[torch.from_numpy(colour).long()].permute(0, 3, 1, 2) + noise
    names = {"colour": COLOURS, "thing": ("", "cat", "dog"), "stuff": {7: "fog", 300: "red"}}
    return x, Labels({"colour": colour, "thing": thing, "stuff": stuff}, names)


# --- the slow, obvious reference ---


def slow_thresholds(a: np.ndarray, share: str) -> list[float]:
    """The largest activation that leaves at most the share above it."""
    values = [sorted(a[:, unit].ravel().tolist()) for unit in range(a.shape[1])]
    return [v[len(v) - int(Fraction(share) * len(v)) - 1] for v in values]


def slow_value(m: np.ndarray, y: float, x: float) -> float:
    """Bilinear between grid points, the nearest beyond."""
    y, x = min(max(y, 0), m.shape[0] - 1), min(max(x, 0), m.shape[1] - 1)
    i, j = int(y), int(x)
    k, l = min(i + 1, m.shape[0] - 1), min(j + 1, m.shape[1] - 1)  # noqa: E741
    top, bottom = m[i, j] * (1 - (x - j)) + m[i, l] * (x - j), m[k, j] * (1 - (x - j)) + m[k, l] * (x - j)
    return float(top * (1 - (y - i)) + bottom * (y - i))


def slow_masks(a: np.ndarray, thresholds: list[float], first: float, stride: int) -> np.ndarray:
    masks = np.zeros((*a.shape[:2], SIZE, SIZE), bool)
    for n, u, y, x in np.ndindex(masks.shape):
        masks[n, u, y, x] = slow_value(a[n, u], (y - first) / stride, (x - first) / stride) > thresholds[u]
    return masks


def slow_iou(masks: np.ndarray, labels: Labels, whose: Any) -> np.ndarray:
    """One ratio of sums for each unit and concept, over the images that carry the category."""
    iou = np.zeros((masks.shape[1], len(labels.concepts)))
    for k, (category, _) in enumerate(labels.concepts):
        ids = labels.categories.index(category)
        for unit in range(masks.shape[1]):
            both = either = 0
            for n in range(len(masks)):
                label = labels.read(int(whose[n]))[ids]
                if (label >= 0).any():
                    both += int((masks[n, unit] & (label == k)).sum())
                    either += int((masks[n, unit] | (label == k)).sum())
            iou[unit, k] = both / either if either else 0
    return iou


@pytest.mark.parametrize(("layer", "first", "stride"), [("1", 0.0, 2), ("3", 1.0, 4)])
def test_it_is_the_slow_reference_exactly(layer: str, first: float, stride: int) -> None:
    x, labels = world(50)
    found = dissect(net(), x, labels, layer, share=0.02, shuffles=2)[layer]
    a = hooks.activations(net(), x, layer)[layer].double().numpy()
    thresholds = slow_thresholds(a, "0.02")
    assert found.thresholds.tolist() == thresholds
    masks = slow_masks(a, thresholds, first, stride)
    assert 0.002 < masks.mean() < 0.03
    assert np.array_equal(found.iou, slow_iou(masks, labels, range(50)))
    assert np.array_equal(found.masks(net(), x).numpy(), masks)
    rounds = [slow_iou(masks, labels, found.tally.exchange(s)).max(1) for s in (1, 2)]
    assert np.array_equal(found.tally.best_by_chance, rounds)


def test_concepts_are_numbered_by_category_and_ids_may_have_gaps() -> None:
    _, labels = world(5)
    assert labels.concepts[3:] == [
        ("colour", "blue"),
        ("thing", "cat"),
        ("thing", "dog"),
        ("stuff", "fog"),
        ("stuff", "red"),
    ]
    assert labels.category_of.tolist() == [0, 0, 0, 0, 1, 1, 2, 2]
    assert labels.number("red", "stuff") == 7 and labels.number("dog") == 5
    read = labels.read(0)
    assert read.shape == (3, SIZE, SIZE)
    assert (read[1] == -1).all() and set(np.unique(read[2])) <= {-1, 6, 7}


def test_many_categories_do_not_overflow() -> None:
    """63 concepts: combined by multiplication with 64, what the first of 40 categories says would be shifted out."""
    maps = {f"{i}": np.roll(world(6)[1].maps["thing"], i, 1) for i in range(40)}
    names = {f"{i}": ("", "cat", "dog" if i < 23 else "") for i in range(40)}
    labels = Labels(maps, names)
    assert len(labels.concepts) == 63
    numbers, meaning, present = labels.combined((1, 2, 3))
    for j, i in enumerate((1, 2, 3)):
        assert np.array_equal(meaning[numbers[j]].T.reshape(40, SIZE, SIZE), labels.read(i))
        assert np.array_equal(present[j], (labels.read(i) >= 0).any((1, 2)))


def test_label_maps_of_any_kind_are_read_alike() -> None:
    g = np.random.default_rng(0)
    plain, gaps = g.integers(0, 3, (6, 4, 5)), g.choice([0, 2, 7, 300], (6, 4, 5))
    kinds = (np.uint8, np.int64, np.int16, np.uint64, np.int32, np.uint16)
    maps: dict[str, list[Any]] = {
        "plain": [a.astype(kind) for a, kind in zip(plain, kinds, strict=True)],
        "gaps": [torch.from_numpy(a.astype(np.int64)) for a in gaps],
    }
    maps["plain"][2] = maps["gaps"][3] = maps["gaps"][5] = None
    names: dict[str, Any] = {"plain": ("x", "y", "z"), "gaps": {2: "x", 7: "", 300: "w"}}
    labels = Labels(maps, names)
    wanted = np.full((6, 2, 4, 5), -1)
    for i, c, row, column in np.ndindex(wanted.shape):
        category = labels.categories[c]
        if maps[category][i] is not None:
            named = dict(enumerate(names["plain"])) if category == "plain" else names["gaps"]
            name = named.get(int(maps[category][i][row, column]), "")
            wanted[i, c, row, column] = labels.concepts.index((category, name)) if name else -1
    assert len(np.unique(wanted)) == 6
    assert all(np.array_equal(labels.read(i), wanted[i]) for i in range(6))
    numbers, meaning, present = labels.combined(tuple(range(6)))
    assert np.array_equal(meaning[numbers].swapaxes(1, 2), wanted.reshape(6, 2, -1))
    assert np.array_equal(present, (wanted >= 0).any((2, 3)))
    for wrong in (np.uint64(2**63 + 5), np.int8(-1), np.uint8(3)):
        maps["plain"][4] = np.full((4, 5), wrong)
        with pytest.raises(
            ValueError, match=rf"'plain' map of image 4 holds \[{wrong}\], ids without a name"
        ):
            labels.combined((0, 1, 2, 3, 4))


# --- what it must and must not find ---


def planted() -> nn.Sequential:
    """Unit 0 sees red, unit 1 one-pixel stripes, unit 2 nothing, unit 3 is constant."""
    model = nn.Sequential(nn.Conv2d(3, 4, (1, 3), padding=(0, 1)), nn.ReLU())
    weight = torch.zeros(4, 3, 1, 3)
    weight[0, :, 0, 1] = torch.tensor([1.0, -1, -1])
    weight[1, :, 0, 1], weight[1, :, 0, 2] = 1, -1
    weight[2] = -1
    model[0].weight.data, model[0].bias.data = weight, torch.tensor([0.0, 0, 0, 5])
    return model


def painted(n: int, seed: int = 0) -> tuple[Tensor, dict[str, np.ndarray]]:
    """Black images with one small square of some colour and one of grey stripes, anywhere."""
    g = np.random.default_rng(seed)
    colour, texture = np.zeros((2, n, SIZE, SIZE), np.uint8)
    for i in range(n):
        for maps, value in ((colour, 1 + i % 3), (texture, 1)):
            top, left = g.integers(0, 12, 2)
            maps[i, top : top + 4, left : left + 4] = value
    x = VALUES[torch.from_numpy(colour).long()].permute(0, 3, 1, 2)
    stripes = torch.from_numpy(texture)[:, None] * (torch.arange(SIZE) % 2) * 3.0
    return torch.where(torch.from_numpy(texture)[:, None] > 0, stripes, x), {
        "colour": np.where(texture > 0, 0, colour),
        "texture": texture,
    }


NAMES = {"colour": ("", "red", "green", "blue"), "texture": ("", "striped")}


def test_planted_detectors_are_found_and_silent_units_have_no_concept() -> None:
    x, maps = painted(200)
    found = dissect(planted(), x, Labels(maps, NAMES), "1", share=0.04, shuffles=60)["1"]
    table = found.table()
    assert list(table.columns) == ["layer", "unit", "concept", "category", "iou", "chance", "p"]
    assert table.concept[:2].tolist() == ["red", "striped"] and table.category[:2].tolist() == [
        "colour",
        "texture",
    ]
    assert table.iou[0] == 1 and 0.3 < table.iou[1] < 0.6, (
        "of a striped square the light lines are in the mask"
    )
    assert (table.p[:2] == 1 / 61).all() and (table.chance[:2] < 0.1).all()
    for unit in (2, 3):
        assert table.concept.isna()[unit] and table.iou[unit] == 0 and table.p[unit] == 1
    assert found.detectors().unit.tolist() == [0, 1]
    counts = found.counts()
    assert counts.loc["colour"].tolist()[:2] == counts.loc["texture"].tolist()[:2] == [1, 1]
    assert counts.loc["all"].tolist()[:2] == [2, 2] and 0 <= counts.loc["all", "chance"] < 2
    assert found.best_units("striped").unit.tolist()[0] == 1
    assert found.best_units("red", k=1).to_dict("records") == [{"unit": 0, "iou": 1.0}]


def test_no_concept_no_detector() -> None:
    x, maps = painted(90)
    without = {**maps, "colour": np.where(maps["colour"] == 1, 0, maps["colour"])}
    table = dissect(planted(), x, Labels(without, NAMES), "1", share=0.04)["1"].table()
    assert table.iou[0] < 0.02 and table.concept[1] == "striped"
    nameless = Labels(maps, {**NAMES, "colour": ("", "", "green", "blue")})
    assert dissect(planted(), x, nameless, "1", share=0.04)["1"].table().iou[0] < 0.02


def test_units_that_know_nothing_are_at_chance_though_the_best_concept_is_chosen() -> None:
    n, units = 130, 400
    _, labels = world(n)
    maps = torch.rand(n, units, 4, 4, generator=generator(5))
    field = ReceptiveField((4, 4), (4, 4), (0, 0), (SIZE, SIZE))
    (t,) = survey(nn.Sequential(nn.Identity()), maps, [Threshold("0", n, 0.05)])
    tally = Tally("x", labels, t.value, field, shuffles=39)
    for positions in torch.arange(n).split(50):
        tally.update(maps[[tally.order[p] for p in positions]], positions)
    table = Dissection("x", tally).table()
    for level in (0.05, 0.25, 0.5):
        spread = 4 * (level * (1 - level) / units) ** 0.5
        assert abs((table.p <= level).mean() - level) < spread
    assert table.iou.mean() == pytest.approx(table.chance.mean(), rel=0.03)
    # One concept chosen beforehand would be below: the price of the choice is in the chance level.
    assert (tally.iou.mean(0) < 0.9 * table.chance.mean()).all()


def test_every_image_gets_the_labels_of_another() -> None:
    _, labels = world(200)
    field = ReceptiveField((1, 1), (1, 1), (0, 0), (SIZE, SIZE))
    for shuffles, n in ((20, 200), (90, 200), (1, 2), (0, 1), (49, 50)):
        part = Labels(
            {c: m[:n] for c, m in labels.maps.items()},
            {"colour": COLOURS, "thing": ("", "cat", "dog"), "stuff": {7: "a", 300: "b"}},
        )
        tally = Tally("x", part, torch.zeros(1), field, shuffles=shuffles)
        assert sorted(tally.order) == list(range(n))
        assert tally.exchange(0).tolist() == list(range(n))
        rounds = np.array([tally.exchange(s) for s in range(1 + shuffles)])
        assert all(len(set(of_image)) == 1 + shuffles for of_image in rounds.T), "another one each time"
        assert all(sorted(one) == list(range(n)) for one in rounds)


def test_an_image_counts_by_what_it_carries_not_by_what_is_under_the_mask() -> None:
    a = torch.zeros(3, 1, 4, 4)
    a[:, 0, 0] = 1  # four pixels in each image
    thing, colour = np.zeros((2, 3, 4, 4), np.uint8)
    thing[0, 0, :2] = 1  # met by the mask
    thing[1, 3] = 2  # the category, but not under the mask: the four pixels of the mask count
    labels = Labels({"thing": thing, "colour": colour}, {"thing": ("", "cat", "dog"), "colour": ("grey",)})
    tally = Tally(
        "x", labels, torch.tensor([0.5]), ReceptiveField((1, 1), (1, 1), (0, 0), (4, 4)), shuffles=0
    )
    tally.update(a[tally.order], torch.arange(3))
    assert tally.iou.tolist() == [[2 / 8, 0, 12 / 48]], "cat: 2 of 4 + 4, not of 4 and not of 12"
    assert tally.pixels.tolist() == [2, 4, 48]
    assert np.isnan(Dissection("x", tally).table().p[0])


# --- anchors ---


def test_upsampling_is_anchored_at_receptive_field_centres() -> None:
    model = nn.Sequential(nn.Conv2d(1, 1, 3, stride=4), nn.Conv2d(1, 1, 2))
    field = receptive_field(model, "1", (19, 15))  # units at rows 3, 7, 11, 15
    ramp = torch.arange(4.0)[:, None].expand(4, 3)
    wanted = [min(max((row - field.centre()[0]) / 4, 0), 3) for row in range(19)]
    assert field.centre()[0] == 3 and upsample(ramp, field, (19, 15))[:, 5].tolist() == wanted
    assert upsample(ramp, field, (19, 15)).shape == (19, 15)
    across = upsample(ramp[:3].T[None], field, (19, 15))
    assert across.shape == (1, 19, 15) and across[0, 0].tolist() == wanted[:11] + [2.0] * 4
    constant = upsample(torch.full((2, 5, 4), 0.1), field, (19, 15))
    assert (constant == 0.1).all(), "a constant stays the same to the last bit"
    assert (upsample(torch.tensor([[7.0]]), field, (2, 3)) == 7).all()


def test_interpolation_never_exceeds_the_values() -> None:
    field = ReceptiveField((5, 5), (3, 3), (-2, -2), (40, 40))
    a = torch.randn(200, 14, 14, generator=generator(1)) * 10.0 ** torch.randint(
        -3, 4, (200, 1, 1), generator=generator(2)
    )
    up = upsample(a, field, (40, 40))
    assert (up.amax((1, 2)) <= a.amax((1, 2))).all() and (up.amin((1, 2)) >= a.amin((1, 2))).all()


def test_a_shifted_anchor_gives_another_and_worse_iou() -> None:
    """A unit of stride 4 that sees a red square: its mask is on it with its own field, beside it with another."""
    model = nn.Sequential(nn.Conv2d(3, 1, 4, stride=4), nn.ReLU())
    model[0].weight.data = torch.tensor([1.0, -1, -1])[None, :, None, None].expand(1, 3, 4, 4) / 16
    model[0].bias.data.zero_()
    colour = np.zeros((16, SIZE, SIZE), np.uint8)
    for i in range(16):
        top, left = 4 * (i % 4), 4 * (i // 4)
        colour[i, top : top + 4, left : left + 4] = 1
    a = hooks.activations(model, VALUES[torch.from_numpy(colour).long()].permute(0, 3, 1, 2), "1")["1"]
    labels = Labels({"colour": colour}, {"colour": ("", "red")})

    def iou(field: ReceptiveField) -> float:
        tally = Tally("1", labels, torch.tensor([0.3]), field, shuffles=0)
        tally.update(a[tally.order], torch.arange(16))
        return float(tally.iou[0, 0])

    own = receptive_field(model, "1", (SIZE, SIZE))
    assert own.centre() == (1.5, 1.5) and iou(own) > 0.65
    shifted = ReceptiveField((4, 4), (4, 4), (-1, -1), (SIZE, SIZE))
    corners = ReceptiveField(
        (1, 1), (5, 5), (0, 0), (SIZE, SIZE)
    )  # first and last unit on the outermost pixels
    assert iou(shifted) < 0.6 and iou(corners) < 0.6
    stretched = nn.functional.interpolate(a, size=(SIZE, SIZE), mode="bilinear", align_corners=True)
    assert torch.allclose(stretched, upsample(a, corners, (SIZE, SIZE)), atol=1e-6), (
        "torch's other convention"
    )


# --- parts, interruptions, memory ---


def state(found: Dissection) -> dict[str, Any]:
    return {name: t.tolist() for name, t in found.tally.state_dict().items()} | {
        "t": found.thresholds.tolist()
    }


def test_batches_layers_and_a_second_run_make_no_difference() -> None:
    x, labels = world(70)
    model = net().train()
    both = dissect(model, list(x), labels, ["1", "3"], share=0.02)
    assert model.training and all(p.requires_grad for p in model.parameters())
    assert list(both) == ["1", "3"] and both["1"].table().layer.unique() == ["1"]
    for layer in ("1", "3"):
        assert state(dissect(net(), x, labels, layer, share=0.02, batch=11)[layer]) == state(both[layer])
        twice = dissect(net(), x, labels, ["1", "3"], share=0.02, batch=17, cache=0)[layer]
        assert state(twice) == state(both[layer])
    other = dissect(net(), x, labels, "1", share=0.02, seed=1)["1"]
    assert np.array_equal(other.iou, both["1"].iou)
    assert not np.array_equal(other.tally.best_by_chance, both["1"].tally.best_by_chance)


@pytest.fixture
def threads() -> Iterator[Callable[[int], None]]:
    """A function that sets how many threads torch uses; the number is put back."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def test_threads_make_no_difference(threads: Callable[[int], None]) -> None:
    x, labels = world(150)
    found = []
    for count in (1, 3):
        threads(count)
        found.append(dissect(net(), x, labels, ["1", "3"], share=0.02, shuffles=3, batch=16))
        assert torch.get_num_threads() == count
    for layer in ("1", "3"):
        assert state(found[0][layer]) == state(found[1][layer]) and found[0][layer].tally.seen == 150


def test_what_is_wrong_in_a_thread_is_said_and_ends_it(threads: Callable[[int], None]) -> None:
    threads(2)
    x, labels = world(300)
    labels.maps["thing"][70] = 99  # a group that no check before the run reads
    with pytest.raises(ValueError, match="image 70 holds"):
        dissect(net(), x, labels, "1", shuffles=3, batch=16)
    assert torch.get_num_threads() == 2


def test_halves_merged_are_the_whole() -> None:
    x, labels = world(70)
    whole = dissect(net(), x, labels, "3", share=0.02)["3"]
    parts = (range(40, 70), range(40))
    first, second = (survey(net(), x, [Threshold("3", 70, 0.02)], part=part)[0] for part in parts)
    first.merge(second)
    field = receptive_field(net(), "3", (SIZE, SIZE))
    tally = Tally("3", labels, first.value, field)
    again = Subset(x, tally.order)
    one, two = (survey(net(), again, [tally], part=part)[0] for part in parts)
    assert one.iou.tolist() != whole.iou.tolist()
    one.merge(two)
    assert state(Dissection("3", one)) == state(whole)


class Killed(Exception):
    pass


class Data:
    """Images that count how often they are asked for, and stop at a certain count."""

    def __init__(self, x: Tensor, stop: int) -> None:
        self.x, self.stop, self.asked = x, stop, 0

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, i: int) -> Tensor:
        self.asked += 1
        if self.asked == self.stop:
            raise Killed
        return self.x[i]


@pytest.mark.parametrize("stop", [40, 110])  # in the first run, in the second
def test_a_killed_run_goes_on(stop: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = iter(range(0, 10**6, 100))
    monkeypatch.setattr(
        "cnnvis_helpers.survey.run.time.monotonic", lambda: next(ticks)
    )  # saves at each batch
    x, labels = world(70)
    wanted = state(dissect(net(), x, labels, "3", share=0.02, batch=8)["3"])
    with pytest.raises(Killed):
        dissect(net(), Data(x, stop), labels, "3", share=0.02, batch=8, resume=tmp_path / "a")
    rest = Data(x, -1)
    found = dissect(net(), rest, labels, "3", share=0.02, batch=8, resume=tmp_path / "a")["3"]
    assert state(found) == wanted and rest.asked < 140 - stop + 2 * 8
    read = Data(x, -1)
    assert state(dissect(net(), read, labels, "3", share=0.02, resume=tmp_path / "a")["3"]) == wanted
    assert read.asked < 8, "a finished run is read back"
    renamed = Labels(
        labels.maps, {"colour": COLOURS, "thing": ("", "cat", "cow"), "stuff": {7: "fog", 300: "red"}}
    )
    with pytest.raises(ResumeError, match="other statistics"):
        dissect(net(), x, renamed, "3", share=0.02, resume=tmp_path / "a")


def test_masks_in_small_chunks_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    x, labels = world(30)
    wanted = state(dissect(net(), x, labels, "1", share=0.05)["1"])
    monkeypatch.setattr("cnnvis_helpers.dissection.tally._PIXELS", 700)
    assert state(dissect(net(), x, labels, "1", share=0.05)["1"]) == wanted


# --- directions, codes, own images ---


def test_directions_in_place_of_units() -> None:
    x, labels = world(60)
    units = dissect(net(), x, labels, "1", share=0.02)["1"]
    order = [3, 0, 5]
    some = dissect(net(), x, labels, "1", share=0.02, basis=torch.eye(6)[order])["1"]
    assert np.array_equal(some.iou, units.iou[order])
    assert np.array_equal(some.tally.best_by_chance, units.tally.best_by_chance[:, order])
    assert some.table().layer.unique() == ["1"]
    assert torch.equal(some.masks(net(), x[:3], [1]), units.masks(net(), x[:3], [0]))
    turned = dissect(net(), x, labels, "1", share=0.02, basis=directions(6, seed=1), cache=0)["1"]
    assert turned.iou.shape == units.iou.shape and not np.array_equal(turned.iou, units.iou)
    a = hooks.activations(net(), x, "1")["1"]
    along = torch.einsum("dc,nchw->dnhw", directions(6, seed=1), a)
    share = (along.flatten(1) > turned.thresholds[:, None] + 1e-4).double().mean(1)
    assert (share <= 0.02).all() and (share > 0.015).all()
    with pytest.raises(ValueError, match="5 columns, layer '1' 6 channels"):
        dissect(net(), x, labels, "1", basis=torch.eye(5))
    with pytest.raises(ValueError, match="finite table"):
        dissect(net(), x, labels, "1", basis=torch.zeros(6))
    with pytest.raises(ValueError, match="only one; these are 2"):
        dissect(net(), x, labels, ["1", "3"], basis=torch.eye(6))


def test_a_fully_connected_unit_masks_whole_images() -> None:
    n = 64
    x = torch.zeros(n, 3, SIZE, SIZE)
    x[: n // 4, 0] = 1
    scene = np.where(np.arange(n)[:, None, None] < n // 4, 0, 1) * np.ones((1, SIZE, SIZE), int)
    labels = Labels({"scene": scene}, {"scene": ("desert", "night")})
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * SIZE * SIZE, 2), nn.ReLU())
    model[1].weight.data = torch.stack([torch.ones(3 * SIZE * SIZE), -torch.ones(3 * SIZE * SIZE)])
    model[1].bias.data = torch.tensor([0.0, 5])
    found = dissect(model, x, labels, "2", share=0.25)["2"]
    assert found.table().concept[0] == "desert" and found.iou.tolist() == [[1, 0], [0, 0]]
    assert found.masks(model, x[[0, 63]], [0]).flatten(1).all(1).tolist() == [True, False]


def test_masks_of_new_images_and_what_they_refuse() -> None:
    x, labels = world(30)
    found = dissect(net(), x, labels, "3", share=0.02)["3"]
    new = world(4, seed=9)[0]
    masks = found.masks(net(), new, [2, 0])
    assert masks.shape == (4, 2, SIZE, SIZE) and masks.dtype == torch.bool
    assert torch.equal(masks[:, 1], found.masks(net(), new)[:, 0])
    with pytest.raises(ValueError, match=r"Units are one or more of 0 to 4, not \[5\]"):
        found.masks(net(), new, [5])
    with pytest.raises(ValueError, match="The images are"):
        found.masks(net(), new[:, :, 1:])


def test_the_table_survives_a_csv_file(tmp_path: Path) -> None:
    x, labels = world(30)
    table = dissect(net(), x, labels, "3", share=0.02)["3"].table()
    table.to_csv(tmp_path / "t.csv", index=False)
    read = pd.read_csv(tmp_path / "t.csv", dtype={"layer": str})
    pd.testing.assert_frame_equal(read, table, check_dtype=False)


# --- bad input ---


def refused(message: str, model: nn.Module | None = None, **changed: Any) -> None:
    x, labels = world(30)
    given: dict[str, Any] = {"data": x, "labels": labels, "layers": "3", **changed}
    with pytest.raises(ValueError, match=message):
        dissect(model or net(), given.pop("data"), given.pop("labels"), given.pop("layers"), **given)


def test_what_dissect_refuses() -> None:
    x, _ = world(30)
    names = {"colour": COLOURS}
    refused("The data set is empty", data=x[:0])
    refused("need a length", data=iter(x))
    refused("There are 29 images and label maps of 30", data=x[:29])
    refused(
        r"The label maps are \(15, 16\), the images \(16, 16\)",
        labels=Labels({"colour": np.zeros((30, 15, 16), int)}, names),
    )
    odd = [np.zeros((SIZE, SIZE), int)] * 30
    odd[7] = np.zeros((8, SIZE), int)
    refused(
        r"The label maps of image \d+ are \(.*\), those of image \d+", labels=Labels({"colour": odd}, names)
    )
    odd[7] = np.full((SIZE, SIZE), 9)
    refused(r"'colour' map of image 7 holds \[9\], ids without a name", labels=Labels({"colour": odd}, names))
    odd[7] = np.full((SIZE, SIZE), -3)
    refused(r"image 7 holds \[-3\]", labels=Labels({"colour": odd}, names))
    odd[7] = np.zeros((SIZE, SIZE))
    refused(r"whole numbers; image 7 has float64 \(16, 16\)", labels=Labels({"colour": odd}, names))
    refused("no layer 'conv9'", layers="conv9")
    refused("Needed are layers", layers=[])
    refused("shuffles is 0 or more and less than the number of images, 30", shuffles=30)
    refused("NaN", data=torch.where(torch.arange(30)[:, None, None, None] == 20, torch.nan, x))
    broken = net()
    broken[3].weight.data[0] = torch.nan
    refused("Layer '3' gives NaN", broken)
    refused("share in", share=0)


class Lost(nn.Module):
    """Its control flow depends on the image."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv(x)
        return y if y.sum() > 0 else y + 1


def test_layers_whose_places_are_not_known() -> None:
    x, labels = world(30)
    refused("torch.fx cannot follow .* Or pass its field", Lost(), layers="conv")
    found = dissect(Lost(), x, labels, "conv", field=ReceptiveField((3, 3), (2, 2), (-1, -1), (SIZE, SIZE)))
    assert found["conv"].iou.shape == (4, 8)
    spread = nn.Sequential(nn.Flatten(), nn.Linear(3 * SIZE * SIZE, 16), nn.Unflatten(1, (1, 4, 4)))
    refused("All units of layer '2' see the whole image", spread, layers="2")
    with pytest.raises(ValueError, match="sees the whole image"):
        upsample(torch.zeros(2, 2), ReceptiveField((4, 4), (0, 0), (0, 0), (4, 4)), (4, 4))


def test_what_labels_refuse() -> None:
    zeros = np.zeros((3, 4, 4), int)
    for maps, names, message in (
        ({}, {}, "same categories"),
        ({"a": zeros}, {"b": ("x",)}, r"maps has \['a'\], names \['b'\]"),
        ({"a": zeros, "b": zeros[:2]}, {"a": ("x",), "b": ("x",)}, "as many maps"),
        ({"a": zeros}, {"a": ("x", "x")}, "different names"),
        ({"a": zeros}, {"a": ("", "")}, "different names"),
        ({"a": zeros}, {"a": ()}, "different names"),
        ({"a": zeros}, {"a": {-1: "x"}}, "ids from 0 on"),
    ):
        with pytest.raises(ValueError, match=message):
            Labels(maps, names)
    labels = Labels({"a": [None, zeros[0]]}, {"a": ("x",)})
    with pytest.raises(ValueError, match="Image 0 needs label maps of one size, it has none"):
        labels.read(0)
    with pytest.raises(ValueError, match=r"of one size, it has \[\(2, 4\), \(4, 4\)\]"):
        Labels({"a": zeros, "b": zeros[:, :2]}, {"a": ("x",), "b": ("x",)}).read(0)
    with pytest.raises(ValueError, match=r"whole numbers; image 0 has int64 \(4,\)"):
        Labels({"a": zeros[0]}, {"a": ("x",)}).read(0)


def test_asking_for_a_concept() -> None:
    x, labels = world(30)
    found = dissect(net(), x, labels, "3", share=0.02)["3"]
    with pytest.raises(ValueError, match="in the categories colour and stuff: say which"):
        found.best_units("red")
    assert len(found.best_units("red", "colour", k=3)) <= 3
    with pytest.raises(ValueError, match="no category has a concept 'unicorn'"):
        found.best_units("unicorn")
    with pytest.raises(ValueError, match="no category 'colour' that has a concept 'dog'"):
        found.best_units("dog", "colour")
    extended = Labels(
        labels.maps,
        {"colour": COLOURS, "thing": ("", "cat", "dog", "unicorn"), "stuff": {7: "fog", 300: "red"}},
    )
    found = dissect(net(), x, extended, "3", share=0.02)["3"]
    with pytest.raises(ValueError, match="No pixel of these images is labelled 'unicorn'"):
        found.best_units("unicorn")
    assert "unicorn" not in set(found.table().concept)


# --- a folder ---


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    g = np.random.default_rng(0)
    for name in ("images", "labels/thing", "labels/stuff"):
        (tmp_path / name).mkdir(parents=True)
    for i in range(4):
        Image.fromarray(g.integers(0, 256, (20, 24, 3), np.uint8)).save(tmp_path / f"images/{i}.png")
        ids = np.kron(g.integers(0, 3, (5, 6)), np.ones((4, 4), int))
        palette = Image.fromarray(ids.astype(np.uint8), "P")
        palette.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0])
        palette.save(tmp_path / f"labels/thing/{i}.png")
        if i % 2:
            Image.fromarray((ids * 300).astype(np.uint16)).save(tmp_path / f"labels/stuff/{i}.png")
    names = {"thing": {"1": "cat", "2": "dog"}, "stuff": {"300": "fog", "600": ""}}
    (tmp_path / "names.json").write_text(json.dumps(names))
    return tmp_path


MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.3, 0.4)


def test_a_folder_is_a_data_set(folder: Path) -> None:
    data, labels = read_folder(folder, 20, MEAN, STD)
    assert len(data) == len(labels) == 4
    picture = images.load(folder / "images/2.png", size=20)
    assert torch.equal(data[2], images.normalise(picture, MEAN, STD))
    assert labels.concepts == [("thing", "cat"), ("thing", "dog"), ("stuff", "fog")]
    ids = np.asarray(Image.open(folder / "labels/thing/1.png"))[:, 2:22].astype(
        int
    )  # the middle, as of the picture
    read = labels.read(1)
    assert np.array_equal(read[0], ids - 1)
    assert np.array_equal(read[1], np.where(ids == 1, 2, -1))
    assert (labels.read(0)[1] == -1).all(), "no map: nothing of this category"
    found = dissect(net(), *read_folder(folder, SIZE, MEAN, STD), "3", shuffles=3)["3"]
    assert found.iou.shape == (5, 3)


def test_maps_shrink_with_their_pictures(folder: Path) -> None:
    corners = np.zeros((20, 24), np.uint8)
    corners[:10, :12], corners[10:, 12:] = 1, 2
    Image.fromarray(corners).save(folder / "labels/thing/0.png")
    colours = np.array([[0, 0, 0], [255, 0, 0], [0, 255, 0]], np.uint8)[corners]
    Image.fromarray(colours).save(folder / "images/0.png")
    for size in (10, 33):
        data, labels = read_folder(folder, size, (0, 0, 0), (1, 1, 1))
        seen = torch.where(data[0][0] > 0.6, 0, torch.where(data[0][1] > 0.6, 1, -1)).numpy()
        assert (labels.read(0)[0] == seen).mean() > 0.93, "along the edges a pixel may be mixed"
        assert np.array_equal(labels.read(0)[0][[0, -1], [0, -1]], [0, 1])


def test_a_picture_that_the_camera_turned(folder: Path) -> None:
    upright = Image.open(folder / "images/0.png")
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees
    upright.transpose(Image.Transpose.ROTATE_90).save(folder / "images/0.png", exif=exif)
    _, labels = read_folder(folder, 20, MEAN, STD)
    assert labels.read(0).shape == (2, 20, 20)


def test_what_a_folder_must_have(folder: Path) -> None:
    def fails(message: str) -> None:
        with pytest.raises(ValueError, match=message):
            read_folder(folder, 20, MEAN, STD)[1].read(0)

    path = folder / "labels/thing/0.png"
    good = path.read_bytes()
    Image.fromarray(np.zeros((20, 20), np.uint8)).save(path)
    fails(r"0.png is \(20, 20\), the picture 0.png \(20, 24\)")
    Image.fromarray(np.zeros((20, 24, 3), np.uint8)).save(path)
    fails("must have one channel of ids")
    Image.fromarray(np.full((20, 24), 77, np.uint8)).save(path)
    fails(r"'thing' map of image 0 holds \[77\]")
    path.write_bytes(good[:50])
    fails("cannot be read as a label map")
    path.write_bytes(good)
    (folder / "labels/thing/9.png").write_bytes(good)
    fails(r"without a picture: \['9'\]")
    (folder / "labels/thing/9.png").unlink()
    (folder / "names.json").write_text('{"thing": {"1": "cat", "2": "dog"}, "colour": {"1": "red"}}')
    fails("colour needs PNG files")
    for broken in ("{", "[]", '{"thing": ["cat"]}', '{"thing": {"one": "cat"}}'):
        (folder / "names.json").write_text(broken)
        fails("must be a table like")
    (folder / "names.json").unlink()
    fails("must be a table like")
    (folder / "names.json").write_text('{"thing": {"1": "cat", "2": "dog"}}')
    (folder / "images/0.jpg").write_bytes(b"")
    fails("a name of its own")
    for picture in (folder / "images").iterdir():
        picture.unlink()
    fails("it has 0")


def test_all_public_names_are_there() -> None:
    assert all(hasattr(dissection, name) for name in dissection.__all__)


def test_the_stored_table_holds_every_unit_once_and_its_numbers_agree():
    table = dissection.stored()
    block = ["run", "network", "turned", "layer"]
    assert not table.duplicated([*block, "unit"]).any() and table[block].notna().all().all()
    assert (table.groupby(block).unit.max() + 1 == table.groupby(block).size()).all()
    assert table.iou.between(0, 1).all() and (table.same.dropna() <= table.iou[table.same.notna()]).all()
    assert ((table.iou > 0) <= table.concept.notna()).all()
    base = table[(table.run == "") & (table.network == "diorama/alexnet") & (table.turned == "")]
    assert base.groupby("layer").size().head(5).tolist() == [48, 80, 96, 96, 96]
    assert base.chance.notna().all() and base.lucky.between(0, 20).all()
    labels = {"object", "part", "scene", "colour", "material", "texture"}
    assert set(table.category.dropna()) <= labels
