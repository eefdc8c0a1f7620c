"""Ways to write an image down: there and back, range, spectrum, steps; starts; Yosinski's regularisers by hand."""

from functools import partial

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from cnnvis_helpers.image_params import (
    COLOURS,
    YOSINSKI,
    Fourier,
    Pixels,
    Yosinski,
    noise_start,
    spectrum_scale,
    zero_start,
)
from cnnvis_helpers.images import ImageError

WAYS = {
    "pixels": Pixels,
    "sigmoid": partial(Pixels, squash="sigmoid"),
    "fourier": Fourier,
    "fourier clamp": partial(Fourier, squash="clamp"),
    "fourier plain": partial(Fourier, decay=0, decorrelate=False),
}


def seeded(number: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(number)


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize("size", [(8, 8), (7, 7), (6, 9)])
def test_any_start_is_written_down_exactly(way: type[Pixels], size: tuple[int, int]) -> None:
    start = 0.01 + 0.98 * torch.rand(2, 3, *size, generator=seeded())
    params = way(start)
    torch.testing.assert_close(params.images(), start, atol=1e-5, rtol=0)
    other = start.flip(3)
    params.set(other)
    torch.testing.assert_close(params.images(), other, atol=1e-5, rtol=0)
    assert params.values.is_leaf and params.values.requires_grad


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_images_stay_in_range_whatever_the_optimiser_does(way: type[Pixels]) -> None:
    start = torch.rand(2, 3, 8, 8, generator=seeded())
    before = start.clone()
    params = way(start)
    with torch.no_grad():
        params.values.add_(3 * torch.randn(params.values.shape, generator=seeded(1)))
    params.settle()
    images = params.images()
    assert images.min() >= 0 and images.max() <= 1 and images.isfinite().all()
    assert torch.equal(start, before)  # the caller's start is not changed
    (gradient,) = torch.autograd.grad(images.sum(), params.values)
    assert gradient.isfinite().all() and gradient.ne(0).any()


def test_black_and_white_can_be_a_start_of_every_way() -> None:
    start = torch.stack([torch.zeros(3, 4, 4), torch.ones(3, 4, 4)])
    for way in WAYS.values():
        torch.testing.assert_close(way(start).images(), start, atol=0.0011, rtol=0)


def test_clamped_colours_keep_their_gradient() -> None:
    """A pixel at the end of its range can still come back."""
    params = Pixels(torch.ones(1, 3, 2, 2))
    (gradient,) = torch.autograd.grad(params.images().sum(), params.values)
    assert gradient.eq(1).all()
    with torch.no_grad():
        params.values.add_(torch.tensor([0.5, -0.25]))
    params.settle()
    assert params.values[0, 0, 0].tolist() == [1.0, 0.75]


def test_the_spectrum_scale_is_one_over_f() -> None:
    scale = spectrum_scale(8)
    assert scale.shape == (8, 5)
    f = np.hypot(np.fft.fftfreq(8)[:, None], np.fft.rfftfreq(8)[None])
    f[0, 0] = 1 / 8
    ratio = scale.numpy() * f
    assert ratio == pytest.approx(np.full_like(ratio, ratio[0, 0]), rel=1e-5)
    full = spectrum_scale((6, 9)).shape
    assert full == (6, 5)
    assert spectrum_scale(8, 0).unique().tolist() == pytest.approx([0.5**0.5])


@pytest.mark.parametrize("way", [partial(Fourier, squash="clamp"), WAYS["fourier plain"], Pixels])
@pytest.mark.parametrize("size", [16, 48])
def test_steps_of_one_size_in_all_numbers_change_pixels_by_that_size(way: type[Pixels], size: int) -> None:
    """The gain that decides whether rates for pixels serve for waves, at every size of image."""
    changes = []
    for number in range(40):
        params = way(torch.full((1, 3, size, size), 0.5))
        with torch.no_grad():
            sign = torch.randint(0, 2, params.values.shape, generator=seeded(number)) * 2 - 1
            params.values.add_(0.001 * sign)
        changes.append((params.images() - 0.5).square().mean().item())
    assert np.mean(changes) ** 0.5 == pytest.approx(0.001, rel=0.1)


def test_one_wave_and_one_colour() -> None:
    """A number of the spectrum is a cosine in one of the colour coordinates, and a mean over all is its amplitude."""
    params = Fourier(torch.full((1, 3, 8, 8), 0.5), "clamp")
    with torch.no_grad():
        params.values[0, 1, 0, 2, 0] += 0.1  # second coordinate, no wave downwards, two across, real part
    change = (params.images() - 0.5).detach()[0]
    wave = torch.cos(2 * torch.pi * 2 * torch.arange(8) / 8)
    expected = COLOURS[1][:, None, None] * wave.expand(8, 8) * 0.1 * spectrum_scale(8)[0, 2] * 2 / 8
    torch.testing.assert_close(change, expected, atol=1e-6, rtol=0)


def test_colour_axes_are_orthogonal_and_grey_moves_most() -> None:
    products = COLOURS @ COLOURS.T
    torch.testing.assert_close(products, products.diagonal().diag(), atol=1e-6, rtol=0)
    assert COLOURS[0].std() < 1e-6 and products.diagonal().argmax() == 0


def test_starts() -> None:
    noise = noise_start(3, 5, seeded(), middle=0.4, spread=0.2)
    assert noise.shape == (3, 3, 5, 5) and noise.min() >= 0.3 and noise.max() <= 0.5
    assert noise.std() == pytest.approx(0.2 / 12**0.5, rel=0.15)
    assert torch.equal(noise, noise_start(3, 5, seeded(), middle=0.4, spread=0.2))
    mean, std = torch.tensor([0.45, 0.43, 0.38]).view(3, 1, 1), torch.tensor([0.25, 0.25, 0.26]).view(3, 1, 1)
    zero = zero_start(2, 4, lambda x: (x - mean) / std)
    torch.testing.assert_close(zero, mean.expand(2, 3, 4, 4))
    assert zero_start(1, 4, lambda x: x).eq(0).all()


@pytest.mark.parametrize("normalise", [lambda x: x + 1, lambda x: x * 0, lambda x: x**2 - 0.5])
def test_no_zero_start(normalise) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match="no image in"):
        zero_start(1, 4, normalise)


def test_refused() -> None:
    with pytest.raises(ImageError, match="from 0 to 1"):
        Pixels(torch.full((1, 3, 4, 4), 1.5))
    with pytest.raises(ImageError, match="NaN"):
        Fourier(torch.full((1, 3, 4, 4), torch.nan))
    with pytest.raises(ValueError, match="batch of images"):
        Pixels(torch.rand(3, 4, 4))
    with pytest.raises(ValueError, match="'clamp' or 'sigmoid', not 'tanh'"):
        Pixels(torch.rand(1, 3, 4, 4), "tanh")
    for start in (noise_start, partial(zero_start, normalise=lambda x: x)):
        with pytest.raises(ValueError, match="not 0 of size 4"):
            start(0, 4)


# --- Yosinski et al. ----------------


def test_the_four_settings_are_those_of_the_paper() -> None:
    found = [(y.decay, y.blur, y.every, y.norm, y.contribution) for y in YOSINSKI]
    assert found == [(0, 0.5, 4, 50, 0), (0.3, 0, 0, 20, 0), (0.0001, 1, 4, 0, 0), (0, 0.5, 4, 0, 90)]


def test_decay() -> None:
    x = torch.tensor([1.0, -2.0]).view(1, 1, 1, 2)
    assert Yosinski(decay=0.25)(x, x, 1).flatten().tolist() == [0.75, -1.5]


def test_blur_comes_every_n_steps_and_is_scipy_s() -> None:
    x = torch.randn(2, 3, 16, 16, generator=seeded())
    held = Yosinski(blur=1.0, every=4)
    assert all(torch.equal(held(x, x, number), x) for number in (1, 2, 3, 5))
    expected = gaussian_filter(x.numpy(), (0, 0, 1, 1), mode="mirror", truncate=4)
    for number in (4, 8):
        assert held(x, x, number).numpy() == pytest.approx(expected, abs=1e-5)
    assert Yosinski(blur=2.0, every=1)(x[:, :, :2, :2], x, 1).shape == (2, 3, 2, 2)  # smaller than the blur


def test_clipping_by_norm_counts_pixels_of_each_image_by_their_length_over_colours() -> None:
    """Lengths 5, 1, 2, 13 in the first image: the median is 3.5. The second image has its own median."""
    first = torch.tensor([[3.0, 1.0, -2.0, 5.0], [-4.0, 0.0, 0.0, 12.0]]).view(2, 2, 2)
    x = torch.stack([first, first / 100])
    kept = Yosinski(norm=50)(x, 0 * x, 1)
    expected = torch.tensor([[3.0, 0.0, 0.0, 5.0], [-4.0, 0.0, 0.0, 12.0]]).view(2, 2, 2)
    torch.testing.assert_close(kept, torch.stack([expected, expected / 100]))


def test_clipping_by_contribution_sums_over_colours_before_the_absolute_value() -> None:
    """x · gradient: 3 − 3 = 0, 1 + 0 = 1, −2 − 2 = −4, 2 + 1 = 3. The 40th percentile of 0, 1, 3, 4 is 1.4."""
    x = torch.tensor([[3.0, 1.0, -2.0, 2.0], [3.0, 5.0, 2.0, 1.0]]).view(1, 2, 2, 2)
    gradient = torch.tensor([[1.0, 1.0, 1.0, 1.0], [-1.0, 0.0, -1.0, 1.0]]).view(1, 2, 2, 2)
    kept = Yosinski(contribution=40)(x, gradient, 1)
    expected = torch.tensor([[0.0, 0.0, -2.0, 2.0], [0.0, 0.0, 2.0, 1.0]]).view(1, 2, 2, 2)
    torch.testing.assert_close(kept, expected)


@pytest.mark.parametrize("settings", [{"decay": 1.0}, {"norm": 101}, {"contribution": -1}, {"blur": -1.0}])
def test_yosinski_refuses(settings: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="percentiles 0 to 100"):
        Yosinski(**settings)
