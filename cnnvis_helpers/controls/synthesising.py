"""Synthesis with knobs: choose what a network shall see most, start, stop, and play the film of the run.

synthesiser     the control
Synthesiser     what it returns; its widgets are attributes
KNOBS           recipe → what its knobs are set to
settings_of     knobs → the arguments of `synthesis.synthesis_steps`

synthesiser([net, robust])          # last line of a cell
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import ipywidgets as widgets
import numpy as np
import torch
from torch import Tensor, nn

from .. import figures, image_params, objectives, synthesis
from ..hooks import frozen
from . import base
from .filming import Filmed

SIDE = 320  # pixels of the picture
AIMS = ("class", "channel", "unit")
SCALES = {"one": (1.0,), "two": (0.5, 1.0), "three": (0.5, 0.75, 1.0)}
PLAIN = "no regulariser"
LIVE = 0.15  # seconds between two pictures while it runs


class Knobs(NamedTuple):
    """What a recipe sets: the weight of total variation, jitter in pixels of a network of 96, how many scales."""

    variation: float
    jitter: int
    scales: str
    extremes: float = 0.0


KNOBS = {
    "fourier": Knobs(60, 12, "three", 0.5),
    "scales": Knobs(100, 6, "three", 1.0),
    "jitter": Knobs(40, 6, "one", 0.5),
    "simonyan": Knobs(0, 0, "one"),
    **{f"yosinski-{k}": Knobs(0, 0, "one") for k in (1, 2, 3, 4)},
    PLAIN: Knobs(0, 0, "one"),
}


def settings_of(recipe: str, variation: float, jitter: int, scales: str) -> dict[str, Any]:
    """Arguments of `synthesis_steps`: those of the recipe, with the three knobs in place of its own.

    Raises: ValueError for an unknown recipe or number of scales.
    """
    if recipe not in KNOBS or scales not in SCALES:
        raise ValueError(
            f"there is no recipe {recipe!r} with scales {scales!r}: these are {', '.join(KNOBS)}"
        )
    settings: dict[str, Any] = dict(synthesis.RECIPES.get(recipe, {"rate": 0.01}))
    settings |= {"jitter": jitter, "scales": SCALES[scales]}
    extremes = KNOBS[recipe].extremes
    settings["penalty"] = objectives.pixel_penalty(variation, extremes) if variation or extremes else None
    return settings


def _widths(model: nn.Module) -> dict[str, int]:
    """Layers whose channels can be aimed at, before their ReLU: name → number of channels."""
    found = {}
    for name, module in model.named_modules():
        if name and isinstance(module, nn.Conv2d | nn.Linear):
            found[name] = module.out_channels if isinstance(module, nn.Conv2d) else module.out_features
    return found


class Synthesiser(Filmed):
    """The widgets of `synthesiser`: network, aim, layer, number, recipe, variation, jitter, scales, steps, start, stop,
    progress, film, picture, text, message."""

    live = LIVE

    def __init__(self, nets: Sequence[Any]) -> None:
        self.nets = {net.name: net for net in nets}
        self.frames: list[np.ndarray] = []  # the film, (s, s, 3) uint8 each
        self.values: list[float] = []  # the objective before each step
        self.network = base.dropdown(list(self.nets), "Network", "The network that is asked")
        self.aim = base.dropdown(
            list(AIMS), "Aim", "What the image shall raise: a class, a whole channel, one unit"
        )
        self.layer = base.dropdown([""], "Layer", "The layer of the channel or unit")
        self.number = base.slider(0, "Number", "Number of the class or channel; arrow keys move it")
        self.recipe = base.dropdown(list(KNOBS), "Recipe", "The method; it sets the three knobs beside it")
        self.variation = widgets.FloatSlider(
            min=0,
            max=200,
            step=5,
            description="TV",
            tooltip="Weight of total variation: 0 lets neighbouring pixels differ; arrow keys move it",
            style=base.STYLE,
            layout=widgets.Layout(width="300px"),
        )
        self.jitter = base.slider(24, "Jitter", "Largest shift in pixels at a step; arrow keys move it")
        self.scales = base.dropdown(list(SCALES), "Scales", "How many sizes the image grows through")
        self.steps = base.slider(200, "Steps", "Number of steps; arrow keys move it")
        self.steps.min, self.steps.value = 3, 80
        self.film_widgets("Make the image")
        super().__init__(
            widgets.VBox(
                [
                    base.row(self.network, self.aim, self.layer),
                    base.row(self.number, self.steps),
                    base.row(self.recipe, self.scales),
                    base.row(self.variation, self.jitter),
                    base.row(self.start, self.stop, self.progress),
                    self.message,
                    self.film,
                    self.picture,
                    self.text,
                ],
                layout=widgets.Layout(max_width="900px"),
            ),
            f"A control that needs a running kernel: make images that {' or '.join(self.nets)} would most like to see.",
        )
        self.network.observe(lambda change: self._on_network(), names="value")
        self.aim.observe(lambda change: self._on_aim(), names="value")
        self.layer.observe(lambda change: self._on_aim(), names="value")
        self.number.observe(lambda change: self.announce(), names="value")
        self.recipe.observe(lambda change: self._on_recipe(), names="value")
        self._on_network()
        self._on_recipe()
        begin = image_params.noise_start(1, self.net.input_size, torch.Generator().manual_seed(0))
        base.redraw(self.picture, figures.enlarge(begin[0], (SIDE, SIDE)))

    @property
    def net(self) -> Any:
        """The network that is chosen."""
        return self.nets[self.network.value]

    def _on_network(self) -> None:
        """Another network: its layers, the middle one chosen."""
        self._widths = _widths(self.net.model)
        names = list(self._widths)
        self._choosing = True
        self.layer.options = names
        self.layer.value = names[len(names) // 2]
        self._choosing = False
        self._on_aim()

    def _on_aim(self) -> None:
        """Another aim or layer: another range of numbers."""
        if self._choosing:
            return
        whole = self.aim.value == "class"
        self.layer.disabled = whole
        most = (len(self.net.classes) if whole else self._widths[self.layer.value]) - 1
        self._choosing = True
        self.number.value = min(self.number.value, most)
        self.number.max = most
        self._choosing = False
        self.announce()

    def _on_recipe(self) -> None:
        """Set the knobs to what the recipe says, jitter in proportion to the network's size."""
        knobs = KNOBS[self.recipe.value]
        self.variation.value, self.scales.value = knobs.variation, knobs.scales
        self.jitter.value = round(knobs.jitter * self.net.input_size / 96)

    def target(self) -> str:
        """What the image shall raise, in words."""
        if self.aim.value == "class":
            return f"class {self.number.value} ({self.net.classes[self.number.value]})"
        return f"{self.aim.value} {self.number.value} of {self.layer.value}"

    def announce(self) -> None:
        """Say what Start would do."""
        if not (self._choosing or self._busy):
            base.say(self.message, f"Press “Start” for an image of {self.target()} by {self.net.name}.")

    def objective(self) -> objectives.Objective:
        """The objective of the knobs."""
        if self.aim.value == "class":
            return objectives.logit(self.number.value)
        make = objectives.channel if self.aim.value == "channel" else objectives.unit
        return make(self.layer.value, self.number.value)

    def draw(self) -> None:
        """Redraw the chosen step of the film; one forward pass."""
        if self._choosing or not self.frames:
            return
        place = min(self.film.value, len(self.frames) - 1)
        frame = self.frames[place]
        base.redraw(self.picture, figures.enlarge(frame, (SIDE, SIDE), smooth=True))
        p = self._probabilities(frame)
        best = int(p.argmax())
        base.say(
            self.text,
            f"{self._about}: step {place + 1} of {len(self.frames)}, {self.values[place]:.3g} before it. "
            f"{self._asked.name} says {self._asked.classes[best]} ({float(p[best]):.2f}).",
        )

    def _probabilities(self, frame: np.ndarray) -> Tensor:
        image = torch.from_numpy(frame).permute(2, 0, 1)[None].float() / 255
        model = self._asked.model
        with frozen(model), torch.no_grad():
            x = self._asked.normalise(image).to(next(model.parameters()))
            return model(x)[0].softmax(0).cpu()

    def run(self) -> None:
        """Make the image."""
        if self._busy:
            return
        try:
            settings = settings_of(
                self.recipe.value, self.variation.value, self.jitter.value, self.scales.value
            )
            steps = synthesis.synthesis_steps(
                self.net.model,
                self.objective(),
                normalise=self.net.normalise,
                size=self.net.input_size,
                steps=self.steps.value,
                **settings,
            )
        except ValueError as error:
            base.say(self.message, str(error), warning=True)
            return
        self._asked, self._about = self.net, f"{self.target()}, {self.recipe.value}"
        self.frames, self.values = [], []
        self.work_on(steps, self.steps.value)

    def keep(self, step: Any) -> int:
        """Add the step's image and objective to the film."""
        self.frames.append(figures.as_uint8(step.images[0].cpu()))
        self.values.append(float(step.values[0]))
        return len(self.frames)

    def preview(self) -> None:
        """Show the last image."""
        base.redraw(self.picture, figures.enlarge(self.frames[-1], (SIDE, SIDE), smooth=True))


def synthesiser(nets: Any) -> Synthesiser:
    """Return a control that makes an image for any class, channel or unit, with the knobs of the recipes.

    `nets`: one `zoo.Network` or several. ValueError where there is none, or one without a convolution.
    """
    chosen = list(nets) if isinstance(nets, list | tuple) else [nets]
    if not chosen:
        raise ValueError("there is no network to ask: give at least one")
    for net in chosen:
        if not _widths(net.model):
            raise ValueError(
                f"{net.name} has no convolution and no linear layer: there is no channel to aim at"
            )
    return Synthesiser(chosen)
