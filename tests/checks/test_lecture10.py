"""Every check of lecture 10 accepts the reference, waits for stubs, and tells wrong answers apart."""

import pytest
import torch

from cnnvis_helpers import style
from cnnvis_helpers.checks import lecture10 as checks
from cnnvis_helpers.checks.core import NOT_ATTEMPTED, WrongAnswer

PAIRS = [
    (checks.check_gram, checks.reference_gram),
    (checks.check_unchanged, checks.reference_unchanged),
    (checks.check_style_loss, checks.reference_style_loss),
    (checks.check_shuffle_places, checks.reference_shuffle_places),
]


def stub(*_):
    raise NotImplementedError  # your code here


@pytest.mark.parametrize(("check", "reference"), PAIRS)
def test_reference_passes_and_stub_waits(check, reference, capsys):
    check(reference)
    check(stub)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("passed: ") and lines[1] == NOT_ATTEMPTED


def gram_by_loops(maps):
    n, c, h, w = maps.shape
    found = torch.zeros(n, c, c)
    for i in range(h):
        for j in range(w):
            found += maps[:, :, None, i, j] * maps[:, None, :, i, j]
    return found / (h * w)


def loss_by_loops(reached, wanted):
    found = []
    for n in range(len(wanted[0])):
        parts = [
            float((g[n] - w[n]).norm() ** 2 / w[n].norm() ** 2) for g, w in zip(reached, wanted, strict=True)
        ]
        found.append(sum(parts) / len(parts))
    return torch.tensor(found)


def places_by_loops(maps, orders):
    rows = [m.flatten(1)[:, order].view_as(m) for m, order in zip(maps, orders, strict=True)]
    return torch.stack(rows)


@pytest.mark.parametrize(
    ("check", "another"),
    [
        (checks.check_gram, gram_by_loops),
        (checks.check_gram, lambda m: torch.einsum("naij,nbij->nab", m, m) / m[0, 0].numel()),
        (checks.check_unchanged, lambda: ["e", "c", "a"]),
        (checks.check_style_loss, loss_by_loops),
        (checks.check_shuffle_places, places_by_loops),
    ],
)
def test_another_right_answer_passes(check, another, capsys):
    check(another)
    assert "passed" in capsys.readouterr().out


def test_the_references_are_those_of_the_package():
    maps, other = (torch.rand(2, 4, 3, 5, generator=torch.Generator().manual_seed(k)) for k in (0, 1))
    torch.testing.assert_close(checks.reference_gram(maps), style.gram(maps))
    reached, wanted = {"a": style.gram(maps)}, {"a": style.gram(other)}
    torch.testing.assert_close(
        checks.reference_style_loss([reached["a"]], [wanted["a"]]), style.style_loss(reached, wanted)
    )
    orders = torch.stack([torch.randperm(15, generator=torch.Generator().manual_seed(k)) for k in range(2)])
    moved = checks.reference_shuffle_places(maps, orders)
    assert not torch.equal(moved, maps)
    torch.testing.assert_close(style.gram(moved), style.gram(maps))


def mixed_up(maps):
    flat = maps.flatten(2)
    return flat @ flat.mT


WRONG = [
    (checks.check_gram, mixed_up, "divide by their number"),
    (checks.check_gram, lambda m: mixed_up(m) / m.shape[1], "number of channels: divide by that of the places"),
    (checks.check_gram, lambda m: checks.reference_gram(m) / m.shape[1], "as well"),
    (checks.check_gram, lambda m: checks.reference_gram(m - m.mean((2, 3), keepdim=True)), "covariance"),
    (checks.check_gram, lambda m: m.flatten(2).mT @ m.flatten(2) / m.shape[1], "forgets what"),
    (checks.check_gram, lambda m: torch.diag_embed(m.square().mean((2, 3))), "diagonal only"),
    (checks.check_gram, lambda m: torch.nn.functional.normalize(m.flatten(2), dim=2) @
     torch.nn.functional.normalize(m.flatten(2), dim=2).mT, "cosine"),
    (checks.check_unchanged, lambda: set(), "a: the MAPS are turned"),
    (checks.check_unchanged, lambda: set("abce"), "b: doubled"),
    (checks.check_unchanged, lambda: set("ae"), "c: each place"),
    (checks.check_unchanged, lambda: set("acde"), "d: one map"),
    (checks.check_unchanged, lambda: set("ac"), "e: four times"),
    (checks.check_unchanged, lambda: set("acef"), "f: the matrix"),
    (checks.check_unchanged, lambda: set("aceg"), "g: the means"),
    (checks.check_unchanged, lambda: {"x"}, "letters from a to g"),
    (checks.check_unchanged, lambda: 3, "letters from a to g"),
    (checks.check_style_loss, lambda r, w: checks.reference_style_loss(r, w) * len(w), "take their mean"),
    (checks.check_style_loss, lambda r, w: checks.reference_style_loss(w, r), "what is WANTED"),
    (checks.check_style_loss, lambda r, w: torch.stack([(g - t).square().sum((1, 2)) for g, t in
     zip(r, w, strict=True)]).mean(0), "outweighs"),
    (checks.check_style_loss, lambda r, w: torch.stack([(g - t).square().mean((1, 2)) for g, t in
     zip(r, w, strict=True)]).mean(0), "what to divide by"),
    (checks.check_style_loss, lambda r, w: torch.stack([(g - t).flatten(1).norm(dim=1) / t.flatten(1).norm(dim=1)
     for g, t in zip(r, w, strict=True)]).mean(0), "forgot the square"),
    (checks.check_style_loss, lambda r, w: checks.reference_style_loss(r, w).mean(), "axes of length|each image"),
    (checks.check_shuffle_places, lambda m, o: m.flatten(2)[:, :, o[0]].view_as(m), "order of the first"),
    (checks.check_shuffle_places, lambda m, o: checks.reference_shuffle_places(m, o.argsort(1)), "other way"),
    (checks.check_shuffle_places, lambda m, o: m.clone(), "Nothing moved"),
    (checks.check_shuffle_places, lambda m, o: torch.cat([checks.reference_shuffle_places(m[:, :1], o), m[:, 1:]], 1),
     "move together"),
]  # fmt: skip


@pytest.mark.parametrize(("check", "wrong", "lesson"), WRONG)
def test_wrong_answers_are_told_why(check, wrong, lesson):
    with pytest.raises(WrongAnswer, match=lesson):
        check(wrong)


def test_channels_that_move_against_each_other_are_noticed():
    def each_its_own(maps, orders):
        found = [
            checks.reference_shuffle_places(maps[:, c : c + 1], orders.roll(c, 1))
            for c in range(maps.shape[1])
        ]
        return torch.cat(found, 1)

    with pytest.raises(WrongAnswer, match="against each other"):
        checks.check_shuffle_places(each_its_own)
