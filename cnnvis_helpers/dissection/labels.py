"""What every pixel of a data set shows.

- `Labels`: label maps by category, and the names of their ids

    labels = Labels(test.maps, {c: diorama.names(c) for c in diorama.CATEGORIES})
    labels.concepts[:2]                  # [("scene", "street"), ("scene", "beach")]
    labels.read(0)                       # (categories, H, W): numbers of concepts, -1 = no label
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

_NO_LABEL, _NO_NAME = 0, -1  # other digits are a category's concepts, from 1 on
_KEPT = 4  # groups of images whose label maps are kept combined: as many as threads count at once, or a few


class Labels:
    """Label maps of N images in several categories, such as object, part, colour.

    Args:
        maps: category → N label maps; `maps[c][i]` is (H, W) whole numbers (an array or a tensor on the CPU), or None
            for an image without any label of that category. Arrays (N, H, W) will do; so does whatever reads a map
            when it is asked for.
        names: category → the name of each id, as a list by id or a mapping from id to name. The name "" is no label;
            so is id 0 where a mapping does not name it.

    `concepts` lists (category, name) of all names; a concept's number is its place there.

    Raises: ValueError for categories without maps or names, unequal numbers of maps, ids below zero, and a name that
    a category has twice. What is in the maps is checked when they are read.
    """

    def __init__(
        self, maps: Mapping[str, Any], names: Mapping[str, Sequence[str] | Mapping[int, str]]
    ) -> None:
        if not maps or set(maps) != set(names):
            raise ValueError(
                f"The same categories need maps and names; maps has {sorted(maps)}, names {sorted(names)}."
            )
        counts = {category: len(found) for category, found in maps.items()}
        if len(set(counts.values())) > 1:
            raise ValueError(f"Every category needs as many maps as there are images, not {counts}.")
        self.maps, self.categories = dict(maps), tuple(maps)
        self._combined: dict[tuple[int, ...], Any] = {}
        self.concepts: list[tuple[str, str]] = []
        self._digits: list[np.ndarray] = []  # of each category: id → digit
        self._plain: list[bool] = []  # whether ids are digits already
        first = []
        for category in self.categories:
            given = names[category]
            by_id = {0: "", **given} if isinstance(given, Mapping) else dict(enumerate(given))
            spoken = [name for name in by_id.values() if name]
            if min(by_id, default=-1) < 0 or len(set(spoken)) < max(1, len(spoken)):
                raise ValueError(f"Category {category!r} needs ids from 0 on, with different names: {given}.")
            first.append(len(self.concepts))
            kind = np.min_scalar_type(-len(by_id) - 1)  # small, as the maps of a group are held in digits
            digits = np.full(max(by_id) + 2, _NO_NAME, kind)  # one more, for every id above
            for i, name in by_id.items():
                self.concepts += [(category, name)] if name else []
                digits[i] = len(self.concepts) - first[-1] if name else _NO_LABEL
            self._digits.append(digits)
            self._plain.append(bool((digits[:-1] == np.arange(len(digits) - 1)).all()))
        self._first = np.array(first, np.int32)  # concept of each category

    def __len__(self) -> int:
        return len(self.maps[self.categories[0]])

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_combined": {}}  # what another process can make anew is not sent

    def __deepcopy__(self, memo: Any) -> Labels:
        return self  # what it holds does not change, and the maps may be large

    @property
    def category_of(self) -> np.ndarray:
        """The place in `categories` of each concept's category, (concepts,) int64."""
        return np.array([self.categories.index(category) for category, _ in self.concepts])

    def number(self, concept: str, category: str | None = None) -> int:
        """The number of a concept; `category` is needed where two categories know the name.

        Raises: ValueError for a name that no category, or more than one, has.
        """
        found = [i for i, (c, n) in enumerate(self.concepts) if n == concept and category in (None, c)]
        if len(found) == 1:
            return found[0]
        if found:
            having = " and ".join(self.concepts[i][0] for i in found)
            raise ValueError(f"{concept!r} is a name in the categories {having}: say which.")
        where = "no category" if category is None else f"no category {category!r} that"
        raise ValueError(f"There is {where} has a concept {concept!r}; see labels.concepts.")

    def read(self, i: int) -> np.ndarray:
        """The concepts at each pixel of image i: (categories, H, W) int32, -1 where there is no label.

        Raises: ValueError for maps that are not (H, W) whole numbers, have several sizes, or hold an id without name.
        """
        digits = self._read((i,))[:, 0]
        return np.where(digits == _NO_LABEL, np.int32(-1), digits + (self._first - 1)[:, None, None])

    def _read(self, images: tuple[int, ...]) -> np.ndarray:
        """The same of several images of one size, in digits: (categories, images, H, W)."""
        found = [[self._map(category, i) for category in self.categories] for i in images]
        sizes = [{array.shape for array in maps if array is not None} for maps in found]
        for i, size in zip(images, sizes, strict=True):
            if len(size) != 1:
                raise ValueError(f"Image {i} needs label maps of one size, it has {sorted(size) or 'none'}.")
            if size != sizes[0]:
                raise ValueError(
                    f"The label maps of image {i} are {min(size)}, those of image {images[0]} {min(sizes[0])}: "
                    "bring all to one size."
                )
        shape = (len(self.categories), len(images), *min(sizes[0]))
        read = np.full(shape, _NO_LABEL, np.result_type(*self._digits))
        for c, (category, digits) in enumerate(zip(self.categories, self._digits, strict=True)):
            maps = {n: array for n, arrays in enumerate(found) if (array := arrays[c]) is not None}
            if not maps:
                continue
            kind = np.result_type(*(array.dtype for array in maps.values()))
            # What is too large for int64 becomes negative there, and has no name either.
            kind = kind if np.can_cast(kind, np.int64) else np.dtype(np.int64)
            ids = np.stack([*maps.values()], dtype=kind, casting="unsafe")
            plain = self._plain[c] and ids.max() < len(digits) - 1
            these = ids if plain else digits.take(ids, mode="clip")
            if ids.dtype.kind == "i" and ids.min() < 0:  # clipping takes these for id 0
                these = np.where(ids < 0, _NO_NAME, these)
            read[c, slice(None) if len(maps) == len(images) else [*maps]] = these
            if read[c].min() == _NO_NAME:
                n = int((read[c] == _NO_NAME).any((1, 2)).argmax())
                unknown = np.unique(maps[n][read[c, n] == _NO_NAME])[:5].tolist()
                raise ValueError(
                    f"The {category!r} map of image {images[n]} holds {unknown}, ids without a name: "
                    'name them, "" for no label.'
                )
        return read

    def _map(self, category: str, i: int) -> np.ndarray | None:
        if (found := self.maps[category][i]) is None:
            return None
        array = np.asarray(found)
        if array.ndim != 2 or array.dtype.kind not in "iu" or not array.size:
            raise ValueError(
                f"A label map is (H, W) whole numbers; image {i} has {array.dtype} {array.shape} as {category!r}."
            )
        return array

    def combined(self, images: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The label maps of several images with one number a pixel for the labels of all categories.

        Returns the numbers (images, H · W) int32 from 0 on, the concepts that each number stands for (numbers,
        categories) int64, -1 for no label, and which categories each image carries (images, categories) bool. The last
        results are kept, for the next layer. Raises ValueError as `read`, and for images of several sizes.
        """
        if (kept := self._combined.get(images)) is not None:
            return kept
        stacked = self._read(images)
        stacked = stacked.reshape(*stacked.shape[:2], -1)  # (categories, images, H · W)
        bases, most = [int(digits.max()) + 1 for digits in self._digits], 1
        small = math.prod(bases) < 2**31  # in half the time
        numbers = np.zeros(stacked.shape[1:], np.int32 if small else np.int64)
        for category, base in zip(stacked, bases, strict=True):
            if most * base >= 2**63:  # far fewer combinations occur, so numbering these makes room
                numbers, most = pd.factorize(numbers.ravel())[0].reshape(numbers.shape), numbers.size
            numbers *= base
            numbers += category
            most *= base
        flat = pd.factorize(numbers.ravel())[0]
        example = np.empty(flat.max() + 1, np.int64)  # of each number, one of the pixels that have it
        example[flat] = np.arange(len(flat))
        numbers = flat.astype(np.int32).reshape(numbers.shape)
        image, pixel = np.divmod(example, stacked.shape[2])
        digits = stacked[:, image, pixel].T.astype(np.int64)
        meaning = np.where(digits == _NO_LABEL, -1, digits + self._first - 1)
        present = (stacked.max(2) != _NO_LABEL).T
        while len(self._combined) >= _KEPT:
            self._combined.pop(next(iter(self._combined)), None)
        self._combined[images] = numbers, meaning, present
        return numbers, meaning, present
