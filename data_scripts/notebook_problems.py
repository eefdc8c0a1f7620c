"""What a stored notebook must not carry.

Public names:

- `problems`    one line for each thing that makes a stored notebook unfit
- `MOST_BYTES`  how large a notebook may be

    for line in problems(Path("notebooks/00_start_here.ipynb")):
        print(line)

The build script says these lines after a build and with `--check`; the tests hold that there are none.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import nbformat
from nbformat import NotebookNode

__all__ = ["MOST_BYTES", "problems"]

MOST_BYTES = 2_000_000

# A path that begins a word: the middle of an address (https://…/home/…) is not one.
_MACHINE_PATH = re.compile(
    r"(?<![\w.])(?:/home|/root|/tmp|/Users|/work|/private|/mnt)/[\w.~-]+|[A-Za-z]:\\\\?Users\\"
)
_PICTURES = ("image/png", "image/jpeg", "image/gif", "application/pdf")


def problems(path: Path) -> list[str]:
    """Say what makes a stored notebook unfit: not executed, errors, warnings, machine paths, its size."""
    notebook = nbformat.read(path, as_version=4)
    found = []
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    counts = [cell.execution_count for cell in code]
    if counts != list(range(1, len(code) + 1)):
        found.append(f"not executed from top to bottom: the counts are {counts}, not 1 to {len(code)}")
    if "widgets" in notebook.metadata:
        found.append("carries widget state (metadata.widgets), which GitHub refuses to show")
    if notebook.metadata.get("kernelspec", {}).get("name") != "python3":
        found.append("its kernel is not called python3")
    if "version" in notebook.metadata.get("language_info", {}):
        found.append("names the Python version of the machine that ran it")
    for number, cell in enumerate(code, start=1):
        for output in cell.outputs:
            if output.output_type == "error":
                found.append(f"code cell {number} stores an error: {output.ename}: {output.evalue}")
            if output.output_type == "stream" and output.name == "stderr":
                found.append(f"code cell {number} writes to stderr: {output.text.strip().splitlines()[0]}")
            for text in _texts(output):
                if match := _MACHINE_PATH.search(text):
                    found.append(f"code cell {number} shows a path of the machine: {match.group()}")
    if (size := path.stat().st_size) > MOST_BYTES:
        largest = sorted(
            ((len(json.dumps(c.outputs)), n) for n, c in enumerate(code, start=1)), reverse=True
        )[:3]
        where = ", ".join(f"code cell {number}: {bytes_ / 1e6:.2f} MB" for bytes_, number in largest)
        found.append(
            f"is {size / 1e6:.2f} MB, over {MOST_BYTES / 1e6:.0f} MB; the largest outputs are in {where}"
        )
    return found


def _texts(output: NotebookNode) -> Iterator[str]:
    """The readable strings of an output; pictures are noise that may spell anything."""
    if output.output_type == "stream":
        yield output.text
    for kind, value in output.get("data", {}).items():
        if kind not in _PICTURES:
            yield value if isinstance(value, str) else json.dumps(value)
    yield json.dumps(output.get("metadata", {}))
