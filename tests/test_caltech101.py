"""The photographs: a split that is written down, and one sentence for every folder that is not Caltech-101."""

import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from cnnvis_helpers.photos import CLASSES, LICENCE

sys.path.insert(0, str(Path(__file__).parent.parent / "data_scripts"))

import caltech101
import train_models
import training_data

SMALL = {
    "barrel": {"photographs": 4, "test": [2], "validation": [4]},
    "llama": {"photographs": 3, "test": [1], "validation": []},
}


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder as torchvision leaves it: seven photographs, two categories of faces and of background."""
    monkeypatch.setattr(caltech101, "SPLIT", SMALL)
    counts = {name: held["photographs"] for name, held in SMALL.items()}
    for name, count in {**counts, "Faces": 2, "BACKGROUND_Google": 1}.items():
        folder = tmp_path / "caltech101" / "101_ObjectCategories" / name
        folder.mkdir(parents=True)
        for number in range(1, count + 1):
            picture = np.zeros((100, 200, 3), np.uint8)
            picture[:, :100] = (255, 0, 0)  # the left half is red
            picture[..., 2] = 20 * number
            mode = "L" if name == "llama" else "RGB"  # some of Caltech-101's are grey
            Image.fromarray(picture).convert(mode).save(folder / f"image_{number:04d}.jpg", quality=95)
    return tmp_path


def said(error: pytest.ExceptionInfo[SystemExit]) -> str:
    message = str(error.value)
    assert message.endswith(".") and "\n" not in message
    return message


# ---- the split that is written down


def test_every_photograph_has_one_place() -> None:
    assert tuple(caltech101.SPLIT) == CLASSES and len(CLASSES) == 99
    held = caltech101.SPLIT.values()
    assert sum(h["photographs"] for h in held) == 7807
    assert sum(len(h["test"]) for h in held) == 1200
    assert sum(len(h["validation"]) for h in held) == 400
    for h in held:
        numbers = [*h["test"], *h["validation"]]
        assert len(set(numbers)) == len(numbers)
        assert min(numbers) >= 1 and max(numbers) <= h["photographs"]
        # the same share of every class, to within one photograph
        assert abs(len(h["test"]) - h["photographs"] * 1200 / 7807) <= 1


def test_the_split_is_the_one_that_its_function_draws() -> None:
    counts = {name: held["photographs"] for name, held in caltech101.SPLIT.items()}
    assert caltech101.choose_split(counts, 1200, 400, seed=0) == caltech101.SPLIT


def test_licence_is_named() -> None:
    assert LICENCE == "CC BY 4.0"


# ---- reading


def test_parts_hold_the_photographs_of_the_split(root: Path) -> None:
    folder = caltech101.open_folder(root)
    test = caltech101.read(folder, "test", whole=False)
    assert test["pixels"].shape == (2, 3, 96, 96) and test["pixels"].dtype == torch.uint8
    assert test["labels"].tolist() == [CLASSES.index("barrel"), CLASSES.index("llama")]
    assert test["pixels"][0, 2].float().mean().item() == pytest.approx(40, abs=4)  # number 2's blue
    assert torch.equal(test["pixels"][1, 0], test["pixels"][1, 1])  # grey became three equal colours
    assert (
        test["pixels"][0, 0, :, :46].min() > 200 and test["pixels"][0, 0, :, 50:].max() < 60
    )  # the centre, upright
    train = caltech101.read(folder, "train", whole=True)
    assert train["pixels"].shape == (4, 3, 144, 144)
    assert train["extent"].tolist() == [[0.5, 1.0]] * 4
    assert len(caltech101.read(folder, "validation", whole=False)["labels"]) == 1
    assert len(caltech101.read(folder, "train", whole=True, most=2)["labels"]) == 2


def test_a_family_is_loaded_by_name(root: Path) -> None:
    images = training_data.load("photos", "train", photographs=root)
    assert len(images) == 4 and images.extent is not None
    assert training_data.load("photos", "test", photographs=root).extent is None


# ---- folders that are not Caltech-101


def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as error:
        caltech101.open_folder(tmp_path / "mistyped")
    assert "--photos" in said(error) and "--download" in said(error)
    assert not (tmp_path / "mistyped").exists()


def test_half_downloaded(root: Path) -> None:
    (root / "caltech101" / "101_ObjectCategories" / "barrel" / "image_0003.jpg").unlink()
    with pytest.raises(SystemExit, match="holds 3 photographs, Caltech-101 has 4"):
        caltech101.open_folder(root)
    shutil.rmtree(root / "caltech101" / "101_ObjectCategories" / "llama")
    with pytest.raises(SystemExit) as error:
        caltech101.open_folder(root)
    assert "lacks 1 categories (llama" in said(error)


def test_another_layout(root: Path) -> None:
    folder = root / "caltech101" / "101_ObjectCategories"
    with pytest.raises(SystemExit, match="There are no photographs in"):
        caltech101.open_folder(folder)  # the right place, one level too deep
    for name in SMALL:
        (folder / name).rename(folder / f"{name}s")
    with pytest.raises(SystemExit, match="lacks 2 categories"):
        caltech101.open_folder(root)


def test_a_damaged_photograph_is_named(root: Path) -> None:
    path = root / "caltech101" / "101_ObjectCategories" / "llama" / "image_0001.jpg"
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(SystemExit) as error:
        caltech101.read(caltech101.open_folder(root), "test", whole=False)
    assert "llama/image_0001.jpg is missing or damaged" in said(error)


def test_no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_: object, **__: object) -> None:
        raise OSError("no network")

    monkeypatch.setattr(caltech101.Caltech101, "download", offline)
    with pytest.raises(SystemExit, match=r"could not be fetched into .* \(no network\)"):
        caltech101.open_folder(tmp_path, download=True)


def test_the_command_line_says_so_too(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="There are no photographs"):
        train_models.main(["photos/alexnet", "--photos", str(tmp_path)])
