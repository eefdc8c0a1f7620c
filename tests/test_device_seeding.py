"""device and seeding: the choice of a device, and the same numbers again."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from cnnvis_helpers import device, seeding


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch):
    def make(cuda: int, mps: bool) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: cuda)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)

    return make


def test_default_device(machine) -> None:
    machine(cuda=0, mps=False)
    assert device.available() == ["cpu"]
    assert device.pick() == torch.device("cpu")
    machine(cuda=1, mps=False)
    assert device.pick() == torch.device("cuda")
    machine(cuda=0, mps=True)
    assert device.available() == ["mps", "cpu"]
    assert device.pick() == torch.device("cpu")  # float64 is missing there


def test_preferred_device(machine) -> None:
    machine(cuda=2, mps=True)
    for name in ("cpu", "cuda", "cuda:1", "mps"):
        assert device.pick(name) == torch.device(name)


@pytest.mark.parametrize("name", ["cuda", "cuda:0", "mps", "gpu", "", "cpu:x", "xpu"])
def test_absent_device(machine, name: str) -> None:
    machine(cuda=0, mps=False)
    with pytest.raises(ValueError, match="this machine has: cpu") as error:
        device.pick(name)
    assert repr(name) in str(error.value)


def test_absent_second_gpu(machine) -> None:
    machine(cuda=1, mps=False)
    with pytest.raises(ValueError, match="'cuda:1' is not available"):
        device.pick("cuda:1")


def draw(generator: torch.Generator) -> list[float]:
    numbers = [random.random(), float(np.random.rand()), float(torch.rand(()))]  # noqa: NPY002
    return [*numbers, float(torch.rand((), generator=generator))]


def test_same_seed_same_numbers() -> None:
    first = draw(seeding.seed_all(5))
    assert draw(seeding.seed_all(5)) == first
    assert all(a != b for a, b in zip(first, draw(seeding.seed_all(6)), strict=True))


def test_generator_is_separate() -> None:
    generator = seeding.seed_all(3)
    torch.rand(100)  # does not move it
    assert torch.equal(torch.rand(4, generator=generator), torch.rand(4, generator=seeding.seed_all(3)))


def test_numpy_integer_is_a_seed() -> None:
    assert draw(seeding.seed_all(np.int64(7))) == draw(seeding.seed_all(7))  # type: ignore[arg-type]


@pytest.mark.parametrize("seed", [-1, 2**32, 1.5, "1", None])
def test_bad_seed(seed) -> None:
    with pytest.raises(ValueError, match="A seed is an integer from 0 to 4294967295"):
        seeding.seed_all(seed)
