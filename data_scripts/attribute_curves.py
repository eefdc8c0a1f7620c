"""Ask four classifiers about scenes of which one attribute is turned, and write the table that lecture 11 shows.

    python data_scripts/attribute_curves.py                  # about 10 minutes on one idle core
    python data_scripts/attribute_curves.py --scenes 16 --out /tmp/few.csv

Draws the first test scenes at every level of every attribute that `cnnvis_helpers/attributes.py` names, 14,000 images,
and writes what "diorama/alexnet", its robust sister, the network before its first step and a colour histogram say of
each to `cnnvis_helpers/tables/attributes.csv`. A run that is interrupted goes on where it stopped.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from tqdm import tqdm

from cnnvis_helpers import attributes, diorama, zoo

NETWORKS = ("diorama/alexnet", "diorama/alexnet-robust", "diorama/alexnet-untrained")
SCENES = 256  # 16 of each class
IMAGES = 2000  # at least so many an attribute: those with few levels get more scenes
CHUNK = 16  # scenes drawn and saved together
TRAINING = 4000  # images that the histogram learns from


def colours(images: Tensor) -> np.ndarray:
    """Square roots of how often each of 6³ colours occurs, (N, 216), of images (N, 3, H, W) in [0, 1]."""
    level = (images * 5.999).long()
    number = (level[:, 0] * 36 + level[:, 1] * 6 + level[:, 2]).flatten(1)
    counts = torch.stack([torch.bincount(row, minlength=216) for row in number])
    return (counts / number.shape[1]).sqrt().numpy()


def histogram(training: int) -> attributes.Predictor:
    """A classifier that sees no shapes: logistic regression on `colours` of the first training images."""
    from sklearn.linear_model import LogisticRegression

    batch = diorama.load("train", training, labels=False)
    parts = [colours(batch[i : i + 500].images) for i in range(0, training, 500)]
    fitted = LogisticRegression(max_iter=500).fit(np.concatenate(parts), batch.labels.numpy())
    return lambda images: torch.from_numpy(fitted.predict(colours(images)))


def network(name: str) -> attributes.Predictor:
    """A network of the zoo as a classifier."""
    net = zoo.load(name)
    net.model.to(memory_format=torch.channels_last)  # twice as fast on most processors
    return lambda images: net.probabilities(images).argmax(1)


def scenes_of(name: str, scenes: int) -> int:
    """How many scenes show an attribute: more where it has few levels; whole chunks."""
    wanted = max(scenes, -(-IMAGES // len(attributes.LEVELS[name]))) if scenes >= SCENES else scenes
    return -(-wanted // CHUNK) * CHUNK


def main(arguments: list[str] | None = None) -> None:
    """The command line; `arguments` stand in for it in tests."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--scenes", type=int, default=SCENES)
    parser.add_argument("--training", type=int, default=TRAINING)
    parser.add_argument("--out", type=Path, default=attributes.TABLE)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args(arguments)
    torch.set_num_threads(args.threads)
    part = args.out.with_suffix(".part")
    args.out.parent.mkdir(parents=True, exist_ok=True)
    done = [attributes.stored(part)] if part.exists() else []
    start = int(done[0].columns.max()) + 1 if done else 0
    counts = {name: scenes_of(name, args.scenes) for name in attributes.LEVELS}
    predictors = {name: network(name) for name in NETWORKS} | {"colour histogram": histogram(args.training)}
    for first in tqdm(range(start, max(counts.values()), CHUNK), unit="chunk"):
        scenes = range(first, first + CHUNK)
        names = [name for name, count in counts.items() if first < count]
        done.append(pd.concat([attributes.answers(predictors, name, scenes) for name in names]))
        _save(pd.concat(done, axis=1), part)
    os.replace(part, args.out)


def _save(table: pd.DataFrame, path: Path) -> None:
    temporary = path.with_suffix(f".{os.getpid()}")
    table.astype("Int64").to_csv(temporary)
    os.replace(temporary, path)


if __name__ == "__main__":
    main()
