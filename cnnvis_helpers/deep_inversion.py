"""Images from a network alone: class images whose statistics inside the network are those of its training images.

- `deep_inversion`: images of given classes, made together
- `deep_inversion_steps`: the same as an iterator over the images of each step, for a film or a stop button
- `statistics`: mean and variance of every batch norm's input for a batch, and those that it has stored
- `statistics_distance`: how far the two are apart at each batch norm
- `Statistics`: those of one batch norm

    images = deep_inversion(net.model, [3, 17] * 8, normalise=net.normalise, size=net.input_size)   # (16, 3, s, s)
    statistics_distance(statistics(net.model, net.normalise(images))["layer1.0.bn1"])

Batch norm keeps the mean and the variance of its input over the training images. No image need be kept: a batch whose
statistics at every batch norm are the stored ones looks like them to the network, as far as means and variances go.

Source: Yin et al., *Dreaming to distill: data-free knowledge transfer via DeepInversion*, CVPR 2020.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from tqdm.auto import tqdm

from cnnvis_helpers.hooks import frozen
from cnnvis_helpers.image_params import Fourier, noise_start
from cnnvis_helpers.scores import logits, targets
from cnnvis_helpers.synthesis import total_variation


@dataclass(frozen=True)
class Statistics:
    """Of one batch norm: `mean` and `variance` (C,) of this batch's input, and the stored ones."""

    mean: Tensor
    variance: Tensor
    stored_mean: Tensor
    stored_variance: Tensor


def statistics_distance(of: Statistics) -> Tensor:
    """‖mean − stored mean‖ + ‖variance − stored variance‖, Euclidean norms over channels; 0 for equal statistics."""
    return (of.mean - of.stored_mean).norm() + (of.variance - of.stored_variance).norm()


def statistics(model: nn.Module, x: Tensor) -> dict[str, Statistics]:
    """Name of each `nn.BatchNorm2d` → its `Statistics` for the normalised images x (N, 3, H, W), in evaluation mode.

    The variance is the unbiased one, over N · H · W values a channel, since `running_var` is an average of unbiased
    ones: the biased one is smaller by a share of 1 / (N · H · W), much for few images and small maps. Layers that store
    nothing are left out; of one that runs several times the last input counts. The model is left as it was.

    Raises: ValueError where the model has, or uses, no batch norm with stored statistics, and where a batch gives
        only one value a channel, which has no variance.
    """
    with frozen(model), torch.no_grad():
        return _run(model, x)[1]


def _run(model: nn.Module, x: Tensor) -> tuple[Tensor, dict[str, Statistics]]:
    """Logits and statistics, with gradients if they are switched on, in the model's present mode."""
    found: dict[str, Statistics] = {}

    def look(name: str) -> Callable[..., None]:
        def hook(module: nn.BatchNorm2d, inputs: tuple[Any, ...]) -> None:
            values, mean, variance = inputs[0], module.running_mean, module.running_var
            if values.numel() == values.shape[1]:
                raise ValueError(
                    f"Batch norm {name!r} gets one value a channel, which has no variance: give more or larger images."
                )
            assert mean is not None and variance is not None
            spread, middle = torch.var_mean(values, (0, 2, 3), correction=1)
            found[name] = Statistics(middle, spread, mean.clone(), variance.clone())

        return hook

    storing, handles = _storing(model), []
    try:
        for name, module in storing.items():
            handles.append(module.register_forward_pre_hook(look(name)))
        y = logits(model, x.clone())
    finally:
        for handle in handles:
            handle.remove()
    if not found:
        raise ValueError(f"None of the model's batch norms runs: {', '.join(storing)}.")
    return y, found


def _storing(model: nn.Module) -> dict[str, nn.BatchNorm2d]:
    layers = {n: m for n, m in model.named_modules() if isinstance(m, nn.BatchNorm2d)}
    storing = {n: m for n, m in layers.items() if m.running_mean is not None}
    if not storing:
        raise ValueError(
            "The model has no nn.BatchNorm2d with stored statistics, and DeepInversion has nothing else to go by: take "
            "a network that was trained with batch norm and has not had it folded into the convolutions."
        )
    return storing


def deep_inversion(
    model: nn.Module,
    classes: Sequence[int],
    *,
    normalise: Callable[[Tensor], Tensor],
    size: int,
    steps: int = 200,
    rate: float = 0.05,
    matching: float = 0.05,
    smooth: float | tuple[float, float] = (600.0, 20.0),
    energy: float = 0.01,
    jitter: int = 6,
    generator: torch.Generator | None = None,
    progress: bool = False,
) -> Tensor:
    """Images in [0, 1], one of each of `classes`, that the model puts there and whose statistics are the stored ones.

    Minimised is the mean cross-entropy of the classes + `matching` · Σ `statistics_distance` over the batch norms +
    `smooth` · mean total variation + `energy` · mean squared normalised colour: the paper's R_feature, R_TV and R_L2.
    The images are mirrored or not and moved by a few pixels, other ones at every step. They are made together, since
    they share the statistics: take 8 at least, of several classes, or each image has to be as varied as the
    training set. Departures from the paper: waves instead of pixels are changed (`image_params.Fourier`), total
    variation is squared and its weight falls, and no second network is asked to disagree.

    Args:
        model: (N, 3, s, s) normalised images → (N, classes) logits, with `nn.BatchNorm2d` inside.
        classes: the class of each image; a class may come several times.
        normalise: images in [0, 1] → what the model takes, such as `Network.normalise`.
        size: side s of the images in pixels.
        steps, rate: of Adam.
        smooth: one weight for all steps or (first, last), between which it falls geometrically.
        jitter: largest shift in pixels, each way; what leaves on one side enters on the other.
        generator: draws start, shifts and mirrorings; without one, every call draws the same.

    Returns: (len(classes), 3, s, s), on the model's device. The model is left as it was: its batch norms run in
        evaluation mode, with the stored statistics.
    Raises: ValueError for an unknown class, settings out of range, a model without batch norm, and where the loss is
        no number or does not depend on the image.
    """
    every = deep_inversion_steps(
        model,
        classes,
        normalise=normalise,
        size=size,
        steps=steps,
        rate=rate,
        matching=matching,
        smooth=smooth,
        energy=energy,
        jitter=jitter,
        generator=generator,
    )
    result = next(every)
    for result in tqdm(every, total=steps, disable=not progress, desc="deep inversion"):  # noqa: B007
        pass
    return result


def deep_inversion_steps(
    model: nn.Module,
    classes: Sequence[int],
    *,
    normalise: Callable[[Tensor], Tensor],
    size: int,
    steps: int = 200,
    rate: float = 0.05,
    matching: float = 0.05,
    smooth: float | tuple[float, float] = (600.0, 20.0),
    energy: float = 0.01,
    jitter: int = 6,
    generator: torch.Generator | None = None,
) -> Iterator[Tensor]:
    """Yield the start, then the images after each step; the last are those of `deep_inversion`.

    Arguments and errors as `deep_inversion`; bad settings raise at the call. Between the steps the model is as it
    was, so the loop may be left at any time.
    """
    first, last = smooth if isinstance(smooth, tuple) else (smooth, smooth)
    if not len(classes) or steps < 1 or size < 1 or jitter < 0:
        raise ValueError(
            f"One class, one step and one pixel at least are needed, and a jitter of 0 or more, not {len(classes)} "
            f"classes, {steps} steps, {size} pixels and jitter {jitter}."
        )
    if not rate > 0 or not min(matching, first, last, energy) >= 0 or (first > 0) != (last > 0):
        raise ValueError(
            f"rate is above 0, the weights are 0 or more, not rate {rate}, matching {matching}, smooth {smooth} and "
            f"energy {energy}; a falling smooth ends above 0."
        )
    _storing(model)
    generator = generator or torch.Generator().manual_seed(0)
    device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
    parameters = Fourier(noise_start(len(classes), size, generator).to(device), "clamp")

    def losses(images: Tensor, smoothness: float) -> Tensor:
        down, right = torch.randint(-jitter, jitter + 1, (2,), generator=generator).tolist()
        x = normalise(images.roll((down, right), (2, 3)))
        mirrored = torch.rand((), generator=generator).item() < 0.5
        y, found = _run(model, x.flip(3) if mirrored else x)
        away = torch.stack([statistics_distance(of) for of in found.values()]).sum()
        loss = (
            functional.cross_entropy(y, targets(y, classes))
            + matching * away
            + smoothness * total_variation(images).mean()
            + energy * x.square().mean()
        )
        if not loss.isfinite() or not y.requires_grad:
            raise ValueError(
                "The loss is not finite, or the model's logits do not depend on the image: there is nothing to descend."
            )
        return loss

    def images() -> Iterator[Tensor]:
        optimiser = torch.optim.Adam([parameters.values], lr=rate, betas=(0.5, 0.9))
        yield parameters.images().detach().clamp(0, 1)
        for step in range(steps):
            smoothness = first * (last / first) ** (step / steps) if first else 0.0
            with frozen(model), torch.enable_grad():
                loss = losses(parameters.images(), smoothness)
                (parameters.values.grad,) = torch.autograd.grad(loss, parameters.values)
            optimiser.param_groups[0]["lr"] = rate * min(1, (step + 1) / 10, 1.05 - step / steps)
            optimiser.step()
            parameters.settle()
            yield parameters.images().detach().clamp(0, 1)

    return images()
