"""How much the masks of units and the concepts of pixels have in common, counted exactly.

- `Tally`: the statistic of a survey that counts
- `upsample`: maps as large as the image, each value at the centre of its unit's receptive field

    tally = Tally("relu5", labels, thresholds, field)      # thresholds (C,), field from receptive_field
    tally.update(activations, positions)
    tally.iou                                              # (C, concepts)
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from cnnvis_helpers import weight_files
from cnnvis_helpers.dissection.labels import Labels
from cnnvis_helpers.receptive_field import ReceptiveField
from cnnvis_helpers.survey.statistics import State, Statistic

_GROUP = 64  # so many images exchange their label maps among themselves
_PIXELS = 2**23  # of masks at a time: bounds the memory


def upsample(maps: Tensor, field: ReceptiveField, size: tuple[int, int]) -> Tensor:
    """Maps (…, h, w) at every pixel, (…, H, W): bilinear between the centres of the units' receptive fields.

    Pixels outside all centres take the value of the nearest; a map of one position is the same everywhere.

    Raises: ValueError where every unit sees the whole image but there are several: they have no centres of their own.
    """
    return _stretch(_stretch(maps, -2, field, size[0]), -1, field, size[1])


def _stretch(maps: Tensor, axis: int, field: ReceptiveField, extent: int) -> Tensor:
    count = maps.shape[axis]
    if count == 1:
        return maps.repeat_interleave(extent, axis)
    if not field.stride[axis]:
        raise ValueError(
            "Each of these units sees the whole image, so its map has no place there: choose an earlier layer."
        )
    first = field.start[axis] + (field.size[axis] - 1) / 2
    at = ((torch.arange(extent, dtype=torch.float64) - first) / field.stride[axis]).clamp(0, count - 1)
    low = at.long()
    weight = (at - low).to(maps).reshape(-1, *[1] * (-1 - axis))
    one, two = (maps.index_select(axis, i.clamp(max=count - 1).to(maps.device)) for i in (low, low + 1))
    # Separate operations, not torch.lerp, which rounds differently with the length. Never beyond the two values: their
    # weight is below 1, and 0 at the last centre.
    return two.sub_(one).mul_(weight).add_(one)


class Tally(Statistic):
    """Pixels in masks, in concepts and in both, for each channel; and the same with label maps of other images.

    A channel's mask is where its upsampled activation exceeds its threshold. For each concept only images count that
    carry some label of its category. Images come in a random order: position p of the survey, which runs over
    `Subset(data, tally.order)`, is image `order[p]`. Groups of 64 or more neighbours in it exchange label maps
    `shuffles` times, each image getting those of another; a group's label maps are held in memory.

    Args:
        labels: of all images, of the size that `field.image` names.
        thresholds: of the channels, (C,).
        field: of the layer; made with `input_size`.
        shuffles: how many times label maps are exchanged, 0 or more and less than there are images.
        seed: of the order and the exchanges.
    """

    def __init__(
        self,
        layer: str,
        labels: Labels,
        thresholds: Tensor,
        field: ReceptiveField,
        *,
        shuffles: int = 20,
        seed: int = 0,
    ) -> None:
        n, rng = len(labels), np.random.default_rng(seed)
        if not 0 <= shuffles < n:
            raise ValueError(
                f"shuffles is 0 or more and less than the number of images, {n}, not {shuffles}."
            )
        if field.image is None:
            raise ValueError("The field needs the image's size: receptive_field(..., input_size=(H, W)).")
        ends = {str(i): labels.read(i) for i in (0, n - 1)}
        if ends["0"].shape[1:] != field.image:
            raise ValueError(
                f"The label maps are {ends['0'].shape[1:]}, the images {field.image}: they must agree."
            )
        self.labels, self.thresholds, self.field = labels, thresholds.detach().float().cpu().clone(), field
        self.order = rng.permutation(n).tolist()
        size = max(_GROUP, shuffles + 1)
        self._starts = [*range(0, n - size + 1, size)] or [0]
        self._ends = [*self._starts[1:], n]
        # Of each group, by how many places the label maps move on: first by none, which is the truth.
        self._shifts = [
            [0, *(1 + rng.permutation(end - start - 1)[:shuffles])]
            for start, end in zip(self._starts, self._ends, strict=True)
        ]
        found = {"thresholds": self.thresholds, **{i: torch.from_numpy(one) for i, one in ends.items()}}
        super().__init__(
            layer,
            concepts=labels.concepts,
            images=n,
            shuffles=shuffles,
            seed=seed,
            field=repr(field),
            mark=weight_files.fingerprint(found),
        )

    def exchange(self, which: int) -> np.ndarray:
        """Whose label maps each image gets in exchange 1 to `shuffles`, (images,) int64; exchange 0 is the truth."""
        order, whose = np.array(self.order), np.empty(len(self.order), np.int64)
        for start, end, shifts in zip(self._starts, self._ends, self._shifts, strict=True):
            whose[order[start:end]] = np.roll(order[start:end], -shifts[which])
        return whose

    def _measure(self, a: Tensor, indices: Tensor) -> State:
        c, k = a.shape[1], len(self.labels.concepts)
        if c != len(self.thresholds):
            raise ValueError(
                f"Layer {self.layer!r} has {c} channels, there are {len(self.thresholds)} thresholds."
            )
        (unit, image, row, length), column_of = self._masks(a)
        _, across = self.field.image or (0, 0)
        shuffles = self.settings["shuffles"]
        both = np.zeros((1 + shuffles, c * (k + 1)), np.int64)
        masks = np.zeros((c, 1 + shuffles, len(self.labels.categories)), np.int64)
        concepts = np.zeros(k + 1, np.int64)
        positions = indices.cpu().numpy()
        group_of = np.searchsorted(self._starts, positions, side="right") - 1
        groups = np.unique(group_of)
        for group in groups:
            start, end = self._starts[group], self._ends[group]
            numbers, meaning, carries = self.labels.combined(tuple(self.order[start:end]))
            columns = np.where(meaning < 0, k, meaning)  # the last column takes what has no label
            present = carries.astype(np.float64)  # these products are fast, and exact up to 2**53 pixels
            mine = np.flatnonzero(group_of == group)
            member = positions[mine] - start
            concepts += _count(np.bincount(numbers[member].ravel(), minlength=len(columns)), columns, k)[0]
            chosen = group_of[image] == group
            u, i = unit[chosen], positions[image[chosen]] - start
            area = np.bincount(u * (end - start) + i, length[chosen], c * (end - start)).reshape(c, -1)
            # Exchange s gives image i the label maps of i + shift: one step of `shift` images in the maps laid twice.
            twice = np.concatenate([numbers, numbers]).ravel()
            width, kind = numbers.shape[1], np.int32 if c * len(columns) < 2**31 else np.int64
            column = column_of if chosen.all() else column_of[np.repeat(chosen, length)]
            place = np.repeat(i * width + row[chosen] * across, length[chosen])
            place += column
            cells_of_unit = np.repeat((u * len(columns)).astype(kind), length[chosen])
            for s, shift in enumerate(self._shifts[group]):
                met = twice[shift * width :].take(place)
                cells = torch.from_numpy(cells_of_unit + met)  # torch counts 32 bits twice as fast as NumPy
                found = torch.bincount(cells, minlength=c * len(columns)).numpy()
                both[s] += _count(found, columns, k).ravel()
                masks[:, s] += (area @ np.roll(present, -shift, 0)).astype(np.int64)
        return {
            "both": torch.from_numpy(both.reshape(-1, c, k + 1)[:, :, :k].swapaxes(0, 1).copy()),
            "masks": torch.from_numpy(masks),
            "concepts": torch.from_numpy(concepts[:k]).expand(c, -1),
        }

    def _masks(self, a: Tensor) -> tuple[np.ndarray, np.ndarray]:
        """The masks by lines: unit, image, row and number of pixels of each, (4, lines); all pixels' columns."""
        height, width = self.field.image or (0, 0)
        t = self.thresholds.to(a.device)
        # Interpolated values exceed a threshold only beside a value that does: most maps, and lines, can be left out.
        pairs = (a.flatten(2).amax(2) > t).nonzero()  # (pairs, 2): image, unit
        lines, columns = [torch.zeros(4, 0, dtype=torch.long)], [torch.zeros(0, dtype=torch.long)]
        for image, unit in (part.T for part in pairs.split(max(1, _PIXELS // (height * width)))):
            tall = _stretch(a[image, unit], -2, self.field, height)
            pair, row = (tall.amax(2) > t[unit, None]).nonzero(as_tuple=True)
            inside = _stretch(tall[pair, row], -1, self.field, width) > t[unit[pair], None]
            line, column = inside.nonzero(as_tuple=True)
            length = line.bincount(minlength=len(inside))
            lines.append(torch.stack([unit[pair], image[pair], row, length]).cpu())
            columns.append(column.cpu())
        return torch.cat(lines, 1).numpy(), torch.cat(columns).numpy()

    def _join(self, one: State, two: State) -> State:
        return {name: one[name] + two[name] for name in one if name != "seen"}

    @property
    def iou(self) -> np.ndarray:
        """Intersection over union of each channel and concept, (C, concepts) float64; 0 where the union is empty."""
        return self._iou(0)

    @property
    def best_by_chance(self) -> np.ndarray:
        """Of each exchange of label maps and each channel: the best IoU over concepts, (shuffles, C) float64."""
        rounds = [self._iou(s).max(1) for s in range(1, 1 + self.settings["shuffles"])]
        return np.array(rounds).reshape(-1, len(self.thresholds))

    @property
    def pixels(self) -> np.ndarray:
        """How many pixels each concept has, (concepts,) int64."""
        return self._get("concepts")[0].numpy()

    def _iou(self, s: int) -> np.ndarray:
        both = self._get("both")[:, s].numpy()
        union = self._get("masks")[:, s].numpy()[:, self.labels.category_of] + self.pixels - both
        return both / np.maximum(union, 1)


def _count(found: np.ndarray, columns: np.ndarray, k: int) -> np.ndarray:
    """From counts of (unit, number) to counts of (unit, concept): (units, k + 1) int64, the last for no label.

    `columns` (numbers, categories): what each number stands for, k for no label.
    """
    at = np.flatnonzero(found > 0)  # few: a unit meets few of the numbers
    unit, number = np.divmod(at, len(columns))
    cells = columns.take(number, 0)
    cells += unit[:, None] * (k + 1)
    units = max(1, len(found) // len(columns))
    counts = np.repeat(found[at], columns.shape[1])
    return np.bincount(cells.ravel(), counts, units * (k + 1)).astype(np.int64).reshape(units, -1)
