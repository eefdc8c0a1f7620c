"""Patches: the right pixels at the right place; purity against counting, chance against the exact probabilities."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from cnnvis_helpers import patches
from cnnvis_helpers.survey import TopK, survey


def pictures(n: int = 4, height: int = 6, width: int = 7) -> Tensor:
    return torch.rand(n, 3, height, width, generator=torch.Generator().manual_seed(0))


def placed(entries: list[list[tuple[int, int, int]]]) -> TopK:
    """A TopK whose channels hold these (image, row, column), best first."""
    top = TopK("x", len(entries[0]))
    columns = torch.tensor(entries).unbind(2)
    values = -torch.arange(len(entries[0])).float().expand(len(entries), -1)
    names = ("images", "rows", "columns")
    top.load_state_dict({"seen": torch.tensor(4), "values": values, **dict(zip(names, columns, strict=True))})
    return top


def hanging(row: int, column: int) -> tuple[int, int, int, int]:
    """Fields of 5 × 3 pixels, centred at (2 · row, 2 · column), not clipped."""
    return 2 * row - 2, 2 * column - 1, 2 * row + 3, 2 * column + 2


def clipped(row: int, column: int) -> tuple[int, int, int, int]:
    top, left, bottom, right = hanging(row, column)
    return max(top, 0), max(left, 0), min(bottom, 6), min(right, 7)


def by_pixel(picture: Tensor, box: tuple[int, int, int, int], fill: float) -> Tensor:
    """The slow, obvious patch: pixel by pixel, `fill` outside."""
    top, left, bottom, right = box
    patch = torch.full((3, bottom - top, right - left), fill)
    for y, x in itertools.product(range(bottom - top), range(right - left)):
        if 0 <= top + y < picture.shape[1] and 0 <= left + x < picture.shape[2]:
            patch[:, y, x] = picture[:, top + y, left + x]
    return patch


def test_every_place_of_the_map_gives_its_pixels_clipped_or_not() -> None:
    images = pictures(1)
    places = [(0, row, column) for row in range(-1, 6) for column in range(-2, 6)]  # some see nothing at all
    found = patches.top_patches(placed([places]), images, hanging, fill=0.25)
    assert found.pixels.shape == (1, len(places), 3, 5, 3)
    for patch, (_, row, column) in zip(found.pixels[0], places, strict=True):
        assert torch.equal(patch, by_pixel(images[0], hanging(row, column), 0.25))
    inside = [(0, row, column) for row in range(3) for column in range(4)]
    whole = patches.top_patches(placed([inside]), images, hanging)
    cut = patches.top_patches(placed([inside]), images, clipped)
    assert torch.equal(whole.pixels, cut.pixels), "a clipped box is filled up where it was cut"
    assert (whole.pixels == 0.5).any() and (whole.boxes != cut.boxes).any()
    assert cut.boxes[0, 0].tolist() == [0, 0, 3, 2]


def test_patches_belong_to_their_channel_and_rank() -> None:
    images = pictures()
    entries = [[(3, 1, 1), (0, 1, 2)], [(2, 1, 1), (3, 1, 2)], [(0, 1, 1), (1, 1, 1)]]
    reads: list[int] = []

    class Read(torch.utils.data.Dataset):
        def __len__(self) -> int:
            return 4

        def __getitem__(self, i: int) -> tuple[Tensor, str]:
            reads.append(i)
            return images[i], "label"

    found = patches.top_patches(placed(entries), Read(), hanging, channels=[2, 0, 1])
    assert sorted(reads) == [0, 1, 2, 3], "each image is read once"
    assert found.images.tolist() == [[0, 1], [3, 0], [2, 3]]
    assert found.values.tolist() == [[0, -1]] * 3
    for c, k in itertools.product(range(3), range(2)):
        place = int(found.rows[c, k]), int(found.columns[c, k])
        assert tuple(found.boxes[c, k].tolist()) == hanging(*place)
        number = int(found.images[c, k])
        assert torch.equal(found.pixels[c, k], by_pixel(images[number], hanging(*place), 0.5))


def test_a_box_as_large_as_the_image_needs_no_filling() -> None:
    found = patches.top_patches(placed([[(1, 0, 0)]]), pictures(), lambda row, column: (0, 0, 6, 7))
    assert torch.equal(found.pixels[0, 0], pictures()[1])


def test_patches_of_a_survey_hold_what_excites_the_channel() -> None:
    # A channel that adds up red over 3 × 3 pixels: its best patch is the reddest window of all images.
    model = nn.Sequential(nn.Conv2d(3, 1, 3, bias=False), nn.ReLU())
    with torch.no_grad():
        model[0].weight.zero_()[0, 0] = 1
    images = pictures()
    (top,) = survey(model, images * 2 - 1, [TopK("1", 2)])
    found = patches.top_patches(top, images, lambda row, column: (row, column, row + 3, column + 3))
    red = nn.functional.avg_pool2d(images[:, :1], 3, 1)  # (N, 1, 4, 5)
    assert found.pixels[0, 0, 0].mean().item() == pytest.approx(red.max().item())
    assert found.pixels[0, :, 0].mean((1, 2)).tolist() == pytest.approx(
        red.flatten(1).amax(1).sort(descending=True).values[:2].tolist()
    )


def test_what_top_patches_refuses() -> None:
    top, images = placed([[(3, 1, 1)]]), pictures()
    for channels in ([1], [-1], []):
        with pytest.raises(ValueError, match="Channels are one or more of 0 to 0"):
            patches.top_patches(top, images, hanging, channels=channels)
    with pytest.raises(ValueError, match="saw an image 3, but here are 2"):
        patches.top_patches(top, images[:2], hanging)
    with pytest.raises(ValueError, match=r"Image 3 cannot .* denormalise them"):
        patches.top_patches(top, images * 4 - 2, hanging)
    with pytest.raises(ValueError, match=r"Image 3 must be one picture"):
        patches.top_patches(top, images[:, None], hanging)
    for box in ((3, 3, 3, 3), (3, 3, 2, 5)):
        with pytest.raises(ValueError, match="behind the last pixel"):
            patches.top_patches(top, images, lambda row, column, box=box: box)
    with pytest.raises(ValueError, match="has seen no image"):
        patches.top_patches(TopK("x"), images, hanging)


# --- purity ---


def test_label_purity_counts_the_most_frequent_label() -> None:
    labels = torch.tensor([[1, 1, 1, 1], [2, 1, 2, 3], [1, 2, 3, 4], [5, 6, 5, 6]])
    assert patches.label_purity(labels).tolist() == [1, 0.5, 0.25, 0.5]
    with pytest.raises(ValueError, match="channels, k"):
        patches.label_purity(labels[0])


def test_chance_purity_is_that_of_draws_without_replacement() -> None:
    # Three labels of two images each, k = 2: both alike with probability 1/5. With replacement it were 1/3.
    chance = patches.chance_purity([0, 0, 1, 1, 2, 2], 2, draws=20_000)
    assert set(chance.tolist()) == {0.5, 1.0}
    assert (chance == 1).double().mean().item() == pytest.approx(0.2, abs=4 * math.sqrt(0.16 / 20_000))
    assert torch.equal(chance, patches.chance_purity(torch.tensor([4, 5, 4, 6, 5, 6]), 2, draws=20_000))
    assert not torch.equal(chance, patches.chance_purity([0, 0, 1, 1, 2, 2], 2, draws=20_000, seed=1))
    assert (patches.chance_purity([3, 3, 3], 3, draws=5) == 1).all()
    for k in (0, 7):
        with pytest.raises(ValueError, match="k must be from 1 to 6"):
            patches.chance_purity([0, 0, 1, 1, 2, 2], k)


def test_channels_that_pick_at_random_look_like_chance() -> None:
    labels = torch.arange(200) % 8
    picks = torch.stack(
        [torch.randperm(200, generator=torch.Generator().manual_seed(i))[:9] for i in range(300)]
    )
    purity, chance = patches.label_purity(labels[picks]), patches.chance_purity(labels, 9)
    assert purity.mean().item() == pytest.approx(chance.mean().item(), abs=0.02)  # 4 standard errors
    share, low, high = patches.share_above(purity, chance)
    assert low <= share <= high and share < 0.1
    picks[:150] = torch.arange(0, 72, 8)  # half of the channels pick one class
    share, low, high = patches.share_above(patches.label_purity(labels[picks]), chance)
    assert low < 0.5 < high and share == pytest.approx(0.5, abs=0.05)


def test_share_above_by_hand() -> None:
    chance = torch.tensor([0.2] * 90 + [0.4] * 6 + [0.6] * 4)  # P(≥ 0.4) = 0.10, P(≥ 0.6) = 0.04
    share, low, high = patches.share_above(torch.tensor([0.2, 0.4, 0.6, 0.8]), chance)
    assert share == 0.5
    z = 1.959964
    centre, spread = (0.5 + z**2 / 8) / (1 + z**2 / 4), z / (1 + z**2 / 4) * math.sqrt(0.25 / 4 + z**2 / 64)
    assert (low, high) == pytest.approx((centre - spread, centre + spread), abs=1e-5)
    assert patches.share_above(torch.tensor([0.4]), chance, alpha=0.1)[0] == 1


def test_mean_interval_is_about_two_standard_errors() -> None:
    purity = torch.rand(400, generator=torch.Generator().manual_seed(0)).double()
    mean, low, high = patches.mean_interval(purity)
    error = purity.std().item() / 20
    assert mean == pytest.approx(purity.mean().item())
    assert (low, high) == pytest.approx((mean - 1.96 * error, mean + 1.96 * error), abs=0.15 * error)
    assert patches.mean_interval(purity) == (mean, low, high)
    assert patches.mean_interval(torch.ones(5)) == (1, 1, 1)
    with pytest.raises(ValueError, match="two or more channels"):
        patches.mean_interval(torch.ones(1))


def test_no_function_touches_the_global_generators() -> None:
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002 - it is the global state that is watched
    before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    patches.directions(5, 0)
    patches.mean_interval(patches.chance_purity([0, 1, 1], 2, draws=10))
    assert torch.equal(before[0], torch.get_rng_state())
    assert (before[1] == np.random.get_state()[1]).all()  # noqa: NPY002


# --- directions ---


def test_directions_are_a_seeded_rotation() -> None:
    basis = patches.directions(24, 0)
    assert basis.dtype == torch.float32
    assert torch.allclose(basis @ basis.T, torch.eye(24), atol=1e-5)
    assert torch.equal(basis, patches.directions(24, 0))
    assert not torch.allclose(basis, patches.directions(24, 1), atol=0.1)
    # Uniform over the sphere: an entry has variance 1/C, and mean 0 (a plain QR has a positive diagonal).
    many = torch.stack([patches.directions(4, seed) for seed in range(300)])
    assert many.diagonal(dim1=1, dim2=2).mean().item() == pytest.approx(0, abs=4 * 0.5 / math.sqrt(1200))
    assert many.square().mean(0).flatten().tolist() == pytest.approx([0.25] * 16, abs=0.07)
    with pytest.raises(ValueError, match="two or more"):
        patches.directions(1, 0)


def test_a_rotated_basis_keeps_the_length_of_the_codes() -> None:
    a = torch.rand(6, 8, 1, 1, generator=torch.Generator().manual_seed(0))
    top = TopK("x", 6, basis=patches.directions(8, 3))
    top.update(a, torch.arange(6))
    by_image = top.values.gather(1, top.images.argsort(1))  # (directions, images)
    assert torch.allclose(by_image.norm(dim=0), a.flatten(1).norm(dim=1), atol=1e-5)
