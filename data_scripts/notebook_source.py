"""From a lecture's source to its two notebooks, without running them.

Public names:

- `convert`      a source → the student's notebook or the solutions notebook
- `read_source`  a source → its cells, tags checked
- `tags`         the tags of a cell
- `SourceError`  a source that cannot become a notebook
- `TAGS`, `STUB` the tags there are; what stands in place of a solution

    notebook = convert(Path("solutions/01_weights_and_activations.py"), "student")

Cells carry tags in their header, `# %% tags=["exercise"]` or `# %% [markdown] tags=["exercise"]`:

- `setup`     the set-up cell; goes into both notebooks
- `exercise`  goes into both; a code cell holds `### BEGIN SOLUTION` … `### END SOLUTION` inside its functions
- `check`     calls the check of the exercise; goes into both
- `solution`  a remark on the solution; only in the solutions notebook
- `nbval-ignore-output`  the output varies (times, progress): run by the tests, not compared
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any

import jupytext
import nbformat
from nbformat import NotebookNode

__all__ = ["STUB", "TAGS", "SourceError", "convert", "read_source", "tags"]

STUB = "raise NotImplementedError  # your code here"
TAGS = {"setup", "exercise", "check", "solution", "claim", "nbval-ignore-output", "nbval-skip"}


class SourceError(ValueError):
    """A lecture's source cannot become a notebook."""


def convert(source: Path, role: str) -> NotebookNode:
    """Turn a source into a notebook without outputs.

    Args:
        source: a percent-format file.
        role: `"student"` (solutions cut) or `"solutions"` (set-up, exercises, solutions and checks only).

    Returns:
        A notebook whose cell ids come from the cells' content, so that the same source gives the same bytes.

    Raises:
        SourceError: an unknown tag, or solution markers that do not fit.
    """
    cells = read_source(source).cells
    name = f"solutions/{source.stem}.py"
    note = f"<!-- Generated from {name} by data_scripts/build_notebooks.py: edit that file, not this one. -->"
    kept = []
    if role == "solutions":
        cells = [cell for cell in cells if tags(cell) & {"setup", "exercise", "check", "solution"}]
        lecture = f"[{source.stem}](../notebooks/{source.stem}.ipynb)"
        kept.append(nbformat.v4.new_markdown_cell(f"# Solutions to {lecture}\n\n{note}"))
    else:
        cells = [cell for cell in cells if "solution" not in tags(cell)]
    for cell in cells:
        text = cell.source.strip("\n")
        if cell.cell_type == "code":
            where = f"{name}, the cell that begins {text[:40]!r}"
            if ("### BEGIN SOLUTION" in text) != ("exercise" in tags(cell)):
                raise SourceError(
                    f"{where}: it has the tag 'exercise' without ### BEGIN SOLUTION, or these without it"
                )
            text = _solve(text, cut=role == "student", where=where)
        elif role == "student" and not kept and cell.cell_type == "markdown":
            text = f"{text}\n\n{note}"
        if text.strip():
            labels = set(tags(cell))
            if cell.cell_type == "code" and re.search(r"\bclaim\(", text):
                labels.add("claim")
            new = nbformat.v4.new_code_cell if cell.cell_type == "code" else nbformat.v4.new_markdown_cell
            kept.append(new(text, metadata={"tags": sorted(labels)} if labels else {}))
    _number(kept)
    return nbformat.v4.new_notebook(cells=kept, metadata=_metadata(name, role))


def read_source(source: Path) -> NotebookNode:
    """Read a percent-format file; raise `SourceError` for a tag that does not exist."""
    notebook = jupytext.reads(source.read_text(encoding="utf-8"), fmt="py:percent")
    for cell in notebook.cells:
        if unknown := tags(cell) - TAGS:
            raise SourceError(
                f"{source.name}: the tag {sorted(unknown)[0]!r} is unknown; there are {sorted(TAGS)}"
            )
    return notebook


def _solve(text: str, *, cut: bool, where: str) -> str:
    """Cut the solutions out of a cell and leave stubs (`cut`), or keep them and drop the markers."""
    lines: list[str] = []
    inside = False
    for line in text.split("\n"):
        marker = line.strip()
        indent = line[: len(line) - len(line.lstrip())]
        if marker == "### BEGIN SOLUTION":
            if inside or not indent:
                raise SourceError(
                    f"{where}: ### BEGIN SOLUTION must stand inside a function, and not inside another one"
                )
            inside = True
            if cut:
                lines.append(indent + STUB)
        elif marker == "### END SOLUTION":
            if not inside:
                raise SourceError(f"{where}: ### END SOLUTION without ### BEGIN SOLUTION")
            inside = False
        elif not (inside and cut):
            lines.append(line)
    if inside:
        raise SourceError(f"{where}: ### BEGIN SOLUTION without ### END SOLUTION")
    return "\n".join(lines)


def _number(cells: list[NotebookNode]) -> None:
    """Give every cell an id made from its content; equal cells are told apart by a counter."""
    seen: dict[str, int] = {}
    for cell in cells:
        digest = hashlib.sha256(f"{cell.cell_type}\n{cell.source}".encode()).hexdigest()[:12]
        seen[digest] = seen.get(digest, 0) + 1
        cell.id = digest if seen[digest] == 1 else f"{digest}-{seen[digest]}"


def _metadata(name: str, role: str) -> dict[str, Any]:
    return {
        "cnnvis": {"role": role, "source": name},
        "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
        "language_info": {"file_extension": ".py", "mimetype": "text/x-python", "name": "python"},
    }


def tags(cell: NotebookNode) -> set[str]:
    """The tags in a cell's header."""
    return set(cell.metadata.get("tags", []))
