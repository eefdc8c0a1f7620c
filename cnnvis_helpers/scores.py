"""What a classifier says: its logits, checked, and the classes that a method is asked about.

- `logits`: the output of a model, or one sentence about why it is no table of logits
- `targets`: class numbers for a batch, checked; by default the classes that the model gives
- `finite`: whether a tensor is free of NaN and infinite values

    y = logits(model, x)                 # (N, classes)
    chosen = targets(y, None)            # (N,), the most probable class of each image
    y.gather(1, chosen[:, None])         # (N, 1), their scores
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from cnnvis_helpers.layout import run


def logits(model: nn.Module, x: Tensor) -> Tensor:
    """Run the model and return its output (N, classes), with gradients if they are switched on.

    Raises: ValueError where `x` is no batch of images, or the model returns anything but a table (N, classes).
    """
    if x.ndim != 4:
        raise ValueError(
            f"x must be a batch of images (N, C, H, W), not {tuple(x.shape)}; pass x[None] for one."
        )
    if len(x) == 0:
        raise ValueError("x holds no image; at least one is needed.")
    y = run(model, x)
    if not isinstance(y, Tensor):
        raise ValueError(
            f"The model returns a {type(y).__name__}, not a tensor of logits (N, classes): wrap it in a module that "
            "returns the logits alone."
        )
    if y.ndim != 2 or len(y) != len(x):
        raise ValueError(
            f"The model returns a tensor {tuple(y.shape)} for {len(x)} images; logits are ({len(x)}, classes)."
        )
    return y


def targets(y: Tensor, target_class: int | Sequence[int] | Tensor | None) -> Tensor:
    """Class numbers (N,) for a table of logits (N, classes): one for all images, one for each, or the best.

    Raises: ValueError for a class that the table does not have, or another number of classes than of images.
    """
    if target_class is None:
        return y.argmax(1)
    chosen = torch.as_tensor(target_class, device=y.device)
    if chosen.is_floating_point() or chosen.dtype == torch.bool:
        raise ValueError(f"target_class must be whole numbers, not {chosen.dtype}.")
    if chosen.ndim > 1 or (chosen.ndim == 1 and len(chosen) != len(y)):
        raise ValueError(
            f"target_class has shape {tuple(chosen.shape)}; give one number, or one for each of {len(y)} images."
        )
    outside = chosen[(chosen < 0) | (chosen >= y.shape[1])]
    if outside.numel():
        number = int(outside.flatten()[0])
        raise ValueError(
            f"There is no class {number}: the model has {y.shape[1]}, numbered 0 to {y.shape[1] - 1}."
        )
    return chosen.long().expand(len(y))


def finite(values: Tensor) -> bool:
    """Whether no value is NaN or infinite. A finite sum tells it at once; values may also only be too large to add."""
    return bool(values.sum().isfinite()) or bool(values.isfinite().all())
