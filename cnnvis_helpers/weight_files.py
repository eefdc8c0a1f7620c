"""Weight files of the course: safetensors in half precision that know their own name and notice damage.

- `save`: write tensors and facts about them, all or nothing
- `read`: the tensors and the facts, checked
- `read_facts`: the facts alone, without loading the tensors
- `fingerprint`: SHA-256 over names, shapes, types and values of tensors
- `WeightsError`: weights are missing, damaged, or belong to another network

    save(path, model.state_dict(), {"name": "diorama/alexnet", "seed": 0})
    tensors, facts = read(path, "diorama/alexnet")
"""

import hashlib
import json
import os
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes

_TEXTS = ("name", "sha256", "licence")  # never JSON, also where they look like a number


class WeightsError(RuntimeError):
    """Weights cannot be had: the message says in one sentence what is wrong and what helps."""


def fingerprint(tensors: Mapping[str, torch.Tensor]) -> str:
    """SHA-256 (hex) over the names, types, shapes and bytes of `tensors`, in the order of their names."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()


def save(path: Path, tensors: Mapping[str, torch.Tensor], facts: Mapping[str, Any]) -> None:
    """Write `tensors` as float16, with `facts` and their fingerprint as metadata.

    Metadata of a safetensors file are strings: a fact that is a string is kept as it is, any other is written
    as JSON. The file is complete or absent: it is written under another name first.

    Raises: ValueError where a number is too large for float16 or not finite, or where facts lack a name.
    """
    if "name" not in facts:
        raise ValueError("The facts of a weight file need the network's 'name'.")
    half = {name: t.detach().cpu().to(torch.float16).contiguous() for name, t in tensors.items()}
    bad = [name for name, t in half.items() if not t.isfinite().all()]
    if bad:
        raise ValueError(f"{', '.join(bad)} holds numbers that float16 cannot: not finite, or beyond ±65504.")
    metadata = {key: v if isinstance(v, str) else json.dumps(v, sort_keys=True) for key, v in facts.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(_ordered(to_bytes(half, {**metadata, "sha256": fingerprint(half)})))
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _ordered(content: bytes) -> bytes:
    """The same safetensors file with its header's keys in order.

    The library writes them in any order; a file made again with the same content should be the same for git.
    """
    (length,) = struct.unpack("<Q", content[:8])
    header = json.dumps(json.loads(content[8 : 8 + length]), sort_keys=True).encode()
    header += b" " * (-len(header) % 8)  # tensors start at a multiple of 8 bytes
    return struct.pack("<Q", len(header)) + header + content[8 + length :]


def read(path: Path, name: str) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """The tensors of a file as float32, and its facts; `name` is the network that the file must hold.

    Raises: WeightsError where the file is missing, damaged, or holds another network.
    """
    facts = read_facts(path, name)
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a dict)
    except (OSError, SafetensorError) as error:
        raise _damaged(path, name) from error
    if fingerprint(tensors) != facts.get("sha256"):
        raise _damaged(path, name)
    return {key: tensor.float() for key, tensor in tensors.items()}, facts


def read_facts(path: Path, name: str) -> dict[str, Any]:
    """The facts of a file, with the lists, tables and numbers that `save` was given; raises like `read`."""
    if not path.is_file():
        network = name.partition("@")[0]
        script = "train_decoder.py" if "/decoder-" in name else "train_models.py"
        raise WeightsError(
            f"The weights of {name} are missing: {path} should come with the package; install it again, or "
            f"make it with `python data_scripts/{script} {network} --export`."
        )
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
    except (OSError, SafetensorError) as error:
        raise _damaged(path, name) from error
    held = metadata.get("name")
    if held != name:
        raise WeightsError(
            f"{path} holds the weights of {held or 'an unnamed network'}, not of {name}: files were swapped."
        )
    return {key: value if key in _TEXTS else _decoded(value) for key, value in metadata.items()}


def _damaged(path: Path, name: str) -> WeightsError:
    return WeightsError(
        f"The weights of {name} are damaged: {path} is not what was saved; install the package again."
    )


def _decoded(value: str) -> Any:
    try:
        return json.loads(value)
    except ValueError:
        return value
