"""Controls for the lectures: sliders and menus on the left side of tested functions.

    explorer           image x layer x channel, own photograph by upload
    training_slider    first filters and activations at each training step
    studio             a Diorama image to order, and what a network says of it
    filter_browser     the filters of several networks, with their smoothness
    occluder           hide a part of an image, and what a network then says
    map_panel          the maps of six methods for any class of an image
    map_tile           a map over its image, as pixels
    unit_browser       layer x channel: the images that activate it most, with receptive fields
    embedding_explorer network x layer: a map of the images' codes, and nearest neighbours

    explorer(net, images, titles=names)          # last line of a cell

Each returns an object that shows itself; its widgets are attributes, so that code can move them.
"""

from .attributing import MapPanel, Occluder, map_panel, map_tile, occluder
from .browsing import FilterBrowser, filter_browser
from .drawing import Studio, studio
from .exploring import Explorer, explorer
from .training import TrainingSlider, training_slider
from .units import EmbeddingExplorer, UnitBrowser, embedding_explorer, unit_browser

__all__ = [
    "EmbeddingExplorer",
    "Explorer",
    "FilterBrowser",
    "MapPanel",
    "Occluder",
    "Studio",
    "TrainingSlider",
    "UnitBrowser",
    "embedding_explorer",
    "explorer",
    "filter_browser",
    "map_panel",
    "map_tile",
    "occluder",
    "studio",
    "training_slider",
    "unit_browser",
]
