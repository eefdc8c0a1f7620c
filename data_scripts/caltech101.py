"""Caltech-101 for training the `photos` family: through torchvision's loader, with a split that is written down.

- `open_folder`: torchvision's data set, or one sentence about what is wrong with the folder
- `read`: the photographs of a split, ready for training or for measuring
- `choose_split`: how the split in caltech101_split.json was drawn
- `SPLIT`, `VERSION`: that split, and the version of it that weight files name

Caltech-101: F.-F. Li, M. Andreetto, M. Ranzato, P. Perona, 2022 (pictures collected in 2003), CaltechDATA,
CC BY 4.0. Left out are BACKGROUND_Google, which is no class, and the two face categories: both show the same
photographs of private persons.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from sklearn.model_selection import train_test_split
from torchvision.datasets import Caltech101
from torchvision.transforms.v2 import functional as F
from tqdm.auto import tqdm

from cnnvis_helpers import images, networks
from cnnvis_helpers.photos import CLASSES

VERSION = 1  # of the split; raise it when the split changes
SPLIT_FILE = Path(__file__).with_name("caltech101_split.json")
# {class: {"photographs": how many there are, "test": [their numbers], "validation": [their numbers]}}
SPLIT: dict[str, Any] = json.loads(SPLIT_FILE.read_text()) if SPLIT_FILE.exists() else {}
STORED = 144  # pixels a side: every photograph is kept whole, squeezed into a square of this size

LEFT_OUT = ("BACKGROUND_Google", "Faces", "Faces_easy")


def choose_split(counts: dict[str, int], test: int, validation: int, seed: int) -> dict[str, Any]:
    """Draw a split with the same share of every class: {class: {"photographs", "test", "validation"}}."""
    items = [(name, number) for name, count in counts.items() for number in range(1, count + 1)]
    kinds = [name for name, _ in items]
    rest, held = train_test_split(items, test_size=test, random_state=seed, stratify=kinds)
    _, watched = train_test_split(
        rest, test_size=validation, random_state=seed, stratify=[name for name, _ in rest]
    )
    split: dict[str, Any] = {
        name: {"photographs": count, "test": [], "validation": []} for name, count in counts.items()
    }
    for part, chosen in (("test", held), ("validation", watched)):
        for name, number in sorted(chosen):
            split[name][part].append(number)
    return split


def open_folder(root: Path, *, download: bool = False) -> Caltech101:
    """torchvision's Caltech-101 below `root`; with `download`, fetched first where it is missing.

    Raises: SystemExit, in one sentence, where the folder is missing, incomplete or laid out otherwise.
    """
    place = root / "caltech101" / "101_ObjectCategories"
    if download and not place.exists():
        try:
            Caltech101(root, download=True)
        except Exception as error:  # whatever stops it: no network, full disk, an archive cut short
            raise SystemExit(f"Caltech-101 could not be fetched into {root} ({error}): try again.") from error
    if not place.is_dir():  # asked before the loader, which would make an empty folder of a mistyped name
        raise SystemExit(
            f"There are no photographs in {place}: give the folder that holds caltech101/ with --photos, or let "
            "torchvision fetch it with --download."
        )
    found = {d.name: len(list(d.glob("image_*.jpg"))) for d in place.iterdir() if d.is_dir()}
    again = "delete the folder and fetch it again with --download."
    if missing := sorted(set(SPLIT) - set(found)):
        raise SystemExit(f"{place} lacks {len(missing)} categories ({', '.join(missing[:3])} …): {again}")
    wrong = [name for name in SPLIT if found[name] != SPLIT[name]["photographs"]]
    if wrong:
        name = wrong[0]
        raise SystemExit(
            f"{place / name} holds {found[name]} photographs, Caltech-101 has {SPLIT[name]['photographs']} of "
            f"them: {again}"
        )
    (place / "BACKGROUND_Google").mkdir(exist_ok=True)  # the loader asks for it; no photograph of it is read
    return Caltech101(root)


def read(folder: Caltech101, part: str, *, whole: bool, most: int | None = None) -> dict[str, torch.Tensor]:
    """The photographs of a part of the split: "train", "validation", "test", or "train+validation".

    Args:
        whole: True keeps each photograph whole, squeezed to STORED × STORED, so that training can cut it
            anywhere; False cuts the centre to 96 × 96, as `Network.prepare` does with any photograph.
        most: only so many, spread over the classes.

    Returns: pixels (N, 3, s, s) uint8; labels (N,) int64; of whole photographs also extent (N, 2), the shares of
        width and height that a centred square covers.
    """
    rows = [
        (row, CLASSES.index(folder.categories[y]))
        for row, (y, number) in enumerate(zip(folder.y, folder.index, strict=True))
        if folder.categories[y] not in LEFT_OUT and _part(folder.categories[y], number) in part.split("+")
    ]
    if most is not None:
        rows = [rows[i] for i in np.linspace(0, len(rows) - 1, most).astype(int)]
    pixels, extents = [], []
    for row, _ in tqdm(rows, desc=f"{part} photographs", mininterval=2, leave=False):
        try:
            photograph = folder[row][0].convert("RGB")
        except OSError as error:
            name = f"{folder.categories[folder.y[row]]}/image_{folder.index[row]:04d}.jpg"
            raise SystemExit(
                f"{Path(folder.root) / '101_ObjectCategories' / name} is missing or damaged ({error}): fetch "
                "Caltech-101 again with --download."
            ) from error
        width, height = photograph.size
        extents.append((min(width, height) / width, min(width, height) / height))
        if whole:
            pixels.append(F.pil_to_tensor(photograph.resize((STORED, STORED), Image.Resampling.BILINEAR)))
        else:
            picture = images.fit(F.pil_to_tensor(photograph).float() / 255, networks.INPUT_SIZE)
            pixels.append((picture * 255).round().to(torch.uint8))
    return {
        "pixels": torch.stack(pixels),
        "labels": torch.tensor([label for _, label in rows]),
        **({"extent": torch.tensor(extents)} if whole else {}),
    }


def _part(name: str, number: int) -> str:
    held = SPLIT[name]
    return next((part for part in ("test", "validation") if number in held[part]), "train")
