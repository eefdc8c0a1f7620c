"""A decoder in your hands: a way from one image's code to another's, and an ascent to watch, stop and play again.

mixer       the control: two images, a slider from one code to the other, and what networks say on the way
Mixer       what it returns; its widgets are attributes
climber     the control: network, class, range of codes and start; the ascent, and its film
Climber     what it returns
RANGES      how far codes may go: text → `sigmas` of `generator.ascent_steps`
between     the code at a share t of the way between two codes

mixer(decoder, network, images)          # last line of a cell; the network whose codes the decoder takes
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import ipywidgets as widgets
import numpy as np
import torch
from torch import Tensor, nn

from .. import figures, generator, hooks, objectives
from . import base
from .filming import Filmed

SIDE = 224  # pixels of a panel
LIVE = 0.15  # seconds between two pictures while it runs
RANGES: dict[str, float | None] = {
    "0 to μ + 3σ": 3.0,
    "0 to μ + 1σ": 1.0,
    "0 to μ + 10σ": 10.0,
    "anywhere": None,
}
MEAN_CODE = "the mean code"


def between(a: Tensor, b: Tensor, t: float) -> Tensor:
    """The code (units,) at a share `t` of the way from `a` to `b`: (1 − t) · a + t · b."""
    return torch.lerp(a, b, t)


def _codes(network: Any, pictures: Tensor, layer: str) -> Tensor:
    return hooks.activations(network.model, network.prepare(pictures), [layer])[layer].detach()


def _drawn(decoder: nn.Module, codes: Tensor) -> Tensor:
    """What a decoder draws for codes (N, units), on the CPU."""
    with hooks.frozen(decoder), torch.no_grad():
        drawn: Tensor = decoder(codes).cpu()
        return drawn


def _says(net: Any, picture: Tensor) -> str:
    p = net.probabilities(picture)[0]
    return f"{net.name}: {net.classes[int(p.argmax())]} ({float(p.max()):.2f})"


class Mixer(base.Control):
    """The widgets of `mixer`: first, second, way, picture, text."""

    def __init__(
        self,
        decoder: nn.Module,
        codes: Tensor,
        pictures: Tensor,
        titles: Sequence[str],
        judges: Sequence[Any],
    ) -> None:
        self.decoder, self.codes, self.pictures = decoder, codes, pictures
        self.titles, self.judges = list(titles), list(judges)
        self.drawn = _drawn(decoder, codes)
        last = len(pictures) - 1
        self.first = base.slider(last, "From", "Number of the first image; arrow keys move it")
        self.second = base.slider(last, "To", "Number of the second image; arrow keys move it")
        self.second.value = last
        self.way = base.slider(
            100, "Way, %", "How far from the first code to the second; arrow keys move it", "640px"
        )
        self.way.value = 50
        self.picture, self.text = base.picture(), base.message()
        super().__init__(
            widgets.VBox(
                [base.row(self.first, self.second), self.way, self.picture, self.text],
                layout=widgets.Layout(max_width="900px"),
            ),
            f"A control that needs a running kernel: walk from the code of one of {len(pictures)} images to another's.",
        )
        for widget in (self.first, self.second, self.way):
            widget.observe(lambda change: self.draw(), names="value")
        self.draw()

    def _name(self, number: int) -> str:
        return f"image {number}" + (f" ({self.titles[number]})" if self.titles[number] else "")

    def draw(self) -> None:
        """Redraw from the widgets' values; one run of the decoder, and one of each judge."""
        a, b, t = self.first.value, self.second.value, self.way.value / 100
        drawn = _drawn(self.decoder, between(self.codes[a], self.codes[b], t)[None])[0]
        fade = torch.lerp(self.drawn[a], self.drawn[b], t)
        tiles = [
            figures.enlarge(p, (SIDE, SIDE), smooth=True)
            for p in (self.pictures[a], drawn, fade, self.pictures[b])
        ]
        names = [self._name(a), "decoded", "cross-fade", self._name(b)]
        base.redraw(self.picture, figures.beside(figures.lettered(tiles, names, 13)))
        said = "; ".join(_says(judge, drawn) for judge in self.judges)
        base.say(
            self.text,
            f"{self.way.value} % from {self._name(a)} to {self._name(b)}. Of the decoded picture, {said}.",
        )


class Climber(Filmed):
    """The widgets of `climber`: network, number, reach, begin, steps, start, stop, progress, film, picture, text,
    message."""

    live = LIVE

    def __init__(
        self, decoder: nn.Module, nets: Sequence[Any], judge: Any, starts: dict[str, Tensor]
    ) -> None:
        self.decoder, self.judge, self.starts = decoder, judge, starts
        self.nets = {net.name: net for net in nets}
        self.frames: list[tuple[np.ndarray, float]] = []  # picture (s, s, 3) uint8 and logit of every step
        self.network = base.dropdown(list(self.nets), "Network", "The network that is asked")
        self.number = base.slider(0, "Class", "Number of the class; arrow keys move it")
        self.reach = base.dropdown(list(RANGES), "Codes", "How far codes may go in each unit")
        self.begin = base.dropdown([MEAN_CODE, *starts], "Begin at", "The code to begin with")
        self.steps = base.slider(150, "Steps", "Number of steps; arrow keys move it")
        self.steps.min, self.steps.value = 3, 60
        self.film_widgets("Climb")
        super().__init__(
            widgets.VBox(
                [
                    base.row(self.network, self.number),
                    base.row(self.reach, self.begin, self.steps),
                    base.row(self.start, self.stop, self.progress),
                    self.message,
                    self.film,
                    self.picture,
                    self.text,
                ],
                layout=widgets.Layout(max_width="900px"),
            ),
            "A control that needs a running kernel: draw, through a decoder, what a class of "
            f"{' or '.join(self.nets)} likes best.",
        )
        self.network.observe(lambda change: self._on_network(), names="value")
        self.number.observe(lambda change: self.announce(), names="value")
        self.begin.observe(lambda change: self.announce(), names="value")
        self._on_network()

    @property
    def net(self) -> Any:
        """The network that is chosen."""
        return self.nets[self.network.value]

    def code(self) -> Tensor:
        """The code (1, units) to begin with."""
        mean: Tensor = self.decoder.mean  # type: ignore[assignment]
        return mean[None].clone() if self.begin.value == MEAN_CODE else self.starts[self.begin.value][None]

    def target(self) -> str:
        """What is asked, in words."""
        return f"{self.net.classes[self.number.value]} in {self.net.name}"

    def _on_network(self) -> None:
        """Another network: its classes."""
        self._choosing = True
        most = len(self.net.classes) - 1
        self.number.value = min(self.number.value, most)
        self.number.max = most
        self._choosing = False
        self.announce()

    def announce(self) -> None:
        """Say what Start would do; before the first run, show the picture that it begins with."""
        if self._choosing or self._busy:
            return
        base.say(self.message, f"Press “Start” for {self.target()}, beginning at {self.begin.value}.")
        if not self.frames:
            base.redraw(self.picture, self._tile(figures.as_uint8(_drawn(self.decoder, self.code())[0])))

    def _tile(self, frame: np.ndarray) -> np.ndarray:
        return figures.enlarge(frame, (SIDE + 96, SIDE + 96), smooth=True)

    def draw(self) -> None:
        """Redraw the chosen step of the film; two forward passes."""
        if self._choosing or not self.frames:
            return
        place = min(self.film.value, len(self.frames) - 1)
        frame, value = self.frames[place]
        base.redraw(self.picture, self._tile(frame))
        picture = torch.from_numpy(frame).permute(2, 0, 1).float() / 255
        said = "; ".join(_says(net, picture) for net in (self._asked, self.judge))
        base.say(
            self.text, f"{self._about}: step {place} of {len(self.frames) - 1}, logit {value:.1f}. {said}."
        )

    def run(self) -> None:
        """Climb."""
        if self._busy:
            return
        steps = generator.ascent_steps(
            self.decoder,  # type: ignore[arg-type]
            self.net.model,
            objectives.logit(self.number.value),
            normalise=self.net.normalise,
            start=self.code(),
            steps=self.steps.value,
            sigmas=RANGES[self.reach.value],
        )
        self._asked, self._about = self.net, f"{self.target()}, codes {self.reach.value}"
        self.frames = []
        self.work_on(steps, self.steps.value)

    def keep(self, step: generator.Step) -> int:
        """Add the step's picture and logit to the film."""
        self.frames.append((figures.as_uint8(step.images[0].cpu()), float(step.values[0])))
        return step.number

    def preview(self) -> None:
        """Show the last picture."""
        base.redraw(self.picture, self._tile(self.frames[-1][0]))


def mixer(
    decoder: nn.Module,
    network: Any,
    pictures: Tensor,
    *,
    layer: str = "relu6",
    titles: Sequence[str] | None = None,
    judges: Sequence[Any] = (),
) -> Mixer:
    """Return a control that decodes any code on the way between those of two images.

    `network`: the `zoo.Network` whose codes at `layer` the decoder takes; it says what it sees, and so do `judges`.
    `pictures`: (N, 3, H, W) in [0, 1]. ValueError where there is no image, or another number of titles.
    """
    if not len(pictures):
        raise ValueError("there is no image to begin with: give at least one")
    if titles is not None and len(titles) != len(pictures):
        raise ValueError(f"there are {len(titles)} titles for {len(pictures)} images")
    codes = _codes(network, pictures, layer)
    return Mixer(decoder, codes, pictures, titles or [""] * len(pictures), [network, *judges])


def climber(decoder: nn.Module, nets: Any, *, judge: Any, starts: dict[str, Tensor] | None = None) -> Climber:
    """Return a control that climbs a class of a network through a decoder, with a film of the run.

    `nets`: one `zoo.Network` or several, for images of the decoder's size; `judge`: another one, which says what it
    sees; `starts`: codes (units,) to begin with, by name, beside the mean code. ValueError where there is no network.
    """
    chosen = list(nets) if isinstance(nets, list | tuple) else [nets]
    if not chosen:
        raise ValueError("there is no network to ask: give at least one")
    return Climber(decoder, chosen, judge, dict(starts or {}))
