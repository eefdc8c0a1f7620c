"""The projector: its drawings by themselves, then the widgets moved by code."""

import io

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from cnnvis_helpers import figures, zoo
from cnnvis_helpers.backward_rules import RULES, project
from cnnvis_helpers.controls import projecting
from cnnvis_helpers.hooks import LayerError

NAMES = ["cat", "dog", "bird", "fish"]


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 5, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(5, 4, 3, padding=1), nn.ReLU(),
        nn.Flatten(), nn.Linear(4 * 64, 6), nn.ReLU(), nn.Linear(6, 4),
    )  # fmt: skip
    with torch.no_grad():
        model[3].bias[3] = -100  # a unit that is always silent
    return zoo.Network("tiny", model.eval(), NAMES, 16, mean=(0.5,) * 3, std=(0.25,) * 3)


@pytest.fixture(scope="module")
def pictures():
    return torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def projector(net, pictures):
    return projecting.projector(net, pictures, ["1", "4", "7"], titles=["a", "b", "c"])


def drawn(widget):
    return np.asarray(Image.open(io.BytesIO(widget.value)).convert("RGB"))


def every_widget(widget):
    yield widget
    for child in getattr(widget, "children", ()):
        yield from every_widget(child)


def test_in_box_cuts_and_fills():
    values = torch.arange(12.0).view(1, 3, 4)
    assert projecting.in_box(values, (1, 1, 3, 3)).tolist() == [[[5, 6], [9, 10]]]
    assert projecting.in_box(values, (-1, 3, 1, 5), 7.0).tolist() == [[[7, 7], [3, 7]]]
    assert projecting.in_box(values, (2, -1, 4, 1), 7.0).tolist() == [[[7, 8], [7, 7]]]


def test_projection_tile_is_centred_on_grey():
    p = torch.zeros(3, 2, 2)
    p[0, 0, 0], p[:, 1, 1] = 2.0, -2.0
    out = projecting.projection_tile(p, 4, limit=2.0)
    assert out.shape == (4, 4, 3)
    assert out[0, 0].tolist() == [255, 128, 128] and out[3, 3].tolist() == [0, 0, 0]
    assert out[0, 3].tolist() == [128, 128, 128]
    assert (projecting.projection_tile(torch.zeros(3, 5, 5), 5) == 128).all()
    one = torch.zeros(3, 40, 40)
    one[0, 3, 3] = 1.0  # rarer than the percentile: the scale falls back to the largest value
    assert projecting.projection_tile(one, 40)[3, 3].tolist() == [255, 128, 128]
    assert (projecting.projection_tile(5 * p, 4) == projecting.projection_tile(p, 4)).all()


def test_the_picture_shows_the_projections_of_the_three_rules(projector, net, pictures):
    projector.image.value, projector.layer.value, projector.unit.value = 1, "1", 2
    side = projecting.SIDE
    sheet = drawn(projector.picture)
    x = net.prepare(pictures[1])
    assert sheet.shape == (2 * (side + 17), 4 * side + 18, 3)
    field = projector.fields["1"]
    found = projecting.choose_units(projector._a["1"], 2)
    box = field.box(int(found.row), int(found.column), clip=False)
    assert (sheet[:side, :side] == figures.boxed(pictures[1], [box], side / 16)).all()
    for k, rule in enumerate(RULES, start=1):
        p = project(net.model, x, 2, rule=rule, layer="1")[0]
        left = k * (side + 6)
        assert (sheet[:side, left : left + side] == projecting.projection_tile(p)).all()
        low = sheet[side + 17 : 2 * side + 17, left : left + side]
        assert (low == projecting.projection_tile(projecting.in_box(p, box))).all()


def test_layers_that_see_the_whole_image_have_no_box(projector, net):
    projector.layer.value = "7"
    assert projector.fields["7"] is None
    projector.strongest.click()
    assert drawn(projector.picture).shape[0] == projecting.SIDE + 17
    projector.layer.value = projecting.CLASSES
    assert projector.unit.max == 3
    projector.unit.value = 2
    assert "Class 2, bird: logit" in projector.text.value
    maps = projector.projections()
    for rule in RULES:
        assert torch.equal(maps[rule], project(net.model, projector._x, 2, rule=rule)[0])


def test_every_widget_changes_the_picture(projector):
    seen = {projector.picture.value}
    assert projector.layer.value == "1" and projector.unit.max == 4
    for widget, value in ((projector.unit, 4), (projector.image, 2), (projector.layer, "4")):
        widget.value = value
        assert projector.picture.value not in seen
        seen.add(projector.picture.value)
    assert projector.unit.max == 3 and projector.unit.value == 3


def test_a_silent_unit_is_said_to_be_silent(projector):
    projector.layer.value, projector.unit.value = "4", 3
    assert "silent" in projector.text.value
    assert all(not p.any() for p in projector.projections().values())
    projector.strongest.click()
    assert "silent" not in projector.text.value
    assert projector.unit.value == int(projector._a["4"].amax((2, 3)).argmax())


def test_the_model_is_left_alone(net, pictures):
    net.model.train()
    before = {name: t.clone() for name, t in net.model.state_dict().items()}
    control = projecting.projector(net, pictures[0], ["1"])
    control.unit.value = 1
    assert net.model.training and all(p.requires_grad and p.grad is None for p in net.model.parameters())
    assert all(torch.equal(before[name], t) for name, t in net.model.state_dict().items())
    net.model.eval()


def test_it_says_what_it_cannot_show(net, pictures):
    with pytest.raises(ValueError, match="a picture and a layer"):
        projecting.projector(net, [], ["1"])
    with pytest.raises(ValueError, match="a picture and a layer"):
        projecting.projector(net, pictures, [])
    with pytest.raises(ValueError, match="2 titles for 3 pictures"):
        projecting.projector(net, pictures, ["1"], titles=["a", "b"])
    with pytest.raises(LayerError):
        projecting.projector(net, pictures, ["nowhere"])


def test_a_page_without_a_kernel_gets_a_sentence_and_every_input_a_label(projector):
    bundle = projector._repr_mimebundle_()
    data = bundle[0] if isinstance(bundle, tuple) else bundle
    assert data["text/plain"] == projector.sentence == repr(projector)
    for widget in every_widget(projector.box):
        if hasattr(widget, "description") and type(widget).__name__ != "HTML":
            assert widget.description and widget.tooltip, widget
        if type(widget).__name__ == "Image":
            assert widget.value and widget.tooltip is None
