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
    low, high, weight = _between(maps, axis, field, extent)
    weight = weight.reshape(-1, *[1] * (-1 - axis))
    return _mixed(maps.index_select(axis, low), maps.index_select(axis, high), weight)


def _between(maps: Tensor, axis: int, field: ReceptiveField, extent: int) -> tuple[Tensor, Tensor, Tensor]:
    """Of each pixel along an axis: the units before and after it, and the weight of the one after, below 1."""
    count = maps.shape[axis]
    if count > 1 and not field.stride[axis]:
        raise ValueError(
            "Each of these units sees the whole image, so its map has no place there: choose an earlier layer."
        )
    first = field.start[axis] + (field.size[axis] - 1) / 2
    at = (torch.arange(extent, dtype=torch.float64) - first) / max(1, field.stride[axis])
    at = at.clamp(0, count - 1)
    low = at.long()
    high = (low + 1).clamp(max=count - 1)
    return low.to(maps.device), high.to(maps.device), (at - low).to(maps)


def _mixed(one: Tensor, two: Tensor, weight: Tensor) -> Tensor:
    """Weighted means, in the memory of `two`, never beyond the two values."""
    # Separate operations, not torch.lerp, which rounds differently with the length.
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
        (unit, image, row, length), inside = self._masks(a)
        _, across = self.field.image or (0, 0)
        first = (row - np.arange(len(row))) * across  # `inside` counts on from line to line
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
            met = torch.from_numpy(numbers[member].ravel()).bincount(minlength=len(columns))
            concepts += _count(met.numpy(), columns, k)[0]
            chosen = group_of[image] == group
            u, i = unit[chosen], positions[image[chosen]] - start
            area = np.bincount(u * (end - start) + i, length[chosen], c * (end - start)).reshape(c, -1)
            # Exchange s gives image i the label maps of i + shift: one step of `shift` images in the maps laid twice.
            width, kind = numbers.shape[1], np.int32 if c * len(columns) < 2**31 else np.int64
            twice = np.concatenate([numbers, numbers], dtype=kind).ravel()
            place = np.repeat(i * width + first[chosen], length[chosen])
            place += inside if chosen.all() else inside[np.repeat(chosen, length)]
            # From here on in torch, which counts 32 bits twice as fast as NumPy.
            cells_of_unit = torch.from_numpy(np.repeat((u * len(columns)).astype(kind), length[chosen]))
            for s, shift in enumerate(self._shifts[group]):
                cells = torch.from_numpy(twice[shift * width :].take(place)).add_(cells_of_unit)
                found = cells.bincount(minlength=c * len(columns)).numpy()
                both[s] += _count(found, columns, k).ravel()
                masks[:, s] += (area @ np.roll(present, -shift, 0)).astype(np.int64)
        return {
            "both": torch.from_numpy(both.reshape(-1, c, k + 1)[:, :, :k].swapaxes(0, 1).copy()),
            "masks": torch.from_numpy(masks),
            "concepts": torch.from_numpy(concepts[:k]).expand(c, -1),
        }

    def _masks(self, a: Tensor) -> tuple[np.ndarray, np.ndarray]:
        """The masks by lines of pixels: unit, image, row and number of pixels inside of each, (4, lines); and which
        pixels are inside, counted through all these lines."""
        height, width = self.field.image or (0, 0)
        (n, c, h, _), t = a.shape, self.thresholds.to(a.device)
        low, high, weight = _between(a, -2, self.field, height)
        # Interpolated values exceed a threshold only beside a value that does: most maps, and lines, can be left out.
        rows = a.flatten(0, 2)
        above = (a.amax(3) > t[:, None]).reshape(n * c, h)
        lines, inside, count = [torch.zeros(4, 0, dtype=torch.long)], [np.zeros(0, np.int64)], 0
        for maps in above.any(1).nonzero().squeeze(1).split(max(1, _PIXELS // (height * width))):
            some = above[maps]
            which, row = (some[:, low] | some[:, high]).nonzero(as_tuple=True)
            which = maps[which]
            one, two = (rows.index_select(0, which * h + at[row]) for at in (low, high))
            narrow = _mixed(one, two, weight[row, None])
            some = (narrow.amax(1) > t[which % c]).nonzero().squeeze(1)
            which, row = which[some], row[some]
            mask = _stretch(narrow[some], -1, self.field, width) > t[which % c, None]
            length = mask.float().sum(1).long()  # many times faster than adding truth values
            lines.append(torch.stack([which % c, which // c, row, length]).cpu())
            inside.append(np.flatnonzero(mask.cpu().numpy()) + count * width)
            count += len(mask)
        return torch.cat(lines, 1).numpy(), np.concatenate(inside)

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
    counts = torch.zeros(max(1, len(found) // len(columns)) * (k + 1), dtype=torch.long)
    added = torch.from_numpy(np.repeat(found[at], columns.shape[1]))
    return counts.scatter_add_(0, torch.from_numpy(cells.ravel()), added).numpy().reshape(-1, k + 1)
