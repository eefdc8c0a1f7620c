"""The cache survives kills, damage, a full disk and two kernels; the sample and the statistics of the data set hold."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from cnnvis_helpers import diorama
from cnnvis_helpers.diorama import CATEGORIES, CacheError, dataset


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache with shards of 4 images."""
    monkeypatch.setenv("CNNVIS_CACHE", str(tmp_path))
    monkeypatch.setattr(dataset, "SHARD", 4)
    return tmp_path / f"diorama-v{diorama.VERSION}" / "test"


def quiet(split: str = "test", n: int = 8, **options: bool) -> diorama.Batch:
    return diorama.load(split, n, progress=False, processes=1, **options)


def test_load_gives_what_render_gives(cache: Path) -> None:
    batch = quiet(n=6)
    assert len(batch) == 6 and batch.images.shape == (6, 3, 96, 96)
    for i in (0, 5):
        e = diorama.render("test", i)
        assert np.array_equal(batch.pixels[i], e.image) and batch.labels[i] == e.label
        assert batch.maps is not None and batch.instance is not None
        for category in CATEGORIES:
            assert np.array_equal(batch.maps[category][i], e.maps[category])
        assert np.array_equal(batch.instance[i], e.instance)
        assert batch.attributes["occluded"][i] == e.attributes["occluded"]
        assert tuple(batch.attributes["box"][i]) == e.attributes["box"]
        assert batch.keypoints[i] == e.keypoints
    assert torch.equal(batch.images[5, :, 10, 20], torch.from_numpy(batch.pixels[5, 10, 20]).float() / 255)


def test_selection() -> None:
    batch = diorama.sample(8)
    some = batch[np.array([5, 1])]
    assert some.labels.tolist() == [5, 1] and np.array_equal(some.pixels[1], batch.pixels[1])
    assert len(batch[2:5]) == 3 and some.maps is not None and some.maps["part"].shape == (2, 96, 96)
    with pytest.raises(TypeError, match="one image: batch"):
        batch[3]  # type: ignore[index]


def test_a_second_load_renders_nothing(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = quiet()
    monkeypatch.setattr(dataset, "render", lambda *a: pytest.fail("rendered again"))
    assert np.array_equal(quiet().pixels, first.pixels)
    assert quiet(labels=False).maps is None


def test_a_damaged_shard_is_rendered_again(cache: Path) -> None:
    first = quiet()
    for path in (cache / "images-0000.npz", cache / "maps-0001.npz"):
        data = path.read_bytes()
        path.write_bytes(data[: len(data) // 2])
    again = quiet()
    assert np.array_equal(again.pixels, first.pixels) and again.maps is not None and first.maps is not None
    assert np.array_equal(again.maps["part"], first.maps["part"])


def test_a_full_disk_gets_one_sentence_and_loses_nothing(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quiet(n=4)

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as m:
        m.setattr(dataset.np, "savez", full)
        with pytest.raises(CacheError, match=r"No space left on device.*CNNVIS_CACHE"):
            quiet(n=8)
    assert sorted(p.name for p in cache.glob("*.npz")) == ["images-0000.npz", "maps-0000.npz"]
    assert not list(cache.glob("*.tmp"))
    assert len(quiet(n=8)) == 8


def test_an_unwritable_cache_gets_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("CNNVIS_CACHE", str(tmp_path / "file"))
    with pytest.raises(CacheError, match="cannot be written"):
        quiet()


SCRIPT = """
from cnnvis_helpers.diorama import dataset
import sys, time
dataset.SHARD = 4
dataset.load("test", 24, progress=False, processes=1)
"""


def test_killed_while_rendering_it_goes_on_where_it_stopped(cache: Path) -> None:
    job = subprocess.Popen([sys.executable, "-c", SCRIPT])
    deadline = time.monotonic() + 60
    while not list(cache.glob("maps-0001.npz")) and time.monotonic() < deadline and job.poll() is None:
        time.sleep(0.01)
    job.kill()
    job.wait()
    kept = {p: p.stat().st_mtime_ns for p in cache.glob("maps-*.npz")}
    assert len(kept) >= 2
    batch = quiet(n=24)
    assert np.array_equal(batch.pixels[23], diorama.render("test", 23).image)
    assert all(p.stat().st_mtime_ns == t for p, t in kept.items())


def test_two_kernels_at_once_render_each_shard_once(cache: Path) -> None:
    jobs = [subprocess.Popen([sys.executable, "-c", SCRIPT]) for _ in range(2)]
    assert [job.wait(timeout=120) for job in jobs] == [0, 0]
    assert len(list(cache.glob("images-*.npz"))) == 6 and not list(cache.glob("*.tmp"))
    assert np.array_equal(quiet(n=24).pixels[7], diorama.render("test", 7).image)


def test_bad_requests() -> None:
    with pytest.raises(ValueError, match="unknown split 'dev'; there are train"):
        diorama.load("dev")
    with pytest.raises(
        ValueError, match="the test split has 2000 images: n must lie between 1 and that, not 0"
    ):
        diorama.load("test", 0)
    with pytest.raises(ValueError, match=r"the sample has \d+ images, not 9999"):
        diorama.sample(9999)
    with pytest.raises(ValueError, match="at least one example"):
        diorama.collate([])


def test_dataset_renders_with_knobs() -> None:
    data = diorama.Dataset("test", diorama.Knobs(scene="desert"), n=20)
    image, label = data[3]
    assert (
        image.shape == (3, 96, 96)
        and image.min() >= 0
        and image.max() <= 1
        and label == 3
        and len(data) == 20
    )
    with pytest.raises(IndexError, match="0 … 19"):
        data[20]


def test_sample_is_the_first_test_images() -> None:
    sample = diorama.sample(32)
    for i in (0, 17, 31):
        e = diorama.render("test", i)
        assert np.abs(sample.pixels[i].astype(int) - e.image).mean() < 6  # JPEG smooths the sensor noise
        assert np.abs(sample.pixels[i - 1].astype(int) - e.image).mean() > 20  # another image
        assert sample.maps is not None and sample.instance is not None
        assert all(np.array_equal(sample.maps[c][i], e.maps[c]) for c in CATEGORIES)
        assert np.array_equal(sample.instance[i], e.instance)


# ---- the data set is what the lectures say it is ------------------------------------------------------------------


def test_objects_do_not_sit_in_the_middle() -> None:
    """A map that always points at the centre hits the object in at most 45 % of the images."""
    instance = diorama.sample().instance
    assert instance is not None
    hit = instance[:, 47:49, 47:49].any((1, 2)).mean()
    assert 0.2 < hit <= 0.45


def test_many_objects_are_partly_hidden() -> None:
    occluded = diorama.sample().attributes["occluded"]
    assert 0.2 < ((occluded >= 0.1) & (occluded <= 0.5)).mean() < 0.45
    assert occluded.max() <= 0.55


def test_every_concept_occurs() -> None:
    maps = diorama.load("test", 1000, progress=False).maps
    assert maps is not None
    for category in CATEGORIES:
        present = set(np.unique(maps[category]))
        missing = [n for i, n in enumerate(diorama.names(category)) if n and i not in present]
        assert not missing, f"{category}: {missing}"


def histogram(pixels: np.ndarray) -> np.ndarray:
    """Joint RGB histogram with 6 levels a channel, (N, 216), square-rooted."""
    cells = (pixels.astype(int) * 6 // 256) @ np.array([36, 6, 1])
    return np.sqrt(np.stack([np.bincount(c.ravel(), minlength=216) for c in cells]))


def test_colour_histograms_do_not_give_the_class_away() -> None:
    train = diorama.load("train", 3000, labels=False, progress=False)
    test = diorama.sample()
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=300))
    model.fit(histogram(train.pixels), train.labels.numpy())
    accuracy = model.score(histogram(test.pixels), test.labels.numpy())
    assert 1 / 16 < accuracy < 0.30


def test_a_damaged_sample_gets_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = (Path(diorama.__file__).parent / "sample" / "test.zip").read_bytes()
    (tmp_path / "sample").mkdir()
    (tmp_path / "sample" / "test.zip").write_bytes(whole[: len(whole) // 2])
    monkeypatch.setattr(dataset.resources, "files", lambda package: tmp_path)
    with pytest.raises(OSError, match=r"sample .* is damaged .*: install the package again"):
        diorama.sample(4)


def test_a_script_without_a_main_guard_is_told_so(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "from cnnvis_helpers.diorama import load\nload('test', 500, progress=False, processes=2)\n"
    )
    environment = {**os.environ, "CNNVIS_CACHE": str(tmp_path)}
    run = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, timeout=120, env=environment
    )
    assert run.returncode != 0 and "call it below `if __name__ == '__main__':`" in run.stderr
