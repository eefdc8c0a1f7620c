"""Every check of lecture 09 accepts the reference, waits for stubs, and tells wrong answers apart."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from cnnvis_helpers.checks import lecture09 as checks
from cnnvis_helpers.checks.core import NOT_ATTEMPTED, WrongAnswer
from cnnvis_helpers.generator import Decoder, ascent_steps, perceptual_loss
from cnnvis_helpers.hooks import activations
from cnnvis_helpers.objectives import logit

PAIRS = [
    (checks.check_best_guess, checks.reference_best_guess),
    (checks.check_feature_error, checks.reference_feature_error),
    (checks.check_climb, checks.reference_climb),
    (checks.check_expected, checks.reference_expected),
]


def stub(*_):
    raise NotImplementedError  # your code here


@pytest.mark.parametrize(("check", "reference"), PAIRS)
def test_reference_passes_and_stub_waits(check, reference, capsys):
    check(reference)
    check(stub)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("passed: ") and lines[1] == NOT_ATTEMPTED


def guess_by_loops(pictures, chances):
    guess = torch.zeros_like(pictures[0])
    for picture, p in zip(pictures, chances, strict=True):
        guess = guess + p * picture
    error = sum(float(p) * float(((x - guess) ** 2).mean()) for x, p in zip(pictures, chances, strict=True))
    return guess, error


def errors_by_loops(made, wanted):
    total = torch.zeros(len(made[0]))
    for a, b in zip(made, wanted, strict=True):
        for i in range(len(a)):
            total[i] += ((a[i] - b[i]) ** 2).sum() / (b[i] ** 2).sum()
    return total / len(made)


def climb_unit_by_unit(codes, gradient, length, decay, mean, std, sigmas):
    moved = (codes + length * F.normalize(gradient, dim=1)) * (1 - decay)
    return torch.minimum(torch.maximum(moved, torch.zeros(())), mean + sigmas * std)


@pytest.mark.parametrize(
    ("check", "another"),
    [
        (checks.check_best_guess, guess_by_loops),
        (checks.check_feature_error, errors_by_loops),
        (checks.check_climb, climb_unit_by_unit),
        (checks.check_expected, lambda: {"logit": "lower", "distance": "nearer"}),
    ],
)
def test_another_right_answer_passes(check, another, capsys):
    check(another)
    assert "passed" in capsys.readouterr().out


def test_the_best_guess_is_a_minimum():
    """No small change of the guess costs less, and any guess costs the error plus its squared distance."""
    generator = torch.Generator().manual_seed(0)
    pictures, chances = torch.rand(4, 3, 2, 2, generator=generator), torch.tensor([0.1, 0.2, 0.3, 0.4])
    guess, error = checks.reference_best_guess(pictures, chances)

    def cost(g):
        return (chances * (pictures - g).square().mean((1, 2, 3))).sum()

    for _ in range(20):
        other = guess + 0.05 * torch.randn(guess.shape, generator=generator)
        torch.testing.assert_close(cost(other), error + (other - guess).square().mean())
    torch.testing.assert_close(cost(guess), error)


def tiny_model():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv2d(3, 4, 3, stride=2),
            nn.ReLU(),
            nn.Conv2d(4, 5, 3),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(5 * 25, 3),
        ).eval()


def test_the_error_is_that_of_the_helper():
    model = tiny_model()
    x, y = (torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(k)) for k in (0, 1))
    layers = ["1", "3"]
    made, wanted = (list(activations(model, v, layers).values()) for v in (x, y))
    by_helper = perceptual_loss(model, x, y, normalise=lambda v: v, layers=layers, pixels=0.0)
    torch.testing.assert_close(checks.reference_feature_error(made, wanted), by_helper)


def test_the_step_is_that_of_the_helper():
    model, decoder = tiny_model(), Decoder(6, size=16, width=16, seed=1).eval()
    decoder.set_codes(torch.rand(30, 6, generator=torch.Generator().manual_seed(2)))
    start = decoder.mean[None] + 0.2
    first, second, _ = list(
        ascent_steps(
            decoder, model, logit([1]), normalise=lambda v: v, start=start, steps=2, rate=0.5, decay=0.1
        )
    )
    codes = first.codes.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(model(decoder(codes))[0, 1], codes)
    length = 0.5 * float(decoder.scale())
    mine = checks.reference_climb(first.codes, gradient, length, 0.1, decoder.mean, decoder.std, 3.0)
    # the length falls evenly: at step 0 it is whole
    torch.testing.assert_close(mine, second.codes, rtol=1e-4, atol=1e-5)


def unit(g):
    return g / g.norm(dim=1, keepdim=True)


def changes_codes(c, g, n, d, m, s, k):
    c += n * unit(g)
    return (c * (1 - d)).clamp(min=0).minimum(m + k * s)


WRONG = [
    (checks.check_best_guess, lambda x, p: (x.mean(0), x.var()), "weigh each picture"),
    (checks.check_best_guess, lambda x, p: (x[int(p.argmax())], x.var()), "most likely picture"),
    (checks.check_best_guess, lambda x, p: checks.reference_best_guess(x, p)[0], "Return two things"),
    (
        checks.check_best_guess,
        lambda x, p: (
            checks.reference_best_guess(x, p)[0],
            (p * (x - checks.reference_best_guess(x, p)[0]).square().sum((1, 2, 3))).sum(),
        ),
        "not the sum",
    ),
    (
        checks.check_best_guess,
        lambda x, p: (checks.reference_best_guess(x, p)[0], checks.reference_best_guess(x, p)[1].sqrt()),
        "square root",
    ),
    (
        checks.check_feature_error,
        lambda a, b: torch.stack(
            [(x - y).flatten(1).square().sum(1) for x, y in zip(a, b, strict=True)]
        ).mean(0),
        "by its own norm",
    ),
    (checks.check_feature_error, lambda a, b: checks.reference_feature_error(b, a), "WANTED"),
    (checks.check_feature_error, lambda a, b: len(a) * checks.reference_feature_error(a, b), "not the sum"),
    (
        checks.check_feature_error,
        lambda a, b: torch.stack(
            [(x - y).flatten(1).norm(dim=1) / y.flatten(1).norm(dim=1) for x, y in zip(a, b, strict=True)]
        ).mean(0),
        "Square",
    ),
    (checks.check_climb, lambda c, g, *rest: checks.reference_climb(c, -g, *rest), "MORE"),
    (
        checks.check_climb,
        lambda c, g, n, d, m, s, k: ((c + n * g) * (1 - d)).clamp(min=0).minimum(m + k * s),
        "by its length",
    ),
    (checks.check_climb, lambda c, g, n, d, m, s, k: ((c + n * unit(g)) * (1 - d)).clamp(min=0), "upper end"),
    (
        checks.check_climb,
        lambda c, g, n, d, m, s, k: ((c + n * unit(g)) * (1 - d)).minimum(m + k * s),
        "below 0",
    ),
    (checks.check_climb, lambda c, g, n, d, m, s, k: checks.reference_climb(c, g, n, 0.0, m, s, k), "decay"),
    (checks.check_climb, changes_codes, "changes its argument 1"),
    (checks.check_expected, lambda: {"logit": "up", "distance": "further"}, "choose one of 'higher'"),
    (checks.check_expected, lambda: "higher", "dictionary"),
]


@pytest.mark.parametrize(("check", "wrong", "lesson"), WRONG)
def test_wrong_answers_are_told_why(check, wrong, lesson):
    with pytest.raises(WrongAnswer, match=lesson):
        check(wrong)
