"""Lecture 00's checks accept the reference, reject wrong answers with a sentence that helps, leave a stub alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from cnnvis_helpers.checks import lecture00 as checks
from cnnvis_helpers.checks.core import NOT_ATTEMPTED

PAIRS = [
    (checks.check_iou, checks.reference_iou),
    (checks.check_pointing_accuracy, checks.reference_pointing_accuracy),
    (checks.check_wilson_interval, checks.reference_wilson_interval),
]


@pytest.mark.parametrize(("check", "reference"), PAIRS)
def test_accepts_the_reference(
    check: Callable, reference: Callable, capsys: pytest.CaptureFixture[str]
) -> None:
    check(reference)
    assert capsys.readouterr().out.startswith("passed: ")


@pytest.mark.parametrize(("check", "reference"), PAIRS)
def test_leaves_a_stub_alone(
    check: Callable, reference: Callable, capsys: pytest.CaptureFixture[str]
) -> None:
    def stub(*args: Any) -> Any:
        raise NotImplementedError  # your code here

    check(stub)
    assert capsys.readouterr().out.strip() == NOT_ATTEMPTED


def mean_iou(a: torch.Tensor, b: torch.Tensor) -> float:
    return sum(checks.reference_iou(x, y) for x, y in zip(a, b, strict=True)) / len(a)


def dice(a: torch.Tensor, b: torch.Tensor) -> float:
    return float(2 * (a & b).sum() / (a.sum() + b.sum()).clamp(min=1))


def nan_iou(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a & b).sum() / (a | b).sum())


def energy(heat: torch.Tensor, instance: torch.Tensor) -> float:
    return float((heat * instance).sum() / heat.sum())


def whole_batch(heat: torch.Tensor, instance: torch.Tensor) -> float:
    return float(instance.flatten()[heat.flatten().argmax()])


def simple(k: int, n: int, z: float = 1.96) -> tuple[float, float]:
    half = z * (k / n * (1 - k / n) / n) ** 0.5
    return k / n - half, k / n + half


def reversed_ends(k: int, n: int, z: float = 1.96) -> tuple[float, ...]:
    return checks.reference_wilson_interval(k, n, z)[::-1]


@pytest.mark.parametrize(
    ("check", "wrong", "said"),
    [
        (checks.check_iou, mean_iou, "mean of the images' IoUs"),
        (checks.check_iou, dice, "Dice"),
        (checks.check_iou, nan_iou, "two empty masks"),
        (checks.check_pointing_accuracy, energy, "only at the highest place"),
        (checks.check_pointing_accuracy, whole_batch, "each image has its own"),
        (checks.check_wilson_interval, simple, "simple interval"),
        (checks.check_wilson_interval, reversed_ends, "upper end comes second"),
        (checks.check_wilson_interval, lambda k, n, z=1.96: k / n, "two numbers"),
    ],
)
def test_rejects_wrong_answers_with_a_sentence(check: Callable, wrong: Callable, said: str) -> None:
    with pytest.raises(AssertionError, match=said):
        check(wrong)
