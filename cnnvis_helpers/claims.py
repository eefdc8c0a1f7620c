"""The claim ledger: what the sources of the course say, and whether it holds here.

Public names:

- `Claim`      one claim with its source, the number measured here and the verdict
- `claim`      make a `Claim`; as the last line of a notebook cell it shows itself as a one-row table
- `ledger`     every claim that the lectures tested, in the order of the course
- `table`      the ledger as a table (lecture 00 shows it)
- `VERDICTS`   the three verdicts

    claim("01-noisy-filters", statement="noisy filters mean an unconverged net", source="CS231n",
          measured="smoothness 0.91 trained, 0.02 untrained", verdict="reproduced")

The ledger is not written by hand. A displayed claim carries itself in the metadata of its output;
`data_scripts/build_notebooks.py` gathers these from the executed notebooks into `claims.json`, which
`ledger` reads.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

__all__ = ["VERDICTS", "Claim", "ClaimTable", "claim", "ledger", "table"]

VERDICTS = ("reproduced", "contradicted", "cannot be tested here")

LEDGER_FILE = Path(__file__).with_name("claims.json")

_MARKS = {"reproduced": "✓", "contradicted": "✗", "cannot be tested here": "–"}
_IDENTIFIER = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


@dataclass(frozen=True)
class Claim:
    """One claim of a source and what was measured here.

    `lecture` is the stem of the notebook that tests it; it is empty until the ledger fills it in.
    """

    id: str
    statement: str
    source: str
    measured: str
    verdict: str
    lecture: str = ""

    def __str__(self) -> str:
        return f"{_MARKS[self.verdict]} {self.verdict}: {self.statement} [{self.source}] – {self.measured}"

    def _repr_mimebundle_(self, **_: Any) -> tuple[dict[str, str], dict[str, Any]]:
        """Text for every front end, and the claim itself as output metadata, which no comparison looks at."""
        header = "| Claim | Who says it | Measured here | Verdict |\n|:--|:--|:--|:--|\n"
        data = {"text/plain": str(self), "text/markdown": header + self._row()}
        return data, {"claim": {key: value for key, value in asdict(self).items() if key != "lecture"}}

    def _row(self) -> str:
        verdict = f"{_MARKS[self.verdict]} **{self.verdict}**"
        return _markdown_row(self.statement, self.source, self.measured, verdict)


@dataclass(frozen=True)
class ClaimTable:
    """Claims that show themselves as one table with a counting line above."""

    claims: tuple[Claim, ...]

    def summary(self) -> str:
        """Say how many claims were tested and how they fared, in one line."""
        if not self.claims:
            return "no claims have been tested yet"
        counts = [f"{sum(c.verdict == verdict for c in self.claims)} {verdict}" for verdict in VERDICTS]
        noun = "claim" if len(self.claims) == 1 else "claims"
        return f"{len(self.claims)} {noun}: {', '.join(counts)}"

    def __str__(self) -> str:
        return "\n".join([self.summary(), *(f"{c.lecture[:2]:2}  {c}" for c in self.claims)])

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        lines = [f"**{self.summary()}**", ""]
        if self.claims:
            lines.append("| Lecture | Claim | Who says it | Measured here | Verdict |")
            lines.append("|:--|:--|:--|:--|:--|")
            lines += [f"| {_link(c.lecture)} {c._row()}" for c in self.claims]
        return {"text/plain": str(self), "text/markdown": "\n".join(lines)}


def claim(id: str, *, statement: str, source: str, measured: str, verdict: str) -> Claim:
    """Record what became of a claim of the literature.

    Make it the last line of a cell, or pass it to `display`: both show a one-row table and hand the claim to
    the ledger.

    Args:
        id: lower-case words joined by hyphens, unique in the course, such as `"01-noisy-filters"`.
        statement: the claim, in a sentence.
        source: who says it.
        measured: the numbers found here, as text, rounded so that other machines print the same.
        verdict: `"reproduced"`, `"contradicted"` or `"cannot be tested here"`.

    Raises:
        ValueError: an unknown verdict, a malformed id or an empty text.
    """
    if verdict not in VERDICTS:
        raise ValueError(
            f"The verdict {verdict!r} is unknown; it is one of {', '.join(map(repr, VERDICTS))}."
        )
    if not _IDENTIFIER.fullmatch(id):
        raise ValueError(
            f"The claim id {id!r} must be lower-case words joined by hyphens, like '01-noisy-filters'."
        )
    for name, text in {"statement": statement, "source": source, "measured": measured}.items():
        if not text.strip():
            raise ValueError(f"The {name} of claim {id!r} is empty; write it in words.")
    return Claim(id, statement, source, measured, verdict)


def ledger(path: Path | None = None) -> list[Claim]:
    """Read the ledger that the build script gathered.

    Args:
        path: a JSON file of the same form, `{lecture: [claim, ...]}`; the course's own by default.

    Returns:
        Every claim, by lecture and then in the order of its notebook; empty where no ledger was built yet.

    Raises:
        ValueError: the file is not a ledger.
    """
    path = LEDGER_FILE if path is None else path
    if not path.exists():
        return []
    names = {field.name for field in fields(Claim)}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        rows = [{**row, "lecture": lecture} for lecture, found in sorted(content.items()) for row in found]
        if any(set(row) != names or row["verdict"] not in VERDICTS for row in rows):
            raise KeyError("verdict")
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ValueError(
            f"{path.name} is not a claim ledger; rebuild it with `python data_scripts/build_notebooks.py`."
        ) from error
    return [Claim(**row) for row in rows]


def table(claims: Iterable[Claim] | None = None) -> ClaimTable:
    """Show claims (the whole ledger by default) as one table."""
    return ClaimTable(tuple(ledger() if claims is None else claims))


def _link(lecture: str) -> str:
    """A link to the lecture's notebook, which stands beside the one that shows the table."""
    return f"[{lecture[:2]}]({lecture}.ipynb)" if lecture else "–"


def _markdown_row(*cells: str) -> str:
    """One table row; bars and line breaks inside a cell would split it."""
    return "| " + " | ".join(" ".join(cell.replace("|", "\\|").split()) for cell in cells) + " |"
