"""Zeiler's deconvnet: by hand, against gradients, torch's own unpooling, and a convolution with flipped filters."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional

from cnnvis_helpers import networks
from cnnvis_helpers.backward_rules import choose_units, project
from cnnvis_helpers.deconvnet import deconvnet, forward_and_back, unpool
from cnnvis_helpers.hooks import activations


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pictures(n: int, size: int, seed: int = 1) -> Tensor:
    return torch.randn(n, 3, size, size, generator=rng(seed))


def drawn(model: nn.Sequential, seed: int = 0) -> nn.Sequential:
    """The model with random weights and, in batch norm, random statistics; in evaluation mode."""
    for number, module in enumerate(model.modules()):
        g = rng(100 * seed + number)
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.weight.data = (
                torch.randn(module.weight.shape, generator=g) / module.weight[0].numel() ** 0.5
            )
            if module.bias is not None:
                module.bias.data = 0.1 * torch.randn(module.bias.shape, generator=g)
        elif isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.running_mean.copy_(0.1 * torch.randn(module.running_mean.shape, generator=g))
            module.running_var.copy_(0.5 + torch.rand(module.running_var.shape, generator=g))
            module.weight.data = torch.randn(module.weight.shape, generator=g)
            module.bias.data = 0.1 * torch.randn(module.bias.shape, generator=g)
    return model.eval()


def small(pool: nn.Module, *, last: int = 2) -> nn.Sequential:
    return drawn(
        nn.Sequential(
            nn.Conv2d(3, 6, 3, padding=1),
            nn.ReLU(inplace=True),
            pool,
            nn.Conv2d(6, 8, 3, stride=2, groups=2, padding=2, dilation=2),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(last),
            nn.Conv2d(8, 5, 2),
            nn.ReLU(),
        )
    )


def times_activation(model: nn.Module, x: Tensor, layer: str, rule: str = "deconvnet") -> Tensor:
    """The same projection by gradients: it starts with 1, the deconvnet with the activation."""
    unit = choose_units(activations(model, x, layer)[layer])
    return project(model, x, unit.channel, layer=layer, rule=rule) * unit.value[:, None, None, None]


def difference(a: Tensor, b: Tensor) -> float:
    """Largest difference in units of b's largest value, which must not be zero."""
    assert a.shape == b.shape and b.any()
    return ((a - b).abs().max() / b.abs().max()).item()


# --- by hand ----------------


def test_unpooling_by_hand() -> None:
    # Windows of 2 with stride 1 over (1, 3, 2): both maxima are the 3, at place 1.
    pooled, switches = torch.tensor([[[[3.0, 3.0]]]]), torch.tensor([[[[1, 1]]]])
    assert unpool(pooled, switches, (1, 3)).flatten().tolist() == [0, 3, 0]
    assert unpool(pooled, switches, (1, 3), "sum").flatten().tolist() == [0, 6, 0]
    other = torch.tensor([[[[5.0, -7.0]]]])
    assert unpool(other, switches, (1, 3)).flatten().tolist() == [0, -7, 0], "the last window stays"
    assert unpool(other, switches, (1, 3), "sum").flatten().tolist() == [0, -2, 0]


def test_the_whole_way_by_hand() -> None:
    """One colour counts, one row of four pixels (1, −2, 3, 4): ReLU, pooling in pairs, a filter (−1, 2) over both."""
    model = nn.Sequential(
        nn.Conv2d(3, 1, 1, bias=False), nn.ReLU(), nn.MaxPool2d((1, 2)), nn.Conv2d(1, 1, (1, 2)), nn.ReLU()
    )
    model[0].weight.data = torch.tensor([2.0, 0.0, -1.0]).view(1, 3, 1, 1)
    model[3].weight.data = torch.tensor([-1.0, 2.0]).view(1, 1, 1, 2)
    model[3].bias.data = torch.tensor([5.0])
    x = torch.zeros(1, 3, 1, 4)
    x[0, 0, 0] = torch.tensor([1.0, -2.0, 3.0, 4.0])
    # Forward: (2, −4, 6, 8), rectified (2, 0, 6, 8), pooled (2, 8) from places 0 and 3, −2 + 16 + 5 = 19.
    # Back: 19, (−19, 38) to places 0 and 3, rectified (0, 0, 0, 38), 2 and −1 times that to the colours.
    maps = deconvnet(model, x, "4", 0)
    assert maps[0, 0].tolist() == [[0, 0, 0, 76]]
    assert maps[0, 1].tolist() == [[0, 0, 0, 0]]
    assert maps[0, 2].tolist() == [[0, 0, 0, -38]]
    assert torch.equal(maps, 19 * project(model, x, 0, layer="4", rule="deconvnet"))


# --- what each step is ----------------


def test_the_transposed_convolution_has_flipped_filters() -> None:
    conv = drawn(nn.Sequential(nn.Conv2d(3, 5, (3, 5), padding=(1, 2))))[0]
    y = torch.randn(2, 5, 9, 8, generator=rng())
    _, back = forward_and_back(conv, pictures(2, 9)[..., :8])
    flipped = conv.weight.flip(2, 3).transpose(0, 1)
    assert difference(back(y), functional.conv2d(y, flipped, padding=(1, 2))) < 1e-6


@pytest.mark.parametrize(
    "options",
    [
        {"stride": 2},
        {"stride": 3, "padding": 1},
        {"stride": (2, 3), "padding": (0, 2), "dilation": (2, 1)},
        {"groups": 3, "stride": 4, "padding": 2},
    ],
)
@pytest.mark.parametrize("size", [12, 13, 14, 15])
def test_convolutions_go_back_to_the_size_they_came_from(options: dict[str, object], size: int) -> None:
    conv = drawn(nn.Sequential(nn.Conv2d(3, 6, 3, **options)))[0]
    x = pictures(2, size).requires_grad_()
    y, back = forward_and_back(conv, x)
    g = torch.randn(y.shape, generator=rng())
    (expected,) = torch.autograd.grad(y, x, g)
    assert difference(back(g), expected) < 1e-6


@pytest.mark.parametrize(
    "pool", [nn.MaxPool2d(2), nn.MaxPool2d(3, 2, padding=1), nn.MaxPool2d(3, 2), nn.MaxPool2d(3, 1)]
)
@pytest.mark.parametrize("size", [12, 13])
def test_unpooling_equals_torchs(pool: nn.MaxPool2d, size: int) -> None:
    x = torch.randn(2, 4, size, size, generator=rng()).requires_grad_()
    y, switches = functional.max_pool2d(x, pool.kernel_size, pool.stride, pool.padding, return_indices=True)
    g = torch.randn(y.shape, generator=rng(1))
    theirs = functional.max_unpool2d(
        g, switches, pool.kernel_size, pool.stride, pool.padding, output_size=x.shape[2:]
    )
    overlapping = pool.stride < pool.kernel_size
    if not overlapping or torch.get_num_threads() == 1:  # several threads write in any order
        assert torch.equal(unpool(g, switches, x.shape[2:]), theirs)
    (expected,) = torch.autograd.grad(y, x, g)
    assert difference(unpool(g, switches, x.shape[2:], "sum"), expected) < 1e-6
    apart = difference(unpool(g, switches, x.shape[2:]), expected)
    assert apart > 0.1 if overlapping else apart == 0
    # Each place keeps the value of the last of its windows, by a slow loop.
    slow = torch.zeros_like(x)
    for n, c, i, j in torch.cartesian_prod(*map(torch.arange, y.shape)).tolist():
        slow[n, c].flatten()[switches[n, c, i, j]] = g[n, c, i, j]
    assert torch.equal(unpool(g, switches, x.shape[2:]), slow)


# --- against the rule at the gradient ----------------


@pytest.mark.parametrize("layer", ["1", "2", "4", "5", "7"])
def test_equals_the_rule_where_windows_do_not_overlap(layer: str) -> None:
    model, x = small(nn.MaxPool2d(2)), pictures(3, 22)
    assert difference(deconvnet(model, x, layer), times_activation(model, x, layer)) < 1e-5
    other = times_activation(model, x, layer, "gradient")
    if layer not in "12":  # one ReLU alone, and the unit behind it is on: nothing tells the rules apart
        assert difference(deconvnet(model, x, layer), other) > 0.1


def test_differs_where_windows_overlap_because_it_overwrites() -> None:
    model, x = small(nn.MaxPool2d(3, 1, padding=1)), pictures(3, 22)
    expected = times_activation(model, x, "7")
    assert difference(deconvnet(model, x, "7"), expected) > 0.1
    assert difference(deconvnet(model, x, "7", overlap="sum"), expected) < 1e-5
    # Below the first pooling that overlaps there is nothing to overwrite.
    assert difference(deconvnet(model, x, "1"), times_activation(model, x, "1")) < 1e-6


def test_without_relus_all_agree() -> None:
    model = drawn(nn.Sequential(nn.Conv2d(3, 6, 3, stride=2), nn.MaxPool2d(2), nn.Conv2d(6, 4, 3, padding=1)))
    x = pictures(2, 17)
    expected = times_activation(model, x, "2", "gradient")
    assert difference(deconvnet(model, x, "2"), expected) < 1e-6
    with pytest.raises(ValueError, match="No ReLU was met"):
        project(model, x, layer="2", rule="deconvnet")
    # ReLUs that are always on, and weights without negative ones, do not change anything either.
    positive = nn.Sequential(model[0], nn.ReLU(), model[1], nn.ReLU(), model[2], nn.ReLU())
    for p in positive.parameters():
        p.data = p.data.abs()
    results = [times_activation(positive, x.abs(), "5", rule) for rule in ("gradient", "deconvnet", "guided")]
    for result in results:
        assert difference(result, deconvnet(positive, x.abs(), "5")) < 1e-6


@pytest.mark.parametrize("batch_norm", [False, True])
def test_the_courses_alexnet(batch_norm: bool) -> None:
    model, x = networks.alexnet(batch_norm=batch_norm).eval(), pictures(2, 96)
    for layer in ("relu3", "pool5", "relu7", "fc8"):
        summed = deconvnet(model, x, layer, overlap="sum")
        assert difference(summed, times_activation(model, x, layer)) < 1e-4
        assert difference(deconvnet(model, x, layer), summed) > 1e-3, "its first two poolings overlap"
    if batch_norm:
        drawn(model)
        summed = deconvnet(model, x, "bn5", overlap="sum")
        assert difference(summed, times_activation(model, x, "bn5")) < 1e-4
        folded = networks.fold_batch_norm(model)
        assert difference(deconvnet(model, x, "relu5"), deconvnet(folded, x, "relu5")) < 1e-4


@pytest.mark.parametrize(
    ("make", "layer", "overlapping"),
    [
        (torchvision.models.alexnet, "11", True),
        (torchvision.models.vgg11, "19", False),
        (torchvision.models.vgg11_bn, "27", False),
    ],
)
def test_torchvisions_features(make: Callable[..., nn.Module], layer: str, overlapping: bool) -> None:
    with torch.device("meta"):
        features = make(weights=None).features
    features.to_empty(device="cpu")
    features = drawn(features)
    x = pictures(1, 80)
    expected = times_activation(features, x, layer)
    assert difference(deconvnet(features, x, layer, overlap="sum"), expected) < 1e-5
    apart = difference(deconvnet(features, x, layer), expected)
    assert apart > 0.01 if overlapping else apart < 1e-5


# --- units, nested and reused layers ----------------


def test_units_and_batches() -> None:
    model, x = small(nn.MaxPool2d(2)), pictures(3, 22)
    a = activations(model, x, "4")["4"]
    unit = choose_units(a)
    together = deconvnet(model, x, "4")
    assert torch.equal(together, deconvnet(model, x, "4", unit.channel))
    assert torch.equal(together, deconvnet(model, x, "4", at=torch.stack([unit.row, unit.column], 1)))
    for i in range(3):
        assert difference(deconvnet(model, x[i : i + 1], "4"), together[i : i + 1]) < 1e-6
    row, column = (a[0, 3] == a[0, 3].max()).nonzero()[0].tolist()
    several = deconvnet(model, x[:1], "4", [3, int(unit.channel[0])])
    assert several.shape == (2, 3, 22, 22)
    assert difference(several[:1], deconvnet(model, x[:1], "4", 3, at=(row, column))) < 1e-6
    assert difference(several[1:], together[:1]) < 1e-6


def test_twice_the_activation_is_twice_the_projection() -> None:
    model, x = small(nn.MaxPool2d(2)), pictures(2, 22)
    before = deconvnet(model, x, "7")
    model[6].weight.data *= 2
    model[6].bias.data *= 2
    assert difference(deconvnet(model, x, "7"), 4 * before) < 1e-5, "the unit's own filter counts, too"


def test_nested_and_reused_layers() -> None:
    flat = small(nn.MaxPool2d(2))
    relu = flat[1]
    nested = nn.Sequential(
        nn.Sequential(flat[0], relu),
        nn.Sequential(nn.Sequential(flat[2], flat[3], relu), nn.Identity()),
        flat[5],
    )
    x = pictures(2, 22)
    expected = deconvnet(flat, x, "4")
    for layer in ("1.0.2", "1.0", "1.1", "1"):
        assert torch.equal(deconvnet(nested, x, layer), expected), layer
    assert torch.equal(deconvnet(nested, x, "2"), deconvnet(flat, x, "5"))
    shared = nn.Sequential(*(relu if isinstance(module, nn.ReLU) else module for module in flat))
    assert torch.equal(deconvnet(shared, x, "7"), deconvnet(flat, x, "7"))


def test_relu6_and_dropout() -> None:
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU6(inplace=True), nn.Dropout2d(0.5), nn.Conv2d(4, 4, 3), nn.ReLU6()
    )
    model, x = drawn(model).train(), 9 * pictures(2, 8)
    assert activations(model, x, "1")["1"].max() == 6
    assert difference(deconvnet(model, x, "4"), times_activation(model, x, "4")) < 1e-5


# --- manners ----------------


@contextmanager
def left_alone(model: nn.Module, x: Tensor) -> Iterator[None]:
    """Fail if the block changes anything about the model or the input."""

    def state() -> list[object]:
        modules = [
            (m.training, {k: len(v) if hasattr(v, "__len__") else None for k, v in vars(m).items()})
            for m in model.modules()
        ]
        tensors = [(t.requires_grad, t.grad is None, t.nansum().item()) for t in (*model.parameters(), x)]
        return [modules, tensors, [b.float().sum().item() for b in model.buffers()], torch.is_grad_enabled()]

    before = state()
    try:
        yield
    finally:
        assert state() == before


@pytest.mark.parametrize("mode", [torch.enable_grad, torch.no_grad, torch.inference_mode])
def test_nothing_is_left_behind(mode: type) -> None:
    model, x = networks.alexnet(batch_norm=True), pictures(2, 96).requires_grad_()  # in training mode
    model.conv2.weight.requires_grad_(False)
    with left_alone(model, x), mode():
        first, second = deconvnet(model, x, "relu7"), deconvnet(model, x, "relu7")
        assert torch.equal(first, second) and not first.requires_grad


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("out of memory")], ids=["stop", "error"])
def test_nothing_is_left_behind_when_it_is_stopped(error: BaseException) -> None:
    def stop(*_: object) -> None:
        raise error

    model, x = small(nn.MaxPool2d(2)).train(), pictures(2, 22)
    model[3].register_forward_hook(stop)
    with left_alone(model, x), pytest.raises(type(error)):
        deconvnet(model, x, "7")


class Branched(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 3, 1), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


class Doubled(nn.Conv2d):
    """A convolution by name, whose weight is not what it multiplies with."""

    def forward(self, x: Tensor) -> Tensor:
        return functional.conv2d(x, 2 * self.weight)


@pytest.mark.parametrize(
    ("module", "said"),
    [
        (nn.AvgPool2d(2), "no way back through AvgPool2d"),
        (nn.AdaptiveAvgPool2d(1), "no way back through AdaptiveAvgPool2d"),
        (nn.LeakyReLU(), "no way back through LeakyReLU"),
        (nn.LocalResponseNorm(3), "no way back through LocalResponseNorm"),
        (nn.Conv2d(3, 3, 3, padding=1, padding_mode="reflect"), "padded with zeros"),
        (nn.Conv2d(3, 3, 3, padding="same"), "padded with zeros"),
        (nn.BatchNorm2d(3, track_running_stats=False), "no way back through BatchNorm2d"),
        (nn.Flatten(2), "no way back through Flatten"),
        (Branched(), "no way back through Branched"),
        (Doubled(3, 3, 1), "no way back through Doubled"),
    ],
)
def test_what_it_does_not_know_gets_a_sentence(module: nn.Module, said: str) -> None:
    model, x = nn.Sequential(nn.Conv2d(3, 3, 1), nn.ReLU(), module), pictures(2, 6)
    with left_alone(model, x), pytest.raises(ValueError, match=said):
        deconvnet(model, x, "2", 0)
    assert deconvnet(model, x, "1").any(), "what comes behind the layer does not matter"


GOOD = pictures(2, 22)


@pytest.mark.parametrize(
    ("x", "layer", "options", "said"),
    [
        (GOOD * float("nan"), "4", {}, "finite floats"),
        (GOOD.long(), "4", {}, "finite floats"),
        (GOOD[0], "4", {}, r"\(N, C, H, W\)"),
        (GOOD[:0], "4", {}, r"\(N, C, H, W\)"),
        (GOOD, "relu4", {}, "no layer 'relu4'"),
        (GOOD, "4", {"channel": 8}, "no channel 8: the layer has 8"),
        (GOOD, "4", {"channel": [0, 1, 2]}, "2 images do not go with 3"),
        (GOOD, "4", {"at": (0, 99)}, "rows and columns are from 0"),
        (GOOD, "4", {"at": "all"}, "at is 'all'"),
        (GOOD, "4", {"overlap": "mean"}, "'overwrite' or 'sum'"),
    ],
)
def test_bad_input_gets_a_sentence(x: Tensor, layer: str, options: dict[str, object], said: str) -> None:
    model = small(nn.MaxPool2d(2))
    with left_alone(model, x), pytest.raises(ValueError, match=said):
        deconvnet(model, x, layer, **options)


def test_more_bad_input() -> None:
    model = small(nn.MaxPool2d(2))
    model[3].bias.data[2] = -100.0
    with pytest.raises(ValueError, match="Image 0 has no active unit in layer '4'"):
        deconvnet(model, GOOD, "4", 2)
    with pytest.raises(ValueError, match="Target 1 has no active unit"):
        deconvnet(
            model, GOOD[:1], "4", [int(choose_units(activations(model, GOOD[:1], "4")["4"]).channel), 2]
        )
    with pytest.raises(ValueError, match=r"the model is a Branched: pass model\.body"):
        deconvnet(Branched(), GOOD, "body.1")
    with pytest.raises(ValueError, match="no layer '0'"):
        deconvnet(nn.ReLU(), GOOD, "0")
    with pytest.raises(ValueError, match=r"inside a module that is no nn\.Sequential"):
        deconvnet(nn.Sequential(Branched()), GOOD, "0.body")
