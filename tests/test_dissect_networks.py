"""The script that dissects networks: its rotations, its rows, and that it goes on where it stopped."""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from cnnvis_helpers import weight_files, zoo
from cnnvis_helpers.dissection import stored
from cnnvis_helpers.patches import directions

sys.path.insert(0, str(Path(__file__).parent.parent / "data_scripts"))

import dissect_networks


def test_a_share_of_a_rotation_is_a_rotation():
    whole = dissect_networks.part_of_rotation(6, 3, 1.0)
    half = dissect_networks.part_of_rotation(6, 3, 0.5)
    assert torch.allclose(dissect_networks.part_of_rotation(6, 3, 0.0), torch.eye(6), atol=1e-5)
    assert torch.allclose(half @ half.T, torch.eye(6), atol=1e-5)
    assert torch.allclose(half @ half, whole, atol=1e-4)  # two halves make a whole
    assert torch.allclose(whole[1:], directions(6, 3)[1:], atol=1e-4)  # the first row may be reversed


def test_what_is_written_is_what_is_read(tmp_path):
    table = pd.DataFrame({
        "run": ["seed 1", "seed 1", "", "", ""],
        "network": ["b", "b", "b", "b", "b@50"],
        "turned": ["", "", "", "1.0 seed 0", ""],
        "layer": ["relu1", "relu1", "relu1", "relu5", "relu1"],
        "unit": [0, 1, 0, 0, 0],
        "category": ["part", None, "colour", "object", "scene"],
        "concept": ["bus window", None, "red", "sky", "sea"],
        "iou": [0.27104, 0.0, 0.04012, 1.0, 0.0399],
        "chance": [0.0051, 0.0052, 0.0, np.nan, np.nan],
        "lucky": [0, 1, 20, np.nan, np.nan],
        "same": [np.nan, np.nan, np.nan, np.nan, 0.5],
    })  # fmt: skip
    dissect_networks.write(table, tmp_path / "some.csv")
    read = stored(tmp_path / "some.csv")
    assert read.run.tolist() == ["", "", "", "seed 1", "seed 1"]  # in order of runs and networks
    assert read.network.tolist() == ["b", "b", "b@50", "b", "b"]
    assert read.turned.tolist() == ["", "1.0 seed 0", "", "", ""]
    assert read.layer.tolist() == ["relu1", "relu5", "relu1", "relu1", "relu1"]
    assert read.concept.fillna("none").tolist() == ["red", "sky", "sea", "bus window", "none"]
    assert read.iou.tolist() == [0.0401, 1.0, 0.0399, 0.271, 0.0]
    assert read.lucky.isna().tolist() == [False, True, True, False, False] and read.same[2] == 0.5
    dissect_networks.write(read, tmp_path / "again.csv")
    assert (tmp_path / "again.csv").read_text() == (tmp_path / "some.csv").read_text()
    assert (tmp_path / "some.csv").read_text().splitlines()[
        5
    ] == ",,,,1,,,0,52,1,"  # nothing is written twice


def test_repeated_trainings_are_found_and_wait_for_their_base(tmp_path):
    for run, name in (("seed 1", "alexnet"), ("seed 1", "alexnet@50"), ("seed 1", "alexnet-vgg"),
                      ("seed 2", "alexnet@50"), ("true labels", "alexnet-randomlabels")):  # fmt: skip
        file = tmp_path / run / "diorama" / f"{name}.safetensors"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    jobs = dissect_networks.repeated(tmp_path, list(dissect_networks.NETWORKS))
    assert [(job.run, job.network) for job in jobs if not job.turned] == [
        ("seed 1", "diorama/alexnet"),
        ("seed 1", "diorama/alexnet@0"),
        ("seed 1", "diorama/alexnet@50"),
        ("true labels", "diorama/alexnet-randomlabels"),
    ]
    assert [job.turned for job in jobs if job.turned] == list(dissect_networks.OTHER_TURNS)
    assert dissect_networks.repeated(tmp_path / "none", list(dissect_networks.NETWORKS)) == []


def test_another_run_has_its_own_weights_and_start(tmp_path):
    base = dissect_networks.BASE
    another = zoo.EMBEDDED[base].build(16, seed=7)
    file = tmp_path / "alexnet.safetensors"
    weight_files.save(file, another.state_dict(), {"name": base, "seed": 7})
    trained, start, shipped = (
        dissect_networks.Job(run, name, "", path).load().model.conv1.weight
        for run, name, path in (("x", base, file), ("x", f"{base}@0", file), ("", f"{base}@0", None))
    )
    assert torch.equal(trained, another.conv1.weight.half().float())
    assert torch.equal(start, another.conv1.weight) and not torch.allclose(start, shipped)


@pytest.mark.slow
def test_it_goes_on_where_it_stopped(tmp_path, monkeypatch):
    base = dissect_networks.BASE
    monkeypatch.setattr(dissect_networks, "TURNS", ("0.5 seed 0",))
    monkeypatch.setattr(dissect_networks, "OTHER_TURNS", ())
    steps = [base, f"{base}@50"]
    monkeypatch.setattr(dissect_networks.zoo, "checkpoints", lambda name: [*steps, name])
    file = tmp_path / "others" / "seed 7" / f"{base}.safetensors"
    weight_files.save(file, zoo.EMBEDDED[base].build(16, seed=7).state_dict(), {"name": base, "seed": 7})
    given = [
        "--images",
        "30",
        "--threads",
        "1",
        "--networks",
        base,
        "--others",
        str(tmp_path / "others"),
        "--out",
    ]
    dissect_networks.main([*given, str(tmp_path / "once.csv")])
    once = stored(tmp_path / "once.csv")
    assert list(once.columns) == [*dissect_networks.BLOCK, *dissect_networks.VALUES]
    own = once[(once.run == "") & (once.network == base) & (once.turned == "")]
    assert own.layer.unique().tolist() == [f"relu{k}" for k in range(1, 8)] and own.chance.notna().all()
    step, start = (
        once[once.network == f"{base}@50"],
        once[(once.run == "seed 7") & (once.network == f"{base}@0")],
    )
    assert step.same.notna().all() and own.same.isna().all() and (step.same <= step.iou).all()
    trained = once[(once.run == "seed 7") & (once.network == base)]
    assert np.allclose(
        start.same, trained.iou, atol=2e-3
    )  # that network never left its start; in half precision
    dissect_networks.write(own, tmp_path / "twice.csv")  # as if it had been interrupted
    dissect_networks.main([*given, str(tmp_path / "twice.csv")])
    pd.testing.assert_frame_equal(once, stored(tmp_path / "twice.csv"))
