"""Contact sheets: `python -m cnnvis_helpers.diorama classes sheet.png` (or `scenes`, `labels`, `occluded`)."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from .render import SPLITS, Example, Knobs, render
from .vocabulary import CATEGORIES, CLASSES, SCENES, names

KINDS = ("classes", "scenes", "labels", "occluded")


def category_colours(category: str) -> np.ndarray:
    """A fixed colour for every name of a category, (names, 3) uint8; "no label" is black."""
    table = np.random.default_rng(1).integers(40, 256, (len(names(category)), 3)).astype(np.uint8)
    table[[i for i, name in enumerate(names(category)) if not name]] = 0
    return table


def label_strip(example: Example) -> np.ndarray:
    """An image beside its label maps and its instance mask, as one array (96, 96 · 8, 3) uint8."""
    maps = [category_colours(c)[example.maps[c]] for c in CATEGORIES]
    instance = np.repeat(example.instance[..., None] * np.uint8(255), 3, 2)
    return np.concatenate([example.image, *maps, instance], 1)


def sheet(kind: str, split: str = "test", rows: int = 8, first: int = 0) -> np.ndarray:
    """A contact sheet as one uint8 array. "classes": a column a class; "scenes": a column a scene; "labels": an image a
    row beside its label maps; "occluded": a column a class, each half hidden."""
    if kind not in KINDS:
        raise ValueError(f"unknown contact sheet {kind!r}; there are {', '.join(KINDS)}")
    if kind == "labels":
        return np.concatenate([label_strip(render(split, first + 17 * i)) for i in range(rows)], 0)
    columns = len(SCENES if kind == "scenes" else CLASSES)

    def picture(row: int, column: int) -> np.ndarray:
        i = first + row * columns + column
        knobs = Knobs(scene=SCENES[column]) if kind == "scenes" else Knobs()
        return render(split, i, Knobs(occluded=0.4) if kind == "occluded" else knobs).image

    return np.concatenate(
        [np.concatenate([picture(r, c) for c in range(columns)], 1) for r in range(rows)], 0
    )


def main() -> None:
    """The command line: draw one contact sheet."""
    parser = argparse.ArgumentParser(prog="python -m cnnvis_helpers.diorama", description=__doc__)
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("file", type=Path, help="a PNG or JPEG file to write")
    parser.add_argument("--split", default="test", choices=list(SPLITS))
    parser.add_argument("--rows", type=int, default=8)
    parser.add_argument("--first", type=int, default=0, help="index of the first image")
    options = parser.parse_args()
    Image.fromarray(sheet(options.kind, options.split, options.rows, options.first)).save(options.file)
    print(f"wrote {options.file}")


if __name__ == "__main__":
    main()
