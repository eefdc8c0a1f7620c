"""Saliency maps by gradients, beside captum's: the same maps, and how long both take.

    python benchmarks/gradients.py                 # three minutes on two cores

captum gets evaluation mode, frozen parameters, the class of each image, and all pictures in one batch, as ours has
them. Its noise is ours: both draw the same numbers, and all images have the same range, since captum takes one
standard deviation for all.

In double precision the maps are the same. In single precision the two sum up in another order; now and then a ReLU is
open in one and shut in the other, or pooling takes another pixel, and a patch of the map differs: untrained networks
on noise, the last two here, have many such places.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
import torchvision
from side_by_side import Clock, Row, installed, race, report
from torch import Tensor, nn

from cnnvis_helpers import diorama, zoo
from cnnvis_helpers.backward_rules import project
from cnnvis_helpers.class_activation import grad_cam
from cnnvis_helpers.saliency import gradient, gradient_times_input, integrated_gradients, smooth_grad

LAST = {"diorama/alexnet": "relu5", "alexnet": "features.11", "resnet18": "layer4"}  # layer of the Grad-CAM
TIMES = 8  # noisy copies, or steps, of an image
MOST = 1e-7  # difference of two maps in double precision, as a share of the largest value
APART = 0.02  # mean difference in single precision, as a share of the mean size


def rows(rounds: int, clock: Clock) -> Iterator[Row]:
    """All methods on three networks."""
    if not installed("captum"):
        return
    for name in LAST:
        model, x = loaded(name)
        classes = torch.arange(len(x)) % 10
        single = methods(model, name, x, classes)
        double = methods(copy.deepcopy(model).double(), name, x.double(), classes)
        for (what, count, ours, theirs), (*_, exact, their_exact) in zip(single, double, strict=True):
            yield race(
                f"{what}, {name}, {count}",
                ours,
                "captum",
                theirs,
                same=partial(same, exact=exact, their_exact=their_exact),
                goal=0.95,
                rounds=rounds,
                clock=clock,
            )


def loaded(name: str) -> tuple[nn.Module, Tensor]:
    """A network, and images that it takes."""
    torch.manual_seed(0)
    if "/" in name:
        net = zoo.load(name)
        model, x = net.model, net.prepare(diorama.load("test", 64).images)
    else:
        model, x = getattr(torchvision.models, name)(weights=None), torch.randn(16, 3, 224, 224)
    x[:, 0, 0, 0], x[:, 0, 0, 1] = x.min(), x.max()
    return model.eval().requires_grad_(False), x


def methods(
    model: nn.Module, name: str, x: Tensor, classes: Tensor
) -> Iterator[tuple[str, str, Callable[[], Tensor], Callable[[], Tensor]]]:
    """Name of each method, the number of images, ours and captum's."""
    from captum import attr

    few, their = x[: len(x) // TIMES], classes[: len(x) // TIMES]  # with all copies as many pictures as x
    all_of, copies = f"{len(x)} images", f"{len(few)} images × {TIMES}"
    spread = float(x.max() - x.min())
    captums = partial(quietly, x, target=classes)
    cam = attr.LayerGradCam(model, model.get_submodule(LAST[name]))

    def ours_noisy() -> Tensor:
        g = torch.Generator().manual_seed(0)
        return smooth_grad(model, few, their, samples=TIMES, noise=0.15, generator=g)

    def their_noisy() -> Tensor:
        torch.manual_seed(0)
        tunnel = attr.NoiseTunnel(attr.Saliency(model))
        return quietly(few, tunnel, nt_samples=TIMES, stdevs=0.15 * spread, target=their, abs=False)

    yield (
        "gradient",
        all_of,
        lambda: gradient(model, x, classes),
        partial(captums, attr.Saliency(model), abs=False),
    )
    yield (
        "gradient × input",
        all_of,
        lambda: gradient_times_input(model, x, classes),
        partial(captums, attr.InputXGradient(model)),
    )
    yield "SmoothGrad", copies, ours_noisy, their_noisy
    yield (
        "integrated gradients",
        copies,
        lambda: integrated_gradients(model, few, their, steps=TIMES),
        partial(quietly, few, attr.IntegratedGradients(model), target=their, n_steps=TIMES),
    )
    yield (
        "guided backprop",
        all_of,
        lambda: project(model, x, classes, rule="guided"),
        partial(captums, attr.GuidedBackprop(model)),
    )
    yield (
        "deconvnet",
        all_of,
        lambda: project(model, x, classes, rule="deconvnet"),
        partial(captums, attr.Deconvolution(model)),
    )
    yield (
        "Grad-CAM",
        all_of,
        lambda: grad_cam(model, x, LAST[name], classes),
        lambda: captums(cam, relu_attributions=True)[:, 0],
    )


def quietly(x: Tensor, method: Any, **settings: Any) -> Tensor:
    """captum's maps without its warnings that it sets hooks and asks for gradients."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found: Tensor = method.attribute(x, **settings)
    return found.detach()


def same(ours: Tensor, theirs: Tensor, exact: Callable[[], Tensor], their_exact: Callable[[], Tensor]) -> str:
    """Raises: AssertionError where the maps differ, in double precision at all and in single by more than a little."""
    torch.set_default_dtype(torch.float64)  # of captum's noise and weights, and ours
    try:
        one, other = exact(), their_exact()
    finally:
        torch.set_default_dtype(torch.float32)
    apart = float((one - other).abs().max() / other.abs().max())
    assert one.shape == other.shape and apart <= MOST, f"maps differ by {apart:.1e} of the largest value"
    mean = float((ours - theirs).abs().mean() / theirs.abs().mean())
    assert mean <= APART, f"in single precision maps differ by {mean:.1e} of the mean"
    return f"largest difference in double precision {apart:.0e}, mean in single {mean:.0e}"


if __name__ == "__main__":
    report(rows)
