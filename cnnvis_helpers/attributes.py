"""Accuracy as a function of one attribute of the image, which the renderer turns while all else stays as it is.

LEVELS                             attribute → the values at which it is drawn
USUAL                              attribute → the range that the data set itself has
drawn(split, indices, name, v)     images of a split with one attribute set to a value
answers(predictors, name, scenes)  what classifiers say of the same scenes at every level
curve(table, name, who)            accuracy at each level, with Wilson's intervals
difference(table, name, who, a, b) how much accuracy changes from level a to level b, scene by scene
stored()                           the answers of four classifiers on thousands of images

    table = answers({"mine": lambda x: net.probabilities(x).argmax(1)}, "size", range(32))
    curve(table, "size", "mine")                               # level, images, accuracy, low, high
    difference(stored(), "blur", "diorama/alexnet", 0, 3)      # (mean, low, high)

All levels show the same scenes, objects, light and noise: image i of the split, drawn again with one knob turned.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import scipy.stats
from torch import Tensor
from tqdm.auto import tqdm

from cnnvis_helpers.diorama import CLASSES, SIZE, Batch, Knobs, collate, render
from cnnvis_helpers.sanity import Interval, bootstrap

Level = float | str
Predictor = Callable[[Tensor], Tensor]  # images (N, 3, 96, 96) in [0, 1] → classes (N,)

TABLE = Path(__file__).parent / "tables" / "attributes.csv"
LEVELS: Mapping[str, tuple[Level, ...]] = {
    "size": (0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.7, 0.9),  # √(area of the object's box) / side of the image
    "occluded": (0.0, 0.1, 0.2, 0.3, 0.4, 0.5),  # share of the silhouette, aimed at
    "clutter": (0, 1, 2, 3, 4),  # other objects
    "turn": (-90, -45, -20, 0, 20, 45, 90, 180),  # degrees
    "facing": ("left", "right"),
    "exposure": (-3, -2, -1, 0, 1, 2, 3),  # stops: +1 doubles the light
    "blur": (0, 1, 2, 3, 4, 6),  # radius in pixels
}
# Of training and test images alike. Training also shifts, scales, turns and mirrors them and changes their light.
USUAL: Mapping[str, tuple[Level, Level]] = {
    "size": (0.36, 0.72),
    "occluded": (0.0, 0.5),
    "clutter": (0, 2),
    "turn": (-18, 18),  # 95 % of what flies or swims; ±4 for what stands
    "facing": ("left", "right"),
    "exposure": (-0.34, 0.34),  # 95 %
    "blur": (0.0, 0.8),
}
MEASURED = ("size", "occluded")  # what is drawn here is not just what was asked for
_KEYS = ["attribute", "level", "who"]


def drawn(split: str, indices: Iterable[int], name: str, value: Level) -> Batch:
    """Images of a split, drawn with one attribute set to `value`; without label maps. About 10 ms an image.

    For "turn" the object is first moved just so far into the image that no turn cuts it (a large one goes to the
    middle) and then turned about its middle: a house on its head is seen whole. All its levels share that place.

    Raises: ValueError for an unknown attribute or split, a value that the renderer does not draw, and no index;
    IndexError for an index outside the split.
    """
    if name not in LEVELS:
        raise ValueError(f"There is no attribute {name!r}; there are {', '.join(LEVELS)}.")
    if name == "turn":
        examples = [render(split, i, _turned(split, i, float(value))) for i in indices]
    else:
        knobs = Knobs(**{name: value})  # type: ignore[arg-type]
        examples = [render(split, i, knobs) for i in indices]
    return collate(examples, labels=False)


def _turned(split: str, index: int, degrees: float) -> Knobs:
    """The renderer turns an object about its foot: here the foot goes where the middle then stays in its place."""
    left, top, right, bottom = _upright(split, index)
    reach = min(0.5, math.hypot(right - left, bottom - top) / 2 / SIZE)
    x, y = (
        min(max((low + high) / 2 / SIZE, reach), 1 - reach) for low, high in ((left, right), (top, bottom))
    )
    half, angle = (bottom - top) / 2 / SIZE, math.radians(degrees)
    return Knobs(turn=degrees, position=(x + half * math.sin(angle), y + half * (math.cos(angle) - 1)))


@functools.lru_cache(1024)
def _upright(split: str, index: int) -> tuple[int, int, int, int]:
    """The box of the object before it is turned: x0, y0, x1, y1."""
    return tuple(render(split, index, Knobs(turn=0, occluded=0)).attributes["box"])


def answers(
    predictors: Mapping[str, Predictor],
    name: str,
    scenes: Sequence[int],
    *,
    levels: Sequence[Level] | None = None,
    split: str = "test",
    progress: bool = False,
) -> pd.DataFrame:
    """What each classifier says of the same scenes at every level of an attribute.

    Args:
        predictors: name → function from images (N, 3, 96, 96) in [0, 1] to class numbers (N,).
        scenes: numbers of images of the split; the class of image i is i mod 16.
        levels: values of the attribute; None is `LEVELS[name]`.

    Returns: a row for each (attribute, level, who), a column for each scene, class numbers in it. For the attributes
    in `MEASURED` `who` is also "measured", the share of the image that is object, or of the object that is hidden, in
    thousandths. Levels are text, as in the stored table.
    Raises: as `drawn`; ValueError for a classifier called "measured", or one that gives other than N numbers.
    """
    if "measured" in predictors:
        raise ValueError("'measured' is what the renderer says; call the classifier something else.")
    rows: dict[tuple[str, str, str], list[int]] = {}
    for level in tqdm(LEVELS.get(name, ()) if levels is None else levels, desc=name, disable=not progress):
        batch = drawn(split, scenes, name, level)
        if name in MEASURED:
            rows[name, str(level), "measured"] = (1000 * batch.attributes[name]).round().astype(int).tolist()
        for who, predict in predictors.items():
            said = predict(batch.images)
            if said.shape != (len(batch),):
                raise ValueError(f"{who!r} gives {tuple(said.shape)} for {len(batch)} images: no class each.")
            rows[name, str(level), who] = said.long().tolist()
    if not rows:
        raise ValueError(f"There is nothing to draw: name one of {', '.join(LEVELS)}, and levels.")
    table = pd.DataFrame.from_dict(rows, orient="index", columns=list(scenes), dtype="Int64")
    table.index = pd.MultiIndex.from_tuples(rows, names=_KEYS)
    return table


def curve(table: pd.DataFrame, name: str, who: str, *, level: float = 0.95) -> pd.DataFrame:
    """Accuracy at each level of an attribute: columns level, images, accuracy, low, high; and measured, where known.

    low and high: Wilson's interval (scipy's), for other scenes of the same kind, not for other networks. The levels
    show the same scenes: compare two of them with `difference`, not by whether these intervals overlap.

    Args: table: of `answers` or `stored`. level: of confidence.
    Raises: ValueError where the table has no such attribute or classifier, or for a level not between 0 and 1.
    """
    if not 0 < level < 1:
        raise ValueError(f"A level of confidence lies between 0 and 1, not at {level}.")
    lines = []
    for value in _levels(table, name, who):
        right = _right(table, name, who, value)
        count, images = int(right.sum()), len(right)
        low, high = scipy.stats.binomtest(count, images).proportion_ci(level, method="wilson")
        line = {"level": value, "images": images, "accuracy": count / images, "low": low, "high": high}
        if (name, value, "measured") in table.index:
            line["measured"] = table.loc[(name, value, "measured")].dropna().mean() / 1000
        lines.append(line)
    return pd.DataFrame(lines)


def difference(table: pd.DataFrame, name: str, who: str, first: Level, second: Level) -> Interval:
    """Accuracy at the second level minus that at the first, on the scenes that both show: mean, low, high.

    The interval is `sanity.bootstrap` over scenes; it is too narrow where only a handful of scenes change sides (none:
    a width of 0).

    Raises: ValueError where the table has no such attribute, classifier or level, or fewer than two common scenes.
    """
    pair = [_right(table, name, who, str(value)) for value in (first, second)]
    change = (pair[1].astype(float) - pair[0].astype(float)).dropna()  # by scene
    return bootstrap(change.tolist())


def stored(path: Path = TABLE) -> pd.DataFrame:
    """The answers of four classifiers to test images, as `answers` gives them; NA where a scene was not drawn.

    256 scenes or more at every level, as many of each class, and 2,000 images or more an attribute. Classifiers:
    "diorama/alexnet", "diorama/alexnet-robust", "diorama/alexnet-untrained", and "colour histogram", logistic
    regression on how often each of 216 colours occurs, fitted to 4,000 training images. Written by
    `data_scripts/attribute_curves.py`.
    """
    table = pd.read_csv(path, index_col=_KEYS, dtype={"level": str}).astype("Int64")
    table.columns = table.columns.astype(int)
    return table


def _levels(table: pd.DataFrame, name: str, who: str) -> list[str]:
    found = [level for attribute, level, other in table.index if (attribute, other) == (name, who)]
    if not found:
        known = sorted({f"{attribute} of {other}" for attribute, _, other in table.index})
        raise ValueError(f"The table has no {name!r} of {who!r}; it has {', '.join(known)}.")
    return found


def _right(table: pd.DataFrame, name: str, who: str, level: str) -> pd.Series:
    """Scene → whether the answer is its class."""
    if level not in (known := _levels(table, name, who)):
        raise ValueError(f"The table has no {name} {level}; it has {', '.join(known)}.")
    said = table.loc[(name, level, who)].dropna().astype(int)
    return said == np.asarray(said.index) % len(CLASSES)
