"""Every check of lecture 01 accepts the reference, waits for stubs, and tells wrong answers apart."""

import pytest
import torch
from torch.nn import functional as F

from cnnvis_helpers.checks import lecture01 as checks
from cnnvis_helpers.checks.core import NOT_ATTEMPTED, WrongAnswer

PAIRS = [
    (checks.check_convolution, checks.reference_convolution),
    (checks.check_smoothness, checks.reference_smoothness),
    (checks.check_dead_channels, checks.reference_dead_channels),
    (checks.check_locality, checks.reference_locality),
]


def stub(*_):
    raise NotImplementedError  # your code here


@pytest.mark.parametrize(("check", "reference"), PAIRS)
def test_reference_passes_and_stub_waits(check, reference, capsys):
    check(reference)
    check(stub)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("passed: ") and lines[1] == NOT_ATTEMPTED


def convolution_by_loops(x, w, b, stride, padding):
    x = F.pad(x, (padding,) * 4)
    k = w.shape[-1]
    rows = (x.shape[1] - k) // stride + 1
    columns = (x.shape[2] - k) // stride + 1
    z = torch.zeros(len(w), rows, columns)
    for i in range(len(w)):
        for y in range(rows):
            for c in range(columns):
                window = x[:, y * stride : y * stride + k, c * stride : c * stride + k]
                z[i, y, c] = (window * w[i]).sum() + b[i]
    return z


def test_another_right_convolution_passes(capsys):
    checks.check_convolution(convolution_by_loops)
    assert "passed" in capsys.readouterr().out


def test_another_right_dead_detector_passes(capsys):
    def running(batches):
        highest = None
        for a in batches:
            top = a.amax((0, 2, 3))
            highest = top if highest is None else torch.maximum(highest, top)
        return highest <= 0

    checks.check_dead_channels(running)
    assert "passed" in capsys.readouterr().out


def list_of_batches_twice(batches):
    _ = [a for a in batches]
    return torch.stack([(a <= 0).all(3).all(2).all(0) for a in batches]).all(0)


def last_batch(batches):
    for a in batches:
        mask = (a <= 0).all(3).all(2).all(0)
    return mask


def agreement(a, b):
    return 1 - (a - b).square().sum((1, 2, 3)) / (a.square() + b.square()).sum((1, 2, 3))


def from_the_middle(m):
    y, x = torch.meshgrid(*(torch.arange(n) - (n - 1) / 2 for n in m.shape), indexing="ij")
    return 1 - (m * (x**2 + y**2)).sum() / m.sum() / ((m.shape[0] ** 2 + m.shape[1] ** 2 - 2) / 12)


WRONG = [
    (checks.check_convolution, lambda x, w, b, s, p: F.conv2d(x[None], w.flip(2, 3), b, s, p)[0], "flipped"),
    (checks.check_convolution, lambda x, w, b, s, p: F.conv2d(x[None], w, None, s, p)[0], "bias is missing"),
    (checks.check_convolution, lambda x, w, b, s, p: F.conv2d(x[None], w, b, s, 0)[0], "axis 1 has"),
    (checks.check_convolution, lambda x, w, b, s, p: F.conv2d(x[None], w, b, s, p), "axes of length 1"),
    (checks.check_smoothness, lambda w: agreement(w[..., :-1], w[..., 1:]), "r = 1"),
    (checks.check_smoothness, lambda w: (agreement(w[..., 1:], w[..., :-1])
                                         + agreement(w[..., 1:, :], w[..., :-1, :])) / 2, "averaged the two"),
    (checks.check_smoothness, lambda w: torch.maximum(agreement(w, w.roll(-1, 3)),
                                                       agreement(w, w.roll(-1, 2))), "wraps around"),
    (checks.check_dead_channels, list_of_batches_twice, "more than once"),
    (checks.check_dead_channels, last_batch, "last batch only"),
    (checks.check_dead_channels, lambda bs: torch.cat(list(bs)).mean((0, 2, 3)) <= 0, "means"),
    (checks.check_dead_channels, lambda bs: (torch.cat(list(bs)) <= 0).all(3).all(2).any(0), "NO image"),
    (checks.check_locality, from_the_middle, "middle of the map"),
    (checks.check_locality, lambda m: 1 - checks.reference_locality(m), "1 minus"),
    (checks.check_locality, lambda m: m.max() / m.sum(), "Divide the map"),
]  # fmt: skip


@pytest.mark.parametrize(("check", "wrong", "lesson"), WRONG)
def test_wrong_answers_are_told_why(check, wrong, lesson):
    with pytest.raises(WrongAnswer, match=lesson):
        check(wrong)
