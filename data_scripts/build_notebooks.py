"""Build the notebooks of the course from their sources.

    python data_scripts/build_notebooks.py                 build and execute every lecture
    python data_scripts/build_notebooks.py 01              only the lectures whose name begins with 01
    python data_scripts/build_notebooks.py --check         say which notebooks are stale; execute nothing

`solutions/NN_name.py` (jupytext percent format) is the one edited source. From it come

- `notebooks/NN_name.ipynb`     what students open: solutions are cut and replaced by a stub
- `solutions/NN_name.ipynb`     the set-up cell, each exercise with its solution, its check; only for lectures
                                that have exercises
- `cnnvis_helpers/claims.json`  the claims that the executed notebooks show; lecture 00 prints them and is
                                therefore built last

How a source is written stands in `notebook_source.py`, what a stored notebook must not carry in
`notebook_problems.py`.

Public names:

- `Course`         where the sources and the notebooks lie
- `build`          convert, execute and store
- `stale`          what `--check` says
- `gather_claims`  the ledger, from the stored notebooks
- `main`           the command line
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode
from notebook_problems import problems
from notebook_source import SourceError, convert, read_source, tags

__all__ = ["Course", "build", "gather_claims", "main", "stale"]

SLOW_SECONDS = 90
CELL_TIMEOUT = 900
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
# What a stored page shows in place of a control; nbval_sanitize.cfg puts it in place of a live one.
WIDGET_TEXT = "[an interactive control: run the notebook to use it]"

WIDGET_REPR = (
    r"^(?:[VH]Box|Box|GridBox|Tab|Accordion|Stack|AppLayout|GridspecLayout|TwoByTwoLayout|Play|Output|Button"
    r"|Image|HTML|HTMLMath|Label|Text|Textarea|FileUpload|Checkbox|Dropdown|Select|SelectMultiple|RadioButtons"
    r"|ToggleButtons?|\w+Slider|\w+Progress|(?:Bounded)?(?:Int|Float)Text|ColorPicker)\([\s\S]*$"
)


@dataclass(frozen=True)
class Course:
    """Where the course's sources and notebooks lie below a folder."""

    root: Path

    @property
    def ledger(self) -> Path:
        """The claim ledger of the course."""
        return self.root / "cnnvis_helpers" / "claims.json"

    def sources(self, names: Sequence[str] = ()) -> list[Path]:
        """The sources whose names begin with one of `names` (all without names), lecture 00 last."""
        found = sorted((self.root / "solutions").glob("[0-9][0-9]_*.py"))
        stems = [Path(name).stem for name in names]
        for stem in stems:
            if not any(path.stem.startswith(stem) for path in found):
                raise SourceError(
                    f"no lecture begins with {stem!r}; there are {[path.stem for path in found]}"
                )
        chosen = [path for path in found if not stems or path.stem.startswith(tuple(stems))]
        return sorted(chosen, key=lambda path: (path.stem.startswith("00"), path.stem))

    def targets(self, source: Path) -> dict[str, Path]:
        """The notebooks that a source becomes, by role; solutions only where the lecture has exercises."""
        targets = {"student": self.root / "notebooks" / f"{source.stem}.ipynb"}
        if any(cell.cell_type == "code" and "exercise" in tags(cell) for cell in read_source(source).cells):
            targets["solutions"] = self.root / "solutions" / f"{source.stem}.ipynb"
        return targets

    def notebooks(self) -> list[Path]:
        """Every notebook that is stored, the students' first."""
        return [
            path
            for folder in ("notebooks", "solutions")
            for path in sorted((self.root / folder).glob("*.ipynb"))
        ]


def build(course: Course, names: Sequence[str] = (), timeout: int = CELL_TIMEOUT) -> list[str]:
    """Convert, execute and store the notebooks of the chosen lectures, then gather the claims.

    A notebook that fails is not stored; the others are. When the claims change, lecture 00 is built too.

    Returns:
        One line for each thing that went wrong.
    """
    wrong = []
    queue = course.sources(names)
    while queue:
        source = queue.pop(0)
        if source.stem.startswith("00"):
            gather_claims(course)
        for role, target in course.targets(source).items():
            where = target.relative_to(course.root)
            started = time.monotonic()
            notebook = convert(source, role)
            try:
                _execute(notebook, target.parent, timeout)
            except Exception as error:
                wrong.append(f"{where}: {_plain(str(error))}")
                print(f"{where}: FAILED", flush=True)
                continue
            _write(target, nbformat.writes(notebook, version=nbformat.NO_CONVERT) + "\n")
            seconds = time.monotonic() - started
            size = target.stat().st_size / 1e6
            slow = f"  (slow: over {SLOW_SECONDS} s)" if seconds > SLOW_SECONDS else ""
            print(f"{where}: {seconds:.0f} s, {size:.2f} MB{slow}", flush=True)
            wrong += [f"{where}: {problem}" for problem in problems(target)]
        if not queue and gather_claims(course) and not source.stem.startswith("00"):
            queue = [path for path in course.sources() if path.stem.startswith("00")]
    return wrong


def stale(course: Course) -> list[str]:
    """Say, one line each, which stored notebooks do not fit their sources or must not be stored so."""
    lines = []
    expected: set[Path] = set()
    for source in course.sources():
        for role, target in course.targets(source).items():
            expected.add(target)
            where = target.relative_to(course.root)
            if not target.exists():
                lines.append(f"{where}: missing; build it from solutions/{source.name}")
            elif _bare(convert(source, role)) != _bare(nbformat.read(target, as_version=4)):
                lines.append(f"{where}: stale; solutions/{source.name} says something else")
    for target in course.notebooks():
        where = target.relative_to(course.root)
        if target not in expected:
            lines.append(f"{where}: no source makes it; delete it")
        lines += [f"{where}: {problem}" for problem in problems(target)]
    if _claims(course) != (
        json.loads(course.ledger.read_text(encoding="utf-8")) if course.ledger.exists() else {}
    ):
        lines.append(
            f"{course.ledger.relative_to(course.root)}: not what the notebooks claim; build them again"
        )
    return lines


def gather_claims(course: Course) -> bool:
    """Write the claims of the stored students' notebooks to the ledger; say whether it changed.

    Raises:
        SourceError: two claims have one id.
    """
    text = json.dumps(_claims(course), indent=1, ensure_ascii=False, sort_keys=True) + "\n"
    if course.ledger.exists() and course.ledger.read_text(encoding="utf-8") == text:
        return False
    _write(course.ledger, text)
    return True


def main(arguments: Sequence[str] | None = None, root: Path | None = None) -> int:
    """Run the command line; the result is the exit status."""
    parser = argparse.ArgumentParser(description="Build the notebooks of the course from solutions/*.py.")
    parser.add_argument(
        "names", nargs="*", help="lectures to build, such as 01 or 01_weights_and_activations"
    )
    parser.add_argument("--check", action="store_true", help="only say which notebooks are stale")
    parser.add_argument(
        "--timeout", type=int, default=CELL_TIMEOUT, help="seconds for one cell (%(default)s)"
    )
    options = parser.parse_args(arguments)
    course = Course(root or Path(__file__).resolve().parent.parent)
    try:
        wrong = stale(course) if options.check else build(course, options.names, options.timeout)
    except SourceError as error:
        wrong = [str(error)]
    for line in wrong:
        print(line, file=sys.stderr)
    if options.check and not wrong:
        print(f"{len(course.notebooks())} notebooks are up to date")
    return 1 if wrong else 0


def _execute(notebook: NotebookNode, folder: Path, timeout: int) -> None:
    """Run every cell in a fresh kernel; keep the outputs that another machine would give too."""
    from nbclient import NotebookClient  # here, so that --check does without

    described = {cell.id: dict(cell.metadata) for cell in notebook.cells}
    metadata = dict(notebook.metadata)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as profile:
        environment = {
            **os.environ,
            "OMP_NUM_THREADS": "2",
            "PYTHONHASHSEED": "0",
            "MPLBACKEND": "module://matplotlib_inline.backend_inline",
            "IPYTHONDIR": profile,  # the reader's own start-up files must not leave traces
        }
        client = NotebookClient(
            notebook,
            timeout=timeout,
            kernel_name="python3",
            record_timing=False,
            store_widget_state=False,
            coalesce_streams=True,
            resources={"metadata": {"path": str(folder)}},
        )
        client.execute(env=environment)
    notebook.metadata = nbformat.from_dict(metadata)
    for cell in notebook.cells:
        cell.metadata = nbformat.from_dict(described[cell.id])
        if "outputs" in cell:  # without a kernel a progress bar stands at its beginning for ever
            cell.outputs = [o for o in cell.outputs if not _is_bar(o)]
        for output in cell.get("outputs", []):
            # Model ids are random, and without a kernel the view is an error message.
            if output.get("data", {}).pop(WIDGET_VIEW, None):
                output.data["text/plain"] = re.sub(
                    WIDGET_REPR, WIDGET_TEXT, output.data.get("text/plain", "")
                )


def _is_bar(output: NotebookNode) -> bool:
    data = output.get("data", {})
    return WIDGET_VIEW in data and bool(re.search(r"\d+%\|.*\| \d+/\d+ \[", data.get("text/plain", "")))


def _claims(course: Course) -> dict[str, list[dict[str, str]]]:
    """The claims in the outputs of the stored students' notebooks, by lecture."""
    claims: dict[str, list[dict[str, str]]] = {}
    seen: dict[str, str] = {}
    for path in sorted((course.root / "notebooks").glob("*.ipynb")):
        for cell in nbformat.read(path, as_version=4).cells:
            for output in cell.get("outputs", []):
                if claim := output.get("metadata", {}).get("claim"):
                    if claim["id"] in seen:
                        raise SourceError(
                            f"{path.stem}: the claim id {claim['id']!r} is used in {seen[claim['id']]} too"
                        )
                    seen[claim["id"]] = path.stem
                    claims.setdefault(path.stem, []).append(dict(claim))
    return claims


def _bare(notebook: NotebookNode) -> tuple[Any, list[Any]]:
    """What a notebook and its fresh conversion must share."""
    cells = [(cell.id, cell.cell_type, cell.source, sorted(tags(cell))) for cell in notebook.cells]
    return json.loads(json.dumps(notebook.metadata)), cells


def _plain(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", text).strip()


def _write(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(text, encoding="utf-8", newline="\n")
    os.replace(temporary, path)


if __name__ == "__main__":
    sys.exit(main())
