"""Codes against the recorded layers, neighbours against all distances, the grid against all assignments."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from cnnvis_helpers import codes, hooks


def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)
    )


def photos(n: int = 10) -> Tensor:
    return torch.randn(n, 3, 6, 6, generator=torch.Generator().manual_seed(1))


def groups(n: int = 60, distance: float = 8.0, dimensions: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """n codes in three groups, `distance` standard deviations apart."""
    rng, labels = np.random.default_rng(0), np.arange(n) % 3
    centres = distance * np.eye(dimensions)[:3]
    return (rng.normal(size=(n, dimensions)) + centres[labels]).astype(np.float32), labels


# --- the vectors ---


def test_codes_are_the_layer_s_outputs_pooled_as_asked() -> None:
    model, x = net().train(), photos()
    a = hooks.activations(model, x, ["1", "2", "4"])
    for layer, pool, wanted in [
        ("4", None, a["4"]),
        ("4", "flatten", a["4"]),
        ("2", None, a["2"].flatten(1)),
        ("1", "mean", a["1"].mean((2, 3))),
        ("1", "max", a["1"].amax((2, 3))),
        ("1", "flatten", a["1"].flatten(1)),
    ]:
        found = codes.codes(model, x, layer, batch=3, pool=pool)
        assert found.dtype == torch.float32 and found.shape == wanted.shape
        assert torch.allclose(found, wanted, atol=1e-6), (layer, pool)
    assert model.training and all(p.requires_grad for p in model.parameters())


def test_codes_of_a_data_set_with_labels_and_of_one_image() -> None:
    x = photos()
    data = torch.utils.data.TensorDataset(x, torch.arange(10))
    assert torch.equal(codes.codes(net(), data, "4", batch=4), codes.codes(net(), x, "4", batch=4))
    assert codes.codes(net().double(), x[:1], "4").shape == (1, 3)


def test_what_codes_refuses() -> None:
    with pytest.raises(hooks.LayerError, match="no layer 'fc'"):
        codes.codes(net(), photos(), "fc")
    with pytest.raises(ValueError, match="choose pool="):
        codes.codes(net(), photos(), "1")
    with pytest.raises(ValueError, match="pool is None"):
        codes.codes(net(), photos(), "1", pool="sum")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="empty"):
        codes.codes(net(), photos(0), "4")
    with pytest.raises(ValueError, match="Image 0 holds NaN"):
        codes.codes(net(), photos() * torch.nan, "4")
    broken = net()
    nn.init.constant_(broken[4].bias, torch.inf)
    with pytest.raises(ValueError, match="Layer '4' gives NaN or infinite"):
        codes.codes(broken, photos(), "4")
    with pytest.raises(ValueError, match="no code for each"):
        codes.codes(nn.Sequential(nn.Flatten(0)), photos(), "0")


# --- neighbours ---


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_neighbours_are_those_of_all_distances(metric: str) -> None:
    table, labels = groups(distance=1)
    unit = table / np.linalg.norm(table, axis=1, keepdims=True) if metric == "cosine" else table
    distance = ((unit[:, None] - unit) ** 2).sum(2)  # of unit vectors: 2 - 2 · cosine
    np.fill_diagonal(distance, np.inf)
    wanted = distance.argsort(1)[:, :4]
    assert (codes.neighbours(table, 4, metric) == wanted).all()
    purity = (labels[wanted] == labels[:, None]).mean()
    assert 0.4 < purity < 0.9, "a case that tells right from wrong"
    assert codes.knn_purity(torch.from_numpy(table), torch.from_numpy(labels), 4, metric) == pytest.approx(
        purity
    )


def test_a_code_is_not_its_own_neighbour_even_among_equals() -> None:
    table = np.zeros((4, 2))
    found = codes.neighbours(table, 3)
    assert all(sorted([i, *row]) == [0, 1, 2, 3] for i, row in enumerate(found))
    assert codes.knn_purity(table, [0, 1, 2, 3], 3) == 0
    assert codes.knn_purity(table, ["a", "a", "b", "b"], 3) == pytest.approx(1 / 3)


def test_purity_of_groups_and_of_shuffled_labels() -> None:
    table, labels = groups(300)
    assert codes.knn_purity(table, labels) == 1
    shuffled = np.random.default_rng(1).permutation(labels)
    assert codes.knn_purity(table, shuffled) == pytest.approx(1 / 3, abs=0.06)


# --- probe ---


def test_a_probe_separates_groups_and_nothing_else() -> None:
    table, labels = groups(150, distance=6)
    assert codes.probe(table, labels) > 0.95
    faint = np.random.default_rng(0).normal(size=(60, 2)) * [1e-5, 1]
    faint[::2, 0] += 1e-4
    assert codes.probe(faint, np.arange(60) % 2) == 1, "columns are brought to one scale"
    shuffled = np.random.default_rng(1).permutation(labels)
    assert codes.probe(table, shuffled) == pytest.approx(1 / 3, abs=0.15)
    assert codes.probe(table[:100], labels[:100], test=(table[100:], labels[100:])) > 0.95
    moved = (labels[100:] + 1) % 3
    assert codes.probe(table[:100], labels[:100], test=(table[100:], moved)) < 0.05


def test_a_probe_is_linear_and_predicts_unseen_images() -> None:
    corners = np.array(list(itertools.product([-1.0, 1], repeat=2)) * 25)
    exclusive_or = (corners.prod(1) > 0).astype(int)
    assert codes.probe(corners, exclusive_or) < 0.6
    # 40 columns of noise for 40 images: a training accuracy would be 1.
    noise = np.random.default_rng(0).normal(size=(40, 40))
    assert codes.probe(noise, np.arange(40) % 2) < 0.75
    assert codes.probe(noise, np.arange(40) % 2, seed=3) == codes.probe(noise, np.arange(40) % 2, seed=3)


def test_what_a_probe_refuses() -> None:
    table, labels = groups(30)
    with pytest.raises(ValueError, match="two classes"):
        codes.probe(table, np.zeros(30))
    for folds in (1, 10):
        with pytest.raises(ValueError, match=f"from 2 to 9, the images of class 1, not {folds}"):
            codes.probe(table[:28], labels[:28], folds=folds)
    with pytest.raises(ValueError, match="2 columns, the others 5"):
        codes.probe(table, labels, test=(table[:, :2], labels))
    with pytest.raises(ValueError, match="30 codes need 30 labels"):
        codes.probe(table, labels[1:])
    with pytest.raises(ValueError, match="30 codes need 30 labels"):
        codes.probe(table, labels, test=(table, labels[1:]))


# --- the plane and the grid ---


def test_pca_is_the_two_largest_directions() -> None:
    table, _ = groups(40, distance=3)
    found = codes.embed(table)
    centred = table - table.mean(0)
    values, vectors = np.linalg.eigh(centred.T @ centred)
    assert found.shape == (40, 2)
    assert (found**2).sum(0) == pytest.approx(values[:-3:-1], rel=1e-4)
    projections = centred @ vectors[:, :-3:-1]
    assert np.abs((found * projections).sum(0)) == pytest.approx(values[:-3:-1], rel=1e-4)


def test_tsne_keeps_the_groups_and_repeats() -> None:
    table, labels = groups(45, distance=10)
    before = torch.get_rng_state()
    found = codes.embed(torch.from_numpy(table), "tsne", perplexity=8)
    assert found.shape == (45, 2) and np.isfinite(found).all()
    assert codes.knn_purity(found, labels) > 0.95
    assert (codes.embed(table, "tsne", perplexity=8) == found).all()
    assert torch.equal(before, torch.get_rng_state())


def test_what_embed_refuses() -> None:
    table, _ = groups(10)
    with pytest.raises(ValueError, match="'pca' or 'tsne'"):
        codes.embed(table, "umap")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="perplexity must lie between 0 and 10"):
        codes.embed(table, "tsne")
    for small in (table[:2], table[:, :1]):
        with pytest.raises(ValueError, match="3 codes or more"):
            codes.embed(small)


def test_the_grid_is_the_best_of_all_assignments() -> None:
    rng = np.random.default_rng(0)
    for rows, columns, n in [(2, 3, 6), (3, 2, 5), (1, 4, 3)]:
        points = rng.normal(size=(n, 2))
        unit = (points - points.min(0)) / np.ptp(points, axis=0)
        wanted = np.stack([(1 - unit[:, 1]) * (rows - 1), unit[:, 0] * (columns - 1)], 1)
        cells = list(itertools.product(range(rows), range(columns)))
        best = min(((np.array(chosen) - wanted) ** 2).sum() for chosen in itertools.permutations(cells, n))
        found = codes.assignment_grid(points, rows, columns)
        assert len({tuple(cell) for cell in found.tolist()}) == n
        assert set(map(tuple, found.tolist())) <= set(cells)
        assert ((found - wanted) ** 2).sum() == pytest.approx(best)


def test_points_on_a_grid_stay_and_up_is_up() -> None:
    x, y = np.meshgrid(np.arange(4.0), np.arange(3.0))
    points = np.stack([x.ravel(), 10 * y.ravel() + 5], 1)
    found = codes.assignment_grid(points, 3, 4)
    assert found.tolist() == [[2 - int(v), int(u)] for u, v in zip(x.ravel(), y.ravel(), strict=True)]
    line = codes.assignment_grid(torch.tensor([[0.0, 7.0], [1.0, 7.0], [2.0, 7.0]]), 1, 3)
    assert line.tolist() == [[0, 0], [0, 1], [0, 2]], "without extent upwards"


def test_what_a_grid_refuses() -> None:
    for points, rows in [
        (np.zeros((5, 2)), 2),
        (np.zeros((4, 3)), 2),
        (np.zeros((0, 2)), 2),
        (np.zeros((1, 2)), 0),
    ]:
        with pytest.raises(ValueError, match=r"Points \(N, 2\)|table \(N, D\)"):
            codes.assignment_grid(points, rows, 2)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_codes_with_nan_are_refused_everywhere(value: float) -> None:
    table, labels = groups(12)
    bad = table.copy()
    bad[3, 1] = value
    for ask in (
        lambda: codes.neighbours(bad),
        lambda: codes.knn_purity(bad, labels),
        lambda: codes.probe(bad, labels),
        lambda: codes.probe(table, labels, test=(bad, labels)),
        lambda: codes.embed(bad),
        lambda: codes.assignment_grid(bad[:, :2], 4, 4),
    ):
        with pytest.raises(ValueError, match="hold NaN or infinite"):
            ask()
    for k in (0, 12):
        with pytest.raises(ValueError, match="k must be from 1 to 11"):
            codes.neighbours(table, k)
