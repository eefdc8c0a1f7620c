"""The styler: the layers it offers, then the control moved by code without a display."""

import asyncio
import io
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from cnnvis_helpers import images, networks, style
from cnnvis_helpers.controls import styling
from cnnvis_helpers.controls.styling import NOISE, YOURS, map_layers, styler

SIZE = 24
WHEN = datetime(2020, 1, 1, tzinfo=UTC)


@dataclass
class TinyNet:
    """What the control needs of a `zoo.Network`."""

    model: nn.Module
    name: str = "tiny"
    classes: list[str] = field(default_factory=lambda: ["cat", "dog", "bus"])
    input_size: int = SIZE

    def normalise(self, pictures):
        return images.normalise(pictures, (0.5,) * 3, (0.25,) * 3)


def tiny(seed=0, name="tiny"):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layers = [nn.Conv2d(3, 6, 5, 2), nn.ReLU(inplace=True), nn.Conv2d(6, 8, 3), nn.ReLU()]
        return TinyNet(nn.Sequential(*layers, nn.Flatten(), nn.Linear(8 * 64, 3), nn.ReLU()).train(), name)


def pictures():
    """Two smooth pictures, one of them no square."""
    noise = torch.rand(2, 3, 4, 4, generator=torch.Generator().manual_seed(5))
    first, second = nn.functional.interpolate(noise, (40, 60), mode="bilinear"), noise
    return {"sky": first[0], "sea": nn.functional.interpolate(second, (32, 32), mode="bilinear")[1]}


def quick(**choices):
    control = styler(tiny(), pictures())
    control.steps.value = 3
    for name, value in choices.items():
        getattr(control, name).value = value
    return control


def pixels_of(widget):
    return np.asarray(Image.open(io.BytesIO(widget.value)))


def png(image):
    return images.to_png(images.to_array(image))


def give(control, name, content):
    """What an upload puts into the widget."""
    control.upload.value = [
        {"name": name, "type": "image/png", "size": len(content), "content": content, "last_modified": WHEN}
    ]


# --- layers and choices ----------------


def test_layers_are_relus_with_maps():
    assert map_layers(tiny().model, SIZE) == ["1", "3"]
    assert map_layers(networks.alexnet(4).eval(), 96) == [f"relu{k}" for k in range(1, 6)]
    with pytest.raises(ValueError, match="no ReLU"):
        map_layers(nn.Sequential(nn.Conv2d(3, 4, 3)), SIZE)
    with pytest.raises(ValueError, match="no ReLU"):
        map_layers(nn.Sequential(nn.Flatten(), nn.Linear(3 * SIZE * SIZE, 4), nn.ReLU()), SIZE)


def test_before_the_run_the_choices_are_shown_and_said():
    control = quick()
    assert control.content.value == "sky" and control.style.value == "sea"
    assert "sky in the style of sea" in control.message.value
    before = control.picture.value
    control.content.value = "sea"
    assert control.picture.value != before and "sea in the style of sea" in control.message.value
    control.content.value = NOISE
    assert "a texture in the style of sea" in control.message.value


def test_another_network_brings_its_layers():
    other = TinyNet(networks.alexnet(4), "alexnet", list("abcd"), 96)
    control = styler([tiny(), other], pictures())
    assert control.layer.options == ("1", "3")
    control.network.value = "alexnet"
    assert control.layer.options == tuple(f"relu{k}" for k in range(1, 6)) and control.layer.value == "relu3"
    assert control.net is other


# --- a run ----------------


def test_start_paints_what_the_module_paints_and_keeps_its_film():
    control = quick(layer="1", strength=16)
    before = control.picture.value
    control.start.click()
    net = control.net
    wanted = style.transfer_steps(
        net.model,
        *(images.fit(image, 96) for image in pictures().values()),
        [style.INPUT, "1", "3"],
        "1",
        normalise=net.normalise,
        strength=16,
        steps=3,
        smooth=0.05,
    )
    frames = list(wanted)
    assert len(control.frames) == 4 and control.film.max == control.film.value == 3
    for mine, frame in zip(control.frames, frames, strict=True):
        assert np.abs(mine - frame.images[0].permute(1, 2, 0).numpy() * 255).max() <= 1
    last = frames[-1]
    assert control.losses[-1] == pytest.approx(
        (sum(float(v) for v in last.style.values()) / 3, float(last.content))
    )
    assert control.picture.value != before and "Done" in control.message.value
    assert f"content loss {float(last.content):.2g}" in control.text.value
    assert "sky, strength 16, 1, in the style of sea, tiny" in control.text.value
    assert not control.start.disabled and control.stop.disabled and control.progress.value == 0
    assert net.model.training  # left as it was


def test_without_content_a_texture_is_made():
    control = quick(content=NOISE, size=128)
    control.start.click()
    assert control.frames[0].shape == (128, 128, 3) and np.abs(control.frames[0].astype(int) - 128).max() < 24
    assert control.losses[-1][0] < control.losses[0][0] / 5 and control.losses[-1][1] == 0
    assert "a texture in the style of sea" in control.text.value and "content loss" not in control.text.value


def test_more_strength_gives_more_style():
    weak, strong = quick(strength=0.1), quick(strength=64)
    for control in (weak, strong):
        control.start.click()
    assert strong.losses[-1][0] < weak.losses[-1][0] and strong.losses[-1][1] > weak.losses[-1][1]


def test_the_film_answers_at_once_and_keeps_what_it_shows():
    control = quick()
    control.start.click()
    end = control.picture.value
    control.film.value = 0
    assert control.picture.value != end and "step 0 of 3" in control.text.value
    first = control.picture.value
    control.content.value = "sea"  # a new choice leaves the film alone
    control.film.value = 3
    control.film.value = 0
    assert control.picture.value == first and "sky," in control.text.value
    times = []
    for value in (1, 2, 3, 0):
        begin = time.process_time()
        control.film.value = value
        times.append(time.process_time() - begin)
    assert min(times) < 0.1


def test_stop_keeps_the_film_so_far():
    control = quick(steps=40)

    async def start_and_stop():
        control.run()
        while len(control.frames) < 2:
            await asyncio.sleep(0.002)
        assert control.start.disabled and not control.stop.disabled and control.film.disabled
        assert control.progress.value > 0 or len(control.frames) == 2
        control.run()  # a second press while it works does nothing
        control.stop.click()
        await control._task

    asyncio.run(start_and_stop())
    assert 2 <= len(control.frames) < 41 and control.film.max == len(control.frames) - 1
    assert "Stopped after" in control.message.value and not control.film.disabled
    assert not control.start.disabled and control.stop.disabled
    control.steps.value = 2
    control.start.click()
    assert "Done" in control.message.value and len(control.frames) == 3


def test_a_step_of_a_real_network_is_short():
    net = TinyNet(networks.alexnet(16), "alexnet", [str(i) for i in range(16)], 96)
    control = styler(net, pictures())
    control.steps.value = 3
    begin = time.process_time()
    control.start.click()
    assert time.process_time() - begin < 3  # ten seconds give more than thirty steps


def test_what_cannot_be_painted_is_said_in_a_sentence_and_the_buttons_work_on():
    control = quick()
    with torch.no_grad():
        control.net.model[0].weight.zero_()
        control.net.model[0].bias.fill_(-1.0)  # a layer that answers to nothing
    control.start.click()
    assert "Please note" in control.message.value and "does not answer" in control.message.value
    assert not control.start.disabled and control.stop.disabled


# --- own pictures ----------------


def test_an_own_photograph_becomes_the_content():
    control = quick()
    mine = torch.full((3, 50, 30), 0.25)
    give(control, "me.png", png(mine))
    assert control.content.value == YOURS and control.style.value == "sea" and YOURS in control.style.options
    assert "your photo in the style of sea" in control.message.value
    control.start.click()
    assert np.abs(control.frames[0].astype(int) - 64).max() <= 2
    give(control, "other.png", png(torch.full((3, 20, 20), 0.75)))
    control.start.click()
    assert np.abs(control.frames[0].astype(int) - 191).max() <= 2


def test_a_file_that_is_no_picture_is_refused_with_its_name():
    control = quick()
    give(control, "notes.txt", b"no picture at all")
    assert "notes.txt" in control.message.value and "Please note" in control.message.value
    assert control.content.value == "sky"


# --- on the page ----------------


def every_widget(widget):
    yield widget
    for child in getattr(widget, "children", ()):
        yield from every_widget(child)


def test_a_page_without_kernel_gets_a_fixed_sentence_and_inputs_are_labelled():
    first, second = quick(), quick()
    bundle = first._repr_mimebundle_()
    data = bundle[0] if isinstance(bundle, tuple) else bundle
    assert data["text/plain"] == second.sentence == repr(first)
    for widget in every_widget(first.box):
        if hasattr(widget, "description") and type(widget).__name__ != "HTML":
            assert widget.description and widget.tooltip, widget
        if type(widget).__name__ == "Image":
            assert widget.value and widget.tooltip is None  # a tooltip breaks it in JupyterLab
        assert "Output" not in type(widget).__name__
    assert pixels_of(first.picture).shape[1] < 900


def test_what_cannot_be_shown_is_refused():
    with pytest.raises(ValueError, match="no network"):
        styler([], pictures())
    with pytest.raises(ValueError, match="no picture to paint"):
        styler(tiny(), {})
    with pytest.raises(images.ImageError, match="Pictures"):
        styler(tiny(), {"bad": torch.zeros(2, 5, 5)})
    with pytest.raises(ValueError, match="no ReLU"):
        styler(TinyNet(nn.Sequential(nn.Conv2d(3, 4, 3))), pictures())
    assert set(styling.STRENGTHS) >= {1, 8}
