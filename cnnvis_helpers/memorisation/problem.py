"""A problem small enough to train on again and again, and networks for it.

- `small_problem`, `Problem`: images of four classes with labels, for training, validation and test
- `relabelled`: the same images, a share of the training labels drawn at random
- `small_net`: a ConvNet of two convolutions, as wide as you ask
- `normalise`: what the network takes

    problem = small_problem()
    problem.images.shape                                 # (1000, 3, 32, 32)
    model = small_net(width=16, dropout=0.5, seed=0)
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor, nn

from cnnvis_helpers import diorama, images
from cnnvis_helpers.networks import MEAN, STD

SIZE = 32  # pixels a side

normalise = partial(images.normalise, mean=MEAN, std=STD)


@dataclass(frozen=True)
class Problem:
    """Images (n, 3, H, W) in [0, 1] and class numbers (n,), of three sets.

    `labels` are what a network is told of the training images, `truth` is what they show; in the other two sets labels
    are always true. Choose epochs and settings by the validation set: the test set is for the result.
    """

    images: Tensor
    labels: Tensor
    truth: Tensor
    validation_images: Tensor
    validation_labels: Tensor
    test_images: Tensor
    test_labels: Tensor
    classes: tuple[str, ...]

    @property
    def wrong(self) -> Tensor:
        """Training images with a wrong label (N,): what is right of them can only be known by heart."""
        return self.labels != self.truth


def small_problem(
    count: int = 1000,
    *,
    classes: Sequence[str] = ("car", "tree", "boat", "flower"),
    validation: int = 200,
    tests: int = 400,
    progress: bool = True,
) -> Problem:
    """The first `count` training images of some Diorama classes, 32×32, the next for validation, and test images.

    At 96 pixels they are drawn once and kept (`diorama.load`): of 16 images 4 are used, so that the first call draws
    4,800 training and 1,600 test images, about a minute on one core.

    Args:
        classes: names from `diorama.CLASSES`; class number i of the problem is the i-th of them.
        validation, tests: how many images for validation and for the test.
        progress: show a bar while images are drawn.

    Raises: ValueError for an unknown class, fewer than two, one named twice, or more images than there are.
    """
    unknown = [name for name in classes if name not in diorama.CLASSES]
    if unknown or len(classes) < 2 or len(set(classes)) < len(classes):
        raise ValueError(
            f"Two classes or more are needed, each once, of {', '.join(diorama.CLASSES)}; not {', '.join(classes)}."
        )
    if min(count, validation, tests) < 1:
        raise ValueError(f"At least one image is needed in each set, not {count}, {validation} and {tests}.")
    x, y = _of("train", classes, count + validation, progress)
    x_test, y_test = _of("test", classes, tests, progress)
    return Problem(
        x[:count], y[:count], y[:count].clone(), x[count:], y[count:], x_test, y_test, tuple(classes)
    )


def relabelled(problem: Problem, share: float, *, seed: int = 0) -> Problem:
    """The same problem with a share of its training labels drawn evenly from all classes (Zhang et al., ICLR 2017).

    Some are right by chance, one in as many as there are classes: `Problem.wrong` says which are not. With one seed a
    larger share contains the smaller one.

    Raises: ValueError for a share that is not between 0 and 1.
    """
    if not 0 <= share <= 1:
        raise ValueError(f"share is a part of the labels, from 0 to 1, not {share}.")
    generator = torch.Generator().manual_seed(seed)
    n = len(problem.truth)
    chosen = torch.randperm(n, generator=generator)[: round(share * n)]
    drawn = torch.randint(len(problem.classes), (n,), generator=generator)
    labels = problem.truth.clone()
    labels[chosen] = drawn[chosen]
    return replace(problem, labels=labels)


def small_net(width: int = 16, *, classes: int = 4, dropout: float = 0.0, seed: int = 0) -> nn.Sequential:
    """A ConvNet for 32×32 images; its capacity grows with the square of its width.

    Layers: conv1 (`width` filters, 5×5), relu1, pool1, conv2 (2 · width, 3×3), relu2, pool2, flatten, fc1 (8 · width),
    relu3, dropout, fc2. About 1050 · width² parameters, nearly all in fc1: 17,148 for width 4, 268,644 for 16.

    Args:
        dropout: probability of dropping a unit of fc1 while training; 0 to below 1.
        seed: decides the first weights (torch's own initialisation), without touching the global generator.

    Returns: a network in training mode, (N, 3, 32, 32) normalised images → (N, classes) logits.
    Raises: ValueError for a width below 1, fewer than two classes or a dropout out of range.
    """
    if width < 1 or classes < 2 or not 0 <= dropout < 1:
        raise ValueError(
            "A width of 1, two classes and a dropout from 0 to below 1 are needed, not "
            f"width {width}, classes {classes}, dropout {dropout}."
        )
    side = SIZE // 4
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        layers: OrderedDict[str, nn.Module] = OrderedDict(
            conv1=nn.Conv2d(3, width, 5, padding=2),
            relu1=nn.ReLU(),
            pool1=nn.MaxPool2d(2),
            conv2=nn.Conv2d(width, 2 * width, 3, padding=1),
            relu2=nn.ReLU(),
            pool2=nn.MaxPool2d(2),
            flatten=nn.Flatten(),
            fc1=nn.Linear(2 * width * side * side, 8 * width),
            relu3=nn.ReLU(),
            dropout=nn.Dropout(dropout),
            fc2=nn.Linear(8 * width, classes),
        )
    return nn.Sequential(layers)


def _of(split: str, classes: Sequence[str], count: int, progress: bool) -> tuple[Tensor, Tensor]:
    """The first `count` images of some classes, small, and their numbers; image i of a split has class i mod 16."""
    every = len(diorama.CLASSES)
    most = diorama.SPLITS[split] // every * len(classes)
    if count > most:
        raise ValueError(f"The {split} split has {most} images of {len(classes)} classes, not {count}.")
    drawn = diorama.load(split, -(-count // len(classes)) * every, labels=False, progress=progress)
    numbers = torch.tensor([diorama.CLASSES.index(name) for name in classes])
    match = drawn.labels[:, None] == numbers
    rows = match.any(1).nonzero().flatten()[:count]
    return images.fit(drawn[rows.numpy()].images, SIZE), match[rows].long().argmax(1)
