"""Sparsity, locality and dead units, against hand-computed numbers."""

import math

import pytest
import torch
from torch import nn

from cnnvis_helpers import activations


def test_sparsity_counts_exact_zeros():
    a = torch.zeros(2, 2, 2, 2)
    a[0, 0] = 1.0
    a[1, 1, 0, 0] = 1e-30
    assert activations.sparsity(a).item() == pytest.approx(11 / 16)
    assert activations.sparsity(a, per="channel").tolist() == pytest.approx([0.5, 7 / 8])
    assert activations.sparsity(a, per="map").tolist() == [[0.0, 1.0], [1.0, 0.75]]
    assert activations.sparsity(torch.tensor([[0.0, 2.0], [0.0, 0.0]])).item() == 0.75
    with pytest.raises(ValueError, match="per is"):
        activations.sparsity(a, per="pixel")


def test_locality_by_hand():
    a = torch.zeros(1, 5, 3, 4)
    a[0, 0] = 2.0  # uniform: 0
    a[0, 1, 1, 2] = 5.0  # one position: 1
    a[0, 2, 0, 0] = a[0, 2, 2, 3] = 1.0  # opposite corners: spread 1 + 2.25, uniform (8 + 15) / 12
    a[0, 3, 1, 1], a[0, 3, 1, 2] = 3.0, 1.0  # variance 3/4 · 1/4
    values = activations.locality(a, per="map")[0]
    uniform = (8 + 15) / 12
    assert values[:4].tolist() == pytest.approx([0, 1, 1 - 3.25 / uniform, 1 - 0.1875 / uniform], abs=1e-6)
    assert math.isnan(values[4])
    assert activations.locality(a).item() == pytest.approx(values[:4].mean().item())
    assert activations.locality(a, per="channel").shape == (5,)


def test_locality_ignores_scale_place_and_negative_values():
    a = torch.zeros(1, 1, 8, 8)
    a[0, 0, 2:4, 2:4] = 1.0
    moved = torch.roll(a, (3, 2), (2, 3)) * 7 - 0.0
    assert activations.locality(a).item() == pytest.approx(activations.locality(moved).item())
    assert activations.locality(torch.where(a > 0, a, -1.0)).item() == pytest.approx(
        activations.locality(a).item()
    )
    with pytest.raises(ValueError, match="at least two positions"):
        activations.locality(torch.zeros(1, 4))


def test_shuffled_keeps_values_and_destroys_locality():
    a = torch.zeros(20, 10, 12, 12)
    a[:, :, 3:7, 3:7] = torch.rand(20, 10, 4, 4, generator=torch.Generator().manual_seed(1)) + 0.5
    mixed = activations.shuffled(a, torch.Generator().manual_seed(0))
    assert torch.equal(mixed.flatten(2).sort(2).values, a.flatten(2).sort(2).values)
    assert activations.sparsity(mixed) == activations.sparsity(a)
    assert activations.locality(a) > 0.85
    # k = 16 equal weights at random places have an expected spread of (1 - 1/k) of the uniform one.
    assert activations.locality(mixed).item() == pytest.approx(1 / 16, abs=0.03)


class Tiny(nn.Module):
    """Two channels: the brightness minus 0.5, and a unit that no image in [0, 1] can reach."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 1)
        self.relu = nn.ReLU()
        self.conv.weight.data = torch.tensor([1.0, 1.0]).view(2, 1, 1, 1)
        self.conv.bias.data = torch.tensor([-0.5, -2.0])

    def forward(self, x):
        return self.relu(self.conv(x))


def test_dead_units_stream_over_batches():
    model = Tiny().train()
    dark, bright = torch.zeros(3, 1, 4, 4), torch.zeros(1, 1, 4, 4)
    bright[0, 0, 1, 1] = 1.0
    share = activations.active_share(model, iter([dark, bright]), ["relu"])
    assert share["relu"].tolist() == [0.25, 0.0]
    assert activations.dead_units(model, [dark], ["relu"])["relu"].tolist() == [True, True]
    assert activations.dead_units(model, [dark, bright], ["relu"])["relu"].tolist() == [False, True]
    assert model.training, "the model must be left as it was"
    with pytest.raises(ValueError, match="No images"):
        activations.dead_units(model, [], ["relu"])
    with pytest.raises(ValueError, match="nothing"):
        activations.dead_units(model, [dark], ["nothing"])


def test_one_tensor_is_one_batch_and_one_name_one_layer() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
    x = torch.randn(5, 3, 8, 8)
    alone = activations.active_share(model, x, "1")
    listed = activations.active_share(model, [x[:2], x[2:]], ["1"])
    assert alone.keys() == listed.keys() and torch.equal(alone["1"], listed["1"])
    x[0, 0, 0, 0] = float("nan")
    with pytest.raises(ValueError, match="Layer '1' gives NaN"):
        activations.dead_units(model, x, "1")
