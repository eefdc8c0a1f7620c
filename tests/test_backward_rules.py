"""Rules at the ReLUs: by hand, against captum and a second implementation; and nothing is left behind in the model."""

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from functools import cache, partial
from unittest import mock

import captum.attr
import pytest
import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from cnnvis_helpers.backward_rules import RULES, ReLURule, choose_units, project
from cnnvis_helpers.hooks import LayerError, activations, record
from cnnvis_helpers.saliency import gradient, saliency_map
from cnnvis_helpers.sanity import randomise, similarity

ARCHITECTURES = {
    "alexnet": (torchvision.models.alexnet, 80),
    "vgg11": (partial(torchvision.models.vgg11, init_weights=False), 48),
    "resnet18": (torchvision.models.resnet18, 64),
    "googlenet": (partial(torchvision.models.googlenet, aux_logits=False, init_weights=False), 64),
    "inception_v3": (partial(torchvision.models.inception_v3, init_weights=False), 96),
    "densenet121": (torchvision.models.densenet121, 64),
}
every_rule = pytest.mark.parametrize("rule", RULES)


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
                nn.init.kaiming_normal_(module.weight)  # keeps the signal alive through many layers
    return model.eval()


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pictures(n: int, size: int, seed: int = 1) -> Tensor:
    return torch.randn(n, 3, size, size, generator=rng(seed))


def close(a: Tensor, b: Tensor, tolerance: float = 1e-5) -> bool:
    """Equal up to `tolerance` of the largest value of b, in every image; b must not be zero."""
    if a.shape != b.shape:
        return False
    largest = b.flatten(1).abs().amax(1)
    return bool((largest > 0).all() and ((a - b).flatten(1).abs().amax(1) <= tolerance * largest).all())


@contextmanager
def left_alone(model: nn.Module, x: Tensor) -> Iterator[None]:
    """Fail if the block changes anything about the model, the input or torch's state."""

    def state() -> list[object]:
        modules = [
            (m.training, {k: len(v) if hasattr(v, "__len__") else None for k, v in vars(m).items()})
            for m in model.modules()
        ]  # the hooks are dictionaries among a module's variables
        parameters = [(p.requires_grad, p.grad is None, p.sum().item()) for p in model.parameters()]
        buffers = [b.float().sum().item() for b in model.buffers()]
        modes = (torch._C._len_torch_dispatch_stack(), torch._C._len_torch_function_stack())
        return [
            modules,
            parameters,
            buffers,
            modes,
            torch.is_grad_enabled(),
            torch.is_inference_mode_enabled(),
            (x.requires_grad, x.grad is None, x.nansum().item()),
            torch.random.get_rng_state().sum().item(),
        ]

    before = state()
    try:
        yield
    finally:
        assert state() == before


# --- by hand ----------------


def by_hand() -> nn.Sequential:
    """Three inputs, three hidden units, one class.

    x = (1, 2, −1) makes z = (3, −2, 1) and y = (3, 0, 1), so units 0 and 2 are on. The class weighs the units
    with (1, 2, −1), which is the signal that comes back to the ReLU.
    """
    model = nn.Sequential(nn.Flatten(), nn.Linear(3, 3, bias=False), nn.ReLU(), nn.Linear(3, 1, bias=False))
    model[1].weight.data = torch.tensor([[1.0, 1.0, 0.0], [0.0, -1.0, 0.0], [0.0, 1.0, 1.0]])
    model[3].weight.data = torch.tensor([[1.0, 2.0, -1.0]])
    return model


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("gradient", [1.0, 0.0, -1.0]),  # (1, 0, −1) goes on: row 0 − row 2
        ("deconvnet", [1.0, -1.0, 0.0]),  # (1, 2, 0) goes on: row 0 + 2 row 1
        ("guided", [1.0, 1.0, 0.0]),  # (1, 0, 0) goes on: row 0
    ],
)
def test_three_rules_by_hand(rule: str, expected: list[float]) -> None:
    x = torch.tensor([1.0, 2.0, -1.0]).view(1, 3, 1, 1)
    assert project(by_hand(), x, 0, rule=rule).flatten().tolist() == expected
    start = x.clone().requires_grad_()
    score = by_hand()(start).sum()
    with ReLURule(rule) as relus:
        (g,) = torch.autograd.grad(score, start)
    assert g.flatten().tolist() == expected and relus.met == 1 and not relus.others


def test_signals_of_zero_and_units_at_zero_do_not_pass() -> None:
    z = torch.tensor([0.0, 0.0, 2.0, 2.0], requires_grad=True)
    for rule, expected in (
        ("gradient", [0, 0, 3, -3]),
        ("deconvnet", [3, 0, 3, 0]),
        ("guided", [0, 0, 3, 0]),
    ):
        y = z.relu() @ torch.tensor([3.0, -3.0, 3.0, -3.0])
        with ReLURule(rule):
            assert torch.autograd.grad(y, z)[0].tolist() == expected


def test_choosing_units_by_hand() -> None:
    a = torch.tensor([[[[0.0, 5.0], [5.0, 1.0]], [[2.0, 2.0], [3.0, 9.0]]]])  # (1, 2, 2, 2)
    a = torch.cat([a, -a])
    best = choose_units(a)
    assert best.channel.tolist() == [1, 0] and best.value.tolist() == [9, 0]
    assert best.row.tolist() == [1, 0] and best.column.tolist() == [1, 0]
    first = choose_units(a, 0)
    assert (first.row[0], first.column[0], first.value[0]) == (0, 1, 5), "the first of equals"
    placed = choose_units(a, at=(1, 0))
    assert placed.channel.tolist() == [0, 1] and placed.value.tolist() == [5, -3]
    each = choose_units(a, [1, 0], torch.tensor([[0, 1], [1, 1]]))
    assert each.value.tolist() == [2, -1]
    several = choose_units(a[:1], [1, 0, 1])
    assert several.value.tolist() == [9, 5, 9]
    assert choose_units(a[:1], 0, [[0, 0], [0, 1], [1, 1]]).value.tolist() == [0, 5, 1]
    rows = choose_units(a.flatten(1), [7, 0])
    assert rows.value.tolist() == [9, 0] and rows.row.tolist() == [0, 0]


# --- every way to write a ReLU ----------------


class Reused(nn.Module):
    """One module that runs three times, on the way into and out of a sum."""

    def __init__(self, inplace: bool) -> None:
        super().__init__()
        self.relu = nn.ReLU(inplace)

    def forward(self, z: Tensor) -> Tensor:
        off = self.relu(-z)
        return self.relu(self.relu(z) - off + 0.1)


class Viewed(nn.Module):
    """In place on a view of half of the channels."""

    def forward(self, z: Tensor) -> Tensor:
        z = z.clone()
        z[:, :3].relu_()
        return torch.cat([z[:, :3], z[:, 3:].relu()], 1)


WAYS: dict[str, Callable[[Tensor], Tensor]] = {
    "module": nn.ReLU(),
    "module in place": nn.ReLU(inplace=True),
    "functional": functional.relu,
    "functional in place": lambda z: functional.relu(z, inplace=True),
    "torch": torch.relu,
    "torch in place": torch.relu_,
    "method": lambda z: z.relu(),
    "a view in place": lambda z: nn.ReLU(inplace=True)(z.flatten(1)).view_as(z),
    "halves in place": Viewed(),
    "threshold": nn.Threshold(0.0, 0.0),
    "clamp": lambda z: z.clamp(min=0),
    "clamp in place": lambda z: z.clamp_(min=0.0),
    "clamp_min": lambda z: torch.clamp_min(z, 0),
    "clip": lambda z: torch.clip(z, 0),
    "recomputed": lambda z: checkpoint(functional.relu, z, use_reentrant=False),
    "capped at 100": lambda z: functional.hardtanh(z, 0.0, 100.0),
}
SIX: dict[str, Callable[[Tensor], Tensor]] = {
    "module": nn.ReLU6(),
    "module in place": nn.ReLU6(inplace=True),
    "functional": functional.relu6,
    "hardtanh": nn.Hardtanh(0.0, 6.0),
    "clamp": lambda z: z.clamp(0, 6),
}


class Around(nn.Module):
    """Convolution, `way` (a ReLU), convolution, `way` again, and two classes."""

    def __init__(self, way: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.way = way
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.conv1, self.conv2, self.fc = nn.Conv2d(3, 5, 3), nn.Conv2d(5, 4, 3), nn.Linear(36, 2)

    def forward(self, x: Tensor) -> Tensor:
        y = self.way(self.conv1(x))
        return self.fc(self.way(self.conv2(y)).flatten(1))


class OracleReLU(torch.autograd.Function):
    """A ReLU, between 0 and `top`, that knows its rule: written without the module under test."""

    @staticmethod
    def forward(ctx: object, z: Tensor, rule: str, top: float = torch.inf) -> Tensor:
        ctx.save_for_backward(z)
        ctx.rule, ctx.top = rule, top
        return torch.minimum(torch.maximum(z, torch.zeros_like(z)), torch.full_like(z, top))

    @staticmethod
    def backward(ctx: object, g: Tensor) -> tuple[Tensor, None, None]:
        (z,) = ctx.saved_tensors
        on, positive = ((z > 0) & (z < ctx.top)).to(g), (g > 0).to(g)
        return g * {"gradient": on, "deconvnet": positive, "guided": on * positive}[ctx.rule], None, None


@every_rule
@pytest.mark.parametrize("kind", ["relu", "relu6"])
def test_a_relu_is_one_however_it_is_written(kind: str, rule: str) -> None:
    ways, top, scale = (WAYS, torch.inf, 1) if kind == "relu" else (SIX, 6.0, 8)
    x = scale * pictures(2, 7)  # large enough for some units to reach 6
    expected = project_with_oracle(Around(lambda z: OracleReLU.apply(z, rule, top)), x, [0, 1])
    if kind == "relu6":
        without = project_with_oracle(Around(lambda z: OracleReLU.apply(z, rule)), x, [0, 1])
        assert rule == "deconvnet" or not close(expected, without, 1e-2), "the cap must matter for this test"
    for name, way in ways.items():
        assert close(project(Around(way), x, [0, 1], rule=rule), expected, 1e-6), name


def project_with_oracle(model: nn.Module, x: Tensor, classes: list[int]) -> Tensor:
    start = x.clone().requires_grad_()
    return torch.autograd.grad(model(start)[range(len(x)), classes].sum(), start)[0]


@every_rule
@pytest.mark.parametrize("inplace", [False, True])
def test_reused_modules(rule: str, inplace: bool) -> None:
    def oracle(z: Tensor) -> Tensor:
        on, off = OracleReLU.apply(z, rule), OracleReLU.apply(-z, rule)
        return OracleReLU.apply(on - off + 0.1, rule)

    x = pictures(2, 7)
    expected = project_with_oracle(Around(oracle), x, [1, 0])
    assert close(project(Around(Reused(inplace)), x, [1, 0], rule=rule), expected, 1e-6)


def test_what_is_no_relu() -> None:
    x = pictures(2, 7)
    kinds = {
        nn.LeakyReLU(): "leaky_relu",
        nn.PReLU(): "prelu",
        nn.RReLU(): "rrelu",
        nn.ELU(): "elu",
        nn.SELU(): "elu",
        nn.SiLU(): "silu",
        nn.GELU(): "gelu",
        nn.Hardswish(): "hardswish",
        nn.Mish(): "mish",
        nn.Softplus(): "softplus",
    }
    for module, name in kinds.items():
        with pytest.raises(ValueError, match=rf"No ReLU was met .* only .*{name}.*rule='gradient'"):
            project(Around(module), x)
        mixed = Around(lambda z, module=module: functional.relu(module(z)))
        with pytest.warns(UserWarning, match=rf"'guided' holds at the ReLUs; .*{name}.* ordinary gradient"):
            guided = project(mixed, x, 0)
        assert close(guided, project_with_oracle(mixed_oracle(module), x, [0, 0]))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert close(project(mixed, x, 0, rule="gradient"), gradient(mixed, x, 0), 1e-6)
    for way in (torch.tanh, torch.sigmoid, nn.Hardtanh(), lambda z: z.clamp(min=-1), nn.Threshold(-1.0, 0.0)):
        with pytest.raises(ValueError, match="No ReLU was met between the logits and the image"):
            project(Around(way), x, rule="deconvnet")
    with pytest.raises(ValueError, match="No ReLU was met between 'conv1' and the image"):
        project(Around(torch.relu), x, layer="conv1")
    assert close(project(Around(torch.tanh), x, rule="gradient"), gradient(Around(torch.tanh), x), 1e-6)


def mixed_oracle(module: nn.Module) -> nn.Module:
    return Around(lambda z: OracleReLU.apply(module.eval()(z), "guided"))


# --- independent oracles ----------------


def without_inplace(model: nn.Module) -> nn.Module:
    """A copy that captum's module hooks can work on."""
    model = deepcopy(model)
    for module in model.modules():
        if isinstance(module, nn.ReLU):
            module.inplace = False
    return model


@pytest.mark.parametrize(
    ("name", "layer"), [("alexnet", "features.8"), ("vgg11", "features.12"), ("resnet18", "layer3.0")]
)
def test_rules_equal_captum_where_relus_are_modules(name: str, layer: str) -> None:
    model, size = built(name), ARCHITECTURES[name][1]
    theirs = without_inplace(model)
    x, classes = pictures(2, size), torch.tensor([5, 2])
    unit = (3, 1, 2)
    for rule, whole, neuron in (
        ("guided", captum.attr.GuidedBackprop, captum.attr.NeuronGuidedBackprop),
        ("deconvnet", captum.attr.Deconvolution, captum.attr.NeuronDeconvolution),
    ):
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Setting backward hooks on ReLU")  # captum says what it does
            expected = whole(theirs).attribute(x.clone().requires_grad_(), classes)
            of_unit = neuron(theirs, theirs.get_submodule(layer)).attribute(x.clone().requires_grad_(), unit)
        assert close(project(model, x, classes, rule=rule), expected.detach())
        ours = project(model, x, unit[0], layer=layer, at=unit[1:], rule=rule, dead="zeros")
        on = activations(model, x, layer)[layer][:, unit[0], unit[1], unit[2]] != 0
        assert on.any() and close(ours[on], of_unit.detach()[on])


LAYERS = {
    "googlenet": ["conv2.bn", "inception3a.branch2.1.conv", "maxpool3", "inception4e.branch3.0.bn"],
    "inception_v3": [
        "Conv2d_2a_3x3.bn",
        "Mixed_5b.branch5x5_2.conv",
        "Mixed_6c.branch7x7_2.bn",
        "Mixed_7c.branch_pool.bn",
    ],
    "densenet121": [
        "features.relu0",
        "features.denseblock1.denselayer3.conv2",
        "features.transition1.conv",
        "features.norm5",
    ],
}


@pytest.mark.parametrize("name", LAYERS)
def test_rules_equal_an_oracle_where_relus_are_functions(name: str) -> None:
    model, size = built(name), ARCHITECTURES[name][1]
    x = pictures(1, size)
    for rule in ("guided", "deconvnet"):
        start = x.clone().requires_grad_()
        with oracle_relus(rule) as calls, record(model) as rec:  # every layer that has no layers inside
            y = model(start)
        outputs = dict(rec)
        assert len(calls) > 50 and len(outputs) > 90
        (expected,) = torch.autograd.grad(y[0, 4], start, retain_graph=True)
        assert close(project(model, x, 4, rule=rule), expected)
        for layer in LAYERS[name]:
            a = outputs[layer]
            best = int(a.amax((0, 2, 3)).argmax())  # the channel of the most active unit
            (expected,) = torch.autograd.grad(a[0, best].max(), start, retain_graph=True)
            assert close(project(model, x, layer=layer, rule=rule), expected), layer
        (expected,) = torch.autograd.grad(a[0, best].sum(), start, retain_graph=True)
        assert close(project(model, x, best, layer=layer, at="all", rule=rule), expected)

        # Signals of both signs from all units of all layers at once: what comes back is right for each of them.
        (expected,) = torch.autograd.grad(from_everywhere(outputs), start)
        with record(model) as rec:
            model(start.clone())
        with ReLURule(rule) as relus:
            (found,) = torch.autograd.grad(from_everywhere(rec), start)
        assert close(found, expected) and relus.met == len(calls)


@contextmanager
def oracle_relus(rule: str) -> Iterator[list[Tensor]]:
    """Inside the block every ReLU is the oracle's; yields a list that gets the input of each."""
    calls: list[Tensor] = []

    def relu(z: Tensor, inplace: bool = False) -> Tensor:
        calls.append(z)
        return OracleReLU.apply(z, rule)

    with (
        mock.patch.object(functional, "relu", relu),
        mock.patch.object(torch, "relu", relu),
        mock.patch.object(nn.ReLU, "forward", lambda self, z: relu(z)),
    ):
        yield calls


def from_everywhere(outputs: Mapping[str, Tensor]) -> Tensor:
    """Layers' outputs times random numbers, each layer about as loud as the others."""
    return sum(
        (a * torch.randn(a.shape, generator=rng(i))).sum() / a.detach().norm()
        for i, a in enumerate(outputs.values())
    )


def test_rule_gradient_is_the_gradient() -> None:
    model, x = built("googlenet"), pictures(2, 64)
    assert close(project(model, x, [1, 6], rule="gradient"), gradient(model, x, [1, 6]))
    assert close(project(model, x, rule="gradient"), gradient(model, x))


# --- units, channels, batches ----------------


@every_rule
def test_every_image_has_a_target_of_its_own(rule: str) -> None:
    model, x = built("alexnet"), pictures(3, 80)
    layer, channels, places = "features.7", [5, 9, 2], torch.tensor([[0, 1], [3, 3], [2, 0]])
    run = partial(project, model, rule=rule, layer=layer, dead="zeros")
    for at in ("max", "all", (1, 2), places):
        together = run(x, channels, at=at)
        assert together.abs().amax((1, 2, 3)).count_nonzero() >= 2
        for i in range(3):
            own = places[i].tolist() if isinstance(at, Tensor) else at
            alone = run(x[i : i + 1], channels[i], at=own)
            assert torch.allclose(together[i], alone[0], atol=1e-6 * float(alone.abs().max()), rtol=0)
        assert torch.allclose(run(x, channels, at=at, batch=2), together, atol=1e-7, rtol=1e-5)
    assert close(project(model, x, [0, 6, 3], rule=rule, batch=1), project(model, x, [0, 6, 3], rule=rule))


def test_several_units_of_one_image() -> None:
    model, x = built("alexnet"), pictures(1, 80)
    run = partial(project, model, layer="features.7", dead="zeros")
    maps = run(x, [3, 17, 40], batch=2)
    assert maps.shape == (3, 3, 80, 80)
    for i, channel in enumerate((3, 17, 40)):
        assert torch.allclose(maps[i], run(x, channel)[0], atol=1e-6)
    places = [[0, 0], [1, 3]]
    pair = run(x, 8, at=places)
    assert pair.shape == (2, 3, 80, 80)
    assert torch.allclose(pair[1], run(x, 8, at=(1, 3))[0], atol=1e-6)
    both = run(x, [8, 9], at=places)
    assert torch.allclose(both[1], run(x, 9, at=(1, 3))[0], atol=1e-6)
    assert project(model, x, range(7)).shape == (7, 3, 80, 80)


def test_default_is_the_most_active_channel_where_it_is_most_active() -> None:
    model, x = built("alexnet"), pictures(4, 80)
    a = activations(model, x, "features.7")["features.7"]
    best = choose_units(a)
    assert torch.equal(best.value, a.amax((1, 2, 3)))
    at = torch.stack([best.row, best.column], 1)
    given = project(model, x, best.channel, layer="features.7", at=at)
    assert torch.equal(project(model, x, layer="features.7"), given)
    loudest = a.sum((2, 3)).argmax(1)
    assert (loudest != best.channel).any()
    whole = project(model, x, layer="features.7", at="all")
    assert torch.equal(whole, project(model, x, loudest, layer="features.7", at="all"))
    # The gradient of a sum is the sum of the gradients; the other rules are not linear in the start.
    single = project(model, x[:1], 4, layer="features.3", at="all", rule="gradient")
    side = activations(model, x, "features.3")["features.3"].shape[-1]
    grid = torch.cartesian_prod(torch.arange(side), torch.arange(side))
    each = project(model, x[:1], 4, layer="features.3", at=grid, rule="gradient", dead="zeros")
    assert close(each.sum(0, keepdim=True), single)


def test_fully_connected_layers_have_units_only() -> None:
    model, x = built("alexnet"), pictures(2, 80)
    hidden = "classifier.2"  # the ReLU behind the first fully connected layer
    a = activations(model, x, hidden)[hidden]
    unit = int(a.amin(0).argmax())
    expected = []
    for image in x:
        start = image[None].clone().requires_grad_()
        z = functional.linear(
            model.avgpool(model.features(start)).flatten(1),
            *(getattr(model.classifier[1], n) for n in ("weight", "bias")),
        )
        expected.append(torch.autograd.grad(z[0, unit], start)[0])
    assert close(project(model, x, unit, layer=hidden, rule="gradient"), torch.cat(expected))
    guided = project(model, x, unit, layer=hidden)
    assert torch.equal(guided, project(model, x, unit, layer=hidden, at="all"))
    with pytest.raises(ValueError, match="no positions"):
        project(model, x, unit, layer=hidden, at=(0, 0))


def test_dead_units_are_named() -> None:
    model = Around(torch.relu)
    model.act = nn.ReLU()
    model.way = model.act
    model.conv2.bias.data[2] = -100.0  # channel 2 never fires
    x = pictures(3, 7)
    for at in ("max", "all", (0, 1)):
        with pytest.raises(ValueError, match="Image 0 has no active unit in layer 'act'"):
            project(model, x, 2, layer="act", at=at)
        for rule in RULES:
            zeros = project(model, x, 2, layer="act", at=at, rule=rule, dead="zeros")
            assert zeros.shape == x.shape and not zeros.any()
    a = activations(model, x, "act")["act"]
    alive = int((a.amax((2, 3)) > 0).all(0).nonzero()[0])
    mixed = project(model, x, [alive, 2, alive], layer="act", dead="zeros", batch=2)
    assert mixed.abs().amax((1, 2, 3)).gt(0).tolist() == [True, False, True]
    with pytest.raises(ValueError, match="Image 2 "):
        project(model, x, [alive, alive, 2], layer="act", batch=2)
    with pytest.raises(ValueError, match="Target 1 "):
        project(model, x[:1], [alive, 2], layer="act")
    # Before a ReLU there is a gradient to speak of, whatever the value.
    assert project(model, x, 2, layer="conv2").abs().max() > 0
    zero = torch.tensor([1.0, -1.0, 0.0]).view(1, 3, 1, 1)  # makes z = (0, 1, −1)
    assert project(by_hand(), zero, 0, layer="1", rule="gradient").flatten().tolist() == [1, 1, 0]


def test_class_insensitivity_and_randomisation_are_measured_in_two_lines() -> None:
    model, x = Around(nn.ReLU()), pictures(2, 16)
    model.fc = nn.Linear(4 * 144, 2)
    maps = saliency_map(project(model, x, 0))
    assert similarity(maps, saliency_map(project(model, x, 1))).rank.isfinite().all()
    for _, copy in randomise(model):
        assert similarity(maps, saliency_map(project(copy, x, 0))).rank.isfinite().all()


# --- manners ----------------


def awkward(act: nn.Module | None = None) -> nn.Sequential:
    """Works in place on its input, has batch norm and dropout, is half in training mode and half frozen."""
    with torch.random.fork_rng():
        torch.manual_seed(2)
        model = nn.Sequential(
            nn.ReLU(inplace=True),
            nn.Conv2d(3, 4, 3),
            nn.BatchNorm2d(4),
            nn.ReLU(inplace=True) if act is None else act,
            nn.Dropout(0.5),
            nn.Flatten(),
            nn.Linear(4 * 36, 5),
        )
    model.train()
    model[2].eval()
    model[1].weight.requires_grad_(False)
    model[6].weight.grad = torch.ones_like(model[6].weight)
    return model


@pytest.mark.parametrize("mode", [torch.enable_grad, torch.no_grad, torch.inference_mode])
def test_nothing_is_left_behind(mode: type) -> None:
    model, x = awkward(), pictures(2, 8)
    for images in (x, x.clone().requires_grad_()):
        with left_alone(model, images), mode():
            chosen = torch.tensor([1, 3])
            for options in ({}, {"layer": "3"}, {"layer": "3", "at": chosen[:, None].expand(2, 2)}):
                for target in (None, 2, chosen):
                    first = project(model, images, target, dead="zeros", **options)
                    second = project(model, images, target, dead="zeros", **options)
                    assert not first.requires_grad and first.shape == x.shape and first.dtype == x.dtype
                    assert torch.equal(first, second), "no dropout, and nothing adds up over calls"
    with torch.inference_mode():
        inside = x.clone()
    assert torch.equal(project(model, inside, 1), project(model, x, 1))


class Raises(torch.autograd.Function):
    """The identity, until the signal comes back."""

    @staticmethod
    def forward(ctx: object, x: Tensor, error: BaseException) -> Tensor:
        ctx.error = error
        return x.clone()

    @staticmethod
    def backward(ctx: object, g: Tensor) -> tuple[Tensor, None]:
        raise ctx.error


class Trap(nn.Module):
    def __init__(self, error: BaseException, when: str) -> None:
        super().__init__()
        self.error, self.when = error, when

    def forward(self, x: Tensor) -> Tensor:
        if self.when == "forward":
            raise self.error
        return Raises.apply(x.relu(), self.error).relu()


@pytest.mark.parametrize("when", ["forward", "backward"])
@pytest.mark.parametrize("layer", [None, "6"])
@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("out of memory")], ids=["stop", "error"])
def test_nothing_is_left_behind_when_it_is_stopped(
    error: BaseException, layer: str | None, when: str
) -> None:
    model, x = awkward(Trap(error, when)), pictures(2, 8)
    with left_alone(model, x), pytest.raises(type(error)):
        project(model, x, 1, layer=layer)
    # What comes afterwards is an ordinary gradient again.
    z = torch.tensor([1.0], requires_grad=True)
    (-z.relu()).backward()
    assert z.grad.item() == -1


def test_other_precisions_and_a_graph_of_the_users_own() -> None:
    model, x = awkward().double(), pictures(2, 8).double()
    maps = project(model, x, 1)
    assert maps.dtype == torch.float64
    assert close(maps.float(), project(awkward(), x.float(), 1))
    # A tensor of the user's with a history of its own plays a part in the model; that history stays as it is.
    free = torch.randn(4, 3, 3, generator=rng(), requires_grad=True)
    gate = free.relu() + 1
    gated = Around(lambda z: z.relu() * gate if z.shape[1:] == gate.shape else z.relu())
    x = pictures(2, 7)
    start = x.clone().requires_grad_()
    oracle = Around(lambda z: OracleReLU.apply(z, "guided") * (gate if z.shape[1:] == gate.shape else 1))
    expected = torch.autograd.grad(oracle(start)[:, 1].sum(), start)[0]
    assert close(project(gated, x, 1), expected)
    beside = Around(lambda z: z.tanh() * gate if z.shape[1:] == gate.shape else z.tanh())
    with pytest.raises(ValueError, match="No ReLU was met"):  # the one behind the gate is not on the way to x
        project(beside, x, 1)
    assert free.grad is None
    (-gate).sum().backward()
    assert torch.equal(free.grad, -(free > 0).float())


class Returns(nn.Module):
    def __init__(self, change: Callable[[Tensor], object]) -> None:
        super().__init__()
        self.body, self.change = awkward(), change

    def forward(self, x: Tensor) -> object:
        return self.change(self.body(x))


GOOD = pictures(2, 8)


@pytest.mark.parametrize(
    ("model", "x", "options", "said"),
    [
        (awkward(), GOOD * float("nan"), {}, "NaN or infinite"),
        (awkward(), GOOD.long(), {}, "finite floats"),
        (awkward(), GOOD[:0], {}, r"\(N, C, H, W\)"),
        (awkward(), GOOD[0], {}, r"x\[None\]"),
        (awkward(), GOOD, {"target": 5}, "no class 5: the model has 5"),
        (awkward(), GOOD, {"target": -1}, "no class -1"),
        (awkward(), GOOD, {"target": 1.0}, "one whole number"),
        (awkward(), GOOD, {"target": [True, False]}, "one whole number"),
        (awkward(), GOOD, {"target": [0, 1, 2]}, "2 images do not go with 3 targets"),
        (awkward(), GOOD, {"target": []}, "one whole number|do not go with 0"),
        (awkward(), GOOD, {"target": 4, "layer": "3"}, "no channel 4: the layer has 4"),
        (awkward(), GOOD, {"target": [0, -1], "layer": "3"}, "no channel -1"),
        (awkward(), GOOD, {"layer": "3", "at": (6, 0)}, "rows and columns are from 0 to below 6 and 6"),
        (awkward(), GOOD, {"layer": "3", "at": (0, -1)}, "rows and columns are from 0"),
        (awkward(), GOOD, {"layer": "3", "at": (0, 1, 2)}, r"\(row, column\)"),
        (awkward(), GOOD, {"layer": "3", "at": 3}, r"\(row, column\)"),
        (awkward(), GOOD, {"layer": "3", "at": (0.5, 1.0)}, r"\(row, column\)"),
        (awkward(), GOOD, {"layer": "3", "at": "centre"}, "'max', or in project 'all'"),
        (awkward(), GOOD, {"layer": "3", "at": torch.zeros(3, 2).long()}, "2 images do not go with 3"),
        (awkward(), GOOD, {"at": (0, 0)}, "class has no positions"),
        (awkward(), GOOD, {"at": "all"}, "class has no positions"),
        (awkward(), GOOD, {"layer": "relu9"}, "no layer 'relu9'"),
        (awkward(), GOOD, {"rule": "relu"}, "'gradient', 'deconvnet', 'guided'"),
        (awkward(), GOOD, {"dead": "ignore"}, "'raise' or 'zeros'"),
        (awkward(), GOOD, {"batch": 0}, "batch is 0"),
        (Returns(lambda y: (y, y)), GOOD, {}, "returns a tuple"),
        (Returns(lambda y: {"out": y}), GOOD, {}, "returns a dict"),
        (Returns(lambda y: y.detach()), GOOD, {}, "without autograd"),
        (Returns(lambda y: torch.zeros(2, 5, requires_grad=True)), GOOD, {}, "No gradient leads"),
    ],
)
def test_bad_input_gets_a_sentence(
    model: nn.Module, x: Tensor, options: dict[str, object], said: str
) -> None:
    with left_alone(model, x), pytest.raises(ValueError, match=said):
        project(model, x, **options)


def test_layers_without_units() -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.unused, self.rows = nn.ReLU(), nn.Flatten(2)

        def forward(self, x: Tensor) -> Tensor:
            return self.rows(x.relu()).sum(2)

    with pytest.raises(LayerError, match="'unused' has given no tensor"):
        project(Odd(), GOOD, layer="unused")
    with pytest.raises(LayerError, match=r"gives \(2, 3, 64\); units are looked for in maps"):
        project(Odd(), GOOD, layer="rows")
    with pytest.raises(ValueError, match="'max', or in project 'all'"):
        choose_units(GOOD, 0, "all")


def test_a_model_need_not_return_logits_to_ask_about_its_layers() -> None:
    model = Returns(lambda y: {"out": y})
    assert torch.equal(project(model, GOOD, 1, layer="body.3"), project(model.body, GOOD, 1, layer="3"))
