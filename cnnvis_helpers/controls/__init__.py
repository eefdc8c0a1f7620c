"""Controls for the lectures: sliders and menus on the left side of tested functions.

    explorer           image x layer x channel, own photograph by upload
    training_slider    first filters and activations at each training step
    studio             a Diorama image to order, and what a network says of it
    filter_browser     the filters of several networks, with their smoothness

    explorer(net, images, titles=names)          # last line of a cell

Each returns an object that shows itself; its widgets are attributes, so that code can move them.
"""

from .browsing import FilterBrowser, filter_browser
from .drawing import Studio, studio
from .exploring import Explorer, explorer
from .training import TrainingSlider, training_slider

__all__ = [
    "Explorer",
    "FilterBrowser",
    "Studio",
    "TrainingSlider",
    "explorer",
    "filter_browser",
    "studio",
    "training_slider",
]
