"""Every check of lecture 06 accepts the reference, waits for stubs, and tells wrong answers apart."""

import pytest
import torch

from cnnvis_helpers.adversarial import fgsm, pgd
from cnnvis_helpers.checks import lecture06 as checks
from cnnvis_helpers.checks.core import NOT_ATTEMPTED, WrongAnswer
from cnnvis_helpers.evolution import MapElites, operators

PAIRS = [
    (checks.check_fgsm_step, checks.reference_fgsm_step),
    (checks.check_project, checks.reference_project),
    (checks.check_roulette, checks.reference_roulette),
    (checks.check_replace, checks.reference_replace),
]


def stub(*_):
    raise NotImplementedError  # your code here


@pytest.mark.parametrize(("check", "reference"), PAIRS)
def test_reference_passes_and_stub_waits(check, reference, capsys):
    check(reference)
    check(stub)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("passed: ") and lines[1] == NOT_ATTEMPTED


def roulette_by_loops(fitness, turns):
    chosen = []
    for turn in turns.tolist():
        left, number = turn * float(fitness.double().sum()), 0
        while left >= float(fitness[number]):
            left -= float(fitness[number])
            number += 1
        chosen.append(number)
    return torch.tensor(chosen)


def replace_by_loops(fitness, scores):
    best, found = fitness.clone(), [-1] * len(fitness)
    for child, row in enumerate(scores):
        for c, value in enumerate(row):
            if value > best[c]:
                best[c], found[c] = value, child
    return torch.tensor(found)


@pytest.mark.parametrize(
    ("check", "another"),
    [
        (checks.check_fgsm_step, lambda x, g, e: torch.clip(x + e * torch.sign(g), 0, 1)),
        (checks.check_project, lambda c, x, e: (x + (c - x).clamp(-e, e)).clamp(0, 1)),
        (checks.check_roulette, roulette_by_loops),
        (
            checks.check_roulette,
            lambda f, t: ((f.double() / f.double().sum()).cumsum(0)[None] <= t.double()[:, None]).sum(1),
        ),
        (checks.check_replace, replace_by_loops),
    ],
)
def test_another_right_answer_passes(check, another, capsys):
    check(another)
    assert "passed" in capsys.readouterr().out


def plane(seed=0):
    """A model whose logits are linear in the image: its gradient is known."""
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 16, 4))
    with torch.no_grad():
        model[1].weight.copy_(torch.randn(4, 48, generator=torch.Generator().manual_seed(seed)))
    return model


def loss_gradient(model, x, labels):
    x = x.clone().requires_grad_()
    return torch.autograd.grad(torch.nn.functional.cross_entropy(model(x), labels, reduction="sum"), x)[0]


def test_the_step_is_that_of_the_helper():
    model, x = plane(), torch.rand(2, 3, 4, 4, generator=torch.Generator().manual_seed(1))
    labels = torch.tensor([0, 3])
    mine = checks.reference_fgsm_step(x, loss_gradient(model, x, labels), 0.05)
    torch.testing.assert_close(mine, fgsm(model, x, 0.05, labels, normalise=lambda v: v))


def test_two_steps_with_the_projection_are_pgd():
    model, x = plane(), torch.rand(2, 3, 4, 4, generator=torch.Generator().manual_seed(1))
    labels, now = torch.tensor([1, 2]), x
    for _ in range(2):
        now = checks.reference_project(now + 0.04 * loss_gradient(model, now, labels).sign(), x, 0.05)
    by_helper = pgd(model, x, 0.05, labels, normalise=lambda v: v, steps=2, rate=0.04, random_start=False)
    torch.testing.assert_close(now, by_helper)


def test_even_turns_of_the_wheel_give_the_shares_of_roulette():
    fitness = torch.tensor([7.0, 5.0, 7.0, 4.0, 8.0, 3.0])
    turns = (torch.arange(34 * 20) + 0.5) / (34 * 20)
    counts = torch.bincount(checks.reference_roulette(fitness, turns), minlength=6)
    assert counts.tolist() == [140, 100, 140, 80, 160, 60]
    drawn = operators.roulette(fitness, 34_000, torch.Generator().manual_seed(0))
    shares = torch.bincount(drawn, minlength=6) / 34_000
    torch.testing.assert_close(shares, fitness / 34, atol=0.01, rtol=0)


def test_the_rule_is_that_of_map_elites():
    generator = torch.Generator().manual_seed(0)
    table = torch.rand(9, 5, generator=generator)
    elites, fitness = torch.rand(5, 3, generator=generator), 0.85 * torch.rand(5, generator=generator) + 0.1
    children = torch.rand(9, 3, generator=generator)
    method = MapElites(children=9)
    after, better = method.follow(elites, fitness, lambda g: table, lambda a, b, g: children, generator)
    winner = checks.reference_replace(fitness, table)
    assert (winner >= 0).any() and (winner < 0).any()
    torch.testing.assert_close(after, torch.where((winner >= 0)[:, None], children[winner], elites))
    torch.testing.assert_close(better, torch.maximum(fitness, table.amax(0)))


def moves_images(x, g, e):
    x += e * g.sign()
    return x.clamp_(0, 1)


WRONG = [
    (checks.check_fgsm_step, lambda x, g, e: (x - e * g.sign()).clamp(0, 1), "RISE"),
    (checks.check_fgsm_step, lambda x, g, e: (x + e * g).clamp(0, 1), "Take the sign"),
    (checks.check_fgsm_step, lambda x, g, e: (x + e * g / g.flatten(1).norm(dim=1)[:, None, None, None]).clamp(0, 1),
     "bound on the length"),
    (checks.check_fgsm_step, lambda x, g, e: x + e * g.sign(), "left \\[0, 1\\]"),
    (checks.check_fgsm_step, lambda x, g, e: (x + e * ((g > 0) * 2.0 - 1)).clamp(0, 1), "its sign is 0"),
    (checks.check_fgsm_step, lambda x, g, e: (x + e / 255 * g.sign()).clamp(0, 1), "divide by 255"),
    (checks.check_fgsm_step, moves_images, "changes its argument 1"),
    (checks.check_project, lambda c, x, e: c.clamp(0, 1), "ORIGINAL"),
    (checks.check_project, lambda c, x, e: x + (c - x).clamp(-e, e), "left \\[0, 1\\]"),
    (checks.check_project, lambda c, x, e: (c - x).clamp(-e, e), "not the image"),
    (checks.check_project, lambda c, x, e: (x + e * (c - x).sign()).clamp(0, 1), "rim"),
    (checks.check_project, lambda c, x, e: torch.minimum(c, x + e).clamp(0, 1), "Only the upper"),
    (checks.check_roulette, lambda f, t: (t * len(f)).long(), "same sector"),
    (checks.check_roulette, lambda f, t: f.argmax().repeat(len(t)), "fittest each time"),
    (checks.check_roulette, lambda f, t: checks.reference_roulette(f, t) + 1, "number from 1"),
    (checks.check_roulette, lambda f, t: checks.reference_roulette(f.sort(descending=True).values, t), "sorted"),
    (checks.check_replace, lambda f, s: s.argmax(0), "worse children"),
    (checks.check_replace, lambda f, s: torch.where(s.min(0).values < f, s.argmin(0), -1), "WORSE"),
    (checks.check_replace, lambda f, s: (s.amax(0) > f).long(), "by which child"),
]  # fmt: skip


@pytest.mark.parametrize(("check", "wrong", "lesson"), WRONG)
def test_wrong_answers_are_told_why(check, wrong, lesson):
    with pytest.raises(WrongAnswer, match=lesson):
        check(wrong)


def test_an_own_class_rule_and_a_last_comer_are_told_apart():
    def own_class(fitness, scores):
        top = scores.argmax(1, keepdim=True)
        return checks.reference_replace(
            fitness, torch.zeros_like(scores).scatter(1, top, scores.gather(1, top))
        )

    with pytest.raises(WrongAnswer, match="EVERY elite"):
        checks.check_replace(own_class)
