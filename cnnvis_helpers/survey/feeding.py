"""A data set in checked batches, and through a network into statistics.

- `batches`: a data set in checked batches
- `read`, `image`, `chosen`: what they are made of: a part of the data, one image, which images
- `feed`: batches through a network into statistics

    for numbers, images in batches(test, 64):
        ...
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from cnnvis_helpers import hooks
from cnnvis_helpers.scores import finite
from cnnvis_helpers.survey.statistics import Statistic, checked


def batches(
    data: Any, batch: int = 64, part: range | None = None, *, progress: bool = False
) -> Iterator[tuple[Tensor, Tensor]]:
    """The data set (see the top of the package) in order: numbers (n,) int64 and images (n, C, H, W), n ≤ batch.

    Raises: ValueError where there are no images, no such images, images of several sizes, or no finite float tensors.
    """
    part = chosen(data, part, batch)
    with tqdm(total=len(part), unit="image", disable=not progress) as bar:
        for numbers, images in read(data, part, batch):
            yield torch.tensor(numbers), images
            bar.update(len(numbers))


def chosen(data: Any, part: range | None, batch: int) -> range:
    """The numbers of the images asked for. Raises ValueError for what is no data set, no part of it, no batch."""
    if not hasattr(data, "__len__") or not hasattr(data, "__getitem__"):
        raise ValueError(
            f"The data need a length and data[i]; a {type(data).__name__} lacks them: give a list."
        )
    if len(data) == 0:
        raise ValueError("The data set is empty; at least one image is needed.")
    part = range(len(data)) if part is None else part
    if not part or min(part) < 0 or max(part) >= len(data):
        raise ValueError(f"The data set has no part {part}; its images are numbered 0 to {len(data) - 1}.")
    if batch < 1:
        raise ValueError(f"A batch holds 1 image or more, not {batch}.")
    return part


def read(
    data: Any, part: range, batch: int, like: tuple[int, torch.Size] | None = None
) -> Iterator[tuple[range, Tensor]]:
    """Numbers and images of a part, `batch` at a time; all as large as the first, or as image `like[0]`."""
    for start in range(0, len(part), batch):
        numbers = part[start : start + batch]
        images = [_taken(data, i) for i in numbers]
        first, shape = like = like or (part[0], images[0].shape)
        for i, one in zip(numbers, images, strict=True):
            if one.shape != shape:
                raise ValueError(
                    f"Image {i} is {tuple(one.shape)}, image {first} {tuple(shape)}: bring all to one size."
                )
        stacked = _stacked(images)
        if not finite(stacked):
            for i, one in zip(numbers, images, strict=True):
                _finite(one, i)
        yield numbers, stacked


def image(data: Any, i: int) -> Tensor:
    """Image i, (C, H, W). Raises ValueError for what is no finite float tensor of that kind."""
    return _finite(_taken(data, i), i)


def _finite(image: Tensor, i: int) -> Tensor:
    if not finite(image):
        raise ValueError(f"Image {i} holds NaN or infinite values.")
    return image


def _taken(data: Any, i: int) -> Tensor:
    item = data[i]
    image = item[0] if isinstance(item, tuple | list) else item
    if not isinstance(image, Tensor) or image.ndim != 3 or not image.is_floating_point():
        given = f"{image.dtype} {tuple(image.shape)}" if isinstance(image, Tensor) else type(image).__name__
        raise ValueError(f"Image {i} must be a normalised float tensor (C, H, W), not {given}.")
    return image.detach()


def _stacked(images: list[Tensor]) -> Tensor:
    """The images as one batch; where the channels of a pixel lie side by side they stay so: convolutions are faster."""
    if images[0].is_contiguous() or not images[0].permute(1, 2, 0).is_contiguous():
        return torch.stack(images)
    return torch.stack([image.permute(1, 2, 0) for image in images]).permute(0, 3, 1, 2)


def feed(model: nn.Module, stream: Iterable[tuple[range, Tensor]], fed: Sequence[Statistic]) -> Iterator[int]:
    """Feed the statistics; tell after every batch how many images it had."""
    place = next(model.parameters(), torch.zeros(0))
    layers = list(dict.fromkeys(statistic.layer for statistic in fed))
    for numbers, images in stream:
        found = hooks.activations(model, images.to(place), layers)
        a = {layer: checked(layer, found[layer], len(numbers)) for layer in layers}
        for statistic in fed:
            statistic.take(a[statistic.layer], torch.tensor(numbers))
        yield len(numbers)
