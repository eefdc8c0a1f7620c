"""DeepInversion: statistics by hand and against batch norm's own averages, and images that come to match them."""

import pytest
import torch
from torch import Tensor, nn

from cnnvis_helpers.deep_inversion import (
    Statistics,
    deep_inversion,
    deep_inversion_steps,
    statistics,
    statistics_distance,
)


def identity(x: Tensor) -> Tensor:
    return x


def network(seed: int = 0, **batch_norm: object) -> nn.Sequential:
    """Two batch norms, an in-place ReLU, dropout; the stored statistics are those of some noise."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        model = nn.Sequential(
            nn.Conv2d(3, 6, 3, padding=1),
            nn.BatchNorm2d(6, **batch_norm),  # type: ignore[arg-type]
            nn.ReLU(inplace=True),
            nn.Conv2d(6, 8, 3, stride=2),
            nn.BatchNorm2d(8, **batch_norm),  # type: ignore[arg-type]
            nn.ReLU(inplace=True),
            nn.Dropout(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(8, 3),
        )
        for _ in range(50):
            model(torch.rand(16, 3, 12, 12))
    return model


def distances(model: nn.Module, x: Tensor) -> list[float]:
    return [statistics_distance(of).item() for of in statistics(model, x).values()]


def test_statistics_by_hand() -> None:
    """Values 1, 3 | 5, 7 of one channel over two images: mean 4, unbiased variance (9 + 1 + 1 + 9) / 3."""
    model = nn.Sequential(nn.BatchNorm2d(1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    model[0].running_mean.fill_(1.0)
    model[0].running_var.fill_(2.0)
    of = statistics(model, torch.tensor([1.0, 3, 5, 7]).view(2, 1, 1, 2))["0"]
    assert of.mean.tolist() == [4] and of.variance.item() == pytest.approx(20 / 3)
    assert of.stored_mean.tolist() == [1] and of.stored_variance.tolist() == [2]
    assert statistics_distance(of).item() == pytest.approx(3 + 20 / 3 - 2)


def test_distance_by_hand() -> None:
    """Norms over channels of the differences (3, 4) and (0, 2)."""
    zero = torch.zeros(2)
    of = Statistics(torch.tensor([3.0, 4.0]), torch.tensor([1.0, 3.0]), zero, torch.ones(2))
    assert statistics_distance(of).item() == 5 + 2


@pytest.mark.parametrize("size", [3, 12])
def test_the_distance_is_zero_for_the_very_images_that_batch_norm_has_seen(size: int) -> None:
    """With momentum 1 it stores the statistics of the last batch, whose variance it takes without bias."""
    model = network(momentum=1.0).train()
    seen = torch.rand(4, 3, size, size, generator=torch.Generator().manual_seed(1))
    model(seen)
    stored = model[1].running_var.clone(), model[4].running_var.clone()
    found = statistics(model, seen)
    assert list(found) == ["1", "4"]
    # The first input does not depend on how batch norm normalises.
    assert statistics_distance(found["1"]).item() == pytest.approx(0, abs=1e-5)
    n = 4 * size * size
    biased = model[0](seen).detach().var((0, 2, 3), correction=0)
    assert torch.allclose(found["1"].variance, biased * n / (n - 1), rtol=1e-4)
    assert torch.equal(model[1].running_var, stored[0]) and torch.equal(model[4].running_var, stored[1])


def test_every_batch_norm_of_a_residual_network_gets_its_own_input() -> None:
    torchvision = pytest.importorskip("torchvision")
    with torch.random.fork_rng(devices=[]):
        model = torchvision.models.resnet18(weights=None)
    x = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    found = statistics(model, x)
    assert len(found) == 20 and all(not of.mean.requires_grad for of in found.values())
    model.eval()
    with torch.no_grad():
        first = model.conv1(x)
    assert torch.allclose(found["bn1"].mean, first.mean((0, 2, 3)), atol=1e-5)
    assert torch.allclose(found["bn1"].variance, first.transpose(0, 1).flatten(1).var(1), rtol=1e-4)


def test_images_come_to_match_and_are_of_their_class() -> None:
    model, classes = network().eval(), [0, 1, 2, 0, 1, 2, 0, 1]
    settings = {"normalise": identity, "size": 12, "jitter": 1, "steps": 80}
    matched = deep_inversion(model, classes, matching=1.0, smooth=0.0, **settings)
    free = deep_inversion(model, classes, matching=0.0, smooth=0.0, **settings)
    start = next(deep_inversion_steps(model, classes, **settings))
    assert sum(distances(model, matched)) < 0.5 * sum(distances(model, start))
    assert sum(distances(model, matched)) < 0.5 * sum(distances(model, free))
    with torch.no_grad():
        assert (model(free).argmax(1) == torch.tensor(classes)).all()


def test_weights_do_what_they_say() -> None:
    model = network().eval()
    settings = {"normalise": lambda x: x - 0.5, "size": 12, "jitter": 0, "steps": 40}
    rough, smooth = (deep_inversion(model, [0, 1], smooth=w, **settings) for w in (0.0, (1000.0, 100.0)))
    assert smooth.diff(dim=3).square().mean() < 0.2 * rough.diff(dim=3).square().mean()
    loud, quiet = (deep_inversion(model, [0, 1], smooth=0.0, energy=w, **settings) for w in (0.0, 100.0))
    assert (quiet - 0.5).square().mean() < 0.2 * (loud - 0.5).square().mean()


def untouched(model: nn.Module, before: dict[str, Tensor]) -> None:
    assert all(module.training for module in model.modules())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert [n for n, p in model.named_parameters() if not p.requires_grad] == ["0.weight"]
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert not any(module._forward_pre_hooks for module in model.modules())


def test_it_repeats_film_and_plain_agree_and_the_model_is_left_as_it_was() -> None:
    model = network().train()
    model[0].weight.requires_grad_(False)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    settings = {"normalise": identity, "size": 12, "steps": 3}
    state = torch.get_rng_state()
    film = list(deep_inversion_steps(model, [0, 2], **settings))
    other = deep_inversion(model, [0, 2], generator=torch.Generator().manual_seed(1), **settings)
    assert len(film) == 4 and film[0].shape == (2, 3, 12, 12) and not torch.equal(film[0], film[1])
    assert torch.equal(film[-1], deep_inversion(model, [0, 2], **settings)) and not torch.equal(
        film[-1], other
    )
    assert film[-1].min() >= 0 and film[-1].max() <= 1 and not film[-1].requires_grad
    assert torch.equal(state, torch.get_rng_state())
    statistics(model, film[-1])
    untouched(model, before)


def test_an_interrupted_run_leaves_the_model_as_it_was() -> None:
    model, calls = network().train(), 0
    model[0].weight.requires_grad_(False)
    before = {name: value.clone() for name, value in model.state_dict().items()}

    def interrupted(x: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise KeyboardInterrupt
        return x

    with pytest.raises(KeyboardInterrupt):
        deep_inversion(model, [0, 1], normalise=interrupted, size=12)
    untouched(model, before)
    next(deep_inversion_steps(model, [0, 1], normalise=identity, size=12))
    untouched(model, before)


class Unused(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.bn = nn.BatchNorm2d(3)

    def forward(self, x: Tensor) -> Tensor:
        return x.mean((2, 3))


class Pair(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.bn = nn.BatchNorm2d(3)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.bn(x).mean((2, 3)), x


@pytest.mark.parametrize(
    ("model", "classes", "settings", "said"),
    [
        (nn.Sequential(nn.Conv2d(3, 2, 1)), [0], {}, "no nn.BatchNorm2d"),
        (network(track_running_stats=False), [0], {}, "no nn.BatchNorm2d with stored"),
        (Unused(), [0], {}, "None of the model's batch norms runs"),
        (Pair(), [0], {}, "returns a tuple"),
        (network(), [3], {}, "no class 3"),
        (network(), [], {}, "not 0 classes"),
        (network(), [0], {"steps": 0}, "0 steps"),
        (network(), [0], {"size": 0}, "0 pixels"),
        (network(), [0], {"jitter": -1}, "jitter -1"),
        (network(), [0], {"rate": 0.0}, "rate 0.0"),
        (network(), [0], {"matching": -1.0}, "matching -1.0"),
        (network(), [0], {"smooth": (1.0, 0.0)}, "ends above 0"),
        (network(), [0], {"normalise": lambda x: x / 0}, "not finite"),
        (network(), [0], {"normalise": lambda x: x.detach()}, "do not depend on the image"),
    ],
)
def test_refused(model: nn.Module, classes: list[int], settings: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        deep_inversion(model, classes, **{"normalise": identity, "size": 12} | settings)  # type: ignore[arg-type]


def test_one_value_a_channel_has_no_variance() -> None:
    with pytest.raises(ValueError, match="'0' gets one value"):
        statistics(nn.Sequential(nn.BatchNorm2d(3), nn.Flatten()), torch.zeros(1, 3, 1, 1))
