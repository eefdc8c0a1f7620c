"""Every check of lecture 02 accepts the reference, waits for stubs, and tells wrong answers apart."""

import numpy as np
import pytest
import torch
from sklearn.neighbors import NearestNeighbors
from torch import nn

from cnnvis_helpers.checks import lecture02 as checks
from cnnvis_helpers.checks.core import NOT_ATTEMPTED, WrongAnswer
from cnnvis_helpers.codes import knn_purity
from cnnvis_helpers.patches import label_purity
from cnnvis_helpers.receptive_field import receptive_field

PAIRS = [
    (checks.check_receptive_field, checks.reference_receptive_field),
    (checks.check_merge, checks.reference_merge),
    (checks.check_purity, checks.reference_purity),
    (checks.check_knn_purity, checks.reference_knn_purity),
]


def stub(*_):
    raise NotImplementedError  # your code here


@pytest.mark.parametrize(("check", "reference"), PAIRS)
def test_reference_passes_and_stub_waits(check, reference, capsys):
    check(reference)
    check(stub)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("passed: ") and lines[1] == NOT_ATTEMPTED


def test_references_agree_with_the_package():
    model = nn.Sequential(nn.Conv2d(3, 2, 5, 2, 1), nn.MaxPool2d(3, 2), nn.Conv2d(2, 2, 3, padding=1))
    field = receptive_field(model, "2")
    expected = (field.size[0], field.stride[0], field.start[0])
    assert checks.reference_receptive_field([(5, 2, 1), (3, 2, 0), (3, 1, 1)]) == expected == (17, 4, -5)
    labels = torch.randint(1, 5, (10, 9), generator=torch.Generator().manual_seed(0))
    assert torch.allclose(checks.reference_purity(labels).double(), label_purity(labels), atol=1e-6)
    codes, kinds = torch.randn(50, 3, generator=torch.Generator().manual_seed(0)), torch.arange(50) % 3
    assert checks.reference_knn_purity(codes, kinds, 4) == pytest.approx(knn_purity(codes, kinds, 4))


def backwards(windows):
    """The receptive field from the last layer back to the image."""
    size, stride, start = 1, 1, 0
    for kernel, step, padding in reversed(windows):
        size = (size - 1) * step + kernel
        start, stride = start * step - padding, stride * step
    return size, stride, start


def merge_by_loops(one, two, k):
    values, images = [], []
    for c in range(len(one[0])):
        found = [
            (float(v), int(i)) for part in (one, two) for v, i in zip(part[0][c], part[1][c], strict=True)
        ]
        best = sorted(found, reverse=True)[:k]
        values.append([v for v, _ in best])
        images.append([i for _, i in best])
    return torch.tensor(values), torch.tensor(images)


def own_numbers(labels):
    alone = -1 - torch.arange(labels.shape[1])
    return label_purity(torch.where(labels > 0, labels, alone)).float()


def by_sklearn(codes, labels, k):
    near = NearestNeighbors(n_neighbors=k).fit(codes).kneighbors(return_distance=False)
    return float(np.mean(labels.numpy()[near] == labels.numpy()[:, None]))


@pytest.mark.parametrize(
    ("check", "answer"),
    [
        (checks.check_receptive_field, backwards),
        (checks.check_merge, merge_by_loops),
        (checks.check_purity, own_numbers),
        (checks.check_knn_purity, by_sklearn),
    ],
)
def test_another_right_answer_passes(check, answer, capsys):
    check(answer)
    assert "passed" in capsys.readouterr().out


def late_stride(windows):
    size, stride = 1, 1
    for kernel, step, _ in windows:
        stride *= step
        size += (kernel - 1) * stride
    return size, stride, checks.reference_receptive_field(windows)[2]


def all_kernels(windows):
    _, stride, start = checks.reference_receptive_field(windows)
    return 1 + sum(k - 1 for k, _, _ in windows), stride, start


def places(one, two, k):
    values, order = torch.cat([one[0], two[0]], 1).topk(k, 1)
    return values, order


def unmoved(one, two, k):
    values, images = (torch.cat(pair, 1) for pair in zip(one, two, strict=True))
    return values.sort(dim=1, descending=True).values[:, :k], images[:, :k]


def itself_too(codes, labels, k):
    near = torch.cdist(codes, codes).topk(k, largest=False).indices
    return float((labels[near] == labels[:, None]).float().mean())


def inner_products(codes, labels, k):
    near = (codes @ codes.T).fill_diagonal_(-torch.inf).topk(k).indices
    return float((labels[near] == labels[:, None]).float().mean())


WRONG = [
    (checks.check_receptive_field, late_stride, "stride behind the layer"),
    (checks.check_receptive_field, all_kernels, "many pixels"),
    (checks.check_receptive_field, lambda w: list(checks.reference_receptive_field(w))[:2], "Return the tuple"),
    (checks.check_receptive_field, lambda w: (*checks.reference_receptive_field(w)[:2], -sum(p for *_, p in w)),
     "positions of the map"),
    (checks.check_merge, places, "which images stand there"),
    (checks.check_merge, unmoved, "follow their values"),
    (checks.check_merge, lambda a, b, k: (a[0][:, :k], a[1][:, :k]), "first part only|cut before"),
    (checks.check_merge, lambda a, b, k: a[0], "return two tables"),
    (checks.check_purity, lambda y: label_purity(y).float(), "counted 0"),
    (checks.check_purity, lambda y: own_numbers(y).mean(), "averaged over"),
    (checks.check_purity, lambda y: own_numbers(y) * y.shape[1] / (y > 0).sum(1).clamp(min=1), "divided by the"),
    (checks.check_purity, lambda y: (y == y.mode(1).values[:, None]).float().mean(1) / 2, "For each row"),
    (checks.check_knn_purity, itself_too, "its own nearest"),
    (checks.check_knn_purity, inner_products, "inner products"),
    (checks.check_knn_purity, lambda c, y, k: k * checks.reference_knn_purity(c, y, k), "divide by k"),
]  # fmt: skip


@pytest.mark.parametrize(("check", "wrong", "lesson"), WRONG)
def test_wrong_answers_are_told_why(check, wrong, lesson):
    with pytest.raises(WrongAnswer, match=lesson):
        check(wrong)
