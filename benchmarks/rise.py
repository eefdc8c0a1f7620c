"""RISE beside the procedure as it was published, and beside the forward pass of as many pictures.

    python benchmarks/rise.py                    # three minutes on two cores

The published procedure (Petsiuk, Das & Saenko, BMVC 2018, section 3.2) draws all masks first and holds them in memory,
each grid enlarged on its own; then it shows the masked images in batches and adds up score · mask. Here it gets the
grids and shifts of ours, and its map is divided by the sum of the masks in place of the expected sum, as ours is.
Memory is the most that a process of its own has during the run, less what it had before.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
import torchvision
from side_by_side import Clock, Row, grown, race, report
from torch import Tensor, nn
from torch.nn import functional

from cnnvis_helpers import diorama, zoo
from cnnvis_helpers.rise import rise

CASES = {"diorama/alexnet": 500, "resnet18": 48}  # network: masks
CELLS, KEEP, BATCH, CLASS = 7, 0.5, 64, 3
MOST = 1e-4  # difference of the maps, as a share of their range
MEMORY = (500, 4000)  # masks


def rows(rounds: int, clock: Clock) -> Iterator[Row]:
    """Time on two networks, memory on one."""
    for name, masks in CASES.items():
        model, x = loaded(name)
        ours = partial(ours_of, model, x, masks)
        what = f"RISE, {name}, {masks} masks"
        how: dict[str, Any] = {"rounds": rounds, "clock": clock}
        yield race(what, ours, "as published", partial(published, model, x, masks), same=same, **how)
        yield race(
            what,
            ours,
            "forward pass",
            partial(bare, model, x, masks),
            same=as_many,
            faster=False,
            goal=1.15,
            **how,
        )
    few, many = ([memory(count) for _ in range(3)] for count in MEMORY)
    yield Row(
        what=f"RISE, diorama/alexnet, memory with {MEMORY[1]:,} masks",
        against=f"with {MEMORY[0]:,}",
        ours=sorted(many)[1],
        other=sorted(few)[1],
        ratios=[m / f for m, f in zip(many, few, strict=True)],
        faster=False,
        goal=1.2,
        same="in processes of their own",
        unit="MB",
    )


def loaded(name: str) -> tuple[nn.Module, Tensor]:
    """A network, and one image that it takes."""
    torch.manual_seed(0)
    if "/" in name:
        net = zoo.load(name)
        return net.model.eval(), net.prepare(diorama.sample(1).images)
    x = torch.randn(1, 3, 224, 224).contiguous(memory_format=torch.channels_last)  # as net.prepare gives them
    return getattr(torchvision.models, name)(weights=None).eval(), x


def ours_of(model: nn.Module, x: Tensor, masks: int) -> Tensor:
    """Our map, (H, W)."""
    g = torch.Generator().manual_seed(0)
    return rise(model, x, CLASS, masks=masks, cells=CELLS, keep=KEEP, generator=g, batch=BATCH)[0]


@torch.no_grad()
def published(model: nn.Module, x: Tensor, count: int) -> Tensor:
    """The map of the published procedure, (H, W)."""
    side = x.shape[-1]
    cell = -(-side // CELLS)
    draws = torch.rand(count, CELLS**2 + 2, generator=torch.Generator().manual_seed(0))
    masks = torch.empty(count, side, side)
    for i, draw in enumerate(draws):
        grid = (draw[:-2] < KEEP).float().view(1, 1, CELLS, CELLS)
        large = functional.interpolate(grid, size=((CELLS + 1) * cell,) * 2, mode="bilinear")[0, 0]
        down, across = (draw[-2:] * cell).long().tolist()
        masks[i] = large[down : down + side, across : across + side]
    scores = torch.cat([model(x * part[:, None]).softmax(1)[:, CLASS] for part in masks.split(BATCH)])
    expected = (scores @ masks.flatten(1)).view(side, side) / count / KEEP
    return expected * (count * KEEP) / masks.sum(0)


@torch.no_grad()
def bare(model: nn.Module, x: Tensor, count: int) -> int:
    """The forward pass of as many pictures, in the faster memory layout; how many they were."""
    pictures = x.repeat(BATCH, 1, 1, 1).contiguous(memory_format=torch.channels_last)
    return sum(len(model(pictures[: min(BATCH, count - done)])) for done in range(0, count, BATCH))


def same(ours: Tensor, theirs: Tensor) -> str:
    """Raises: AssertionError where the maps differ."""
    apart = float((ours - theirs).abs().max() / (theirs.max() - theirs.min()))
    assert ours.shape == theirs.shape and apart <= MOST, f"maps differ by {apart:.1e} of their range"
    return f"largest difference {apart:.0e} of the map's range"


def as_many(ours: Tensor, count: int) -> str:
    """The forward pass gives no map: all that can be compared is that it did the work."""
    return f"{count} pictures"


def memory(masks: int) -> float:
    """MB by which a process of its own grows."""
    command = [sys.executable, __file__, "--memory-of", str(masks)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


if __name__ == "__main__":
    if "--memory-of" in sys.argv:
        torch.set_num_threads(1)
        network, image = loaded("diorama/alexnet")
        bare(network, image, 2 * BATCH)
        print(grown(lambda: ours_of(network, image, int(sys.argv[-1]))))
    else:
        report(rows)
