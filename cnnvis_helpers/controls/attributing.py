"""Ask a network which pixels made its decision: an occluder to move, and all maps of one image side by side.

occluder        the control: move a window over the image and watch the probabilities
Occluder        what it returns; its widgets are attributes
map_panel       the control: the maps of six methods for any class of an image
MapPanel        what it returns
map_tile        a map over its image, with the object's outline -> pixels
every_class     the maps of all methods for several classes of one image, step by step

occluder(net, images, titles=names)          # last line of a cell
map_panel(net, images, "relu5", masks=masks)
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from typing import Any

import ipywidgets as widgets
import numpy as np
import torch
from scipy.ndimage import binary_erosion
from torch import Tensor

from .. import attribution, faithfulness, figures, images, occlusion
from ..rise import rise_steps
from . import base
from .drawing import answer_table

SIDE = 320  # pixels of the occluder's picture
TILE = 168  # pixels of a map in the panel
QUICK = ("gradient", "Grad-CAM")  # methods that are made at once for any class
MOST_CLASSES = 16  # of the panel: the most probable ones
MARK = 3  # pixels each way that a visited place fills in the occluder's map

# --- the occluder ----------------


def fill_of(name: str, net: Any, x: Tensor) -> float | Tensor:
    """What an occluder shows, in normalised units: "mean colour", "black", "white" or "blurred"; x (N, 3, H, W)."""
    if name == "mean colour":
        return 0.0
    if name == "blurred":
        return occlusion.blurred(x, min(x.shape[2:]) / 16)
    return net.normalise(torch.full((1, 3, 1, 1), float(name == "white")))[0].to(x)


class Occluder(base.Control):
    """The widgets of `occluder`: image, window, fill, up, across, picture, answer, text."""

    def __init__(self, net: Any, pictures: Sequence[Tensor], titles: Sequence[str]) -> None:
        self.net = net
        self.pictures = [images.fit(p, net.input_size) for p in pictures]
        self.titles = list(titles)
        self._moving = False
        self.image = base.slider(len(self.pictures) - 1, "Image", "Number of the image; arrow keys move it")
        self.window = base.slider(
            net.input_size // 2, "Window", "Side of the hidden square in pixels; arrow keys change it"
        )
        self.window.min, self.window.value = 1, net.input_size // 4
        self.fill = base.dropdown(
            ["mean colour", "black", "white", "blurred"], "Hide with", "What is shown in place of the image"
        )
        self.across = base.slider(0, "Across", "Left edge of the window; arrow keys move it", f"{SIDE}px")
        self.up = widgets.IntSlider(
            min=0,
            max=0,
            orientation="vertical",
            description="Up",
            tooltip="Height of the window; arrow keys move it",
            layout=widgets.Layout(height=f"{SIDE}px"),
        )
        self.across.style, self.up.style = {"description_width": "60px"}, {}
        self.picture = base.picture()
        self.answer = widgets.HTML(layout=widgets.Layout(width="300px"))
        self.text = base.message()
        super().__init__(
            widgets.VBox(
                [
                    base.row(self.image, self.window, self.fill),
                    base.row(self.up, widgets.VBox([self.picture, self.across])),
                    self.text,
                    self.answer,
                ],
                layout=widgets.Layout(max_width="1040px"),
            ),
            f"A control that needs a running kernel: hide any part of {len(pictures)} images from {net.name}.",
        )
        for widget in (self.image, self.window, self.fill):
            widget.observe(lambda change: self._on_choice(), names="value")
        for widget in (self.up, self.across):
            widget.observe(lambda change: self.draw(), names="value")
        self._on_choice()

    def _on_choice(self) -> None:
        """Another image, window or fill: a new map, and the window stays where it was as far as it can."""
        size, window = self.net.input_size, self.window.value
        self._x = self.net.prepare(self.pictures[self.image.value])
        self._fill = fill_of(self.fill.value, self.net, self._x)
        clean = self._probabilities(self._x)
        self._class = int(clean.argmax())
        self._clean = float(clean[self._class])
        self._seen = np.full((size, size), np.nan, np.float32)
        self._moving = True
        first = self.across.max == 0
        self.across.max = self.up.max = size - window
        if first:
            self.across.value = self.up.value = (size - window) // 2
        self._moving = False
        self.draw()

    def _probabilities(self, x: Tensor) -> Tensor:
        return occlusion.evaluate(self.net.model, lambda index: x[index], 1, batch=1)[0].softmax(0).cpu()

    def hidden(self) -> Tensor:
        """The normalised image (1, 3, H, W) with the window hidden."""
        window = self.window.value
        top = self.net.input_size - window - self.up.value
        return occlusion.cover(self._x, top, self.across.value, window, self._fill)

    def draw(self) -> None:
        """Redraw from the widgets' values; one forward pass."""
        if self._moving:
            return
        x, window = self.hidden(), self.window.value
        probability = self._probabilities(x)
        top, left = self.net.input_size - window - self.up.value, self.across.value
        row, column = top + window // 2, left + window // 2
        now = float(probability[self._class])
        self._seen[max(0, row - MARK) : row + MARK + 1, max(0, column - MARK) : column + MARK + 1] = now
        photo = figures.enlarge(self.net.denormalise(x)[0].clamp(0, 1), (SIDE, SIDE))
        trail = figures.enlarge(figures.colourise(self._seen, limits=(0, 1)), (SIDE, SIDE))
        base.redraw(self.picture, figures.beside([photo, trail, figures.colour_scale((0, 1), SIDE)]))
        self.answer.value = answer_table(probability, self.net.classes)
        name = self.net.classes[self._class]
        title = self.titles[self.image.value]
        base.say(
            self.text,
            f"Image {self.image.value}{f' ({title})' if title else ''}, rows {top} to {top + window - 1}, columns "
            f"{left} to {left + window - 1} hidden: {name} {self._clean:.2f} → {now:.2f}. Right: the probability of "
            f"{name} by where the window's centre has been; grey places are still to be visited.",
        )


def occluder(net: Any, images: Any, titles: Sequence[str] | None = None) -> Occluder:
    """Return a control to hide any square of an image and see what the network then says.

    `net`: a `zoo.Network`. `images`: (N, 3, H, W) or a list of (3, H, W), in [0, 1]; each is cut to what the
    network sees. `titles`: a name for each. ValueError where there is no image, or another number of titles.
    """
    pictures = _pictures(images, titles)
    return Occluder(net, pictures, titles or [""] * len(pictures))


def _pictures(given: Any, titles: Sequence[str] | None) -> list[Tensor]:
    pictures = list(given)
    if not pictures:
        raise ValueError("there is no image to look at: give at least one")
    if titles is not None and len(titles) != len(pictures):
        raise ValueError(f"there are {len(titles)} titles for {len(pictures)} images")
    return pictures


# --- all maps side by side ----------------


def map_tile(
    image: Any, heat: Any, mask: Any = None, limits: tuple[float, float] | None = None, side: int = TILE
) -> np.ndarray:
    """A map (h, w) laid over its image, the outline of `mask` (H, W) in white: (side, side, 3) uint8.

    `limits` default to 0 and the map's 99.5th percentile, so that a few peaks may burn out and the rest be seen; what
    is negative looks like zero.
    """
    values = figures.as_array(heat)
    high = float(np.quantile(values, 0.995)) if limits is None else 0.0
    photo = figures.enlarge(image, (side, side), smooth=True)
    pixels = figures.blend(photo, values, limits or (0.0, high if high > 0 else 1.0))
    return pixels if mask is None else _outlined(pixels, mask)


def _outlined(pixels: np.ndarray, mask: Any) -> np.ndarray:
    whole = figures.enlarge(figures.as_array(mask).astype(np.float32), pixels.shape[:2], smooth=True)
    inside = whole[..., 0] > 127
    out = pixels.copy()
    out[inside & ~binary_erosion(inside, border_value=1)] = 255
    return out


def every_class(
    net: Any, x: Tensor, layer: str, classes: Sequence[int], *, seed: int = 0
) -> Iterator[tuple[float, dict[str, Tensor]]]:
    """Yield step by step the share of the work that is done and the maps so far, method → (classes, H, W).

    x: one normalised image (1, 3, H, W). The methods are those of `attribution.maps`, with fewer samples and steps
    (half), since every class costs them anew; occlusion and RISE give all classes for the price of one.
    """
    chosen, short = torch.as_tensor(list(classes)), min(x.shape[2:])
    model, total = net.model, len(classes) + 2
    made: dict[str, Tensor] = {}
    seen = occlusion.occlude(model, x, window=max(1, short // 4), stride=max(1, short // 12))
    made["occlusion"] = torch.cat([seen.attribution(int(c)) for c in chosen])
    yield 1 / total, made
    g = torch.Generator().manual_seed(seed)
    for done, so_far in rise_steps(  # noqa: B007 - the last one is the whole
        model, x, "all", masks=attribution.MASKS, generator=g
    ):
        yield (1 + done / attribution.MASKS) / total, made
    shown = so_far[0, chosen]
    made["RISE"] = shown - shown.mean((1, 2), keepdim=True)
    slow: dict[str, list[Tensor]] = {
        name: [] for name in attribution.METHODS if name not in ("occlusion", "RISE")
    }
    for number, c in enumerate(chosen.tolist(), start=3):
        parts = attribution.maps(
            model,
            x,
            layer,
            c,
            methods=list(slow),
            samples=attribution.SAMPLES // 2,
            steps=attribution.STEPS // 2,
            seed=seed,
        )
        for name, part in parts.items():
            slow[name].append(part)
        yield number / total, made
    made.update({name: torch.cat(parts) for name, parts in slow.items()})
    yield 1.0, made


class MapPanel(base.Control):
    """The widgets of `map_panel`: image, label (the class), start, stop, progress, picture, text, message."""

    def __init__(
        self,
        net: Any,
        pictures: Sequence[Tensor],
        layer: str,
        masks: Sequence[Any] | None,
        titles: Sequence[str],
    ) -> None:
        self.net, self.gradcam_layer = net, layer
        self.pictures = [images.fit(p, net.input_size) for p in pictures]
        self.masks = None if masks is None else [figures.as_array(mask).astype(bool) for mask in masks]
        self.titles = list(titles)
        self.known: dict[int, dict[str, Tensor]] = {}  # image → method → (classes, H, W)
        self._choosing = self._stopped = self._busy = False
        self.image = base.slider(len(self.pictures) - 1, "Image", "Number of the image; arrow keys move it")
        self.label = base.dropdown([("", 0)], "Class", "The class that the maps are about")
        self.start = widgets.Button(
            description="All maps", tooltip="Make the maps of all six methods, for every class of the list"
        )
        self.stop = widgets.Button(description="Stop", tooltip="Stop making maps", disabled=True)
        self.progress = widgets.FloatProgress(
            min=0, max=1, description="Progress", tooltip="Share of the maps that are made", style=base.STYLE
        )
        self.picture, self.text, self.message = base.picture(), base.message(), base.message()
        super().__init__(
            widgets.VBox(
                [
                    base.row(self.image, self.label),
                    base.row(self.start, self.stop, self.progress),
                    self.message,
                    self.picture,
                    self.text,
                ],
                layout=widgets.Layout(max_width="900px"),
            ),
            f"A control that needs a running kernel: six maps for any class of {len(pictures)} images, {net.name}.",
        )
        self.image.observe(lambda change: self._on_image(), names="value")
        self.label.observe(lambda change: self.draw(), names="value")
        self.start.on_click(lambda button: self.run())
        self.stop.on_click(lambda button: self.halt())
        base.say(
            self.message,
            "Choose an image and a class; press “All maps” for the four methods that need seconds.",
        )
        self._on_image()

    def _on_image(self) -> None:
        """Another image: offer its most probable classes and begin with the first."""
        self._x = self.net.prepare(self.pictures[self.image.value])
        y = occlusion.evaluate(self.net.model, lambda index: self._x[index], 1, batch=1)[0].softmax(0).cpu()
        self.classes = y.topk(min(MOST_CLASSES, len(y))).indices.tolist()
        self._choosing = True
        self.label.options = [
            (f"{self.net.classes[c]} ({float(y[c]):.2f})", place) for place, c in enumerate(self.classes)
        ]
        self.label.value = 0
        self._choosing = False
        self.draw()

    def maps(self) -> dict[str, tuple[Tensor, tuple[float, float] | None]]:
        """Method → map (H, W) of the chosen class, and the ends of its scale where all classes are known."""
        place, known = self.label.value, self.known.get(self.image.value)
        if known is None:
            quick = attribution.maps(
                self.net.model, self._x, self.gradcam_layer, self.classes[place], methods=QUICK
            )
            return {name: (m[0].cpu(), None) for name, m in quick.items()}
        # One scale for all classes of a method: a class that is not there stays dark.
        highest = {name: float(m.float().quantile(0.995)) for name, m in known.items()}
        return {
            name: (m[place].cpu(), (0.0, highest[name] if highest[name] > 0 else 1.0))
            for name, m in known.items()
        }

    def draw(self) -> None:
        """Redraw from the widgets' values."""
        if self._choosing:
            return
        index = self.image.value
        photo, mask = self.pictures[index], None if self.masks is None else self.masks[index]
        tiles, names = [figures.enlarge(photo, (TILE, TILE), smooth=True)], ["image"]
        made, inside = self.maps(), {}
        for name in attribution.METHODS:
            if name in made:
                heat, limits = made[name]
                tiles.append(map_tile(photo, heat, mask, limits))
                if mask is not None and mask.any():
                    share = faithfulness.share_inside(heat[None], torch.from_numpy(mask)[None])
                    inside[name] = float(share.nan_to_num())
            else:
                tiles.append(np.full((TILE, TILE, 3), 236, np.uint8))
            names.append(name)
        base.redraw(self.picture, figures.tile(figures.lettered(tiles, names), 4, gap=6))
        base.say(self.text, self.sentence_now(inside, mask))

    def sentence_now(self, inside: dict[str, float], mask: np.ndarray | None) -> str:
        """What the picture shows, in words and numbers."""
        title = self.titles[self.image.value]
        about = f"Maps for {self.net.classes[self.classes[self.label.value]]}"
        about += f", image {self.image.value}{f' ({title})' if title else ''}. "
        if mask is None:
            return about + "Bright: the method says that this place speaks for the class."
        shares = ", ".join(f"{name} {share:.2f}" for name, share in inside.items())
        return f"{about}Share of each map on the outlined object: {shares}; by chance {mask.mean():.2f}."

    def run(self) -> None:
        """Make all maps of this image; in a notebook in small steps, so that Stop and the sliders are heard."""
        if self._busy:
            return
        self._busy, self._stopped = True, False
        self.start.disabled, self.stop.disabled = True, False
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:  # no kernel: a script or a test
            asyncio.run(self._work(0.0))
        else:
            self._task = loop.create_task(self._work(0.005))

    async def _work(self, pause: float) -> None:
        index = self.image.value
        steps = every_class(self.net, self._x, self.gradcam_layer, self.classes)
        try:
            for share, made in steps:  # noqa: B007 - the last maps are the whole
                self.progress.value = share
                if self._stopped:
                    base.say(self.message, "Stopped: the maps of this image are not complete.")
                    return
                await asyncio.sleep(pause)
            self.known[index] = made
            base.say(self.message, "Done: choose another class. Each method has one scale for all classes.")
            if self.image.value == index:
                self.draw()
        finally:
            self._busy = False
            self.progress.value = 0.0
            self.start.disabled, self.stop.disabled = False, True

    def halt(self) -> None:
        """Stop after the step that is being done."""
        self._stopped = True


def map_panel(
    net: Any,
    images: Any,
    layer: str,
    *,
    masks: Any = None,
    titles: Sequence[str] | None = None,
) -> MapPanel:
    """Return a control that shows the maps of six methods for any class of an image.

    `net`: a `zoo.Network`. `images`: (N, 3, H, W) or a list of (3, H, W), in [0, 1]. `layer`: of Grad-CAM. `masks`:
    (N, s, s) bool, True on the object as the network sees it; with them each map says how much of it is on the
    object. ValueError where there is no image, or another number of titles or masks.
    """
    pictures = _pictures(images, titles)
    if masks is not None and len(masks) != len(pictures):
        raise ValueError(f"there are {len(masks)} masks for {len(pictures)} images")
    return MapPanel(net, pictures, layer, masks, titles or [""] * len(pictures))
