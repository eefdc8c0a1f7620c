"""Figures in one look: arrays or tensors in, `(figure, axes)` out; `show` puts a figure on the page.

    grids      image_grid, filter_grid, grey_grid, activation_grid, overlay     pictures in a grid
    labels     label_maps                                                       label maps and their names
    charts     bars, curves                                                     numbers
    scatter    scatter                                                          points with labels in a plane
    style      panels, show, encoded                                                compose a figure, show it
    raster     tile, colourise, blend, enlarge, frame, boxed, as_uint8, as_array  arrays to pixels, fast
    lettering  lettered, colour_scale, beside                                   text on pixels, fast

    figures.show(figures.image_grid(images[:6], titles=names), "Six test images, one of each class.")

SEQUENTIAL colours activations and other amounts, DIVERGING signed numbers centred on zero, CATEGORICAL kinds.
"""

from .charts import bars, curves
from .grids import activation_grid, filter_grid, grey_grid, image_grid, overlay
from .labels import label_maps
from .lettering import beside, colour_scale, lettered
from .raster import (
    CATEGORICAL,
    DIVERGING,
    SEQUENTIAL,
    as_array,
    as_uint8,
    blend,
    boxed,
    colourise,
    enlarge,
    frame,
    limits_of,
    tile,
)
from .scatter import scatter
from .style import encoded, panels, show

__all__ = [
    "CATEGORICAL",
    "DIVERGING",
    "SEQUENTIAL",
    "activation_grid",
    "as_array",
    "as_uint8",
    "bars",
    "beside",
    "blend",
    "boxed",
    "colour_scale",
    "colourise",
    "curves",
    "encoded",
    "enlarge",
    "filter_grid",
    "frame",
    "grey_grid",
    "image_grid",
    "label_maps",
    "lettered",
    "limits_of",
    "overlay",
    "panels",
    "scatter",
    "show",
    "tile",
]
