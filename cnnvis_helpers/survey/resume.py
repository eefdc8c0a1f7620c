"""The file of an interrupted survey: whole or absent, for one survey only, written by one process at a time.

- `locked`: context manager: nobody else uses the file
- `facts`: what tells one survey from another
- `Done`: which of its images are done
- `save`, `load`: the states of statistics, with the facts and what is done
- `ResumeError`: the file cannot be used, and why

    with locked(path):
        done = load(path, facts, statistics)
        done.add(64, 128)
        save(path, facts, done, statistics)
"""

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes
from torch import Tensor, nn

from cnnvis_helpers import weight_files
from cnnvis_helpers.survey.statistics import Statistic


class ResumeError(RuntimeError):
    """The file of an interrupted survey cannot be read, written or continued; the message says why."""


class Done:
    """Which images of a part are done, as positions in it: runs from a start to before a stop, in order, apart."""

    def __init__(self, runs: Iterable[tuple[int, int]] = ()) -> None:
        self.runs = list(runs)

    @property
    def count(self) -> int:
        """How many images."""
        return sum(stop - start for start, stop in self.runs)

    def add(self, start: int, stop: int) -> None:
        """Take in a run of positions that were missing."""
        edges = chain.from_iterable([*self.runs, (start, stop)])
        # Where two runs touch, the edge between them is there twice: without these only outer edges are left.
        left: set[int] = set()
        for edge in edges:
            left ^= {edge}
        self.runs = _pairs(sorted(left))

    def missing(self, length: int) -> list[tuple[int, int]]:
        """The runs that are not done, of a part of so many images."""
        return [(start, stop) for start, stop in _pairs([0, *chain(*self.runs), length]) if start < stop]


def _pairs(edges: list[int]) -> list[tuple[int, int]]:
    return list(zip(edges[::2], edges[1::2], strict=True))


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Keep other processes and threads from using the file. Raises ResumeError where one does already."""
    lock = FileLock(path.with_name(f".{path.name}.lock"), timeout=0)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout:
        raise ResumeError(f"Another survey is using {path}: wait for it, or give another file.") from None
    except OSError as error:
        raise _unwritable(path, error) from error
    try:
        yield
    finally:
        lock.release()


def facts(
    model: nn.Module, images: int, ends: Sequence[Tensor], part: range, statistics: Sequence[Statistic]
) -> dict[str, Any]:
    """What makes a survey this one and no other, under the words that a message uses."""
    weights = {name: _as_bytes(t) for name, t in (*model.named_parameters(), *model.named_buffers())}
    found = {
        "weights": weight_files.fingerprint(weights),
        "layers": [f"{name} {type(module).__name__}" for name, module in model.named_modules()],
        "statistics": [statistic.settings for statistic in statistics],
        "number of images": images,
        "images": weight_files.fingerprint({str(i): _as_bytes(t) for i, t in enumerate(ends)}),
        "part": [part.start, part.stop, part.step],
    }
    return dict(json.loads(json.dumps(found)))  # tuples and the like as they come back from a file


def _as_bytes(tensor: Tensor) -> Tensor:
    return tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)  # NumPy has no bfloat16


def save(path: Path, facts: dict[str, Any], done: Done, statistics: Sequence[Statistic]) -> None:
    """Write the states, the facts, and what is done: all or nothing.

    Raises: ResumeError where it cannot be written, such as on a full disk; the old file stays.
    """
    state = {
        f"{i} {name}": t.contiguous() for i, s in enumerate(statistics) for name, t in s.state_dict().items()
    }
    # One run from the first image on, as a process alone has it, is told by its length.
    prefix = len(done.runs) == 1 and done.runs[0][0] == 0
    text = json.dumps({**facts, "done": done.count if prefix else done.runs}, sort_keys=True)
    temporary = path.with_name(f".{path.name}.tmp")  # one name is enough: only the holder of the lock writes
    try:
        try:
            temporary.write_bytes(to_bytes(state, {"survey": _digest(text, state) + text}))
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise _unwritable(path, error) from error


def load(path: Path, facts: dict[str, Any], statistics: Sequence[Statistic]) -> Done:
    """Put the states of a file into the statistics; return which images they have seen, none without a file.

    Raises: ResumeError where the file is damaged, or the facts in it are not these.
    """
    if not path.exists():
        return Done()
    try:
        with safe_open(path, framework="pt") as file:
            text = (file.metadata() or {})["survey"]
            state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a dict)
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise ResumeError(f"{path} is damaged or no survey's file: delete it to begin anew.") from error
    if not text.startswith(_digest(text[64:], state)):
        raise ResumeError(f"{path} is damaged: delete it to begin anew.")
    found = json.loads(text[64:])
    other = [name for name in facts if found[name] != facts[name]]
    if other:
        raise ResumeError(f"{path} is of a survey with other {', other '.join(other)}: give another file.")
    for i, statistic in enumerate(statistics):
        own = (key.split(" ", 1) for key in state)
        statistic.load_state_dict({name: state[f"{n} {name}"] for n, name in own if n == str(i)})
    done = found["done"]
    return Done([(0, done)] if isinstance(done, int) else map(tuple, done))


def _digest(text: str, state: dict[str, Tensor]) -> str:
    """SHA-256 (64 letters) of the facts and the states."""
    return hashlib.sha256((text + weight_files.fingerprint(state)).encode()).hexdigest()


def _unwritable(path: Path, error: OSError) -> ResumeError:
    return ResumeError(f"{path} cannot be written ({error.strerror or error}); what it held before is kept.")
