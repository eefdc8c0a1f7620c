"""Every check of lecture 07 accepts the reference, waits for stubs, and tells wrong answers apart."""

import pytest
import torch

from cnnvis_helpers.checks import lecture07 as checks
from cnnvis_helpers.checks.core import NOT_ATTEMPTED, WrongAnswer

PAIRS = [
    (checks.check_thresholds, checks.reference_thresholds),
    (checks.check_ious, checks.reference_ious),
    (checks.check_chance, checks.reference_chance),
    (checks.check_counts, checks.reference_counts),
]


def stub(*_):
    raise NotImplementedError  # your code here


@pytest.mark.parametrize(("check", "reference"), PAIRS)
def test_reference_passes_and_stub_waits(check, reference, capsys):
    check(reference)
    check(stub)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("passed: ") and lines[1] == NOT_ATTEMPTED


def thresholds_by_topk(a, share):
    return torch.stack(
        [a[:, c].flatten().topk(int(share * a[:, c].numel()) + 1).values[-1] for c in range(a.shape[1])]
    )


def ious_by_loops(masks, shown):
    both = either = 0
    ratios = []
    for m, s in zip(masks, shown, strict=True):
        inside, outside = float((m & s).sum()), float((m | s).sum())
        both, either = both + inside, either + outside
        ratios += [inside / outside] if outside else []
    return both / either, sum(ratios) / len(ratios)


def chance_by_loops(masks, shown, orders):
    result = []
    for order in orders.tolist():
        ious = []
        for k in range(shown.shape[1]):
            both = sum(int((masks[i] & shown[order[i], k]).sum()) for i in range(len(masks)))
            either = sum(int((masks[i] | shown[order[i], k]).sum()) for i in range(len(masks)))
            ious.append(both / either)
        result.append(max(ious))
    return torch.tensor(result)


def counts_by_set(iou, above):
    best = [int(row.argmax()) for row in iou if row.max() > above]
    return len(best), len(set(best))


@pytest.mark.parametrize(
    ("check", "another"),
    [
        (checks.check_thresholds, thresholds_by_topk),
        (checks.check_ious, ious_by_loops),
        (checks.check_chance, chance_by_loops),
        (checks.check_counts, counts_by_set),
    ],
)
def test_another_right_answer_passes(check, another, capsys):
    check(another)
    assert "passed" in capsys.readouterr().out


def one_for_all(a, share):
    return a.flatten().sort(descending=True).values[int(share * a.numel())].expand(a.shape[1])


def of_the_largest(a, share):
    return a.amax((2, 3)).sort(0, descending=True).values[int(share * len(a))]


def from_below(a, share):
    return a.transpose(0, 1).flatten(1).sort().values[:, int(share * a[:, 0].numel())]


def ious(masks, shown, empty):
    both, either = (masks & shown).flatten(1).sum(1), (masks | shown).flatten(1).sum(1)
    return both.sum() / either.sum(), empty(both / either, either)


def dataset_twice(masks, shown):
    one, _ = checks.reference_ious(masks, shown)
    return one, one


def precision(masks, shown):
    return (masks & shown).sum() / masks.sum(), checks.reference_ious(masks, shown)[1]


def own_concept_only(masks, shown, orders):
    k = checks._ious(masks, shown).argmax()
    return torch.stack([checks._ious(masks, shown[order])[k] for order in orders])


WRONG = [
    (checks.check_thresholds, one_for_all, "each unit has its own"),
    (checks.check_thresholds, of_the_largest, "all places"),
    (checks.check_thresholds, lambda a, s: (1 - s) * a.amax((0, 2, 3)), "share of the largest"),
    (checks.check_thresholds, from_below, "LOWER"),
    (checks.check_thresholds, lambda a, s: a.flatten(2).sort(2).values[..., -1], "has shape"),
    (checks.check_ious, lambda m, s: checks.reference_ious(m, s)[0], "two numbers"),
    (checks.check_ious, lambda m, s: checks.reference_ious(m, s)[::-1], "mean of the images"),
    (checks.check_ious, lambda m, s: ious(m, s, lambda r, e: r.mean()), "0/0"),
    (checks.check_ious, lambda m, s: ious(m, s, lambda r, e: r.nan_to_num(0).mean()), "leave them out"),
    (checks.check_ious, dataset_twice, "once more"),
    (checks.check_ious, precision, "precision"),
    (checks.check_chance, own_concept_only, "chosen anew"),
    (checks.check_chance, lambda m, s, o: torch.stack([checks._ious(m, s).max() for _ in o]), "exchanged nothing"),
    (checks.check_chance, lambda m, s, o: chance_by_loops(m, s, o).mean(), "has shape"),
    (checks.check_chance, lambda m, s, o: torch.stack([checks._ious(m, s[p]).mean() for p in o]), "take the largest"),
    (checks.check_counts, lambda iou, a: (int((iou > a).sum()), 2), "pairs of unit and concept"),
    (checks.check_counts, lambda iou, a: (counts_by_set(iou, a)[0],) * 2, "several may share"),
    (checks.check_counts, lambda iou, a: (counts_by_set(iou, a)[0], int((iou > a).any(0).sum())), "BEST concept"),
    (checks.check_counts, lambda iou, a: counts_by_set(iou, a)[0], "two whole numbers"),
]  # fmt: skip


@pytest.mark.parametrize(("check", "wrong", "lesson"), WRONG)
def test_wrong_answers_are_told_why(check, wrong, lesson):
    with pytest.raises(WrongAnswer, match=lesson):
        check(wrong)
