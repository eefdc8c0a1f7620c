"""Points in a plane, coloured by kind and named where they gather.

scatter    points with labels -> (figure, axes)

fig, axes = scatter(embed(codes, "tsne"), labels, CLASSES, caption="The codes of 500 images by t-SNE.")
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from .labels import LABEL_COLOURS
from .raster import as_array
from .style import INK, WIDTH, charted, styled


@styled
def scatter(
    points: Any,
    labels: Any,
    names: Sequence[str],
    *,
    named: bool = True,
    size: float = 16,
    x_label: str = "",
    y_label: str = "",
    title: str | None = None,
    caption: str | None = None,
    width: float = WIDTH,
    height: float = 520,
    axes: Axes | None = None,
) -> tuple[Figure, Axes]:
    """Draw points (N, 2), each in the colour of its label; one unit is as long across as up.

    `labels` (N,) are positions in `names`. `named` writes each name above its points, in their middle: where the
    kinds do not gather, leave it out. The axes have no numbers unless they have a label (t-SNE's mean nothing). `size`
    is a dot's area in square points. There are 16 colours; further kinds begin again. ValueError for other shapes and
    for labels without a name.
    """
    places, kinds = as_array(points).astype(float), as_array(labels).astype(int)
    if places.ndim != 2 or places.shape[1] != 2 or kinds.shape != (len(places),):
        raise ValueError(f"points are (N, 2) with labels (N,), these are {places.shape} and {kinds.shape}")
    if kinds.size == 0 or kinds.min() < 0 or kinds.max() >= len(names):
        raise ValueError(f"labels lie in 0 … {len(names) - 1} and there is at least one")
    if axes is None:
        figure, axes = charted(width, height, caption)
    else:
        figure = axes.get_figure(root=True)  # type: ignore[assignment]
    for kind in np.unique(kinds):
        mine = places[kinds == kind]
        colour = LABEL_COLOURS[kind % len(LABEL_COLOURS)]
        axes.scatter(
            mine[:, 0], mine[:, 1], s=size, color=colour, alpha=0.85, linewidths=0, label=names[kind]
        )
        if named:
            halo = [withStroke(linewidth=2.5, foreground="white")]
            x, y = (
                np.median(mine[:, 0]),
                np.quantile(mine[:, 1], 0.8),
            )  # above the points, which it must not hide
            place: dict[str, Any] = {
                "xytext": (0, 2),
                "textcoords": "offset points",
                "ha": "center",
                "va": "bottom",
            }
            axes.annotate(names[kind], (x, y), **place, size=9, weight="bold", color=INK, path_effects=halo)
    axes.set_aspect("equal", adjustable="datalim")
    axes.spines[:].set_visible(bool(x_label or y_label))
    if x_label or y_label:
        axes.set(xlabel=x_label, ylabel=y_label)
    else:
        axes.set(xticks=[], yticks=[])
    if title:
        axes.set_title(title)
    return figure, axes
