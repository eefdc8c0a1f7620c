"""Nulls, lost weights, likeness and intervals, against their definitions."""

import math

import numpy as np
import pytest
import torch
import torchvision
from torch import Tensor, nn

from cnnvis_helpers import faithfulness as f
from cnnvis_helpers import sanity
from cnnvis_helpers.hooks import LayerError


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def batch(n: int, height: int, width: int, seed: int = 1) -> Tensor:
    return torch.randn(n, 3, height, width, generator=generator(seed))


def seeded(build: type[nn.Module] | object, *args: object, seed: int = 3, **kwargs: object) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return build(*args, **kwargs)  # type: ignore[operator]


MAPS = torch.randn(3, 8, 9, generator=torch.Generator().manual_seed(7))


def network() -> nn.Sequential:
    """A small ConvNet with everything that could leave a trace: in-place ReLUs, dropout, batch norm."""
    return seeded(
        lambda: nn.Sequential(
            nn.ReLU(inplace=True),
            nn.Conv2d(3, 8, 5, stride=2),
            nn.BatchNorm2d(8),
            nn.ReLU(inplace=True),
            nn.Dropout(),
            nn.AdaptiveAvgPool2d(3),
            nn.Flatten(),
            nn.Linear(72, 5),
        )
    )


# --- nulls ----------------


def test_shuffled_maps_are_those_of_other_images() -> None:
    for count in (2, 3, 10):
        maps = torch.arange(float(count))[:, None, None].expand(count, 4, 4)
        orders = [
            sanity.nulls(maps, generator=generator(seed))["shuffled"][:, 0, 0].tolist() for seed in range(20)
        ]
        for order in orders:
            assert sorted(order) == list(range(count)) and all(i != j for i, j in enumerate(order))
        assert len(set(map(tuple, orders))) > (1 if count > 2 else 0)
    assert set(sanity.nulls(maps[:1], generator=generator())) == {"noise", "centre"}


def test_the_centre_null_is_a_gaussian_in_the_middle() -> None:
    centre = sanity.nulls(torch.rand(2, 9, 17), generator=generator())["centre"]
    assert centre.shape == (2, 9, 17) and torch.equal(centre[0], centre[1])
    assert centre[0, 4, 8] == 1 and torch.allclose(centre, centre.flip(1, 2))
    assert centre[0, 6, 8].item() == pytest.approx(math.exp(-0.5))  # a quarter of the height away
    assert centre[0, 4, 12].item() == pytest.approx(math.exp(-0.5))


def test_noise_has_no_favourite_place_and_scores_at_chance() -> None:
    maps = sanity.nulls(torch.zeros(3000, 16, 24), generator=generator())["noise"]
    for rows, columns in (
        (slice(0, 4), slice(0, 6)),
        (slice(6, 10), slice(9, 15)),
        (slice(12, 16), slice(4, 10)),
    ):
        masks = torch.zeros(3000, 16, 24, dtype=torch.bool)
        masks[:, rows, columns] = True
        chance = 24 / 384
        error = math.sqrt(chance * (1 - chance) / 3000)
        assert abs(f.pointing_game(maps, masks).float().mean() - chance) < 4 * error
        assert f.share_inside(maps, masks).mean().item() == pytest.approx(chance, abs=0.001)
    # Smooth: neighbours agree, across the border of the torus too.
    for shift in (1, 0):
        ahead = maps.roll(1, 1) if shift else maps.roll(1, 2)
        both = torch.stack([maps[:, 0].flatten(), ahead[:, 0].flatten()])
        assert torch.corrcoef(both)[0, 1] > 0.4


def test_nulls_repeat_and_differ_between_images() -> None:
    one, two = (sanity.nulls(MAPS, generator=generator(5)) for _ in range(2))
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert not torch.equal(one["noise"][0], one["noise"][1])
    with pytest.raises(ValueError, match="NaN"):
        sanity.nulls(MAPS * float("nan"), generator=generator())


# --- randomised weights ----------------


def trained() -> nn.Sequential:
    """A network with names, whose weights no initialisation would draw: all are 5."""
    model = nn.Sequential()
    model.add_module("conv1", nn.Conv2d(3, 4, 3))
    model.add_module("bn1", nn.BatchNorm2d(4))
    model.add_module("block", nn.Sequential(nn.ReLU(inplace=True), nn.Conv2d(4, 4, 3), nn.Flatten()))
    model.add_module("fc", nn.Linear(4, 2))
    for value in model.state_dict().values():
        value.fill_(5)
    return model


def kept(model: nn.Module) -> list[str]:
    """Names of the state that is still as trained; the others must hold no trained number at all."""
    state = model.state_dict()
    assert all((value == 5).all() or not (value == 5).any() for value in state.values())
    return [name for name, value in state.items() if (value == 5).all()]


def test_layers_go_from_the_output_to_the_input_and_stay_lost() -> None:
    model = trained()
    everything = list(model.state_dict())
    steps = list(sanity.randomise(model))  # a list: every copy keeps its own state
    assert [name for name, _ in steps] == ["fc", "block.1", "bn1", "conv1"]
    names: set[str] = set()
    for name, copy in steps:
        names.add(name)
        assert kept(copy) == [key for key in everything if key.rsplit(".", 1)[0] not in names]
        assert copy is not model
    assert kept(steps[-1][1]) == [] and kept(model) == everything
    assert torch.equal(steps[0][1].fc.weight, steps[-1][1].fc.weight)  # what is drawn once stays


def test_one_layer_at_a_time() -> None:
    model = trained()
    cascade = dict(sanity.randomise(model))
    for name, copy in sanity.randomise(model, cascading=False):
        changed = set(model.state_dict()) - set(kept(copy))
        assert {key.rsplit(".", 1)[0] for key in changed} == {name}
        assert torch.equal(copy.get_submodule(name).weight, cascade[name].get_submodule(name).weight)


def test_chosen_layers_and_whole_blocks() -> None:
    steps = list(sanity.randomise(trained(), ["conv1", "block"]))
    assert [name for name, _ in steps] == ["conv1", "block"]
    assert kept(steps[0][1])[:2] == ["bn1.weight", "bn1.bias"] and "block.1.weight" in kept(steps[0][1])
    assert not any(name.startswith("block") for name in kept(steps[1][1]))


def test_weights_are_drawn_as_torch_draws_them() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(11)
        new = nn.Linear(4, 2)
    (_, copy), *_ = sanity.randomise(trained(), seed=11)
    assert torch.equal(copy.fc.weight, new.weight) and torch.equal(copy.fc.bias, new.bias)
    last = dict(sanity.randomise(trained()))["conv1"]
    assert last.bn1.running_mean.abs().max() == 0 and (last.bn1.running_var == 1).all()
    assert (last.bn1.weight == 1).all() and last.bn1.num_batches_tracked == 0
    plain = nn.Sequential(nn.BatchNorm2d(3, affine=False))  # it has no weights, but has learnt statistics
    plain[0].running_mean.fill_(5)
    assert next(sanity.randomise(plain))[1][0].running_mean.abs().max() == 0


def test_the_seed_alone_decides_and_the_global_generator_is_left() -> None:
    state = torch.get_rng_state()
    one, two, other = (dict(sanity.randomise(network(), seed=seed))["7"][7].weight for seed in (1, 1, 2))
    assert torch.equal(one, two) and not torch.equal(one, other)
    assert torch.equal(torch.get_rng_state(), state)
    steps = sanity.randomise(network())
    next(steps)
    assert torch.equal(torch.get_rng_state(), state)


def test_copies_run_and_keep_mode_and_gradients() -> None:
    model = network().eval()
    next(model.parameters()).requires_grad_(False)
    x = batch(2, 11, 11)
    before = model(x.clone()).detach()
    for _, copy in sanity.randomise(model):
        assert not any(module.training for module in copy.modules())
        assert [p.requires_grad for p in copy.parameters()] == [p.requires_grad for p in model.parameters()]
        assert not torch.allclose(copy(x.clone()), before, atol=1e-3)
    assert torch.equal(model(x.clone()), before)


def test_a_torchvision_network_loses_everything() -> None:
    model = seeded(torchvision.models.resnet18, num_classes=4)
    with torch.no_grad():
        for value in model.state_dict().values():
            value.fill_(5)
    names = ["fc", "layer4", "layer3", "layer2", "layer1", "bn1", "conv1"]
    *_, (name, last) = sanity.randomise(model, names)
    assert name == "conv1" and kept(last) == []
    *_, (name, last) = sanity.randomise(nn.Linear(2, 2))
    assert name == ""


class Own(nn.Module):
    """Weights of a reader's own, which nobody can draw anew."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))


def test_layers_that_cannot_be_drawn_anew() -> None:
    model = trained()
    with pytest.raises(LayerError, match="no layer 'fc8'"):
        sanity.randomise(model, ["fc8"])
    with pytest.raises(ValueError, match=r"'block\.0' has no weights"):
        sanity.randomise(model, ["block.0"])
    model.add_module("own", Own())
    with pytest.raises(ValueError, match="'own' holds a Own without reset_parameters"):
        sanity.randomise(model)
    for empty, layers in ((nn.Sequential(nn.ReLU()), None), (model, [])):
        with pytest.raises(ValueError, match="no layer to draw"):
            sanity.randomise(empty, layers)


# --- similarity and intervals ----------------


def test_similarity_of_maps_that_are_known() -> None:
    one = torch.randn(4, 12, 15, generator=generator())
    other = one.clone()
    other[1] = -3 * one[1]  # only the sign and the scale differ
    other[2] = one[2].abs() ** 3  # the same order
    other[3] = 4
    rank, structure = sanity.similarity(one, other)
    assert rank[:3].tolist() == pytest.approx([1, 1, 1]) and rank[3].isnan()
    assert structure[:2].tolist() == pytest.approx([1, 1]) and structure[2] < 0.95 and structure[3].isnan()


def test_similarity_against_its_definitions() -> None:
    one, other = (torch.randn(1, 9, 9, generator=generator(seed)) for seed in (1, 2))
    other = other + one
    rank, structure = sanity.similarity(one, other)
    ranks = [m.abs().flatten().argsort().argsort().double() for m in (one, other)]
    assert rank.item() == pytest.approx(float(torch.corrcoef(torch.stack(ranks))[0, 1]), abs=1e-6)
    a, b = ((m.abs() / m.abs().max())[0].double().numpy() for m in (one, other))
    values = []
    for r in range(3):  # the windows that lie inside
        for c in range(3):
            p, q = a[r : r + 7, c : c + 7], b[r : r + 7, c : c + 7]
            cov = np.cov(p.ravel(), q.ravel())
            top = (2 * p.mean() * q.mean() + 1e-4) * (2 * cov[0, 1] + 9e-4)
            values.append(top / ((p.mean() ** 2 + q.mean() ** 2 + 1e-4) * (cov[0, 0] + cov[1, 1] + 9e-4)))
    assert structure.item() == pytest.approx(np.mean(values), abs=1e-6)


def test_maps_that_cannot_be_compared() -> None:
    for a, b in ((torch.rand(1, 6, 9), torch.rand(1, 6, 9)), (torch.rand(1, 9, 9), torch.rand(2, 9, 9))):
        with pytest.raises(ValueError, match="at least 7 × 7"):
            sanity.similarity(a, b)
    with pytest.raises(ValueError, match="NaN"):
        sanity.similarity(torch.rand(1, 9, 9), torch.full((1, 9, 9), float("nan")))


def test_bootstrap_by_hand() -> None:
    # Two values: a resample has mean 0, 1 or 2 with probability 1/4, 1/2, 1/4.
    assert sanity.bootstrap([0.0, 2.0]) == (1, 0, 2)
    assert sanity.bootstrap([0.0, 2.0], level=0.4) == (1, 1, 1)
    assert sanity.bootstrap(torch.tensor([3.0, float("nan"), 3.0])) == (3, 3, 3)
    # The sum of a resample is 4 · Binomial(4, 1/4): P(0) = 0.32, P(3 or more) = 0.051, P(4) = 0.004.
    assert sanity.bootstrap([0.0, 0.0, 4.0, 0.0]) == (1, 0, 3)
    assert sanity.bootstrap(torch.tensor([True, False, True, True])).mean == 0.75


def test_bootstrap_against_the_normal_law_and_seeds() -> None:
    values = torch.randn(400, generator=generator()).double()
    mean, low, high = sanity.bootstrap(values)
    half = 1.96 * float(values.std()) / 20
    assert (mean, low, high) == pytest.approx(
        (float(values.mean()), mean - half, mean + half), abs=0.1 * half
    )
    assert sanity.bootstrap(values) == (mean, low, high) != sanity.bootstrap(values, seed=1)
    narrow = sanity.bootstrap(values, level=0.5)
    assert low < narrow.low < narrow.high < high
    # Paired: two methods that scatter together, one always a little better.
    better = sanity.bootstrap(values + 0.1 + 0.01 * torch.rand(400, generator=generator(1)) - values)
    assert 0.1 < better.low < better.high < 0.11


@pytest.mark.parametrize(
    ("values", "level"),
    [
        ([], 0.95),
        ([1.0], 0.95),
        ([1.0, float("nan")], 0.95),
        ([1.0, float("inf"), 2.0], 0.95),
        ([1.0, 2.0], 1.0),
        ([1.0, 2.0], 95),
    ],
)
def test_bootstrap_of_too_little(values: list[float], level: float) -> None:
    with pytest.raises(ValueError, match="two or more finite numbers"):
        sanity.bootstrap(values, level=level)
