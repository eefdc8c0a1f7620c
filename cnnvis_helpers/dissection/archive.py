"""The course's networks, dissected once over all test images.

- `stored`: one row for each unit of each network, or of a layer of it
- `TABLE`: the file, written by `data_scripts/dissect_networks.py`

    table = stored()
    table[(table.network == "diorama/alexnet") & (table.layer == "relu5") & (table.turned == "") & (table.run == "")]
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

TABLE = Path(__file__).parents[1] / "tables" / "dissection.csv"
BLOCK = ("run", "network", "turned", "layer")  # written once for all units of a layer
SHARES = ("iou", "chance", "same")  # written as whole numbers, in units of 0.0001


def stored(path: Path = TABLE) -> pd.DataFrame:
    """The dissections of the course's networks over the 2,000 test images: one row for each unit.

    run        "" for the networks that come with the course; else the name of a repetition of the training, such as
               "seed 1", whose networks are not shipped
    network    a name of `zoo.load`; "diorama/alexnet@50" is the network after 50 steps of training
    turned     "" for units; for directions in place of units the share of the rotation and its seed: "1.0 seed 0"
    layer, unit
    category, concept    of the largest IoU; missing where no mask meets any label
    iou        the largest IoU
    chance     the mean, over 20 exchanges of the label maps, of the largest IoU
    lucky      in how many of the 20 exchanges the largest IoU is above `DETECTOR`
    same       the IoU with the concept that the same unit has in the run's "diorama/alexnet"

    `chance` and `lucky` are there for "diorama/alexnet" alone, `same` for the steps of its training and for what was
    trained on from it; NaN elsewhere.
    """
    table = pd.read_csv(path, keep_default_na=False, na_values={name: [""] for name in (*SHARES, "lucky")})
    table[list(BLOCK)] = table[list(BLOCK)].replace("", None).ffill().replace("-", "")
    table[["category", "concept"]] = table[["category", "concept"]].replace("", None)
    return table.assign(**{name: table[name] / 10_000 for name in SHARES})
