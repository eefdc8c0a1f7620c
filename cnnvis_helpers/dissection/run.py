"""From a network and labelled images to the concepts of its units.

- `dissect`: thresholds, masks and tallies of one or several layers

    found = dissect(model, data, labels, ["relu1", "relu5"])
    found["relu5"].table().to_csv("relu5.csv")
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.utils.data import Subset
from tqdm.auto import tqdm

from cnnvis_helpers import hooks
from cnnvis_helpers.dissection.labels import Labels
from cnnvis_helpers.dissection.result import Dissection
from cnnvis_helpers.dissection.tally import Tally
from cnnvis_helpers.dissection.turned import Turned
from cnnvis_helpers.receptive_field import ReceptiveField, receptive_field
from cnnvis_helpers.survey import Statistic, Threshold, batches, survey
from cnnvis_helpers.survey.statistics import State

if TYPE_CHECKING:
    from distributed import Client

_THREADS = 4  # as many groups of label maps as `Labels` keeps combined


def dissect(
    model: nn.Module,
    data: Any,
    labels: Labels,
    layers: str | Sequence[str],
    *,
    share: float = 0.005,
    shuffles: int = 20,
    seed: int = 0,
    basis: Tensor | None = None,
    field: ReceptiveField | None = None,
    batch: int = 64,
    cache: int = 2**30,
    resume: str | Path | None = None,
    progress: bool = False,
    client: Client | None = None,
) -> dict[str, Dissection]:
    """Which concept each unit of the layers stands for: a `Dissection` by layer.

    A unit's threshold T is exceeded by the share 0.005 of its activations over all images and places, exactly. Its
    mask in an image is where the activation, upsampled bilinearly between centres of receptive fields, exceeds T. IoU
    is Σ intersection / Σ union over the data set (one ratio, not a mean over images), for each concept over the images
    with some label of its category. Chance: see `Tally`.

    Departures from the paper: a pixel has one label a category; outside the outermost centres the nearest value goes
    on. A fully connected unit has one value an image: its mask is the whole image or nothing.

    Args:
        data: normalised images as for a survey, of one size; `labels` are theirs.
        share: of activations above the threshold.
        shuffles, seed: exchanges of label maps, see `Tally`.
        basis: (D, C), of one layer: D directions are looked at in place of units, as by `TopK`.
        field: of one layer, where `receptive_field` cannot follow the model.
        batch: how many images run at once. Memory holds the label maps of 64 images besides, twice for each of up to 4
            threads, and 1 % of the activations for the thresholds.
        cache: bytes of memory. Where the layers' activations on all images fit, the network runs once, else twice.
        resume: a path; the two runs keep their state in files that begin with it, and the cache is not used.
        client: of a dask cluster that does the two runs, see `survey`; the cache is not used.

    Raises:
        hooks.LayerError: there is no such layer, or it does not run.
        ValueError: no images; label maps of another number or size, or with unknown ids; NaN; a layer that gives
            neither maps nor codes, or whose units have no place (`receptive_field`).
        ResumeError, RuntimeError: see `survey`.

    Source: Bau, Zhou, Khosla, Oliva, Torralba, *Network dissection*, CVPR 2017.
    """
    names = [layers] if isinstance(layers, str) else list(layers)
    if not names or (len(names) > 1 and (basis is not None or field is not None)):
        raise ValueError(f"Needed are layers, with a basis or a field only one; these are {len(names)}.")
    _, first = next(batches(data, 1))  # complains about what is no data set
    if len(labels) != len(data):
        raise ValueError(
            f"There are {len(data)} images and label maps of {len(labels)}: they must be the same."
        )
    size = (first.shape[2], first.shape[3])
    first = first.to(next(model.parameters(), first))
    places = [a.shape[2:] for a in hooks.activations(model, first, names).values()]
    fields = [field or _field(model, *at, size) for at in zip(names, places, strict=True)]
    Tally(names[0], labels, torch.zeros(1), fields[0], shuffles=shuffles)  # complains before the long run
    run, layers = (model, names) if basis is None else (Turned(model, names[0], basis), ["directions"])
    values = sum(a.numel() for a in hooks.activations(run, first, layers).values())
    keeps = resume is None and client is None and 4 * len(data) * values <= cache

    wanted: list[Statistic] = [Threshold(layer, len(data), share) for layer in layers]
    wanted += [_Keep(layer, len(data)) for layer in layers] if keeps else []
    path = None if resume is None else f"{resume}.thresholds"
    fed = survey(run, data, wanted, batch=batch, resume=path, progress=progress, client=client)
    tallies = [
        Tally(t.layer, labels, t.value, at, shuffles=shuffles, seed=seed)
        for t, at in zip(fed, fields, strict=False)
        if isinstance(t, Threshold)
    ]
    if keeps:
        _count(tallies, [keep.maps for keep in fed if isinstance(keep, _Keep)], batch, progress)
    else:
        path = None if resume is None else f"{resume}.tally"
        again = Subset(data, tallies[0].order)
        tallies = survey(run, again, tallies, batch=batch, resume=path, progress=progress, client=client)
    return {name: Dissection(name, tally, basis) for name, tally in zip(names, tallies, strict=True)}


def _count(tallies: list[Tally], maps: list[Tensor], batch: int, progress: bool) -> None:
    """Feed the tallies with the maps of all images, a batch in each thread: most of the work knows one thread only."""
    order, threads = torch.tensor(tallies[0].order), min(torch.get_num_threads(), _THREADS)
    copies = [copy.deepcopy(tallies) for _ in range(threads)]
    idle: SimpleQueue[list[Tally]] = SimpleQueue()
    for each in copies:
        idle.put(each)

    def count(positions: Tensor) -> int:
        own = idle.get()
        try:
            for tally, of_layer in zip(own, maps, strict=True):
                tally.update(of_layer[order[positions]], positions)
        finally:
            idle.put(own)  # also where it fails: another thread may be waiting
        return len(positions)

    pool = ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,))
    try:
        with tqdm(total=len(order), unit="image", disable=not progress) as bar:
            for done in pool.map(count, torch.arange(len(order)).split(batch)):
                bar.update(done)
    finally:
        pool.shutdown(cancel_futures=True)
        # Threads that begin later take the number that was set last, in whatever thread.
        torch.set_num_threads(torch.get_num_threads())
    for each in copies:
        for tally, part in zip(tallies, each, strict=True):
            tally.merge(part)


def _field(model: nn.Module, layer: str, places: Sequence[int], image: tuple[int, int]) -> ReceptiveField:
    if all(n == 1 for n in places):  # fully connected, or pooled to one place
        return ReceptiveField(image, (0, 0), (0, 0), image)
    try:
        field = receptive_field(model, layer, image, local=True)
    except hooks.LayerError:
        raise
    except ValueError as error:
        raise ValueError(f"{error} Or pass its field, a ReceptiveField, yourself.") from None
    if 0 in field.stride:
        raise ValueError(f"All units of layer {layer!r} see the whole image: choose an earlier layer.")
    return field


class _Keep(Statistic):
    """All activations of a layer, in `maps` (images, C, h, w), which is neither saved nor merged."""

    def __init__(self, layer: str, images: int) -> None:
        super().__init__(layer)
        self.images, self.maps = images, torch.zeros(0)

    def _measure(self, a: Tensor, indices: Tensor) -> State:
        if not len(self.maps):
            self.maps = torch.empty(self.images, *a.shape[1:])
        self.maps[indices.cpu()] = a.cpu()
        return {"count": torch.full((a.shape[1],), len(a))}

    def _join(self, one: State, two: State) -> State:
        return {"count": one["count"] + two["count"]}
