"""CNN codes: what a layer says about an image as one vector, and what these vectors know of its class.

codes(model, data, layer)             the vectors of a data set, (N, D)
neighbours(codes, k)                  the k nearest other images of each image
knn_purity(codes, labels, k)          share of these neighbours with the same label
probe(codes, labels)                  accuracy of a linear classifier on the codes
embed(codes, method)                  the codes in the plane, by PCA or t-SNE
assignment_grid(points, rows, cols)   the points on a grid, each in a cell of its own and near where it was

    c = codes(model, test, "relu7")
    print(f"{knn_purity(c, labels):.2f} of the neighbours share the class, pixels: {knn_purity(pixels, labels):.2f}")
    cells = assignment_grid(embed(c, "tsne"), 20, 20)

Take codes behind a ReLU, where the next layer reads them. Labels may be shuffled by the caller: the null of every
number here. The methods are scikit-learn's and scipy's; here are their settings and checks.
"""

from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn

from cnnvis_helpers import hooks
from cnnvis_helpers.survey import batches

Array = NDArray[Any]
Pool = Literal["mean", "max", "flatten"]


def codes(
    model: nn.Module,
    data: Any,
    layer: str,
    *,
    batch: int = 64,
    pool: Pool | None = None,
    progress: bool = False,
) -> Tensor:
    """The outputs of one layer for every image, (N, D) float32 on the CPU.

    Args:
        data: normalised images of one size: a tensor (N, C, H, W), a list or a data set; see `survey.batches`.
        pool: for maps (N, C, H, W): "mean" or "max" over the positions (D = C), or "flatten" (D = C · H · W). None is
            for layers that give (N, D), or maps of one position.

    Raises: hooks.LayerError for an unknown layer; ValueError for bad images, NaN or infinite codes, and a layer whose
    output needs another `pool`.
    """
    if pool not in (None, "mean", "max", "flatten"):
        raise ValueError(f"pool is None, 'mean', 'max' or 'flatten', not {pool!r}.")
    hooks.find(model, layer)
    place = next(model.parameters(), torch.zeros(0))
    found = []
    for _, images in batches(data, batch, progress=progress):
        a = hooks.activations(model, images.to(place), layer)[layer].float()
        code = _pooled(a, pool, layer, len(images)).cpu()
        if not code.isfinite().all():
            raise ValueError(f"Layer {layer!r} gives NaN or infinite values: look at the weights.")
        found.append(code)
    return torch.cat(found)


def _pooled(a: Tensor, pool: Pool | None, layer: str, images: int) -> Tensor:
    if a.ndim < 2 or len(a) != images:
        raise ValueError(f"Layer {layer!r} gives {tuple(a.shape)} for {images} images: no code for each.")
    positions = a.flatten(2) if a.ndim > 2 else a[:, :, None]  # (N, C, positions)
    if pool is None and positions.shape[2] > 1:
        raise ValueError(
            f"Layer {layer!r} gives maps {tuple(a.shape)}: choose pool='mean', 'max' or 'flatten'."
        )
    if pool == "mean":
        return positions.mean(2)
    return positions.amax(2) if pool == "max" else positions.flatten(1)


def neighbours(codes: ArrayLike | Tensor, k: int = 5, metric: str = "euclidean") -> Array:
    """Numbers of the k nearest other codes of each code, nearest first: (N, k) int.

    `metric` is one of scikit-learn's, such as "euclidean" or "cosine". Raises ValueError for NaN and for k not between
    1 and N - 1.
    """
    from sklearn.neighbors import NearestNeighbors

    table = _table(codes)
    if not 1 <= k < len(table):
        raise ValueError(f"k must be from 1 to {len(table) - 1}, the number of other codes, not {k}.")
    # Without an argument, kneighbors leaves each point out of its own neighbours, also where others equal it.
    return NearestNeighbors(n_neighbors=k, metric=metric).fit(table).kneighbors(return_distance=False)


def knn_purity(
    codes: ArrayLike | Tensor, labels: ArrayLike | Tensor, k: int = 5, metric: str = "euclidean"
) -> float:
    """Mean share, in [0, 1], of each code's k nearest other codes that carry its label.

    For codes that know nothing of the labels it is the chance that two images share a label.
    Raises ValueError as `neighbours`, and for another number of labels than of codes.
    """
    names = _labels(labels, _table(codes))
    return float((names[neighbours(codes, k, metric)] == names[:, None]).mean())


def probe(
    codes: ArrayLike | Tensor,
    labels: ArrayLike | Tensor,
    *,
    test: tuple[ArrayLike | Tensor, ArrayLike | Tensor] | None = None,
    folds: int = 5,
    seed: int = 0,
) -> float:
    """Accuracy of a linear classifier on the codes, in [0, 1]: are the classes linearly separable here?

    Logistic regression (L2 penalty, C = 1) on columns scaled to mean 0 and variance 1 over the training codes. With
    `test`, (codes, labels) of other images, it is trained on all `codes` and tested there; without, every image is
    predicted by a classifier trained on the other folds; `seed` draws these, with the classes in equal shares.
    Time grows with D: pool large maps first.

    Raises: ValueError for NaN, unlike lengths, a single class, fewer than 2 folds, or a class with fewer images than
    folds.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from threadpoolctl import threadpool_limits

    table = _table(codes)
    names = _labels(labels, table)
    classes, counts = np.unique(names, return_counts=True)
    if len(classes) < 2:
        raise ValueError("A probe needs images of two classes or more.")
    classifier = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
    if test is not None:
        other = _table(test[0])
        if other.shape[1] != table.shape[1]:
            raise ValueError(f"The test codes have {other.shape[1]} columns, the others {table.shape[1]}.")
        with threadpool_limits(1):  # a fit is a thousand small products, on which threads wait for each other
            return float((classifier.fit(table, names).predict(other) == _labels(test[1], other)).mean())
    if not 2 <= folds <= counts.min():
        fewest = classes[counts.argmin()]
        raise ValueError(
            f"folds must be from 2 to {counts.min()}, the images of class {fewest}, not {folds}."
        )
    split = StratifiedKFold(folds, shuffle=True, random_state=seed)
    with threadpool_limits(1):
        return float((cross_val_predict(classifier, table, names, cv=split) == names).mean())


def embed(
    codes: ArrayLike | Tensor,
    method: Literal["pca", "tsne"] = "pca",
    *,
    seed: int = 0,
    perplexity: float = 30.0,
) -> Array:
    """Put every code in the plane, (N, 2) float64.

    "pca": the two directions of largest variance. "tsne": t-distributed stochastic neighbour embedding (van der Maaten
    & Hinton, JMLR 2008) of the first 50 principal components, begun at the first two; near points mean like codes, but
    distances between groups and the groups' sizes mean nothing. It runs on one thread: another number of threads may
    round differently, and on a busy computer they wait for each other.

    Raises: ValueError for NaN, fewer than 3 codes or 2 columns, an unknown method, and a perplexity not below N.
    """
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    table = _table(codes).astype(np.float64)
    if method not in ("pca", "tsne"):
        raise ValueError(f"method is 'pca' or 'tsne', not {method!r}.")
    if min(len(table), table.shape[1] + 1) < 3:
        raise ValueError(f"An embedding needs 3 codes or more with 2 columns or more, not {table.shape}.")
    if method == "pca":
        return PCA(2, random_state=seed).fit_transform(table)
    if not 0 < perplexity < len(table):
        raise ValueError(
            f"The perplexity must lie between 0 and {len(table)}, the number of codes, not {perplexity}."
        )
    with threadpool_limits(1):
        axes = min(50, *table.shape)
        table = PCA(axes, random_state=seed).fit_transform(table)
        return (
            TSNE(perplexity=perplexity, init="pca", random_state=seed).fit_transform(table).astype(np.float64)
        )


def assignment_grid(points: ArrayLike | Tensor, rows: int, columns: int) -> Array:
    """Give every point (x, y) a cell of its own on a grid: (N, 2) int, row and column.

    The points are stretched to the grid, with x to the right and y upwards as in a scatter plot (row 0 is at the top);
    then the sum of the squared distances between points and cells is the least possible. Takes N · rows · columns
    numbers of memory.

    Raises: ValueError for NaN, points that are not (N, 2), and fewer cells than points.
    """
    table = _table(points).astype(np.float64)
    if table.shape[1] != 2 or min(rows, columns) < 1 or len(table) > rows * columns:
        raise ValueError(
            f"Points (N, 2), at most one a cell, are needed, not {table.shape} for {rows} × {columns} cells."
        )
    low, extent = table.min(0), np.ptp(table, 0)
    unit = np.where(extent > 0, (table - low) / np.where(extent > 0, extent, 1), 0.5)  # both axes from 0 to 1
    wanted = np.stack([(1 - unit[:, 1]) * (rows - 1), unit[:, 0] * (columns - 1)], 1)
    cells = np.indices((rows, columns)).reshape(2, -1).T  # (cells, 2)
    cost = ((wanted[:, None] - cells) ** 2).sum(2)
    return cells[linear_sum_assignment(cost)[1]]


def _table(codes: ArrayLike | Tensor) -> Array:
    table = codes.numpy(force=True) if isinstance(codes, Tensor) else np.asarray(codes)
    if table.ndim != 2 or table.size == 0:
        raise ValueError(f"Codes are a table (N, D) with at least one row and column, not {table.shape}.")
    if not np.isfinite(table).all():
        raise ValueError("The codes hold NaN or infinite values: look at the images and the weights.")
    return table


def _labels(labels: ArrayLike | Tensor, table: Array) -> Array:
    names = labels.numpy(force=True) if isinstance(labels, Tensor) else np.asarray(labels)
    if names.shape != (len(table),):
        raise ValueError(f"{len(table)} codes need {len(table)} labels (N,), not {names.shape}.")
    return names
