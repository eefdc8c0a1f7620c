"""Matching against a slow loop, planted shifts found exactly, chance against counting, PCK by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from cnnvis_helpers import correspondence as cor
from cnnvis_helpers import hooks

SIZE = 24


def noise(n: int = 1, seed: int = 0, size: int = SIZE) -> Tensor:
    return torch.randn(n, 3, size, size, generator=torch.Generator().manual_seed(seed))


def net() -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        return nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(inplace=True), nn.Conv2d(8, 8, 3, stride=2), nn.ReLU(),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4),
        )  # fmt: skip


def task_of(points: list[list[tuple[float, float]]], side: int = SIZE, **changes: Tensor) -> cor.Task:
    """Pairs (0, 1), (2, 3), … of images whose boxes are the whole image; points[p]: those of pair p, both sides."""
    every = [point for pair in points for point in pair]
    pair = torch.tensor([p for p, found in enumerate(points) for _ in found])
    task = cor.Task(
        torch.arange(2 * len(points)).view(-1, 2),
        pair,
        ("dot",) * len(every),
        torch.tensor(every),
        torch.tensor(every)[:, None],
        torch.tensor([0.0, 0, side, side]).expand(len(points), 2, 4),
        torch.full((len(every),), 0.1 * side),
    )
    return replace(task, **changes)


EXTRACTS = {
    "patches": cor.of_patches(5, 1),
    "daisy": cor.of_daisy(4, 1),
    "stride 1": cor.of_layer(net(), "1"),
    "stride 2": cor.of_layer(net(), "3"),
}


# --- what is to be found ---


def test_a_task_by_hand() -> None:
    keypoints = [
        {"eye": [(2.0, 3.0)], "nose": [(9.0, 9.0)]},
        {"wheel": [(1.0, 1.0), (5.0, 1.0)]},
        {"eye": [(4.0, 4.0), (40.0, 4.0)], "ear": [(5.0, 5.0)]},
        {"wheel": [(2.0, 1.0), (6.0, 2.0)]},
        {"eye": [(1.0, 1.0)]},  # the third of its class: without a partner
    ]
    boxes = np.array([[0, 0, 10, 10], [0, 0, 8, 4], [2, 2, 14, 8], [1, 0, 8, 4], [0, 0, 4, 4]])
    task = cor.keypoint_task(torch.tensor([7, 2, 7, 2, 7]), keypoints, boxes)
    assert task.pairs.tolist() == [[1, 3], [0, 2]]
    assert task.names == ("wheel", "wheel", "eye") and task.pair.tolist() == [0, 0, 1]
    assert task.source.tolist() == [[1, 1], [5, 1], [2, 3]]
    assert task.targets[:2].tolist() == [[[2, 1], [6, 2]]] * 2
    assert task.targets[2, 0].tolist() == [4, 4] and task.targets[2, 1].isnan().all(), (
        "one eye is out of its box"
    )
    assert task.radius.tolist() == pytest.approx([0.7, 0.7, 1.2])
    assert task.boxes[1].tolist() == boxes[[0, 2]].tolist()
    wide = cor.keypoint_task(torch.tensor([7, 2, 7, 2, 7]), keypoints, boxes, alpha=0.3)
    assert wide.radius.tolist() == pytest.approx([2.1, 2.1, 3.6])


def test_hidden_keypoints_are_left_out() -> None:
    masks = torch.zeros(4, 10, 10, dtype=torch.bool)
    masks[:2, 2:5, 2:5] = True
    masks[2, 9, 9] = True  # of image 3 nothing is seen
    keypoints = [{"tip": [(5.5, 3.5)], "end": [(8.0, 3.5)]} for _ in range(4)]
    labels, boxes = torch.zeros(4), torch.tensor([[2, 2, 5, 5]] * 4)
    task = cor.keypoint_task(labels, keypoints, boxes, masks)
    assert task.names == ("tip",) and task.pairs.tolist() == [[0, 1]]
    assert cor.keypoint_task(labels, keypoints, boxes, masks, hidden=4).names == ("tip", "end")
    with pytest.raises(ValueError, match="No two images"):
        cor.keypoint_task(labels, keypoints, boxes, masks, hidden=0.9)


def test_what_a_task_refuses() -> None:
    good = (torch.zeros(2), [{"a": [(1.0, 1.0)]}] * 2, torch.tensor([[0, 0, 4, 4]] * 2))
    assert len(cor.keypoint_task(*good).pair) == 1
    for bad in [(good[0], good[1][:1], good[2]), (good[0], good[1], good[2][:, :3])]:
        with pytest.raises(ValueError, match="2 labels need 2 sets"):
            cor.keypoint_task(*bad)
    with pytest.raises(ValueError, match="2 labels need 2 sets"):
        cor.keypoint_task(*good, masks=torch.ones(1, 4, 4, dtype=torch.bool))
    for alpha in (0.0, math.nan):
        with pytest.raises(ValueError, match="alpha is a share"):
            cor.keypoint_task(*good, alpha=alpha)


# --- matching ---


def slow_likeness(features: cor.Features, x: float, y: float, u: float, v: float) -> float:
    """Cosine of the features at (x, y) of image 0 and (u, v) of image 1, interpolated one number at a time."""

    def at(image: int, x: float, y: float) -> np.ndarray:
        maps = features.values[image].double().numpy()
        row = min(max((y - features.first[0]) / features.stride[0], 0), maps.shape[1] - 1)
        column = min(max((x - features.first[1]) / features.stride[1], 0), maps.shape[2] - 1)
        r, c = min(int(row), maps.shape[1] - 2), min(int(column), maps.shape[2] - 2)
        down, across = row - r, column - c
        return (
            (1 - down) * (1 - across) * maps[:, r, c]
            + (1 - down) * across * maps[:, r, c + 1]
            + down * (1 - across) * maps[:, r + 1, c]
            + down * across * maps[:, r + 1, c + 1]
        )

    one, other = at(0, x, y), at(1, u, v)
    return float(one @ other / np.linalg.norm(one) / np.linalg.norm(other))


def test_likeness_and_the_best_place_are_those_of_a_slow_loop() -> None:
    values = torch.randn(2, 5, 4, 6, generator=torch.Generator().manual_seed(3))
    features = cor.Features(values, (2.5, 1.0), (4.0, 3.0))
    points = [(0.2, 0.1), (7.3, 9.9), (15.9, 11.0)]
    pair = torch.zeros(2, 3, 14, 17)
    found = cor.likeness(lambda x: features, pair, torch.tensor(points), step=3)
    assert found.shape == (3, 5, 6)
    slow = [[[slow_likeness(features, x, y, 3 * j + 0.5, 3 * i + 0.5) for j in range(6)] for i in range(5)]
            for x, y in points]  # fmt: skip
    assert found.numpy() == pytest.approx(np.array(slow), abs=1e-5)
    task = task_of([points], side=17)
    located = cor.locate(lambda x: features, pair, task, step=3)
    for k in range(3):
        i, j = np.unravel_index(np.argmax(slow[k]), (5, 6))
        assert located[k].tolist() == [3 * j + 0.5, 3 * i + 0.5]


@pytest.mark.parametrize("name", EXTRACTS)
def test_a_planted_shift_is_found_exactly(name: str) -> None:
    first = noise(2)
    moves = [(4, 2), (-2, 6)]  # right and down; even, so that a stride of 2 moves by whole units
    second = torch.stack([first[i].roll((down, right), (1, 2)) for i, (right, down) in enumerate(moves)])
    x = torch.stack([first, second], 1).flatten(0, 1)
    points = [
        (9.5, 9.5),
        (12.5, 11.5),
        (13.5, 9.5),
    ]  # far enough from the borders, where the shift wraps around
    task = task_of([points, points])
    found = cor.locate(EXTRACTS[name], x, task, step=1, batch=1)
    expected = [[px + right, py + down] for right, down in moves for px, py in points]
    assert found.tolist() == expected
    assert torch.equal(found, cor.locate(EXTRACTS[name], x, task, step=1, batch=8))


@pytest.mark.parametrize("name", EXTRACTS)
def test_identical_images_give_a_pck_of_one_and_others_do_not(name: str) -> None:
    points = [[(4.5, 6.5), (11.5, 9.5)], [(15.5, 12.5)], [(7.5, 16.5)]]
    task = task_of(points, radius=torch.full((4,), 0.6))
    images = noise(3)
    same = images.repeat_interleave(2, 0)
    assert cor.pck(task, cor.right(task, cor.locate(EXTRACTS[name], same, task, step=1))) == (1, 1, 1)
    others = torch.stack([images, noise(3, seed=9)], 1).flatten(0, 1)
    assert cor.pck(task, cor.right(task, cor.locate(EXTRACTS[name], others, task, step=1))).mean < 0.7


def test_features_stand_where_their_receptive_fields_do() -> None:
    model, x = net(), noise(2)
    features = cor.of_layer(model, "1")(x)
    assert features.first == (0.5, 0.5) and features.stride == (1, 1)
    features = cor.of_layer(model.train(), "3")(x)  # 3 × 3 on 3 × 3, stride 2: the middle of pixel 1
    assert features.first == (1.5, 1.5) and features.stride == (2, 2)
    assert torch.equal(features.values, hooks.activations(model, x, "3")["3"])
    assert model.training and all(p.requires_grad for p in model.parameters())
    patches = cor.of_patches(3, 2)(x)
    assert patches.values.shape == (2, 27, 12, 12)
    assert torch.equal(patches.values[1, :, 2, 5].view(3, 3, 3), x[1, :, 3:6, 9:12])
    odd = cor.of_patches(3, 4)(noise(1, size=22))
    assert odd.values.shape[2:] == (6, 6)
    daisies = cor.of_daisy(4, 2)(x)
    assert daisies.values.shape == (2, 136, 12, 12) and daisies.first == (0.5, 0.5)


def test_histograms_of_gradients_do_not_see_light_or_contrast() -> None:
    x = noise(1)
    pair = torch.cat([x, 3 * x + 1])
    found = cor.likeness(cor.of_daisy(4, 1), pair, torch.tensor([[9.5, 7.5]]), step=1)
    assert found[0, 7, 9] == pytest.approx(1, abs=1e-4)


def test_only_the_box_is_searched_where_asked() -> None:
    x = noise(1).expand(2, -1, -1, -1)
    boxes = torch.tensor([[0.0, 0, 24, 24], [12, 12, 20, 18]])[None]
    task = task_of([[(5.5, 5.5), (14.5, 13.5)]], boxes=boxes)
    free = cor.locate(cor.of_patches(5, 1), x, task, step=1)
    assert free.tolist() == [[5.5, 5.5], [14.5, 13.5]]
    inside = cor.locate(cor.of_patches(5, 1), x, task, step=1, where="box")
    assert inside[1].tolist() == [14.5, 13.5]
    assert (inside >= boxes[0, 1, :2]).all() and (inside <= boxes[0, 1, 2:]).all()
    small = task_of([[(5.5, 5.5)]], boxes=torch.tensor([[0.0, 0, 24, 24], [1, 1, 2, 2]])[None])
    with pytest.raises(ValueError, match="holds no place"):
        cor.locate(cor.of_patches(5, 1), x, small, step=4, where="box")


def test_a_vector_of_zeros_is_like_nothing() -> None:
    features = cor.Features(torch.zeros(2, 3, 4, 4), (0.5, 0.5), (1.0, 1.0))
    assert not cor.likeness(lambda x: features, torch.zeros(2, 3, 4, 4), torch.tensor([[1.0, 1.0]])).any()


def test_what_matching_refuses() -> None:
    x, task = noise(2), task_of([[(5.5, 5.5)]])
    patches = cor.of_patches(3)
    with pytest.raises(hooks.LayerError, match="no layer 'conv9'"):
        cor.of_layer(net(), "conv9")
    for layer, words in [("6", "no place in the image"), ("4", "see the whole image")]:
        with pytest.raises(ValueError, match=words):
            cor.of_layer(net(), layer)(x)
    broken = net()
    nn.init.constant_(broken[0].weight, math.nan)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="features hold NaN"):
        cor.locate(cor.of_layer(broken, "1"), x, task)
    with pytest.raises(ValueError, match="Images are finite"):
        cor.locate(patches, x * math.nan, task)
    with pytest.raises(ValueError, match="needs 2 images"):
        cor.locate(patches, x[:1], task)
    with pytest.raises(ValueError, match="'image' or 'box'"):
        cor.locate(patches, x, task, where="mask")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="step is at least 1"):
        cor.locate(patches, x, task, step=0)
    for pair, points in [(x[:1], torch.zeros(1, 2)), (x, torch.zeros(2))]:
        with pytest.raises(ValueError, match="A pair is"):
            cor.likeness(patches, pair, points)
    for side in (0, 4):
        with pytest.raises(ValueError, match="side is odd"):
            cor.of_patches(side)
    with pytest.raises(ValueError, match="radius is at least 2"):
        cor.of_daisy(1)


# --- answers and nulls ---


def test_right_is_near_any_point_of_the_name() -> None:
    targets = torch.tensor([[[3.0, 4.0], [10, 4]], [[3, 4], [math.nan, math.nan]]])
    task = task_of([[(0.0, 0.0), (0.0, 0.0)]], targets=targets, radius=torch.tensor([2.0, 2.0]))
    for point, expected in [((3, 6), [1, 1]), ((3, 6.1), [0, 0]), ((10, 4), [1, 0]), ((6.5, 4), [0, 0])]:
        assert cor.right(task, torch.tensor([point, point]).float()).int().tolist() == expected
    with pytest.raises(ValueError, match="2 keypoints"):
        cor.right(task, torch.zeros(1, 2))


def test_chance_is_the_share_of_places_that_are_right() -> None:
    masks = torch.zeros(4, SIZE, SIZE, dtype=torch.bool)
    masks[3, 4:9, 3:20] = True
    boxes = torch.tensor([[0.0, 0, 24, 24], [3, 4, 20, 9]]).expand(2, 2, 4)
    points = [[(5.0, 6.5)], [(19.5, 8.0), (12.0, 3.0)]]
    targets = torch.tensor([[[5.0, 6.5]], [[19.5, 8]], [[12, 3]]])
    targets = torch.cat([targets, torch.full_like(targets, math.nan)], 1)
    targets[1, 1] = torch.tensor([15.5, 8])  # its circle overlaps that of the first
    task = task_of(points, boxes=boxes, targets=targets, radius=torch.tensor([2.0, 3, 2.5]))

    def count(k: int, inside: bool) -> float:
        hits = total = 0
        for i in range(SIZE):
            for j in range(SIZE):
                if inside and not (3 <= j < 20 and 4 <= i < 9):
                    continue
                total += 1
                near = [
                    math.dist((j + 0.5, i + 0.5), t) <= float(task.radius[k]) for t in targets[k].tolist()
                ]
                hits += any(near)
        return hits / total

    for options, inside in [({}, False), ({"where": "box"}, True)]:
        found = cor.chance(task, (SIZE, SIZE), **options)
        assert found.tolist() == pytest.approx([count(k, inside) for k in range(3)], abs=1e-6)
    assert cor.chance(task, (SIZE, SIZE), masks=masks)[1:].tolist() == pytest.approx(
        [count(1, True), count(2, True)]
    )


def test_the_same_place_is_that_of_the_box() -> None:
    boxes = torch.tensor([[[0.0, 0, 10, 20], [30, 40, 50, 50]]])
    task = task_of([[(5.0, 5.0), (10.0, 20.0), (-1.0, 0.0)]], boxes=boxes)
    assert cor.at_same_place(task).tolist() == [[40, 42.5], [50, 50], [28, 40]]


def test_pck_counts_pairs_alike() -> None:
    task = task_of([[(1.0, 1.0)] * 3, [(1.0, 1.0)], [(1.0, 1.0)] * 2])
    found = torch.tensor([True, False, False, True, True, False])
    mean, low, high = cor.pck(task, found)
    assert mean == pytest.approx((1 / 3 + 1 + 1 / 2) / 3) and low == pytest.approx(1 / 3) and high == 1
    some = found.float().where(torch.tensor([1, 1, 0, 0, 1, 1]) == 1, math.nan)
    assert cor.pck(task, some).mean == pytest.approx(1 / 2), "the second pair has nothing left"
    assert cor.pck(task, found.float() - 1).mean == pytest.approx(mean - 1), "differences of two methods"
    with pytest.raises(ValueError, match="6 keypoints"):
        cor.pck(task, found[:5])
