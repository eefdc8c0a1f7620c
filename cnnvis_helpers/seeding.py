"""Make a cell repeatable.

seed_all  seed Python, NumPy and PyTorch; return a generator of your own

generator = seed_all(0)
noise = torch.randn(1, 3, 96, 96, generator=generator)
"""

from __future__ import annotations

import operator
import random

import numpy as np
import torch


def seed_all(seed: int) -> torch.Generator:
    """Seed `random`, NumPy's and PyTorch's global generators; return a new CPU generator with the same seed.

    Prefer the returned generator where a function takes one: it is not shared, so the numbers it gives do not
    depend on what ran in between. The global generators are for libraries that take none.

    Args:
        seed: an integer from 0 to 2**32 - 1 (NumPy's range).

    Raises:
        ValueError: `seed` is not such an integer.
    """
    try:
        number = operator.index(seed)
    except TypeError:
        number = -1
    if not 0 <= number < 2**32:
        raise ValueError(f"A seed is an integer from 0 to {2**32 - 1}, not {seed!r}.")
    random.seed(number)
    np.random.seed(number)  # noqa: NPY002 - libraries that use the global state must be repeatable too
    torch.manual_seed(number)  # every device's generator
    return torch.Generator().manual_seed(number)
