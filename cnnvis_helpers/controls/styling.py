"""One picture in the style of another: content, style, strength and layer to choose, and the film of the run.

styler        the control
Styler        what it returns; its widgets are attributes
STRENGTHS     the strengths to choose from
map_layers    the layers of a network that the control offers

styler([net, vgg], photographs)          # last line of a cell
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import ipywidgets as widgets
import numpy as np
import torch
from torch import Tensor, nn

from .. import figures, images, style
from ..hooks import activations
from . import base
from .filming import Filmed

SIDE = 320  # pixels of the large picture
SMALL = 152  # of content and style beside it
SIZES = (96, 128, 192)
STRENGTHS = (0.1, 0.5, 1, 2, 4, 8, 16, 32, 64, 128)
NOISE = "none: a texture of the style"
YOURS = "your photo"


def map_layers(model: nn.Module, size: int) -> list[str]:
    """Up to five ReLUs that give maps of at least 4 × 4 places for images of `size`, evenly spread.

    Raises: ValueError where there is none.
    """
    names = [name for name, module in model.named_modules() if isinstance(module, nn.ReLU)]
    place = next(model.parameters(), torch.zeros(0))
    maps = activations(model, torch.zeros(1, 3, size, size).to(place), names) if names else {}
    found = [name for name in names if maps[name].ndim == 4 and min(maps[name].shape[2:]) >= 4]
    if not found:
        raise ValueError("there is no ReLU that gives maps: no layer whose style could be taken")
    return [found[int(i)] for i in np.unique(np.linspace(0, len(found) - 1, 5).round())]


class Styler(Filmed):
    """The widgets of `styler`: network, content, style, layer, strength, size, steps, upload, start, stop, progress,
    film, picture, text, message."""

    def __init__(self, nets: Sequence[Any], pictures: Mapping[str, Tensor]) -> None:
        self.nets = {net.name: net for net in nets}
        self.pictures = dict(pictures)
        self._layers = {net.name: map_layers(net.model, net.input_size) for net in nets}
        self.frames: list[np.ndarray] = []  # the film, (s, s, 3) uint8 each
        self.losses: list[tuple[float, float]] = []  # of style and of content at each step
        self._ends: list[np.ndarray] = []  # content and style of the film
        names = list(self.pictures)
        self.network = base.dropdown(
            list(self.nets), "Network", "Whose layers say what style and content are"
        )
        self.content = base.dropdown(
            [*names, NOISE], "Content", "The picture whose places are kept; none: a texture from noise"
        )
        self.style = base.dropdown(names, "Style", "The picture whose Gram matrices are taken")
        self.layer = base.dropdown([""], "Layer", "The layer whose maps keep the content")
        self.strength = widgets.SelectionSlider(
            options=[(f"{s:g}", s) for s in STRENGTHS],
            value=8,
            description="Strength",
            tooltip="How much a lack of style counts against a loss of content; arrow keys move it",
            style=base.STYLE,
            layout=widgets.Layout(width="420px"),
        )
        self.size = base.dropdown(
            list(SIZES), "Size", "Side of the picture in pixels: larger takes longer", "180px"
        )
        self.steps = base.slider(40, "Steps", "Number of steps, five iterations each; arrow keys move it")
        self.steps.min, self.steps.value = 2, 12
        self.upload = base.upload_button()
        self.film_widgets("Paint")
        super().__init__(
            widgets.VBox(
                [
                    base.row(self.network, self.layer),
                    base.row(self.content, self.style, self.upload),
                    base.row(self.strength, self.size, self.steps),
                    base.row(self.start, self.stop, self.progress),
                    self.message,
                    self.film,
                    self.picture,
                    self.text,
                ],
                layout=widgets.Layout(max_width="900px"),
            ),
            f"A control that needs a running kernel: one of {len(self.pictures)} pictures, or your own, in the "
            f"style of another, by {' or '.join(self.nets)}.",
        )
        if len(names) > 1:
            self.style.value = names[-1]
        self.network.observe(lambda change: self._on_network(), names="value")
        for widget in (self.content, self.style):
            widget.observe(lambda change: self.announce(), names="value")
        self.upload.observe(lambda change: self._on_upload(), names="value")
        self._on_network()

    @property
    def net(self) -> Any:
        """The network that is chosen."""
        return self.nets[self.network.value]

    def _on_network(self) -> None:
        """Another network: its layers, the middle one chosen."""
        names = self._layers[self.network.value]
        self.layer.options = names
        self.layer.value = names[len(names) // 2]
        self.announce()

    def _on_upload(self) -> None:
        """A photograph of the reader's becomes the content."""
        given = base.uploaded(self.upload)
        if given is None:
            return
        name, content = given
        try:
            photo = images.load(content)
        except images.ImageError as error:
            base.say(self.message, f"{name}: {error}", warning=True)
            return
        self.pictures[YOURS] = photo
        names, chosen = list(self.pictures), self.style.value
        self._choosing = True
        self.content.options, self.style.options = [*names, NOISE], names
        self.content.value, self.style.value = YOURS, chosen
        self._choosing = False
        self.announce()

    def announce(self) -> None:
        """Show what is chosen and say what Start would do."""
        if self._choosing or self._busy:
            return
        ends = self._chosen(SMALL)
        if not self.frames:
            base.redraw(
                self.picture, self._beside(figures.as_uint8(ends[0]), [figures.as_uint8(e) for e in ends])
            )
        what = "a texture" if self.content.value == NOISE else self.content.value
        base.say(self.message, f"Press “Start” for {what} in the style of {self.style.value}.")

    def _chosen(self, size: int) -> list[Tensor]:
        """Content (grey for a texture) and style, (3, size, size) each."""
        look = images.fit(self.pictures[self.style.value], size)
        if self.content.value == NOISE:
            return [torch.full_like(look, 0.5), look]
        return [images.fit(self.pictures[self.content.value], size), look]

    def _beside(self, large: np.ndarray, ends: Sequence[np.ndarray]) -> np.ndarray:
        small = [figures.enlarge(end, (SMALL, SMALL), smooth=True) for end in ends]
        named = figures.lettered(small, ["content", "style"])
        shown = figures.lettered([figures.enlarge(large, (SIDE, SIDE), smooth=True)], ["result"])
        return figures.beside([*named, *shown])

    def draw(self) -> None:
        """Show the chosen step of the film."""
        if self._choosing or not self.frames:
            return
        place = min(self.film.value, len(self.frames) - 1)
        base.redraw(self.picture, self._beside(self.frames[place], self._ends))
        missing, lost = self.losses[place]
        base.say(
            self.text,
            f"{self._about}: step {place} of {len(self.frames) - 1}, style loss {missing:.2g}"
            + ("." if self._texture else f", content loss {lost:.2g}."),
        )

    def film_of_run(self) -> Iterator[style.Styled]:
        """The steps that the widgets ask for."""
        net, layers = self.net, [style.INPUT, *self._layers[self.network.value][:4]]
        content, look = self._chosen(self.size.value)
        settings: dict[str, Any] = {"normalise": net.normalise, "steps": self.steps.value, "smooth": 0.05}
        if self.content.value == NOISE:
            return style.texture_steps(net.model, look, layers, **settings)
        return style.transfer_steps(
            net.model, content, look, layers, self.layer.value, strength=self.strength.value, **settings
        )

    def run(self) -> None:
        """Paint."""
        if self._busy:
            return
        try:
            frames = self.film_of_run()
        except ValueError as error:
            base.say(self.message, str(error), warning=True)
            return
        self._texture = self.content.value == NOISE
        self._ends = [figures.as_uint8(end) for end in self._chosen(SMALL)]
        what = (
            "a texture"
            if self._texture
            else f"{self.content.value}, strength {self.strength.value:g}, {self.layer.value},"
        )
        self._about = f"{what} in the style of {self.style.value}, {self.network.value}"
        self.frames, self.losses = [], []
        self.work_on(frames, self.steps.value)

    def keep(self, step: style.Styled) -> int:
        """Add the step's picture and losses to the film."""
        self.frames.append(figures.as_uint8(step.images[0].cpu()))
        missing = sum(float(value) for value in step.style.values()) / len(step.style)
        self.losses.append((missing, float(step.content)))
        return step.step

    def preview(self) -> None:
        """Show the last picture beside content and style."""
        base.redraw(self.picture, self._beside(self.frames[-1], self._ends))

    def done(self, seconds: float) -> str:
        """With the seconds that it took."""
        return f"Done in {seconds:.1f} seconds: move the film's slider to see how it came about."


def styler(nets: Any, pictures: Mapping[str, Tensor]) -> Styler:
    """Return a control that paints one of `pictures` (name → (3, H, W) in [0, 1]), or the reader's own, like another.

    `nets`: one `zoo.Network` or several. ValueError where there is none, one without a ReLU that gives maps, or no
    picture; images.ImageError for what is no picture.
    """
    chosen = list(nets) if isinstance(nets, list | tuple) else [nets]
    if not chosen:
        raise ValueError("there is no network to ask: give at least one")
    if not pictures:
        raise ValueError("there is no picture to paint: give at least one")
    for image in pictures.values():
        images.check(image)
    return Styler(chosen, pictures)
