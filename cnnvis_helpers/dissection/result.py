"""What a dissection finds in a layer.

- `Dissection`: thresholds, IoU, tables, best units, masks
- `DETECTOR`: the IoU above which Bau et al. call a unit a detector

    found.table()                        # one row a unit: layer, unit, concept, category, iou, chance, p
    found.counts()                       # detectors by category
    found.masks(model, x, [3])           # (N, 1, H, W) bool
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from torch import Tensor, nn

from cnnvis_helpers import hooks
from cnnvis_helpers.dissection.tally import Tally, upsample
from cnnvis_helpers.dissection.turned import Turned

DETECTOR = 0.04  # IoU above which Bau et al. call a unit a detector


@dataclass(frozen=True)
class Dissection:
    """The units of one layer, the concepts of a data set, and how well each goes with each."""

    layer: str
    tally: Tally
    basis: Tensor | None = None  # (D, C): the units are these directions

    @property
    def thresholds(self) -> Tensor:
        """T of each unit, (C,) float32."""
        return self.tally.thresholds

    @property
    def iou(self) -> np.ndarray:
        """IoU of each unit and concept, (C, concepts) float64."""
        return self.tally.iou

    def table(self) -> pd.DataFrame:
        """One row a unit: layer, unit, concept, category, iou, chance, p.

        The concept is the one of the largest IoU, missing (and the IoU 0) where no mask meets any. chance is the mean,
        over exchanges of label maps, of the largest IoU over concepts. p is the share of exchanges, the true labels
        counted in, whose largest IoU is as large as the true one: the choice of the best concept is paid for, that
        among units is not. With 20 exchanges it is 1/21 or more. Both are NaN without exchanges. Exchanged labels keep
        what is true of every image, such as sky above; chance is what a unit has that goes by place alone.
        """
        iou, null = self.iou, self.tally.best_by_chance
        best, top = iou.argmax(1), iou.max(1)
        names = [
            self.tally.labels.concepts[k] if v > 0 else (None, None) for k, v in zip(best, top, strict=True)
        ]
        return pd.DataFrame(
            {
                "layer": self.layer,
                "unit": np.arange(len(iou)),
                "concept": [name for _, name in names],
                "category": [category for category, _ in names],
                "iou": top,
                "chance": null.mean(0) if len(null) else np.nan,
                "p": (1 + (null >= top).sum(0)) / (1 + len(null)) if len(null) else np.nan,
            }
        )

    def detectors(self, above: float = DETECTOR) -> pd.DataFrame:
        """The rows of `table` with an IoU above `above`, best first."""
        table = self.table()
        return table[table.iou > above].sort_values("iou", ascending=False, kind="stable")

    def counts(self, above: float = DETECTOR) -> pd.DataFrame:
        """By category: how many units are detectors, of how many different `concepts`, and how many would be
        detectors by `chance` (the mean over exchanges, of all categories, stands in the row "all")."""
        found, categories = self.detectors(above), list(self.tally.labels.categories)
        by = found.groupby("category").concept.agg(detectors="size", concepts="nunique")
        counts = by.reindex(categories, fill_value=0)
        counts.loc["all"] = counts.sum()
        null = self.tally.best_by_chance
        counts["chance"] = np.nan
        if len(null):
            counts.loc["all", "chance"] = (null > above).sum(1).mean()
        return counts

    def best_units(self, concept: str, category: str | None = None, k: int = 10) -> pd.DataFrame:
        """The k units that go best with a concept: unit, iou; best first, those without a common pixel left out.

        Raises: ValueError for an unknown concept, one of several categories, and one that no pixel has.
        """
        number = self.tally.labels.number(concept, category)
        if not self.tally.pixels[number]:
            raise ValueError(
                f"No pixel of these images is labelled {concept!r}: nothing can be said about it."
            )
        iou = self.iou[:, number]
        order = np.argsort(-iou, kind="stable")[:k]
        found = pd.DataFrame({"unit": order, "iou": iou[order]})
        return found[found.iou > 0]

    def masks(self, model: nn.Module, x: Tensor, units: Sequence[int] | None = None) -> Tensor:
        """The masks of units on normalised images x (N, 3, H, W), of any data: (N, units, H, W) bool.

        Raises: ValueError for images of another size than the data's, and for units that the layer does not have.
        """
        if x.ndim != 4 or x.shape[2:] != self.tally.field.image:
            raise ValueError(f"The images are (N, 3, *{self.tally.field.image}), not {tuple(x.shape)}.")
        count = len(self.thresholds)
        chosen = list(range(count)) if units is None else list(units)
        if not chosen or min(chosen) < 0 or max(chosen) >= count:
            raise ValueError(f"Units are one or more of 0 to {count - 1}, not {chosen}.")
        run = model if self.basis is None else Turned(model, self.layer, self.basis)
        a = hooks.activations(run, x, self.tally.layer)[self.tally.layer].float()
        a = a.reshape(*a.shape, 1, 1) if a.ndim == 2 else a
        above = upsample(a[:, chosen], self.tally.field, (x.shape[2], x.shape[3]))
        return above > self.thresholds[chosen, None, None].to(above)
