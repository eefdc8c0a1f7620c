"""Train the small networks of lecture 08 with every means against memorising, and write the table that it shows.

    python data_scripts/memorisation_curves.py               # about 20 minutes on one idle core
    python data_scripts/memorisation_curves.py --epochs 3 --count 80 --seeds 1 --out /tmp/few.csv

Every run is `memorisation.train` with one setting changed: 40 epochs, three seeds, three shares of random labels. The
seed decides the first weights, the order, dropout and the random labels; the images are always the same. The table
`cnnvis_helpers/tables/memorisation.csv` is written after each run, and runs that it holds are not made again: to repeat
them, delete it.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import torch
from tqdm import tqdm

from cnnvis_helpers import memorisation

RADII = (4, 2, 1)  # of 255
EPOCHS = 40
EVERY = 5  # epochs between two measurements of the critical-sample ratio, in the first experiment


class Setting(NamedTuple):
    """What one run is made with; the first seven columns of the table."""

    experiment: str = "labels"
    width: int = 16
    dropout: float = 0.0
    weight_decay: float = 0.0
    shift: int = 0
    critical: float = 0.0  # of 255
    share: float = 0.0


# The means tell most where a part of the labels is random; capacity is tried with all three.
SHARES = (0.4, 1.0, 0.0)
MEANS = (  # one setting of each first, the quick ones before the slow ones
    *(Setting("capacity", width=width) for width in (2, 4)),
    Setting("dropout", dropout=0.75),
    Setting("weight decay", weight_decay=1e-2),
    Setting("augmentation", shift=4),
    Setting("critical samples", critical=2),
    Setting("critical samples and dropout", critical=2, dropout=0.5),
    Setting("dropout", dropout=0.5),
    Setting("weight decay", weight_decay=3e-2),
    Setting("augmentation", shift=2),
    *(Setting("capacity", width=width) for width in (8, 32)),
)


def jobs(seeds: int) -> list[tuple[Setting, int]]:
    """Every run, the most telling ones first, so that a table that is not finished can be used."""
    first = [(Setting(share=share), seed) for seed in range(seeds) for share in (0.0, 1.0, 0.4)]
    return first + [
        (s._replace(share=share), seed)
        for share in SHARES
        for seed in range(seeds)
        for s in MEANS
        if share == SHARES[0] or s.experiment == "capacity"
    ]


def run(problem: memorisation.Problem, setting: Setting, seed: int, epochs: int) -> pd.DataFrame:
    """One training: a line an epoch."""
    told = memorisation.relabelled(problem, setting.share, seed=seed)
    model = memorisation.small_net(
        setting.width, classes=len(problem.classes), dropout=setting.dropout, seed=seed
    )
    film = memorisation.train(
        model,
        told,
        epochs=epochs,
        weight_decay=setting.weight_decay,
        shift=setting.shift,
        critical=setting.critical / 255,
        seed=seed,
    )
    lines = []
    for epoch in film:
        line = {**setting._asdict(), "seed": seed, **epoch._asdict()}
        if epoch.number == epochs or (setting.experiment == "labels" and epoch.number % EVERY == 0):
            ratios = memorisation.critical_ratio(
                model, problem.test_images, [r / 255 for r in RADII], normalise=memorisation.normalise
            )
            line |= {f"ratio_{r}": ratio for r, ratio in zip(RADII, ratios.tolist(), strict=True)}
        lines.append(line)
    return pd.DataFrame(lines).round(4)


def main(arguments: list[str] | None = None) -> None:
    """The command line; `arguments` stand in for it in tests."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--count", type=int, default=1000, help="training images")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--jobs", type=int, help="make only so many of the runs, from the first")
    parser.add_argument("--out", type=Path, default=memorisation.TABLE)
    args = parser.parse_args(arguments)
    torch.set_num_threads(1)
    problem = memorisation.small_problem(args.count, tests=min(args.count, 400))
    args.out.parent.mkdir(parents=True, exist_ok=True)
    table = [memorisation.stored(args.out)] if args.out.exists() else []
    keys = [*Setting._fields, "seed"]
    done = set(table[0][keys].itertuples(index=False, name=None)) if table else set()
    for setting, seed in tqdm(jobs(args.seeds)[: args.jobs], unit="run"):
        if (*setting, seed) in done:
            continue
        table.append(run(problem, setting, seed, args.epochs))
        temporary = args.out.with_suffix(f".{os.getpid()}")
        pd.concat(table).to_csv(temporary, index=False)
        os.replace(temporary, args.out)


if __name__ == "__main__":
    main()
