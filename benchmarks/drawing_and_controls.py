"""How long a reader waits: drawing an image, and from a slider to the picture, beside one forward pass.

    python benchmarks/drawing_and_controls.py

Medians over many repetitions in one run, on one thread. The ratio to the forward pass of one image is what to compare
between machines.
"""

from __future__ import annotations

import platform
import statistics
import time
from collections.abc import Callable, Iterable

import torch

from cnnvis_helpers import controls, diorama, receptive_field, survey, zoo


def median_ms(action: Callable[[int], object], runs: Iterable[int]) -> float:
    """Median time of action(run) in milliseconds, after one call that is not counted."""
    numbers = list(runs)
    action(numbers[0])
    times = []
    for number in numbers:
        start = time.perf_counter()
        action(number)
        times.append(1000 * (time.perf_counter() - start))
    return statistics.median(times)


def main() -> None:
    """Print one line a measurement."""
    torch.set_num_threads(1)
    net = zoo.load("diorama/alexnet")
    images = diorama.sample(16).images
    explorer = controls.explorer(net, images)
    training = controls.training_slider(
        {name.partition("@")[2] or "end": zoo.load(name) for name in zoo.checkpoints("diorama/alexnet")},
        images[0],
    )
    studio = controls.studio(net)
    sample = diorama.sample(16)
    occluder = controls.occluder(net, sample.images)
    projector = controls.projector(net, sample.images, ["relu3", "relu5"])
    (top,) = survey.survey(net.model, net.prepare(sample.images), [survey.TopK("relu5", 9)])
    field = receptive_field.receptive_field(net.model, "relu5", (96, 96))
    units = controls.unit_browser({"trained": [top]}, {"relu5": field}, sample.images, [""] * 16)
    browser = controls.filter_browser({"trained": net, "untrained": zoo.load("diorama/alexnet-untrained")})
    for i in range(64):  # draws the tiles of all materials once
        diorama.render("test", i)

    def move(slider: object, values: int) -> Callable[[int], None]:
        def to(number: int) -> None:
            slider.value = 1 + number % (values - 1)  # type: ignore[attr-defined]

        return to

    actions = {
        "forward pass, one image": lambda i: net.probabilities(images[i % 16]),
        "draw an image with its labels": lambda i: diorama.render("test", i),
        "explorer: channel": move(explorer.channel, 40),
        "explorer: image": move(explorer.image, 16),
        "training slider: step": lambda i: setattr(training.step, "value", training.step.options[i % 8]),
        "studio: image": move(studio.number, 200),
        "occluder: across": move(occluder.across, 60),
        "projector: unit": move(projector.unit, 60),
        "unit browser: unit": move(units.channel, 60),
        "filter browser: network": lambda i: setattr(
            browser.network, "value", ("trained", "untrained")[i % 2]
        ),
    }
    print(f"{platform.machine()}, Python {platform.python_version()}, torch {torch.__version__}, one thread")
    base = None
    for name, action in actions.items():
        ms = median_ms(action, range(1, 61))
        base = base or ms
        print(f"{name:32} {ms:7.1f} ms   {ms / base:5.1f} × the forward pass")


if __name__ == "__main__":
    main()
