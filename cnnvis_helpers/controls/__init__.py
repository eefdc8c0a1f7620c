"""Controls for the lectures: sliders and menus on the left side of tested functions.

    explorer           image x layer x channel, own photograph by upload
    training_slider    first filters and activations at each training step
    studio             a Diorama image to order, and what a network says of it
    filter_browser     the filters of several networks, with their smoothness
    occluder           hide a part of an image, and what a network then says
    map_panel          the maps of six methods for any class of an image
    map_tile           a map over its image, as pixels
    projector          image x layer x unit: what made it fire, by three rules at the ReLUs
    projection_tile    a signed projection as a picture centred on grey, as pixels
    in_box             what of an image or projection lies in a receptive field
    unit_browser       layer x channel: the images that activate it most, with receptive fields
    synthesiser        an image for any class, channel or unit, with knobs and a film of the run
    attacker           an image, its perturbation and their sum, by epsilon, class and network
    evolver            elites of all classes as they evolve: play, pause, speed
    memoriser          image x radius x network: a neighbour with another answer, if there is one
    dissector          layer x unit: best images, masks, concepts and their IoU
    game               you against the network: name the images, with both scores and what is confused
    matcher            pair x part x features: where a part of one image is found in another
    marked             an image with rings and crosses, as pixels
    styler             content x style x strength: one picture in the style of another, with a film of the run
    mixer              the way from one image's code to another's, decoded, with what networks say
    climber            a class of a network through a decoder: start, stop and a film of the run
    embedding_explorer network x layer: a map of the images' codes, and nearest neighbours

    explorer(net, images, titles=names)          # last line of a cell

Each returns an object that shows itself; its widgets are attributes, so that code can move them.
"""

from .attributing import MapPanel, Occluder, map_panel, map_tile, occluder
from .browsing import FilterBrowser, filter_browser
from .dissecting import Dissector, dissector
from .drawing import Studio, studio
from .exploring import Explorer, explorer
from .fooling import Attacker, Evolver, attacker, evolver
from .generating import Climber, Mixer, climber, mixer
from .matching import Matcher, marked, matcher
from .memorising import Memoriser, memoriser
from .playing import Game, game
from .projecting import Projector, in_box, projection_tile, projector
from .styling import Styler, styler
from .synthesising import Synthesiser, synthesiser
from .training import TrainingSlider, training_slider
from .units import EmbeddingExplorer, UnitBrowser, embedding_explorer, unit_browser

__all__ = [
    "Attacker",
    "Climber",
    "Dissector",
    "EmbeddingExplorer",
    "Evolver",
    "Explorer",
    "FilterBrowser",
    "Game",
    "MapPanel",
    "Matcher",
    "Memoriser",
    "Mixer",
    "Occluder",
    "Projector",
    "Studio",
    "Styler",
    "Synthesiser",
    "TrainingSlider",
    "UnitBrowser",
    "attacker",
    "climber",
    "dissector",
    "embedding_explorer",
    "evolver",
    "explorer",
    "filter_browser",
    "game",
    "in_box",
    "map_panel",
    "map_tile",
    "marked",
    "matcher",
    "memoriser",
    "mixer",
    "occluder",
    "projection_tile",
    "projector",
    "studio",
    "styler",
    "synthesiser",
    "training_slider",
    "unit_browser",
]
