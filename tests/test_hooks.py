"""hooks: right values, in the right order, and a model that is as before whatever happens."""

from __future__ import annotations

import gc
import weakref
from collections import OrderedDict, namedtuple

import pytest
import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional as F

from cnnvis_helpers import hooks
from cnnvis_helpers.hooks import LayerError


class Crash(nn.Module):
    def __init__(self, error: type[BaseException]) -> None:
        super().__init__()
        self.error = error

    def forward(self, x: Tensor) -> Tensor:
        raise self.error("crash")


class Tuples(nn.Module):
    """Modules that return other things than a tensor."""

    Pair = namedtuple("Pair", "main extra")

    class Give(nn.Module):
        def __init__(self, make) -> None:
            super().__init__()
            self.make = make

        def forward(self, x):
            return self.make(x)

    def __init__(self) -> None:
        super().__init__()
        self.named = self.Give(lambda x: self.Pair(x * 2, x * 3))
        self.nested = self.Give(lambda x: {"label": "text", "maps": [x * 5, x]})
        self.ordered = self.Give(lambda x: OrderedDict(out=x + 1))
        self.nothing = self.Give(lambda x: None)
        self.text = self.Give(lambda x: "no tensor")

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        pair = self.named(x)
        assert isinstance(pair, self.Pair)
        nested = self.nested(pair.main)
        assert nested["label"] == "text"
        ordered = self.ordered(nested["maps"][0])
        assert isinstance(ordered, OrderedDict)
        assert self.nothing(x) is None and self.text(x) == "no tensor"
        return {"out": ordered["out"], "extra": pair.extra}


class Reused(nn.Module):
    """One in-place ReLU used three times: on x - 1, on its result - 1, and on that - 1."""

    def __init__(self) -> None:
        super().__init__()
        self.less = nn.Linear(1, 1)
        nn.init.constant_(self.less.weight, 1)
        nn.init.constant_(self.less.bias, -1)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        for _ in range(3):
            x = self.relu(self.less(x))
        return x


def small() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(3, 4, 3, padding=1),
            norm1=nn.BatchNorm2d(4),
            relu1=nn.ReLU(inplace=True),
            pool1=nn.MaxPool2d(2),
            drop=nn.Dropout(0.5),
            conv2=nn.Conv2d(4, 5, 3),
            relu2=nn.ReLU(inplace=True),
            flatten=nn.Flatten(),
            fc=nn.Linear(5 * 2 * 2, 2),
        )
    )


def batch(size: int = 8, n: int = 2) -> Tensor:
    return torch.randn(n, 3, size, size, generator=torch.Generator().manual_seed(1))


def hook_count(model: nn.Module) -> int:
    kinds = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return sum(len(getattr(module, kind)) for module in model.modules() for kind in kinds)


def state(model: nn.Module) -> list:
    modes = [module.training for module in model.modules()]
    return [modes, [p.requires_grad for p in model.parameters()], hook_count(model)]


def mixed(model: nn.Module) -> nn.Module:
    """Training mode in part of the model, gradients for part of the parameters."""
    model.train()
    model.norm1.eval()
    model.conv1.weight.requires_grad_(False)
    return model


# --- names ---


def test_layer_names_are_all_but_the_root() -> None:
    model = nn.Sequential(nn.Sequential(nn.ReLU()), nn.Identity())
    assert hooks.layer_names(model) == ["0", "0.0", "1"]
    assert hooks.find(model, "0.0") is model[0][0]


def test_a_shared_module_has_both_names() -> None:
    relu = nn.ReLU()
    model = nn.Sequential(relu, nn.Linear(1, 1), relu)
    assert hooks.layer_names(model) == ["0", "1", "2"]
    assert hooks.find(model, "2") is relu
    assert hooks.activations(model, torch.ones(1, 1), "2").keys() == {"2"}


@pytest.mark.parametrize("name", ["conv3", "", "fc.weight", "0", None, 3])
def test_unknown_layer_lists_the_layers(name) -> None:
    model = small()
    with pytest.raises(LayerError) as error:
        hooks.find(model, name)
    message = str(error.value)
    assert "conv1, norm1, relu1, pool1, drop, conv2, relu2, flatten, fc." in message
    assert message.startswith("The model has no layer ") and "\n" not in message
    assert isinstance(error.value, ValueError) and isinstance(error.value, KeyError)


def test_unknown_layer_suggests_a_near_name() -> None:
    with pytest.raises(LayerError, match=r"did you mean 'conv2' or 'conv1'\?"):
        hooks.find(small(), "conv")
    with pytest.raises(LayerError, match=r"did you mean 'layer4\.1\.conv2'"):
        hooks.find(torchvision.models.resnet18(weights=None), "layer4.1.conv3")


def test_a_deep_model_is_listed_by_its_outer_layers() -> None:
    with pytest.raises(LayerError) as error:
        hooks.find(torchvision.models.resnet18(weights=None), "zzz")
    assert "layer1, layer2, layer3, layer4, avgpool, fc, and 57 inside these" in str(error.value)
    assert "did you mean" not in str(error.value)
    assert len(str(error.value)) < 250


# --- record: values ---


def test_values_are_those_of_a_step_by_step_run() -> None:
    model = small().eval()
    x = batch()
    with torch.no_grad(), hooks.record(model) as rec:
        out = model(x)
    expected = {}
    with torch.no_grad():
        value = x
        for name, module in model.named_children():
            value = F.relu(value) if "relu" in name else module(value.clone())
            expected[name] = value
    assert list(rec) == list(expected) and len(rec) == 9
    for name, value in expected.items():
        assert torch.equal(rec[name], value), name
        assert not rec[name].requires_grad
    assert torch.equal(out, expected["fc"])


def test_in_place_relu_leaves_the_recorded_layer_before_it_signed() -> None:
    model = small().eval()
    for grad in (False, True):
        with torch.set_grad_enabled(grad), hooks.record(model, ["norm1", "relu1"]) as rec:
            model(batch())
        assert rec["norm1"].min() < 0
        assert torch.equal(rec["norm1"].clamp(min=0), rec["relu1"])


def test_values_survive_what_the_model_does_later_to_the_same_memory() -> None:
    class Later(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.same = nn.Identity()

        def forward(self, x: Tensor) -> Tensor:
            y = x * 2
            self.same(y)
            y += 100
            return y

    model = Later()
    for x in (torch.ones(1, 1), torch.ones(1, 1, requires_grad=True)):
        with hooks.record(model, "same") as rec:
            assert model(x).item() == 102
        assert rec["same"].item() == 2


def test_reused_module_gives_all_calls() -> None:
    model = Reused()
    x = torch.tensor([[4.0], [1.5]])
    with hooks.record(model) as rec:
        model(x)
    assert [call.flatten().tolist() for call in rec.calls["relu"]] == [[3, 0.5], [2, 0], [1, 0]]
    assert [call.flatten().tolist() for call in rec.calls["less"]] == [[3, 0.5], [2, -0.5], [1, -1]]
    assert rec["relu"].flatten().tolist() == [1, 0]
    assert list(rec) == ["less", "relu"]


def test_only_the_last_forward_is_kept() -> None:
    model = Reused()
    with hooks.record(model, "relu", gradients=True) as rec:
        first = model(torch.tensor([[9.0]]))
        model(torch.tensor([[4.0]]))
        first.sum().backward()  # the graph of the first pass is not the recorded one
        assert "relu" not in rec.gradients
    assert [call.item() for call in rec.calls["relu"]] == [3, 2, 1]


def test_record_changes_neither_output_nor_parameter_gradients() -> None:
    results = []
    for layers in ([], None):
        model = small()
        with hooks.record(model, layers, gradients=True):
            torch.manual_seed(3)  # dropout
            out = model(batch())
            out[:, 0].sum().backward()
        results.append([out, *(p.grad for p in model.parameters())])
        assert model.training
    for plain, recorded in zip(*results, strict=True):
        assert torch.equal(plain, recorded)


def test_names_can_be_one_several_or_any_iterable() -> None:
    model = small().eval()
    for layers, expected in (("fc", ["fc"]), (["fc", "conv1"], ["conv1", "fc"]), (iter(("fc",)), ["fc"])):
        with hooks.record(model, layers) as rec:
            model(batch())
        assert list(rec) == expected


def test_reading_what_is_not_there() -> None:
    with hooks.record(small(), "conv1") as rec:
        with pytest.raises(LayerError, match="run the model inside"):
            rec["conv1"]
        with pytest.raises(LayerError, match="'fc' is not recorded; recorded are: conv1"):
            rec["fc"]
        assert "conv1" not in rec and rec.get("conv1") is None
        with pytest.raises(LayerError, match="No gradient has reached layer 'conv1'"):
            rec.gradients["conv1"]


@pytest.mark.parametrize("grad", [False, True])
def test_first_tensor_of_tuples_and_dicts(grad: bool) -> None:
    model = Tuples()
    x = torch.tensor([1.0], requires_grad=grad)
    with hooks.record(model, gradients=True) as rec:
        out = model(x)
    assert {name: value.item() for name, value in rec.items()} == {"named": 2, "nested": 10, "ordered": 11}
    assert out["out"].item() == 11 and out["extra"].item() == 3
    out["out"].sum().backward()
    assert {name: value.item() for name, value in rec.gradients.items()} == {
        "named": 5,
        "nested": 1,
        "ordered": 1,
    }
    assert [info.name for info in hooks.describe(model, x)] == ["named", "nested", "ordered"]


@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
def test_networks_that_return_tuples_in_training_mode(name: str) -> None:
    kind = getattr(torchvision.models, name)
    model = kind(weights=None, init_weights=False, aux_logits=True, num_classes=4).train()
    x = torch.randn(2, 3, 96 if name == "googlenet" else 299, 96 if name == "googlenet" else 299)
    with torch.no_grad(), hooks.record(model, ["aux1" if name == "googlenet" else "AuxLogits", "fc"]) as rec:
        out = model(x)
    assert torch.equal(rec["fc"], out.logits)
    assert hooks.activations(model, x, "fc")["fc"].shape == (2, 4)
    assert model.training and hook_count(model) == 0


# --- record: gradients ---


def test_gradients_by_hand() -> None:
    # score = 3 · relu(2x - 1): d/d(relu) = 3, d/d(2x - 1) = 3 where positive, else 0.
    model = nn.Sequential(nn.Linear(1, 1), nn.ReLU(inplace=True), nn.Linear(1, 1, bias=False))
    nn.init.constant_(model[0].weight, 2)
    nn.init.constant_(model[0].bias, -1)
    nn.init.constant_(model[2].weight, 3)
    with hooks.record(model, gradients=True) as rec:
        score = model(torch.tensor([[2.0], [0.25]])).sum()
    score.backward()  # after the block works as well
    assert rec["0"].flatten().tolist() == [3, -0.5]
    assert rec.gradients["0"].flatten().tolist() == [3, 0]
    assert rec.gradients["1"].flatten().tolist() == [3, 3]
    assert rec.gradients["2"].flatten().tolist() == [1, 1]
    assert not rec.gradients["0"].requires_grad


def test_gradients_of_a_frozen_model() -> None:
    model = small()
    with hooks.frozen(model), hooks.record(model, ["relu1", "relu2"], gradients=True) as rec:
        model(batch())[:, 1].sum().backward()
    assert rec.gradients["relu2"].shape == rec["relu2"].shape == (2, 5, 2, 2)
    assert torch.allclose(rec.gradients["relu2"][0].flatten(), model.fc.weight[1])
    assert rec.gradients["relu1"].abs().sum() > 0
    assert all(p.grad is None for p in model.parameters())


def test_reused_module_gradient_is_of_the_last_call() -> None:
    with hooks.record(Reused(), "relu", gradients=True) as rec:
        (5 * rec._model(torch.tensor([[9.0]]))).sum().backward()
    assert rec.gradients["relu"].item() == 5


def test_recorded_value_is_on_the_path() -> None:
    model = small().eval()
    x = batch().requires_grad_()
    with hooks.record(model, ["relu1", "relu2"]) as rec:
        score = model(x)[:, 0].sum()
    (wanted,) = torch.autograd.grad(score, rec["relu2"], retain_graph=True)
    assert torch.allclose(wanted[0].flatten(), model.fc.weight[0])
    rec["relu1"][:, 2].sum().backward()  # a loss on a recorded value reaches the input
    assert x.grad is not None and x.grad.abs().sum() > 0


def test_no_gradients_without_autograd() -> None:
    with torch.no_grad(), hooks.record(small().eval(), "relu1", gradients=True) as rec:
        rec._model(batch())
    assert not rec["relu1"].requires_grad and not rec.gradients


def test_a_recording_is_freed_with_its_last_reference() -> None:
    gc.collect()
    gc.disable()
    try:
        model = small()
        with hooks.record(model, "relu1", gradients=True) as rec:
            model(batch()).sum().backward()
        kept = weakref.ref(rec["relu1"])
        del rec
        assert kept() is None
    finally:
        gc.enable()


# --- the model is as before ---


def test_hooks_are_gone_after_success() -> None:
    model = mixed(small())
    before = state(model)
    with hooks.record(model, gradients=True) as rec:
        assert hook_count(model) == 10
        model(batch())
    assert state(model) == before
    recorded = rec["fc"].clone()
    model(batch() + 1)
    assert torch.equal(rec["fc"], recorded)  # no longer listening


def test_a_block_can_be_entered_again() -> None:
    model = small()
    rec = hooks.record(model, "fc")
    for _ in range(2):
        with rec:
            model(batch())
            assert hook_count(model) == 2
    assert hook_count(model) == 0


def test_hooks_are_gone_after_a_bad_layer_name() -> None:
    model = mixed(small())
    before = state(model)
    for call in (
        lambda: hooks.record(model, ["conv1", "con2"]).__enter__(),
        lambda: hooks.activations(model, batch(), ["conv1", "con2"]),
    ):
        with pytest.raises(LayerError, match="did you mean 'conv2'"):
            call()
        assert state(model) == before


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_model_is_restored_after_a_crash(error: type[BaseException]) -> None:
    model = mixed(small())
    model.add_module("crash", Crash(error))
    before = state(model)
    x = batch()

    def recorded() -> None:
        with hooks.record(model, gradients=True):
            model(x)

    def while_frozen() -> None:
        with hooks.frozen(model):
            model(x)

    for call in (
        recorded,
        while_frozen,
        lambda: hooks.activations(model, x, "conv1"),
        lambda: hooks.describe(model, x),
        lambda: hooks.rectified_maps(model, x),
    ):
        with pytest.raises(error, match="crash"):
            call()
        assert state(model) == before


def test_a_wrong_input_leaves_no_hook() -> None:
    model = mixed(small())
    before = state(model)
    with pytest.raises(RuntimeError):
        hooks.activations(model, torch.rand(1, 5, 8, 8), "conv1")
    assert state(model) == before


def test_registration_that_fails_half_way_leaves_no_hook(monkeypatch: pytest.MonkeyPatch) -> None:
    model = small()

    def fail(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(model.fc, "register_forward_hook", fail)
    for call in (lambda: hooks.record(model).__enter__(), lambda: hooks.describe(model, batch())):
        with pytest.raises(KeyboardInterrupt):
            call()
        assert hook_count(model) == 0


def test_frozen_restores_each_submodule_and_parameter() -> None:
    model = mixed(small())
    before = state(model)
    with hooks.frozen(model) as same:
        assert same is model
        assert not any(module.training for module in model.modules())
        assert not any(p.requires_grad for p in model.parameters())
        x = batch().requires_grad_()
        model(x).sum().backward()
        assert x.grad is not None
        with hooks.frozen(model):  # nested: back to frozen, then to the start
            pass
        assert not model.training
    assert state(model) == before
    assert all(p.grad is None for p in model.parameters())


def test_frozen_after_a_model_whose_eval_fails() -> None:
    class Stubborn(nn.Module):
        def train(self, mode: bool = True):
            raise RuntimeError("no")

    model = nn.Sequential(nn.Linear(1, 1), Stubborn())
    before = state(model)
    with pytest.raises(RuntimeError, match="no"), hooks.frozen(model):
        pass
    assert state(model) == before


def test_running_statistics_are_untouched() -> None:
    model = small().train()
    mean = model.norm1.running_mean.clone()
    hooks.activations(model, batch(), "norm1")
    hooks.describe(model, batch())
    assert torch.equal(model.norm1.running_mean, mean)


# --- activations ---


def test_activations_run_in_evaluation_mode_without_gradients() -> None:
    model = small().train()
    given = hooks.activations(model, batch().requires_grad_(), ["fc", "drop"])
    assert list(given) == ["fc", "drop"]
    model.eval()
    assert torch.equal(given["fc"], model(batch()).detach())
    assert not given["fc"].requires_grad
    assert list(hooks.activations(model, batch())) == hooks.layer_names(model)


def test_activations_of_a_layer_that_does_not_run() -> None:
    model = torchvision.models.googlenet(weights=None, init_weights=False, aux_logits=True)
    with pytest.raises(LayerError, match="'aux1' has given no tensor"):
        hooks.activations(model, torch.randn(1, 3, 64, 64), "aux1")


# --- describe and rectified_maps ---


def test_describe_by_hand() -> None:
    model = small()
    nn.init.constant_(model.fc.bias, -10)  # or both outputs might happen to be positive
    infos = hooks.describe(model, batch())
    shown = [(i.name, i.kind, i.shape, i.parameters, i.rectified, i.is_map, i.leaf) for i in infos]
    assert shown == [
        ("conv1", "Conv2d", (4, 8, 8), 3 * 9 * 4 + 4, False, True, True),
        ("norm1", "BatchNorm2d", (4, 8, 8), 8, False, True, True),
        ("relu1", "ReLU", (4, 8, 8), 0, True, True, True),
        ("pool1", "MaxPool2d", (4, 4, 4), 0, True, True, True),
        ("drop", "Dropout", (4, 4, 4), 0, True, True, True),
        ("conv2", "Conv2d", (5, 2, 2), 4 * 9 * 5 + 5, False, True, True),
        ("relu2", "ReLU", (5, 2, 2), 0, True, True, True),
        ("flatten", "Flatten", (20,), 0, True, False, True),
        ("fc", "Linear", (2,), 42, False, False, True),
    ]


def test_describe_is_in_execution_order() -> None:
    class Backwards(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.last = nn.Linear(2, 3)
            self.unused = nn.Linear(2, 2)
            self.block = nn.Sequential(nn.Linear(2, 2), nn.ReLU())

        def forward(self, x: Tensor) -> Tensor:
            return self.last(self.block(x))

    infos = hooks.describe(Backwards(), torch.randn(4, 2))
    assert [info.name for info in infos] == ["block.0", "block.1", "block", "last"]
    assert [info.leaf for info in infos] == [True, True, False, True]


def test_describe_resnet_containers_come_after_their_children() -> None:
    infos = hooks.describe(torchvision.models.resnet18(weights=None), torch.randn(1, 3, 64, 64))
    names = [info.name for info in infos]
    assert names[:4] == ["conv1", "bn1", "relu", "maxpool"] and names[-1] == "fc"
    assert names.index("layer1.0.bn2") < names.index("layer1.0.relu") < names.index("layer1.0")
    assert names.index("layer2.0.downsample") < names.index("layer2.0") < names.index("layer2")
    by_name = {info.name: info for info in infos}
    assert by_name["layer4"].shape == (512, 2, 2) and not by_name["layer4"].leaf
    assert by_name["bn1"].rectified is False  # though the in-place ReLU after it has overwritten its output
    assert by_name["avgpool"].shape == (512, 1, 1) and not by_name["avgpool"].is_map
    total = sum(p.numel() for p in torchvision.models.resnet18(weights=None).parameters())
    assert sum(info.parameters for info in infos if info.leaf) == total


def test_rectified_maps_of_a_sequential() -> None:
    # Dropout hands pool1's map on unchanged in evaluation mode: one output, named once.
    assert hooks.rectified_maps(small(), batch()) == ["relu1", "pool1", "relu2"]


def test_rectified_maps_of_resnet18() -> None:
    model = torchvision.models.resnet18(weights=None)
    expected = ["relu", "maxpool", "layer1.0", "layer1", "layer2.0", "layer2"]
    expected += ["layer3.0", "layer3", "layer4.0", "layer4"]
    assert hooks.rectified_maps(model, torch.randn(1, 3, 64, 64)) == expected


def test_rectified_maps_of_googlenet_whose_relu_is_a_function() -> None:
    model = torchvision.models.googlenet(weights=None, init_weights=False, aux_logits=False)
    names = hooks.rectified_maps(model, torch.randn(1, 3, 64, 64))
    assert not any(isinstance(m, nn.ReLU) for m in model.modules())
    blocks = [name for name in names if "." not in name]
    assert blocks[:5] == ["conv1", "maxpool1", "conv2", "conv3", "maxpool2"]
    assert {f"inception{b}" for b in ("3a", "3b", "4a", "4b", "4c", "4d", "4e", "5a", "5b")} <= set(blocks)
    given = hooks.activations(model, torch.randn(1, 3, 64, 64), names)
    assert all(value.min() >= 0 and value.ndim == 4 for value in given.values())
    assert not any(name.endswith((".bn", ".conv")) for name in names)


def test_rectified_maps_of_alexnet() -> None:
    names = hooks.rectified_maps(torchvision.models.alexnet(weights=None), torch.randn(1, 3, 224, 224))
    expected = [f"features.{i}" for i in (1, 2, 4, 5, 7, 9, 11)]
    assert names == [*expected, "features"]  # the container gives what its last pool, features.12, gave


def test_rectified_maps_name_each_output_once_and_the_outer_name() -> None:
    inner = nn.Sequential(nn.Conv2d(3, 2, 1), nn.ReLU())
    model = nn.Sequential(nn.Sequential(inner), nn.Identity(), nn.Conv2d(2, 2, 1))
    assert hooks.rectified_maps(model, batch()) == ["0"]


@pytest.mark.parametrize(
    ("most", "expected"),
    [
        (1, ["layer4"]),
        (2, ["relu", "layer4"]),
        (4, ["relu", "layer1", "layer3.0", "layer4"]),
        (10, None),
        (99, None),
    ],
)
def test_at_most(most: int, expected: list[str] | None) -> None:
    model = torchvision.models.resnet18(weights=None)
    x = torch.randn(1, 3, 64, 64)
    assert hooks.rectified_maps(model, x, most) == (expected or hooks.rectified_maps(model, x))


def test_at_most_none_of_them() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        hooks.rectified_maps(small(), batch(), 0)


def test_a_map_with_nan_is_not_rectified() -> None:
    model = nn.Sequential(nn.ReLU())
    x = batch()
    x[0, 0, 0, 0] = float("nan")
    assert hooks.rectified_maps(model, batch()) == ["0"]
    assert hooks.rectified_maps(model, x) == []


def test_a_first_layer_in_place_leaves_the_input_alone() -> None:
    model = nn.Sequential(nn.ReLU(inplace=True), nn.Conv2d(3, 4, 3))
    x = torch.randn(2, 3, 8, 8)
    before = x.clone()
    hooks.activations(model, x, ["1"])
    hooks.describe(model, x)
    assert torch.equal(x, before)
