"""A control that works step by step: Start, Stop, progress, and a film of the run.

Filmed    such a control; it says what a step leaves, and what to show of it
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Generator, Iterator
from functools import partial
from typing import Any, cast

import ipywidgets as widgets

from . import base

PAUSE = 0.004  # seconds between two steps, in which the notebook hears Stop and the sliders


class Filmed(base.Control):
    """The widgets start, stop, progress, film, picture, text and message, and the run that they steer.

    A subclass calls `film_widgets` before it builds its box, defines `run`, which calls `work_on`, and the
    methods that raise NotImplementedError here.
    """

    live = 0.0  # least seconds between two previews
    frames: list[Any]

    def film_widgets(self, tooltip: str) -> None:
        """Make the widgets; `tooltip` says what Start does."""
        self._about = ""
        self._busy = self._stopped = self._choosing = False
        self.start = widgets.Button(description="Start", tooltip=tooltip)
        self.stop = widgets.Button(description="Stop", tooltip="Stop and keep the film so far", disabled=True)
        self.progress = widgets.FloatProgress(
            min=0, max=1, description="Progress", tooltip="Share of the steps that are done", style=base.STYLE
        )
        self.film = base.slider(0, "Film", "Step of the run to look at; arrow keys play it", "640px")
        self.film.disabled = True
        self.picture, self.text, self.message = base.picture(), base.message(), base.message()
        self.film.observe(lambda change: self.draw(), names="value")
        self.start.on_click(lambda button: self.run())
        self.stop.on_click(lambda button: self.halt())

    def run(self) -> None:
        """Start the work that the widgets ask for."""
        raise NotImplementedError

    def draw(self) -> None:
        """Show the chosen step of the film."""
        raise NotImplementedError

    def keep(self, step: Any) -> int:
        """Add a step to the film; returns how many are done."""
        raise NotImplementedError

    def preview(self) -> None:
        """Show the film's last picture while the work goes on."""
        raise NotImplementedError

    def done(self, seconds: float) -> str:
        """What is said at the end of a run that was not stopped."""
        return "Done: move the film's slider to see how it came about."

    def work_on(self, steps: Iterator[Any], total: int) -> None:
        """Do the steps; in a notebook in small ones, so that Stop and the sliders are heard."""
        self._busy, self._stopped = True, False
        self.start.disabled, self.stop.disabled = True, False
        self.film.disabled, self.film.max = True, 0
        base.say(self.message, f"Working on {self._about} …")
        work = partial(self._work, cast("Generator[Any]", steps), total)
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:  # no kernel: a script or a test
            asyncio.run(work(0.0))
        else:
            self._task = loop.create_task(work(PAUSE))

    async def _work(self, steps: Generator[Any], total: int, pause: float) -> None:
        begin = shown = time.monotonic()
        said = ""
        try:
            for step in steps:
                number = self.keep(step)
                if self._stopped:
                    said = f"Stopped after {number} of {total} steps; the film so far is kept."
                    break
                if time.monotonic() - shown > self.live:
                    self.progress.value = number / total
                    self.preview()
                    shown = time.monotonic()
                await asyncio.sleep(pause)
            base.say(self.message, said or self.done(time.monotonic() - begin))
        except ValueError as error:  # a dead unit, a step too large: said in one sentence
            base.say(self.message, str(error), warning=True)
        finally:
            steps.close()
            self._busy = False
            self.progress.value = 0.0
            self.start.disabled, self.stop.disabled = False, True
            self._show_film()

    def _show_film(self) -> None:
        """Open the film at its end."""
        if not self.frames:
            return
        self._choosing = True
        self.film.max = self.film.value = len(self.frames) - 1
        self.film.disabled = False
        self._choosing = False
        self.draw()

    def halt(self) -> None:
        """Stop after the step that is being done."""
        self._stopped = True
