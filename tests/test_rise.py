"""RISE: the masks' statistics, an obvious loop, flat maps for constant classifiers; nothing is changed."""

import math

import numpy as np
import pytest
import scipy.ndimage
import torch
from torch import Tensor, nn

from cnnvis_helpers.rise import random_masks, rise, rise_steps


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def batch(n: int, height: int, width: int, seed: int = 1) -> Tensor:
    return torch.randn(n, 3, height, width, generator=generator(seed))


def network(seed: int = 3) -> nn.Sequential:
    """A small ConvNet with everything that could leave a trace: in-place ReLUs, dropout, batch norm."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return nn.Sequential(
            nn.ReLU(inplace=True),
            nn.Conv2d(3, 8, 5, stride=2),
            nn.BatchNorm2d(8),
            nn.ReLU(inplace=True),
            nn.Dropout(),
            nn.AdaptiveAvgPool2d(3),
            nn.Flatten(),
            nn.Linear(72, 5),
        )


class Constant(nn.Module):
    """A classifier that always says the same."""

    def __init__(self, *logits: float) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.tensor(logits, dtype=torch.float32))

    def forward(self, x: Tensor) -> Tensor:
        return self.logits.expand(len(x), -1)


# --- masks ----------------


def obvious_masks(count: int, height: int, width: int, cells: int, keep: float, seed: int) -> np.ndarray:
    """The masks one at a time, from the same random numbers, enlarged by scipy."""
    draws = torch.rand(count, cells * cells + 2, generator=generator(seed)).double().numpy()
    cell = (math.ceil(height / cells), math.ceil(width / cells))
    result = []
    for row in draws:
        grid = (row[:-2].reshape(cells, cells) < keep).astype(float)
        # The centre of pixel i of n lies at (i + ½)/n of the grid's extent.
        places = [((np.arange((cells + 1) * c) + 0.5) / ((cells + 1) * c)) * cells - 0.5 for c in cell]
        large = scipy.ndimage.map_coordinates(
            grid, np.meshgrid(*places, indexing="ij"), order=1, mode="nearest"
        )
        top, left = int(row[-2] * cell[0]), int(row[-1] * cell[1])
        result.append(large[top : top + height, left : left + width])
    return np.stack(result)


@pytest.mark.parametrize(("height", "width", "cells"), [(24, 24, 7), (20, 33, 4), (9, 7, 7), (5, 6, 1)])
def test_masks_against_scipy_one_at_a_time(height: int, width: int, cells: int) -> None:
    masks = random_masks(20, (height, width), cells=cells, keep=0.4, generator=generator(5))
    assert masks.shape == (20, height, width) and masks.dtype == torch.float32
    assert np.abs(masks.numpy() - obvious_masks(20, height, width, cells, 0.4, 5)).max() < 1e-5
    assert masks.min() >= 0 and masks.max() <= 1


@pytest.mark.parametrize("keep", [0.2, 0.5])
def test_coverage_has_the_expected_value_everywhere(keep: float) -> None:
    masks = random_masks(20_000, (14, 20), cells=4, keep=keep, generator=generator())
    mean, error = masks.mean(0), masks.std(0) / math.sqrt(len(masks))
    # 280 pixels, not independent: none should be further off than 4.5 standard errors (0.3 % chance if they were).
    assert ((mean - keep) / error).abs().max() < 4.5
    assert error.max() < 0.004
    assert ((mean - keep).abs() > 1e-4).any()  # finite numbers scatter, which is why rise divides by the sum


def test_the_grid_takes_every_shift() -> None:
    masks = random_masks(400, 12, cells=2, keep=0.5, generator=generator())
    assert len(masks.round(decimals=4).unique(dim=0)) > 100  # 16 grids, 36 shifts; without shifts 16 masks


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"count": 0}, "1 or more, not 0"),
        ({"cells": 0}, "1 to 12"),
        ({"cells": 13}, "1 to 12 for 12 × 15"),
        ({"keep": 0.0}, "above 0 and below 1"),
        ({"keep": 1.0}, "above 0 and below 1"),
        ({"keep": float("nan")}, "above 0 and below 1"),
    ],
)
def test_settings_out_of_range(settings: dict[str, float], said: str) -> None:
    settings = {"count": 5, "cells": 7, "keep": 0.5, **settings}
    count = settings.pop("count")
    with pytest.raises(ValueError, match=said):
        random_masks(count, (12, 15), generator=generator(), **settings)
    with pytest.raises(ValueError, match=said):
        rise(Constant(0, 1), batch(1, 12, 15), masks=count, generator=generator(), **settings)


# --- maps ----------------


@pytest.mark.parametrize("score", ["probability", "logit"])
def test_against_an_obvious_loop(score: str) -> None:
    model, x, fill = network().eval(), batch(2, 15, 13), batch(2, 15, 13, seed=8)
    maps = rise(model, x, [1, 4], masks=50, cells=3, keep=0.3, fill=fill, score=score, generator=generator(2))
    total, coverage = torch.zeros(2, 15, 13), torch.zeros(15, 13)
    with torch.no_grad():
        for mask in torch.from_numpy(obvious_masks(50, 15, 13, 3, 0.3, 2)).float():
            y = model(mask * x + (1 - mask) * fill)
            y = y.softmax(1) if score == "probability" else y
            total += y[[0, 1], [1, 4]][:, None, None] * mask
            coverage += mask
    expected = total / coverage
    assert torch.allclose(maps, expected, atol=1e-5)
    assert expected.amax((1, 2)).sub(expected.amin((1, 2))).min() > 1e-3  # there is something to compare


def test_every_class_in_one_pass() -> None:
    model, x = network(), batch(2, 12, 12)
    every = rise(model, x, "all", masks=40, generator=generator())
    assert every.shape == (2, 5, 12, 12)
    for number in range(5):
        assert torch.allclose(
            every[:, number], rise(model, x, number, masks=40, generator=generator()), atol=1e-6
        )
    assert torch.allclose(every.sum(1), torch.ones(2, 12, 12), atol=1e-5)  # probabilities of all classes
    predicted = model.eval()(x.clone()).argmax(1)
    assert torch.allclose(
        rise(model, x, masks=40, generator=generator()), every[[0, 1], predicted], atol=1e-6
    )


@pytest.mark.parametrize("masks", [1, 3, 500])
def test_a_constant_classifier_gives_a_flat_map(masks: int) -> None:
    x = batch(2, 20, 23)
    for keep in (0.1, 0.5):
        maps = rise(Constant(0, 1, 2), x, 1, masks=masks, keep=keep, generator=generator())
        share = 1 / (math.exp(-1) + 1 + math.exp(1))
        assert (maps - share).abs().max() < 1e-6
    maps = rise(Constant(0, -3), x, 1, masks=masks, score="logit", generator=generator())
    assert (maps + 3).abs().max() < 3e-6


def test_it_finds_the_pixels_that_a_classifier_looks_at() -> None:
    """Mean colour of a square, shown bright on nothing: what lies elsewhere cannot matter."""

    class Looks(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            here = x[:, :, 4:8, 12:16].mean((1, 2, 3))
            return torch.stack([torch.zeros_like(here), 8 * here - 4], 1)

    maps = rise(Looks(), torch.ones(1, 3, 24, 24), 1, masks=2000, cells=6, generator=generator())[0]
    row, column = divmod(int(maps.argmax()), 24)
    assert 4 <= row < 8 and 12 <= column < 16
    far = maps[14:, :8]  # more than a cell away: independent of what is shown in the square, but for noise
    assert maps.max() - far.mean() > 0.2
    assert far.std() < 0.03


@pytest.mark.parametrize("n", [1, 3])
def test_batches_do_not_matter(n: int) -> None:
    model, x = network(), batch(n, 12, 14)
    sizes = [rise(model, x, 2, masks=37, batch=size, generator=generator()) for size in (1, 7, 64, 1000)]
    for other in sizes[1:]:
        assert (other - sizes[0]).abs().max() < 1e-6
    assert (rise(model, x, 2, masks=37, generator=generator(1)) - sizes[0]).abs().max() > 1e-5


def test_one_set_of_masks_for_all_images() -> None:
    model, x = network(), batch(3, 12, 12)
    together = rise(model, x, [0, 1, 2], masks=30, generator=generator())
    for i in range(3):
        assert (
            together[i] - rise(model, x[i : i + 1], i, masks=30, generator=generator())[0]
        ).abs().max() < 1e-6


def test_steps_lead_to_the_whole_and_are_right_on_the_way() -> None:
    model, x = network(), batch(2, 12, 12)
    steps = list(rise_steps(model, x, 1, masks=50, batch=32, generator=generator()))
    assert [done for done, _ in steps] == [16, 32, 48, 50]
    assert torch.equal(steps[-1][1], rise(model, x, 1, masks=50, batch=32, generator=generator()))
    # The first 16 of 50 masks are not what 16 masks would be: only the generator's order of drawing is the same.
    assert (steps[0][1] - rise(model, x, 1, masks=16, batch=32, generator=generator())).abs().max() < 1e-6


def test_pixels_that_no_mask_has_shown_have_the_mean_score() -> None:
    mask = random_masks(1, 20, keep=0.2, generator=generator())[0]
    assert (mask == 0).any() and (mask > 0).any()
    maps = rise(network(), batch(1, 20, 20), 1, masks=1, keep=0.2, generator=generator())
    assert maps.isfinite().all() and float(maps.std()) < 1e-6


# --- errors, and no traces ----------------


@pytest.mark.parametrize(
    ("x", "settings", "said"),
    [
        (batch(1, 8, 8)[0], {}, r"x\[None\]"),
        (batch(1, 8, 8)[:0], {}, "at least one"),
        (batch(1, 8, 8) * float("inf"), {}, "x holds NaN or infinite"),
        (batch(2, 8, 8), {"target_class": 2}, "no class 2"),
        (batch(2, 8, 8), {"target_class": [0]}, "one for each of 2 images"),
        (batch(2, 8, 8), {"target_class": "cat"}, "'cat'; it must be class numbers, None or 'all'"),
        (batch(2, 8, 8), {"score": "loss"}, "'logit' or 'probability'"),
        (batch(2, 8, 8), {"batch": 0}, "1 or more, not 0"),
        (batch(2, 8, 8), {"fill": torch.zeros(2)}, "fill has the shape"),
    ],
)
def test_bad_input_raises_at_the_call(x: Tensor, settings: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        rise_steps(Constant(0, 1), x, generator=generator(), **settings)


class Returns(nn.Module):
    """Gives the same whatever comes in."""

    def __init__(self, output: object) -> None:
        super().__init__()
        self.output = output

    def forward(self, x: Tensor) -> object:
        return self.output


@pytest.mark.parametrize(
    ("output", "said"),
    [
        ((torch.zeros(1, 2),), "returns a tuple"),
        ({"out": torch.zeros(1, 2)}, "returns a dict"),
        (torch.full((1, 2), float("nan")), "weights are broken"),
    ],
)
def test_models_that_are_no_classifiers(output: object, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        rise(Returns(output), batch(1, 8, 8), generator=generator())


class Stops(nn.Module):
    """Raises in its third run, as a reader who interrupts does."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model, self.runs = model, 0

    def forward(self, x: Tensor) -> Tensor:
        self.runs += 1
        if self.runs == 3:
            raise KeyboardInterrupt
        return self.model(x)


@pytest.mark.parametrize("how", ["to the end", "left early", "interrupted"])
def test_nothing_is_changed(how: str) -> None:
    model = nn.Sequential(Stops(network()) if how == "interrupted" else network()).train()
    next(iter(model.parameters())).requires_grad_(False)
    x = batch(2, 13, 13).requires_grad_()
    copy = x.detach().clone()
    state = {name: value.clone() for name, value in model.state_dict().items()}
    wanted = [p.requires_grad for p in model.parameters()]
    random = torch.get_rng_state()

    def unchanged() -> bool:
        return (
            torch.equal(x, copy)
            and x.grad is None
            and x.requires_grad
            and all(module.training for module in model.modules())
            and [p.requires_grad for p in model.parameters()] == wanted
            and all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
            and torch.equal(torch.get_rng_state(), random)
            and torch.is_grad_enabled()
        )

    if how == "to the end":
        assert not rise(model, x, masks=8, batch=4, generator=generator(), progress=True).requires_grad
    elif how == "left early":
        steps = rise_steps(model, x, masks=8, batch=4, generator=generator())
        next(steps)
        assert unchanged()  # between the steps, too
        del steps
    else:
        with pytest.raises(KeyboardInterrupt):
            rise(model, x, masks=8, batch=4, generator=generator())
    assert unchanged()


def test_double_precision_models() -> None:
    maps = rise(network().double(), batch(1, 12, 12).double(), 1, masks=20, generator=generator())
    single = rise(network(), batch(1, 12, 12), 1, masks=20, generator=generator())
    assert maps.dtype == torch.float32 and torch.allclose(maps, single, atol=1e-5)
