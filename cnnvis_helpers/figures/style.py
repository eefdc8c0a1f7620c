"""The one look of the course, and the way a figure reaches the page.

    INK, FAINT       colours of text and of secondary text
    WIDTH, DPI       a figure is about WIDTH pixels wide, at DPI dots an inch
    styled           decorator: draw in the look of the course, the reader's rcParams untouched
    canvas           a figure that shows a raster pixel for pixel, with title, caption, colour bar
    panels           a figure with rows x columns of empty axes, to pass on as `axes=`
    encoded          a figure -> PNG or JPEG bytes, as small as its looks allow
    show             a figure -> the notebook, with alt text; the figure is closed

Figures are built on `matplotlib.figure.Figure`, never through pyplot: there is no global state to leak.

    fig, axes = curves(steps, {"trained": accuracy}, x_label="step", y_label="accuracy")
    show(fig, "Test accuracy rises from 6 % to 96 % within 2,000 steps.")
"""

from __future__ import annotations

import functools
import io
import sys
import textwrap
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import matplotlib
import numpy as np
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from PIL import Image

from .raster import CATEGORICAL, DIVERGING, SEQUENTIAL, Limits, Pixels

INK, FAINT, RULE = "#222222", "#5C5C5C", "#D9D9D9"
DPI = 110
WIDTH = 900
BAR_WIDTH = 114  # pixels beside a raster for the colour bar, its numbers (up to six characters) and its label

LOOK: Any = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9.5,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 9.5,
    "axes.labelcolor": INK,
    "axes.edgecolor": "#888888",
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": False,
    "axes.prop_cycle": cycler(color=CATEGORICAL),
    "grid.color": RULE,
    "grid.linewidth": 0.7,
    "text.color": INK,
    "xtick.color": "#888888",
    "ytick.color": "#888888",
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "lines.linewidth": 2.0,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
}

P = ParamSpec("P")
R = TypeVar("R")


def styled(function: Callable[P, R]) -> Callable[P, R]:
    """Run a plot function under the look of the course; the reader's own rcParams come back afterwards."""

    @functools.wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        with matplotlib.rc_context(LOOK):
            return function(*args, **kwargs)

    return wrapper


def new_figure(width: float, height: float) -> Figure:
    """A figure of width x height pixels that pyplot does not know."""
    figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI)
    FigureCanvasAgg(figure)
    return figure


def wrap(text: str, width: float, size: float = 9.5) -> str:
    """Break `text` into lines that fit `width` pixels at font `size` (points), by the mean width of a
    letter."""
    return textwrap.fill(text, max(20, int(width / (0.56 * size * DPI / 72))))


def line_height(size: float = 9.5) -> float:
    """Pixels from one line of text to the next."""
    return size * DPI / 72 * 1.35


def caption_height(caption: str | None, width: float) -> float:
    """Pixels that `caption` takes below a figure `width` pixels wide, its margin included."""
    return 6 + line_height() * (wrap(caption, width).count("\n") + 1) if caption else 0.0


def write_caption(figure: Figure, caption: str | None, left: float = 4.0) -> None:
    """Write the caption sentence at the foot of `figure`."""
    if caption:
        width, height = figure.get_size_inches() * DPI
        text = wrap(caption, width - 2 * left)
        figure.text(
            left / width, 4 / height, text, ha="left", va="bottom", color=FAINT, size=9.5, linespacing=1.25
        )


@styled
def canvas(
    raster: Pixels,
    *,
    title: str | None = None,
    caption: str | None = None,
    header: float = 0,
    footer: float = 0,
    left: float = 0,
    colour_bar: tuple[Limits, bool, str] | None = None,
    axes: Axes | None = None,
    least_width: float = 560,
) -> tuple[Figure, Axes]:
    """Show `raster` (H, W, 3) pixel for pixel and return (figure, axes); one data unit is one pixel.

    `header`, `footer`, `left`: free pixels above, below and left of the raster for the caller's labels.
    `colour_bar`: ((low, high), diverging, label with unit). With `axes` it is drawn there instead,
    as large as fits, and the caption becomes the label below.
    """
    height, width = raster.shape[:2]
    if axes is not None:
        axes.imshow(raster, interpolation="antialiased", aspect="equal", extent=(0, width, height, 0))
        axes.set(xlim=(-left, width), ylim=(height + footer, -header), xticks=[], yticks=[])
        axes.spines[:].set_visible(False)
        if title:
            axes.set_title(title)
        if caption:
            axes.set_xlabel(textwrap.fill(caption, 60), loc="left", color=FAINT)
        if colour_bar:
            _colour_bar(axes.inset_axes((1.03, 0.0, 0.03, 1.0)), *colour_bar)
        return axes.get_figure(root=True), axes  # type: ignore[return-value]
    bar = BAR_WIDTH if colour_bar else 0
    full_width = max(width + left + bar + 8, least_width)
    top = 8 + (line_height(10.5) + 6 if title else 0)
    foot = caption_height(caption, full_width - 8) + 4
    inner = height + header + footer
    full_height = top + inner + foot
    figure = new_figure(full_width, full_height)
    box = (4 / full_width, foot / full_height, (width + left) / full_width, inner / full_height)
    axes = figure.add_axes(box)
    # "nearest" at one data unit a pixel copies the raster unchanged
    axes.imshow(raster, interpolation="nearest", aspect="auto", extent=(0, width, height, 0))
    axes.set(xlim=(-left, width), ylim=(height + footer, -header))
    axes.set_axis_off()
    if title:
        y = 1 - (top - 4) / full_height
        figure.text(4 / full_width, y, title, ha="left", va="bottom", weight="bold", size=10.5)
    if colour_bar:
        bar_height = min(max(height, 90), 260)
        x = (4 + left + width + 14) / full_width
        y = (foot + footer + height - bar_height) / full_height
        _colour_bar(figure.add_axes((x, y, 13 / full_width, bar_height / full_height)), *colour_bar)
    write_caption(figure, caption)
    return figure, axes


def _colour_bar(axes: Axes, limits: Limits, diverging: bool, label: str) -> None:
    scale = ScalarMappable(Normalize(*limits), DIVERGING if diverging else SEQUENTIAL)
    bar = axes.figure.colorbar(scale, cax=axes)
    bar.outline.set_visible(False)
    bar.ax.locator_params(nbins=5)
    bar.ax.tick_params(length=3, labelsize=8.5)
    bar.set_label(label, size=9)


@styled
def panels(
    rows: int = 1,
    columns: int = 2,
    *,
    width: float = WIDTH,
    height: float | None = None,
    title: str | None = None,
    caption: str | None = None,
    **subplots: Any,
) -> tuple[Figure, Any]:
    """Return (figure, array of axes), rows x columns, to pass on as `axes=`; sizes in pixels.

    Further arguments go to `Figure.subplots`, for example `sharey=True` or `width_ratios=[2, 1]`.
    """
    foot = caption_height(caption, width - 8)
    figure = new_figure(width, (height or rows * 300) + foot)
    full = figure.get_figheight() * DPI
    figure.set_layout_engine("constrained", rect=(0, foot / full, 1, 1 - foot / full))
    if title:
        figure.suptitle(title, x=4 / width, ha="left", size=10.5, weight="bold")
    axes = figure.subplots(rows, columns, **subplots)
    write_caption(figure, caption)
    return figure, axes


def charted(width: float, height: float, caption: str | None) -> tuple[Figure, Axes]:
    """A figure with one axes for a chart, its caption written."""
    figure, axes = panels(1, 1, width=width, height=height, caption=caption)
    return figure, axes


def encoded(figure: Figure, most_bytes: int = 200_000) -> tuple[str, bytes]:
    """Return `figure` as a picture file: its media type, "image/png" or "image/jpeg", and the bytes.

    A notebook must stay small. PNG with a palette of 256 colours is taken where it cannot be seen (999 of 1,000
    pixels within 6 levels of 255), full PNG where it has at most `most_bytes`, and JPEG for all else: figures made
    of photographs, which a palette would spoil.
    """
    with matplotlib.rc_context(LOOK):
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=figure.dpi)
    picture = Image.open(buffer).convert("RGB")
    reduced = picture.quantize(256, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    change = np.abs(np.asarray(reduced.convert("RGB"), np.int16) - np.asarray(picture, np.int16)).max(axis=2)
    full = _saved(reduced if np.quantile(change, 0.999) <= 6 else picture, "PNG")
    if len(full) <= most_bytes:
        return "image/png", full
    return "image/jpeg", _saved(picture, "JPEG", quality=78)


def _saved(picture: Image.Image, kind: str, **options: int) -> bytes:
    out = io.BytesIO()
    picture.save(out, format=kind, optimize=True, **options)
    return out.getvalue()


def show(figure: Figure | tuple[Figure, Any], alt: str, most_bytes: int = 200_000) -> None:
    """Display `figure` (or a plot function's (figure, axes)) in the notebook, and close it.

    `alt` is the sentence that a reader who cannot see the picture gets: it is stored as the output's plain
    text and as the picture's alt text. `most_bytes`: see `encoded`. ValueError where `alt` is empty.
    """
    if not alt.strip():
        raise ValueError("alt is empty: say in a sentence what the figure shows")
    from IPython.display import display

    drawn = figure[0] if isinstance(figure, tuple) else figure
    kind, content = encoded(drawn, most_bytes)
    display({kind: content, "text/plain": alt}, raw=True, metadata={kind: {"alt": alt}})
    if "matplotlib.pyplot" in sys.modules:  # a reader may pass a figure of their own
        sys.modules["matplotlib.pyplot"].close(drawn)
    drawn.clear()
