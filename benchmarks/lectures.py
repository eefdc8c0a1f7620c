"""How long each lecture takes from top to bottom, as a student's notebook.

    python benchmarks/lectures.py               # a quarter of an hour on two cores

Each notebook runs once, with the images of the data set drawn before and nothing stored.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from side_by_side import Clock, Row, report

from cnnvis_helpers import diorama

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"
MOST = 90.0  # seconds


def rows(rounds: int, clock: Clock) -> Iterator[Row]:
    """A row for each notebook; wall-clock time whatever the clock, since the work is in another process."""
    diorama.load("test")
    for path in sorted(NOTEBOOKS.glob("*.ipynb")):
        notebook = nbformat.read(path, as_version=4)
        client = NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(NOTEBOOKS)}})
        start = time.perf_counter()
        client.execute()  # raises where a cell does
        taken = time.perf_counter() - start
        yield Row(
            what=f"lecture {path.stem.replace('_', ' ')}",
            against="at most",
            ours=taken,
            other=MOST,
            ratios=[taken / MOST],
            faster=False,
            goal=1.0,
            same="no cell fails",
        )


if __name__ == "__main__":
    report(rows)
