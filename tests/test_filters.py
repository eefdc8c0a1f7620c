"""The measures of filters, against hand-computed numbers, synthetic gratings and scipy."""

import math

import numpy as np
import pytest
import scipy.ndimage
import torch
from torch import nn

from cnnvis_helpers import filters


def gabor(size: int, wavelength: float, degrees: float = 0.0, phase: float = 0.0, colour=(1.0, 1.0, 1.0)):
    """One colour grating under a Gaussian window, (1, 3, size, size), energy 1."""
    axis = torch.arange(size) - (size - 1) / 2
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    along = x * math.cos(math.radians(degrees)) + y * math.sin(math.radians(degrees))
    window = torch.exp(-(x**2 + y**2) / (2 * (size / 4) ** 2))
    wave = window * torch.cos(2 * math.pi * along / wavelength + phase)
    w = torch.tensor(colour)[:, None, None] * wave
    return (w / w.norm())[None]


def noise(count: int, size: int, channels: int = 3, seed: int = 0):
    w = torch.randn(count, channels, size, size, generator=torch.Generator().manual_seed(seed))
    return w / w.flatten(1).norm(dim=1)[:, None, None, None]


@pytest.fixture
def model():
    return nn.Sequential(nn.Conv2d(1, 3, 1), nn.ReLU(), nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(4, 2))


def test_names_and_weights(model):
    assert filters.convolutions(model) == ["0", "2"]
    assert filters.first_convolution(model) == "2"
    w = filters.weights(model, "2")
    assert w.shape == (4, 3, 3, 3) and not w.requires_grad
    w.zero_()
    assert model[2].weight.abs().sum() > 0, "weights must be a copy"
    assert filters.weights(model, "4").shape[0] == 2
    with pytest.raises(ValueError, match="layers with weights: 0, 2, 4"):
        filters.weights(model, "1")
    with pytest.raises(ValueError, match="3 input channels"):
        filters.first_convolution(nn.Sequential(nn.Conv2d(1, 1, 1)))


def test_to_colour_keeps_zero_grey_and_scales():
    w = torch.zeros(2, 3, 2, 2)
    w[0, 0, 0, 0], w[0, 1, 1, 1], w[1, 2, 0, 1] = 4.0, -2.0, 1.0
    own = filters.to_colour(w)
    assert own.shape == (2, 2, 2, 3)
    assert own[0, 0, 0].tolist() == [1.0, 0.5, 0.5]
    assert own[0, 1, 1].tolist() == [0.5, 0.25, 0.5]
    assert own[1, 0, 1, 2] == 1.0
    assert filters.to_colour(w, "common")[1, 0, 1, 2] == pytest.approx(0.625)
    assert np.all(filters.to_colour(torch.zeros(1, 3, 2, 2)) == 0.5)
    with pytest.raises(ValueError, match="grey_slices"):
        filters.to_colour(torch.zeros(1, 4, 2, 2))
    with pytest.raises(ValueError, match="'filter' or 'common'"):
        filters.to_colour(w, "both")
    with pytest.raises(ValueError, match="shape"):
        filters.to_colour(w[0])


def test_grey_slices_share_one_scale_within_a_filter():
    w = torch.zeros(1, 5, 2, 2)
    w[0, 0, 0, 0], w[0, 4, 0, 0] = 2.0, -1.0
    slices = filters.grey_slices(w)
    assert slices.shape == (1, 5, 2, 2)
    assert slices[0, 0, 0, 0] == 1.0 and slices[0, 4, 0, 0] == 0.25 and slices[0, 2, 0, 0] == 0.5


def test_smoothness_by_hand():
    # Grey 2 × 2 filter with rows (1, 1) and (-1, -1): right neighbours agree, r = 1, and that is the best
    # direction; P = (2 + 2 + 1 + 1) / 4 = 1.5 pairs, one effective channel, bias 1.0294 / √1.5 = 0.8405.
    w = torch.tensor([[[[1.0, 1.0], [-1.0, -1.0]]]])
    assert filters.smoothness(w).item() == pytest.approx(1.0)
    # A 3 × 3 checkerboard: r = -1 to the right and down, +1 along the diagonals.
    board = torch.tensor([[1.0, -1, 1], [-1, 1, -1], [1, -1, 1]])[None, None]
    assert filters.smoothness(board).item() == pytest.approx(1.0)
    # One weight alone: every direction has r = 0; P = (6 + 6 + 4 + 4) / 4 = 5, b = 1.0294 / √5 = 0.4604.
    spot = torch.zeros(1, 1, 3, 3)
    spot[..., 1, 1] = 1
    assert filters.smoothness(spot).item() == pytest.approx(-0.4604 / (1 - 0.4604), abs=1e-3)


@pytest.mark.parametrize(("size", "channels"), [(7, 1), (7, 3), (9, 3), (11, 3), (5, 48), (3, 96)])
def test_white_noise_has_smoothness_zero_on_average(size, channels):
    values = filters.smoothness(noise(2000, size, channels))
    assert abs(values.mean().item()) < 0.02
    assert values.max() < 0.5


@pytest.mark.parametrize("size", [7, 9, 11])
@pytest.mark.parametrize("colour", [(1.0, 1.0, 1.0), (1.0, -1.0, 0.0), (0.2, 0.2, -0.8)])
def test_gratings_are_smooth_whatever_their_size_wavelength_and_angle(size, colour):
    for wavelength in (3.0, 4.0, 6.0, 12.0):
        for degrees in (0, 15, 22.5, 30, 45, 70, 90, 120):
            w = gabor(size, wavelength, degrees, colour=colour)
            assert filters.smoothness(w).item() > 0.5, (wavelength, degrees)
            assert not filters.is_noisy(w).any()


@pytest.mark.parametrize("size", [7, 9, 11])
def test_threshold_means_half_noise(size):
    clean = gabor(size, size / 1.5, 30, colour=(1.0, 0.5, -0.3)).expand(200, -1, -1, -1)
    dirt = noise(200, size)
    share = {
        s: filters.is_noisy((1 - s) ** 0.5 * clean + s**0.5 * dirt).float().mean().item() for s in (0.2, 0.7)
    }
    assert share[0.2] == 0.0
    assert share[0.7] == 1.0


def test_smoothness_ignores_scale_and_names_its_limits():
    w = noise(5, 7)
    assert torch.allclose(filters.smoothness(w), filters.smoothness(-1e-3 * w), atol=1e-5)
    assert torch.isnan(filters.smoothness(torch.zeros(1, 3, 5, 5))).all()
    assert not filters.is_noisy(torch.zeros(1, 3, 5, 5)).any()
    with pytest.raises(ValueError, match="2 × 2 or larger"):
        filters.smoothness(torch.zeros(1, 3, 1, 1))


def test_colourfulness():
    pattern = torch.randn(1, 1, 5, 5)
    grey, red, opponent = (
        pattern * torch.tensor(c)[None, :, None, None] for c in ([1.0, 1, 1], [1.0, 0, 0], [1.0, -1, 0])
    )
    assert filters.colourfulness(torch.cat([grey, red, opponent])).tolist() == pytest.approx(
        [0, 2 / 3, 1], abs=1e-6
    )
    assert filters.colourfulness(noise(500, 9)).mean().item() == pytest.approx(2 / 3, abs=0.01)
    with pytest.raises(ValueError, match="3 channels"):
        filters.colourfulness(torch.zeros(1, 1, 2, 2))


def test_centre_frequency():
    w = torch.cat([gabor(11, 3.0), gabor(11, 6.0), torch.ones(1, 3, 11, 11)])
    fine, coarse, flat = filters.centre_frequency(w).tolist()
    assert fine == pytest.approx(1 / 3, abs=0.03)
    assert coarse == pytest.approx(1 / 6, abs=0.03)
    assert flat < 0.08
    assert filters.centre_frequency(noise(500, 9)).mean().item() == pytest.approx(0.38, abs=0.01)


def test_rotation_finds_the_turned_twin_and_its_angle():
    w = torch.cat([gabor(11, 5.0, 0), torch.rot90(gabor(11, 5.0, 0), 1, (2, 3)), noise(1, 11)])
    w[1] = -w[1]  # the sign is ignored
    similarity, angle = filters.rotation_similarity(w)
    assert torch.isnan(similarity.diagonal()).all()
    assert similarity[0, 1].item() == pytest.approx(1, abs=1e-5)
    assert angle[0, 1].item() % 180 == 90
    assert similarity[0, 2] < 0.5
    assert torch.equal(similarity.nan_to_num(), similarity.T.nan_to_num())
    alone, _ = filters.rotation_similarity(w, angles=1)
    assert alone[0, 1] < 0.3


def test_rotation_agrees_with_scipy_and_turns_anticlockwise():
    w = noise(1, 11)
    w = torch.nn.functional.avg_pool2d(w, 3, 1, 1)
    turned = torch.tensor(
        scipy.ndimage.rotate(w.numpy(), 30, axes=(3, 2), reshape=False, order=1, mode="nearest")
    )
    # scipy's axes (3, 2) turn clockwise: turning the first anticlockwise by 330 gives the second.
    similarity, angle = filters.rotation_similarity(torch.cat([w, turned]))
    assert similarity[0, 1] > 0.99
    assert {angle[0, 1].item(), angle[1, 0].item()} == {330.0, 30.0}
    corner = torch.zeros(1, 1, 5, 5)
    corner[..., 2, 4] = 1  # a spot at three o'clock goes to twelve o'clock
    assert filters.rotate(corner, 90.0)[0, 0, 0, 2] == 1
    assert filters.rotate(corner, 89.999)[0, 0, 0, 2].item() == pytest.approx(1, abs=1e-3)


def test_rotation_needs_square_kernels():
    with pytest.raises(ValueError, match="square"):
        filters.rotation_similarity(torch.zeros(2, 3, 3, 5))


def test_surrogates_keep_spectrum_colour_and_energy_but_not_the_shape():
    w = torch.cat([gabor(9, 4.0, d, colour=(1.0, -0.5, 0.1)) for d in range(0, 180, 9)])
    s = filters.surrogates(w, torch.Generator().manual_seed(0))
    assert torch.allclose(torch.fft.fft2(s).abs(), torch.fft.fft2(w).abs(), atol=1e-5)
    assert torch.allclose(filters.colourfulness(s), filters.colourfulness(w), atol=1e-5)
    assert not torch.allclose(s, w, atol=0.1)
    again = filters.surrogates(w, torch.Generator().manual_seed(0))
    assert torch.equal(s, again)


def test_aliasing_of_pure_gratings():
    # A wave of 1/4 cycle per pixel: a stride of 2 keeps it (limit 1/4), a stride of 3 loses it.
    x = torch.cos(2 * math.pi * torch.arange(32) / 4).expand(1, 1, 32, 32).contiguous()
    w = torch.ones(1, 1, 1, 1)
    assert filters.aliasing(w, x, 1).item() == 0
    assert filters.aliasing(w, x, 2).item() == pytest.approx(0, abs=1e-6)
    assert filters.aliasing(w, x, 3).item() == pytest.approx(1, abs=1e-6)
    white = torch.randn(8, 1, 64, 64, generator=torch.Generator().manual_seed(0))
    assert filters.aliasing(w, white, 2).item() == pytest.approx(1 - (33 / 64) ** 2, abs=0.01)
    with pytest.raises(ValueError, match="stride is 1 or more"):
        filters.aliasing(w, white, 0)


def test_a_single_corner_weight_is_noise_and_nan_is_refused() -> None:
    w = torch.zeros(1, 1, 3, 3)
    w[0, 0, 0, 0] = 1.0
    assert float(filters.smoothness(w)) < 0.5 and bool(filters.is_noisy(w))
    with pytest.raises(ValueError, match="NaN or infinite"):
        filters.smoothness(w * float("nan"))
