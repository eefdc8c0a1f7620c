"""Do features know parts? A keypoint of one image is looked for in another image of the same class.

keypoint_task(labels, keypoints, boxes)  pairs of images of a class, and what is to be found in them
Task                                     what it returns
of_layer(model, layer)                   features of a layer, at the centres of its receptive fields
of_patches(side), of_daisy(radius)       features without a network: pixels, and histograms of gradients
Features                                 what these functions give for images
likeness(extract, pair, points)          how like each place of the second image is to points of the first
locate(extract, x, task)                 the place most like each keypoint, over all pairs
at_same_place(task)                      the same place in the other object's box: knows no features
right(task, found), chance(task, size)   which keypoints were found; how probable that is for a random place
pck(task, right)                         percentage of correct keypoints, with its interval

    task = keypoint_task(test.labels, test.keypoints, test.attributes["box"], test.instance)
    found = locate(of_layer(net.model, "relu4"), net.prepare(test.images), task)
    mean, low, high = pck(task, right(task, found))

Points are (x, y) in pixels from the image's upper left corner: the middle of the first pixel is (0.5, 0.5).

Source: Long, Zhang, Darrell, *Do convnets learn correspondence?*, NeurIPS 2014. They align images with smooth flows and
train a classifier for each keypoint; here is the bare question beneath, the nearest neighbour, with nothing trained.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from skimage.feature import daisy
from torch import Tensor, nn
from torch.nn import functional
from tqdm.auto import trange

from cnnvis_helpers import hooks
from cnnvis_helpers.receptive_field import receptive_field
from cnnvis_helpers.sanity import Interval, bootstrap


class Features(NamedTuple):
    """Vectors on a regular grid over each image."""

    values: Tensor  # (N, C, h, w) float32
    first: tuple[float, float]  # (y, x) of the grid's first point
    stride: tuple[float, float]  # (down, across), in pixels


Extract = Callable[[Tensor], Features]  # images (N, 3, H, W) → features


@dataclass(frozen=True)
class Task:
    """P pairs of images and the K keypoints of their first images that their second images show too."""

    pairs: Tensor  # (P, 2) numbers of images
    pair: Tensor  # (K,) position in `pairs`, ascending
    names: tuple[str, ...]  # K
    source: Tensor  # (K, 2) the keypoint in the first image
    targets: Tensor  # (K, T, 2) the points of that name in the second image; NaN where there are fewer than T
    boxes: Tensor  # (P, 2, 4) x0, y0, x1, y1 of the object in both images
    radius: Tensor  # (K,) a point nearer than this to one of the targets is right


def keypoint_task(
    labels: Tensor,
    keypoints: Sequence[Mapping[str, Sequence[tuple[float, float]]]],
    boxes: Any,
    masks: Any = None,
    *,
    alpha: float = 0.1,
    hidden: float = 2.0,
) -> Task:
    """Pair the images of each class, first with second, third with fourth, …, and collect the keypoints that both show.

    Each image is in one pair, so that pairs are independent. Of a name that an object has twice (wheel) each is looked
    for, and either counts as found. Pairs without a common keypoint are left out.

    Args:
        labels: (N,). keypoints: for each image name → points. boxes: (N, 4), x0, y0, x1, y1 of the object seen.
        masks: bool (N, H, W), the object's pixels: keypoints farther than `hidden` pixels from it are hidden by
            something and left out. None keeps all that lie in their box, give or take `hidden` pixels.
        alpha: radius as a share of the longer side of the box in the second image; 0.1 is Long et al.'s.

    Raises: ValueError for unlike lengths, alpha not above 0, and where no pair has a common keypoint.
    """
    table = torch.as_tensor(boxes).float()
    count = len(labels)
    if table.shape != (count, 4) or len(keypoints) != count or (masks is not None and len(masks) != count):
        raise ValueError(f"{count} labels need {count} sets of keypoints, boxes (N, 4) and masks.")
    if not alpha > 0:
        raise ValueError(f"alpha is a share of the box, above 0, not {alpha}.")
    shown = [
        _shown(keypoints[i], table[i], None if masks is None else torch.as_tensor(masks[i]), hidden)
        for i in range(count)
    ]
    pairs: list[tuple[int, int]] = []
    wanted: list[tuple[int, str, tuple[float, float], Tensor]] = []  # pair, name, source, targets
    for label in labels.unique().tolist():
        members = (labels == label).nonzero().flatten().tolist()
        for a, b in zip(members[::2], members[1::2], strict=False):
            common = [name for name in shown[a] if name in shown[b]]
            for name in common:
                there = torch.tensor(shown[b][name])
                wanted += [(len(pairs), name, point, there) for point in shown[a][name]]
            pairs += [(a, b)] if common else []
    if not pairs:
        raise ValueError("No two images of a class show a keypoint of the same name.")
    pair, names, source, targets = zip(*wanted, strict=True)
    padded = torch.nn.utils.rnn.pad_sequence(list(targets), batch_first=True, padding_value=math.nan)
    numbers, of_pair = torch.tensor(pairs), torch.tensor(pair)
    both = table[numbers]
    longer = (both[:, 1, 2:] - both[:, 1, :2]).amax(1)
    return Task(numbers, of_pair, names, torch.tensor(source), padded, both, alpha * longer[of_pair])


def _shown(
    keypoints: Mapping[str, Sequence[tuple[float, float]]], box: Tensor, mask: Tensor | None, hidden: float
) -> dict[str, list[tuple[float, float]]]:
    """The keypoints on, or within `hidden` pixels of, the object as it is seen (without a mask: its box)."""
    if mask is not None:
        ys, xs = mask.nonzero(as_tuple=True)
        seen = torch.stack([xs, ys], 1) + 0.5

    def near(point: tuple[float, float]) -> bool:
        at = torch.tensor(point)
        if mask is None:
            return bool(((at >= box[:2] - hidden) & (at <= box[2:] + hidden)).all())
        return len(seen) > 0 and bool((seen - at).norm(dim=1).min() <= hidden)

    kept = {name: [point for point in points if near(point)] for name, points in keypoints.items()}
    return {name: points for name, points in kept.items() if points}


# ---- features ----


def of_layer(model: nn.Module, layer: str) -> Extract:
    """The outputs of a layer, anchored at the centres of its receptive fields; for normalised images.

    Raises: hooks.LayerError for an unknown layer. The function that is returned raises ValueError for a layer that
    gives no map, whose units see the whole image, or whose receptive fields are not known.
    """
    hooks.find(model, layer)

    def extract(x: Tensor) -> Features:
        values = hooks.activations(model, x, layer)[layer].float()
        if values.ndim != 4:
            raise ValueError(f"Layer {layer!r} gives {tuple(values.shape)}: no place in the image is left.")
        field = receptive_field(model, layer, input_size=(x.shape[2], x.shape[3]))
        if field.whole:
            raise ValueError(f"The units of layer {layer!r} see the whole image: they stand at no place.")
        down, across = field.centre()
        return Features(values, (down + 0.5, across + 0.5), field.stride)

    return extract


def of_patches(side: int = 9, step: int = 2) -> Extract:
    """The pixels of a square around each place, 3 · side² numbers: the first baseline. Borders are repeated.

    Raises: ValueError for an even side (it has no middle), or a step below 1.
    """
    if side < 1 or side % 2 == 0 or step < 1:
        raise ValueError(f"side is odd and step at least 1, not {side} and {step}.")

    def extract(x: Tensor) -> Features:
        wide = functional.pad(x.float(), [side // 2] * 4, mode="replicate")
        columns = functional.unfold(wide, side, stride=step)
        rows, across = (-(-n // step) for n in x.shape[2:])
        return Features(columns.unflatten(2, (rows, across)), (0.5, 0.5), (float(step), float(step)))

    return extract


def of_daisy(radius: int = 8, step: int = 2) -> Extract:
    """Histograms of gradient directions around each place: scikit-image's DAISY of the grey image, 136 numbers.

    2 rings of 8 histograms of 8 directions, within `radius` pixels. Borders are repeated.
    Source: Tola, Lepetit, Fua, *DAISY*, PAMI 2010; like SIFT and HOG, but dense.
    """
    if radius < 2 or step < 1:
        raise ValueError(f"radius is at least 2 and step at least 1, not {radius} and {step}.")

    def extract(x: Tensor) -> Features:
        grey = np.pad(x.float().mean(1).numpy(force=True), ((0, 0), (radius,) * 2, (radius,) * 2), "edge")
        found = np.stack([daisy(g, step=step, radius=radius, rings=2) for g in grey]).astype(np.float32)
        values = torch.from_numpy(found).permute(0, 3, 1, 2)
        return Features(values, (0.5, 0.5), (float(step), float(step)))

    return extract


# ---- matching ----


def likeness(extract: Extract, pair: Tensor, points: Tensor, step: int = 2) -> Tensor:
    """How like each place of the second image is to points of the first: cosines (K, rows, columns) in [-1, 1].

    Places are every `step` pixels, from the middle of the first one. Between a layer's units its features are
    interpolated bilinearly; beyond the outermost they are repeated. A vector of zeros is like nothing: 0.

    Args: pair: (2, 3, H, W). points: (K, 2), x and y in the first image.
    Raises: ValueError for wrong shapes, NaN, a step below 1, and what `extract` raises.
    """
    if pair.ndim != 4 or len(pair) != 2 or points.ndim != 2 or points.shape[1] != 2:
        raise ValueError(
            f"A pair is (2, 3, H, W) and points (K, 2), not {tuple(pair.shape)}, {tuple(points.shape)}."
        )
    places, shape = _places(pair, step)
    return _cosines(_checked(extract(pair)), 0, 1, points, places).unflatten(1, shape)


def locate(
    extract: Extract,
    x: Tensor,
    task: Task,
    *,
    step: int = 2,
    where: Literal["image", "box"] = "image",
    batch: int = 8,
    progress: bool = False,
) -> Tensor:
    """The place in the second image that is most like each keypoint by cosine: (K, 2), x and y; see `likeness`.

    Args:
        x: (N, 3, H, W), the images that the task was made from; normalised for `of_layer`.
        where: look in the whole image, or only in the object's box, when finding the object is not the question.
        batch: so many pairs at once.

    Of equal places the first in reading order is taken.
    Raises: ValueError for images that are too few or hold NaN, a box without a place, and what `extract` raises.
    """
    if where not in ("image", "box"):
        raise ValueError(f"where is 'image' or 'box', not {where!r}.")
    if x.ndim != 4 or len(x) <= int(task.pairs.max()) or batch < 1:
        raise ValueError(
            f"The task needs {int(task.pairs.max()) + 1} images (N, 3, H, W), not {tuple(x.shape)}."
        )
    places, _ = _places(x, step)
    found = torch.empty(len(task.source), 2)
    for start in trange(0, len(task.pairs), batch, disable=not progress, unit="batch"):
        numbers = task.pairs[start : start + batch]
        features = _checked(extract(x[numbers.flatten().to(x.device)]))
        for k in range(len(numbers)):
            mine = (task.pair == start + k).nonzero().flatten()
            cosines = _cosines(features, 2 * k, 2 * k + 1, task.source[mine], places)
            if where == "box":
                cosines[:, ~_in_boxes(places, task.boxes[start + k, 1])] = -math.inf
            found[mine] = places[cosines.argmax(1)]
    return found


def _places(x: Tensor, step: int) -> tuple[Tensor, tuple[int, int]]:
    if step < 1 or not bool(x.isfinite().all()):
        raise ValueError(f"Images are finite and the step is at least 1, here {step}.")
    ys, xs = (torch.arange(0, n, step) + 0.5 for n in x.shape[2:])
    return torch.cartesian_prod(ys, xs).flip(1), (len(ys), len(xs))


def _in_boxes(places: Tensor, box: Tensor) -> Tensor:
    inside = ((places >= box[:2]) & (places <= box[2:])).all(1)
    if not inside.any():
        raise ValueError(f"The box {box.tolist()} holds no place: take a smaller step.")
    return inside


def _checked(features: Features) -> Features:
    if not features.values.isfinite().all():
        raise ValueError("The features hold NaN or infinite values: look at the weights.")
    return features


def _cosines(features: Features, a: int, b: int, points: Tensor, places: Tensor) -> Tensor:
    return _sampled(features, a, points) @ _sampled(features, b, places).T


def _sampled(features: Features, image: int, points: Tensor) -> Tensor:
    """Unit vectors (K, C) at points (K, 2) of one image, on the CPU."""
    values = features.values[image : image + 1].cpu()
    size = torch.tensor(values.shape[:1:-1]) - 1  # (w - 1, h - 1)
    unit = (points - torch.tensor(features.first[::-1])) / torch.tensor(features.stride[::-1])
    grid = 2 * unit / size.clamp(min=1) - 1
    sampled = functional.grid_sample(
        values, grid[None, None].float(), padding_mode="border", align_corners=True
    )
    return functional.normalize(sampled[0, :, 0].T, dim=1)


# ---- answers and nulls ----


def at_same_place(task: Task) -> Tensor:
    """Each keypoint carried from its box into the other object's box by moving and stretching alone: (K, 2).

    It is told both boxes, and sees no image: a null that is hard to beat where objects stand alike.
    """
    (a, b) = task.boxes[task.pair].unbind(1)
    share = (task.source - a[:, :2]) / (a[:, 2:] - a[:, :2])
    return b[:, :2] + share * (b[:, 2:] - b[:, :2])


def right(task: Task, found: Tensor) -> Tensor:
    """Whether each found point (K, 2) is within the radius of a keypoint of its name: (K,) bool."""
    if found.shape != task.source.shape:
        raise ValueError(f"There are {len(task.source)} keypoints (K, 2) to find, not {tuple(found.shape)}.")
    distance = (task.targets - found.cpu()[:, None]).norm(dim=2)  # NaN is never near
    return (distance <= task.radius[:, None]).any(1)


def chance(
    task: Task, size: tuple[int, int], where: Literal["image", "box"] = "image", masks: Any = None
) -> Tensor:
    """The probability that a random pixel is right, for each keypoint: (K,) float, exact, nothing is drawn.

    Args:
        size: (H, W) of the images. where: a pixel of the whole image, or of the box.
        masks: bool (N, H, W): a pixel of the object instead.
    """
    places, _ = _places(torch.zeros(1, 1, *size), 1)
    result = torch.empty(len(task.source))
    for k, p in enumerate(task.pair.tolist()):
        chosen = places
        if masks is not None:
            chosen = places[torch.as_tensor(masks[int(task.pairs[p, 1])]).flatten()]
        elif where == "box":
            chosen = places[_in_boxes(places, task.boxes[p, 1])]
        distance = (chosen[:, None] - task.targets[k]).norm(dim=2)
        result[k] = (distance <= task.radius[k]).any(1).float().mean()
    return result


def pck(task: Task, right: Tensor) -> Interval:
    """Percentage of correct keypoints as a share in [0, 1]: of each pair, then the mean over pairs with its interval.

    The interval is `sanity.bootstrap` over pairs. `right` is (K,): of `right`, of `chance`, or the difference of two
    methods; NaN leaves a keypoint out. Departs from a share over all keypoints in that pairs count alike, however many
    keypoints they show.
    """
    if right.shape != task.pair.shape:
        raise ValueError(f"There are {len(task.pair)} keypoints, not {tuple(right.shape)}.")
    values = right.double().cpu()
    known = ~values.isnan()
    sums = torch.zeros(len(task.pairs), dtype=torch.double).index_add_(
        0, task.pair, values.nan_to_num() * known
    )
    counts = torch.zeros(len(task.pairs), dtype=torch.double).index_add_(0, task.pair, known.double())
    return bootstrap(sums / counts)  # 0 / 0 is NaN, which is left out
