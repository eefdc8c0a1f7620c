"""Does everything that the lectures need work on this machine?

- `run`: try each thing, print one line for each: "ok", or what is wrong and what to do
- `TRIALS`: what is tried

    $ python -m cnnvis_helpers.selftest
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import numpy as np

__all__ = ["TRIALS", "run"]


def _torch_and_torchvision_agree() -> str | None:
    try:
        import torch
        import torchvision

        torchvision.ops.nms(
            torch.zeros(1, 4), torch.zeros(1), 0.5
        )  # compiled against one torch, fails with another
    except (ImportError, RuntimeError) as error:
        return f"torch and torchvision do not belong together ({error}): install the pair of requirements.txt"
    return None


def _weights_are_whole() -> str | None:
    from . import zoo

    for name in zoo.names():
        if name.startswith("diorama/"):
            try:
                zoo.load(name)
            except zoo.WeightsError as error:
                return str(error)
    return None


def _sample_is_readable() -> str | None:
    from . import diorama

    try:
        diorama.sample(16)
    except (OSError, ValueError, KeyError) as error:
        return f"the sample that comes with the package is damaged ({error}): install the package again"
    return None


def _drawing_agrees_with_the_sample() -> str | None:
    from . import diorama

    drawn, shipped = diorama.render("test", 3), diorama.sample(4)
    if shipped.instance is None or not np.array_equal(drawn.instance, shipped.instance[3]):
        return (
            "this machine draws other images than the networks were trained on: install numpy and Pillow as in "
            "requirements.txt, or expect slightly different numbers"
        )
    return None


def _cache_can_be_written() -> str | None:
    from . import diorama

    folder = diorama.cache_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".probe"
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        return f"the cache folder cannot be written ({error.strerror}): set CNNVIS_CACHE to a folder that can"
    return None


def _controls_can_be_shown() -> str | None:
    import ipywidgets

    if int(ipywidgets.__version__.split(".")[0]) < 8:
        return "ipywidgets is too old: version 8 or later is needed"
    return None


TRIALS: dict[str, Callable[[], str | None]] = {
    "torch and torchvision": _torch_and_torchvision_agree,
    "embedded networks": _weights_are_whole,
    "sample images": _sample_is_readable,
    "drawing new images": _drawing_agrees_with_the_sample,
    "image cache": _cache_can_be_written,
    "controls": _controls_can_be_shown,
}


def run() -> bool:
    """Try everything in `TRIALS` and print a line for each; True when all is well."""
    faults = 0
    for name, trial in TRIALS.items():
        try:
            fault = trial()
        except Exception as error:  # whatever is broken, the other trials must still be made
            fault = f"failed ({type(error).__name__}: {error}): install the package again"
        faults += fault is not None
        print(f"{name:24}{'ok' if fault is None else fault}")
    return faults == 0


if __name__ == "__main__":
    sys.exit(0 if run() else 1)
