"""What the controls share: how one shows itself, says a sentence, and takes a photograph from the reader.

Control     a control on the page: `.box` holds its widgets; a static page gets `.sentence` instead
picture     an empty picture widget
redraw      put an array into a picture widget
say         put one sentence into a message line, announced by screen readers
uploaded    the (name, bytes) of an upload
"""

from __future__ import annotations

import html
from typing import Any

import ipywidgets as widgets
import numpy as np

from .. import images

LABEL_WIDTH = "92px"
STYLE = {"description_width": LABEL_WIDTH}
WIDE = "880px"


class Control:
    """A control: `box` is the widget, `sentence` what a page without a running kernel shows in its place."""

    def __init__(self, box: widgets.VBox, sentence: str) -> None:
        self.box = box
        self.sentence = sentence

    def __repr__(self) -> str:
        return self.sentence

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        """The widget, with a sentence that is the same at every run as its plain text."""
        shown = self.box._repr_mimebundle_(**kwargs)
        data, *metadata = shown if isinstance(shown, tuple) else (shown,)
        data = {**(data or {}), "text/plain": self.sentence}
        return (data, *metadata) if metadata else data


def picture() -> widgets.Image:
    """An empty picture, shown pixel for pixel where the page is wide enough.

    It has no tooltip, since JupyterLab fails to draw an image widget that has one (ipywidgets 8.1): a
    sentence beside each picture says what it shows.
    """
    return widgets.Image(format="png", layout=widgets.Layout(max_width="100%", align_self="flex-start"))


def redraw(widget: widgets.Image, pixels: np.ndarray) -> None:
    """Show `pixels` (H, W, 3) uint8 in a picture widget."""
    widget.value = images.to_png(pixels)


def message() -> widgets.HTML:
    """An empty line for a sentence."""
    return widgets.HTML(layout=widgets.Layout(min_height="28px", max_width=WIDE))


def say(widget: widgets.HTML, sentence: str, warning: bool = False) -> None:
    """Show one sentence (plain text: it may hold a reader's file name); screen readers announce it."""
    colour = "#A33B00" if warning else "#5C5C5C"
    mark = "<b>Please note:</b> " if warning else ""
    widget.value = (
        f'<div role="status" aria-live="polite" style="color:{colour};line-height:1.4">'
        f"{mark}{html.escape(sentence)}</div>"
    )


def upload_button(description: str = "Your photo") -> widgets.FileUpload:
    """A button that takes one picture file."""
    return widgets.FileUpload(
        accept="image/*",
        multiple=False,
        description=description,
        tooltip="Choose a picture file; it stays on the machine that runs this notebook",
        layout=widgets.Layout(width="150px"),
    )


def uploaded(upload: widgets.FileUpload) -> tuple[str, bytes] | None:
    """The (file name, content) that a reader has chosen, or None."""
    if not upload.value:
        return None
    last = upload.value[-1]
    return str(last["name"]), bytes(last["content"])


def dropdown(options: Any, description: str, tooltip: str, width: str = "270px") -> widgets.Dropdown:
    """A dropdown with a label in the column that all labels of a control share."""
    return widgets.Dropdown(
        options=options,
        description=description,
        tooltip=tooltip,
        style=STYLE,
        layout=widgets.Layout(width=width),
    )


def slider(most: int, description: str, tooltip: str, width: str = "300px") -> widgets.IntSlider:
    """A slider over 0 … most; arrow keys move it."""
    return widgets.IntSlider(
        min=0,
        max=most,
        description=description,
        tooltip=tooltip,
        continuous_update=True,
        style=STYLE,
        layout=widgets.Layout(width=width),
    )


def row(*children: widgets.Widget) -> widgets.HBox:
    """Widgets side by side, wrapped where the page is narrow."""
    return widgets.HBox(children, layout=widgets.Layout(flex_flow="row wrap", align_items="center"))
