"""Images made by optimisation: what a network would most like to see for a class.

- `class_images`: one image for each class, made to raise that class's logit
- `total_variation`: how much neighbouring pixels differ
- `sixth_norm`: how near colours are to the ends of their range

    pictures = class_images(net.model, [3, 17], normalise=net.normalise, size=net.input_size)   # (2, 3, s, s)
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from tqdm.auto import trange

from cnnvis_helpers.hooks import frozen
from cnnvis_helpers.scores import logits, targets


def total_variation(images: Tensor) -> Tensor:
    """Mean squared difference of vertical neighbours plus that of horizontal ones: (N, C, H, W) → (N,)."""
    down = images[:, :, 1:] - images[:, :, :-1]
    across = images[:, :, :, 1:] - images[:, :, :, :-1]
    return down.square().mean((1, 2, 3)) + across.square().mean((1, 2, 3))


def sixth_norm(images: Tensor) -> Tensor:
    """Mean of (2 |x − ½|)⁶ of images in [0, 1]: (N, C, H, W) → (N,), 0 for mid-grey, 1 for black and white.

    Flat in the middle and steep at the ends, it holds colours off the ends without greying the rest.
    """
    return (2 * (images - 0.5).abs()).pow(6).mean((1, 2, 3))


def class_images(
    model: nn.Module,
    classes: Sequence[int],
    *,
    normalise: Callable[[Tensor], Tensor],
    size: int,
    steps: int = 200,
    rate: float = 0.01,
    variation: float = 40.0,
    extremes: float = 0.5,
    jitter: int = 6,
    generator: torch.Generator | None = None,
    progress: bool = False,
) -> Tensor:
    """Images in [0, 1] that maximise the logits of `classes`, from faint noise around mid-grey.

    Maximised is logit − `variation` · `total_variation` − `extremes` · `sixth_norm`, of the image moved by a few
    pixels, other ones at every step. Departures from Simonyan, Vedaldi and Zisserman (2014), who start from a
    black image and hold its Euclidean norm: the two penalties of Mahendran and Vedaldi (2016), Adam, and the
    jitter of Mordvintsev et al. (2015).

    Args:
        model: (N, 3, s, s) normalised images → (N, classes) logits.
        classes: the class of each image; a class may come several times.
        normalise: images in [0, 1] → what the model takes, such as `Network.normalise`.
        size: side s of the images in pixels.
        steps, rate: of Adam.
        jitter: largest shift in pixels, each way; what leaves on one side enters on the other.
        generator: draws the start and the shifts; without one, every call gives the same images.

    Returns: (len(classes), 3, s, s), on the model's device. The model is left as it was.
    Raises: ValueError for an unknown class, for no class, size or step at all, and where the logits are no
        numbers or do not depend on the image.
    """
    if not len(classes) or steps < 1 or size < 1 or jitter < 0:
        raise ValueError(
            f"One class, one step and one pixel at least are needed, and a jitter of 0 or more, not {len(classes)} "
            f"classes, {steps} steps, {size} pixels and jitter {jitter}."
        )
    generator = generator or torch.Generator().manual_seed(0)
    device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
    start = 0.47 + 0.06 * torch.rand(len(classes), 3, size, size, generator=generator)
    images = start.to(device).requires_grad_()
    optimiser = torch.optim.Adam([images], lr=rate)
    with frozen(model):
        for _ in trange(steps, disable=not progress, desc="class images"):
            down, right = torch.randint(-jitter, jitter + 1, (2,), generator=generator).tolist()
            y = logits(model, normalise(images.roll((down, right), (2, 3))))
            chosen = targets(y, classes)
            wanted = y.gather(1, chosen[:, None]).sum()
            if not wanted.isfinite() or not wanted.requires_grad:
                raise ValueError(
                    "The model's logits are not finite, or do not depend on the image: there is nothing to climb."
                )
            penalty = variation * total_variation(images) + extremes * sixth_norm(images)
            optimiser.zero_grad()
            (images.grad,) = torch.autograd.grad(penalty.sum() - wanted, images)
            optimiser.step()
            with torch.no_grad():
                images.clamp_(0, 1)
    return images.detach()
