"""Every check of lecture 05 accepts the reference, waits for stubs, and tells wrong answers apart."""

import pytest
import torch

from cnnvis_helpers import dreams, inversion, objectives
from cnnvis_helpers.checks import lecture05 as checks
from cnnvis_helpers.checks.core import NOT_ATTEMPTED, WrongAnswer
from cnnvis_helpers.image_params import Yosinski

PAIRS = [
    (checks.check_code_error, checks.reference_code_error),
    (checks.check_total_variation, checks.reference_total_variation),
    (checks.check_clip_contribution, checks.reference_clip_contribution),
    (checks.check_dream_step, checks.reference_dream_step),
]


def stub(*_):
    raise NotImplementedError  # your code here


@pytest.mark.parametrize(("check", "reference"), PAIRS)
def test_reference_passes_and_stub_waits(check, reference, capsys):
    check(reference)
    check(stub)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("passed: ") and lines[1] == NOT_ATTEMPTED


def code_error_by_loops(codes, wanted):
    return torch.stack([(c - w).norm() ** 2 / w.norm() ** 2 for c, w in zip(codes, wanted, strict=True)])


def variation_by_diff(images):
    return sum(images.diff(dim=axis).pow(2).flatten(1).mean(1) for axis in (2, 3))


def clip_by_the_helper(x, gradient, percentile):
    return Yosinski(contribution=percentile)(x[None], gradient[None], 1)[0]


def dream_by_circular_slices(gradient, picture, down, right, rate):
    height, width = picture.shape[1:]
    rows, columns = (torch.arange(height) - down) % height, (torch.arange(width) - right) % width
    g = gradient(picture[:, rows][:, :, columns])
    g = g[:, (torch.arange(height) + down) % height][:, :, (torch.arange(width) + right) % width]
    return torch.clamp(picture + rate * g / g.abs().mean(), min=0, max=1)


@pytest.mark.parametrize(
    ("check", "another"),
    [
        (checks.check_code_error, code_error_by_loops),
        (checks.check_code_error, inversion.code_error),
        (checks.check_total_variation, variation_by_diff),
        (checks.check_total_variation, objectives.total_variation),
        (checks.check_clip_contribution, clip_by_the_helper),
        (checks.check_dream_step, dream_by_circular_slices),
    ],
)
def test_another_right_answer_passes(check, another, capsys):
    check(another)
    assert "passed" in capsys.readouterr().out


def test_the_exercise_step_is_that_of_a_dream():
    """One octave, one step, no blur and no shift: `dreams.dream` and the exercise agree."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU())
    picture = torch.rand(3, 12, 12)

    def gradient(x):
        x = x[None].clone().requires_grad_()
        return torch.autograd.grad(dreams.excitement(model(x)).sum(), x)[0][0]

    settings = {"octaves": 1, "steps": 1, "rate": 0.02, "blur": 0.0, "jitter": 0}
    dreamt = dreams.dream(model, "1", picture[None], normalise=lambda x: x, **settings)[0]
    torch.testing.assert_close(checks.reference_dream_step(gradient, picture, 0, 0, 0.02), dreamt)


def in_place(images):
    result = checks.reference_total_variation(images)
    images -= images.mean()
    return result


def rolled(x, d, r):
    return x.roll((d, r), (1, 2))


WRONG = [
    (checks.check_code_error, lambda a, b: (a - b).flatten(1).square().sum(1), "did not divide"),
    (checks.check_code_error, lambda a, b: (a - b).flatten(1).norm(dim=1) / b.flatten(1).norm(dim=1), "square root"),
    (checks.check_code_error, lambda a, b: (a - b).square().sum() / b.square().sum(), "added the images up"),
    (checks.check_code_error, lambda a, b: ((a - b) / b).flatten(1).square().mean(1), "Sum first"),
    (checks.check_code_error, lambda a, b: checks.reference_code_error(b, a), "wrong code"),
    (checks.check_total_variation,
     lambda x: (x[:, 1:] - x[:, :-1]).square().mean((1, 2, 3)) + (x[:, :, 1:] - x[:, :, :-1]).square().mean((1, 2, 3)),
     "COLOURS"),
    (checks.check_total_variation, lambda x: sum(x.diff(dim=a).abs().flatten(1).mean(1) for a in (2, 3)), "squared"),
    (checks.check_total_variation, lambda x: sum(x.diff(dim=a).square().flatten(1).sum(1) for a in (2, 3)),
     "take means"),
    (checks.check_total_variation, lambda x: x.diff(dim=2).square().flatten(1).mean(1), "across"),
    (checks.check_total_variation, lambda x: sum(x.diff(dim=a).square().mean() for a in (2, 3)), "its own"),
    (checks.check_total_variation, in_place, "changes its argument 1"),
    (checks.check_clip_contribution,
     lambda x, g, p: x * ((x * g).abs().sum(0) >= (x * g).abs().sum(0).quantile(p / 100)), "before the sum"),
    (checks.check_clip_contribution,
     lambda x, g, p: x * (x.norm(dim=0) >= x.norm(dim=0).quantile(p / 100)), "clips small pixels"),
    (checks.check_clip_contribution,
     lambda x, g, p: x * ((x * g).sum(0).abs() < (x * g).sum(0).abs().quantile(p / 100)), "MOST"),
    (checks.check_clip_contribution,
     lambda x, g, p: x * ((x * g).abs() >= (x * g).abs().quantile(p / 100)), "each colour"),
    (checks.check_dream_step,
     lambda f, x, d, r, a: (x + a * f(rolled(x, d, r)) / f(rolled(x, d, r)).abs().mean()).clamp(0, 1), "shift it back"),
    (checks.check_dream_step,
     lambda f, x, d, r, a: (x + a * rolled(f(rolled(x, d, r)), -d, -r)).clamp(0, 1), "not normalised"),
    (checks.check_dream_step, lambda f, x, d, r, a: checks.reference_dream_step(f, x, r, d, a), "exchanged"),
    (checks.check_dream_step, lambda f, x, d, r, a: checks.reference_dream_step(f, x, d, r, -a), "downhill"),
]  # fmt: skip


@pytest.mark.parametrize(("check", "wrong", "lesson"), WRONG)
def test_wrong_answers_are_told_why(check, wrong, lesson):
    with pytest.raises(WrongAnswer, match=lesson):
        check(wrong)
