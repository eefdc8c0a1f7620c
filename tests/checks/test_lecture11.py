"""Every check of lecture 11 accepts the reference, waits for stubs, and tells wrong answers apart."""

import pytest
import scipy.stats
import torch

from cnnvis_helpers import correspondence as cor
from cnnvis_helpers.checks import lecture11 as checks
from cnnvis_helpers.checks.core import NOT_ATTEMPTED, WrongAnswer

PAIRS = [
    (checks.check_match, checks.reference_match),
    (checks.check_pck, checks.reference_pck),
    (checks.check_guess, checks.reference_guess),
    (checks.check_wilson, checks.reference_wilson),
    (checks.check_change, checks.reference_change),
]


def stub(*_):
    raise NotImplementedError  # your code here


@pytest.mark.parametrize(("check", "reference"), PAIRS)
def test_reference_passes_and_stub_waits(check, reference, capsys):
    check(reference)
    check(stub)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("passed: ") and lines[1] == NOT_ATTEMPTED


def match_by_loops(query, features, first, stride):
    best, place = -2.0, None
    for row in range(features.shape[1]):
        for column in range(features.shape[2]):
            v = features[:, row, column]
            cosine = float(query @ v / query.norm() / v.norm())
            if cosine > best:
                best, place = cosine, (first[1] + column * stride[1], first[0] + row * stride[0])
    return torch.tensor(place)


def pck_by_loops(found, targets, radius, pair):
    shares = []
    for p in sorted(set(pair.tolist())):
        mine = [k for k in range(len(pair)) if pair[k] == p]
        near = [any((found[k] - t).pow(2).sum().sqrt() <= radius[k] for t in targets[k]) for k in mine]
        shares.append(sum(near) / len(near))
    return torch.tensor(sum(shares) / len(shares))


def wilson_of_scipy(right, asked, z):
    level = 1 - 2 * scipy.stats.norm.sf(z)
    return torch.tensor(scipy.stats.binomtest(right, asked).proportion_ci(level, method="wilson"))


def change_by_counts(before, after, draws):
    lost, gained = (before & ~after).double(), (after & ~before).double()
    means = (gained[draws].sum(1) - lost[draws].sum(1)) / len(before)
    low, high = (torch.quantile(means, q) for q in (0.025, 0.975))
    return torch.stack([(gained.sum() - lost.sum()) / len(before), low, high])


@pytest.mark.parametrize(
    ("check", "another"),
    [
        (checks.check_match, match_by_loops),
        (checks.check_pck, pck_by_loops),
        (checks.check_pck, lambda f, t, r, p: float(pck_by_loops(f, t, r, p))),
        (checks.check_guess, lambda: {"eye": 0, "wheel": 1, "tail tip": 0.25}),
        (checks.check_wilson, wilson_of_scipy),
        (checks.check_change, change_by_counts),
    ],
)
def test_another_right_answer_passes(check, another, capsys):
    check(another)
    assert "passed" in capsys.readouterr().out


def test_the_reference_is_the_modules():
    found = torch.tensor([[10.0, 10], [30, 30], [50, 53]])
    targets = torch.tensor([[[12.0, 10]], [[36, 30]], [[50, 50]]])
    radius, pair = torch.tensor([4.0, 4, 3.5]), torch.tensor([0, 0, 1])
    boxes = torch.zeros(2, 2, 4)
    task = cor.Task(torch.tensor([[0, 1], [2, 3]]), pair, ("a",) * 3, found, targets, boxes, radius)
    expected = cor.pck(task, cor.right(task, found)).mean
    assert float(checks.reference_pck(found, targets, radius, pair)) == pytest.approx(expected) == 0.75


def test_a_prediction_stands_beside_the_measurement():
    assert checks.predicted(checks.reference_guess, "eye") == "you said 50%"
    for none in (stub, lambda: None, lambda: {"wheel": 0.3}, lambda: {"eye": "much"}):
        assert checks.predicted(none, "eye") == "you made no prediction"


def dot(query, features, first, stride):
    row, column = divmod(int((query[:, None, None] * features).sum(0).argmax()), features.shape[2])
    return torch.tensor([first[1] + stride[1] * column, first[0] + stride[0] * row])


def textbook(right, asked, z):
    p = right / asked
    half = z * (p * (1 - p) / asked) ** 0.5
    return torch.tensor([p - half, p + half])


WRONG = [
    (checks.check_match, dot, "loud everywhere"),
    (checks.check_match, lambda q, f, a, s: checks.reference_match(q, f, a, s).flip(0), "exchanged"),
    (checks.check_match, lambda q, f, a, s: checks.reference_match(q, f, (0.0, 0.0), s), "first unit"),
    (checks.check_match, lambda q, f, a, s: checks.reference_match(q, f, (0.0, 0.0), (1.0, 1.0)), "number of the unit"),
    (checks.check_match, lambda q, f, a, s: checks.reference_match(-q, f, a, s), "LEAST"),
    (checks.check_pck, lambda f, t, r, p: checks.reference_pck(f, t, r, torch.zeros_like(p)), "each pair"),
    (checks.check_pck, lambda f, t, r, p: checks.reference_pck(f, t[:, :1], r, p), "either is right"),
    (checks.check_pck, lambda f, t, r, p: 1 - checks.reference_pck(f, t, r, p), "wrong ones"),
    (checks.check_guess, lambda: {"eye": 50, "wheel": 70, "tail tip": 30}, "percentage"),
    (checks.check_guess, lambda: [0.5, 0.7, 0.3], "dictionary"),
    (checks.check_guess, lambda: {"eye": 0.5, "wheel": 0.3}, "dictionary"),
    (checks.check_guess, lambda: {"eye": "half", "wheel": 0.3, "tail tip": 0.1}, "is a number"),
    (checks.check_guess, lambda: {"eye": -0.5, "wheel": 0.3, "tail tip": 0.1}, "between 0 and 1"),
    (checks.check_wilson, textbook, "textbook"),
    (checks.check_wilson, lambda k, n, z: textbook(k, n, z).clamp(0, 1), "cut at 0 and 1"),
    (checks.check_wilson, lambda k, n, z: 100 * checks.reference_wilson(k, n, z), "percent"),
    (checks.check_wilson, lambda k, n, z: checks.reference_wilson(k, n), "did not use z"),
    (checks.check_change, lambda b, a, d: checks.reference_change(a, b, d), "sign"),
    (checks.check_change, lambda b, a, d: (a.double() - b.double()).mean().expand(3), "2.5 %"),
]  # fmt: skip


@pytest.mark.parametrize(("check", "wrong", "lesson"), WRONG)
def test_wrong_answers_are_told_why(check, wrong, lesson):
    with pytest.raises(WrongAnswer, match=lesson):
        check(wrong)


def test_scenes_drawn_separately_are_told_from_pairs():
    def unpaired(before, after, draws):
        means = after.double()[draws].mean(1) - before.double()[draws.flip(0)].mean(1)
        low, high = (means.quantile(q) for q in (0.025, 0.975))
        return torch.stack([(after.double() - before.double()).mean(), low, high])

    with pytest.raises(WrongAnswer, match="separately"):
        checks.check_change(unpaired)
