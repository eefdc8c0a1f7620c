"""Run a data set through a network once and feed statistics.

- `survey`: the run; it can be killed and go on
- `batches`: a data set in checked batches

    (top,) = survey(model, test, [TopK("relu5", 9)], resume="conv5.survey")
    for numbers, images in batches(test, 64):
        ...
"""

import copy
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from cnnvis_helpers import hooks
from cnnvis_helpers.scores import finite
from cnnvis_helpers.survey import resume as files
from cnnvis_helpers.survey.statistics import Statistic

S = TypeVar("S", bound=Statistic)


def survey(
    model: nn.Module,
    data: Any,
    statistics: Sequence[S],
    *,
    batch: int = 64,
    part: range | None = None,
    resume: str | Path | None = None,
    save_every: float = 5.0,
    progress: bool = False,
) -> list[S]:
    """Run the model once over the data and return copies of the statistics, fed with their layers' activations.

    Memory holds one batch, its recorded layers and the statistics' states. The images go to the device and precision
    of the model's parameters. The model is in evaluation mode meanwhile and put back.

    Args:
        data: normalised images of one size (see the top of the package).
        statistics: new ones, without images; they are not changed.
        batch: how many images run at once.
        part: which images, None for all. Surveys of parts, merged in any order, give what one survey gives, bit for
            bit where the parts begin at multiples of `batch`.
        resume: a file for the state. It is written every `save_every` seconds and at the end; a survey that finds it
            goes on behind the last image in it, and one that is finished is read back. It holds for the same weights,
            statistics, number of images, first and last image, and part. Another batch size is allowed.
        progress: show a bar.

    Raises:
        hooks.LayerError: there is no such layer, or it does not run.
        ValueError: no images, images of several sizes, NaN, or a layer that gives neither maps nor codes.
        ResumeError: the file is damaged, of another survey, in use by another process, or cannot be written.
    """
    fed = copy.deepcopy(list(statistics))
    if not fed or any(statistic.seen for statistic in fed):
        raise ValueError("Give a list of one or more new statistics, such as [TopK('relu5')].")
    for statistic in fed:
        hooks.find(model, statistic.layer)
    part = _part(data, part)
    if resume is None:
        for _ in _feed(model, data, fed, part, batch, progress):
            pass
        return fed
    path = Path(resume)
    with files.locked(path):
        ends = [_image(data, i) for i in (part[0], part[-1])]
        facts = files.facts(model, len(data), ends, part, fed)
        start, saved = files.load(path, facts, fed), time.monotonic()
        for done in _feed(model, data, fed, part, batch, progress, start):
            if done == len(part) or time.monotonic() - saved >= save_every:
                files.save(path, {**facts, "done": done}, fed)
                saved = time.monotonic()
    return fed


def batches(
    data: Any, batch: int = 64, part: range | None = None, *, progress: bool = False
) -> Iterator[tuple[Tensor, Tensor]]:
    """The data set (see the top of the package) in order: numbers (n,) int64 and images (n, C, H, W), n ≤ batch.

    Raises: ValueError where there are no images, no such images, images of several sizes, or no finite float tensors.
    """
    part, shape = _part(data, part), None
    if batch < 1:
        raise ValueError(f"A batch holds 1 image or more, not {batch}.")
    with tqdm(total=len(part), unit="image", disable=not progress) as bar:
        for start in range(0, len(part), batch):
            numbers = part[start : start + batch]
            images = [_image(data, i) for i in numbers]
            shape = shape or images[0].shape
            for i, image in zip(numbers, images, strict=True):
                if image.shape != shape:
                    raise ValueError(
                        f"Image {i} is {tuple(image.shape)}, image {part[0]} {tuple(shape)}: bring all to one size."
                    )
            yield torch.tensor(numbers), _stacked(images)
            bar.update(len(numbers))


def _part(data: Any, part: range | None) -> range:
    if not hasattr(data, "__len__") or not hasattr(data, "__getitem__"):
        raise ValueError(
            f"The data need a length and data[i]; a {type(data).__name__} lacks them: give a list."
        )
    if len(data) == 0:
        raise ValueError("The data set is empty; at least one image is needed.")
    part = range(len(data)) if part is None else part
    if not part or min(part) < 0 or max(part) >= len(data):
        raise ValueError(f"The data set has no part {part}; its images are numbered 0 to {len(data) - 1}.")
    return part


def _image(data: Any, i: int) -> Tensor:
    item = data[i]
    image = item[0] if isinstance(item, tuple | list) else item
    if not isinstance(image, Tensor) or image.ndim != 3 or not image.is_floating_point():
        given = f"{image.dtype} {tuple(image.shape)}" if isinstance(image, Tensor) else type(image).__name__
        raise ValueError(f"Image {i} must be a normalised float tensor (C, H, W), not {given}.")
    if not finite(image):
        raise ValueError(f"Image {i} holds NaN or infinite values.")
    return image.detach()


def _stacked(images: list[Tensor]) -> Tensor:
    """The images as one batch; where the channels of a pixel lie side by side they stay so: convolutions are faster."""
    if images[0].is_contiguous() or not images[0].permute(1, 2, 0).is_contiguous():
        return torch.stack(images)
    return torch.stack([image.permute(1, 2, 0) for image in images]).permute(0, 3, 1, 2)


def _feed(
    model: nn.Module,
    data: Any,
    fed: Sequence[Statistic],
    part: range,
    batch: int,
    progress: bool,
    done: int = 0,
) -> Iterator[int]:
    """Feed the statistics; tell after every batch how many images of the part they have seen."""
    place = next(model.parameters(), torch.zeros(0))
    layers = list(dict.fromkeys(statistic.layer for statistic in fed))
    for indices, images in batches(data, batch, part[done:], progress=progress) if done < len(part) else ():
        a = hooks.activations(model, images.to(place), layers)
        for statistic in fed:
            statistic.update(a[statistic.layer], indices)
        done += len(indices)
        yield done
