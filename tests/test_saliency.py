"""Gradients and their averages: by hand, against captum and slow loops; and nothing is left behind in the model."""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, partial

import captum.attr
import pytest
import torch
import torchvision
from torch import Tensor, nn

from cnnvis_helpers.saliency import (
    completeness_gap,
    gradient,
    gradient_times_input,
    integrated_gradients,
    saliency_map,
    smooth_grad,
)

ARCHITECTURES = {
    "alexnet": (torchvision.models.alexnet, 96),
    "vgg11": (partial(torchvision.models.vgg11, init_weights=False), 64),
    "resnet18": (torchvision.models.resnet18, 64),
    "googlenet": (partial(torchvision.models.googlenet, aux_logits=False, init_weights=False), 96),
}


@cache
def built(name: str) -> nn.Module:
    """torchvision's network with random weights, but 32 units in each hidden fully connected layer, not 4096."""
    with torch.device("meta"):  # AlexNet's and VGG's weights of these layers would take a second each to draw
        model = ARCHITECTURES[name][0](weights=None, num_classes=7)
        if name in ("alexnet", "vgg11"):
            hidden = [i for i, m in enumerate(model.classifier) if isinstance(m, nn.Linear)][:2]
            model.classifier[hidden[0]] = nn.Linear(model.classifier[hidden[0]].in_features, 32)
            model.classifier[hidden[1]] = nn.Linear(32, 32)
            model.classifier[6] = nn.Linear(32, 7)
    model.to_empty(device="cpu")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for module in model.modules():
            if hasattr(module, "reset_parameters"):
                module.reset_parameters()
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(module.weight)  # keeps the signal alive through GoogLeNet
    return model.eval()


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pictures(n: int, size: int, seed: int = 1) -> Tensor:
    return torch.randn(n, 3, size, size, generator=rng(seed))


@pytest.fixture(params=ARCHITECTURES)
def network(request: pytest.FixtureRequest) -> tuple[nn.Module, int]:
    return built(request.param), ARCHITECTURES[request.param][1]


def close(a: Tensor, b: Tensor, tolerance: float = 1e-5, *, scale: Tensor | None = None) -> bool:
    """Equal up to `tolerance` of the largest value of b (or of `scale`), which must not be zero."""
    largest = (b if scale is None else scale).abs().max()
    return a.shape == b.shape and bool(largest > 0) and bool((a - b).abs().max() <= tolerance * largest)


@contextmanager
def left_alone(model: nn.Module, x: Tensor) -> Iterator[None]:
    """Fail if the block changes anything about the model or the input."""

    def state() -> list[object]:
        modules = [
            (m.training, len(m._forward_hooks), len(m._forward_pre_hooks), len(m._backward_hooks))
            for m in model.modules()
        ]
        parameters = [(p.requires_grad, p.grad is None, p.sum().item()) for p in model.parameters()]
        buffers = [b.float().sum().item() for b in model.buffers()]
        random = torch.random.get_rng_state().sum().item()
        return [modules, parameters, buffers, x.requires_grad, x.grad is None, x.nansum().item(), random]

    before = state()
    try:
        yield
    finally:
        assert state() == before


class Sum(nn.Module):
    """Two classes with the scores s^power and 0, s the sum of the input values."""

    def __init__(self, power: int) -> None:
        super().__init__()
        self.power = power

    def forward(self, x: Tensor) -> Tensor:
        s = x.flatten(1).sum(1) ** self.power
        return torch.stack([s, torch.zeros_like(s)], 1)


class Squares(nn.Module):
    """One class with the score ½ Σ x², whose gradient is x."""

    def forward(self, x: Tensor) -> Tensor:
        return 0.5 * x.square().flatten(1).sum(1, keepdim=True)


def linear() -> nn.Sequential:
    """Three classes on 3 × 1 × 2 pixels; class c weighs value k by 10 c + k; bias 1000 on class 1."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(6, 3))
    model[1].weight.data = torch.arange(6.0) + 10 * torch.arange(3.0)[:, None]
    model[1].bias.data = torch.tensor([0.0, 1000.0, 0.0])
    return model


# --- by hand ----------------


def test_linear_model_by_hand() -> None:
    model = linear()
    x = torch.tensor([[1.0, -2.0], [0.0, 3.0], [0.5, 1.0]]).view(1, 3, 1, 2).repeat(3, 1, 1, 1)
    weights = torch.arange(6.0).view(3, 1, 2)
    expected = torch.stack([weights + 20, weights, weights + 10])
    classes = [2, 0, 1]
    base = torch.tensor([1.0, 0.0, -1.0]).view(3, 1, 1)
    assert torch.equal(gradient(model, x, classes), expected)
    assert torch.equal(gradient(model, x)[0], weights + 10), "the bias makes class 1 the predicted one"
    assert torch.equal(gradient_times_input(model, x, classes), expected * x)
    assert torch.allclose(smooth_grad(model, x, classes, samples=3, generator=rng()), expected)
    squared = smooth_grad(model, x, classes, samples=3, squared=True, generator=rng())
    assert torch.allclose(squared, expected.square())
    for method in ("gausslegendre", "riemann_middle"):
        attribution = integrated_gradients(model, x, classes, baseline=base, steps=3, method=method)
        assert torch.allclose(attribution, expected * (x - base), rtol=1e-5)
        gap = completeness_gap(model, x, attribution, classes, baseline=base)
        assert gap.shape == (3,) and gap.abs().max() < 1e-3  # scores are near 1000
    # With nothing attributed the gap is what is to be explained: 1·20 − 2·21 + 0 + 3·23 + 0.5·24 + 1·25 = 84.
    assert completeness_gap(model, x[:1], torch.zeros(1, 3, 1, 2), 2).item() == pytest.approx(-84)


def test_saliency_map_by_hand() -> None:
    g = torch.tensor([1.0, -4.0, 0.0, 2.0, 0.0, 0.0]).view(1, 3, 1, 2)  # pixel 0: 1, 0, 0; pixel 1: −4, 2, 0
    assert saliency_map(g).tolist() == [[[1.0, 4.0]]]
    assert saliency_map(g, "sum").tolist() == [[[1.0, 6.0]]]
    assert saliency_map(g, "mean").flatten().tolist() == pytest.approx([1 / 3, 2.0])
    assert saliency_map(g.double().requires_grad_()).dtype == torch.float32
    with pytest.raises(ValueError, match="'max', 'sum' or 'mean'"):
        saliency_map(g, "median")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"\(N, C, H, W\)"):
        saliency_map(g[0])


def test_integration_error_by_hand() -> None:
    x = torch.tensor([0.5, 1.0, 0.0, 0.0, 0.0, 0.5]).view(1, 3, 1, 2)  # s = 2, score s³ = 8
    cube = Sum(3)
    # The gradient at αx is 3 α² s² = 12 α²; its mean on the line is 4, by one midpoint 3, by two (0.75 + 6.75) / 2.
    for steps, mean in ((1, 3.0), (2, 3.75)):
        attribution = integrated_gradients(cube, x, 0, steps=steps, method="riemann_middle")
        assert torch.allclose(attribution, mean * x)
        gap = completeness_gap(cube, x, attribution, 0)
        assert gap.item() == pytest.approx(2 * (mean - 4))
    # Two nodes of Gauss and Legendre are exact up to the third degree.
    assert torch.allclose(integrated_gradients(cube, x, 0, steps=2), 4 * x, rtol=1e-6)
    assert torch.allclose(integrated_gradients(cube, x, 0, steps=1), 3 * x, rtol=1e-6)
    # From 2x down to x: the scores are 64 and 8, and the difference is −x.
    attribution = integrated_gradients(cube, x, 0, baseline=2 * x, steps=2)
    assert attribution.sum().item() == pytest.approx(8 - 64)


def test_noise_is_a_share_of_each_images_range() -> None:
    x = pictures(2, 40)
    x[1] *= 10
    off = smooth_grad(Squares(), x, 0, samples=4, noise=0.2, generator=rng()) - x  # the mean noise
    for i in range(2):
        expected = 0.2 * (x[i].max() - x[i].min()) / 4**0.5
        assert off[i].std().item() == pytest.approx(expected.item(), rel=0.03)
        assert abs(off[i].mean().item()) < 0.06 * expected  # 4 standard errors
    assert torch.equal(smooth_grad(Squares(), x, 0, samples=1, noise=0.0, generator=rng()), x)


def test_the_class_is_chosen_on_the_clean_image() -> None:
    class Edge(nn.Module):
        """Class 0 below a mean of 0.1, class 1 above; their gradients have opposite signs."""

        def forward(self, x: Tensor) -> Tensor:
            m = x.mean((1, 2, 3))
            return torch.stack([0.1 - m, m - 0.1], 1)

    x = torch.zeros(1, 3, 2, 2)
    x[0, 0, 0] = torch.tensor([3.0, -3.0])
    g = smooth_grad(Edge(), x, samples=40, noise=0.5, generator=rng())
    assert torch.allclose(g, torch.full_like(g, -1 / 12)), "noise flips the prediction, but not the question"
    line = integrated_gradients(Edge(), x + 1, baseline=x - 1)
    assert torch.allclose(line, torch.full_like(line, 2 / 12))


def test_networks_without_biases_are_sums_of_gradient_times_input() -> None:
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3, bias=False), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, 5, bias=False)
    )
    for number, p in enumerate(model.parameters()):
        p.data = torch.randn(p.shape, generator=rng(number))
    x = pictures(3, 8)
    shares = gradient_times_input(model, x, [4, 0, 2])
    assert torch.allclose(shares.flatten(1).sum(1), model(x)[range(3), [4, 0, 2]], rtol=1e-4)
    # Along the line from zero the ReLUs never switch, so that integrated gradients are the same thing.
    assert close(integrated_gradients(model, x, [4, 0, 2], steps=4), shares)


# --- independent oracles ----------------


def test_gradient_equals_captum(network: tuple[nn.Module, int]) -> None:
    model, size = network
    x = pictures(3, size)
    classes = torch.tensor([5, 0, 5])
    expected = captum.attr.Saliency(model).attribute(x.clone().requires_grad_(), classes, abs=False)
    assert close(gradient(model, x, classes), expected.detach())
    best = captum.attr.Saliency(model).attribute(x.clone().requires_grad_(), model(x).argmax(1))
    assert close(saliency_map(gradient(model, x)), best.amax(1))


@pytest.mark.parametrize("method", ["gausslegendre", "riemann_middle"])
def test_integrated_gradients_equal_captum(network: tuple[nn.Module, int], method: str) -> None:
    # In float64: a ReLU that two ways of adding up put on two sides of 0 would show.
    model, size = copy.deepcopy(network[0]).double(), network[1]
    x, base = pictures(2, size).double(), pictures(1, size, seed=2).double()
    expected, delta = captum.attr.IntegratedGradients(model).attribute(
        x, base.expand_as(x), 3, n_steps=6, method=method, return_convergence_delta=True
    )
    ours = integrated_gradients(model, x, 3, baseline=base, steps=6, method=method, batch=5)
    assert close(ours, expected.detach(), 1e-6)  # captum computes its points in float32
    gap = completeness_gap(model, x, ours, 3, baseline=base)
    scale = float(ours.abs().sum())
    assert torch.allclose(gap, delta.float(), atol=1e-5 * scale)


def test_default_baseline_is_zeros_and_the_gap_falls_with_steps() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        model = nn.Sequential(
            nn.Conv2d(3, 6, 3), nn.ReLU(inplace=True), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(54, 4)
        ).double()
    x = pictures(4, 8).double()
    expected = captum.attr.IntegratedGradients(model).attribute(x, target=1, n_steps=20)
    ours = integrated_gradients(model, x, 1, steps=20)
    assert ours.dtype == torch.float64 and close(
        ours, expected.detach(), 1e-6
    )  # captum's weights are float32
    few, many = (
        completeness_gap(model, x, integrated_gradients(model, x, 1, steps=n), 1).abs().mean()
        for n in (5, 500)
    )
    assert many < 1e-3 < few


@pytest.mark.parametrize("squared", [False, True])
def test_smooth_grad_equals_a_slow_loop(squared: bool) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(4)
        model = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Flatten(), nn.Linear(6 * 25, 4))
    x = pictures(3, 7)
    chosen = model(x).argmax(1)
    expected, g = torch.zeros_like(x), rng(9)
    for i in range(3):
        spread = 0.15 * (x[i].max() - x[i].min())
        for _ in range(5):
            noisy = (x[i] + spread * torch.randn(x[i].shape, generator=g))[None].requires_grad_()
            model(noisy)[0, chosen[i]].backward()
            expected[i] += (noisy.grad[0] ** 2 if squared else noisy.grad[0]) / 5
    for batch in (1, 4, 15, 64):
        ours = smooth_grad(model, x, samples=5, squared=squared, generator=rng(9), batch=batch)
        assert close(ours, expected, 1e-6)
    first = smooth_grad(model, x[:1], samples=5, squared=squared, generator=rng(9))
    assert close(first, expected[:1], 1e-6), "an image's noise does not depend on those that come after"


# --- manners ----------------

METHODS: dict[str, Callable[..., Tensor]] = {
    "gradient": gradient,
    "gradient_times_input": gradient_times_input,
    "smooth_grad": lambda *a: smooth_grad(*a, samples=3, batch=2, generator=rng()),
    "integrated_gradients": lambda *a: integrated_gradients(*a, steps=3, batch=2),
    "completeness_gap": lambda m, x, *c: completeness_gap(m, x, torch.zeros_like(x), *c),
}
every_method = pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)


def awkward() -> nn.Sequential:
    """Works in place on its input, has batch norm and dropout, is half in training mode and half frozen."""
    model = nn.Sequential(
        nn.ReLU(inplace=True),
        nn.Conv2d(3, 4, 3),
        nn.BatchNorm2d(4),
        nn.ReLU(inplace=True),
        nn.Dropout(0.5),
        nn.Flatten(),
        nn.Linear(4 * 36, 5),
    )
    model.train()
    model[2].eval()
    model[1].weight.requires_grad_(False)
    return model


@every_method
@pytest.mark.parametrize("mode", [torch.enable_grad, torch.no_grad, torch.inference_mode])
def test_nothing_is_left_behind(method: Callable[..., Tensor], mode: type) -> None:
    model, x = awkward(), pictures(2, 8)
    for images in (x, x.clone().requires_grad_()):
        with left_alone(model, images), mode():
            classes = torch.tensor([1, 4])
            for chosen in ((), (classes,)):
                first, second = method(model, images, *chosen), method(model, images, *chosen)
                assert not first.requires_grad
                assert first.device == x.device and first.shape in (x.shape, (2,))
                assert torch.equal(first, second), "no dropout, and nothing adds up over calls"


class Interrupted(nn.Module):
    """Raises in the third forward pass."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.body, self.error, self.calls = awkward(), error, 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        if self.calls == 3:
            raise self.error
        return self.body(x)


@pytest.mark.parametrize("method", ["smooth_grad", "integrated_gradients"])
@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("out of memory")], ids=["stop", "error"])
def test_nothing_is_left_behind_by_a_loop_that_is_stopped(method: str, error: BaseException) -> None:
    model, x = Interrupted(error), pictures(2, 8)
    with left_alone(model, x), pytest.raises(type(error)):
        METHODS[method](model, x)
    assert model.calls == 3


class Returns(nn.Module):
    def __init__(self, change: Callable[[Tensor], object]) -> None:
        super().__init__()
        self.body, self.change = linear(), change

    def forward(self, x: Tensor) -> object:
        return self.change(self.body(x))


GOOD = torch.ones(2, 3, 1, 2)


@every_method
@pytest.mark.parametrize(
    ("model", "x", "target", "said"),
    [
        (linear(), GOOD * float("nan"), None, "NaN or infinite"),
        (linear(), GOOD * float("inf"), None, "NaN or infinite"),
        (linear(), GOOD.long(), None, "normalised images are floats"),
        (linear(), GOOD[:0], None, "no image"),
        (linear(), GOOD[0], None, r"x\[None\]"),
        (linear(), GOOD, 3, "no class 3: the model has 3"),
        (linear(), GOOD, [0, 1, 2], "one for each of 2 images"),
        (Returns(lambda y: (y, y)), GOOD, None, "returns a tuple"),
        (Returns(lambda y: {"out": y}), GOOD, None, "returns a dict"),
        (Returns(lambda y: y[:, :, None, None]), GOOD, None, "logits are"),
    ],
)
def test_bad_input_gets_a_sentence(
    method: Callable[..., Tensor], model: nn.Module, x: Tensor, target: object, said: str
) -> None:
    with left_alone(model, x), pytest.raises(ValueError, match=said):
        method(model, x, target)


def test_more_bad_input() -> None:
    model = linear()
    with pytest.raises(ValueError, match="without autograd"):
        gradient(Returns(lambda y: y.detach()), GOOD)
    with pytest.raises(ValueError, match="samples is 0"):
        smooth_grad(model, GOOD, samples=0, generator=rng())
    with pytest.raises(ValueError, match="batch is 0"):
        smooth_grad(model, GOOD, batch=0, generator=rng())
    for noise in (-0.1, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="share of the image's range"):
            smooth_grad(model, GOOD, noise=noise, generator=rng())
    with pytest.raises(ValueError, match="steps is -1"):
        integrated_gradients(model, GOOD, steps=-1)
    with pytest.raises(ValueError, match="'gausslegendre' or 'riemann_middle'"):
        integrated_gradients(model, GOOD, method="simpson")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="does not broadcast"):
        integrated_gradients(model, GOOD, baseline=torch.zeros(3, 3, 1, 2))
    with pytest.raises(ValueError, match="The baseline holds NaN"):
        integrated_gradients(model, GOOD, baseline=GOOD * float("nan"))
    with pytest.raises(ValueError, match="must agree"):
        completeness_gap(model, GOOD, GOOD[:1])
