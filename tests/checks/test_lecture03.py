"""Every check of lecture 03 accepts the reference, waits for stubs, and tells wrong answers apart."""

import math

import pytest
import torch

from cnnvis_helpers.checks import lecture03 as checks
from cnnvis_helpers.checks.core import NOT_ATTEMPTED, WrongAnswer

PAIRS = [
    (checks.check_occlusion_map, checks.reference_occlusion_map),
    (checks.check_affected, checks.reference_affected),
    (checks.check_saliency, checks.reference_saliency),
    (checks.check_grad_cam, checks.reference_grad_cam),
    (checks.check_rise_map, checks.reference_rise_map),
    (checks.check_deletion, checks.reference_deletion),
]


def stub(*_):
    raise NotImplementedError  # your code here


@pytest.mark.parametrize(("check", "reference"), PAIRS)
def test_reference_passes_and_stub_waits(check, reference, capsys):
    check(reference)
    check(stub)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("passed: ") and lines[1] == NOT_ATTEMPTED


def occlusion_in_one_batch(probability, image, window, stride, fill):
    tops = range(0, image.shape[1] - window + 1, stride)
    lefts = range(0, image.shape[2] - window + 1, stride)
    hidden = image.repeat(len(tops) * len(lefts), 1, 1, 1)
    for k, (top, left) in enumerate((t, c) for t in tops for c in lefts):
        hidden[k, :, top : top + window, left : left + window] = fill
    return probability(hidden).view(len(tops), len(lefts))


def affected_by_inequalities(first, last, kernel, stride, padding, size):
    return max(0, math.ceil((first + padding - kernel + 1) / stride)), min(
        size - 1, (last + padding) // stride
    )


@pytest.mark.parametrize("layer", [torch.nn.functional.avg_pool1d, torch.nn.functional.max_pool1d])
@pytest.mark.parametrize("affected", [checks.reference_affected, affected_by_inequalities])
def test_affected_is_what_a_real_layer_changes(layer, affected):
    cases = 0
    for kernel, stride, width in [
        (1, 1, 6),
        (3, 1, 7),
        (2, 2, 8),
        (3, 2, 9),
        (5, 2, 10),
        (5, 3, 13),
        (4, 3, 11),
    ]:
        for padding in range(kernel // 2 + 1):
            before = layer(torch.zeros(1, 1, width), kernel, stride, padding)
            for first in range(width):
                for last in range(first, width):
                    x = torch.zeros(1, 1, width)
                    x[..., first : last + 1] = 1  # nothing can cancel
                    seen = (layer(x, kernel, stride, padding) != before).flatten().nonzero()
                    if len(seen):
                        where = affected(first, last, kernel, stride, padding, before.shape[2])
                        assert where == (int(seen[0]), int(seen[-1]))
                        cases += 1
    assert cases > 500


def saliency_by_backward(model, x, c):
    x = x.clone().requires_grad_()
    model(x[None])[0, c].backward()
    return x.grad.abs().max(0).values


def grad_cam_by_loops(activation, gradient):
    out = torch.zeros(activation.shape[1:])
    for a, g in zip(activation, gradient, strict=True):
        out += g.mean() * a
    return out.clamp(min=0)


def rise_by_loops(masks, scores):
    total, shown = torch.zeros(masks.shape[1:]), torch.zeros(masks.shape[1:])
    for mask, score in zip(masks, scores, strict=True):
        total, shown = total + score * mask, shown + mask
    return total / shown


def deletion_pixel_by_pixel(score, image, heat, fill, steps):
    image, width = image.clone(), heat.shape[1]
    order = heat.flatten().argsort(descending=True).tolist()
    curve = [score(image[None])[0]]
    for t in range(steps):
        for pixel in order[t * len(order) // steps : (t + 1) * len(order) // steps]:
            image[:, pixel // width, pixel % width] = fill
        curve.append(score(image[None])[0])
    return torch.stack(curve)


@pytest.mark.parametrize(
    ("check", "another"),
    [
        (checks.check_occlusion_map, occlusion_in_one_batch),
        (checks.check_affected, affected_by_inequalities),
        (checks.check_saliency, saliency_by_backward),
        (checks.check_grad_cam, grad_cam_by_loops),
        (checks.check_rise_map, rise_by_loops),
        (checks.check_deletion, deletion_pixel_by_pixel),
    ],
)
def test_another_right_answer_passes(check, another, capsys):
    check(another)
    assert "passed" in capsys.readouterr().out


def occlusion_that_remembers(probability, image, window, stride, fill):
    image, rows = image.clone(), []
    for top in range(0, image.shape[1] - window + 1, stride):
        row = []
        for left in range(0, image.shape[2] - window + 1, stride):
            image[:, top : top + window, left : left + window] = fill
            row.append(probability(image[None])[0])
        rows.append(torch.stack(row))
    return torch.stack(rows)


def occlusion_over_the_edge(probability, image, window, stride, fill):
    rows = []
    for top in range(0, image.shape[1], stride):
        row = []
        for left in range(0, image.shape[2], stride):
            hidden = image.clone()
            hidden[:, top : top + window, left : left + window] = fill
            row.append(probability(hidden[None])[0])
        rows.append(torch.stack(row))
    return torch.stack(rows)


def occlusion_in_place(probability, image, window, stride, fill):
    result = checks.reference_occlusion_map(probability, image, window, stride, fill)
    image[:, :window, :window] = fill
    return result


def affected_rounded(first, last, kernel, stride, padding, size, low=math.ceil, high=math.floor):
    begin, end = low((first + padding - kernel + 1) / stride), high((last + padding) / stride)
    return max(0, begin), min(size - 1, end)


def affected_beyond_the_map(first, last, kernel, stride, padding, size):
    return math.ceil((first + padding - kernel + 1) / stride), math.floor((last + padding) / stride)


def what_they_see(first, last, kernel, stride, padding, size):
    return first * stride - padding, last * stride - padding + kernel - 1


def gradient_of(model, x, c):
    x = x.clone().requires_grad_()
    return torch.autograd.grad(model(x[None])[0, c], x)[0]


def of_the_probability(model, x, c):
    x = x.clone().requires_grad_()
    return torch.autograd.grad(model(x[None]).softmax(1)[0, c], x)[0].abs().amax(0)


def lowest_first(score, image, heat, fill, steps):
    return checks.reference_deletion(score, image, -heat, fill, steps)


def one_colour_deleted(score, image, heat, fill, steps):
    def red(images):
        return score(torch.cat([images[:, :1], image[None, 1:]], 1))

    return checks.reference_deletion(red, image, heat, fill, steps)


WRONG = [
    (checks.check_occlusion_map, occlusion_that_remembers, "still hidden"),
    (checks.check_occlusion_map, occlusion_over_the_edge, "has shape"),
    (checks.check_occlusion_map, occlusion_in_place, "changes its argument 2"),
    (checks.check_occlusion_map, lambda p, x, w, s, f: occlusion_in_one_batch(p, x, w, s, 0.0), "use `fill`"),
    (checks.check_occlusion_map, lambda p, x, w, s, f: occlusion_in_one_batch(p, x, w, s, f).T, "exchanged"),
    (checks.check_occlusion_map, lambda p, x, w, s, f: p(x[None]) - occlusion_in_one_batch(p, x, w, s, f),
     "loss of probability"),
    (checks.check_affected, lambda *a: affected_rounded(*a, low=math.floor), "Round the first position up"),
    (checks.check_affected, lambda *a: affected_rounded(*a, high=math.ceil), "Round the last position down"),
    (checks.check_affected, lambda f, e, k, s, p, n: affected_rounded(f, e, k, s, 0, n), "left out the padding"),
    (checks.check_affected, lambda f, e, k, s, p, n: affected_rounded(f, e, k, s, -p, n), "wrong sign"),
    (checks.check_affected, lambda f, e, k, s, p, n: affected_rounded(f, e, 1, s, p, n), "size of the window"),
    (checks.check_affected, lambda f, e, k, s, p, n: affected_rounded(f, e, k + 1, s, p, n), "kernel − 1 beyond"),
    (checks.check_affected, affected_beyond_the_map, "0 to size − 1 only"),
    (checks.check_affected, lambda *a: (max(0, affected_beyond_the_map(*a)[0]), affected_beyond_the_map(*a)[1]),
     "0 to size − 1 only"),
    (checks.check_affected, lambda *a: (affected_rounded(*a)[0], affected_rounded(*a)[1] + 1), "first one behind it"),
    (checks.check_affected, what_they_see, "Asked is the other way"),
    (checks.check_affected, lambda *a: (0, a[-1] - 1), "when does that meet"),
    (checks.check_saliency, of_the_probability, "before the softmax"),
    (checks.check_saliency, lambda m, x, c: gradient_of(m, x, c).amax(0).abs(), "Absolute values first"),
    (checks.check_saliency, lambda m, x, c: gradient_of(m, x, c).abs().sum(0), "take the largest"),
    (checks.check_saliency, lambda m, x, c: gradient_of(m, x, c).abs(), "has shape"),
    (checks.check_saliency, lambda m, x, c: (gradient_of(m, x, c) * x).abs().amax(0), "gradient × input"),
    (checks.check_grad_cam, lambda a, g: (g.mean((1, 2))[:, None, None] * a).sum(0), "ReLU is missing"),
    (checks.check_grad_cam, lambda a, g: (g.mean((1, 2))[:, None, None] * a).relu().sum(0), "before the sum"),
    (checks.check_grad_cam, lambda a, g: (g * a).sum(0).relu(), "place by place"),
    (checks.check_grad_cam, lambda a, g: (g.sum((1, 2))[:, None, None] * a).sum(0).relu(), "take the mean"),
    (checks.check_rise_map, lambda m, s: (s[:, None, None] * m).mean(0), "number of masks"),
    (checks.check_rise_map, lambda m, s: (s[:, None, None] * m).sum(0) / (0.5 * len(m)), "EXPECTED"),
    (checks.check_rise_map, lambda m, s: (s[:, None, None] * m).sum(0), "not divided"),
    (checks.check_rise_map, lambda m, s: rise_by_loops(1 - m, s), "HIDE"),
    (checks.check_deletion, lowest_first, "LOWEST"),
    (checks.check_deletion, one_colour_deleted, "all three colours"),
    (checks.check_deletion, lambda *a: checks.reference_deletion(*a)[1:], "left out the whole image"),
    (checks.check_deletion, lambda *a: torch.trapezoid(checks.reference_deletion(*a)) / a[-1], "return the curve"),
]  # fmt: skip


@pytest.mark.parametrize(("check", "wrong", "lesson"), WRONG)
def test_wrong_answers_are_told_why(check, wrong, lesson):
    with pytest.raises(WrongAnswer, match=lesson):
        check(wrong)
