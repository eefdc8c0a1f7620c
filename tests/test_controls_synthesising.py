"""Synthesis with knobs: the settings behind the knobs, then the control moved by code without a display."""

import asyncio
import io
import time
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from cnnvis_helpers import images, networks, objectives, synthesis
from cnnvis_helpers.controls import synthesising
from cnnvis_helpers.controls.synthesising import KNOBS, PLAIN, SCALES, synthesiser

SIZE = 24


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
        return TinyNet(nn.Sequential(*layers, nn.Flatten(), nn.Linear(8 * 64, 3)).train(), name)


def quick(**choices):
    control = synthesiser(tiny())
    control.steps.value = 6
    for name, value in choices.items():
        getattr(control, name).value = value
    return control


def pixels_of(widget):
    return np.asarray(Image.open(io.BytesIO(widget.value)))


# --- the knobs ----------------


@pytest.mark.parametrize("recipe", list(synthesis.RECIPES))
def test_the_knobs_of_a_recipe_are_the_recipe(recipe):
    """The knobs a recipe sets give, to the pixel, the images of `synthesis.RECIPES`."""
    net, knobs = tiny(), KNOBS[recipe]
    how = {"normalise": net.normalise, "size": SIZE, "steps": 6}
    settings = synthesising.settings_of(recipe, knobs.variation, knobs.jitter, knobs.scales)
    if recipe == "scales":  # three sizes, of which the smallest is another
        settings["scales"] = synthesis.RECIPES[recipe]["scales"]
    expected = synthesis.synthesise(net.model, objectives.logit(1), **how, **synthesis.RECIPES[recipe])
    assert torch.equal(synthesis.synthesise(net.model, objectives.logit(1), **how, **settings), expected)


def test_every_recipe_has_knobs_and_plain_has_no_penalty():
    assert set(KNOBS) == {*synthesis.RECIPES, PLAIN}
    plain = synthesising.settings_of(PLAIN, 0, 0, "one")
    assert plain["penalty"] is None and plain["jitter"] == 0 and plain["scales"] == (1.0,)
    assert synthesising.settings_of(PLAIN, 20, 0, "one")["penalty"] is not None
    assert all(scales[-1] == 1 for scales in SCALES.values())
    with pytest.raises(ValueError, match="no recipe 'magic'"):
        synthesising.settings_of("magic", 0, 0, "one")


def test_choosing_a_recipe_moves_its_knobs():
    control = quick(recipe="jitter")
    assert (control.variation.value, control.jitter.value, control.scales.value) == (40, 2, "one")  # 6 of 96
    control.recipe.value = "fourier"
    assert (control.variation.value, control.jitter.value, control.scales.value) == (60, 3, "three")


def test_the_aim_decides_on_layers_and_numbers():
    control = quick()
    assert control.layer.disabled and control.number.max == 2
    control.number.value = 2
    assert "class 2 (bus)" in control.message.value
    control.aim.value = "unit"
    assert not control.layer.disabled and control.layer.value == "2" and control.number.max == 7
    control.number.value = 7
    control.layer.value = "0"
    assert control.number.max == 5 and control.number.value == 5
    assert "unit 5 of 0" in control.message.value
    control.aim.value = "channel"
    assert "channel 5 of 0" in control.message.value


def test_another_network_brings_its_own_layers():
    other = TinyNet(networks.alexnet(4), "alexnet", list("abcd"), 96)
    control = synthesiser([tiny(), other])
    control.network.value = "alexnet"
    assert "conv5" in control.layer.options and control.number.max == 3
    assert control.net is other


# --- a run ----------------


@pytest.mark.parametrize(("aim", "make"), [("class", None), ("channel", "channel"), ("unit", "unit")])
def test_start_makes_the_image_of_synthesis_and_its_film(aim, make):
    control = quick(aim=aim, number=1, recipe="jitter")
    before = control.picture.value
    control.start.click()
    wanted = objectives.logit(1) if make is None else getattr(objectives, make)("2", 1)
    settings = synthesising.settings_of("jitter", 40, 2, "one")
    net = control.net
    films = list(
        synthesis.synthesis_steps(net.model, wanted, normalise=net.normalise, size=SIZE, steps=6, **settings)
    )
    assert len(control.frames) == 6
    for frame, step in zip(control.frames, films, strict=True):
        assert np.abs(frame - step.images[0].permute(1, 2, 0).numpy() * 255).max() <= 1
    assert control.values == [float(step.values[0]) for step in films]
    assert control.picture.value != before and pixels_of(control.picture).shape == (320, 320, 3)
    assert "Done" in control.message.value and control.progress.value == 0
    assert not control.start.disabled and control.stop.disabled
    assert net.model.training  # left as it was


def test_the_film_can_be_played_afterwards():
    control = quick(aim="class", number=0, recipe=PLAIN)
    assert control.film.disabled
    control.start.click()
    assert not control.film.disabled and control.film.max == control.film.value == 5
    end = control.picture.value
    control.film.value = 0
    assert control.picture.value != end and "step 1 of 6" in control.text.value
    with torch.no_grad():
        x = control.net.normalise(torch.from_numpy(control.frames[0]).permute(2, 0, 1)[None] / 255)
        p = control.net.model.eval()(x)[0].softmax(0)
    assert f"tiny says {control.net.classes[int(p.argmax())]} ({float(p.max()):.2f})" in control.text.value
    control.film.value = 5
    assert control.picture.value == end


def test_a_second_run_makes_a_new_film_and_choices_do_not_change_what_the_old_one_says():
    control = quick(aim="class", number=0, recipe=PLAIN)
    control.start.click()
    control.number.value, control.steps.value = 1, 4
    control.film.value = 2
    assert "class 0 (cat)" in control.text.value
    control.start.click()
    assert len(control.frames) == 4 and control.film.max == 3 and "class 1 (dog)" in control.text.value


def test_stop_ends_the_run_and_keeps_the_film():
    control = quick(aim="class", recipe=PLAIN, steps=200)

    async def start_and_stop():
        control.run()
        for _ in range(8):
            await asyncio.sleep(0.002)
        assert control.start.disabled and not control.stop.disabled and control.film.disabled
        control.run()  # a second press while it works does nothing
        control.stop.click()
        await control._task

    asyncio.run(start_and_stop())
    assert 1 <= len(control.frames) < 200 and control.film.max == len(control.frames) - 1
    assert "Stopped after" in control.message.value and not control.film.disabled
    assert not control.start.disabled and control.stop.disabled and control.progress.value == 0
    control.steps.value = 3
    control.start.click()
    assert "Done" in control.message.value


def test_stop_answers_within_a_fifth_of_a_second():
    net = TinyNet(networks.alexnet(16), "alexnet", [str(i) for i in range(16)], 96)
    control = synthesiser(net)
    control.steps.value = 200

    async def measured():
        control.run()
        await asyncio.sleep(0.1)
        begin = time.process_time()  # others may use this machine at the same time
        control.stop.click()
        await control._task
        return time.process_time() - begin

    assert asyncio.run(measured()) < 0.2
    times = []
    for value in (0, control.film.max, 0):
        begin = time.process_time()
        control.film.value = value
        times.append(time.process_time() - begin)
    assert min(times) < 0.1


def test_what_cannot_be_made_is_said_in_a_sentence_and_the_buttons_work_on():
    control = quick(aim="unit", layer="0", number=2, recipe=PLAIN)
    with torch.no_grad():
        control.net.model[0].weight[2] = 0.0  # a dead unit: no pixel changes it
    control.start.click()
    assert "Please note" in control.message.value and "no gradient" in control.message.value
    assert not control.start.disabled and control.stop.disabled
    control.steps.value, control.scales.value = 3, "three"
    control.number.value = 1
    control.start.click()
    assert "Done" in control.message.value


# --- on the page ----------------


def every_widget(widget):
    yield widget
    for child in getattr(widget, "children", ()):
        yield from every_widget(child)


def test_a_page_without_kernel_gets_a_fixed_sentence():
    first, second = quick(), quick()
    bundle = first._repr_mimebundle_()
    data = bundle[0] if isinstance(bundle, tuple) else bundle
    assert data["text/plain"] == second.sentence == repr(first)


def test_every_input_has_a_label_and_a_description():
    for widget in every_widget(quick().box):
        if hasattr(widget, "description") and type(widget).__name__ != "HTML":
            assert widget.description and widget.tooltip, widget
        if type(widget).__name__ == "Image":
            assert widget.value and widget.tooltip is None  # a tooltip breaks it in JupyterLab
        assert "Output" not in type(widget).__name__


def test_what_cannot_be_shown_is_refused():
    with pytest.raises(ValueError, match="no network"):
        synthesiser([])
    with pytest.raises(ValueError, match="no convolution"):
        synthesiser(TinyNet(nn.Sequential(nn.Flatten(), nn.ReLU())))
