"""Surveys on a dask cluster: the same bytes as one process, whoever dies, stops or fails on the way."""

from __future__ import annotations

import gc
import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from test_dissection import net as dissected_net
from test_dissection import world
from test_survey import Failing, asked, bits, net, photos
from torch import Tensor, nn
from torch.utils.data import Dataset, Subset, TensorDataset

from cnnvis_helpers import device, hooks, survey
from cnnvis_helpers.dissection import Tally, dissect
from cnnvis_helpers.receptive_field import receptive_field
from cnnvis_helpers.survey import Moments, Statistic, Threshold, TopK, cluster, resume

dask = pytest.importorskip("dask")
distributed = pytest.importorskip("distributed")


def local(**options: object) -> distributed.LocalCluster:
    return distributed.LocalCluster(dashboard_address=":0", silence_logs=logging.CRITICAL, **options)


@pytest.fixture(scope="module")
def client() -> Iterator[distributed.Client]:
    """Two processes of one thread, which are started anew when they die."""
    # dask gives up workers that are not back after 15 seconds, which are too few on a busy machine.
    patient = dask.config.set({"distributed.deploy.lost-worker-timeout": "5 minutes"})
    with patient, local(n_workers=2, threads_per_worker=1) as workers, distributed.Client(workers) as client:
        yield client


@pytest.fixture(scope="module")
def threads() -> Iterator[distributed.Client]:
    """One worker with two threads, in this process."""
    with (
        local(n_workers=1, threads_per_worker=2, processes=False) as workers,
        distributed.Client(workers, set_as_default=False) as client,
    ):
        yield client


class Mates(nn.Module):
    """What it gives for an image depends on the whole batch: only the same batches give the same bytes."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.full((3, 1, 1), 0.1))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale + x.sum() + len(x)


class Noted(Dataset[Tensor]):
    """Slow images; every process notes in a file of its own which it reads, and waits until `together` have one."""

    def __init__(
        self, data: Tensor, folder: Path, seconds: float = 0.0, gate: Path | None = None, together: int = 0
    ) -> None:
        self.data, self.folder, self.seconds, self.gate, self.together = data, folder, seconds, gate, together
        self.maker = os.getpid()
        folder.mkdir(exist_ok=True)

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, i: int) -> Tensor:
        with (self.folder / str(os.getpid())).open("a") as file:
            file.write(f"{i}\n")
        time.sleep(self.seconds)
        if os.getpid() != self.maker:
            until(lambda: len(os.listdir(self.folder)) >= self.together)
            if i == 0 and self.gate is not None:
                until(self.gate.exists)  # a worker has the first image when somebody opens the gate
        return self.data[i]

    def read(self) -> dict[int, Counter[int]]:
        """By process, other than this one, how often it has read which image."""
        files = {int(file.name): file.read_text() for file in self.folder.iterdir()}
        return {pid: Counter(map(int, text.split())) for pid, text in files.items() if pid != os.getpid()}

    def reads(self) -> int:
        return sum(counts.total() for counts in self.read().values())


class Spoilt(Noted):
    """One image cannot be used, or ends the process that reads it."""

    def __init__(self, data: Tensor, folder: Path, at: int, deadly: bool, seconds: float = 0.0) -> None:
        super().__init__(data, folder, seconds)
        self.at, self.deadly = at, deadly

    def __getitem__(self, i: int) -> Tensor:
        image = super().__getitem__(i)
        if i == self.at and self.deadly:
            os.kill(os.getpid(), signal.SIGKILL)
        return image * torch.nan if i == self.at else image


def until(
    condition: Callable[[], bool], seconds: float = 60, found: Callable[[], object] = lambda: "too late"
) -> None:
    limit = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < limit, found()
        time.sleep(0.005)


def both(client: distributed.Client) -> None:
    """Wait until two workers are there and have imported what they need."""
    until(lambda: len(client.nthreads()) == 2, 60)
    client.run(photos, 1)


def nothing_runs(client: distributed.Client, data: Noted) -> bool:
    """Whether the cluster holds no task of ours, and no more images are read."""
    until(lambda: not any(client.processing().values()), 60, client.processing)
    gc.collect()  # the future of a survey that could not be sent goes with its error's traceback, a cycle
    until(lambda: not client.futures, 60, lambda: [*client.futures])
    batch = 10 * data.seconds + 0.2  # seconds, more than it takes: workers stop after theirs
    time.sleep(batch)
    before = data.reads()
    time.sleep(2 * batch)
    return data.reads() == before


# --- the same bytes ---


@pytest.mark.parametrize(
    ("n", "batch", "part"),
    [
        (50, 7, None),
        (50, 1, None),
        (3, 1, None),  # fewer images than pieces were wished for
        (5, 64, None),
        (50, 4, range(3, 48, 2)),
        (50, 4, range(49, 2, -3)),
    ],
)
def test_the_bytes_are_those_of_one_process(
    client: distributed.Client, tmp_path: Path, n: int, batch: int, part: range | None
) -> None:
    data = photos(n)
    wanted = bits(survey.survey(net(), data, asked(n), batch=batch, part=part))
    wide = nn.Sequential(Mates(), nn.Identity())
    statistics = [TopK("0", 2), Moments("0"), Threshold("0", n, 0.01)]
    strict = bits(survey.survey(wide, data, statistics, batch=batch, part=part))
    for given in (data, Noted(data, tmp_path / "read")):
        found = survey.survey(net(), given, asked(n), batch=batch, part=part, client=client)
        assert bits(found) == wanted
        found = survey.survey(wide, given, statistics, batch=batch, part=part, client=client)
        assert bits(found) == strict
    assert bits(survey.survey(wide, data, statistics, batch=batch + 1, part=part)) != strict or n == 5


def test_kinds_of_data_sets(client: distributed.Client, tmp_path: Path) -> None:
    data = photos(9)
    wanted = bits(survey.survey(net(), data, asked(9), batch=2))
    noted = Noted(data, tmp_path / "read")
    order = [4, 0, 1, 2, 3, 5, 6, 7, 8]
    for other in (
        list(data),
        TensorDataset(data, torch.arange(9)),
        data.to(memory_format=torch.channels_last),
    ):
        assert bits(survey.survey(net(), other, asked(9), batch=2, client=client)) == wanted
    for other in (noted, data):
        turned = Subset(other, order)
        assert bits(survey.survey(net(), turned, asked(9), batch=2, client=client)) == bits(
            survey.survey(net(), data[order], asked(9), batch=2)
        )
    assert sum(noted.read().values(), Counter()) == Counter(range(9)), "each image is read once, by a worker"
    half = data.bfloat16()
    model = net().bfloat16()
    assert bits(survey.survey(model, half, asked(9), client=client)) == bits(
        survey.survey(model, half, asked(9))
    )


def test_a_layout_is_kept_on_the_way(client: distributed.Client) -> None:
    class Strides(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x + x.stride(1)

    (found,) = survey.survey(
        nn.Sequential(Strides()),
        photos(5).contiguous(memory_format=torch.channels_last),
        [Moments("0")],
        client=client,
    )
    assert found.maximum.tolist() == [5, 5, 5], "the largest value is 4, the channels are neighbours"


def test_a_tally_and_a_whole_dissection(client: distributed.Client, threads: distributed.Client) -> None:
    x, labels = world(150)
    model, field = dissected_net(), receptive_field(dissected_net(), "1", (16, 16))
    tallies = [Tally("1", labels, torch.full((6,), t), field, shuffles=3) for t in (1.0, 5.0)]
    data = Subset(x, tallies[0].order)
    wanted = bits(survey.survey(model, data, tallies, batch=16))
    whole = dissect(model, x, labels, ["1", "3"], share=0.02, shuffles=2, batch=16)
    for one in (client, threads):
        assert bits(survey.survey(model, data, tallies, batch=16, client=one)) == wanted
        found = dissect(model, x, labels, ["1", "3"], share=0.02, shuffles=2, batch=16, client=one)
        for layer in whole:
            assert bits([found[layer].tally]) == bits([whole[layer].tally])
            assert torch.equal(found[layer].thresholds, whole[layer].thresholds)
    basis = torch.eye(6)[[3, 1]]
    assert bits([dissect(model, x, labels, "1", basis=basis, client=client)["1"].tally]) == bits(
        [dissect(model, x, labels, "1", basis=basis)["1"].tally]
    )


def test_a_statistic_of_the_reader_s_own(client: distributed.Client) -> None:
    class Sum(Statistic):
        def _measure(self, a: Tensor, indices: Tensor) -> dict[str, Tensor]:
            return {"sum": a.sum((0, 2, 3)).to(torch.int64)}

        def _join(self, one: dict[str, Tensor], two: dict[str, Tensor]) -> dict[str, Tensor]:
            return {"sum": one["sum"] + two["sum"]}

    data = photos(20)
    (found,) = survey.survey(net(), data, [Sum("1")], batch=3, client=client)
    assert torch.equal(
        found.state_dict()["sum"], hooks.activations(net(), data, "1")["1"].sum((0, 2, 3)).long()
    )


# --- one worker with threads; the model ---


MET: list[int] = []
MEETING = threading.Barrier(2)
READER = threading.Lock()


class Meeting(nn.Module):
    """The first two who run it wait until both are there."""

    def forward(self, x: Tensor) -> Tensor:
        MET.append(1)
        if len(MET) <= 2:
            MEETING.wait(20)
        return x


class Single(Noted):
    """Made for one reader at a time."""

    def __getitem__(self, i: int) -> Tensor:
        assert READER.acquire(blocking=False), "two threads read at once"
        time.sleep(0.001)
        READER.release()
        return self.data[i]


def test_threads_do_not_get_into_each_other_s_way(threads: distributed.Client, tmp_path: Path) -> None:
    data = photos(60)
    model = nn.Sequential(net(), Meeting())
    wanted = [TopK("0.1", 3), Moments("0.1"), Threshold("0.1", 60, 0.01), TopK("0.3", 2)]
    found = survey.survey(model, Single(data, tmp_path / "x"), wanted, batch=4, client=threads)
    assert not MEETING.broken and len(MET) > 2, "both threads work at once"
    assert bits(found) == bits(survey.survey(model, data, wanted, batch=4))


@pytest.mark.parametrize("which", ["client", "threads"])
def test_the_model_is_as_before(which: str, request: pytest.FixtureRequest) -> None:
    model = nn.Sequential(net().train(), nn.BatchNorm1d(4).eval(), nn.Dropout())
    model[0][0].weight.requires_grad_(False)
    seen: list[int] = []
    handle = model[0].register_forward_hook(lambda *_: seen.append(1))
    before = {name: t.clone() for name, t in model.state_dict().items()}
    survey.survey(model, photos(20), [TopK("0.1")], batch=4, client=request.getfixturevalue(which))
    assert [m.training for m in (model, model[0], model[0][0], model[1], model[2])] == [
        True,
        True,
        True,
        False,
        True,
    ]
    assert [p.requires_grad for p in model.parameters()] == [False, True, True, True, True, True]
    assert all(torch.equal(t, before[name]) for name, t in model.state_dict().items())
    assert not model[0][1]._forward_hooks and list(model[0]._forward_hooks) == [handle.id]
    assert not seen, "the user's model did not run: copies of it did"


def test_the_model_is_not_sent_with_every_piece(client: distributed.Client, tmp_path: Path) -> None:
    model = nn.Sequential(Landing(tmp_path))
    survey.survey(model, photos(200), [TopK("0")], batch=2, client=client)
    landed = Counter(int(name.name.split()[0]) for name in tmp_path.iterdir())
    workers = set(client.run(os.getpid).values())
    # Once to each; dask may move it once more, when a worker steals it.
    assert workers <= landed.keys() and all(landed[pid] <= 2 for pid in workers), landed


class Landing(nn.Module):
    """Notes where it is unpickled."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder

    def forward(self, x: Tensor) -> Tensor:
        return x

    def __deepcopy__(self, memo: object) -> Landing:
        return Landing(self.folder)  # not by `__setstate__`

    def __setstate__(self, state: dict[str, object]) -> None:
        super().__setstate__(state)
        (self.folder / f"{os.getpid()} {time.time_ns()}").touch()


def test_a_device_that_is_missing_is_replaced() -> None:
    model = cluster._placed(net(), "cuda:77")
    assert next(model.parameters()).device.type == device.available()[0].replace("mps", "cpu")
    assert cluster._on_cpu(net())[1] == "cpu" and cluster._on_cpu(nn.ReLU())[1] == "cpu"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_model_on_the_gpu_runs_on_the_workers_gpu(client: distributed.Client) -> None:
    model = net().cuda()
    for data in (photos(20), photos(20).cuda()):
        found = survey.survey(model, data, asked(20), batch=4, client=client)
        assert bits(found) == bits(survey.survey(model, data, asked(20), batch=4))
    assert next(model.parameters()).is_cuda


# --- death, interruption, errors ---


def test_a_killed_worker_loses_nothing(client: distributed.Client, tmp_path: Path) -> None:
    n, batch = 160, 2
    data = Noted(photos(n), tmp_path / "read", seconds=0.02, together=3)  # this process and both workers
    killed: list[int] = []
    both(client)

    def kill() -> None:
        until(lambda: len(data.read()) == 2 and data.reads() > n // 3)
        pid = max(data.read(), key=lambda pid: data.read()[pid].total())
        os.kill(pid, signal.SIGKILL)
        killed.extend([pid, data.reads()])

    killer = threading.Thread(target=kill)
    killer.start()
    found = survey.survey(net(), data, asked(n), batch=batch, client=client)
    killer.join()
    pid, then = killed
    assert pid not in client.run(os.getpid).values() and then < 0.8 * n, "it was killed, and in the middle"
    assert bits(found) == bits(survey.survey(net(), data.data, asked(n), batch=batch))
    counts = sum(data.read().values(), Counter())
    piece = batch * 5  # of 80 batches, 8 pieces a thread
    assert counts.keys() == set(range(n)) and n <= counts.total() <= n + 3 * piece, "little is done twice"
    both(client)


def done_in(path: Path) -> object:
    with safe_open(path, framework="pt") as file:
        return json.loads(file.metadata()["survey"][64:])["done"]


def test_an_interrupted_survey_goes_on_with_what_is_missing(
    client: distributed.Client, threads: distributed.Client, tmp_path: Path
) -> None:
    n, path, gate = 64, tmp_path / "file", tmp_path / "gate"
    data = Noted(photos(n), tmp_path / "read", seconds=0.01, gate=gate)  # the first piece does not come

    def interrupt() -> None:
        until(lambda: path.exists() and isinstance(done_in(path), list) and data.reads() > n // 3)
        os.kill(os.getpid(), signal.SIGINT)

    interrupter = threading.Thread(target=interrupt)
    interrupter.start()
    with pytest.raises(KeyboardInterrupt):
        survey.survey(net(), data, asked(n), batch=2, resume=path, save_every=0, client=client)
    interrupter.join()
    gate.touch()
    assert nothing_runs(client, data)
    runs, held = done_in(path), path.read_bytes()
    assert runs[0][0] > 0 and runs[-1][1] < n, "there are images to do before and behind those done"
    missing = Counter(set(range(n)).difference(*(range(*run) for run in runs)))
    straight = survey.survey(net(), data.data, asked(n), batch=2, resume=tmp_path / "straight")
    for i, other in enumerate((client, threads, None)):
        path.write_bytes(held)
        rest = Noted(data.data, tmp_path / str(i))
        found = survey.survey(net(), rest, asked(n), batch=2, resume=path, client=other)
        assert bits(found) == bits(straight)
        assert path.read_bytes() == (tmp_path / "straight").read_bytes(), "nor can one tell from the file"
        own = Counter(map(int, (tmp_path / str(i) / str(os.getpid())).read_text().split()))
        ends = Counter([0, n - 1] if other is None else [0, 0, n - 1])  # looked at beforehand
        assert sum(rest.read().values(), own) == missing + ends, "no image is done again"


def test_what_one_process_began_a_cluster_ends(client: distributed.Client, tmp_path: Path) -> None:
    path, data = tmp_path / "file", photos(40)
    with pytest.raises(KeyboardInterrupt):
        survey.survey(net(), Failing(data, 25), asked(40), batch=4, resume=path, save_every=0)
    assert done_in(path) == 20  # two images are read beforehand, and the 25th read is in the sixth batch
    noted = Noted(data, tmp_path / "read")
    found = survey.survey(net(), noted, asked(40), batch=4, resume=path, client=client)
    assert bits(found) == bits(survey.survey(net(), data, asked(40), batch=4))
    assert sum(noted.read().values(), Counter()) == Counter(range(20, 40))
    survey.survey(net(), noted, asked(40), batch=4, resume=path, client=client)
    assert noted.reads() == 20, "a finished survey is read back"


def test_which_positions_are_done() -> None:
    done = resume.Done()
    assert done.missing(9) == [(0, 9)] and done.count == 0
    for run, runs, missing in [
        ((4, 6), [(4, 6)], [(0, 4), (6, 9)]),
        ((8, 9), [(4, 6), (8, 9)], [(0, 4), (6, 8)]),
        ((0, 2), [(0, 2), (4, 6), (8, 9)], [(2, 4), (6, 8)]),
        ((6, 8), [(0, 2), (4, 9)], [(2, 4)]),
        ((2, 4), [(0, 9)], []),
    ]:
        done.add(*run)
        assert (done.runs, done.missing(9)) == (runs, missing)
        assert done.count == sum(stop - start for start, stop in runs)


@pytest.mark.parametrize("kind", ["tensor", "read by the workers"])
def test_an_error_is_the_one_of_one_process(client: distributed.Client, tmp_path: Path, kind: str) -> None:
    bad = photos(60)
    bad[23] = torch.nan
    data = bad if kind == "tensor" else Noted(bad, tmp_path / "read", seconds=0.01)
    with pytest.raises(ValueError, match=r"^Image 23 holds NaN or infinite values\.$"):
        survey.survey(net(), data, asked(60), batch=2, client=client)
    if isinstance(data, Noted):
        assert nothing_runs(client, data) and data.reads() < 60
    other = [*photos(30), *photos(30)[:, :, :, :4]]
    given = other if kind == "tensor" else Listed(other)
    for one, first in ((None, "30"), (client, r"3\d")):  # a later piece may be the first to fail
        with pytest.raises(ValueError, match=rf"^Image {first} is \(3, 8, 4\), image 0 \(3, 8, 8\): bring"):
            survey.survey(nn.Sequential(nn.ReLU()), given, [TopK("0")], batch=2, client=one)


class Listed(Dataset[Tensor]):
    """A list that a worker reads."""

    def __init__(self, images: list[Tensor]) -> None:
        self.images, self.lock = images, None

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, i: int) -> Tensor:
        return self.images[i]


class Untold(nn.Module):
    """Its second layer does not run."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.ReLU(), nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.one(x) * torch.inf


def test_errors_of_the_model_and_of_what_cannot_be_sent(client: distributed.Client) -> None:
    with pytest.raises(hooks.LayerError, match="'two' has given no tensor"):
        survey.survey(Untold(), photos(5), [TopK("two")], client=client)
    with pytest.raises(ValueError, match="Layer '0' gives NaN or infinite"):
        survey.survey(nn.Sequential(Untold()), photos(5), [TopK("0")], client=client)
    assert not client.futures
    locked = Listed([*photos(3)])
    locked.lock = threading.Lock()
    with pytest.raises(ValueError, match=r"cannot be sent to the workers, .*lock"):
        survey.survey(net(), locked, [TopK("1")], client=client)
    with pytest.raises(ValueError, match="new statistics"):
        survey.survey(net(), photos(5), [], client=client)


def test_progress_counts_the_images(client: distributed.Client, capsys: pytest.CaptureFixture[str]) -> None:
    survey.survey(net(), photos(30), [TopK("1")], batch=4, client=client)
    assert capsys.readouterr().err == ""
    survey.survey(net(), photos(30), [TopK("1")], batch=4, progress=True, client=client)
    assert "30/30" in capsys.readouterr().err


SCRIPT = """
import sys
import torch
from torch import nn
from cnnvis_helpers.survey import TopK, survey
try:
    survey(nn.Sequential(nn.ReLU()), torch.zeros(2, 3, 4, 4), [TopK("0")], client="tcp://localhost:8786")
except ValueError as error:
    print(error)
print([name for name in ("dask", "distributed") if name in sys.modules])
"""


def test_what_is_no_client_and_that_dask_is_not_imported_without_one() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["The client must be a dask.distributed.Client, not a str.", "[]"]
    with local(n_workers=0, processes=False) as empty:
        gone = distributed.Client(empty, set_as_default=False)
        gone.close()
    for wrong, message in [("x", "not a str"), (gone, "must be connected")]:
        with pytest.raises(ValueError, match=message):
            survey.survey(net(), photos(2), [TopK("1")], client=wrong)


def test_images_that_kill_are_named(client: distributed.Client, tmp_path: Path) -> None:
    """The last one: it leaves a worker that begins anew."""
    data = Spoilt(photos(32), tmp_path / "read", at=21, deadly=True)
    scheduler = client.cluster.scheduler
    allowed, scheduler.allowed_failures = scheduler.allowed_failures, 0
    try:
        # The worker may have had another piece in hand besides the deadly one.
        with pytest.raises(RuntimeError, match=r"ended while it had images \d+ to \d+"):
            survey.survey(net(), data, asked(32), batch=2, client=client)
    finally:
        scheduler.allowed_failures = allowed
    assert nothing_runs(client, data)
