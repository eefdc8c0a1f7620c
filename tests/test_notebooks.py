"""The stored notebooks are executed, clean and small; and nbval really compares what they print."""

import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from build_notebooks import Course, build
from notebook_problems import MOST_BYTES, problems

ROOT = Path(__file__).resolve().parent.parent
STORED = Course(ROOT).notebooks()


def small(*outputs: nbformat.NotebookNode, count: int | None = 1) -> nbformat.NotebookNode:
    """A fit notebook with one code cell."""
    metadata = {
        "kernelspec": {"name": "python3", "display_name": "Python 3"},
        "language_info": {"name": "python"},
    }
    cell = nbformat.v4.new_code_cell("pass", outputs=list(outputs), execution_count=count)
    return nbformat.v4.new_notebook(cells=[cell], metadata=metadata)


def found(tmp_path: Path, notebook: nbformat.NotebookNode) -> str:
    """The one problem of a notebook, or an empty string."""
    path = tmp_path / "small.ipynb"
    path.write_text(nbformat.writes(notebook), encoding="utf-8")
    lines = problems(path)
    assert len(lines) <= 1
    return "".join(lines)


@pytest.mark.parametrize("path", STORED, ids=[f"{p.parent.name}/{p.stem}" for p in STORED])
def test_a_stored_notebook_is_fit(path: Path) -> None:
    assert problems(path) == []


@pytest.mark.parametrize("path", STORED, ids=[f"{p.parent.name}/{p.stem}" for p in STORED])
def test_a_stripped_copy_is_not_fit(path: Path, tmp_path: Path) -> None:
    # nbval runs a stripped cell without comparing it: this test is what keeps the comparison alive.
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    assert "not executed from top to bottom" in found(tmp_path, notebook)


def test_a_small_clean_notebook_is_fit(tmp_path: Path) -> None:
    picture = nbformat.v4.new_output(
        "display_data", {"image/png": "AAAA/tmp/AAAA", "text/plain": "3 filters"}
    )
    address = nbformat.v4.new_output("stream", name="stdout", text="https://example.org/home/page and 1/2\n")
    assert found(tmp_path, small(picture, address)) == ""


@pytest.mark.parametrize("count", [None, 2])
def test_a_wrong_count_is_found(tmp_path: Path, count: int | None) -> None:
    assert f"the counts are [{count}]" in found(tmp_path, small(count=count))


@pytest.mark.parametrize(
    ("output", "sentence"),
    [
        (nbformat.v4.new_output("error", ename="ValueError", evalue="no", traceback=[]), "stores an error"),
        (
            nbformat.v4.new_output("stream", name="stderr", text="UserWarning: old\n"),
            "stderr: UserWarning: old",
        ),
        (
            nbformat.v4.new_output("stream", name="stdout", text="in /home/ann/course\n"),
            "path of the machine: /home/ann",
        ),
        (
            nbformat.v4.new_output("display_data", {"text/html": "<b>C:\\Users\\ann</b>"}),
            "path of the machine",
        ),
        (nbformat.v4.new_output("execute_result", {"text/plain": "'/tmp/x'"}, execution_count=1), "/tmp/x"),
    ],
)
def test_a_bad_output_is_found(tmp_path: Path, output: nbformat.NotebookNode, sentence: str) -> None:
    assert sentence in found(tmp_path, small(output))


def test_widget_state_and_python_version_are_found(tmp_path: Path) -> None:
    notebook = small()
    notebook.metadata["widgets"] = {"application/vnd.jupyter.widget-state+json": {}}
    assert "widget state" in found(tmp_path, notebook)
    notebook = small()
    notebook.metadata["language_info"]["version"] = "3.11.1"
    assert "Python version" in found(tmp_path, notebook)


def test_a_large_notebook_names_its_largest_output(tmp_path: Path) -> None:
    picture = nbformat.v4.new_output("display_data", {"image/png": "A" * (MOST_BYTES + 1)})
    assert "over 2 MB; the largest outputs are in code cell 1: 2.00 MB" in found(tmp_path, small(picture))


@pytest.mark.slow
def test_nbval_fails_when_a_stored_number_is_altered(tmp_path: Path) -> None:
    for folder in ("solutions", "notebooks", "cnnvis_helpers"):
        (tmp_path / folder).mkdir()
    source = "# %%\nimport ipywidgets\n\nprint('accuracy', round(0.9531, 2))\n\n# %%\nipywidgets.VBox()\n"
    (tmp_path / "solutions" / "01_small.py").write_text(source, encoding="utf-8")
    assert build(Course(tmp_path)) == []
    stored = tmp_path / "notebooks" / "01_small.ipynb"
    right = nbval(stored)
    assert right.returncode == 0, right.stdout
    stored.write_text(
        stored.read_text(encoding="utf-8").replace("accuracy 0.95", "accuracy 0.96"), encoding="utf-8"
    )
    wrong = nbval(stored)
    assert wrong.returncode == 1 and "1 failed, 1 passed" in wrong.stdout, wrong.stdout


def nbval(path: Path) -> subprocess.CompletedProcess[str]:
    """Run nbval on one notebook as `make nbval` does."""
    command = [sys.executable, "-m", "pytest", "--nbval", "--nbval-current-env", "--nbval-cell-timeout=300"]
    command += [
        "--nbval-kernel-startup-timeout=120",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:xdist",
        "-o",
        "addopts=",
    ]
    command += [
        f"--nbval-sanitize-with={ROOT / 'tests' / 'nbval_sanitize.cfg'}",
        f"--rootdir={path.parent}",
        str(path),
    ]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST_")}
    return subprocess.run(
        command, cwd=path.parent, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
