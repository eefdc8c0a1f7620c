"""Computing what a window changes: equal to run after run for layers of every kind; plain where it cannot be done."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn

from cnnvis_helpers import incremental, networks
from cnnvis_helpers.occlusion import Occlusion, multiplications, occlude, positions


def batch(n: int, height: int, width: int, channels: int = 3) -> Tensor:
    return torch.randn(n, channels, height, width, generator=torch.Generator().manual_seed(1))


def filled(make: Callable[[], nn.Module]) -> nn.Module:
    """The model with random weights that let signals through, and random statistics of its batch norms."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(5)
        model = make().eval()
        for module in model.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if isinstance(module, nn.BatchNorm2d) and module.running_mean is not None:
                assert module.running_var is not None
                module.running_mean.normal_(0, 0.3)
                module.running_var.uniform_(0.5, 2)
                if module.affine:
                    nn.init.normal_(module.weight, 1, 0.3)
                    nn.init.normal_(module.bias, 0, 0.3)
    return model


def both(
    model: nn.Module, x: Tensor, *, method: str = "incremental", equal: float = 1e-5, **settings: Any
) -> Occlusion:
    """Occlude in both ways and compare; the plain logits must differ from place to place, or there is no test."""
    plain = occlude(model, x, method="plain", **settings)
    fast = occlude(model, x, method=method, **settings)  # type: ignore[arg-type]
    scale = max(1.0, float(plain.logits.abs().max()))
    assert (fast.logits - plain.logits).abs().max() < equal * scale
    assert torch.equal(fast.clean, plain.clean) and plain.how == "plain"
    spread = (plain.logits - plain.clean[:, None, None]).abs().amax((0, 3))
    assert spread.max() > 1e-3 * float(plain.logits.abs().max()), "the window changes nothing"
    return fast


class Head(nn.Module):
    """Two fully connected layers, or global pooling and one, on whatever comes in."""

    def __init__(self, features: nn.Module, pooled: bool = False, channels: int = 3) -> None:
        super().__init__()
        self.features, self.pooled = features, pooled
        with torch.no_grad():
            size = features.eval()(torch.zeros(1, channels, 37, 41)).shape
        self.fc1 = nn.Linear(size[1] if pooled else size[1:].numel(), 7)
        self.fc2 = nn.Linear(7, 5)

    def forward(self, x: Tensor) -> Tensor:
        y = self.features(x)
        y = y.mean((2, 3)) if self.pooled else y.view(y.size(0), -1)
        return self.fc2(torch.tanh(self.fc1(y)))


class Residual(nn.Module):
    """Branches with different windows, added in place, with functions in the place of modules."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(4, 6, 3, 2, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(6)
        self.conv2 = nn.Conv2d(6, 6, 3, padding=1)
        self.bn2 = nn.BatchNorm2d(6)
        self.short = nn.Conv2d(4, 6, 1, 2)
        self.scale = nn.Parameter(torch.rand(6, 1, 1) + 0.5)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)), inplace=True)
        y = self.bn2(self.conv2(y))
        y += self.short(x)
        return F.relu(y, inplace=True) * self.scale - 0.1


class Branches(nn.Module):
    """Maps of different reach side by side: an inception block, by functions."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.five = nn.Conv2d(4, 3, 1), nn.Conv2d(4, 3, 5, padding=2)
        self.weight = nn.Parameter(torch.randn(2, 4, 3, 3))

    def forward(self, x: Tensor) -> Tensor:
        average = F.avg_pool2d(x, 3, stride=1, padding=1)
        most = F.max_pool2d(x, 3, 1, padding=1)
        three = F.conv2d(x, self.weight, padding=1)
        return torch.cat([self.one(x), self.five(x).relu(), three, average, most], dim=1)


class PerColour(nn.Module):
    """Colours changed one by one, as GoogLeNet of torchvision does."""

    def forward(self, x: Tensor) -> Tensor:
        parts = [torch.unsqueeze(x[:, k], 1) * (0.5 + k) + 0.1 * k for k in (2, 0, 1)]
        return torch.cat([*parts, x[:, 1:]], 1)


def conv(*args: Any, **settings: Any) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True), nn.Conv2d(4, 6, *args, **settings), nn.GELU()
    )


def pooled(pooling: nn.Module) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), pooling, nn.Conv2d(4, 4, 3, padding=1))


class InPlaceLater(nn.Module):
    """A map that a global layer sees first and that is changed in place afterwards."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        level = y.mean((2, 3), keepdim=True)
        return y.relu_() - level


LAYERS: dict[str, Callable[[], nn.Module]] = {
    "strided": lambda: conv((5, 3), (2, 3), padding=(2, 0)),
    "stride wider than the window": lambda: conv(2, 3),
    "dilated": lambda: conv(3, dilation=(2, 3), padding=3),
    "grouped": lambda: conv(3, padding=2, groups=2),
    "padding same, even window": lambda: conv(4, padding="same"),
    "padding valid": lambda: conv(4, padding="valid"),
    "maximum": lambda: pooled(nn.MaxPool2d(3, 2, padding=1)),
    "maximum, dilated, ceil": lambda: pooled(nn.MaxPool2d(3, 2, dilation=2, padding=1, ceil_mode=True)),
    "average": lambda: pooled(nn.AvgPool2d(3, 2, padding=1)),
    "average, ceil": lambda: pooled(nn.AvgPool2d((4, 3), 3, padding=1, ceil_mode=True)),
    "average, ceil, without padding": lambda: pooled(nn.AvgPool2d(3, 2, 1, True, False)),
    "average, divisor": lambda: pooled(nn.AvgPool2d(2, divisor_override=3)),
    "batch norm": lambda: nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.PReLU(4), nn.Conv2d(4, 4, 3)
    ),
    "batch norm alone": lambda: nn.Sequential(
        nn.BatchNorm2d(3, affine=False), nn.Conv2d(3, 4, 3), nn.Dropout2d()
    ),
    "local response": lambda: nn.Sequential(
        nn.Conv2d(3, 6, 5, 2), nn.LocalResponseNorm(3), nn.Conv2d(6, 4, 3)
    ),
    "residual": lambda: nn.Sequential(nn.Conv2d(3, 4, 3), Residual(), nn.Conv2d(6, 4, 3), Residual()),
    "branches": lambda: nn.Sequential(nn.Conv2d(3, 4, 3, 2), Branches(), nn.ReLU6(), nn.Conv2d(16, 4, 3)),
    "colours": lambda: nn.Sequential(PerColour(), nn.Conv2d(5, 4, 3)),
}


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("global_pooling", [False, True], ids=["connected", "pooled"])
def test_layers_of_every_kind(name: str, global_pooling: bool) -> None:
    model = filled(lambda: Head(LAYERS[name](), global_pooling))
    x = batch(1, 37, 41)
    seen = both(model, x, window=(6, 9), stride=(5, 7), fill=torch.tensor([3.0, -1.0, 0.5]), batch=11)
    assert seen.how == "incremental"
    assert multiplications(model, x, window=(6, 9), stride=(5, 7)).ratio > 1.2


@pytest.mark.parametrize("window", [5, 19])  # of a map 18 × 18: a patch, and nearly the whole
def test_a_map_changed_in_place_after_a_global_layer_saw_it(window: int) -> None:
    model = filled(
        lambda: nn.Sequential(InPlaceLater(), nn.Conv2d(4, 5, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    )
    both(model, batch(1, 20, 20), window=window, stride=5, fill=2.0)


@pytest.mark.parametrize(("window", "stride"), [(1, 4), ((3, 30), (4, 2)), (29, 3), (31, 1), ((31, 2), 6)])
def test_windows_and_fills(window: Any, stride: Any) -> None:
    model = filled(
        lambda: nn.Sequential(*LAYERS["residual"](), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(24, 4))
    )
    x = batch(2, 31, 34)
    both(model, x, window=window, stride=stride, fill=x.flip(0) * 2)


NETWORKS: dict[str, tuple[Callable[[], nn.Module], int]] = {
    "alexnet": (lambda: torchvision.models.alexnet(num_classes=6), 71),
    "resnet18": (lambda: torchvision.models.resnet18(num_classes=6), 70),
    "googlenet": (
        lambda: torchvision.models.googlenet(
            num_classes=6, init_weights=False, aux_logits=False, transform_input=True
        ),
        64,
    ),
    "densenet": (lambda: torchvision.models.DenseNet(8, (2, 2), 12, num_classes=6), 65),
    "mobilenet_v2": (lambda: torchvision.models.mobilenet_v2(num_classes=6), 64),
    "mobilenet_v3": (
        lambda: torchvision.models.mobilenet_v3_small(num_classes=6),
        64,
    ),  # gates see whole maps
    "shufflenet": (lambda: torchvision.models.shufflenet_v2_x0_5(num_classes=6), 64),
    "small vgg": (lambda: networks.vgg(6, widths=(4, 6, 8, 8), batch_norm=True), 96),
    "small googlenet": (lambda: networks.googlenet(6), 96),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_whole_networks(name: str) -> None:
    make, size = NETWORKS[name]
    model = filled(make)
    seen = both(model, batch(1, size, size), window=16, stride=24)
    assert seen.how == "incremental"


# --- what is not local, and what cannot be followed ----------------


class Attention(nn.Module):
    """Each position looks at all others."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.look = nn.LayerNorm(4), nn.MultiheadAttention(4, 2, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.norm(x.flatten(2).transpose(1, 2))
        y = self.look(tokens, tokens, tokens, need_weights=False)[0]
        return x + y.transpose(1, 2).reshape(x.shape)


class Gate(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * x.mean((2, 3), keepdim=True) + x.amax((2, 3), keepdim=True)


class Ramp(nn.Module):
    """Adds a map of its own: no patch knows where it lies."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("ramp", torch.linspace(-1, 1, 18))

    def forward(self, x: Tensor) -> Tensor:
        return x * (1 + self.ramp[:, None]) + self.ramp


GLOBAL: dict[str, Callable[[], nn.Module]] = {
    "group norm": lambda: nn.GroupNorm(2, 4),
    "instance norm": lambda: nn.InstanceNorm2d(4, affine=True),
    "layer norm": lambda: nn.LayerNorm([4, 18, 18]),
    "attention": Attention,
    "gate": Gate,
    "circular padding": lambda: nn.Conv2d(4, 4, 3, padding=2, padding_mode="circular"),
    "mirrored padding": lambda: nn.Conv2d(4, 4, 3, padding=2, padding_mode="reflect"),
    "interpolation": lambda: nn.Upsample(scale_factor=1.5, mode="bilinear"),
    "transposed convolution": lambda: nn.ConvTranspose2d(4, 4, 3, stride=2),
    "adaptive pooling": lambda: nn.AdaptiveMaxPool2d((7, 5)),
    "softmax over the map": lambda: nn.Softmax(3),
    "ramp": Ramp,
    "pixel shuffle": lambda: nn.Sequential(nn.PixelShuffle(2), nn.Conv2d(1, 4, 1)),
}


@pytest.mark.parametrize("name", GLOBAL)
def test_what_is_not_local_is_computed_whole(name: str) -> None:
    model = filled(
        lambda: nn.Sequential(
            nn.Conv2d(3, 4, 3, 2),
            GLOBAL[name](),
            nn.Conv2d(4, 4, 3),
            nn.AdaptiveAvgPool2d(2),
            nn.Flatten(),
            nn.Linear(16, 5),
        )
    )
    x = batch(2, 37, 37)
    x[1] += 1  # in group norm a shift of all pixels would be lost, this one is between images
    assert both(model, x, window=7, stride=10, fill=2.0).how == "incremental"


class Asks(nn.Module):
    """Its control flow depends on the image."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 4, 3), nn.Linear(4, 5)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        if y.sum() > 1e6:
            y = -y
        return self.fc(y.amax((2, 3)))


class Reuses(nn.Module):
    """A map is changed in place, under its own name or by a view of it, and used again."""

    def __init__(self, view: bool) -> None:
        super().__init__()
        self.view, self.conv, self.fc = view, nn.Conv2d(3, 4, 3), nn.Linear(4, 5)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        z = (y[:, :2] if self.view else y).relu_()
        return self.fc((y + z.sum(1, keepdim=True)).mean((2, 3)))


class Counts(nn.Module):
    """Batch norm without statistics: what a picture gives depends on those beside it."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, track_running_stats=False), nn.Conv2d(4, 5, 3)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x).amax((2, 3))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (Asks, "torch.fx cannot trace it"),
        (lambda: Reuses(False), "in place what is used again"),
        (lambda: Reuses(True), "other logits"),
        (Counts, "batch norm"),
    ],
)
def test_what_cannot_be_followed(make: Callable[[], nn.Module], said: str) -> None:
    model, x = filled(make), batch(1, 20, 20)
    seen = both(model, x, method="auto", window=5, stride=5)
    assert seen.how.startswith("plain: ") and said in seen.how
    with pytest.raises(ValueError, match=said):
        occlude(model, x, window=5, stride=5, method="incremental")


def test_hooks_are_heard() -> None:
    """A hook that silences a channel works as in a plain run; torch.fx would not see it."""
    model, x = filled(lambda: Head(LAYERS["dilated"]())), batch(1, 37, 41)
    free = occlude(model, x, window=9, stride=9)
    handle = model.get_submodule("features.0").register_forward_hook(
        lambda m, i, y: y * torch.tensor([0.0, 1, 1, 1])[:, None, None]
    )
    silenced = both(model, x, method="auto", window=9, stride=9)
    handle.remove()
    assert free.how == "incremental" and silenced.how == "plain: there are hooks on its layers"
    assert (free.logits - silenced.logits).abs().max() > 1e-3


def test_auto_is_plain_where_nothing_is_saved() -> None:
    model, x = filled(lambda: Head(LAYERS["strided"]())), batch(1, 37, 41)
    assert occlude(model, x, window=36, stride=1).how == "plain: there is hardly less to compute"
    with pytest.raises(ValueError, match="'auto', 'plain' or 'incremental'"):
        occlude(model, x, window=9, stride=9, method="fast")  # type: ignore[arg-type]


# --- multiplications, and no traces ----------------


def test_multiplications_by_hand() -> None:
    """Two layers on a 12 × 12 image, a 2 × 2 window at 3 × 3 places, 5 apart."""
    model = filled(
        lambda: nn.Sequential(
            nn.Conv2d(3, 4, 3, padding=1),
            nn.Conv2d(4, 2, 3, stride=2, groups=2),
            nn.Flatten(),
            nn.Linear(50, 6),
        )
    )
    work = multiplications(model, batch(1, 12, 12), window=2, stride=5)
    first, second, last = 12 * 12 * 4 * 27, 5 * 5 * 2 * 18, 50 * 6
    assert work.plain == 9 * (first + second + last)
    # The window changes 4 × 4 positions of the first map. Beside the borders they are 3, but patches have one size.
    # Rows 0-2, 4-7, 9-11 reach positions 0-1, 1-3, 4 of the second map (which leaves row 11 out): 3 at the most.
    patches = 9 * (first * 16 // 144 + second * 9 // 25 + last)
    assert work.incremental == first + second + last + patches
    assert work.ratio == pytest.approx(work.plain / work.incremental)


def test_borders_are_computed_by_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    model = filled(
        lambda: nn.Sequential(nn.Conv2d(3, 4, 7, padding=3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    )
    x, settings = batch(2, 48, 6), {"window": (4, 6), "stride": (4, 1)}  # 12 places in one column
    row = 6 * 4 * 147  # multiplications for one row of the map
    work = multiplications(model, x, **settings)
    assert work == (12 * 48 * row, (48 + 12 * 10) * row)
    # Two places at each end: rows 0-6 and 1-10 of the map, so at most 10; nothing is saved, so they stay together.
    monkeypatch.setattr(incremental, "STEP", 0)
    assert multiplications(model, x, **settings) == work
    wide = {"window": (4, 6), "stride": (1, 1)}  # 45 places; those at the ends change rows 0-6, 0-7
    assert multiplications(model, x, **wide) == (45 * 48 * row, (48 + 41 * 10 + 4 * 8) * row)
    both(model, x, **wide)


@pytest.mark.parametrize("name", ["average, ceil", "maximum, dilated, ceil", "residual", "branches"])
def test_groups_of_places(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model, x = filled(lambda: Head(LAYERS[name]())), batch(2, 37, 41)
    before = multiplications(model, x, window=5, stride=4)
    monkeypatch.setattr(incremental, "STEP", 0)
    assert multiplications(model, x, window=5, stride=4).incremental < before.incremental
    both(model, x, window=5, stride=4, fill=3.0, batch=7)


def test_nothing_is_changed() -> None:
    model = filled(lambda: Head(LAYERS["residual"]())).train()
    model.fc1.eval()
    next(iter(model.parameters())).requires_grad_(False)
    x = batch(2, 37, 41).requires_grad_()
    copy, state = x.detach().clone(), OrderedDict((k, v.clone()) for k, v in model.state_dict().items())
    modes, wanted = [m.training for m in model.modules()], [p.requires_grad for p in model.parameters()]
    formats = [p.is_contiguous() for p in model.parameters()]
    random = torch.get_rng_state()
    seen = occlude(model, x, window=9, stride=9, method="incremental", progress=True)
    assert not seen.logits.requires_grad and torch.is_grad_enabled()
    assert torch.equal(x, copy) and x.grad is None and x.requires_grad
    assert [m.training for m in model.modules()] == modes and True in modes and False in modes
    assert [p.requires_grad for p in model.parameters()] == wanted
    assert [p.is_contiguous() for p in model.parameters()] == formats
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert not any(m._forward_hooks or m._forward_pre_hooks or m._backward_hooks for m in model.modules())
    assert torch.equal(torch.get_rng_state(), random)


def test_double_precision_and_batches() -> None:
    model, x = filled(lambda: Head(LAYERS["branches"]())).double(), batch(2, 37, 41).double()
    one = both(model, x, equal=1e-13, window=9, stride=8, batch=1)
    many = both(model, x, equal=1e-13, window=9, stride=8, batch=1000)
    assert one.logits.dtype == torch.float64 and one.logits.shape == many.logits.shape == (2, 5, 5, 5)


def test_patches_by_hand() -> None:
    """One convolution that adds three neighbours along a row: the patch, and the kept map around it."""
    model = nn.Sequential(nn.Conv2d(1, 1, (1, 3), bias=False), nn.Flatten()).requires_grad_(False)
    model[0].weight.fill_(1.0)
    patches = incremental.Patches(model)
    with torch.no_grad():
        assert patches.keep(torch.tensor([[[[1.0, 2, 4, 8, 16, 32]]]])).tolist() == [[7, 14, 28, 56]]
        patches.lay(*positions(1, 6, (1, 2), 2), (1, 2))
        zeros, row = torch.zeros(1, 1, 1, 6), torch.zeros(3, dtype=torch.long)
        hidden = patches.finish(patches.hide(zeros, row, torch.arange(3)))
    assert hidden.tolist() == [[4, 12, 28, 56], [3, 2, 16, 48], [7, 14, 12, 8]]
