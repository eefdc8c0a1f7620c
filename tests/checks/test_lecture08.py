"""Every check of lecture 08 accepts the reference, waits for stubs, and tells wrong answers apart."""

import numpy as np
import pandas as pd
import pytest
import torch

from cnnvis_helpers import memorisation
from cnnvis_helpers.checks import lecture08 as checks
from cnnvis_helpers.checks.core import NOT_ATTEMPTED, WrongAnswer

PAIRS = [
    (checks.check_corrupt, checks.reference_corrupt),
    (checks.check_langevin_step, checks.reference_langevin_step),
    (checks.check_critical_ratio, checks.reference_critical_ratio),
    (checks.check_stop_at, checks.reference_stop_at),
]


@pytest.fixture
def table(monkeypatch):
    """A table in which the settings of the prediction know 80, 60, 40 and 20 % by heart."""
    lines = []
    for share, (changed, seed) in zip(
        (0.8, 0.8, 0.6, 0.6, 0.4, 0.4, 0.2, 0.2),
        [(changed, seed) for changed in checks.SETTINGS.values() for seed in (0, 1)],
        strict=True,
    ):
        setting = {"width": 16, "dropout": 0.0, "weight_decay": 0.0, "shift": 0, "critical": 0.0, **changed}
        for number, wrong in ((checks.EPOCH, share + 0.1 * seed - 0.05), (checks.EPOCH + 1, 1.0)):
            lines.append({**setting, "share": 0.4, "seed": seed, "number": number, "wrong": wrong})
            lines.append({**setting, "share": 1.0, "seed": seed, "number": number, "wrong": 0.0})
    made = pd.DataFrame(lines)
    monkeypatch.setattr(memorisation, "stored", lambda: made)
    return made


def stub(*_):
    raise NotImplementedError  # your code here


@pytest.mark.parametrize(("check", "reference"), PAIRS)
def test_reference_passes_and_stub_waits(check, reference, capsys):
    check(reference)
    check(stub)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("passed: ") and lines[1:] == [NOT_ATTEMPTED]


def corrupt_by_loops(labels, order, drawn, share):
    result = labels.tolist()
    for image in order.tolist()[: round(share * len(result))]:
        result[image] = int(drawn[image])
    return torch.tensor(result)


def stop_backwards(validation, patience):
    for stop in range(1, len(validation) + 1):
        seen = np.array(validation[:stop])
        best = int(seen.argmax())
        if stop - 1 - best >= patience or stop == len(validation):
            return best + 1


@pytest.mark.parametrize(
    ("check", "another"),
    [
        (checks.check_corrupt, corrupt_by_loops),
        (
            checks.check_langevin_step,
            lambda c, x, g, n, r: (x + (c - x + r / 4 * torch.sign(g) + r / 8 * n).clamp(-r, r)).clamp(0, 1),
        ),
        (checks.check_critical_ratio, lambda s, n, y: 1 - (s == n).double().mean()),
        (
            checks.check_critical_ratio,
            lambda s, n, y: sum(a != b for a, b in zip(s, n, strict=True)) / len(s),
        ),
        (checks.check_stop_at, stop_backwards),
    ],
)
def test_another_right_answer_passes(check, another, capsys):
    check(another)
    assert "passed" in capsys.readouterr().out


def in_place(labels, order, drawn, share):
    chosen = order[: round(share * len(labels))]
    labels[chosen] = drawn[chosen]
    return labels


def never_right(labels, order, drawn, share):
    result = checks.reference_corrupt(labels, order, drawn, share)
    chosen = order[: round(share * len(labels))]
    same = chosen[result[chosen] == labels[chosen]]
    result[same] = (labels[same] + 1) % (int(torch.cat([labels, drawn]).max()) + 1)
    return result


def boxed(move):
    return lambda c, x, g, n, r: torch.minimum(torch.maximum(c + move(g, n, r), x - r), x + r).clamp(0, 1)


def move(g, n, r):
    return r * (g.sign() / 4 + n / 8)


def first_ones(y, o, d, s):
    count = round(s * len(y))
    return torch.cat([d[:count], y[count:]])


WRONG = [
    (checks.check_corrupt, never_right, "right by chance"),
    (checks.check_corrupt, in_place, "changes its argument 1"),
    (checks.check_corrupt, lambda y, o, d, s: d.clone(), "only a share"),
    (checks.check_corrupt, first_ones, "may be sorted"),
    (checks.check_corrupt, lambda y, o, d, s: y.clone(), "Nothing is changed"),
    (checks.check_langevin_step, boxed(lambda g, n, r: r * (n / 8 - g.sign() / 4)), "RISE"),
    (checks.check_langevin_step, boxed(lambda g, n, r: r * (g / 4 + n / 8)), "Take the sign"),
    (checks.check_langevin_step, boxed(lambda g, n, r: r * g.sign() / 4), "left out the noise"),
    (checks.check_langevin_step, boxed(lambda g, n, r: r * g.sign() / 4 + n / 8), "by the radius too"),
    (checks.check_langevin_step, lambda c, x, g, n, r: c + move(g, n, r), "Nothing holds"),
    (checks.check_langevin_step, lambda c, x, g, n, r: (c + move(g, n, r)).clamp(0, 1), "held the colours only"),
    (checks.check_langevin_step, lambda c, x, g, n, r: x + (c + move(g, n, r) - x).clamp(-r, r), "Colours left"),
    (checks.check_langevin_step, lambda c, x, g, n, r: (c + move(g, n, r).clamp(-r, r)).clamp(0, 1), "or projected"),
    (checks.check_critical_ratio, lambda s, n, y: (n != y).float().mean(), "error under attack"),
    (checks.check_critical_ratio, lambda s, n, y: (s != n)[s == y].float().mean(), "counted only images"),
    (checks.check_critical_ratio, lambda s, n, y: (s == n).float().mean(), "NOT critical"),
    (checks.check_critical_ratio, lambda s, n, y: (s != n).sum().float(), "is a share of all"),
    (checks.check_stop_at, lambda v, p: int(np.argmax(v)) + 1, "whole curve"),
    (checks.check_stop_at, lambda v, p: checks.reference_stop_at(v, p) - 1, "count epochs from 0"),
    (checks.check_stop_at, lambda v, p: min(checks.reference_stop_at(v, p) + p, len(v)), "at which training stops"),
    (checks.check_stop_at, lambda v, p: checks.reference_stop_at(v, p + 1), "one epoch too late"),
]  # fmt: skip


@pytest.mark.parametrize(("check", "wrong", "lesson"), WRONG)
def test_wrong_answers_are_told_why(check, wrong, lesson):
    with pytest.raises(WrongAnswer, match=lesson):
        check(wrong)


# --- the references are what the module does ---


def test_the_corruption_is_that_of_the_module():
    generator = torch.Generator().manual_seed(5)
    truth = torch.arange(100) % 4
    images = torch.zeros(100, 3, 2, 2)
    problem = memorisation.Problem(images, truth, truth, images, truth, images, truth, ("a", "b", "c", "d"))
    order, drawn = (
        torch.randperm(100, generator=generator),
        torch.randint(4, (100,), generator=generator),
    )
    for share in (0.0, 0.4, 1.0):
        told = memorisation.relabelled(problem, share, seed=5).labels
        assert torch.equal(told, checks.reference_corrupt(truth, order, drawn, share))


def test_three_steps_are_the_search_and_its_ratio_is_that_of_the_module():
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(48, 2))
    with torch.no_grad():
        model[1].weight.copy_(torch.randn(2, 48, generator=torch.Generator().manual_seed(0)))
    x = torch.rand(30, 3, 4, 4, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        said = model(x).argmax(1)
    weights = model[1].weight.detach()
    slope = (weights[1 - said] - weights[said]).view_as(x)  # of z_other − z_own, the same everywhere
    generator, now = torch.Generator().manual_seed(7), x
    for _ in range(3):
        noise = torch.randn(x.shape, generator=generator)
        stepped = checks.reference_langevin_step(now, x, slope, noise, 0.05)
        with torch.no_grad():
            arrived = model(now).argmax(1) != said
        now = torch.where(arrived[:, None, None, None], now, stepped)
    found = memorisation.critical_samples(
        model, x, 0.05, normalise=lambda v: v, steps=3, generator=torch.Generator().manual_seed(7)
    )
    torch.testing.assert_close(now, found.images)
    with torch.no_grad():
        near = model(now).argmax(1)
    assert 0 < found.mask.sum() < 30
    assert checks.reference_critical_ratio(said, near, said) == found.mask.float().mean()


# --- the prediction ---


def test_a_prediction_is_compared_pair_by_pair(table, capsys):
    order = list(checks.SETTINGS)
    assert checks.reference_order() == order
    assert checks.by_heart() == pytest.approx(dict(zip(order, (0.8, 0.6, 0.4, 0.2), strict=True)))
    for answer, right in ((order, 6), (order[::-1], 0), ([order[1], order[0], *order[2:]], 5)):
        checks.check_order(lambda answer=answer: answer)
        said = capsys.readouterr().out.splitlines()
        assert said[0] == "passed: you have committed yourself"
        assert said[1].endswith(f"; {right} of your 6 pairs stand in this order")
        assert "plain 80%" in said[1]
    checks.check_order(stub)
    assert capsys.readouterr().out == NOT_ATTEMPTED + "\n"


@pytest.mark.parametrize(
    ("answer", "lesson"),
    [
        (["plain", "width 4"], "do not say where 'dropout 0.75'"),
        (["plain", "width 4", "plain", "dropout 0.75"], "'plain' twice"),
        (["plain", "width 5"], "'width 5' is none"),
        ("plain", "list of names"),
    ],
)
def test_what_is_no_prediction_is_said(table, answer, lesson):
    with pytest.raises(WrongAnswer, match=lesson):
        checks.check_order(lambda: answer)


@pytest.mark.skipif(not memorisation.TABLE.exists(), reason="the table is not made yet")
def test_the_table_has_every_setting_of_the_prediction():
    measured = checks.by_heart()
    assert set(measured) == set(checks.SETTINGS) and all(0 <= value <= 1 for value in measured.values())
    assert len(set(checks.reference_order())) == len(checks.SETTINGS)
