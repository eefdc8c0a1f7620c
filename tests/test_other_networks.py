"""One name changes a lecture to another network: the set-up cell's MODEL, and nothing else."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from nbclient import NotebookClient
from nbformat import NotebookNode
from notebook_source import convert

SOLUTIONS = Path(__file__).parents[1] / "solutions"


LECTURES = sorted(path.name for path in SOLUTIONS.glob("[0-9][0-9]_*.py"))
# One lecture stands for the others in `make test`; `make test-all` runs every one.
EACH = [
    lecture if lecture.startswith("01") else pytest.param(lecture, marks=pytest.mark.long)
    for lecture in LECTURES
]


def outputs(lecture: str, folder: Path, **changes: str) -> list[NotebookNode]:
    """The outputs of a lecture that was run with changes to its set-up cell; none may be an error or a warning."""
    notebook = convert(SOLUTIONS / lecture, "student")
    setup = next(cell for cell in notebook.cells if "setup" in cell.metadata.get("tags", []))
    for name, value in changes.items():
        setup.source, count = re.subn(
            rf"^{name} = \S+", f"{name} = {value}", setup.source, flags=re.MULTILINE
        )
        assert count == 1, f"the set-up cell of {lecture} has no line that sets {name}"
    NotebookClient(
        notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
    ).execute()
    found = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert not [o for o in found if o.output_type == "error" or o.get("name") == "stderr"]
    return found


def pictured(output: NotebookNode) -> bool:
    return any(kind.startswith("image/") for kind in output.get("data", {}))


@pytest.mark.slow
@pytest.mark.parametrize("lecture", EACH)
def test_every_lecture_runs_on_the_photo_network(lecture: str, tmp_path: Path) -> None:
    found = outputs(lecture, tmp_path, MODEL='"photos/alexnet"')
    assert sum(pictured(o) for o in found) >= 5


@pytest.mark.long
@pytest.mark.parametrize("model", ["imagenet/resnet18", "imagenet/googlenet"])
def test_lecture_01_runs_on_a_torchvision_network(model: str, tmp_path: Path) -> None:
    found = outputs("01_weights_and_activations.py", tmp_path, MODEL=f'"{model}"', WEIGHTS="False")
    assert f"{model}: its first layer is" in found[0].text
    assert sum(pictured(o) for o in found) >= 10
