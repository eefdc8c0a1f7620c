"""The mixer and the climber: the functions behind them, then the controls moved by code without a display."""

import asyncio
import io
import time
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from cnnvis_helpers import generator, hooks, images, networks, objectives
from cnnvis_helpers.controls import generating
from cnnvis_helpers.generator import Decoder

SIZE = 32


@dataclass
class TinyNet:
    """What the controls need of a `zoo.Network`."""

    model: nn.Module
    name: str = "tiny"
    classes: list[str] = field(default_factory=lambda: ["cat", "dog", "bus"])
    input_size: int = SIZE

    def normalise(self, pictures):
        return images.normalise(pictures, (0.5,) * 3, (0.25,) * 3)

    def prepare(self, pictures):
        return self.normalise(pictures)

    def probabilities(self, pictures):
        pictures = pictures if pictures.ndim == 4 else pictures[None]
        with torch.no_grad():
            return self.model(self.normalise(pictures)).softmax(1)


def tiny(seed=0, name="tiny"):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layers = [
            nn.Conv2d(3, 6, 5, 2),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(6 * 196, 8),
            nn.ReLU(),
            nn.Linear(8, 3),
        ]
        return TinyNet(nn.Sequential(*layers), name)


def pictures(n=4):
    return torch.rand(n, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(5))


def drawer(net=None):
    """A decoder of the codes of the tiny network's layer "4"."""
    net = net or tiny()
    decoder = Decoder(8, size=SIZE, width=16, seed=2)
    codes = hooks.activations(net.model, net.prepare(pictures(40)), ["4"])["4"]
    codes = codes + torch.rand(codes.shape, generator=torch.Generator().manual_seed(6))
    decoder.set_codes(codes)
    with torch.no_grad():
        for _ in range(20):
            decoder.train()(codes)  # batch statistics that let differences through
        decoder.colours.weight.mul_(5)
    return decoder.eval()


def a_mixer(**settings):
    net = tiny()
    return generating.mixer(drawer(net), net, pictures(), layer="4", **settings)


def a_climber(**settings):
    control = generating.climber(drawer(), [tiny(), tiny(3, "other")], judge=tiny(4, "judge"), **settings)
    control.steps.value = 6
    return control


def pixels_of(widget):
    return np.asarray(Image.open(io.BytesIO(widget.value)))


# --- the mixer ----------------


def test_between_is_on_the_line_and_has_both_ends():
    a, b = torch.tensor([0.0, 2.0]), torch.tensor([4.0, 0.0])
    assert generating.between(a, b, 0.0).tolist() == [0, 2] and generating.between(a, b, 1.0).tolist() == [
        4,
        0,
    ]
    assert generating.between(a, b, 0.25).tolist() == [1, 1.5]


def test_the_slider_decodes_the_code_on_the_way():
    control = a_mixer(titles=["a", "b", "c", "d"])
    net, decoder = tiny(), control.decoder
    assert (control.first.value, control.second.value, control.way.value) == (0, 3, 50)
    before = control.picture.value
    control.way.value = 25
    assert control.picture.value != before and "25 % from image 0 (a) to image 3 (d)" in control.text.value
    codes = hooks.activations(net.model, net.prepare(pictures()), ["4"])["4"]
    with torch.no_grad():
        drawn = decoder(torch.lerp(codes[0], codes[3], 0.25)[None])
    p = net.probabilities(drawn)[0]
    assert f"tiny: {net.classes[int(p.argmax())]} ({float(p.max()):.2f})" in control.text.value
    assert pixels_of(control.picture).shape[1] > 4 * generating.SIDE


def test_at_the_ends_code_and_cross_fade_are_one_picture():
    control = a_mixer()
    for value in (0, 100):
        control.way.value = value
        pixels = pixels_of(control.picture).astype(int)
        tiles = [pixels[:200, k * (generating.SIDE + 10) : k * (generating.SIDE + 10) + 200] for k in (1, 2)]
        assert np.abs(tiles[0] - tiles[1]).max() <= 1
    control.way.value = 50
    pixels = pixels_of(control.picture).astype(int)
    tiles = [pixels[:200, k * (generating.SIDE + 10) : k * (generating.SIDE + 10) + 200] for k in (1, 2)]
    assert np.abs(tiles[0] - tiles[1]).max() > 1


def test_judges_say_what_they_see():
    control = a_mixer(judges=[tiny(7, "another")])
    assert "tiny: " in control.text.value and "another: " in control.text.value
    control.first.value = control.second.value = 2
    assert "from image 2 to image 2" in control.text.value


# --- the climber ----------------


def test_start_makes_the_film_of_the_module():
    control = a_climber()
    control.number.value, control.reach.value = 1, "0 to μ + 1σ"
    before = control.picture.value
    control.start.click()
    net = control.net
    expected = list(
        generator.ascent_steps(
            control.decoder,
            net.model,
            objectives.logit(1),
            normalise=net.normalise,
            start=control.decoder.mean[None],
            steps=6,
            sigmas=1.0,
        )
    )
    assert len(control.frames) == 7
    for (frame, value), step in zip(control.frames, expected, strict=True):
        assert np.abs(frame - step.images[0].permute(1, 2, 0).numpy() * 255).max() <= 1
        assert value == float(step.values[0])
    assert control.picture.value != before and "Done" in control.message.value
    assert "step 6 of 6" in control.text.value and "judge: " in control.text.value
    assert control.film.max == control.film.value == 6 and not control.film.disabled
    end = control.picture.value
    control.film.value = 0
    assert control.picture.value != end and "step 0 of 6" in control.text.value


@pytest.mark.parametrize("reach", list(generating.RANGES))
def test_every_range_runs(reach):
    control = a_climber()
    control.reach.value = reach
    control.start.click()
    assert len(control.frames) == 7 and reach in control.text.value


def test_another_start_and_another_network():
    code = torch.linspace(0, 1, 8)
    control = a_climber(starts={"a house": code})
    shown = control.picture.value
    control.begin.value = "a house"
    assert control.picture.value != shown and "beginning at a house" in control.message.value
    assert torch.equal(control.code(), code[None])
    control.network.value = "other"
    assert "in other" in control.message.value
    control.start.click()
    assert "in other" in control.text.value and "other: " in control.text.value
    assert torch.equal(control.starts["a house"], code)  # not moved by the ascent


def test_stop_ends_the_run_and_keeps_the_film():
    control = a_climber()
    control.steps.value = 150

    async def watch():
        control.run()
        await asyncio.sleep(0.1)
        assert control.start.disabled and not control.stop.disabled and control.film.disabled
        control.run()  # a second press while it works does nothing
        control.stop.click()
        await control._task

    asyncio.run(watch())
    assert 1 <= len(control.frames) < 151 and control.film.max == len(control.frames) - 1
    assert "Stopped after" in control.message.value
    assert not control.start.disabled and control.stop.disabled and control.progress.value == 0
    control.steps.value = 3
    control.start.click()
    assert "Done" in control.message.value and len(control.frames) == 4


def test_what_cannot_be_climbed_is_said_in_a_sentence_and_the_buttons_work_on():
    control = a_climber()
    with torch.no_grad():
        control.net.model[5].weight[0] = 0.0  # no picture moves this class
    control.steps.value = 12
    control.start.click()
    assert "Please note" in control.message.value and "no gradient" in control.message.value
    assert not control.start.disabled and control.stop.disabled
    control.number.value = 1
    control.start.click()
    assert "Done" in control.message.value


def test_they_answer_at_once():
    net = TinyNet(networks.alexnet(16), "alexnet", [str(i) for i in range(16)], 96)
    net.model.eval()
    decoder = Decoder().eval()
    album = torch.rand(3, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    mixing = generating.mixer(decoder, net, album, judges=[net])
    climbing = generating.climber(decoder, net, judge=net)
    climbing.steps.value = 3
    climbing.start.click()
    for move in (lambda k: setattr(mixing.way, "value", k), lambda k: setattr(climbing.film, "value", k % 4)):
        times = []
        for k in (10, 11, 12, 13):
            begin = time.process_time()  # others may use this machine at the same time
            move(k)
            times.append(time.process_time() - begin)
        assert min(times) < 0.1


# --- on the page ----------------


def every_widget(widget):
    yield widget
    for child in getattr(widget, "children", ()):
        yield from every_widget(child)


@pytest.mark.parametrize("make", [a_mixer, a_climber])
def test_a_page_without_kernel_gets_a_fixed_sentence_and_inputs_are_labelled(make):
    first, second = make(), make()
    bundle = first._repr_mimebundle_()
    data = bundle[0] if isinstance(bundle, tuple) else bundle
    assert data["text/plain"] == second.sentence == repr(first)
    for widget in every_widget(first.box):
        if hasattr(widget, "description") and type(widget).__name__ != "HTML":
            assert widget.description and widget.tooltip, widget
        if type(widget).__name__ == "Image":
            assert widget.value and widget.tooltip is None  # a tooltip breaks it in JupyterLab
        assert "Output" not in type(widget).__name__


def test_what_cannot_be_shown_is_refused():
    with pytest.raises(ValueError, match="no image"):
        generating.mixer(drawer(), tiny(), pictures()[:0], layer="4")
    with pytest.raises(ValueError, match="1 titles for 4 images"):
        a_mixer(titles=["a"])
    with pytest.raises(ValueError, match="no network"):
        generating.climber(drawer(), [], judge=tiny())
