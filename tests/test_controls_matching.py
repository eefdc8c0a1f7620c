"""The matcher: marks on pixels, then the control moved by code; what it says is what the module finds."""

import io
import math
import time

import numpy as np
import pytest
import torch
from PIL import Image

from cnnvis_helpers import correspondence as cor
from cnnvis_helpers import diorama, figures, zoo
from cnnvis_helpers.controls import matching

METHODS = {"pixels": cor.of_patches(5), "gradients": cor.of_daisy(4)}


@pytest.fixture(scope="module")
def batch():
    return diorama.sample(64)


@pytest.fixture(scope="module")
def task(batch):
    return cor.keypoint_task(batch.labels, batch.keypoints, batch.attributes["box"], batch.instance)


@pytest.fixture
def control(batch, task):
    return matching.matcher(METHODS, batch.images, task)


def pixels_of(widget):
    return np.asarray(Image.open(io.BytesIO(widget.value)))


def test_rings_and_crosses_stand_where_they_should():
    image = torch.full((3, 32, 32), 0.5)
    plain = matching.marked(image, 128)
    assert plain.shape == (128, 128, 3) and (plain == plain[0, 0]).all()
    ringed = matching.marked(image, 128, rings=[(8.0, 16.0, 4.0)])
    ys, xs = np.nonzero((ringed != plain).any(2))
    assert xs.mean() == pytest.approx(4 * 8, abs=0.6) and ys.mean() == pytest.approx(4 * 16, abs=0.6)
    assert np.hypot(xs - 32, ys - 64).min() > 10 and np.hypot(xs - 32, ys - 64).max() < 20, (
        "a ring, not a disc"
    )
    crossed = matching.marked(image, 128, crosses=[(24.0, 8.0)])
    ys, xs = np.nonzero((crossed != plain).any(2))
    assert xs.mean() == pytest.approx(4 * 24, abs=0.6) and ys.mean() == pytest.approx(4 * 8, abs=0.6)
    assert (crossed[32, 96] == 255).all()
    assert (matching.marked(figures.as_uint8(image), 128) == plain).all()


def test_it_says_what_the_module_finds(control, batch, task):
    for name, extract in METHODS.items():
        found = cor.locate(extract, batch.images, task)
        good = cor.right(task, found)
        control.method.value = name
        for pair in (0, 3, len(task.pairs) - 1):
            control.pair.value = pair
            mine = (task.pair == pair).nonzero().flatten().tolist()
            assert [value for _, value in control.keypoint.options] == list(range(len(mine)))
            for row, k in enumerate(mine):
                control.keypoint.value = row
                targets = [t for t in task.targets[k].tolist() if not math.isnan(t[0])]
                away = min(math.dist(found[k].tolist(), t) for t in targets)
                said = control.text.value
                assert f"{task.names[k]}" in said and f"by {name}: found {away:.1f} px" in said
                assert (
                    f"which is {'right' if good[k] else 'wrong'} (within {float(task.radius[k]):.1f} px)"
                    in said
                )


def test_the_picture_shows_the_pair_and_its_marks(control, batch, task):
    control.pair.value = 2
    shown = pixels_of(control.picture)
    k = int((task.pair == 2).nonzero()[0])
    point = (*task.source[k].tolist(), float(task.radius[k]))
    first = matching.marked(batch.images[task.pairs[2, 0]], matching.SIDE, [point])
    assert (shown[: matching.SIDE, : matching.SIDE] == first).all()
    assert shown.shape[1] > 3 * matching.SIDE + 60
    before = control.picture.value
    control.method.value = "gradients"
    assert control.picture.value != before


def test_parts_that_there_are_twice_are_numbered(control, task):
    pairs = [
        p
        for p in range(len(task.pairs))
        if [task.names[k] for k in (task.pair == p).nonzero()].count("wheel") == 2
    ]
    control.pair.value = pairs[0]
    names = [name for name, _ in control.keypoint.options]
    assert "wheel 1" in names and "wheel 2" in names and "wheel" not in names


def test_maps_are_made_once_from_prepared_images(batch, task):
    seen = []

    def prepare(x):
        seen.append(tuple(x.shape))
        return 2 * x - 1

    control = matching.matcher(METHODS, batch.images, task, prepare=prepare, titles=["<a>"] * len(task.pairs))
    expected = cor.likeness(
        METHODS["pixels"], 2 * batch.images[task.pairs[0]] - 1, task.source[task.pair == 0]
    )
    assert torch.equal(control.maps(0, "pixels"), expected)
    control.pair.value = 1
    control.pair.value = 0
    assert seen == [(2, 3, 96, 96)] * 2 and "Pair 0 (&lt;a&gt;)" in control.text.value


def test_it_answers_at_once(batch, task):
    net = zoo.load("diorama/alexnet")
    layers = {name: cor.of_layer(net.model, name) for name in ("relu2", "relu4")}
    control = matching.matcher(layers, batch.images, task, prepare=net.prepare)
    times = []
    for pair in range(1, 5):
        begin = time.process_time()
        control.pair.value = pair
        control.method.value = "relu4" if control.method.value == "relu2" else "relu2"
        times.append((time.process_time() - begin) / 2)
    assert min(times) < 0.1


def test_a_page_without_kernel_gets_a_fixed_sentence_and_inputs_are_labelled(batch, task):
    first, second = (matching.matcher(METHODS, batch.images, task) for _ in range(2))
    bundle = first._repr_mimebundle_()
    data = bundle[0] if isinstance(bundle, tuple) else bundle
    assert data["text/plain"] == second.sentence == repr(first)
    assert f"{len(task.pairs)} pairs, by pixels, gradients" in repr(first)
    for widget in (first.pair, first.keypoint, first.method):
        assert widget.description and widget.tooltip
    assert first.picture.value and first.picture.tooltip is None  # a tooltip breaks it in JupyterLab


def test_what_a_matcher_refuses(batch, task):
    with pytest.raises(ValueError, match="at least one method"):
        matching.matcher({}, batch.images, task)
    with pytest.raises(ValueError, match="the task needs"):
        matching.matcher(METHODS, batch.images[:3], task)
    with pytest.raises(ValueError, match="1 titles for"):
        matching.matcher(METHODS, batch.images, task, titles=["a"])
