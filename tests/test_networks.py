"""The course's ConvNet: shapes, a start that depends on the seed alone, and batch norm folded away exactly."""

from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import nn

from cnnvis_helpers.networks import INPUT_SIZE, alexnet, fold_batch_norm, googlenet, resnet, vgg

CONVOLUTIONAL = "conv1 relu1 pool1 conv2 relu2 pool2 conv3 relu3 conv4 relu4 conv5 relu5 pool5"
NAMES = f"{CONVOLUTIONAL} flatten fc6 relu6 drop6 fc7 relu7 drop7 fc8".split()


def shapes(model: nn.Sequential) -> dict[str, tuple[int, ...]]:
    x, seen = torch.zeros(2, 3, INPUT_SIZE, INPUT_SIZE), {}
    model.eval()
    for name, layer in model.named_children():
        x = layer(x)
        seen[name] = tuple(x.shape[1:])
    return seen


def test_layers_and_shapes() -> None:
    seen = shapes(alexnet())
    assert list(seen) == NAMES
    assert seen["conv1"] == (48, 48, 48)
    assert seen["pool1"] == (48, 24, 24)
    assert seen["pool2"] == (80, 12, 12)
    assert seen["relu5"] == (96, 12, 12)
    assert seen["pool5"] == (96, 4, 4)
    assert seen["fc8"] == (16,)


def test_parameters_counted_by_hand() -> None:
    convolutions = 48 * (3 * 81 + 1) + 80 * (48 * 25 + 1) + 96 * (80 * 9 + 1) + 2 * 96 * (96 * 9 + 1)
    linear = 256 * (1536 + 1) + 256 * (256 + 1) + 16 * (256 + 1)
    assert sum(p.numel() for p in alexnet().parameters()) == convolutions + linear == 806_464


def test_vgg_by_hand() -> None:
    seen = shapes(vgg())
    pairs = [[f"conv{b}_{n}", f"relu{b}_{n}"] for b in (1, 2, 3, 4) for n in (1, 2)]
    names = [name for pair in pairs for name in pair]
    for block in (1, 2, 3, 4):
        names.insert(5 * block - 1, f"pool{block}")
    assert list(seen) == [*names, *NAMES[NAMES.index("flatten") :]]
    assert [seen[f"conv{b}_2"] for b in (1, 2, 3, 4)] == [
        (24, 96, 96),
        (48, 48, 48),
        (96, 24, 24),
        (128, 12, 12),
    ]
    assert seen["pool4"] == (128, 4, 4) and seen["fc8"] == (16,)
    entering = (3, 24, 24, 48, 48, 96, 96, 128)
    leaving = (24, 24, 48, 48, 96, 96, 128, 128)
    convolutions = sum(b * (9 * a + 1) for a, b in zip(entering, leaving, strict=True))
    linear = 256 * (2048 + 1) + 256 * (256 + 1) + 16 * (256 + 1)
    assert sum(p.numel() for p in vgg().parameters()) == convolutions + linear


def test_googlenet_by_hand() -> None:
    model = googlenet()
    seen = shapes(model)
    assert [seen[f"inception{n}"] for n in ("3a", "3b", "4a", "4b")] == [
        (96, 12, 12),
        (128, 12, 12),
        (128, 12, 12),
        (160, 12, 12),
    ]
    assert seen["conv1"] == (48, 48, 48) and seen["fc"] == (16,)
    # the first block: 1×1; 1×1 → 3×3; 1×1 → 3×3 in place of 5×5; pooling → 1×1; none with a bias, all with batch norm
    weights = 80 * (24 + 32 + 8 + 12) + 9 * (32 * 48 + 8 * 12)
    norms = 2 * (24 + 32 + 48 + 8 + 12 + 12)
    assert sum(p.numel() for p in model.inception3a.parameters()) == weights + norms


@pytest.mark.parametrize("build", [vgg, googlenet, resnet])
def test_heirs_start_from_their_seed_alone(build: Callable[..., nn.Sequential]) -> None:
    state = torch.get_rng_state()
    one, two, three = (build(16, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(state, torch.get_rng_state())
    pairs = zip(one.state_dict().values(), two.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    first, other = (next(m for m in net.modules() if isinstance(m, nn.Conv2d)).weight for net in (one, three))
    assert not torch.equal(first, other)
    if build is not resnet:  # which keeps He's loud start unless asked
        assert first.std().item() == pytest.approx(0.01, rel=0.1)
    assert resnet(16, conv1_init="small").conv1.weight.std().item() == pytest.approx(0.01, rel=0.1)


def test_every_relu_is_a_module_that_works_on_a_copy() -> None:
    relus = [m for m in alexnet(batch_norm=True) if isinstance(m, nn.ReLU)]
    assert len(relus) == 7
    assert not any(m.inplace for m in relus)


def test_the_other_first_layer_changes_nothing_else() -> None:
    small, large = shapes(alexnet()), shapes(alexnet(stem="11/4"))
    assert large["conv1"] == (48, 24, 24)
    assert {k: v for k, v in small.items() if k not in ("conv1", "relu1")} == {
        k: v for k, v in large.items() if k not in ("conv1", "relu1")
    }
    start, other = alexnet().state_dict(), alexnet(stem="11/4").state_dict()
    del start["conv1.weight"], start["conv1.bias"]
    assert all(torch.equal(start[k], other[k]) for k in start)


def test_two_streams_do_not_see_each_other_before_conv3() -> None:
    model = alexnet(groups=2).eval()
    x = torch.rand(1, 48, 24, 24)
    changed = x.clone()
    changed[:, 24:] += 1  # the second stream's maps
    before, after = model.conv2(x), model.conv2(changed)
    assert torch.equal(before[:, :40], after[:, :40])
    assert not torch.equal(before[:, 40:], after[:, 40:])
    assert model.conv3.weight.shape[1] == 80
    assert model.conv4.weight.shape[1] == model.conv5.weight.shape[1] == 48


def test_start_depends_on_the_seed_alone() -> None:
    torch.manual_seed(1)
    state = torch.get_rng_state()
    first = alexnet(seed=3).state_dict()
    assert torch.equal(torch.get_rng_state(), state), "the global generator was moved"
    torch.manual_seed(2)
    second, other = alexnet(seed=3).state_dict(), alexnet(seed=4).state_dict()
    assert all(torch.equal(first[k], second[k]) for k in first)
    assert not torch.equal(first["conv1.weight"], other["conv1.weight"])
    # numpy's PCG64 stream: another version that draws otherwise would silently change the untrained network
    expected = torch.tensor([0.0012573, -0.0013210, 0.0064042])
    torch.testing.assert_close(alexnet(seed=0).conv1.weight.flatten()[:3], expected, atol=1e-6, rtol=0)


def test_initial_spread() -> None:
    model = alexnet()
    assert model.conv1.weight.std().item() == pytest.approx(0.01, rel=0.03)
    assert alexnet(conv1_init="he").conv1.weight.std().item() == pytest.approx((2 / 243) ** 0.5, rel=0.03)
    assert model.conv4.weight.std().item() == pytest.approx((2 / 864) ** 0.5, rel=0.03)
    assert model.fc8.weight.std().item() == pytest.approx(0.1 * (2 / 256) ** 0.5, rel=0.05)
    assert not any(m.bias.any() for m in model if isinstance(m, nn.Conv2d | nn.Linear))


@pytest.mark.parametrize("build", [alexnet, partial(alexnet, groups=2), vgg])
def test_folding_keeps_the_function(build: Callable[..., nn.Sequential]) -> None:
    generator = torch.Generator().manual_seed(0)
    model = build(batch_norm=True)
    for module in model:  # statistics and scales as after training: nothing at its default
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            for values in (module.weight, module.running_var):
                values.data.uniform_(0.5, 2, generator=generator)
            for values in (module.bias, module.running_mean):
                values.data.normal_(generator=generator)
    model.train()
    folded = fold_batch_norm(model)
    assert model.training and "bn7" in dict(model.named_children()), "the given model was changed"
    assert [name for name, _ in folded.named_children()] == [name for name, _ in build().named_children()]
    x = torch.randn(4, 3, INPUT_SIZE, INPUT_SIZE, generator=generator)
    with torch.no_grad():
        torch.testing.assert_close(folded(x), model.eval()(x), atol=1e-5, rtol=1e-5)
    folded.load_state_dict(build().state_dict())  # the plain network takes the folded weights


def test_folding_a_scale_and_shift_by_hand() -> None:
    norm = nn.BatchNorm2d(1, eps=0.0)
    norm.weight.data.fill_(3.0)
    norm.bias.data.fill_(1.0)
    norm.running_mean.fill_(2.0)
    norm.running_var.fill_(4.0)
    conv = nn.Conv2d(1, 1, 1, bias=False)
    conv.weight.data.fill_(5.0)
    (folded,) = fold_batch_norm(nn.Sequential(conv, norm))
    assert folded.weight.item() == pytest.approx(5 * 3 / 2)  # weight · γ/σ
    assert folded.bias.item() == pytest.approx(1 - 2 * 3 / 2)  # β − μ γ/σ


def test_folding_where_nothing_can_absorb_it() -> None:
    with pytest.raises(ValueError, match="follows"):
        fold_batch_norm(nn.Sequential(nn.ReLU(), nn.BatchNorm2d(3)))


@pytest.mark.parametrize("wrong", [{"groups": 3}, {"stem": "7/2"}, {"conv1_init": "zeros"}])
def test_wrong_arguments(wrong: dict) -> None:
    with pytest.raises(ValueError, match="must be"):
        alexnet(**wrong)
    with pytest.raises(ValueError, match="needs four, one for each pair"):
        vgg(widths=(8, 16, 24))
