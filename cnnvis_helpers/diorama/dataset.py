"""Many images at once: a cache on disk, and the sample that comes with the package.

- `load`: the first n images of a split, rendered once and kept in a cache folder
- `sample`: a few hundred test images that come with the package, nothing to render
- `Batch`: images, labels, label maps and attributes of many images
- `Dataset`: a `torch.utils.data.Dataset` that renders on the fly, with any knobs
- `cache_folder`: where rendered images are kept

    >>> test = load("test", 100)
    >>> test.images.shape, test.maps["material"].shape
    (torch.Size([100, 3, 96, 96]), (100, 96, 96))

Rendering goes on where it stopped: images are kept in shards of 250, a shard appears under its name only when it is
whole, and a lock makes a second kernel wait for the first instead of doing the same work.
"""

from __future__ import annotations

import io
import json
import os
import zipfile
import zlib
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from importlib import resources
from multiprocessing import current_process, get_context
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs
import torch
from filelock import FileLock
from PIL import Image
from tqdm.auto import tqdm

from .render import SPLITS, VERSION, Example, Knobs, render
from .vocabulary import CATEGORIES

SHARD = 250
_ROWS = ("scene", "size", "occluded", "clutter", "facing", "turn", "exposure", "blur", "box")
_DRAWN = tuple(c for c in CATEGORIES if c != "scene")  # the scene map is constant: its attribute says it all


class CacheError(OSError):
    """The cache folder cannot be used; the message says what to do."""


@dataclass(frozen=True)
class Batch:
    """Images and the truth about them, N of each.

    pixels: (N, 96, 96, 3) uint8. labels: (N,) int64 tensor. attributes: name → (N, …) array (see `Example`).
    keypoints: one dict an image. maps: category → (N, 96, 96) uint8 and instance: (N, 96, 96) bool, both None when
    loaded with labels=False. `batch[i:j]` and `batch[array]` select images.
    """

    pixels: np.ndarray
    labels: torch.Tensor
    attributes: dict[str, np.ndarray]
    keypoints: tuple[dict[str, list[tuple[float, float]]], ...]
    maps: dict[str, np.ndarray] | None = None
    instance: np.ndarray | None = None

    @property
    def images(self) -> torch.Tensor:
        """(N, 3, 96, 96) float32 in [0, 1], made anew at each call."""
        return torch.from_numpy(self.pixels).permute(0, 3, 1, 2).float() / 255

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, which: slice | Sequence[int] | np.ndarray) -> Batch:
        rows = np.arange(len(self))[which]
        if rows.ndim != 1:
            raise TypeError(
                "select images with a slice or an array of indices, for one image: batch[i : i + 1]"
            )
        return Batch(
            self.pixels[rows],
            self.labels[torch.from_numpy(rows)],
            {k: v[rows] for k, v in self.attributes.items()},
            tuple(self.keypoints[i] for i in rows),
            None if self.maps is None else {k: v[rows] for k, v in self.maps.items()},
            None if self.instance is None else self.instance[rows],
        )


class Dataset(torch.utils.data.Dataset):
    """Renders image i when it is asked for: `dataset[i]` is (image (3, 96, 96) float in [0, 1], label).

    `knobs` holds for every image, so a biased or stripped-down data set is one line.
    """

    def __init__(self, split: str, knobs: Knobs | None = None, n: int | None = None) -> None:
        self.split, self.knobs, self.n = split, knobs, _count(split, n)

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, i: int) -> tuple[torch.Tensor, int]:
        if not 0 <= i < self.n:
            raise IndexError(f"index {i} is outside this data set: 0 … {self.n - 1}")
        example = render(self.split, i, self.knobs)
        return torch.from_numpy(example.image).permute(2, 0, 1).float() / 255, example.label


def collate(examples: Iterable[Example], labels: bool = True) -> Batch:
    """Put examples into one batch; labels=False leaves out the label maps."""
    all_ = list(examples)
    if not all_:
        raise ValueError("a batch needs at least one example")
    return Batch(
        np.stack([e.image for e in all_]),
        torch.tensor([e.label for e in all_]),
        {k: np.array([e.attributes[k] for e in all_]) for k in _ROWS},
        tuple(e.keypoints for e in all_),
        {c: np.stack([e.maps[c] for e in all_]) for c in CATEGORIES} if labels else None,
        np.stack([e.instance for e in all_]) if labels else None,
    )


def cache_folder() -> Path:
    """Where rendered images are kept: $CNNVIS_CACHE, or else the user's cache folder."""
    root = os.environ.get("CNNVIS_CACHE") or platformdirs.user_cache_dir("cnnvis_helpers")
    return Path(root) / f"diorama-v{VERSION}"


def load(
    split: str,
    n: int | None = None,
    *,
    labels: bool = True,
    progress: bool = True,
    processes: int | None = None,
) -> Batch:
    """The first n images of a split (all, when n is None), rendered where they are not cached yet.

    labels=False leaves out the label maps (a tenth of the memory). progress shows a bar while rendering, `processes`
    is how many processes render (default: one a core, at most four). Raises `ValueError` for an unknown split or n,
    `CacheError` when the cache folder cannot be written, `RuntimeError` in a script without a main guard.
    """
    n = _count(split, n)
    if current_process().name.startswith("Spawn"):
        # A worker re-imports the main script; drawing there again would wait for the lock that its parent holds.
        raise RuntimeError(
            "diorama.load draws in several processes, which import your script again: call it below "
            "`if __name__ == '__main__':`, or with processes=1"
        )
    folder = cache_folder() / split
    try:
        folder.mkdir(parents=True, exist_ok=True)
        shards = range(-(-n // SHARD))
        if any(_read(folder, k, labels) is None for k in shards):
            with FileLock(folder / ".lock"):
                missing = [k for k in shards if _read(folder, k, labels) is None]
                _render_shards(split, folder, missing, labels, progress, processes)
    except OSError as error:
        raise CacheError(
            f"the image cache {folder} cannot be written ({error.strerror or error}): free some space there "
            "(a split of 2,000 images takes 130 MB) or set CNNVIS_CACHE to another folder"
        ) from error
    parts = [_read(folder, k, labels) for k in shards]
    return _join([p for p in parts if p is not None])[:n]


def _count(split: str, n: int | None) -> int:
    if split not in SPLITS:
        raise ValueError(f"unknown split {split!r}; there are {', '.join(SPLITS)}")
    if n is not None and not 1 <= n <= SPLITS[split]:
        raise ValueError(
            f"the {split} split has {SPLITS[split]} images: n must lie between 1 and that, not {n}"
        )
    return SPLITS[split] if n is None else n


def _join(parts: list[Batch]) -> Batch:
    first = parts[0]
    return Batch(
        np.concatenate([p.pixels for p in parts]),
        torch.cat([p.labels for p in parts]),
        {k: np.concatenate([p.attributes[k] for p in parts]) for k in first.attributes},
        tuple(k for p in parts for k in p.keypoints),
        None
        if first.maps is None
        else {c: np.concatenate([p.maps[c] for p in parts if p.maps is not None]) for c in first.maps},
        None
        if first.instance is None
        else np.concatenate([p.instance for p in parts if p.instance is not None]),
    )


def _render_shards(
    split: str, folder: Path, shards: list[int], labels: bool, progress: bool, processes: int | None
) -> None:
    """Render the given shards, several processes at once; each is written by the process that rendered it."""
    work = partial(_render_shard, split, folder, labels)
    # At most four: each worker takes half a gigabyte, and a container's cores are often fewer than the host's.
    workers = min(processes or min(4, os.cpu_count() or 1), len(shards))
    bar = partial(
        tqdm, total=len(shards) * SHARD, unit="image", desc=f"drawing {split}", disable=not progress
    )
    if workers <= 1:  # a process of its own costs more than one shard
        with bar() as b:
            for k in shards:
                work(k)
                b.update(SHARD)
        return
    # "spawn": forking a process that has started threads (torch, Jupyter) can hang.
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool, bar() as b:
        for _ in pool.map(work, shards):
            b.update(SHARD)


def _render_shard(split: str, folder: Path, labels: bool, shard: int) -> None:
    first = shard * SHARD
    _write(folder, shard, collate((render(split, i) for i in range(first, first + SHARD)), labels))


def _files(folder: Path, shard: int) -> tuple[Path, Path]:
    return folder / f"images-{shard:04d}.npz", folder / f"maps-{shard:04d}.npz"


def _write(folder: Path, shard: int, batch: Batch) -> None:
    """Two files a shard: images with attributes, and label maps. Each is whole or absent."""
    images, maps = _files(folder, shard)
    keypoints = np.frombuffer(json.dumps(batch.keypoints).encode(), np.uint8)
    _save(images, pixels=batch.pixels, labels=batch.labels.numpy(), keypoints=keypoints, **batch.attributes)
    if batch.maps is not None and batch.instance is not None:
        _save(maps, **{c: batch.maps[c] for c in _DRAWN}, instance=batch.instance)


def _save(path: Path, **arrays: np.ndarray) -> None:
    temporary = path.with_name(f"{path.stem}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as f:
            np.savez(f, allow_pickle=False, **arrays)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _read(folder: Path, shard: int, labels: bool) -> Batch | None:
    """A shard from the cache; None when it is missing or damaged (it is then rendered again)."""
    images, maps = _files(folder, shard)
    try:
        with np.load(images, allow_pickle=False) as f:
            a: dict[str, Any] = dict(f)
        keypoints = tuple(_points(k) for k in json.loads(a.pop("keypoints").tobytes()))
        pixels, numbers = a.pop("pixels"), torch.from_numpy(a.pop("labels"))
        label_maps = instance = None
        if labels:
            with np.load(maps, allow_pickle=False) as f:
                label_maps = dict(f)
            instance = label_maps.pop("instance")
            label_maps = _with_scene(label_maps, a["scene"])
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
    return Batch(pixels, numbers, a, keypoints, label_maps, instance)


def _points(keypoints: dict[str, list[list[float]]]) -> dict[str, list[tuple[float, float]]]:
    return {name: [(x, y) for x, y in points] for name, points in keypoints.items()}


def _with_scene(maps: dict[str, np.ndarray], scenes: np.ndarray) -> dict[str, np.ndarray]:
    shape = next(iter(maps.values())).shape
    maps["scene"] = np.ascontiguousarray(np.broadcast_to(scenes.astype(np.uint8)[:, None, None], shape))
    return {c: maps[c] for c in CATEGORIES}


# ---- the sample that comes with the package: JPEG images, PNG label maps, in one zip file -------------------------


def write_sample(path: Path, batch: Batch) -> None:
    """Write a batch with label maps as a sample file (a zip of one JPEG and one PNG an image, and a JSON table)."""
    if batch.maps is None or batch.instance is None:
        raise ValueError("a sample needs label maps: load the batch with labels=True")
    table = {k: v.tolist() for k, v in batch.attributes.items()}
    table |= {"label": batch.labels.tolist(), "keypoints": batch.keypoints, "version": VERSION}
    temporary = path.with_suffix(".tmp")
    with zipfile.ZipFile(temporary, "w") as z:  # the members are compressed already
        z.writestr(zipfile.ZipInfo("table.json"), json.dumps(table), zipfile.ZIP_DEFLATED)
        for i in range(len(batch)):
            z.writestr(
                zipfile.ZipInfo(f"{i:04d}.jpg"), _encode(batch.pixels[i], "JPEG", quality=92, subsampling=0)
            )
            strip = np.concatenate(
                [*(batch.maps[c][i] for c in _DRAWN), batch.instance[i].astype(np.uint8)], 1
            )
            z.writestr(zipfile.ZipInfo(f"{i:04d}.png"), _encode(strip, "PNG", optimize=True))
    os.replace(temporary, path)


def _encode(array: np.ndarray, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, kind, **options)
    return buffer.getvalue()


def sample(n: int | None = None) -> Batch:
    """The first n of the test images that come with the package (all, when n is None), with label maps.

    They are the images of `load("test", n)` after JPEG compression, so nothing need be rendered. Image i has class
    i mod 16. Raises `ValueError` when n is larger than the sample, `OSError` when the file is damaged.
    """
    archive = resources.files(__package__) / "sample" / "test.zip"
    try:
        with archive.open("rb") as f, zipfile.ZipFile(f) as z:
            table: dict[str, Any] = json.loads(z.read("table.json"))
            numbers = table.pop("label")
            count = len(numbers) if n is None else min(max(n, 0), len(numbers))
            pixels = [np.asarray(Image.open(io.BytesIO(z.read(f"{i:04d}.jpg")))) for i in range(count)]
            strips = [np.asarray(Image.open(io.BytesIO(z.read(f"{i:04d}.png")))) for i in range(count)]
    except (OSError, KeyError, ValueError, EOFError, SyntaxError, zipfile.BadZipFile, zlib.error) as error:
        raise OSError(f"the sample {archive} is damaged ({error}): install the package again") from error
    if (n is not None and n != count) or not count:
        raise ValueError(f"the sample has {len(numbers)} images, not {n}: for more call load('test', n)")
    keypoints, _ = table.pop("keypoints"), table.pop("version")
    maps = dict(zip((*_DRAWN, "instance"), np.split(np.stack(strips), len(_DRAWN) + 1, axis=2), strict=True))
    instance = maps.pop("instance").astype(bool)
    attributes = {k: np.array(v[:count]) for k, v in table.items()}
    return Batch(
        np.stack(pixels),
        torch.tensor(numbers[:count]),
        attributes,
        tuple(_points(k) for k in keypoints[:count]),
        _with_scene(maps, attributes["scene"]),
        instance,
    )
