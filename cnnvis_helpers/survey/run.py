"""Run a data set through a network once and feed statistics.

- `survey`: the run; it can be killed and go on, and be spread over other processes and machines

    (top,) = survey(model, test, [TopK("relu5", 9)], resume="conv5.survey")
"""

from __future__ import annotations

import copy
import time
from collections.abc import Generator, Sequence
from contextlib import closing, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from torch import nn
from tqdm.auto import tqdm

from cnnvis_helpers import hooks
from cnnvis_helpers.survey import cluster, feeding
from cnnvis_helpers.survey import resume as files
from cnnvis_helpers.survey.statistics import Statistic

if TYPE_CHECKING:
    from distributed import Client

S = TypeVar("S", bound=Statistic)


def survey(
    model: nn.Module,
    data: Any,
    statistics: Sequence[S],
    *,
    batch: int = 64,
    part: range | None = None,
    resume: str | Path | None = None,
    save_every: float = 5.0,
    progress: bool = False,
    client: Client | None = None,
) -> list[S]:
    """Run the model once over the data and return copies of the statistics, fed with their layers' activations.

    Memory holds one batch, its recorded layers and the statistics' states. The images go to the device and precision
    of the model's parameters. The model is in evaluation mode meanwhile and put back.

    Args:
        data: normalised images of one size (see the top of the package).
        statistics: new ones, without images; they are not changed.
        batch: how many images run at once.
        part: which images, None for all. Surveys of parts, merged in any order, give what one survey gives, bit for
            bit where the parts begin at multiples of `batch`.
        resume: a file for the state. It is written every `save_every` seconds and at the end; a survey that finds it
            goes on with the images that are not in it, and one that is finished is read back. It holds for the same
            weights, statistics, number of images, first and last image, and part, with a client or without. Another
            batch size is allowed.
        progress: show a bar.
        client: a `dask.distributed.Client`; its workers do the work, a few batches at a time, as `survey.cluster`
            says. The result is the same, bit for bit where the workers compute as this process does.

    Raises:
        hooks.LayerError: there is no such layer, or it does not run.
        ValueError: no images, images of several sizes, NaN, or a layer that gives neither maps nor codes; a client
            that is none, or data, a model or statistics that cannot be sent to its workers.
        ResumeError: the file is damaged, of another survey, in use by another process, or cannot be written.
        RuntimeError: some images ended one worker after the other.
    """
    fed = copy.deepcopy(list(statistics))
    if not fed or any(statistic.seen for statistic in fed):
        raise ValueError("Give a list of one or more new statistics, such as [TopK('relu5')].")
    for statistic in fed:
        hooks.find(model, statistic.layer)
    if client is not None:
        cluster.check(client)
    part = feeding.chosen(data, part, batch)
    path = None if resume is None else Path(resume)
    with nullcontext() if path is None else files.locked(path):
        facts: dict[str, Any] = {}
        done = files.Done()
        if path is not None:
            ends = [feeding.image(data, i) for i in (part[0], part[-1])]
            facts = files.facts(model, len(data), ends, part, fed)
            done = files.load(path, facts, fed)
        saved, missing = time.monotonic(), done.missing(len(part))
        if client is None:
            pieces = _pieces(model, data, fed, part, missing, batch)
        else:
            pieces = cluster.pieces(client, model, data, fed, part, missing, batch)
        with (
            tqdm(total=len(part), initial=done.count, unit="image", disable=not progress) as bar,
            closing(pieces),
        ):
            for start, stop in pieces:
                done.add(start, stop)
                bar.update(stop - start)
                if path is not None and (done.count == len(part) or time.monotonic() - saved >= save_every):
                    files.save(path, facts, done, fed)
                    saved = time.monotonic()
    return fed


def _pieces(
    model: nn.Module,
    data: Any,
    fed: Sequence[Statistic],
    part: range,
    missing: Sequence[tuple[int, int]],
    batch: int,
) -> Generator[tuple[int, int], None, None]:
    """Feed the statistics batch by batch; tell of each which positions of the part it had."""
    for start, stop in missing:
        for count in feeding.feed(model, feeding.read(data, part[start:stop], batch), fed):
            yield start, start + count
            start += count
