"""Controls: their drawing functions by themselves, and then the widgets, moved by code without a display."""

import datetime
import io
import time
from dataclasses import dataclass, field
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from cnnvis_helpers import controls, figures, images, networks
from cnnvis_helpers.controls import base, browsing, exploring, training


@dataclass
class TinyNet:
    """What a control needs of a `zoo.Network`."""

    model: nn.Module
    name: str = "tiny"
    classes: list[str] = field(default_factory=lambda: ["cat", "dog"])
    input_size: int = 16

    def prepare(self, pictures):
        return images.normalise(images.fit(pictures, self.input_size), (0.5,) * 3, (0.5,) * 3)


def tiny(seed=0, kernel=3):
    torch.manual_seed(seed)
    layers = [
        nn.Conv2d(3, 6, kernel, padding=kernel // 2),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2),
        nn.Conv2d(6, 14, 3),
        nn.ReLU(),
    ]
    return TinyNet(nn.Sequential(*layers, nn.Flatten(), nn.Linear(14 * 36, 2)).train())


@pytest.fixture
def pictures():
    return torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(1))


def file_of(name, content):
    """What the browser sends for a chosen file."""
    now = datetime.datetime.now(datetime.UTC)
    entry = dict(
        name=name, type="image/png", size=len(content), content=memoryview(content), last_modified=now
    )
    return ({**entry, "content": memoryview(content)},)


def photo(side=40, colour="red"):
    file = io.BytesIO()
    Image.new("RGB", (side + 20, side), colour).save(file, format="PNG")
    return file.getvalue()


def shape_of(widget):
    return Image.open(io.BytesIO(widget.value)).size


# --- drawing ----------------


def test_strongest_orders_channels_by_their_peak():
    activation = torch.zeros(4, 2, 2)
    activation[2, 0, 1], activation[0, 1, 1], activation[3] = 5, 3, 1
    assert exploring.strongest(activation, 3) == [2, 0, 3]


def test_channel_picture_holds_overlay_map_and_scale(pictures):
    channel_map = torch.tensor([[0.0, 1.0], [2.0, 4.0]])
    out = exploring.channel_picture(pictures[0], channel_map, side=40)
    assert out.shape == (40, 40 + 10 + 40 + 10 + 72, 3)
    alone = out[:, 50:90]
    expected = figures.colourise(channel_map, limits=(0, 4)).repeat(20, 0).repeat(20, 1)
    assert (alone == expected).all()
    assert (out[:, :40] == figures.blend(figures.enlarge(pictures[0], (40, 40), True), channel_map)).all()


def test_strip_frames_the_current_channel():
    activation = torch.rand(5, 3, 3)
    plain, framed = exploring.strip(activation, [4, 1]), exploring.strip(activation, [4, 1], current=1)
    half = plain.shape[1] // 2
    assert (plain[:, :half] == framed[:, :half]).all() and (plain[:, half:] != framed[:, half:]).any()


def test_step_picture_for_small_large_and_one_channel():
    for shape in ((1, 1, 1), (48, 12, 12), (8, 200, 200)):
        out = training.step_picture(torch.randn(6, 3, 5, 5), torch.rand(shape))
        assert out.dtype == np.uint8 and 300 < out.shape[1] <= 880


@pytest.mark.parametrize("shape", [(48, 3, 9, 9), (3, 3, 1, 1), (64, 3, 7, 7), (20, 24, 5, 5), (2, 4, 1, 1)])
def test_filter_picture_and_sentence(shape):
    w = torch.randn(shape)
    out = browsing.filter_picture(w)
    assert out.dtype == np.uint8 and out.shape[1] <= 900
    sentence = browsing.filter_sentence(w)
    assert sentence.startswith(f"{shape[0]} filters of {shape[1]} × {shape[2]} × {shape[3]} weights")
    assert ("no smoothness" in sentence) == (shape[2] == 1)


def test_filter_sentence_lists_the_noisy_filters():
    w = torch.ones(3, 3, 9, 9)
    w[1] = torch.randn(3, 9, 9, generator=torch.Generator().manual_seed(0))
    assert browsing.filter_sentence(w).endswith("1 noisy (below 0.5): 1.")


# --- explorer ----------------


def test_every_slider_of_the_explorer_changes_the_picture(pictures):
    control = controls.explorer(tiny(), pictures, titles=["a", "b", "c"])
    assert control.layers == ["1", "2", "4"]
    seen = {control.picture.value}
    assert shape_of(control.picture) == (2 * exploring.SIDE + 92, exploring.SIDE)
    for move in (
        lambda: setattr(control.image, "value", 2),
        lambda: setattr(control.layer, "value", "4"),
        lambda: setattr(control.channel, "value", (control.channel.value + 1) % 14),
    ):
        move()
        assert control.picture.value not in seen
        seen.add(control.picture.value)
    assert control.channel.max == 13
    assert (
        "4, channel" in control.text.value
        and "6 × 6 values" in control.text.value
        and "(c)" in control.text.value
    )
    control.layer.value = "1"
    assert control.channel.max == 5 and control.channel.value <= 5


def test_explorer_shows_what_the_layer_gives(pictures):
    net = tiny()
    control = controls.explorer(net, pictures, layers=["1"])
    with torch.no_grad():
        expected = net.model[:2](net.prepare(pictures[:1]))[0]
    assert torch.allclose(control.activation(), expected)
    assert net.model.training  # left as it was
    one = control.channel.value
    assert expected[one].max() == expected.max()  # begins with the strongest channel
    drawn = np.asarray(Image.open(io.BytesIO(control.picture.value)))
    assert (drawn == exploring.channel_picture(pictures[0], expected[one])).all()


def test_strongest_buttons_choose_the_channel(pictures):
    control = controls.explorer(tiny(), pictures, layers=["1"])
    shown = [b for b in control.strongest if b.layout.display != "none"]
    assert len(shown) == 6  # the layer has no more channels
    wanted = shown[3].description
    shown[3].click()
    assert control.channel.value == int(wanted)


def test_upload_adds_the_readers_photo(pictures):
    control = controls.explorer(tiny(), pictures)
    before = control.picture.value
    control.upload.value = file_of("my <cat>.png", photo())
    assert control.image.max == control.image.value == 3
    assert control.picture.value != before
    assert control.pictures[3].shape == (3, 16, 16)
    assert torch.allclose(control.pictures[3][:, 8, 8], torch.tensor([1.0, 0, 0]))
    assert "my &lt;cat&gt;.png" in control.message.value  # a file name is no markup
    control.upload.value = file_of("second.png", photo(colour="blue"))
    assert control.image.value == 4
    control.image.value = 0
    assert control.picture.value == before


@pytest.mark.parametrize("content", [b"", b"not a picture", photo()[:60]])
def test_bad_upload_gives_one_sentence_and_leaves_the_picture(pictures, content):
    control = controls.explorer(tiny(), pictures)
    before, said = control.picture.value, control.message.value
    control.upload.value = file_of("broken.png", content)
    assert control.picture.value == before and control.image.max == 2
    assert control.message.value != said and "Please note" in control.message.value
    assert control.message.value.count(". ") == 0
    control.image.value = 1
    assert control.picture.value != before  # still alive


def test_explorer_remembers_activations_but_not_for_ever(pictures, monkeypatch):
    net = tiny()
    runs = []
    net.model.register_forward_hook(lambda *_: runs.append(1))
    control = controls.explorer(net, pictures)
    start = len(runs)
    for value in (1, 0, 1, 0):
        control.image.value = value
    control.channel.value = (control.channel.value + 1) % 6
    assert len(runs) == start + 1
    monkeypatch.setattr(exploring, "REMEMBERED", 1)
    control.image.value = 2
    assert len(control._known) == 1


def test_explorer_moves_within_a_tenth_of_a_second():
    model = networks.alexnet().eval()
    net = TinyNet(model, classes=[str(i) for i in range(16)], input_size=96)
    control = controls.explorer(net, torch.rand(4, 3, 96, 96))
    times = []
    for value in (1, 2, 3, 0, 2, 1):
        start = time.perf_counter()
        control.channel.value = value
        times.append(time.perf_counter() - start)
    # the fastest, since others may use this machine at the same time
    assert min(times) < 0.1


def test_explorer_refuses_what_it_cannot_show(pictures):
    with pytest.raises(ValueError, match="no image"):
        controls.explorer(tiny(), [])
    with pytest.raises(ValueError, match="2 titles for 3 images"):
        controls.explorer(tiny(), pictures, titles=["a", "b"])
    signed = TinyNet(nn.Sequential(nn.Conv2d(3, 2, 3), nn.Flatten(), nn.Linear(2 * 196, 2)))
    with pytest.raises(ValueError, match="no layer"):
        controls.explorer(signed, pictures)


# --- the other two ----------------


def test_training_slider_shows_each_step(pictures):
    control = controls.training_slider({"0": tiny(0), "100": tiny(1)}, pictures[0], layer="1")
    before = control.picture.value
    assert "Step 0." in control.text.value and "6 filters" in control.text.value
    control.step.value = "100"
    after = control.picture.value
    assert after != before and "Step 100." in control.text.value
    control.layer.value = "4"
    assert control.picture.value != after
    control.step.value, control.layer.value = "0", "1"
    assert control.picture.value == before
    with pytest.raises(ValueError, match="at least one step"):
        controls.training_slider({}, pictures[0])
    with pytest.raises(ValueError, match="'nothing'"):
        controls.training_slider({"0": tiny()}, pictures[0], layer="nothing")


def test_filter_browser_leafs_through_networks_and_layers():
    control = controls.filter_browser({"a": tiny(0), "b": tiny(1), "wide": tiny(2, kernel=5)})
    seen = {control.picture.value}
    assert control.first.disabled and "a, 0: 6 filters" in control.text.value
    for move in (
        lambda: setattr(control.network, "value", "b"),
        lambda: setattr(control.layer, "value", "3"),
        lambda: setattr(control.first, "value", 4),
        lambda: setattr(control.network, "value", "wide"),
    ):
        move()
        assert control.picture.value not in seen
        seen.add(control.picture.value)
    assert control.layer.value == "3"  # the layer stays where the next network has it
    with pytest.raises(ValueError, match="at least one"):
        controls.filter_browser({})
    with pytest.raises(ValueError, match="no convolution"):
        controls.filter_browser({"flat": SimpleNamespace(model=nn.Linear(2, 2))})


# --- on the page ----------------


def every_widget(widget):
    yield widget
    for child in getattr(widget, "children", ()):
        yield from every_widget(child)


def every_control(pictures):
    return [
        controls.explorer(tiny(), pictures),
        controls.training_slider({"0": tiny()}, pictures[0]),
        controls.filter_browser({"a": tiny()}),
    ]


def test_a_page_without_kernel_gets_a_fixed_sentence(pictures):
    for first, second in zip(every_control(pictures), every_control(pictures), strict=True):
        bundle = first._repr_mimebundle_()
        data = bundle[0] if isinstance(bundle, tuple) else bundle
        assert data["text/plain"] == second.sentence == repr(first)
        assert "application/vnd.jupyter.widget-view+json" in data


def test_every_input_has_a_label_and_a_description(pictures):
    for control in every_control(pictures):
        for widget in every_widget(control.box):
            if hasattr(widget, "description") and type(widget).__name__ != "HTML":
                hidden = widget.layout.display == "none"
                assert (widget.description or hidden) and widget.tooltip, widget
            if type(widget).__name__ == "Image":
                assert widget.value and widget.tooltip is None  # a tooltip breaks it in JupyterLab
            assert "Output" not in type(widget).__name__


def test_say_escapes_and_announces():
    line = base.message()
    base.say(line, "a < b")
    assert "a &lt; b" in line.value and 'role="status"' in line.value
