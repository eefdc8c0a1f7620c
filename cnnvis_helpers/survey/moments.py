"""Mean, variance, extremes and share above zero of a layer's channels, without rounding on the way.

- `Moments`: the statistic

    (moments,) = survey(model, test, [Moments("relu5")])
    moments.mean, moments.variance, moments.positive     # (C,) each
"""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from cnnvis_helpers.survey.statistics import State, Statistic


class Moments(Statistic):
    """Mean, variance, extremes and share above zero of each channel, over all images and places: (C,) tensors.

    Sums of floating-point numbers depend on their order, sums of integers do not. So the mantissas and their squares
    are added up as integers, for each of float32's 256 exponents apart; mean and variance are the exact ones, rounded
    once to float64. Good for 2**39 activations a channel; 6 KB a channel.
    """

    def __init__(self, layer: str) -> None:
        super().__init__(layer)

    def _measure(self, a: Tensor, indices: Tensor) -> State:
        a = a.transpose(0, 1).flatten(1).contiguous()  # (C, values)
        return {
            "count": torch.full((len(a),), a.shape[1]),
            "positive": (a > 0).sum(1),
            "minimum": a.amin(1),
            "maximum": a.amax(1),
            "sums": torch.from_numpy(np.stack([_exact_sums(channel) for channel in a.cpu().numpy()])),
        }

    def _join(self, one: State, two: State) -> State:
        return {
            "minimum": torch.minimum(one["minimum"], two["minimum"]),
            "maximum": torch.maximum(one["maximum"], two["maximum"]),
            **{name: one[name] + two[name] for name in ("count", "positive", "sums")},
        }

    def _powers(self) -> Iterator[tuple[int, int, int]]:
        """Of each channel: how many values, their sum in units of 2**-149, the sum of squares in 2**-298."""
        for n, (mantissas, low, high) in zip(
            self._get("count").tolist(), self._get("sums").tolist(), strict=True
        ):
            shifts = [max(exponent, 1) - 1 for exponent in range(256)]  # exponents 0 and 1 have the same unit
            total = sum(m << s for m, s in zip(mantissas, shifts, strict=True))
            squares = sum(
                (big << 24) + small << 2 * s for small, big, s in zip(low, high, shifts, strict=True)
            )
            yield n, total, squares

    @property
    def mean(self) -> Tensor:
        """The mean, float64."""
        return torch.tensor([total / (n << 149) for n, total, _ in self._powers()], dtype=torch.float64)

    @property
    def variance(self) -> Tensor:
        """The mean squared distance to the mean, float64."""
        exact = [(n * squares - total**2) / (n * n << 298) for n, total, squares in self._powers()]
        return torch.tensor(exact, dtype=torch.float64)

    @property
    def minimum(self) -> Tensor:
        """The smallest activation, float32."""
        return self._get("minimum")

    @property
    def maximum(self) -> Tensor:
        """The largest activation, float32."""
        return self._get("maximum")

    @property
    def positive(self) -> Tensor:
        """The share of activations above zero, float64."""
        return self._get("positive").double() / self._get("count")


def _exact_sums(values: np.ndarray) -> np.ndarray:
    """Sums of float32 numbers without rounding, (3, 256) int64: by exponent, the sum of the mantissas and of the low
    and high 24 bits of their squares. `bincount` adds in float64, exact for integers below 2**53."""
    values = values[values != 0]
    bits = values.view(np.int32)
    exponents = (bits >> 23) & 255
    mantissas = np.copysign((bits & 0x7FFFFF) + (exponents > 0) * 2.0**23, values)
    squares = mantissas**2
    high = np.floor(squares * 2.0**-24)
    parts = (mantissas, squares - high * 2.0**24, high)
    return np.stack([np.bincount(exponents, part, 256) for part in parts]).astype(np.int64)
