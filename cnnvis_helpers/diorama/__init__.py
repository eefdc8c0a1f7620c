"""Diorama: a small world of storybook scenes in which the truth of every pixel is known.

- `load`, `sample`, `Batch`, `Dataset`: images by the thousand, cached on disk; a sample that comes with the package
- `render`, `Knobs`, `Example`: one image, drawn as you ask
- `SHORTCUT`, `shortcut_images`, `congruent`: the experiment in which the place gives the class away
- `two_objects`, `Pairs`: pictures of two objects, to ask which of them is meant
- `CLASSES`, `SCENES`, `CATEGORIES`, `names`, `index`: what there is, and what a label map's values mean
- `SIZE`, `VERSION`, `SPLITS`: 96 pixels a side; the data set's version; the splits and their sizes

    >>> from cnnvis_helpers import diorama
    >>> test = diorama.sample(64)
    >>> wheels = test.maps["part"] == diorama.index("part", "wheel")   # (64, 96, 96) bool

`python -m cnnvis_helpers.diorama --help` draws contact sheets.
"""

from .canvas import SIZE
from .dataset import Batch, CacheError, Dataset, cache_folder, collate, load, sample, write_sample
from .pairs import Pairs, two_objects
from .render import SPLITS, VERSION, Example, Knobs, render
from .shortcut import SHORTCUT, congruent, shortcut_images
from .vocabulary import CATEGORIES, CLASSES, SCENES, index, names

__all__ = [
    "CATEGORIES",
    "CLASSES",
    "SCENES",
    "SHORTCUT",
    "SIZE",
    "SPLITS",
    "VERSION",
    "Batch",
    "CacheError",
    "Dataset",
    "Example",
    "Knobs",
    "Pairs",
    "cache_folder",
    "collate",
    "congruent",
    "index",
    "load",
    "names",
    "render",
    "sample",
    "shortcut_images",
    "two_objects",
    "write_sample",
]
