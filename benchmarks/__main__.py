"""All benchmarks as one table: this package beside its peers and beside the bare forward pass.

    python benchmarks                          # all: three quarters of an hour on two idle cores
    python benchmarks occlusion rise           # some
    python benchmarks --write                  # the table also into RESULTS.md

Each line is two ways to one result, asserted to be the same, timed in turns in this run: medians in seconds, the median
of the rounds' ratios and their range. Nothing else should use the machine meanwhile.
"""

from __future__ import annotations

import argparse
import datetime
import importlib
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil
import torch
from side_by_side import Row, busy

SCRIPTS = (
    *("imports", "occlusion", "rise", "gradients", "attacks", "evolution"),
    *("dissection", "tally", "linear", "cluster", "lectures"),
)
PEERS = ("torch", "torchvision", "captum", "torchattacks", "deap", "distributed")
COLUMNS = ("what", "takes", "against", "takes", "ratio (range)", "goal", "multiplications", "the same")
RESULTS = Path(__file__).with_name("RESULTS.md")


def machine(threads: int, rounds: int) -> str:
    """What the figures were measured on and with, in two lines."""
    names = [line.split(":")[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")]
    processor = names[0] if names else platform.processor() or platform.machine()
    card = f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""
    memory = psutil.virtual_memory().total / 2**30
    with_versions = ", ".join(f"{peer} {found}" for peer in PEERS if (found := _version(peer)))
    return (
        f"{datetime.date.today()}: {processor}{card}, {os.cpu_count()} cores, {memory:.0f} GiB, {platform.system()}; "
        f"{threads} threads, {rounds} rounds.  \nPython {platform.python_version()}, {with_versions}."
    )


def line(row: Row) -> str:
    """A row of the table, in Markdown."""
    low, high = min(row.ratios), max(row.ratios)
    spread = f"{row.ratio:.2f} ({low:.2f}–{high:.2f}) × as {'fast' if row.faster else 'long'}"
    goal = ""
    if row.goal is not None:
        goal = f"{'≥' if row.faster else '≤'} {row.goal:g}{'' if row.met else ' **missed**'}"
    ours, other = f"{row.ours:.3g} {row.unit}", f"{row.other:.3g} {row.unit}"
    return f"| {' | '.join((row.what, ours, row.against, other, spread, goal, row.work, row.same))} |"


def lines(scripts: list[str], *options: str) -> Iterator[str]:
    """The table, a line at a time as it is measured.

    Each script is a process of its own: the memory that one has freed, and what dask puts into the environment, would
    change the times of the next. Raises: CalledProcessError where one fails.
    """
    yield f"| {' | '.join(COLUMNS)} |\n|---|--:|---|--:|---|---|--:|---|"
    for script in scripts:
        command = [sys.executable, str(Path(__file__).parent), script, "--lines", *options]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as run:
            yield from (text.rstrip("\n") for text in run.stdout or ())
        if run.returncode:
            raise subprocess.CalledProcessError(run.returncode, command)


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:  # not Linux
        return []


def main() -> None:
    """Print the table, and write it if asked to."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("scripts", nargs="*", choices=[*SCRIPTS, []], help="all, if none is named")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--busy", action="store_true", help="one thread and its processor time, beside other work"
    )
    parser.add_argument("--lines", action="store_true", help="no heading; one script, in this process")
    parser.add_argument("--write", action="store_true", help=f"keep the table in {RESULTS.name}")
    args = parser.parse_args()
    if args.lines:
        clock = busy() if args.busy else time.perf_counter
        for row in importlib.import_module(args.scripts[0]).rows(args.rounds, clock):
            print(line(row), flush=True)
        return
    options = [f"--rounds={args.rounds}", *["--busy"] * args.busy]
    print(found := machine(1 if args.busy else torch.get_num_threads(), args.rounds), end="\n\n", flush=True)
    for text in lines(args.scripts or [*SCRIPTS], *options):
        print(text, flush=True)
        found += f"\n{text}" if not text.startswith("| what") else f"\n\n{text}"
    if args.write:
        title = RESULTS.read_text().partition("\n## ")[0].rstrip() if RESULTS.exists() else "# Measured"
        RESULTS.write_text(f"{title}\n\n## {found}\n")


if __name__ == "__main__":
    main()
