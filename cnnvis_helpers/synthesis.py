"""Images made by optimisation: what a network would most like to see.

synthesise(model, objective, …)       images that maximise an objective
synthesis_steps(…)                    the same, step by step: for a film, or to stop early
class_images(model, classes, …)       the preset for classes
RECIPES                               settings after well-known papers, by name; "fourier" is the best of them
pixel_penalty(variation, extremes)    a penalty for smooth images of moderate colours
Yosinski, YOSINSKI                    what Yosinski et al. do to the pixels after each step; their four settings
Step                                  what `synthesis_steps` gives

pictures = class_images(net.model, [3, 17], normalise=net.normalise, size=net.input_size)   # (2, 3, s, s)
wanted = objectives.channel("conv4", [5, 6, 7])
pictures = synthesise(net.model, wanted, normalise=net.normalise, size=96, **RECIPES["fourier"])
for step in synthesis_steps(net.model, wanted, normalise=net.normalise, size=96): ...       # show, or break
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional
from tqdm.auto import tqdm

from cnnvis_helpers.hooks import find, frozen
from cnnvis_helpers.image_params import YOSINSKI, Fourier, Pixels, Yosinski, noise_start, zero_start
from cnnvis_helpers.images import check
from cnnvis_helpers.objectives import (
    LOGITS,
    Objective,
    evaluate,
    logit,
    pixel_penalty,
    sixth_norm,
    total_variation,
)

__all__ = [
    "RECIPES",
    "Step",
    "class_images",
    "sixth_norm",
    "synthesis_steps",
    "synthesise",
    "total_variation",
]
_PATIENCE = 10  # steps after which an objective that has never had a gradient is called dead


class Step(NamedTuple):
    """One step: its number, from 1; the images (N, 3, s, s) in [0, 1] after it, a copy; and the objective (N,) of
    the images before it, moved by jitter as the network saw them."""

    number: int
    images: Tensor
    values: Tensor


_ASCENT = {"optimiser": torch.optim.SGD, "unit_gradient": True, "start": "zero"}
# Rates and weights were tuned on the course's own networks of 96 pixels. Simonyan et al.'s L2 penalty is a decay: a
# step along −λ ‖x‖² shrinks x by 2 · rate · λ.
RECIPES: Mapping[str, Mapping[str, Any]] = {
    "simonyan": {**_ASCENT, "rate": 0.01, "after_step": Yosinski(decay=0.01)},
    "yosinski-1": {**_ASCENT, "rate": 0.02, "after_step": YOSINSKI[0]},
    "yosinski-2": {**_ASCENT, "rate": 0.1, "after_step": YOSINSKI[1]},
    "yosinski-3": {**_ASCENT, "rate": 0.02, "after_step": YOSINSKI[2]},
    "yosinski-4": {**_ASCENT, "rate": 0.02, "after_step": YOSINSKI[3]},
    "jitter": {"rate": 0.01, "penalty": pixel_penalty(40, 0.5), "jitter": 6},
    "scales": {"rate": 0.02, "penalty": pixel_penalty(100, 1), "jitter": 6, "scales": (1 / 3, 0.6, 1)},
    "fourier": {
        "rate": 0.03,
        "penalty": pixel_penalty(60, 0.5),
        "jitter": 12,
        "scales": (0.5, 0.75, 1),
        "params": Fourier,
    },
}


def synthesise(
    model: nn.Module,
    objective: Objective,
    *,
    steps: int = 120,
    progress: bool = False,
    **settings: Any,
) -> Tensor:
    """Images (N, 3, s, s) in [0, 1] that maximise an objective, on the model's device: the last of `synthesis_steps`.

    Takes the arguments and raises the errors of `synthesis_steps`; `progress` shows a bar.
    """
    films = synthesis_steps(model, objective, steps=steps, **settings)
    for step in tqdm(films, total=steps, disable=not progress, desc="synthesis"):
        images = step.images
    return images


def synthesis_steps(
    model: nn.Module,
    objective: Objective,
    *,
    normalise: Callable[[Tensor], Tensor],
    size: int,
    count: int | None = None,
    start: Tensor | Literal["noise", "zero"] = "noise",
    steps: int = 120,
    scales: Sequence[float] = (1.0,),
    params: Callable[[Tensor], Pixels] = Pixels,
    penalty: Callable[[Tensor], Tensor] | None = None,
    jitter: int = 0,
    optimiser: Callable[..., torch.optim.Optimizer] = torch.optim.Adam,
    rate: float = 0.01,
    unit_gradient: bool = False,
    after_step: Callable[[Tensor, Tensor, int], Tensor] | None = None,
    window: Tensor | None = None,
    generator: torch.Generator | None = None,
) -> Iterator[Step]:
    """Climb objective − penalty by gradient steps on images, and yield every step.

    All images are in one batch. Between the steps the model is as it was, so the loop may be left at any time. Bad
    settings raise at the call, what only the model can tell (an unknown channel or class) at the first step.

    Args:
        model: (N, 3, s, s) normalised images → anything; logits where the objective asks for them.
        objective: of `objectives`; one number for each image.
        normalise: images in [0, 1] → what the model takes, such as `Network.normalise`.
        size: side s of the images that the model is shown.
        count: number of images; by default as many as the objective or the start has, or one.
        start: "noise" (`noise_start`), "zero" (`zero_start`), or images (N, 3, s, s) or (3, s, s) in [0, 1].
        scales: shares of `size`, growing to 1, such as (0.5, 0.75, 1): for equal parts of the steps the images have so
            many pixels a side. The model is shown them enlarged; what is large is found first.
        params: how images are written down: `Pixels`, `Fourier`, or a `functools.partial` of these.
        penalty: images in [0, 1], (N, 3, s', s') at the present scale and without jitter → (N,), such as
            `objectives.pixel_penalty(40, 0.5)`.
        jitter: largest shift in pixels, each way, drawn anew at every step, the same for all images (Mordvintsev et
            al. 2015); what leaves on one side enters on the other.
        optimiser, rate: called as `optimiser([values], lr=rate)`; anew at each scale.
        unit_gradient: divide each image's gradient by its root mean square, so that `rate` is the size of a step in
            a pixel whatever the network's gradients are; for plain ascent with `torch.optim.SGD`.
        after_step: what to do to the images after each step, such as a `Yosinski`; it is given them minus the mean
            colour, which `normalise` makes 0.
        window: (s, s) weights; a pixel changes at each step by so much of what it would. See `facets`.
        generator: draws start and shifts; without one, every call gives the same images.

    Raises: ValueError for settings out of range, and for an objective that is not finite, that does not depend on
        the image, or that has had no gradient for one of the images in the first 10 steps, such as a dead unit.
        images.ImageError for a start outside [0, 1]. hooks.LayerError for an unknown layer.
    """
    sides = [round(share * size) for share in scales]
    if sides != sorted(sides) or not sides or sides[-1] != size or sides[0] < 1:
        raise ValueError(
            f"Scales are shares of {size} pixels that grow to 1, such as (0.5, 1), not {tuple(scales)}."
        )
    if steps < len(sides) or jitter < 0:
        raise ValueError(
            "One step for each scale at least is needed, and a jitter of 0 or more, not "
            f"{steps} steps and jitter {jitter}."
        )
    if not (rate > 0 and math.isfinite(rate)):
        raise ValueError(f"The rate is a number above 0, not {rate}.")
    if window is not None and window.shape != (size, size):
        raise ValueError(f"The window is ({size}, {size}), as the images are, not {tuple(window.shape)}.")
    for name in objective.layers - {LOGITS}:
        find(model, name)
    generator = generator or torch.Generator().manual_seed(0)
    begin = _start(start, _number(count, objective, start), size, normalise, generator)
    begin = begin.to(next(model.parameters(), begin))  # the model's device and precision
    mean = zero_start(1, 1, normalise).to(begin) if after_step else torch.zeros_like(begin[:1, :, :1, :1])

    def climb(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The objective, its gradient, and that of objective − penalty, all at the images x."""
        down, across = torch.randint(-jitter, jitter + 1, (2,), generator=generator).tolist()
        x = x.clone().requires_grad_()
        with frozen(model), torch.enable_grad():
            values = evaluate(model, objective, normalise(_resized(x, size).roll((down, across), (2, 3))))
            if not values.isfinite().all() or not values.requires_grad:
                raise ValueError(
                    f"The objective ({objective.about}) is not finite, or does not depend on the image: there is "
                    "nothing to climb. If it was finite at first, a smaller rate may help."
                )
            (wanted,) = torch.autograd.grad(values.sum(), x)
            total = wanted - torch.autograd.grad(penalty(x).sum(), x)[0] if penalty else wanted
        if not total.isfinite().all():
            raise ValueError(f"The gradient of {objective.about}, or of the penalty, is not finite.")
        return values.detach(), wanted, total

    def run() -> Iterator[Step]:
        side, now, alive = 0, begin, torch.zeros(len(begin), dtype=torch.bool, device=begin.device)
        for number in range(1, steps + 1):
            if (present := sides[(number - 1) * len(sides) // steps]) != side:
                side = present
                written = params(_resized(now, side).clamp(0, 1))  # interpolation may round to above 1
                climber = optimiser([written.values], lr=rate)
            with torch.enable_grad():
                drawn = written.images()
            before = drawn.detach().clone()  # the optimiser changes pixels in place
            values, wanted, total = climb(before)
            alive |= wanted.flatten(1).any(1)
            if number == min(_PATIENCE, steps) and not alive.all():
                raise ValueError(_dead(objective, alive))
            if unit_gradient:
                total = total / total.square().mean((1, 2, 3), keepdim=True).sqrt().clamp(min=1e-30)
            (written.values.grad,) = torch.autograd.grad(drawn, written.values, -total)
            climber.step()
            written.settle()
            now = written.images().detach().clone()
            if window is not None:
                now = torch.lerp(before, now, _resized(window.to(now)[None, None], side))
            if after_step is not None:
                now = (after_step(now - mean, wanted, number) + mean).clamp(0, 1)
            if window is not None or after_step is not None:
                written.set(now)
            yield Step(number, _resized(now, size).clamp(0, 1), values)

    return run()


def _number(count: int | None, objective: Objective, start: Any) -> int:
    given = len(start) if isinstance(start, Tensor) and start.ndim == 4 else None
    numbers = {n for n in (count, objective.images, given) if n is not None} or {1}
    if len(numbers) > 1 or min(numbers) < 1:
        raise ValueError(
            f"The images of count ({count}), objective ({objective.images}) and start ({given}) must be as many, and "
            "one at least."
        )
    return numbers.pop()


def _start(
    start: Tensor | str,
    count: int,
    size: int,
    normalise: Callable[[Tensor], Tensor],
    generator: torch.Generator,
) -> Tensor:
    if isinstance(start, Tensor):
        if start.shape[-3:] != (3, size, size):
            raise ValueError(f"The start is images (N, 3, {size}, {size}), not {tuple(start.shape)}.")
        check(start)
        return start.detach().expand(count, 3, size, size)
    if start not in ("noise", "zero"):
        raise ValueError(f"start is 'noise', 'zero' or images, not {start!r}.")
    return noise_start(count, size, generator) if start == "noise" else zero_start(count, size, normalise)


def _resized(images: Tensor, side: int) -> Tensor:
    if images.shape[-1] == side:
        return images
    small = images.shape[-1] > side
    return functional.interpolate(
        images, size=(side, side), mode="bilinear", align_corners=False, antialias=small
    )


def _dead(objective: Objective, alive: Tensor) -> str:
    which = ", ".join(map(str, (~alive).nonzero()[:5, 0].tolist()))
    return (
        f"The objective ({objective.about}) has no gradient for image {which}: nothing in the image changes it. The "
        "unit is dead, or this start does not activate it: start elsewhere, or take the layer before the ReLU."
    )


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
    if not len(classes):
        raise ValueError("At least one class is needed, not 0 classes.")
    return synthesise(
        model,
        logit(classes),
        normalise=normalise,
        size=size,
        steps=steps,
        rate=rate,
        penalty=pixel_penalty(variation, extremes),
        jitter=jitter,
        generator=generator,
        progress=progress,
    )
