"""The attacker and the evolver: the functions behind them, then the controls moved by code without a display."""

import asyncio
import io
import time
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from cnnvis_helpers import adversarial, evolution, images, networks
from cnnvis_helpers.controls import fooling

SIZE = 24


@dataclass
class TinyNet:
    """What the controls need of a `zoo.Network`."""

    model: nn.Module
    name: str = "tiny"
    classes: list[str] = field(default_factory=lambda: ["cat", "dog", "bus"])
    input_size: int = SIZE

    def normalise(self, pictures):
        return images.normalise(pictures, (0.5,) * 3, (0.25,) * 3)

    def probabilities(self, pictures):
        pictures = pictures if pictures.ndim == 4 else pictures[None]
        with torch.no_grad():
            return self.model(self.normalise(pictures)).softmax(1)


def tiny(seed=0, name="tiny"):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layers = [nn.Conv2d(3, 6, 5, 2), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(6 * 100, 3)]
        return TinyNet(nn.Sequential(*layers), name)


def pictures(n=4):
    return torch.rand(n, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(5))


def pixels_of(widget):
    return np.asarray(Image.open(io.BytesIO(widget.value)))


# --- what an attack does, and how its perturbation is shown ----------------


@pytest.mark.parametrize("how", fooling.HOW)
def test_every_attack_keeps_to_epsilon_and_to_the_colours(how):
    net, image = tiny(), pictures(1)[0]
    changed = fooling.attacked(net, image, 0.05, how, 0, None)
    assert changed.shape == image.shape and changed.min() >= 0 and changed.max() <= 1
    assert 0.04 < (changed - image).abs().max() <= 0.05 + 1e-6
    assert torch.equal(changed, fooling.attacked(net, image, 0.05, how, 0, None))


def test_attacks_are_those_of_the_module_and_random_signs_know_nothing_of_the_network():
    net, other, image = tiny(), tiny(3), pictures(1)[0]
    by_module = adversarial.fgsm(net.model, image[None], 0.03, 1, normalise=net.normalise)[0]
    assert torch.equal(fooling.attacked(net, image, 0.03, "one step", 1, None), by_module)
    towards = adversarial.pgd(
        net.model, image[None], 0.03, 1, normalise=net.normalise, target_class=2, steps=5
    )[0]
    assert torch.equal(fooling.attacked(net, image, 0.03, "five steps", 1, 2), towards)
    mine, theirs = (fooling.attacked(n, image, 0.03, "random signs", 0, None) for n in (net, other))
    assert torch.equal(mine, theirs)
    with pytest.raises(ValueError, match="no attack 'magic'"):
        fooling.attacked(net, image, 0.03, "magic", 0, None)


def test_a_perturbation_is_shown_around_mid_grey():
    change = torch.tensor([-0.02, 0.0, 0.01, 0.02]).view(1, 2, 2)
    torch.testing.assert_close(
        fooling.visible(change, 0.02), torch.tensor([0.0, 0.5, 0.75, 1.0]).view(1, 2, 2)
    )
    assert torch.equal(fooling.visible(torch.zeros(3, 2, 2), 0.0), torch.full((3, 2, 2), 0.5))


# --- the attacker ----------------


def test_the_slider_changes_the_picture_and_what_is_said():
    net = tiny()
    control = fooling.attacker(net, pictures(), labels=[0, 1, 2, 0], titles=["a", "b", "c", "d"])
    assert pixels_of(control.picture).shape[1] > 3 * fooling.SIDE
    before = control.picture.value
    control.epsilon.value = 8
    assert control.picture.value != before and "ε = 8/255" in control.text.value
    control.image.value = 2
    assert "Image 2 (c)" in control.text.value
    changed = fooling.attacked(net, pictures()[2], 8 / 255, "one step", 2, None)
    p, q = net.probabilities(pictures()[2])[0], net.probabilities(changed)[0]
    assert f"{net.classes[int(q.argmax())]} ({float(q.max()):.2f}) after" in control.text.value
    assert f"bus: {float(p[2]):.2f} → {float(q[2]):.2f}" in control.text.value
    assert q[2] < p[2]


def test_epsilon_zero_changes_nothing():
    control = fooling.attacker(tiny(), pictures(), labels=[0, 1, 2, 0])
    control.epsilon.value = 0
    said = control.text.value
    before, after = said.split("says ")[1].split(" before and ")
    assert after.startswith(before)


def test_a_target_is_approached_and_another_network_brings_its_classes():
    other = tiny(3, "other")
    other.classes = ["sun", "sea", "sky"]
    control = fooling.attacker([tiny(), other], pictures())
    control.network.value = "other"
    assert [name for name, _ in control.target.options] == [fooling.AWAY, "sun", "sea", "sky"]
    control.how.value, control.epsilon.value = "five steps", 16
    for target in range(3):
        control.target.value = target
        assert f"towards {other.classes[target]}" in control.text.value
        changed = fooling.attacked(other, pictures()[0], 16 / 255, "five steps", 0, target)
        assert other.probabilities(changed)[0, target] > other.probabilities(pictures())[0, target]


def test_it_answers_at_once():
    net = TinyNet(networks.alexnet(16), "alexnet", [str(i) for i in range(16)], 96)
    net.model.eval()
    control = fooling.attacker(net, torch.rand(2, 3, 96, 96, generator=torch.Generator().manual_seed(0)))
    evolving = fooling.evolver(net)
    for how in fooling.HOW:
        control.how.value = how
        times = []
        for value in (3, 4, 5, 6):
            begin = time.process_time()
            control.epsilon.value = value
            times.append(time.process_time() - begin)
        assert min(times) < 0.1, how
    times = []
    for _ in range(4):
        begin = time.process_time()
        evolving.step()
        times.append(time.process_time() - begin)
    assert min(times) < 0.15  # a generation and its picture; Pause is heard after each


# --- the evolver ----------------


def test_a_press_without_a_kernel_makes_one_generation_of_the_module():
    net = tiny()
    control = fooling.evolver(net)
    assert control.generation.number == 0
    for _ in range(3):
        control.play.click()
    code = evolution.CPPN(SIZE)
    score = evolution.confidence(net.model, code, normalise=net.normalise)
    method = evolution.MapElites(fooling.CHILDREN)
    expected = evolution.evolve(score, code.genes, method, generations=3)
    torch.testing.assert_close(control.generation.genomes, expected.genomes)
    assert "Generation 3" in control.text.value
    assert f"{float(expected.fitness.median()):.2f}" in control.text.value


def test_reset_and_another_encoding_begin_again():
    control = fooling.evolver(tiny())
    start = control.picture.value
    for _ in range(4):
        control.play.click()
    assert control.picture.value != start
    control.reset.click()
    assert control.generation.number == 0 and control.picture.value == start
    control.encoding.value = "pixels"
    assert control.generation.number == 0 and control.picture.value != start
    assert control.generation.genomes.shape == (3, 3 * (SIZE // 2) ** 2)


def test_play_runs_until_pause_and_goes_on():
    control = fooling.evolver(tiny())
    control.speed.value = 20

    async def watch():
        control.run()
        await asyncio.sleep(0.25)
        assert control.play.disabled and not control.pause.disabled
        control.run()  # a second press while it works does nothing
        control.pause.click()
        await control._task
        first = control.generation.number
        assert first >= 1 and f"Paused at generation {first}" in control.message.value
        assert not control.play.disabled and control.pause.disabled
        control.run()
        await asyncio.sleep(0.2)
        control.pause.click()
        await control._task
        return first

    assert asyncio.run(watch()) < control.generation.number


def test_speed_is_a_bound():
    control = fooling.evolver(tiny())
    control.speed.value = 2

    async def watch():
        control.run()
        await asyncio.sleep(0.7)
        control.pause.click()
        await control._task

    asyncio.run(watch())
    assert control.generation.number <= 3


def test_reset_while_it_runs_stops_and_begins_again():
    control = fooling.evolver(tiny())

    async def watch():
        control.run()
        await asyncio.sleep(0.1)
        control.reset.click()
        await control._task

    asyncio.run(watch())
    assert control.generation.number == 0 and not control.play.disabled


def test_no_more_than_sixteen_elites_are_shown():
    net = TinyNet(networks.alexnet(40), "alexnet", [f"class {i}" for i in range(40)], 96)
    net.model.eval()
    control = fooling.evolver(net)
    assert len(control.generation.fitness) == 40 and "40 classes" in control.text.value
    height, width = pixels_of(control.picture).shape[:2]
    assert width < 900 and height < 2 * (fooling.CELL + 40)


# --- on the page ----------------


def every_widget(widget):
    yield widget
    for child in getattr(widget, "children", ()):
        yield from every_widget(child)


@pytest.mark.parametrize(
    "make", [lambda: fooling.attacker(tiny(), pictures()), lambda: fooling.evolver(tiny())]
)
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
    with pytest.raises(ValueError, match="no network"):
        fooling.attacker([], pictures())
    with pytest.raises(ValueError, match="no network"):
        fooling.evolver([])
    with pytest.raises(ValueError, match="no image"):
        fooling.attacker(tiny(), [])
    with pytest.raises(ValueError, match="2 labels for 4 images"):
        fooling.attacker(tiny(), pictures(), labels=[0, 1])
    with pytest.raises(ValueError, match="1 titles for 4 images"):
        fooling.attacker(tiny(), pictures(), titles=["a"])
