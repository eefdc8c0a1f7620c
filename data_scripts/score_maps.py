"""Score every map of lecture 03 on 520 test images and write the table that the lecture shows.

    python data_scripts/score_maps.py                  # about 20 minutes on two cores
    python data_scripts/score_maps.py --images 40 --out /tmp/few.csv

For each image: six maps of "diorama/alexnet", the same of the network before its first step, the map of another
image, and three maps that know nothing; each scored as `cnnvis_helpers/attribution.py` says, for the class that is
there. Written is `cnnvis_helpers/tables/attribution.csv`, in thousandths. A run that is interrupted goes on where it
stopped.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor
from tqdm import trange

from cnnvis_helpers import attribution, diorama, faithfulness, sanity, zoo

IMAGES = 520  # the first test images: 32 of each class, 33 of the first eight
CHUNK = 20  # images scored together; their maps are shuffled among them, none keeps its own
LAYER = "relu5"  # of Grad-CAM


def scored(trained: zoo.Network, untrained: zoo.Network, first: int, count: int) -> pd.DataFrame:
    """The scores of test images `first` to `first + count - 1`, a row for each; columns as `attribution.stored`.

    Raises: IndexError for images that the split does not have.
    """
    batch = diorama.collate([diorama.render("test", i) for i in range(first, first + count)])
    x, labels = trained.prepare(batch.images), batch.labels
    masks = torch.from_numpy(batch.instance)
    columns = {("area", "null", "share inside"): faithfulness.area(masks)}
    for (method, kind), made in _all_maps(trained, untrained, x, labels, first):
        for score, values in attribution.scores(trained.model, x, made, masks, labels, batch=128).items():
            columns[method, kind, score] = values
    numbers = range(first, first + count)
    return pd.DataFrame({name: values.tolist() for name, values in columns.items()}, index=numbers)


def _all_maps(
    trained: zoo.Network, untrained: zoo.Network, x: Tensor, labels: Tensor, seed: int
) -> Iterator[tuple[tuple[str, str], Tensor]]:
    """(method, kind of map) and the maps (N, H, W)."""
    blank = attribution.maps(untrained.model, x, LAYER, labels, batch=128)
    for method, made in attribution.maps(trained.model, x, LAYER, labels, batch=128).items():
        nulls = sanity.nulls(made, generator=torch.Generator().manual_seed(seed))
        yield (method, "trained"), made
        yield (method, "shuffled"), nulls["shuffled"]
        yield (method, "untrained"), blank[method]
    yield ("noise", "null"), nulls["noise"]
    yield ("centre", "null"), nulls["centre"]


def main(arguments: list[str] | None = None) -> None:
    """The command line; `arguments` stand in for it in tests."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--images", type=int, default=IMAGES)
    parser.add_argument("--out", type=Path, default=attribution.TABLE)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args(arguments)
    torch.set_num_threads(args.threads)
    networks = [zoo.load(name) for name in ("diorama/alexnet", "diorama/alexnet-untrained")]
    for network in networks:  # twice as fast on most processors
        network.model.to(memory_format=torch.channels_last)
    part = args.out.with_suffix(".part")
    args.out.parent.mkdir(parents=True, exist_ok=True)
    done = [pd.read_csv(part, header=[0, 1, 2], index_col=0)] if part.exists() else []
    for first in trange(len(done[0]) if done else 0, args.images, CHUNK):
        count = min(CHUNK, args.images - first)
        done.append((scored(*networks, first, count) * 1000).round().astype("Int64"))
        temporary = part.with_suffix(f".{os.getpid()}")
        pd.concat(done).to_csv(temporary)
        os.replace(temporary, part)
    os.replace(part, args.out)


if __name__ == "__main__":
    main()
