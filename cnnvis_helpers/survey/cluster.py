"""A survey on the workers of a `dask.distributed` cluster.

- `pieces`: the run
- `check`: whether a client is one

    client = Client("tcp://scheduler:8786")
    (top,) = survey(model, test, [TopK("relu5", 9)], client=client)

A piece is one batch to sixteen, cut where one process would begin a batch. A worker runs it on a copy of the model, so
threads do not meet, and sends the statistics' states, which are merged here as they come. Twice as many pieces as the
workers have threads are under way. Those that a dying worker had in hand run elsewhere, until one of them has ended
more workers than dask's setting `allowed-failures` says. An error ends the survey at once. Without any worker it waits.

What is sent, pickled: model and statistics once to each worker. Images of a tensor, a list or a TensorDataset (also
behind a Subset) go with their piece. Any other data set is sent like the model, without the files that it holds open,
and read by the workers, one thread of a process at a time: the files must be there under the same paths as here.

Scheduler and workers need this package, torch and dask in the same versions. Bits are the same where the workers have
the same kind of processor, and torch's settings, as this process. A worker runs on the device of the model's parameters
where it has that device or one of its kind, else on its CPU.
"""

from __future__ import annotations

import copy
import ctypes
import os
import sys
import threading
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from itertools import cycle, islice
from math import ceil
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Size, Tensor, nn
from torch.utils.data import Subset, TensorDataset

from cnnvis_helpers import device
from cnnvis_helpers.survey.feeding import feed, image, read
from cnnvis_helpers.survey.statistics import State, Statistic

if TYPE_CHECKING:
    from distributed import Client, Future

_EACH = 8  # pieces a thread: the last ones end at nearly the same time
_BATCHES = 16  # of a piece: little is lost with a worker, and states come in time for the file
_SENT = 2**25  # bytes of images that go with a piece, if that is more than one batch
_READING = threading.Lock()

S = TypeVar("S", bound=Statistic)
T = TypeVar("T")


def check(client: object) -> None:
    """Raise ValueError for what is no client, and for a client that is closed or asynchronous."""
    distributed = sys.modules.get("distributed")  # who made a client has imported it
    if distributed is None or not isinstance(client, distributed.Client):
        raise ValueError(f"The client must be a dask.distributed.Client, not a {type(client).__name__}.")
    if client.asynchronous or client.status != "running":
        raise ValueError(f"The client must be connected, and not asynchronous: {client}.")


@dataclass(frozen=True)
class _Work:
    """What is the same for all pieces. One object, so that it is pickled as a whole."""

    model: nn.Module
    place: str
    statistics: list[Statistic]
    data: Any
    batch: int


@dataclass(frozen=True)
class _Piece:
    numbers: range
    images: list[tuple[range, Tensor]] | None  # None: the worker reads them
    like: tuple[int, Size]  # the number of the first image of all, and the size of all


@dataclass(frozen=True)
class _Found:
    states: list[State]


def pieces(
    client: Client,
    model: nn.Module,
    data: Any,
    fed: Sequence[Statistic],
    part: range,
    missing: Sequence[tuple[int, int]],
    batch: int,
) -> Generator[tuple[int, int], None, None]:
    """Merge into the statistics piece by piece; tell of each which positions of the part it had.

    Closed early, by an error or an interrupt, it calls off what is under way: workers stop after their batch.
    """
    from distributed import KilledWorker, as_completed

    if not missing:
        return
    sent, empty = _in_memory(data), [_holding(statistic, {}) for statistic in fed]
    work = _Work(*_on_cpu(model), empty, None if sent else data, batch)
    try:
        shared = _submit(client, _same, work)
    except Exception as error:
        raise ValueError(
            "The model, the data or the statistics cannot be sent to the workers, since they cannot be pickled: "
            f"{error.__cause__ or error}."
        ) from error
    running: dict[Future, tuple[int, int]] = {}
    try:
        like = part[0], image(data, part[0]).shape
        workers = client.nthreads()
        count = sum(ceil((stop - start) / batch) for start, stop in missing)
        most = min(_BATCHES, _SENT // max(1, 4 * like[1].numel() * batch)) if sent else _BATCHES
        size = batch * max(1, min(most, ceil(count / (_EACH * _threads(workers)))))
        cuts = ((i, min(i + size, stop)) for start, stop in missing for i in range(start, stop, size))
        # The first pieces are dealt out, so that every worker fetches the model at once; then dask sees who is free.
        first = [*islice(cycle(workers), 2 * _threads(workers))]
        completed = as_completed(loop=client.loop)
        while True:
            for start, stop in islice(cuts, max(0, 2 * _threads(client.nthreads()) - len(running))):
                numbers, images = part[start:stop], None
                if sent:
                    images = [(n, x.cpu()) for n, x in read(data, numbers, batch, like)]
                piece = _Piece(numbers, images, like)
                future = _submit(
                    client, survey_piece, shared, piece, workers=[first.pop()] if first else None
                )
                running[future] = start, stop
                completed.add(future)
            if not running:
                return
            future = next(completed)
            start, stop = running[future]
            try:
                found = future.result()
            except KilledWorker as error:
                raise RuntimeError(
                    f"One worker after the other ended while it had images {part[start]} to {part[stop - 1]}: "
                    "look at their logs; where memory is short, a smaller batch helps."
                ) from error
            del running[future]
            for statistic, state in zip(fed, found.states, strict=True):
                statistic.merge(_holding(statistic, state))
            yield start, stop
    finally:
        if client.status == "running":
            client.cancel([shared, *running])


def survey_piece(work: _Work, piece: _Piece) -> _Found:
    """The work on a worker: the states of new statistics, fed with the piece's images."""
    from distributed import get_worker

    _keep_memory()
    worker = get_worker()
    key = worker.get_current_task()
    # Copies: other threads of this worker have pieces too, and hooks and modes belong to the model.
    model, fed = _placed(copy.deepcopy(work.model), work.place), copy.deepcopy(work.statistics)
    if piece.images is None:
        stream = _one_at_a_time(read(work.data, piece.numbers, work.batch, piece.like))
    else:
        stream = iter(piece.images)
    for _ in feed(model, stream, fed):
        if worker.state.tasks[key].state == "cancelled":  # nobody waits for it any more
            break
    return _Found([statistic.state_dict() for statistic in fed])


@cache
def _keep_memory() -> None:
    """Let this process keep freed memory for the next batch, as a process does by itself.

    dask's nannies tell malloc to give nearly all back to the system at once. That doubles the time of a survey, whose
    every layer then begins with fresh pages.
    """
    if sys.platform == "linux" and "MALLOC_TRIM_THRESHOLD_" in os.environ:
        with suppress(OSError, AttributeError):  # another C library than glibc
            mallopt = ctypes.CDLL(None).mallopt
            mallopt(-1, 2**27)  # M_TRIM_THRESHOLD
            mallopt(-3, 2**25)  # M_MMAP_THRESHOLD


def _same(work: _Work) -> _Work:
    return work


def _threads(workers: Mapping[str, int]) -> int:
    return max(1, sum(workers.values()))


def _submit(
    client: Client, function: Callable[..., Any], *arguments: object, workers: list[str] | None = None
) -> Future:
    # Model and images are arguments of tasks and not scattered: dask makes anew what a dead worker had computed, but
    # not what was scattered to it. Its warning of large arguments is about those sent many times.
    import dask

    with dask.config.set({"distributed.admin.large-graph-warning-threshold": 2**60}):
        return client.submit(
            function, *arguments, pure=False, workers=workers, allow_other_workers=workers is not None
        )


def _in_memory(data: object) -> bool:
    if isinstance(data, Subset):
        return _in_memory(data.dataset)
    return isinstance(data, Tensor | list | tuple | TensorDataset)


def _on_cpu(model: nn.Module) -> tuple[nn.Module, str]:
    """The model, or a copy, where every process can read it; and where its parameters are."""
    place = next(model.parameters(), torch.zeros(0)).device
    if any(t.device.type != "cpu" for t in (*model.parameters(), *model.buffers())):
        model = copy.deepcopy(model).cpu()
    return model, str(place)


def _placed(model: nn.Module, place: str) -> nn.Module:
    """The model on the device of that name or, where it is missing, on one of its kind; else where it is."""
    for name in (place, place.partition(":")[0]):
        with suppress(ValueError):
            return model.to(device.pick(name))
    return model


def _holding(statistic: S, state: State) -> S:
    """A statistic with the same settings and another state; it shares the rest, which may be large."""
    one = copy.copy(statistic)
    one.load_state_dict(state)
    return one


def _one_at_a_time(stream: Iterator[T]) -> Iterator[T]:
    """What the threads of a process read in turns: few data sets are made for two readers."""
    while True:
        with _READING:
            item = next(stream, None)
        if item is None:
            return
        yield item
