"""Occlusion: against hand-computed numbers, an obvious loop and captum; nothing of the model or input changes."""

import math
from collections.abc import Callable

import captum.attr
import numpy as np
import pytest
import scipy.ndimage
import torch
import torchvision
from torch import Tensor, nn

from cnnvis_helpers import images, occlusion
from cnnvis_helpers.occlusion import occlude


def linear(height: int, width: int, classes: int = 3, seed: int = 0) -> nn.Sequential:
    """Logits that are weighted sums of the pixels, so every effect of a window can be added up by hand."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * height * width, classes))
    numbers = torch.randn(model[1].weight.shape, generator=torch.Generator().manual_seed(seed))
    model[1].weight.data = numbers
    return model


def batch(n: int, height: int, width: int, seed: int = 1) -> Tensor:
    return torch.randn(n, 3, height, width, generator=torch.Generator().manual_seed(seed))


def network() -> nn.Sequential:
    """A small ConvNet with everything that could leave a trace: in-place ReLUs, dropout, batch norm."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(3)
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


# --- places ----------------


def test_positions_by_hand() -> None:
    tops, lefts = occlusion.positions(9, 10, 4, 3)
    assert tops.tolist() == [0, 3, 5] and lefts.tolist() == [0, 3, 6]
    tops, lefts = occlusion.positions(6, 8, (6, 2), (1, 5))
    assert tops.tolist() == [0] and lefts.tolist() == [0, 5, 6]


@pytest.mark.parametrize("size", [5, 12, 17])
@pytest.mark.parametrize("window", [1, 4, 5])
@pytest.mark.parametrize("stride", [1, 3, 4])
def test_windows_are_inside_differ_and_reach_both_borders(size: int, window: int, stride: int) -> None:
    tops, lefts = occlusion.positions(size, size + 2, window, stride)
    for starts, length in ((tops, size), (lefts, size + 2)):
        steps = starts.diff()
        assert starts[0] == 0 and starts[-1] == length - window
        assert (steps[:-1] == stride).all() and ((steps > 0) & (steps <= stride)).all()


@pytest.mark.parametrize(
    ("window", "stride", "said"),
    [
        (9, 1, "9 × 9 window does not fit into a 8 × 10 image"),
        ((2, 11), 1, "2 × 11 window"),
        (0, 1, "at least 1 pixel"),
        (-2, 1, "at least 1 pixel"),
        (2, 0, "at least 1 pixel"),
        (2, (1, -1), "at least 1 pixel"),
        (2.0, 1, "whole number of pixels"),
        ((2, 2, 2), 1, "whole number of pixels"),
    ],
)
def test_windows_that_do_not_fit(window: int, stride: int, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        occlude(linear(8, 10), batch(1, 8, 10), window=window, stride=stride)


# --- what is shown in the window ----------------


def test_cover_by_hand() -> None:
    x = torch.arange(48.0).view(1, 3, 4, 4)
    hidden = occlusion.cover(x, 1, 2, (2, 1), torch.tensor([-1.0, -2.0, -3.0]))
    expected = x.clone()
    for channel in range(3):
        expected[0, channel, 1:3, 2] = -1.0 - channel
    assert torch.equal(hidden, expected)
    two = occlusion.cover(x.expand(2, -1, -1, -1), torch.tensor([0, 3]), torch.tensor([3, -1]), 2, fill=7.0)
    seven = [(two[i] == 7).all(0).nonzero().tolist() for i in range(2)]
    assert seven == [[[0, 3], [1, 3]], [[3, 0]]]  # what hangs over the border is left out


def test_fills() -> None:
    x = batch(2, 3, 3)  # as wide as there are channels: a colour must not be taken for a row of pixels
    assert torch.equal(occlusion.filling(x, 0.5), torch.full_like(x, 0.5))
    colour = torch.tensor([1.0, 2.0, 3.0])
    for fill in (colour, colour.view(3, 1, 1)):
        assert torch.equal(occlusion.filling(x, fill)[1, :, 2, 0], colour)
    assert torch.equal(occlusion.filling(x, x[0])[1], x[0])
    assert torch.equal(occlusion.filling(x, x), x)


def test_zero_is_the_mean_colour_and_not_black() -> None:
    mean, std = (0.45, 0.43, 0.38), (0.25, 0.25, 0.26)
    x = images.normalise(torch.rand(1, 3, 4, 4), mean, std)
    black = images.normalise(torch.zeros(3, 1, 1), mean, std)
    assert images.denormalise(occlusion.cover(x, 0, 0, 4), mean, std)[0, :, 1, 1].tolist() == pytest.approx(
        mean
    )
    assert images.denormalise(occlusion.cover(x, 0, 0, 4, black), mean, std).abs().max() < 1e-6


@pytest.mark.parametrize(
    ("x", "fill", "said"),
    [
        (batch(2, 4, 4)[0], 0.0, r"x\[None\]"),
        (batch(2, 4, 4)[:0], 0.0, "at least one"),
        (torch.zeros(1, 3, 4, 4, dtype=torch.uint8), 0.0, "floats"),
        (batch(1, 4, 4) * float("nan"), 0.0, "x holds NaN"),
        (batch(1, 4, 4), float("nan"), "fill holds NaN"),
        (batch(1, 4, 4), torch.zeros(2), r"fill has the shape \(2,\)"),
        (batch(1, 4, 4), torch.zeros(4, 4), r"fill has the shape \(4, 4\)"),
        (batch(1, 4, 4), torch.zeros(3, 5, 4), "fill has the shape"),
        (batch(1, 4, 4), torch.zeros(2, 3, 4, 4), "fill has the shape"),
    ],
)
def test_images_and_fills_that_do_not_fit(x: Tensor, fill: float | Tensor, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        occlude(linear(4, 4), x, window=2, stride=2, fill=fill)


@pytest.mark.parametrize("sigma", [0.6, 2.0, 5.0])
def test_blur_against_scipy(sigma: float) -> None:
    x = batch(2, 31, 40)
    expected = scipy.ndimage.gaussian_filter(
        x.double().numpy(), (0, 0, sigma, sigma), mode="mirror", radius=(0, 0, *[math.ceil(3 * sigma)] * 2)
    )
    assert np.abs(occlusion.blurred(x, sigma).numpy() - expected).max() < 1e-5


def test_blur_of_images_smaller_than_its_reach() -> None:
    assert torch.allclose(occlusion.blurred(torch.full((1, 3, 9, 12), 2.5), 8.0), torch.tensor(2.5))
    assert occlusion.blurred(torch.rand(1, 3, 1, 5), 3.0).shape == (1, 3, 1, 5)
    with pytest.raises(ValueError, match="above zero"):
        occlusion.blurred(batch(1, 4, 4), 0)


# --- what the classifier says ----------------


def test_a_linear_model_by_hand() -> None:
    """One row of five pixels; the window hides two; red counts 1, 2, 4, 8, 16 for class 1."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(15, 2))
    model[1].weight.data.zero_()
    model[1].weight.data[1, :5] = torch.tensor([1.0, 2.0, 4.0, 8.0, 16.0])
    model[1].bias.data.copy_(torch.tensor([10.0, 0.0]))
    seen = occlude(model, torch.ones(1, 3, 1, 5), window=(1, 2), stride=2)
    assert seen.lefts.tolist() == [0, 2, 3]
    assert seen.drop(1)[0, 0].tolist() == [3, 12, 24]
    assert seen.drop()[0, 0].tolist() == [3, 12, 24]  # 31 against 10: class 1 is the model's
    assert seen.drop(0)[0, 0].tolist() == [0, 0, 0]
    assert seen.attribution(1)[0, 0].tolist() == [3, 3, 12, 18, 24]  # pixel 3 is hidden twice
    assert seen.labels()[0, 0].tolist() == [1, 1, 0]  # 28, 19 and 7 against 10
    expected = torch.sigmoid(torch.tensor([28.0, 19.0, 7.0]) - 10)
    assert torch.allclose(seen.probability(1)[0, 0], expected)
    assert torch.allclose(seen.drop(1, "probability")[0, 0], torch.sigmoid(torch.tensor(21.0)) - expected)
    # The class is the one of the whole image, whatever is most probable where the window begins.
    first = occlude(model, torch.ones(1, 3, 1, 5), window=(1, 4), stride=1)
    model[1].weight.data = model[1].weight.data.view(2, 3, 5).flip(2).reshape(2, 15)
    last = occlude(model, torch.ones(1, 3, 1, 5), window=(1, 4), stride=1)
    assert first.labels()[0, 0].tolist() == [1, 0] and last.labels()[0, 0].tolist() == [0, 1]
    for seen in (first, last):
        assert torch.equal(seen.probability(), seen.probability(1))


def test_against_an_obvious_loop() -> None:
    model, x, fill = network().eval(), batch(2, 13, 15), batch(2, 13, 15, seed=9)
    seen = occlude(model, x, window=(4, 6), stride=(3, 4), fill=fill, batch=5)
    tops, lefts = [0, 3, 6, 9], [0, 4, 8, 9]
    total, times = torch.zeros(2, 13, 15), torch.zeros(13, 15)
    with torch.no_grad():
        clean = model(x.clone())
        for r, top in enumerate(tops):
            for c, left in enumerate(lefts):
                hidden = x.clone()
                hidden[:, :, top : top + 4, left : left + 6] = fill[:, :, top : top + 4, left : left + 6]
                y = model(hidden)
                assert torch.allclose(seen.logits[:, r, c], y, atol=1e-6)
                assert torch.equal(seen.labels()[:, r, c], y.argmax(1))
                assert torch.allclose(
                    seen.probability([1, 4])[:, r, c], y.softmax(1)[[0, 1], [1, 4]], atol=1e-6
                )
                loss = (clean.softmax(1) - y.softmax(1))[[0, 1], [1, 4]]
                total[:, top : top + 4, left : left + 6] += loss[:, None, None]
                times[top : top + 4, left : left + 6] += 1
    expected = total / times
    assert torch.allclose(seen.attribution([1, 4], "probability"), expected, atol=1e-6)
    assert expected.abs().max() > 1e-3  # there is something to compare


def test_batches_do_not_matter() -> None:
    model, x = network(), batch(3, 11, 11)
    one, all_ = (occlude(model, x, window=5, stride=2, batch=size) for size in (1, 1000))
    assert one.logits.shape == (3, 4, 4, 5) and torch.allclose(one.logits, all_.logits, atol=1e-6)


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "alexnet": lambda: torchvision.models.alexnet(num_classes=10),
    "vgg11": lambda: torchvision.models.vgg11(num_classes=10, init_weights=False),
    "resnet18": lambda: torchvision.models.resnet18(num_classes=10),
    "googlenet": lambda: torchvision.models.googlenet(num_classes=10, init_weights=False, aux_logits=False),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_captum_agrees_where_windows_fit_evenly(name: str) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        model = NETWORKS[name]().eval()
    x, fill = batch(1, 64, 72), torch.tensor([0.5, -1.0, 2.0])
    ours = occlude(model, x, window=(40, 48), stride=(24, 12), fill=fill, batch=6).attribution(4)
    theirs = captum.attr.Occlusion(model).attribute(
        x,
        target=4,
        sliding_window_shapes=(3, 40, 48),
        strides=(3, 24, 12),
        baselines=fill.view(1, 3, 1, 1).expand_as(x),
        perturbations_per_eval=6,
    )
    assert theirs.std(1).max() == 0  # the same for all channels
    # Random networks give small logits: the error must be small beside the map, too.
    assert (ours - theirs[:, 0]).abs().max() < min(1e-5, 1e-3 * float(theirs.max() - theirs.min()))


def test_captums_last_window_hangs_over_the_edge_and_ours_does_not() -> None:
    model, x = linear(1, 5), batch(1, 1, 5)
    ours = occlude(model, x, window=(1, 2), stride=2).attribution(0)[0, 0]
    theirs = captum.attr.Occlusion(model).attribute(
        x, target=0, sliding_window_shapes=(3, 1, 2), strides=(3, 1, 2)
    )
    each = (x * model[1].weight[0].view(1, 3, 1, 5)).sum((0, 1, 2)).detach()  # what each pixel adds
    pairs = torch.stack([each[0] + each[1], each[2] + each[3], each[3] + each[4]])
    assert torch.allclose(
        ours, torch.stack([pairs[0], pairs[0], pairs[1], (pairs[1] + pairs[2]) / 2, pairs[2]])
    )
    assert torch.allclose(theirs[0, 0, 0], torch.stack([pairs[0], pairs[0], pairs[1], pairs[1], each[4]]))


# --- errors, and no traces ----------------


def test_gaps_between_windows() -> None:
    seen = occlude(linear(8, 8), batch(1, 8, 8), window=2, stride=3)
    assert seen.probability(0).shape == (1, 3, 3)
    with pytest.raises(ValueError, match="leaves gaps"):
        seen.attribution(0)


class Returns(nn.Module):
    """Gives what a function makes of the logits of a linear model."""

    def __init__(self, change: Callable[[Tensor], object]) -> None:
        super().__init__()
        self.model, self.change = linear(4, 4), change

    def forward(self, x: Tensor) -> object:
        return self.change(self.model(x))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda y: (y, y), "returns a tuple"),
        (lambda y: {"out": y}, "returns a dict"),
        (lambda y: y * float("nan"), "weights are broken"),
        (lambda y: y[0], "logits are"),
    ],
)
def test_models_that_are_no_classifiers(change: Callable[[Tensor], object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        occlude(Returns(change), batch(1, 4, 4), window=2, stride=2)


def test_classes_scores_and_batches_that_do_not_exist() -> None:
    model, x = linear(4, 4), batch(2, 4, 4)
    seen = occlude(model, x, window=2, stride=2)
    with pytest.raises(ValueError, match="no class 3"):
        seen.probability(3)
    with pytest.raises(ValueError, match="one for each of 2 images"):
        seen.drop([0, 1, 2])
    with pytest.raises(ValueError, match="'logit' or 'probability'"):
        seen.attribution(0, "softmax")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="1 or more, not 0"):
        occlude(model, x, window=2, stride=2, batch=0)


class Stops(nn.Module):
    """Raises in its third run, as a reader who interrupts does."""

    def __init__(self) -> None:
        super().__init__()
        self.model, self.runs = linear(4, 4), 0

    def forward(self, x: Tensor) -> Tensor:
        self.runs += 1
        if self.runs == 3:
            raise KeyboardInterrupt
        return self.model(x)


@pytest.mark.parametrize("stops", [False, True])
def test_nothing_is_changed(stops: bool) -> None:
    inner = Stops() if stops else nn.Sequential(network()).train()
    model = inner.train()
    x = batch(2, 4, 4).requires_grad_() if stops else batch(2, 13, 13).requires_grad_()
    next(iter(model.parameters())).requires_grad_(False)
    copy = x.detach().clone()
    state = {name: value.clone() for name, value in model.state_dict().items()}
    wanted = [p.requires_grad for p in model.parameters()]
    random = torch.get_rng_state()
    if stops:
        with pytest.raises(KeyboardInterrupt):
            occlude(model, x, window=2, stride=2, batch=3, method="plain")
    else:
        seen = occlude(model, x, window=5, stride=4, progress=True)
        assert not seen.logits.requires_grad and not seen.attribution().requires_grad
    assert torch.equal(x, copy) and x.grad is None and x.requires_grad
    assert all(module.training for module in model.modules())
    assert [p.requires_grad for p in model.parameters()] == wanted
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random)
    assert torch.is_grad_enabled()


def test_double_precision() -> None:
    seen = occlude(linear(6, 6).double(), batch(1, 6, 6).double(), window=3, stride=3)
    assert seen.logits.dtype == torch.float64 and seen.attribution().dtype == torch.float32
