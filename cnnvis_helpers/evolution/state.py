"""The file of an interrupted run: whole or absent, and for one run only.

- `save`, `load`: the tensors of a run with its settings
- `StateError`: the file cannot be used, and why

    save(path, {"genomes": genomes, "fitness": fitness, "history": history}, settings)
    tensors = load(path, settings)                               # None where there is no file
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes
from torch import Tensor

from cnnvis_helpers.weight_files import fingerprint

_KEYS = {"genomes", "fitness", "history"}


class StateError(RuntimeError):
    """The file of an interrupted run cannot be read, written or continued; the message says why."""


def save(path: Path, tensors: Mapping[str, Tensor], settings: Mapping[str, object]) -> None:
    """Write tensors and settings under another name, then rename: a killed run leaves the old file or the new one.

    Raises: StateError where it cannot be written, such as on a full disk; the old file stays.
    """
    whole = {name: tensor.contiguous() for name, tensor in tensors.items()}
    facts = {"settings": json.dumps(settings, sort_keys=True), "sha256": fingerprint(whole)}
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            temporary.write_bytes(to_bytes(whole, facts))
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise StateError(f"{path} cannot be written ({error.strerror or error}).") from error


def load(path: Path, settings: Mapping[str, object]) -> dict[str, Tensor] | None:
    """The tensors of the file, or None without one.

    Raises: StateError where the file is damaged, or of a run with other settings.
    """
    if not path.exists():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            facts = file.metadata() or {}
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a dict)
        found = json.loads(facts["settings"])
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise StateError(f"{path} is damaged, or no evolution's file: delete it to begin anew.") from error
    if tensors.keys() != _KEYS or facts.get("sha256") != fingerprint(tensors):
        raise StateError(f"{path} is damaged: delete it to begin anew.")
    other = [name for name in settings if found.get(name) != json.loads(json.dumps(settings[name]))]
    if other:
        raise StateError(f"{path} is of a run with another {', '.join(other)}: give another file.")
    return tensors
