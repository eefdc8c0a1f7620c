"""Images that fool: an attack by hand, with ε on a slider, and an evolution to watch, pause and speed up.

attacker     the control: image + perturbation = sum, with the network's answers
Attacker     what it returns; its widgets are attributes
evolver      the control: one elite for each class, generation by generation
Evolver      what it returns
HOW          the attacks to choose from
attacked     one image changed by one of them
visible      a perturbation as a picture: mid-grey where nothing changes, the ends of the range at ±ε

attacker([net, robust], images, labels)          # last line of a cell
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import ipywidgets as widgets
import numpy as np
import torch
from torch import Tensor

from .. import adversarial, evolution, figures, images
from . import base

SIDE = 192  # pixels of each of the three panels
MOST = 16  # the largest ε of the slider, in steps of an 8-bit colour
HOW = ("one step", "five steps", "random signs")
AWAY = "away from its class"
CELL = 104  # pixels of an elite
SHOWN = 16  # so many elites at most
CHILDREN = 24  # of a generation: small, so that it answers at once


def attacked(net: Any, image: Tensor, epsilon: float, how: str, label: int, target: int | None) -> Tensor:
    """An image (3, s, s) in [0, 1] changed by at most ε: away from `label`, or towards `target` if there is one.

    Raises: ValueError for an unknown way.
    """
    if how not in HOW:
        raise ValueError(f"there is no attack {how!r}: these are {', '.join(HOW)}")
    if how == "random signs":
        signs = torch.randint(2, image.shape, generator=torch.Generator().manual_seed(0)) * 2.0 - 1
        return (image + epsilon * signs).clamp(0, 1)
    attack = adversarial.fgsm if how == "one step" else partial(adversarial.pgd, steps=5)
    changed = attack(net.model, image[None], epsilon, label, normalise=net.normalise, target_class=target)
    return changed[0].cpu()


def visible(change: Tensor, epsilon: float) -> Tensor:
    """A change of at most ε as a picture in [0, 1]: 0.5 + change / (2 ε); mid-grey for ε = 0."""
    return torch.full_like(change, 0.5) if epsilon == 0 else (0.5 + change / (2 * epsilon)).clamp(0, 1)


class Attacker(base.Control):
    """The widgets of `attacker`: network, image, how, target, epsilon, picture, text."""

    def __init__(
        self,
        nets: Sequence[Any],
        pictures: Sequence[Tensor],
        labels: Sequence[int] | None,
        titles: Sequence[str],
    ) -> None:
        self.nets = {net.name: net for net in nets}
        self.pictures, self.labels, self.titles = list(pictures), labels, list(titles)
        self._choosing = False
        self.network = base.dropdown(list(self.nets), "Network", "The network that is attacked")
        self.image = base.slider(len(self.pictures) - 1, "Image", "Number of the image; arrow keys move it")
        self.how = base.dropdown(list(HOW), "Attack", "One step, five steps, or random signs: the null")
        self.target = base.dropdown([(AWAY, -1)], "Towards", "Away from its own class, or towards another")
        self.epsilon = widgets.FloatSlider(
            value=2,
            min=0,
            max=MOST,
            step=0.5,
            description="ε · 255",
            tooltip="The largest change of a value, in steps of an 8-bit colour; arrow keys move it",
            style=base.STYLE,
            layout=widgets.Layout(width="520px"),
        )
        self.picture, self.text = base.picture(), base.message()
        super().__init__(
            widgets.VBox(
                [
                    base.row(self.network, self.image),
                    base.row(self.how, self.target),
                    self.epsilon,
                    self.picture,
                    self.text,
                ],
                layout=widgets.Layout(max_width="900px"),
            ),
            f"A control that needs a running kernel: change any of {len(self.pictures)} images by ε, and see what "
            f"{' or '.join(self.nets)} says.",
        )
        self.network.observe(lambda change: self._on_network(), names="value")
        for widget in (self.image, self.how, self.target, self.epsilon):
            widget.observe(lambda change: self.draw(), names="value")
        self._on_network()

    @property
    def net(self) -> Any:
        """The network that is chosen."""
        return self.nets[self.network.value]

    def _on_network(self) -> None:
        """Another network: its classes."""
        self._choosing = True
        classes = [(str(name), number) for number, name in enumerate(self.net.classes)]
        self.target.options = [(AWAY, -1), *classes]
        self.target.value = -1
        self._choosing = False
        self.draw()

    def draw(self) -> None:
        """Redraw from the widgets' values; one attack and two forward passes."""
        if self._choosing:
            return
        net, epsilon, index = self.net, self.epsilon.value / 255, self.image.value
        image = images.fit(self.pictures[index], net.input_size)
        before = net.probabilities(image)[0]
        label = int(before.argmax()) if self.labels is None else int(self.labels[index])
        target = None if self.target.value < 0 else self.target.value
        changed = attacked(net, image, epsilon, self.how.value, label, target)
        after = net.probabilities(changed)[0]
        tiles = [figures.enlarge(p, (SIDE, SIDE), smooth=True) for p in (image, changed)]
        tiles.insert(1, figures.enlarge(visible(changed - image, epsilon), (SIDE, SIDE)))
        names = [_answer(net, before), "perturbation, enlarged", _answer(net, after)]
        base.redraw(self.picture, figures.beside(figures.lettered(tiles, names, 13)))
        title = f" ({self.titles[index]})" if self.titles[index] else ""
        end = f", towards {net.classes[target]}" if target is not None else ""
        base.say(
            self.text,
            f"Image {index}{title}, ε = {self.epsilon.value:g}/255, {self.how.value}{end}: {net.name} says "
            f"{_answer(net, before)} before and {_answer(net, after)} after. Probability of "
            f"{net.classes[label]}: {float(before[label]):.2f} → {float(after[label]):.2f}.",
        )


def _answer(net: Any, p: Tensor) -> str:
    return f"{net.classes[int(p.argmax())]} ({float(p.max()):.2f})"


class Evolver(base.Control):
    """The widgets of `evolver`: network, encoding, speed, play, pause, reset, picture, text, message."""

    def __init__(self, nets: Sequence[Any]) -> None:
        self.nets = {net.name: net for net in nets}
        self.generation: evolution.Generation | None = None
        self._steps: Iterator[evolution.Generation] | None = None
        self._busy = self._stopped = False
        self.network = base.dropdown(list(self.nets), "Network", "The network that judges")
        self.encoding = base.dropdown(["patterns (CPPN)", "pixels"], "Genome", "What the genes describe")
        self.speed = base.slider(20, "Speed", "Generations a second at most; arrow keys move it")
        self.speed.min, self.speed.value = 1, 10
        self.play = widgets.Button(description="Play", tooltip="Let it evolve")
        self.pause = widgets.Button(description="Pause", tooltip="Stop after this generation", disabled=True)
        self.reset = widgets.Button(description="Reset", tooltip="Begin again from random genomes")
        self.picture, self.text, self.message = base.picture(), base.message(), base.message()
        super().__init__(
            widgets.VBox(
                [
                    base.row(self.network, self.encoding, self.speed),
                    base.row(self.play, self.pause, self.reset),
                    self.message,
                    self.picture,
                    self.text,
                ],
                layout=widgets.Layout(max_width="900px"),
            ),
            f"A control that needs a running kernel: let images evolve for every class of {' or '.join(self.nets)}.",
        )
        self.network.observe(lambda change: self.begin(), names="value")
        self.encoding.observe(lambda change: self.begin(), names="value")
        self.play.on_click(lambda button: self.run())
        self.pause.on_click(lambda button: self.halt())
        self.reset.on_click(lambda button: self.begin())
        self.begin()

    def begin(self) -> None:
        """Random genomes for the chosen network and encoding; what runs stops."""
        self._stopped = True
        self.net = net = self.nets[self.network.value]
        pixels = self.encoding.value == "pixels"
        side = net.input_size // 2
        self.code = evolution.Direct(net.input_size, side) if pixels else evolution.CPPN(net.input_size)
        # Between two images of pixels a crossover is hardly ever an improvement.
        variation = evolution.Variation(crossover_rate=0.0 if pixels else 0.5)
        self._steps = evolution.evolve_steps(
            evolution.confidence(net.model, self.code, normalise=net.normalise),
            self.code.genes,
            evolution.MapElites(CHILDREN),
            variation=variation,
            generations=1_000_000,
        )
        self.step()
        base.say(self.message, "Press “Play”.")

    def step(self) -> None:
        """One generation, and its picture."""
        assert self._steps is not None
        self.generation = next(self._steps)
        self.draw()

    def draw(self) -> None:
        """Show the elites of up to sixteen classes, and say how sure the network is."""
        now = self.generation
        assert now is not None
        count = len(now.fitness)
        shown = np.unique(np.linspace(0, count - 1, min(count, SHOWN)).round().astype(int)).tolist()
        pictures = self.code.decode(now.genomes[shown])
        tiles = [figures.enlarge(p, (CELL, CELL), smooth=True) for p in pictures]
        names = [f"{str(self.net.classes[c])[:10]} {float(now.fitness[c]):.2f}" for c in shown]
        base.redraw(self.picture, figures.tile(figures.lettered(tiles, names), 8, gap=4))
        base.say(
            self.text,
            f"Generation {now.number}: {self.net.name} gives the elites of its {count} classes a median probability of "
            f"{float(now.fitness.median()):.2f}; {int((now.fitness >= 0.9).sum())} have 0.90 or more.",
        )

    def run(self) -> None:
        """Evolve until paused; in a notebook in steps, so that Pause and the sliders are heard."""
        if self._busy:
            return
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:  # no kernel: a script or a test, which gets one generation
            self.step()
            return
        self._busy, self._stopped = True, False
        self.play.disabled, self.pause.disabled = True, False
        base.say(self.message, "Evolving …")
        self._task = loop.create_task(self._work())

    async def _work(self) -> None:
        said = ""
        try:
            while not self._stopped:
                begun = time.monotonic()
                self.step()
                left = 1 / self.speed.value - (time.monotonic() - begun)
                await asyncio.sleep(max(left, 0.01))
        except ValueError as error:  # a network that gives NaN: said in one sentence
            said = str(error)
        finally:
            self._busy = False
            self.play.disabled, self.pause.disabled = False, True
            number = 0 if self.generation is None else self.generation.number
            base.say(
                self.message,
                said or f"Paused at generation {number}: “Play” goes on from here.",
                warning=bool(said),
            )

    def halt(self) -> None:
        """Stop after the generation that is being made."""
        self._stopped = True


def attacker(
    nets: Any,
    pictures: Any,
    labels: Sequence[int] | Tensor | None = None,
    titles: Sequence[str] | None = None,
) -> Attacker:
    """Return a control that changes an image by ε and shows image, perturbation and sum with the answers.

    `nets`: one `zoo.Network` or several. `pictures`: (N, 3, H, W) or a list of (3, H, W), in [0, 1]. `labels`: their
    classes, for all networks; None is what each network says. ValueError where there is no network or image, or another
    number of labels or titles.
    """
    chosen, album = _networks(nets), list(pictures)
    if not album:
        raise ValueError("there is no image to change: give at least one")
    for name, given in (("labels", labels), ("titles", titles)):
        if given is not None and len(given) != len(album):
            raise ValueError(f"there are {len(given)} {name} for {len(album)} images")
    known = None if labels is None else [int(label) for label in labels]
    return Attacker(chosen, album, known, titles or [""] * len(album))


def evolver(nets: Any) -> Evolver:
    """Return a control in which images evolve for every class at once, with play, pause and speed.

    `nets`: one `zoo.Network` or several. ValueError where there is none.
    """
    return Evolver(_networks(nets))


def _networks(nets: Any) -> list[Any]:
    chosen = list(nets) if isinstance(nets, list | tuple) else [nets]
    if not chosen:
        raise ValueError("there is no network to fool: give at least one")
    return chosen
