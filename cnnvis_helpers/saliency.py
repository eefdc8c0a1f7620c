"""Which pixels a class score depends on: gradients with respect to the input, and two ways of averaging them.

gradient(model, x)                          derivative of the class score by every input value
gradient_times_input(model, x)              that times the input
smooth_grad(model, x, generator=g)          mean gradient over noisy copies of the input
integrated_gradients(model, x)              mean gradient from a baseline to the input, times their difference
completeness_gap(model, x, attribution)     how far integrated gradients are from adding up to the score
saliency_map(gradient)                      (N, 3, H, W) → (N, H, W), the largest absolute value over the colours

    maps = saliency_map(gradient(model, x))                                        # (N, H, W)
    g = smooth_grad(model, x, generator=torch.Generator().manual_seed(0))          # (N, 3, H, W)
    completeness_gap(model, x, integrated_gradients(model, x))                     # (N,), small

The class score is the logit, before the softmax: the softmax of a class also rises when others fall, so its
gradient mixes in what speaks against these (Simonyan et al. 2014). The model is left as it was.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from cnnvis_helpers.hooks import frozen
from cnnvis_helpers.scores import finite, logits, targets

Classes = int | Sequence[int] | Tensor | None
Reduce = Literal["max", "sum", "mean"]
Method = Literal["gausslegendre", "riemann_middle"]


def gradient(model: nn.Module, x: Tensor, target_class: Classes = None) -> Tensor:
    """Derivative of each image's class score by its input values, (N, 3, H, W), in x's precision.

    It says how much the logit changes per unit of the *normalised* input. All images go through the model
    together; in evaluation mode they do not influence one another.

    Args:
        x: normalised images (N, 3, H, W).
        target_class: one class for all images, one for each, or None for the class that the model gives.

    Raises: ValueError for input that is no batch of finite images, a class that the model does not have, output
        that is no table of logits, and a model whose output cannot be differentiated.
    Source: Simonyan, Vedaldi & Zisserman, *Deep inside convolutional networks*, ICLR workshop 2014, section 3.
    """
    _finite("x", x)
    with frozen(model), torch.inference_mode(False), torch.enable_grad():
        start = x.detach().clone().requires_grad_()
        y = logits(model, start.clone())  # the second copy may be changed in place by a first layer
        chosen = targets(y, target_class).clone()  # autograd refuses tensors made in inference mode
        score = y.gather(1, chosen[:, None]).sum()
        if not score.requires_grad:
            raise ValueError("The logits have no gradient by x: the model computes them without autograd.")
        return torch.autograd.grad(score, start)[0]


def gradient_times_input(model: nn.Module, x: Tensor, target_class: Classes = None) -> Tensor:
    """`gradient` times the normalised input, (N, 3, H, W): a signed share of the class score for each value.

    For a piecewise linear network without biases the shares add up to the logit. Input zero, which is the mean
    colour, always gets zero. Source: Shrikumar et al., *Not just a black box*, arXiv 1605.01713, 2016.
    """
    return gradient(model, x, target_class) * x.detach()


def saliency_map(gradient: Tensor, reduce: Reduce = "max") -> Tensor:
    """One map per image, (N, H, W) float32, at least zero, from gradients or attributions (N, C, H, W).

    Absolute values first, then their maximum (Simonyan et al. 2014), sum or mean over the channels. To keep the
    signs of an attribution that adds up to a score, use `attribution.sum(1)` instead. Raises: ValueError for
    another shape or an unknown `reduce`.
    """
    if gradient.ndim != 4:
        raise ValueError(f"saliency_map takes gradients (N, C, H, W), not {tuple(gradient.shape)}.")
    size = gradient.detach().float().abs()
    if reduce == "max":
        return size.amax(1)
    if reduce not in ("sum", "mean"):
        raise ValueError(f"reduce is {reduce!r}; it must be 'max', 'sum' or 'mean'.")
    return size.sum(1) if reduce == "sum" else size.mean(1)


def smooth_grad(
    model: nn.Module,
    x: Tensor,
    target_class: Classes = None,
    *,
    samples: int = 25,
    noise: float = 0.15,
    squared: bool = False,
    generator: torch.Generator,
    batch: int = 64,
    progress: bool = False,
) -> Tensor:
    """Mean gradient over noisy copies of each image, (N, 3, H, W).

    The class is chosen once, on the clean image; noise may change the prediction, and a mean over gradients of
    different classes would mean nothing. The noise is drawn image by image, sample by sample: neither `batch`
    nor the images that come after change an image's noise.

    Args:
        samples: noisy copies per image.
        noise: standard deviation of the Gaussian noise as a share of the image's range (largest minus smallest
            normalised value over all channels). The paper finds 0.1 to 0.2 best on ImageNet.
        squared: average the squared gradients, so that opposite signs do not cancel. Not in the paper; compared as
            SmoothGrad-Squared by Hooker et al., *A benchmark for interpretability methods*, NeurIPS 2019.
        batch: at most so many noisy copies in memory at once.

    Raises: ValueError as `gradient`, and for samples or batch below 1 or negative noise.
    Source: Smilkov et al., *SmoothGrad: removing noise by adding noise*, arXiv 1706.03825, 2017.
    """
    _at_least_one(samples=samples, batch=batch)
    if not 0 <= noise < float("inf"):
        raise ValueError(f"noise is {noise}; it is a share of the image's range, 0 or more.")
    chosen = _chosen(model, x, target_class)
    spread = noise * (x.detach().flatten(1).amax(1) - x.detach().flatten(1).amin(1))  # (N,)

    def noisy(image: Tensor, _: Tensor) -> Tensor:
        draws = [torch.randn(x.shape[1:], generator=generator, device=generator.device) for _ in image]
        return x.detach()[image] + spread[image, None, None, None] * torch.stack(draws).to(x)

    weights = torch.full((samples,), 1 / samples, dtype=x.dtype, device=x.device)
    return _weighted_gradient(model, x, chosen, noisy, weights, batch, progress, squared)


def integrated_gradients(
    model: nn.Module,
    x: Tensor,
    target_class: Classes = None,
    *,
    baseline: Tensor | None = None,
    steps: int = 50,
    method: Method = "gausslegendre",
    batch: int = 64,
    progress: bool = False,
) -> Tensor:
    """(x − baseline) times the mean gradient on the straight line between them, (N, 3, H, W), signed.

    Summed over an image, the result approaches f(x) − f(baseline), the difference of the class scores
    (completeness); `completeness_gap` tells what is missing. The class is chosen on x.

    Args:
        baseline: normalised image(s), of a shape that broadcasts to x's: what counts as "nothing there". Pixels
            equal to it get zero, whatever they matter. None is zeros, which is the *mean colour* of the training
            images and NOT black; black is `images.normalise(torch.zeros_like(x), mean, std)`.
        steps: points on the line. Networks with ReLUs have kinks there, so the gap falls slowly with `steps`.
        method: where the points lie: "gausslegendre" at the nodes of Gauss and Legendre's rule, with its weights;
            "riemann_middle" in the middles of equal pieces, with equal weights, as in the paper but for the middles.
        batch: at most so many points in memory at once.

    Raises: ValueError as `gradient`, for a baseline that does not fit, an unknown method, steps or batch below 1.
    Source: Sundararajan, Taly & Yan, *Axiomatic attribution for deep networks*, ICML 2017.
    """
    _at_least_one(steps=steps, batch=batch)
    chosen = _chosen(model, x, target_class)
    start = _baseline(x, baseline)
    if method not in ("gausslegendre", "riemann_middle"):
        raise ValueError(f"method is {method!r}; it must be 'gausslegendre' or 'riemann_middle'.")
    if method == "gausslegendre":
        nodes, weights = np.polynomial.legendre.leggauss(steps)
        nodes, weights = (nodes + 1) / 2, weights / 2  # from [-1, 1] to [0, 1]
    else:
        nodes, weights = (np.arange(steps) + 0.5) / steps, np.full(steps, 1 / steps)
    at, w = (torch.as_tensor(a, dtype=x.dtype, device=x.device) for a in (nodes, weights))
    difference = x.detach() - start

    def between(image: Tensor, step: Tensor) -> Tensor:
        return start[image] + at[step][:, None, None, None] * difference[image]

    return difference * _weighted_gradient(model, x, chosen, between, w, batch, progress)


def completeness_gap(
    model: nn.Module,
    x: Tensor,
    attribution: Tensor,
    target_class: Classes = None,
    *,
    baseline: Tensor | None = None,
) -> Tensor:
    """Σ attribution − (f(x) − f(baseline)) for each image, (N,) float32, in units of the logit; 0 is complete.

    Give the class and the baseline that the attribution (N, 3, H, W) was made with. Raises: ValueError as
    `integrated_gradients`, and for an attribution of another shape than x.
    """
    chosen = _chosen(model, x, target_class)[:, None]
    if attribution.shape != x.shape:
        raise ValueError(f"attribution is {tuple(attribution.shape)}, x {tuple(x.shape)}: they must agree.")
    with frozen(model), torch.no_grad():
        y, y0 = (logits(model, image.detach().clone()) for image in (x, _baseline(x, baseline)))
        difference = (y - y0).gather(1, chosen)[:, 0]
    return (attribution.detach().flatten(1).sum(1) - difference).float()


def _finite(name: str, x: Tensor) -> None:
    if not x.is_floating_point():
        raise ValueError(f"{name} holds {x.dtype} values; normalised images are floats.")
    if not finite(x):
        raise ValueError(f"{name} holds NaN or infinite values; every input value must be a number.")


def _at_least_one(**counts: int) -> None:
    for name, count in counts.items():
        if count < 1:
            raise ValueError(f"{name} is {count}; it must be at least 1.")


def _chosen(model: nn.Module, x: Tensor, target_class: Classes) -> Tensor:
    """The classes (N,) in question, for the images as they are; checks `x` and the classes."""
    _finite("x", x)
    asked = x if target_class is None else x[:1]  # one tells which classes there are
    with frozen(model), torch.no_grad():
        y = logits(model, asked.detach().clone())
    return targets(y if target_class is None else y.expand(len(x), -1), target_class)


def _baseline(x: Tensor, baseline: Tensor | None) -> Tensor:
    if baseline is None:
        return torch.zeros_like(x)
    _finite("The baseline", baseline)
    try:
        return baseline.detach().to(x).expand_as(x)
    except RuntimeError:
        raise ValueError(
            f"The baseline is {tuple(baseline.shape)}, which does not broadcast to x's {tuple(x.shape)}."
        ) from None


def _weighted_gradient(
    model: nn.Module,
    x: Tensor,
    chosen: Tensor,
    points: Callable[[Tensor, Tensor], Tensor],
    weights: Tensor,
    batch: int,
    progress: bool,
    squared: bool = False,
) -> Tensor:
    """Σ over steps of weight × gradient at points(image, step), for each image: (N, 3, H, W)."""
    pairs = torch.arange(len(x) * len(weights), device=x.device)
    total = torch.zeros_like(x)
    for part in tqdm(pairs.split(batch), disable=not progress):
        image, step = part // len(weights), part % len(weights)
        g = gradient(model, points(image, step), chosen[image])
        g = (g.square() if squared else g) * weights[step][:, None, None, None]
        for i, row in zip(image.tolist(), g, strict=True):  # one by one: the order of a sum is then the same
            total[i] += row  # for every batch, and on a GPU, where index_add_ would sum in any order
    return total
