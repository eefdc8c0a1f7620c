"""Your own pictures with PNG label maps.

- `read_folder`: a folder of pictures and label maps as a data set and its labels

    data, labels = read_folder("my_pictures", 224, net.mean, net.std)
    found = dissect(net.model, data, labels, "layer4")
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as F

from cnnvis_helpers import images
from cnnvis_helpers.dissection.labels import Labels

_ORIENTATION = 0x0112  # EXIF; from 5 on, width and height change places


def read_folder(
    folder: str | Path, size: int, mean: Sequence[float], std: Sequence[float]
) -> tuple[Sequence[Tensor], Labels]:
    """A data set and its labels from a folder, read from disk when asked for, so that memory does not grow.

        folder/images/NAME.jpg              (or any other kind of picture)
        folder/labels/CATEGORY/NAME.png     one channel of ids, 8 or 16 bits or a palette, as large as the picture
        folder/names.json                   {"CATEGORY": {"1": "cat", "2": "dog", "255": ""}}; see `Labels`

    An image may have no map in some categories. Pictures are resized as by `images.fit` and normalised; maps follow
    with the nearest id. Images are in the order of their names.

    Raises: ValueError where a piece is missing, names.json is no such table, there is a map without a picture or two
    pictures of one name; and, when they are read, for maps of another size than their picture or with other content.
    """
    root = Path(folder)
    try:
        table = json.loads((root / "names.json").read_text(encoding="utf-8"))
        names = {c: {int(i): str(name) for i, name in given.items()} for c, given in table.items()}
    except (OSError, ValueError, AttributeError) as error:
        raise ValueError(
            f'{root / "names.json"} must be a table like {{"object": {{"1": "cat"}}}} ({error}).'
        ) from None
    pictures = [p for p in sorted(root.glob("images/*")) if p.is_file() and p.name[0] != "."]
    stems = [picture.stem for picture in pictures]
    if not stems or len(set(stems)) < len(stems):
        raise ValueError(
            f"{root / 'images'} needs one picture or more, each with a name of its own: it has {len(stems)}."
        )
    maps = {}
    for category in names:
        found = {p.stem: p for p in (root / "labels" / category).glob("*.png")}
        if not found or not set(found) <= set(stems):
            raise ValueError(
                f"{root / 'labels' / category} needs PNG files named like the pictures in images; there are "
                f"{len(found)}, without a picture: {sorted(set(found) - set(stems))[:5]}."
            )
        maps[category] = _Maps([(p, found.get(p.stem)) for p in pictures], size)
    return _Pictures(pictures, size, mean, std), Labels(maps, names)


class _Pictures(Sequence[Tensor]):
    def __init__(self, paths: list[Path], size: int, mean: Sequence[float], std: Sequence[float]) -> None:
        self._paths, self._size, self._mean, self._std = paths, size, mean, std

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, i: Any) -> Any:
        return images.normalise(images.load(self._paths[i], size=self._size), self._mean, self._std)


class _Maps:
    def __init__(self, paths: list[tuple[Path, Path | None]], size: int) -> None:
        self._paths, self._size = paths, size

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, i: int) -> np.ndarray | None:
        picture, path = self._paths[i]
        if path is None:
            return None
        try:
            with Image.open(path) as file:
                ids = np.asarray(file)
        except Exception as error:  # Pillow's decoders raise many kinds
            raise ValueError(f"{path} cannot be read as a label map: {error}.") from None
        if ids.ndim != 2 or ids.dtype.kind not in "iub":
            raise ValueError(f"{path} must have one channel of ids, it is {ids.dtype} {ids.shape}.")
        with Image.open(picture) as file:  # the header alone
            shape = file.size[::-1] if file.getexif().get(_ORIENTATION, 1) < 5 else file.size
        if ids.shape != shape:
            raise ValueError(f"{path} is {ids.shape}, the picture {picture.name} {shape}: they must agree.")
        # What images.fit does to a picture, with the nearest id in place of a mixture.
        limits = [min(side, 3 * min(shape)) for side in shape]
        middle = F.center_crop(torch.from_numpy(ids.astype(np.int32))[None], limits)
        resized = F.resize(middle, [self._size], interpolation=InterpolationMode.NEAREST_EXACT)
        return F.center_crop(resized, [self._size, self._size])[0].numpy()
