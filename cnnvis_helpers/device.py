"""Choose where the networks run.

pick       the device to use
available  names of the devices of this machine

device = pick()            # a GPU of NVIDIA's kind if there is one, else the CPU
model.to(device)
"""

from __future__ import annotations

import torch


def available() -> list[str]:
    """Return the kinds of device that work here, best first; "cpu" is always the last."""
    kinds = []
    if torch.cuda.is_available():
        kinds.append("cuda")
    if torch.backends.mps.is_available():
        kinds.append("mps")
    return [*kinds, "cpu"]


def pick(prefer: str | None = None) -> torch.device:
    """Return the device called `prefer`, or the default: "cuda" if there is one, else "cpu".

    Apple's "mps" is used only when asked for: it knows no float64, which the lectures' comparisons use.

    Args:
        prefer: "cpu", "cuda", "cuda:1", "mps" or None.

    Raises:
        ValueError: there is no such device here; the message lists those there are.
    """
    kinds = available()
    if prefer is None:
        return torch.device("cuda" if "cuda" in kinds else "cpu")
    complaint = f"Device {prefer!r} is not available; this machine has: {', '.join(kinds)}."
    try:
        device = torch.device(prefer)
    except (RuntimeError, TypeError):
        raise ValueError(complaint) from None
    count = torch.cuda.device_count() if device.type == "cuda" else 1
    if device.type not in kinds or (device.index or 0) >= count:
        raise ValueError(complaint)
    return device
