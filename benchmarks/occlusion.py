"""What occlusion costs: picture by picture, by what the window changes, and by captum's `Occlusion`.

    python benchmarks/occlusion.py                     # a quarter of an hour on two cores
    python benchmarks/occlusion.py --only alexnet      # networks with this in their names

For each network, on one random image with random weights (the course's own networks: theirs): seconds of each way,
medians of runs that take turns; how many times faster the incremental way is, the median of the ratios within
rounds and their range; the multiplications, and the largest difference of its logits from the plain ones'. captum
runs as many pictures at a time as is fastest of 1, 8, 32 and 64. It gives attributions, not logits; these must be
the same where its windows and ours lie alike, which is checked as well.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial

import captum
import torch
import torchvision
from captum.attr import Occlusion
from torch import Tensor, nn

from cnnvis_helpers import zoo
from cnnvis_helpers.occlusion import multiplications, occlude

CASES = {  # network: size of the image, window, stride
    "vgg16": (224, 32, 16),
    "alexnet": (224, 32, 16),
    "resnet18": (224, 32, 16),
    "diorama/alexnet": (96, 24, 6),
    "diorama/vgg": (96, 24, 6),
    "diorama/googlenet": (96, 24, 6),
    "diorama/resnet": (96, 24, 6),
}
PER_EVALUATION = (1, 8, 32, 64)
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


def measure(name: str, rounds: int, clock: Callable[[], float], tried: Sequence[int]) -> None:
    """Print one network's line."""
    size, window, stride = CASES[name]
    model, x = network(name), torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(1))

    def seconds(run: Callable[[], object]) -> float:
        before = clock()
        run()
        return clock() - before

    def captums(at_once: int) -> Tensor:
        attributions: Tensor = Occlusion(model).attribute(
            x,
            target=0,
            sliding_window_shapes=(3, window, window),
            strides=(3, stride, stride),
            perturbations_per_eval=at_once,
        )
        return attributions

    with torch.no_grad():
        at_once = min(tried, key=lambda n: seconds(partial(captums, n))) if len(tried) > 1 else tried[0]
        ours = partial(occlude, model, x, window=window, stride=stride)
        plain, fast = ours(method="plain"), ours(method="incremental")
        error = float((plain.logits - fast.logits).abs().max())
        apart = float((fast.attribution(0) - captums(at_once)[:, 0]).abs().max())
        assert error <= MOST, f"{name}: logits differ by {error:.1e}"
        assert apart <= MOST or (size - window) % stride, f"{name}: captum's map differs by {apart:.1e}"
        times = [
            (
                seconds(partial(captums, at_once)),
                seconds(partial(ours, method="plain")),
                seconds(partial(ours, method="incremental")),
            )
            for _ in range(rounds)
        ]
    work = multiplications(model, x, window=window, stride=stride)
    medians = [statistics.median(column) for column in zip(*times, strict=True)]
    ratios = [sorted(t[way] / t[2] for t in times) for way in (0, 1)]
    shown = [f"{statistics.median(r):5.2f} ({r[0]:.2f}-{r[-1]:.2f})" for r in ratios]
    print(
        f"{name:18}{medians[0]:8.2f}{medians[1]:8.2f}{medians[2]:12.2f}   {shown[0]:19}{shown[1]:19}"
        f"{work.plain / 1e9:8.0f}{work.incremental / 1e9:8.0f}{work.ratio:6.2f}  {error:.0e}  {at_once}",
        flush=True,
    )


def main() -> None:
    """Print the versions, and one line a network."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", default="", help="part of the networks' names")
    parser.add_argument(
        "--busy", action="store_true", help="one thread and its CPU time, where others use the machine too"
    )
    parser.add_argument(
        "--captum-batch", type=int, nargs="+", default=PER_EVALUATION, help="tried; the fastest counts"
    )
    args = parser.parse_args()
    args.threads = 1 if args.busy else args.threads
    torch.set_num_threads(args.threads)
    print(
        f"Python {platform.python_version()}, torch {torch.__version__}, torchvision {torchvision.__version__}, "
        f"captum {captum.__version__}; {args.threads} threads, {args.rounds} rounds"
        f"{', CPU time' if args.busy else ''}"
    )
    print(
        f"{'':18}{'seconds':^28}   {'times faster than':38}{'10⁹ multiplications':>22}\n"
        f"{'':18}{'captum':>8}{'plain':>8}{'incremental':>12}   {'captum':19}{'plain':19}"
        f"{'plain':>8}{'incr.':>8}{'ratio':>6}  error  captum's batch"
    )
    for name in CASES:
        if args.only in name:
            measure(
                name, args.rounds, time.process_time if args.busy else time.perf_counter, args.captum_batch
            )


if __name__ == "__main__":
    main()
