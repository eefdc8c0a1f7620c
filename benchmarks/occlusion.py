"""What occlusion costs: picture by picture, by what the window changes, and by captum's `Occlusion`.

    python benchmarks/occlusion.py                     # a quarter of an hour on two cores

For each network, on one random image with random weights (the course's own networks: theirs). captum runs as many
pictures at a time as is fastest of those tried, with the image as a user has it, channel by channel in memory.
Picture by picture is this package's plain loop, which brings pictures into the layout in which convolutions are
fastest: what is gained beyond that is the gain of computing less. captum gives attributions, not logits; these must be
the same where its windows and ours lie alike.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
import torchvision
from captum.attr import Occlusion
from side_by_side import Clock, Row, race, report
from torch import Tensor, nn

from cnnvis_helpers import occlusion, zoo
from cnnvis_helpers.occlusion import multiplications, occlude

CASES = {  # network: size of the image, window, stride, times as fast as captum at least, captum's batches tried
    "vgg16": (224, 32, 16, 6.0, (8,)),
    "alexnet": (224, 32, 16, 2.0, (8, 32)),
    "resnet18": (224, 32, 16, 2.0, (8, 32)),
    "diorama/alexnet": (96, 24, 6, 1.5, (8, 32, 64)),
    "diorama/vgg": (96, 24, 6, 1.5, (8, 32, 64)),
    "diorama/googlenet": (96, 24, 6, 1.5, (8, 32, 64)),
    "diorama/resnet": (96, 24, 6, 1.5, (8, 32, 64)),
}
MOST = 1e-5  # difference of logits


def network(name: str) -> nn.Module:
    """One of the course's, or torchvision's with random weights and random statistics of batch norms."""
    if "/" in name:
        return zoo.load(name).model.eval()
    torch.manual_seed(0)
    model: nn.Module = getattr(torchvision.models, name)(weights=None)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, 0, 0.1)  # type: ignore[arg-type]
            nn.init.uniform_(module.running_var, 0.5, 2)  # type: ignore[arg-type]
    return model.eval()


@torch.no_grad()
def captums(model: nn.Module, x: Tensor, window: int, stride: int, at_once: int) -> Tensor:
    """captum's map of class 0, (1, 3, H, W)."""
    found: Tensor = Occlusion(model).attribute(
        x,
        target=0,
        sliding_window_shapes=(3, window, window),
        strides=(3, stride, stride),
        perturbations_per_eval=at_once,
    )
    return found


def seconds(run: Callable[[], object], clock: Clock) -> float:
    """How long it takes, once."""
    before = clock()
    run()
    return clock() - before


def same_map(ours: occlusion.Occlusion, theirs: Tensor) -> str:
    """Raises: AssertionError where captum's map is another."""
    apart = float((ours.attribution(0) - theirs[:, 0]).abs().max())
    assert apart <= MOST, f"captum's map differs by {apart:.1e}"
    return f"maps, {apart:.0e}"


def same_logits(ours: occlusion.Occlusion, plain: occlusion.Occlusion) -> str:
    """Raises: AssertionError where the logits are others."""
    error = float((ours.logits - plain.logits).abs().max())
    assert error <= MOST, f"logits differ by {error:.1e}"
    return f"logits, {error:.0e}"


def rows(rounds: int, clock: Clock) -> Iterator[Row]:
    """Each network against captum and against the plain loop."""
    for name, (size, window, stride, goal, tried) in CASES.items():
        model, x = network(name), torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(1))
        each = {at_once: partial(captums, model, x, window, stride, at_once) for at_once in tried}
        at_once = min(tried, key=lambda n: seconds(each[n], clock)) if len(tried) > 1 else tried[0]
        run = partial(occlude, model, x, window=window, stride=stride)
        ours, plain = partial(run, method="incremental"), partial(run, method="plain")
        work = f"{multiplications(model, x, window=window, stride=stride).ratio:.2f}"
        how: dict[str, Any] = {"rounds": rounds, "clock": clock, "work": work}
        what = f"occlusion, {name}, {size} px"
        yield race(what, ours, f"captum, {at_once} at a time", each[at_once], same=same_map, goal=goal, **how)
        yield race(what, ours, "picture by picture", plain, same=same_logits, **how)


if __name__ == "__main__":
    report(rows)
