"""How long `import cnnvis_helpers` takes, beyond torch.

    python benchmarks/imports.py                 # a minute

Each time a fresh process, after one that is not counted. The package itself imports nothing; what a notebook uses of
it, it imports by name.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from statistics import median

from side_by_side import Clock, Row, report

MODULES = ("zoo", "diorama", "figures", "controls")
ADDED = 0.3  # seconds that the package itself may add


def rows(rounds: int, clock: Clock) -> Iterator[Row]:
    """The package, and its largest modules, with torch beside torch alone."""
    name = "process_time" if clock is time.process_time else "perf_counter"
    statements = {"cnnvis_helpers": "import torch, cnnvis_helpers"}
    statements |= {module: f"import torch; from cnnvis_helpers import {module}" for module in MODULES}
    for statement in ("import torch", *statements.values()):
        seconds(statement, name)
    times = [
        {what: seconds(text, name) for what, text in {"": "import torch", **statements}.items()}
        for _ in range(rounds)
    ]
    alone = median(run[""] for run in times)
    for what in statements:
        added = median(run[what] - run[""] for run in times)
        yield Row(
            what=f"import torch and {what}",
            against="import torch",
            ours=median(run[what] for run in times),
            other=alone,
            ratios=[run[what] / run[""] for run in times],
            faster=False,
            goal=round(1 + ADDED / alone, 2) if what == "cnnvis_helpers" else None,
            same=f"{added:.2f} s more",
        )


def seconds(statement: str, clock: str) -> float:
    """How long a statement takes in a fresh process."""
    code = f"import time; before = time.{clock}(); {statement}; print(time.{clock}() - before)"
    return float(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True).stdout)


if __name__ == "__main__":
    report(rows)
