"""Dissect every network of lecture 07 over the 2,000 test images and write the table that the lecture shows.

    python data_scripts/dissect_networks.py                  # about 20 minutes on two cores
    python data_scripts/dissect_networks.py --images 100 --networks diorama/alexnet --out /tmp/few.csv

Written is `cnnvis_helpers/tables/dissection.csv`; `cnnvis_helpers.dissection.stored` reads it and says what its
columns are. Dissected are all layers of maps of "diorama/alexnet", of its steps and of the networks in ALL_LAYERS,
and the last layer of maps of every other network.

A folder of repeated trainings, where there is one, holds files RUN/diorama/NAME.safetensors: the same networks,
trained with other seeds or labels. They get the name RUN in the table's first column. Those of the table were made by

    train=data_scripts/train_models.py
    heart=diorama/alexnet-randomlabels
    for n in 1 2; do
        python $train diorama/alexnet diorama/alexnet-scenes $heart --seed $n --export --out "runs/others/seed $n"
        python $train $heart --set 'labels=""' --seed $n --export --out "runs/others/true labels, seed $n"
    done
    python $train $heart --set 'labels=""' --export --out "runs/others/true labels"

What stands in the table already is not done again: a run that was interrupted goes on, and networks that come later
are added. Delete the table after training networks again.
"""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from scipy.linalg import expm, logm
from torch import Tensor, nn
from tqdm import tqdm

from cnnvis_helpers import diorama, hooks, weight_files, zoo
from cnnvis_helpers.dissection import DETECTOR, Dissection, Labels, dissect, stored
from cnnvis_helpers.dissection.archive import BLOCK, SHARES, TABLE
from cnnvis_helpers.patches import directions

OTHERS = Path(__file__).parents[1] / "runs" / "others"
BASE = "diorama/alexnet"
SCENES, BY_HEART = f"{BASE}-scenes", f"{BASE}-randomlabels"
ALL_LAYERS = (BASE, SCENES, BY_HEART)
FOLLOWERS = (
    BASE,
    SCENES,
    f"{BASE}-robust",
)  # trained on from BASE, or its own steps: units keep their numbers
TURNED_LAYER = "relu5"
TURNS = (  # whole rotations, and shares of the first
    *(f"1.0 seed {seed}" for seed in range(5)),
    *(f"{share} seed 0" for share in (0.2, 0.4, 0.6, 0.8)),
)
OTHER_TURNS = TURNS[:3]  # of the other runs' BASE
CODES = ("relu6", "relu7")  # fully connected layers of BASE
NETWORKS = (
    BASE,
    *(f"diorama/alexnet-{fault}" for fault in ("nodecay", "highlr", "short", "grouped", "stride4")),
    *(f"diorama/alexnet-{variant}" for variant in ("unbiased", "biased", "robust")),
    *("photos/alexnet", "photos/alexnet-untrained", "photos/alexnet-robust", "photos/resnet"),
    *("diorama/vgg", "diorama/googlenet", "diorama/resnet", SCENES, BY_HEART),
)
VALUES = ("unit", "category", "concept", "iou", "chance", "lucky", "same")


@dataclass(frozen=True)
class Job:
    """A network of a run, or its TURNED_LAYER along directions."""

    run: str
    network: str
    turned: str = ""
    file: Path | None = None  # of the weights, where they are not the zoo's

    def load(self) -> zoo.Network:
        """The network."""
        if self.file is None:
            return zoo.load(self.network)
        base, _, step = self.network.partition("@")
        net = zoo.load(base, weights=False)
        if step == "0":  # the start of training, from the seed that the trained network's file names
            seed = weight_files.read_facts(self.file, base)["seed"]
            start = zoo.EMBEDDED[base].build(len(net.classes), seed=seed, **zoo.EMBEDDED[base].architecture)
            net.model.load_state_dict(start.state_dict())
        else:
            net.model.load_state_dict(weight_files.read(self.file, self.network)[0])
        return net


def shipped(networks: list[str]) -> list[Job]:
    """The jobs of the networks that come with the course, as far as they are there; BASE first."""
    jobs = []
    for name in networks:
        if not zoo.EMBEDDED[name].trained:
            jobs.append(Job("", name))
        elif (zoo.FOLDER / f"{name}.safetensors").exists():
            jobs.append(Job("", name))
            if name in (BASE, SCENES):
                jobs += [Job("", step) for step in zoo.checkpoints(name) if step not in (name, f"{SCENES}@0")]
            jobs += [Job("", name, turned) for turned in TURNS if name == BASE]
    return jobs


def repeated(folder: Path, networks: list[str]) -> list[Job]:
    """The jobs of the repeated trainings in `folder`; BASE first in every run."""
    jobs = []
    for run in sorted(path for path in folder.glob("*") if path.is_dir()):
        files = {p.relative_to(run).with_suffix("").as_posix(): p for p in run.glob("*/*.safetensors")}
        names = sorted(files, key=lambda name: (name != BASE, name))
        for name in names:
            base = name.partition("@")[0]
            waits = base in FOLLOWERS and BASE not in files
            if base not in networks or waits:
                continue
            jobs.append(Job(run.name, name, "", files[name]))
            if name == BASE:
                jobs.append(Job(run.name, f"{BASE}@0", "", files[name]))
                jobs += [Job(run.name, name, turned, files[name]) for turned in OTHER_TURNS]
    return jobs


def part_of_rotation(channels: int, seed: int, share: float) -> Tensor:
    """A random rotation, or only a `share` of its angles: (channels, channels) float32, rows orthonormal.

    Share 0 turns nothing, share 1 gives a rotation that is uniform over all of them.
    """
    whole = directions(channels, seed).double().numpy()
    if np.linalg.det(whole) < 0:  # a reflection has no half
        whole[0] = -whole[0]
    return torch.from_numpy(np.real(expm(share * logm(whole))).astype(np.float32))


def rows(found: Dissection, job: Job, before: np.ndarray | None = None) -> pd.DataFrame:
    """One layer's rows of the table; `before` holds the numbers of the concepts that the units have in BASE."""
    table, null = found.table(), found.tally.best_by_chance
    nothing = np.full(len(table), np.nan)
    own = nothing if before is None else found.iou[np.arange(len(table)), before]
    columns = {
        **dict(zip(BLOCK, (job.run, job.network, job.turned, found.layer), strict=True)),
        **{name: table[name] for name in ("unit", "category", "concept", "iou", "chance")},
        "lucky": (null > DETECTOR).sum(0) if len(null) else nothing,
        "same": own,
    }
    return pd.DataFrame(columns, columns=[*BLOCK, *VALUES])


def dissected(job: Job, test: diorama.Batch, labels: Labels, concepts: dict[str, np.ndarray]) -> pd.DataFrame:
    """All rows of a job; `concepts` are the numbers of the concepts that the units of the run's BASE have, by layer."""
    net = job.load()
    x = net.prepare(test.images)
    shuffles = 20 if job.network == BASE else 0
    if job.turned:
        share, seed = job.turned.split(" seed ")
        channels = hooks.activations(net.model, x[:1], [TURNED_LAYER])[TURNED_LAYER].shape[1]
        basis = part_of_rotation(channels, int(seed), float(share))
        found = dissect(net.model, x, labels, TURNED_LAYER, basis=basis, shuffles=shuffles)
        return rows(found[TURNED_LAYER], job)
    maps = hooks.rectified_maps(net.model, x[:1])
    layers = [layer for layer in maps if not isinstance(hooks.find(net.model, layer), nn.MaxPool2d)]
    base = job.network.partition("@")[0]
    if base not in ALL_LAYERS:
        layers = layers[-1:]
    codes = list(CODES) if job.network == BASE and not job.run else []
    found = dissect(net.model, x, labels, layers + codes, shuffles=shuffles)
    follows = base in FOLLOWERS and job.network != BASE
    parts = [rows(one, job, concepts[layer] if follows else None) for layer, one in found.items()]
    return pd.concat(parts, ignore_index=True)


def main(arguments: list[str] | None = None) -> None:
    """The command line; `arguments` stand in for it in tests."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--images", type=int, default=None, help="only the first test images")
    parser.add_argument("--networks", nargs="+", default=NETWORKS, choices=NETWORKS, metavar="NAME")
    parser.add_argument("--others", type=Path, default=OTHERS, metavar="FOLDER", help="repeated trainings")
    parser.add_argument("--out", type=Path, default=TABLE)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args(arguments)
    torch.set_num_threads(args.threads)
    test = diorama.load("test", args.images)
    labels = Labels(test.maps or {}, {c: diorama.names(c) for c in diorama.CATEGORIES})
    args.out.parent.mkdir(parents=True, exist_ok=True)
    done = stored(args.out) if args.out.exists() else pd.DataFrame(columns=[*BLOCK, *VALUES])
    finished = set(zip(done.run, done.network, done.turned, strict=True))
    jobs = shipped(list(args.networks)) + repeated(args.others, list(args.networks))
    for job in tqdm([job for job in jobs if (job.run, job.network, job.turned) not in finished]):
        found = dissected(job, test, labels, _concepts(done, job.run, labels))
        done = pd.concat([done, found], ignore_index=True) if len(done) else found
        write(done, args.out)


def write(table: pd.DataFrame, path: Path) -> None:
    """Write the rows as `stored` reads them, all or nothing: runs in order, a layer's own cells in its first row."""
    order = table.sort_values(["run", "network", "turned"], kind="stable").reset_index(drop=True)
    block = order[list(BLOCK)]
    again = (block == block.shift()).all(axis=1)
    order[list(BLOCK)] = block.replace("", "-").mask(again, "")
    for name in SHARES:
        order[name] = (order[name].astype(float) * 10_000).round().astype("Int64")
    order["lucky"] = order["lucky"].astype("Int64")
    temporary = path.with_suffix(f".{os.getpid()}")
    order.to_csv(temporary, index=False)
    os.replace(temporary, path)


def _concepts(done: pd.DataFrame, run: str, labels: Labels) -> dict[str, np.ndarray]:
    """Of each layer of a run's BASE, the numbers of the concepts of its units."""
    base = done[(done.run == run) & (done.network == BASE) & (done.turned == "")]
    return {
        str(layer): np.array([
            labels.number(row.concept, row.category) if isinstance(row.concept, str) else 0
            for row in group.itertuples()
        ])
        for layer, group in base.groupby("layer")
    }  # fmt: skip


if __name__ == "__main__":
    main()
