"""Every name that Diorama knows: classes, scenes, and the labels a pixel can carry.

- `CLASSES`: the 16 object classes, the label of an image is an index into it
- `SCENES`: the 11 kinds of place
- `CATEGORIES`: the six label maps of an image
- `names`: the names of one category; a map's value is an index into this list
- `index`: the value that stands for a name in a category's map

    >>> names("material")[index("material", "brick")]
    'brick'

To add an object, part, material or texture, add its name here (always at the END of its table: the
position is what is stored in label maps) and use it in the drawing function.
"""

from __future__ import annotations

from functools import cache

CLASSES = (
    "car",
    "bus",
    "house",
    "tree",
    "boat",
    "person",
    "cat",
    "dog",
    "bird",
    "fish",
    "plane",
    "flower",
    "chair",
    "lamp",
    "cup",
    "bicycle",
)
SCENES = (
    "street",
    "beach",
    "meadow",
    "forest",
    "mountain",
    "desert",
    "sea",
    "underwater",
    "living room",
    "kitchen",
    "night city",
)

# What else a pixel's object can be.
PROPS = (
    "sky",
    "cloud",
    "sun",
    "ground",
    "road",
    "water",
    "floor",
    "wall",
    "hill",
    "building",
    "forest edge",
    "rock",
    "bush",
    "cactus",
    "fence",
    "street lamp",
    "seaweed",
    "bubble",
    "window",
    "curtain",
    "picture",
    "sofa",
    "table",
    "rug",
    "counter",
    "cupboard",
    "bottle",
    "umbrella",
    "grass tuft",
    "post",
    "box",
)

# Parts are distinct on purpose: a car's body and a dog's body look nothing alike, so they are two concepts.
# A part is shared only where it looks the same wherever it occurs (wheel, eye, leaf …).
PARTS = (
    "wheel",
    "car body",
    "car cabin",
    "car window",
    "headlight",
    "bumper",
    "vehicle door",
    "bus body",
    "bus window",
    "stripe",
    "house wall",
    "roof",
    "chimney",
    "house door",
    "house window",
    "window frame",
    "trunk",
    "crown",
    "leaf",
    "hull",
    "mast",
    "sail",
    "boat cabin",
    "human head",
    "hair",
    "torso",
    "arm",
    "human leg",
    "shoe",
    "eye",
    "cat head",
    "dog head",
    "ear",
    "nose",
    "snout",
    "furry body",
    "furry leg",
    "furry tail",
    "collar",
    "bird head",
    "bird body",
    "bird wing",
    "bird tail",
    "bird foot",
    "beak",
    "fish head",
    "fish body",
    "fish tail",
    "fin",
    "fuselage",
    "plane wing",
    "plane tail",
    "plane window",
    "engine",
    "stem",
    "petal",
    "flower centre",
    "seat",
    "chair back",
    "chair leg",
    "armrest",
    "lamp shade",
    "lamp pole",
    "lamp base",
    "cup body",
    "cup rim",
    "drink",
    "handle",
    "bicycle frame",
    "saddle",
    "handlebar",
    "frame",
    "knob",
    "building window",
    "window pane",
    "cushion",
    "cabinet door",
    "tap",
)

MATERIALS = (
    "brick",
    "wood",
    "grass",
    "water",
    "sand",
    "stone",
    "asphalt",
    "foliage",
    "fur",
    "metal",
    "fabric",
    "tile",
    "plaster",
    "snow",
    "glass",
    "skin",
    "rock",
    "ceramic",
    "sky",
    "cloud",
    "earth",
    "rubber",
    "feather",
    "scales",
    "plant",
    "paper",
    "leather",
)
TEXTURES = (
    "striped",
    "dotted",
    "checkered",
    "zigzag",
    "woven",
    "swirly",
    "marbled",
    "grid",
    "cracked",
    "speckled",
    "honeycomb",
)
# The eleven basic colour terms of Berlin and Kay (1969).
COLOURS = (
    "black",
    "white",
    "grey",
    "red",
    "orange",
    "yellow",
    "green",
    "blue",
    "purple",
    "pink",
    "brown",
)

CATEGORIES = ("scene", "object", "part", "material", "texture", "colour")

# A category whose map need not cover every pixel begins with "" (no label there).
_NAMES: dict[str, tuple[str, ...]] = {
    "scene": SCENES,
    "object": ("", *CLASSES, *PROPS),
    "part": ("", *PARTS),
    "material": ("", *MATERIALS),
    "texture": ("", *TEXTURES),
    "colour": COLOURS,
}


def names(category: str) -> tuple[str, ...]:
    """The names of a category; index 0 of object, part, material and texture is "" (no label).

    Raises `ValueError` for an unknown category, naming the six.
    """
    if category not in _NAMES:
        raise ValueError(f"unknown category {category!r}; there are {', '.join(CATEGORIES)}")
    return _NAMES[category]


@cache
def _positions(category: str) -> dict[str, int]:
    return {name: i for i, name in enumerate(names(category))}


def index(category: str, name: str) -> int:
    """The value that stands for `name` in the label map of `category`.

    Raises `ValueError` for an unknown category or name, naming what there is.
    """
    positions = _positions(category)
    if name not in positions:
        raise ValueError(f"unknown {category} {name!r}; there are {', '.join(filter(None, positions))}")
    return positions[name]
