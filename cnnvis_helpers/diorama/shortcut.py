"""The shortcut experiment: eight classes, eight places, and images in which the place gives the class away.

- `SHORTCUT`: class → the place that it is tied to
- `shortcut_images`: images of these classes, each in the place of its class, or in all places alike
- `congruent`: which images show their object in the place of its class

    >>> tied = shortcut_images("test", 64, tied=True)       # every cat is in a living room, nothing else is
    >>> free = shortcut_images("test", 64, tied=False)      # each of the 64 pairs of class and place once
"""

from dataclasses import replace

import torch
from tqdm.auto import trange

from .dataset import Batch, collate
from .render import SPLITS, Knobs, render
from .vocabulary import SCENES

SHORTCUT = {
    "cat": "living room",
    "dog": "meadow",
    "bird": "forest",
    "car": "street",
    "bus": "night city",
    "bicycle": "desert",
    "boat": "sea",
    "fish": "underwater",
}


def shortcut_images(split: str, n: int, *, tied: bool, labels: bool = True, progress: bool = False) -> Batch:
    """The first n images of a split, drawn with the classes of `SHORTCUT`.

    Image i has class i mod 8. Where `tied`, it stands in the place of its class; otherwise class and place are
    independent: every 64 images hold each pair once. The two versions of image i share the object, its pose and
    the light.

    Returns: a Batch whose `labels` are positions in `list(SHORTCUT)`. `labels=False` leaves out the label maps.
    Raises: ValueError for an unknown split, or more images than it has.
    """
    if split not in SPLITS or not 1 <= n <= SPLITS[split]:
        raise ValueError(f"There are {SPLITS} images; {n} of {split!r} cannot be drawn.")
    classes, places = list(SHORTCUT), list(SHORTCUT.values())
    examples = []
    for i in trange(n, desc="drawing", disable=not progress, mininterval=2):
        place = places[i % 8 if tied else i // 8 % 8]
        examples.append(render(split, i, Knobs(label=classes[i % 8], scene=place)))
    batch = collate(examples, labels)
    return replace(batch, labels=torch.arange(n) % 8)


def congruent(batch: Batch) -> torch.Tensor:
    """Which images show their object in the place of its class: (N,) bool."""
    own = torch.tensor([SCENES.index(place) for place in SHORTCUT.values()])
    return own[batch.labels] == torch.from_numpy(batch.attributes["scene"])
