"""The graph cut against all labellings of small images; segmentation by hand and on the packaged images."""

import itertools

import numpy as np
import pytest
import torch
from torch import Tensor

from cnnvis_helpers import diorama, zoo
from cnnvis_helpers.saliency import gradient, saliency_map
from cnnvis_helpers.segmentation import graph_cut, seeds, segment

# --- the cut ----------------


def energies(masks: np.ndarray, odds: np.ndarray, image: np.ndarray, smoothness: float) -> np.ndarray:
    """The energy of each of M masks (M, H, W), written out pair by pair."""
    places = list(itertools.product(*map(range, odds.shape)))
    pairs = [
        (p, q) for p, q in itertools.combinations(places, 2) if max(abs(p[0] - q[0]), abs(p[1] - q[1])) == 1
    ]
    mean = np.mean([((image[p] - image[q]) ** 2).sum() for p, q in pairs])
    total = -(masks * odds).sum((1, 2))
    for p, q in pairs:
        price = (
            smoothness
            * np.exp(-((image[p] - image[q]) ** 2).sum() / (2 * mean))
            / np.hypot(*np.subtract(p, q))
        )
        total = total + price * (masks[:, p[0], p[1]] != masks[:, q[0], q[1]])
    return total


@pytest.mark.parametrize("smoothness", [0.3, 1.0, 2.0])
@pytest.mark.parametrize("shape", [(3, 4), (2, 5), (1, 7)])
def test_the_cut_is_the_best_of_all_masks(shape: tuple[int, int], smoothness: float) -> None:
    every = np.array(list(itertools.product([False, True], repeat=shape[0] * shape[1]))).reshape(-1, *shape)
    mixed = 0
    for seed in range(12):
        rng = np.random.default_rng(seed)
        odds, image = 2 * rng.standard_normal(shape), rng.random((*shape, 3))
        mask = graph_cut(odds, image, smoothness)
        best = energies(every, odds, image, smoothness).min()
        # At most 12 odds and 29 borders, rounded by up to 0.0005 each, in the best mask and in the one found.
        assert energies(mask[None], odds, image, smoothness)[0] <= best + 41 * 0.001
        mixed += mask.any() and not mask.all() and (mask != (odds > 0)).any()
    assert mixed > 0, "in some of the cases the borders must have decided"


def test_the_cut_by_hand() -> None:
    grey = np.full((1, 3, 3), 0.5)
    # One object pixel between two of the background: keeping it costs two borders of 1, giving it up 1.5 or 2.5.
    assert graph_cut(np.array([[-9.0, 1.5, -9.0]]), grey, 1.0).tolist() == [[False, False, False]]
    assert graph_cut(np.array([[-9.0, 2.5, -9.0]]), grey, 1.0).tolist() == [[False, True, False]]
    assert graph_cut(np.array([[-9.0, 1.5, -9.0]]), grey, 0.0).tolist() == [[False, True, False]]
    # Two pairs, contrasts 3 and 0, mean 1.5: the border on the edge costs exp(−1) = 0.37.
    edge = np.array([[[0.0] * 3, [1.0] * 3, [1.0] * 3]])
    assert graph_cut(np.array([[-9.0, 0.0, 0.36]]), edge, 1.0).tolist() == [[False, False, False]]
    assert graph_cut(np.array([[-9.0, 0.0, 0.38]]), edge, 1.0).tolist() == [[False, True, True]]
    # Fixed pixels stay, however many neighbours and however strong the odds around them.
    odds = np.full((3, 3), np.inf)
    odds[1, 1] = -np.inf
    for smoothness in (1.0, 1000.0):
        assert np.array_equal(graph_cut(odds, np.zeros((3, 3, 3)), smoothness), odds > 0)
        assert np.array_equal(graph_cut(-odds, np.zeros((3, 3, 3)), smoothness), odds < 0)
    odds = np.full((3, 3), 1e9)
    odds[1, 1] = -np.inf
    assert graph_cut(odds, np.zeros((3, 3, 3)), 1000.0).sum() == 0  # the others, 20 each, give in
    assert graph_cut(np.zeros((2, 2)), np.zeros((2, 2, 3))).sum() == 0  # of equal masks the smallest


def test_large_images_and_large_odds_do_not_overflow() -> None:
    sign = np.random.default_rng(0).choice([-1.0, 1.0], (256, 256))
    assert np.array_equal(graph_cut(1e30 * sign, np.zeros((256, 256, 3)), 0.0), sign > 0)
    half = np.full((256, 256), -np.inf)
    half[:, :100] = np.inf
    assert np.array_equal(graph_cut(half, np.zeros((256, 256, 3)), 1000.0), half > 0)


@pytest.mark.parametrize(
    ("odds", "image", "smoothness", "said"),
    [
        (np.zeros((2, 3)), np.zeros((3, 2, 3)), 1.0, "graph_cut takes"),
        (np.full((2, 3), np.nan), np.zeros((2, 3, 3)), 1.0, "without NaN"),
        (np.zeros((2, 3)), np.full((2, 3, 3), np.nan), 1.0, "without NaN"),
        (np.zeros((2, 3)), np.zeros((2, 3, 3)), -1.0, "from 0 to 1000"),
        (np.zeros((2, 3)), np.zeros((2, 3, 3)), float("nan"), "from 0 to 1000"),
    ],
)
def test_what_cannot_be_cut(odds: np.ndarray, image: np.ndarray, smoothness: float, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        graph_cut(odds, image, smoothness)


# --- seeds ----------------


def test_seeds_by_hand() -> None:
    maps = torch.arange(200.0).view(2, 10, 10)
    inside, outside = seeds(maps, 0.95, 0.30)
    # The 95 % quantile of 0 … 99 is 94.05, the 30 % quantile 29.7; each map has its own.
    for i in range(2):
        assert torch.equal(inside[i].flatten(), torch.arange(100) > 94)
        assert torch.equal(outside[i].flatten(), torch.arange(100) < 30)
    mostly_zero = torch.zeros(1, 10, 10)
    mostly_zero[0, 0, 0] = 1.0
    inside, outside = seeds(mostly_zero)
    assert inside.sum() == 1 and outside.sum() == 99 and not (inside & outside).any()
    inside, outside = seeds(torch.ones(1, 4, 4), 0.5, 0.5)
    assert inside.sum() == 0 and outside.all(), "a flat map has no object"


def test_blur_gathers_speckle() -> None:
    maps = torch.zeros(2, 21, 21)
    maps[0, 10, 4:18:2] = 1.0  # a dotted line …
    maps[:, 2, 2] = 1.2  # … and a lone, brighter dot, which is alone in the second map
    assert seeds(maps, foreground=0.99)[0][0, 2, 2]
    inside, _ = seeds(maps, foreground=0.97, blur=1.5)
    assert inside[0].sum() == inside[0, 8:13].sum() > 10  # all beside the line
    assert inside[1, 2, 2] and not inside[1, 10].any(), "maps are not blurred into one another"


@pytest.mark.parametrize(
    ("maps", "options", "said"),
    [
        (torch.zeros(4, 4), {}, r"\(N, H, W\)"),
        (torch.zeros(0, 4, 4), {}, r"\(0, 4, 4\)"),
        (torch.full((1, 4, 4), float("nan")), {}, "NaN"),
        (torch.zeros(1, 4, 4), {"foreground": 0.2}, "background ≤ foreground"),
        (torch.zeros(1, 4, 4), {"foreground": 1.2}, "background ≤ foreground"),
        (torch.zeros(1, 4, 4), {"blur": -1.0}, "blur"),
    ],
)
def test_what_gives_no_seeds(maps: Tensor, options: dict[str, float], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        seeds(maps, **options)


# --- segmentation ----------------


def squares() -> tuple[Tensor, Tensor, Tensor]:
    """Two images with a red and a striped square, maps that mark only the corner of each, and the true masks."""
    rng = torch.Generator().manual_seed(0)
    images = 0.2 * torch.rand(2, 3, 40, 40, generator=rng) + torch.tensor([0.1, 0.5, 0.2])[:, None, None]
    truth = torch.zeros(2, 40, 40, dtype=torch.bool)
    truth[0, 10:26, 12:28] = truth[1, 20:36, 5:19] = True
    images[0][:, truth[0]] = torch.tensor([0.9, 0.2, 0.1])[:, None]
    images[1][:, truth[1]] = torch.tensor([0.1, 0.1, 0.9])[:, None]
    images[1, :, 20:36:4, 5:19] = torch.tensor([0.9, 0.9, 0.1])[:, None, None]
    maps = 0.1 * torch.rand(2, 40, 40, generator=rng) + 0.2 * truth
    maps[0, 10:19, 12:21] += 1.0
    maps[1, 20:30, 5:13] += 1.0
    maps[0, 3, 35] = maps[1, 5, 30] = 2.0  # wrong
    return maps, images, truth


def test_the_whole_square_is_found_from_its_corner() -> None:
    maps, images, truth = squares()
    masks = segment(maps, images, blur=0.0)
    assert masks.dtype == torch.bool and torch.equal(masks, truth)
    assert torch.equal(segment(maps, images, blur=0.0), masks), "a seed, a result"
    assert torch.equal(segment(maps[1:], images[1:], blur=0.0), masks[1:]), "images do not share anything"
    before = maps.clone(), images.clone(), torch.random.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    segment(maps.requires_grad_(), images)
    assert torch.equal(maps, before[0]) and torch.equal(images, before[1])
    assert torch.equal(torch.random.get_rng_state(), before[2])
    assert np.array_equal(np.random.get_state()[1], before[3])  # noqa: NPY002


def test_largest_region() -> None:
    maps, images, truth = squares()
    images[0, :, 30:35, 30:35] = torch.tensor([0.9, 0.2, 0.1])[:, None, None]  # a second, smaller red square
    maps[0, 30:35, 30:35] += 0.2  # no background seeds there
    assert torch.equal(segment(maps, images, blur=0.0), truth)
    both = truth.clone()
    both[0, 30:35, 30:35] = True
    assert torch.equal(segment(maps, images, blur=0.0, largest=False), both)


@pytest.mark.filterwarnings("error")
def test_flat_maps_and_flat_images() -> None:
    maps, images, _ = squares()
    assert segment(torch.zeros_like(maps), images).sum() == 0
    assert segment(maps, torch.full_like(images, 0.5)).shape == maps.shape
    assert segment(torch.rand(1, 2, 2), torch.rand(1, 3, 2, 2)).shape == (1, 2, 2)


def test_bad_input_gets_a_sentence() -> None:
    maps, images, _ = squares()
    with pytest.raises(ValueError, match="upsample"):
        segment(maps[:, ::2, ::2], images)
    with pytest.raises(ValueError, match="segment takes"):
        segment(maps[:1], images)
    with pytest.raises(ValueError, match="segment takes"):
        segment(maps[0], images[0])
    with pytest.raises(ValueError, match="from 0 to 1"):
        segment(maps, images * 4)
    with pytest.raises(ValueError, match="NaN"):
        segment(maps * float("nan"), images)
    with pytest.raises(ValueError, match="components is 0"):
        segment(maps, images, components=0)
    with pytest.raises(ValueError, match="from 0 to 1000"):
        segment(maps, images, smoothness=-1.0)


# --- on pictures whose truth is known ----------------


def iou(masks: Tensor, truth: Tensor) -> float:
    """One number for all images: sum of the intersections by sum of the unions."""
    return float((masks & truth).sum() / (masks | truth).sum())


def test_segmentation_beats_thresholds_and_a_disc() -> None:
    """On 48 images. On all of 0 … 239: 0.42; thresholds 0.25, of the blurred map 0.31; disc 0.20; centred map 0.32."""
    batch, net = diorama.sample(48), zoo.load("diorama/alexnet")
    truth = torch.from_numpy(batch.instance)
    maps = saliency_map(gradient(net.model, net.prepare(batch.images)))
    masks = segment(maps, batch.images)
    found = iou(masks, truth)

    quantiles = np.linspace(0.5, 0.95, 10)
    thresholds = [maps > maps.flatten(1).quantile(q, 1)[:, None, None] for q in quantiles]
    best = max(iou(above, truth) for above in thresholds)  # chosen on these very images
    squared = ((torch.arange(96) - 47.5) ** 2)[:, None] + (torch.arange(96) - 47.5) ** 2
    disc = (squared <= truth.float().mean() * 96**2 / np.pi).expand_as(truth)
    centred = segment(torch.exp(-squared / 800).expand(48, 96, 96), batch.images)
    assert found > best + 0.1 and found > iou(disc, truth) + 0.1
    assert found > iou(centred, truth) + 0.03
    _, outside = seeds(maps, blur=2.0)
    assert not (masks & outside).any() and masks.flatten(1).any(1).all()
