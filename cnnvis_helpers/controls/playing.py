"""You against the network: name what you see, and see the score, its intervals and the confusions of both.

game              the control
Game              what it returns; its widgets are attributes
Answers           the reader's answers, in a file that outlives the kernel
AnswersError      the file cannot be read or written, and why
score             right, asked, share and Wilson's interval
confusion_table   who says what of what, as an HTML table
mistakes          the most frequent mistakes in words

game(net, images, labels)          # last line of a cell

The first answer to a picture counts. Answers belong to the picture itself (a fingerprint of its pixels), so the same
pictures in another order, or in another kernel, go on where the reader stopped.
"""

from __future__ import annotations

import hashlib
import html
import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import ipywidgets as widgets
import numpy as np
import platformdirs
import scipy.stats
import torch
from filelock import FileLock, Timeout
from torch import Tensor

from .. import figures, images
from . import base

SIDE = 288  # pixels of the picture on the page
WAIT = 5.0  # seconds for another kernel that is writing


class AnswersError(OSError):
    """The file of the answers cannot be read or written; the message says what to do."""


def answers_folder() -> Path:
    """Where answers are kept: $CNNVIS_DATA, or else the user's data folder."""
    return Path(os.environ.get("CNNVIS_DATA") or platformdirs.user_data_dir("cnnvis_helpers"))


class Answers:
    """What a reader said of each picture, by its fingerprint: a JSON file, whole at every moment.

    Each change reads the file again under a lock and replaces it, so that two kernels at once lose nothing.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> dict[str, str]:
        """Fingerprint → answer; empty where there is no file yet. Raises AnswersError for a damaged one."""
        try:
            found = json.loads(self.path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except (ValueError, OSError) as error:
            raise self._unusable(error) from error
        if not isinstance(found, dict) or not all(isinstance(v, str) for v in found.values()):
            raise self._unusable("it is no list of answers")
        return found

    def add(self, key: str, said: str) -> dict[str, str]:
        """Keep an answer, unless there is one to this picture, and return all. Raises AnswersError."""
        return self._change(lambda old: {key: said, **old})

    def forget(self, keys: Iterable[str]) -> dict[str, str]:
        """Leave out the answers to these pictures, and return the others. Raises AnswersError."""
        gone = set(keys)
        return self._change(lambda old: {k: v for k, v in old.items() if k not in gone})

    def _change(self, how: Any) -> dict[str, str]:
        temporary = self.path.with_name(f"{self.path.stem}.{os.getpid()}.tmp")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(self.path.with_name(f".{self.path.name}.lock"), timeout=WAIT):
                new: dict[str, str] = how(self.read())
                try:
                    temporary.write_text(json.dumps(new, indent=0), encoding="utf-8")
                    os.replace(temporary, self.path)
                finally:
                    temporary.unlink(missing_ok=True)
        except Timeout:
            raise AnswersError(f"Another kernel holds {self.path}: try again.") from None
        except AnswersError:
            raise
        except OSError as error:
            raise self._unusable(error) from error
        return new

    def _unusable(self, error: object) -> AnswersError:
        why = (error.strerror if isinstance(error, OSError) else "") or error
        return AnswersError(
            f"The answers in {self.path} cannot be kept ({why}): move the file away, or set CNNVIS_DATA to another "
            "folder."
        )


class Score(NamedTuple):
    """How many answers are right, of how many, their share, and its interval."""

    right: int
    asked: int
    share: float
    low: float
    high: float

    def __str__(self) -> str:
        percent = (round(100 * share) for share in (self.share, self.low, self.high))
        return "{} of {} ({} %, 95 % interval {} to {} %)".format(self.right, self.asked, *percent)


def score(said: Sequence[int], truth: Sequence[int], level: float = 0.95) -> Score:
    """The share of right answers with Wilson's interval. Raises ValueError for unlike lengths and for no answer."""
    if len(said) != len(truth) or not said:
        raise ValueError(f"{len(said)} answers to {len(truth)} pictures cannot be scored.")
    right = sum(a == b for a, b in zip(said, truth, strict=True))
    low, high = scipy.stats.binomtest(right, len(said)).proportion_ci(level, method="wilson")
    return Score(right, len(said), right / len(said), float(low), float(high))


def confusion_table(said: Sequence[int], truth: Sequence[int], classes: Sequence[str], title: str) -> str:
    """Rows: what it is; columns: what was said; the classes that occur, as an HTML table. Right answers are shaded."""
    counts = np.zeros((len(classes), len(classes)), int)
    np.add.at(counts, (np.asarray(truth, int), np.asarray(said, int)), 1)
    used = [i for i in range(len(classes)) if counts[i].any() or counts[:, i].any()]
    names = [html.escape(classes[i]) for i in used]
    head = "".join(f"<th scope='col' style='writing-mode:vertical-rl'>{name}</th>" for name in names)
    rows = "".join(
        f"<tr><th scope='row' style='text-align:right'>{name}</th>"
        + "".join(
            f"<td style='text-align:center;min-width:18px{';background:#DCE9F5' if i == j else ''}'>"
            f"{counts[i, j] or ''}</td>"
            for j in used
        )
        + "</tr>"
        for i, name in zip(used, names, strict=True)
    )
    return (
        f"<table style='font-size:12px;border-spacing:2px'><caption>{html.escape(title)}: rows are what it is, "
        f"columns what was said</caption><tr><td></td>{head}</tr>{rows}</table>"
    )


def mistakes(said: Sequence[int], truth: Sequence[int], classes: Sequence[str], most: int = 3) -> str:
    """The most frequent mistakes, such as "cat for dog (2)"; "none" where all is right."""
    wrong = [(a, b) for a, b in zip(said, truth, strict=True) if a != b]
    often = sorted(set(wrong), key=lambda pair: (-wrong.count(pair), pair))[:most]
    return ", ".join(f"{classes[a]} for {classes[b]} ({wrong.count((a, b))})" for a, b in often) or "none"


class Game(base.Control):
    """The widgets of `game`: picture, choices (one button a class), next, forget, text, message, table."""

    def __init__(
        self, net: Any, pictures: Tensor, labels: Sequence[int], name: str, folder: Path | None, seed: int
    ) -> None:
        self.net, self.pictures, self.labels = net, pictures, list(labels)
        self.classes = [str(c) for c in net.classes]
        self.keys = [_fingerprint(p) for p in pictures]
        probabilities = net.probabilities(pictures)
        self.sure, self.network_says = probabilities.max(1).values, probabilities.argmax(1).tolist()
        self.file = Answers((folder or answers_folder()) / f"{name}.json")
        self.known: dict[str, str] = {}
        self.order = torch.randperm(len(pictures), generator=torch.Generator().manual_seed(seed)).tolist()
        self.current: int | None = None
        self.picture, self.text, self.message = base.picture(), base.message(), base.message()
        self.table = widgets.HTML(layout=widgets.Layout(max_width=base.WIDE))
        self.choices = [
            widgets.Button(description=c, tooltip=f"It is: {c}", layout=widgets.Layout(width="92px"))
            for c in self.classes
        ]
        for number, button in enumerate(self.choices):
            button.on_click(lambda _, said=number: self.say(said))
        self.next = widgets.Button(description="Next picture", tooltip="Show one you have not answered yet")
        self.next.on_click(lambda _: self.ask())
        self.forget = widgets.Button(
            description="Forget my answers", tooltip="Click twice to begin again with these pictures"
        )
        self.forget.on_click(lambda _: self._forget())
        self._sure = False
        grid = widgets.HBox(self.choices, layout=widgets.Layout(flex_flow="row wrap", max_width="400px"))
        super().__init__(
            widgets.VBox(
                [
                    base.row(self.picture, grid),
                    base.row(self.next, self.forget),
                    self.message,
                    self.text,
                    self.table,
                ],
                layout=widgets.Layout(max_width="900px"),
            ),
            f"A control that needs a running kernel: name what {len(self.keys)} pictures show, against {net.name}.",
        )
        try:
            self.known = self._valid(self.file.read())
        except AnswersError as error:
            base.say(self.message, str(error), warning=True)
        self.ask(quiet=bool(self.message.value))
        self.draw()

    @property
    def answered(self) -> list[int]:
        """Numbers of the pictures that the reader has answered."""
        return [i for i, key in enumerate(self.keys) if key in self.known]

    def ask(self, quiet: bool = False) -> None:
        """Show the next picture without an answer."""
        self._sure = False
        self.current = next((i for i in self.order if self.keys[i] not in self.known), None)
        over = self.current is None
        if self.current is not None:
            pixels = figures.enlarge(self.pictures[self.current], (SIDE, SIDE), smooth=True)
            base.redraw(self.picture, pixels)
        for button in self.choices:
            button.disabled = over
        self.next.disabled = True
        if not quiet:
            base.say(self.message, "That was the last picture." if over else "What is the main object?")

    def say(self, said: int) -> None:
        """The reader's answer to the picture that is shown: keep it, and tell the truth and the network's answer."""
        i = self.current
        if i is None or self.choices[said].disabled:
            return
        problem = ""
        try:
            self.known = self._valid(self.file.add(self.keys[i], self.classes[said])) | {
                k: v for k, v in self.known.items() if k in self.keys
            }
        except AnswersError as error:  # the game goes on without the file
            problem = f" {error}"
        self.known.setdefault(self.keys[i], self.classes[said])
        for button in self.choices:
            button.disabled = True
        self.next.disabled = False
        base.say(
            self.message,
            f"You say {self.classes[said]}, {self.net.name} says {self.classes[self.network_says[i]]} "
            f"({float(self.sure[i]):.2f}); it is: {self.classes[self.labels[i]]}.{problem}",
            warning=bool(problem),
        )
        self.draw()

    def draw(self) -> None:
        """Show the score of both on the pictures that the reader has answered."""
        asked = self.answered
        if not asked:
            base.say(self.text, "No answer yet.")
            self.table.value = ""
            return
        truth = [self.labels[i] for i in asked]
        both = {
            "You": [self.classes.index(self.known[self.keys[i]]) for i in asked],
            self.net.name: [self.network_says[i] for i in asked],
        }
        mine, its = ([a == b for a, b in zip(said, truth, strict=True)] for said in both.values())
        only = [sum(a > b for a, b in zip(*pair, strict=True)) for pair in ((mine, its), (its, mine))]
        base.say(
            self.text,
            " ".join(
                f"{who}: {score(said, truth)}; mistakes: {mistakes(said, truth, self.classes)}."
                for who, said in both.items()
            )
            + f" You alone are right {only[0]} times, {self.net.name} alone {only[1]} times.",
        )
        tables = (confusion_table(said, truth, self.classes, who) for who, said in both.items())
        self.table.value = f"<div style='display:flex;flex-wrap:wrap;gap:24px'>{''.join(tables)}</div>"

    def _valid(self, found: dict[str, str]) -> dict[str, str]:
        """The answers that name a class of this network; another game may share the folder."""
        return {key: said for key, said in found.items() if said in self.classes}

    def _forget(self) -> None:
        if not self._sure:
            self._sure = True
            base.say(
                self.message, f"Click again to forget your {len(self.answered)} answers to these pictures."
            )
            return
        self.known = {}
        try:
            self.file.forget(self.keys)
        except AnswersError as error:
            base.say(self.message, str(error), warning=True)
            self.ask(quiet=True)
        else:
            self.ask()
        self.draw()


def _fingerprint(picture: Tensor) -> str:
    return hashlib.sha256(np.ascontiguousarray(figures.as_uint8(picture)).tobytes()).hexdigest()[:16]


def game(
    net: Any,
    pictures: Tensor,
    labels: Sequence[int] | Tensor,
    *,
    name: str = "game",
    folder: str | Path | None = None,
    seed: int = 0,
) -> Game:
    """Return a control in which the reader names pictures, and which keeps score of the reader and of a network.

    Args:
        net: a `zoo.Network`. pictures: (N, 3, H, W) in [0, 1]. labels: their classes, positions in `net.classes`.
        name, folder: the answers are kept in folder/name.json; None is `answers_folder()`.
        seed: of the order in which pictures are asked for.

    Raises: ValueError for no picture, another number of labels, labels that are no classes, or a picture twice.
    """
    images.check(pictures)
    classes = [int(label) for label in labels]
    if pictures.ndim != 4 or not len(pictures) or len(classes) != len(pictures):
        raise ValueError(
            f"Pictures (N, 3, H, W) need N labels, not {tuple(pictures.shape)} with {len(classes)}."
        )
    if not all(0 <= c < len(net.classes) for c in classes):
        raise ValueError(f"Labels are positions in the {len(net.classes)} classes of {net.name}.")
    if len({_fingerprint(p) for p in pictures}) < len(pictures):
        raise ValueError("A picture is there twice: each is asked for once.")
    return Game(net, pictures, classes, name, None if folder is None else Path(folder), seed)
