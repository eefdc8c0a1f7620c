"""Every check of lecture 04 accepts the reference, waits for stubs, and tells wrong answers apart."""

import pytest
import torch
from torch.nn import functional as F

from cnnvis_helpers.checks import lecture04 as checks
from cnnvis_helpers.checks.core import NOT_ATTEMPTED, WrongAnswer

PAIRS = [
    (checks.check_relu_back, checks.reference_relu_back),
    (checks.check_unpool, checks.reference_unpool),
    (checks.check_guided, checks.reference_guided),
    (checks.check_class_blind, checks.reference_class_blind),
]


def stub(*_):
    raise NotImplementedError  # your code here


@pytest.mark.parametrize(("check", "reference"), PAIRS)
def test_reference_passes_and_stub_waits(check, reference, capsys):
    check(reference)
    check(stub)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("passed: ") and lines[1] == NOT_ATTEMPTED


def relu_back_by_where(z, g, rule):
    keep = {"gradient": z > 0, "deconvnet": g > 0, "guided": (z > 0) & (g > 0)}[rule]
    return torch.where(keep, g, 0.0)


def unpool_by_loops(values, switches, size):
    out = torch.zeros(len(values), *size)
    for c in range(values.shape[0]):
        for row in range(values.shape[1]):
            for column in range(values.shape[2]):
                place = int(switches[c, row, column])
                out[c, place // size[1], place % size[1]] = values[c, row, column]
    return out


class Guided(torch.autograd.Function):
    @staticmethod
    def forward(ctx, z):
        ctx.save_for_backward(z)
        return z.clamp(min=0)

    @staticmethod
    def backward(ctx, g):
        (z,) = ctx.saved_tensors
        return g.clamp(min=0) * (z > 0)


def guided_by_autograd(weights, x, c):
    x = x.clone().requires_grad_()
    y = x
    for w in weights[:-1]:
        y = Guided.apply(w @ y)
    return torch.autograd.grad((weights[-1] @ y)[c], x)[0]


def blind_by_loops(maps):
    pairs = [(a, b) for a in range(len(maps)) for b in range(a)]
    found = [F.cosine_similarity(maps[a].flatten(), maps[b].flatten(), dim=0) for a, b in pairs]
    return torch.stack(found).mean()


@pytest.mark.parametrize(
    ("check", "another"),
    [
        (checks.check_relu_back, relu_back_by_where),
        (checks.check_unpool, unpool_by_loops),
        (checks.check_guided, guided_by_autograd),
        (checks.check_class_blind, blind_by_loops),
    ],
)
def test_another_right_answer_passes(check, another, capsys):
    check(another)
    assert "passed" in capsys.readouterr().out


def test_references_by_hand():
    z, g = torch.tensor([3.0, -1, 2, -2]), torch.tensor([2.0, 1, -1, -3])
    assert checks.reference_relu_back(z, g, "gradient").tolist() == [2, 0, -1, 0]
    assert checks.reference_relu_back(z, g, "deconvnet").tolist() == [2, 1, 0, 0]
    assert checks.reference_relu_back(z, g, "guided").tolist() == [2, 0, 0, 0]
    w = [torch.tensor([[1.0, 1], [1, -1], [0, 1], [-2, 0]]), torch.tensor([[2.0, 1, -1, -3]])]
    assert checks.reference_guided(w, torch.tensor([1.0, 2.0]), 0).tolist() == [2, 2]
    out = checks.reference_unpool(torch.tensor([[[0.7, 0.2]]]), torch.tensor([[[2, 2]]]), (1, 5))
    assert out[0, 0].tolist() == pytest.approx([0, 0, 0.2, 0, 0])
    maps = torch.tensor([[1.0, 0], [0, 1], [1, 1]]).view(3, 1, 1, 2)
    assert float(checks.reference_class_blind(maps)) == pytest.approx(2 * 0.5**0.5 / 3)


def gradient_only(z, g, rule):
    return g * (z > 0)


def summing(values, switches, size):
    out = torch.zeros(len(values), size[0] * size[1])
    return out.scatter_add(1, switches.flatten(1), values.flatten(1)).view(-1, *size)


def one_set_of_switches(values, switches, size):
    return checks.reference_unpool(values, switches[:1].expand_as(switches), size)


def changing(values, switches, size):
    result = checks.reference_unpool(values, switches, size)
    values.zero_()
    return result


def plain_gradient(weights, x, c):
    x = x.clone().requires_grad_()
    y = x
    for w in weights[:-1]:
        y = (w @ y).relu()
    return torch.autograd.grad((weights[-1] @ y)[c], x)[0]


def products(maps):
    flat = maps.flatten(1)
    table = flat @ flat.T
    return (table.sum() - table.trace()) / (len(maps) * (len(maps) - 1))


def normalised(maps):
    return F.normalize(maps.flatten(1), dim=1)


WRONG = [
    (checks.check_relu_back, gradient_only, "That is the gradient"),
    (checks.check_relu_back, lambda z, g, rule: g.relu(), "deconvnet at g|You exchanged"),
    (checks.check_relu_back,
     lambda z, g, rule: g.relu() * (z > 0) if rule != "gradient" else g * (z >= 0), "exactly 0"),
    (checks.check_relu_back, lambda z, g, rule: g * (z > 0) if rule == "gradient" else g.abs(), "absolute value"),
    (checks.check_relu_back,
     lambda z, g, rule: checks.reference_relu_back(z, g, "deconvnet" if rule == "guided" else rule), "ReLU was on"),
    (checks.check_unpool, summing, "as the gradient does"),
    (checks.check_unpool, one_set_of_switches, "channel 0"),
    (checks.check_unpool, lambda v, s, size: checks.reference_unpool(v.relu(), s, size), "dropped negative"),
    (checks.check_unpool, lambda v, s, size: F.interpolate(v[None], size)[0], "spread each value"),
    (checks.check_unpool, changing, "changes its argument 1"),
    (checks.check_guided, plain_gradient, "That is the gradient"),
    (checks.check_guided, lambda w, x, c: guided_by_autograd(w, x, c).relu(), "no ReLU at the input"),
    (checks.check_guided, lambda w, x, c: guided_by_autograd(w, x, c) * 2, "keep the input z"),
    (checks.check_class_blind, products, "dividing by the lengths"),
    (checks.check_class_blind, lambda m: (normalised(m) @ normalised(m).T).mean(), "with itself"),
    (checks.check_class_blind, lambda m: blind_by_loops(m.abs()), "absolute values"),
    (checks.check_class_blind, lambda m: blind_by_loops(m - m.mean((1, 2, 3), keepdim=True)), "correlation"),
    (checks.check_class_blind, lambda m: (normalised(m) @ normalised(m).T)[0, 1:].mean(), "all pairs"),
]  # fmt: skip


@pytest.mark.parametrize(("check", "wrong", "lesson"), WRONG)
def test_wrong_answers_are_told_why(check, wrong, lesson):
    with pytest.raises(WrongAnswer, match=lesson):
        check(wrong)
