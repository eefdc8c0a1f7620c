"""One name changes a lecture to another network: the set-up cell's MODEL, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
from nbclient import NotebookClient
from notebook_source import convert

SOLUTIONS = Path(__file__).parents[1] / "solutions"


@pytest.mark.slow
@pytest.mark.parametrize("model", ["imagenet/resnet18", "imagenet/googlenet"])
def test_lecture_01_runs_on_a_torchvision_network(model: str, tmp_path: Path) -> None:
    notebook = convert(SOLUTIONS / "01_weights_and_activations.py", "student")
    setup = next(cell for cell in notebook.cells if "setup" in cell.metadata.get("tags", []))
    for old, new in (
        ('MODEL = "diorama/alexnet"', f'MODEL = "{model}"'),
        ("WEIGHTS = True", "WEIGHTS = False"),
    ):
        assert setup.source.count(old) == 1
        setup.source = setup.source.replace(old, new)
    NotebookClient(
        notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    ).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert not [o for o in outputs if o.output_type == "error" or o.get("name") == "stderr"]
    assert f"{model}: its first layer is" in outputs[0].text
    assert sum("image/png" in o.get("data", {}) for o in outputs) >= 10
