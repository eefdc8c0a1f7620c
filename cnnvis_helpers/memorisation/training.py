"""Training to watch: a loop that reports after every epoch, with the usual means against memorising.

- `train`: an iterator over the epochs; stop it when you like
- `Epoch`: what it reports
- `moved`: the augmentation
- `stored`, `TABLE`: many such runs, with several seeds, that come with the package

    for epoch in train(model, problem, epochs=30, weight_decay=1e-3, shift=3):
        print(epoch.number, epoch.loss, epoch.train, epoch.test)
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn import functional

from cnnvis_helpers.adversarial.attacks import Normalise
from cnnvis_helpers.hooks import frozen
from cnnvis_helpers.memorisation.critical import critical_samples
from cnnvis_helpers.memorisation.problem import Problem, normalise
from cnnvis_helpers.scores import logits

TABLE = Path(__file__).parents[1] / "tables" / "memorisation.csv"
MOMENTUM = 0.9
_EVALUATED = 100  # images that pass at once where no gradient is needed


class Epoch(NamedTuple):
    """After an epoch; accuracies from 0 to 1, measured in evaluation mode on unchanged images.

    loss: mean over the epoch of what was minimised, −log ŷ of the labels given, without the L2 term. train: accuracy on
    the labels given. validation, test: on true labels. wrong: share of the wrongly labelled training images for which
    the network says the wrong label (NaN where all labels are true): what it has learned by heart.
    """

    number: int
    loss: float
    train: float
    validation: float
    test: float
    wrong: float


def train(
    model: nn.Module,
    problem: Problem,
    *,
    epochs: int = 40,
    rate: float = 0.02,
    weight_decay: float = 0.0,
    shift: int = 0,
    critical: float = 0.0,
    batch: int = 64,
    normalise: Normalise = normalise,
    seed: int = 0,
) -> Iterator[Epoch]:
    """Train `model` in place and yield an `Epoch` after each pass over the training images.

    Stochastic gradient descent with momentum 0.9 on −log ŷ of `problem.labels`. Between two epochs the model is in
    evaluation mode, ready to be looked at. Early stopping is a `break`, a progress bar `tqdm(train(…), total=epochs)`;
    capacity and dropout are settings of the model. On one machine with one number of threads the same call gives the
    same numbers; elsewhere, rounding is amplified by training, and curves agree in shape alone. The global random state
    is left as it was (on the CPU).

    Args:
        rate: learning rate.
        weight_decay: λ of the L2 term ½ λ |w|² on all parameters.
        shift: augmentation: every image is moved at random by up to so many pixels each way (the border is repeated)
            and mirrored with probability ½, anew in each epoch.
        critical: radius of critical samples to train on; 0 for none. Before each epoch but the first, neighbours of the
            training images that get another class are searched within it (`critical_samples`, in evaluation mode) and
            trained on next to the images, with the labels of these.
        batch: images a step.
        normalise: images in [0, 1] → what the model takes.
        seed: decides order, augmentation, dropout and the search.

    Raises: ValueError for settings out of range, labels that the model does not have, and a loss that is not finite.
    """
    if epochs < 1 or batch < 1 or shift < 0 or not (rate > 0 and math.isfinite(rate)):
        raise ValueError(
            "One epoch, batches of one, a shift of 0 and a rate above 0 at least are needed, not "
            f"epochs {epochs}, batch {batch}, shift {shift}, rate {rate}."
        )
    if not 0 <= weight_decay < math.inf or not 0 <= critical <= 1:
        raise ValueError(
            "weight_decay is 0 or more and critical a radius from 0 to 1, such as 2 / 255, not "
            f"{weight_decay} and {critical}."
        )
    with frozen(model), torch.no_grad():
        classes = logits(model, normalise(problem.images[:1].clone())).shape[1]
    if int(problem.labels.max()) >= classes:
        raise ValueError(f"The labels go up to {int(problem.labels.max())}; the model has {classes} classes.")
    optimiser = torch.optim.SGD(model.parameters(), rate, momentum=MOMENTUM, weight_decay=weight_decay)

    def run() -> Iterator[Epoch]:
        for number in range(1, epochs + 1):
            generator = torch.Generator().manual_seed(seed * 100_003 + number)
            x, labels = problem.images, problem.labels
            if critical and number > 1:
                near = critical_samples(model, x, critical, normalise=normalise, generator=generator)
                x, labels = torch.cat([x, near.images[near.mask]]), torch.cat([labels, labels[near.mask]])
            losses = _pass(model, optimiser, x, labels, normalise, shift, batch, generator)
            if not math.isfinite(losses):
                raise ValueError(f"The loss is {losses} in epoch {number}: try a smaller rate than {rate}.")
            yield _report(model, problem, normalise, number, losses)

    return run()


def _pass(
    model: nn.Module,
    optimiser: torch.optim.Optimizer,
    images: Tensor,
    labels: Tensor,
    normalise: Normalise,
    shift: int,
    batch: int,
    generator: torch.Generator,
) -> float:
    """One epoch; the mean loss. The model is in evaluation mode afterwards, also when it is interrupted."""
    total = 0.0
    # Dropout draws from the global generator, which is put back.
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(int(torch.randint(2**31, (), generator=generator)))
        try:
            model.train()
            for rows in torch.randperm(len(images), generator=generator).split(batch):
                x = moved(images[rows], shift, generator) if shift else images[rows]
                loss = functional.cross_entropy(model(normalise(x)), labels[rows])
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
                total += loss.item() * len(rows)
        finally:
            model.eval()
            optimiser.zero_grad()
    return total / len(images)


def moved(images: Tensor, shift: int, generator: torch.Generator) -> Tensor:
    """Each image moved by up to `shift` pixels each way, the border repeated, and mirrored with probability ½."""
    count, _, height, width = images.shape
    padded = functional.pad(images, [shift] * 4, mode="replicate")
    windows = padded.unfold(2, height, 1).unfold(3, width, 1)  # (N, 3, 2 shift + 1, 2 shift + 1, H, W)
    down, right = torch.randint(2 * shift + 1, (2, count), generator=generator)
    x = windows[torch.arange(count), :, down, right]
    mirrored = torch.rand(count, generator=generator) < 0.5
    return torch.where(mirrored[:, None, None, None], x.flip(3), x)


def _report(model: nn.Module, problem: Problem, normalise: Normalise, number: int, loss: float) -> Epoch:
    def right(images: Tensor, labels: Tensor) -> Tensor:
        with torch.no_grad():
            said = [model(normalise(part)).argmax(1) for part in images.split(_EVALUATED)]
        return (torch.cat(said) == labels).double()

    given = right(problem.images, problem.labels)
    validation = right(problem.validation_images, problem.validation_labels)
    test = right(problem.test_images, problem.test_labels)
    means = [part.mean().item() for part in (given, validation, test, given[problem.wrong])]
    return Epoch(number, loss, *means)


def stored(path: Path = TABLE) -> pd.DataFrame:
    """Many runs of `train`, one line an epoch, as `data_scripts/memorisation_curves.py` writes them.

    Columns: experiment, width, dropout, weight_decay, shift, critical (radius · 255), share (of labels drawn at
    random), seed; those of `Epoch`; and ratio_4, ratio_2, ratio_1: critical-sample ratio of the test images at 4, 2 and
    1 of 255, where it was measured (after the last epoch, and in experiment "labels" after every fifth).
    """
    return pd.read_csv(path)
