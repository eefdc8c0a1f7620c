"""A JupyterLab of its own for the browser tests, with nothing of the reader's settings in it, and a page in
Chromium.

Both are skipped, with the reason, where Playwright or Chromium is absent. Set CNNVIS_SCREENSHOTS to a folder
to keep pictures of what the tests saw.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


@dataclass
class Lab:
    """A running JupyterLab: its address, token, and the folder it serves."""

    address: str
    token: str
    folder: Path
    log: Path

    def get(self, path: str) -> Any:
        """The JSON answer of the server's interface to `path`."""
        request = urllib.request.Request(
            f"{self.address}/{path}", headers={"Authorization": f"token {self.token}"}
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)

    def wait_for_kernel(self, seconds: float = 60) -> None:
        """Return when a kernel is idle with a connection: the badge on the page says so too early."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            kernels = [session["kernel"] for session in self.get("api/sessions")]
            if any(k["execution_state"] == "idle" and k["connections"] > 0 for k in kernels):
                return
            time.sleep(0.3)
        raise AssertionError(f"no kernel was ready within {seconds:.0f} s; see {self.log}")


def browser_path() -> str:
    """The installed Chromium; skips the test where there is none."""
    found = os.environ.get("CNNVIS_CHROMIUM") or next((p for p in map(shutil.which, BROWSERS) if p), None)
    if not found:
        pytest.skip(f"no browser found, tried {', '.join(BROWSERS)}: install Chromium")
    return found


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A JupyterLab that serves a temporary folder."""
    pytest.importorskip("jupyterlab", reason="JupyterLab is not installed")
    browser_path()
    home = tmp_path_factory.mktemp("lab")
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    environment["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), environment.get("PATH", "")])
    # Fresh folders throughout: a workspace used before opens with a dialog that blocks the page.
    for name in ("JUPYTER_CONFIG_DIR", "JUPYTERLAB_SETTINGS_DIR", "JUPYTERLAB_WORKSPACES_DIR",
                 "JUPYTER_RUNTIME_DIR", "JUPYTER_DATA_DIR", "IPYTHONDIR", "CNNVIS_DATA"):  # fmt: skip
        environment[name] = str(home / name.lower())
        Path(environment[name]).mkdir()
    settings = {
        "@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": False},
        "@jupyterlab/docmanager-extension:plugin": {"autosave": False},
        "@jupyterlab/notebook-extension:tracker": {"autoStartDefaultKernel": True, "windowingMode": "none"},
    }
    for plugin, values in settings.items():
        file = home / "jupyterlab_settings_dir" / Path(*plugin.split(":")).with_suffix(".jupyterlab-settings")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(values))
    folder = home / "served"
    folder.mkdir()
    port, token, log = free_port(), secrets.token_hex(16), home / "lab.log"
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--ip=127.0.0.1", f"--port={port}",
               "--ServerApp.port_retries=0", f"--IdentityProvider.token={token}", "--allow-root",
               f"--ServerApp.root_dir={folder}"]  # fmt: skip
    with log.open("w") as output:
        server = subprocess.Popen(command, env=environment, stdout=output, stderr=subprocess.STDOUT, cwd=home)
    running = Lab(f"http://127.0.0.1:{port}", token, folder, log)
    try:
        _wait_until_up(running, server)
        yield running
    finally:
        server.terminate()  # the server ends its kernels
        try:
            server.wait(timeout=15)
        except subprocess.TimeoutExpired:
            server.kill()


def _wait_until_up(running: Lab, server: subprocess.Popen[bytes], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if server.poll() is not None:
            break
        try:
            running.get("api/status")
            return
        except (urllib.error.URLError, OSError):
            time.sleep(0.3)
    pytest.fail(f"JupyterLab did not start: {running.log.read_text()[-2000:]}")


@dataclass
class Opened:
    """A page with a notebook in it, and the errors it has met."""

    page: Any
    lab: Lab
    errors: list[str] = field(default_factory=list)

    def open(self, name: str) -> None:
        """Open a notebook of the served folder and wait until its kernel is ready."""
        self.page.goto(f"{self.lab.address}/lab/tree/{name}?token={self.lab.token}&reset")
        self.page.wait_for_selector(".jp-Notebook .jp-Cell", timeout=60_000)
        self.lab.wait_for_kernel()

    def run_all(self, seconds: float) -> None:
        """Run all cells and wait until each code cell has a number of this run and nothing is running."""
        self.page.get_by_role("menuitem", name="Run", exact=True).click()
        self.page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
        # A stored notebook has numbers already: first wait until a cell is marked as waiting or running.
        started = """() => [...document.querySelectorAll('.jp-CodeCell .jp-InputPrompt')]
            .some(p => p.textContent.includes('*'))"""
        self.page.wait_for_function(started)
        finished = """() => {
            const cells = [...document.querySelectorAll('.jp-Notebook .jp-CodeCell')]
                .filter(c => c.querySelector('.cm-content').textContent.trim());
            const prompts = cells.map(c => c.querySelector('.jp-InputPrompt').textContent);
            return prompts.every(p => /\\[\\d+\\]/.test(p));
        }"""
        self.page.wait_for_function(finished, timeout=seconds * 1000)

    def error_outputs(self) -> list[str]:
        """The text of all error outputs and of what went to stderr as a traceback."""
        found = self.page.locator('.jp-OutputArea-output[data-mime-type*="stderr"], .jp-RenderedText pre')
        texts = found.all_inner_texts()
        return [t for t in texts if "Traceback (most recent call last)" in t]

    def screenshot(self, name: str, locator: Any = None) -> None:
        """Keep a picture of the page, or of a part of it, where CNNVIS_SCREENSHOTS names a folder."""
        folder = os.environ.get("CNNVIS_SCREENSHOTS")
        if folder:
            Path(folder).mkdir(parents=True, exist_ok=True)
            (locator or self.page).screenshot(path=str(Path(folder) / f"{name}.png"))


@pytest.fixture
def opened(lab: Lab) -> Iterator[Opened]:
    """A fresh browser page that can open notebooks of `lab`."""
    playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=browser_path(),
            args=["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"],
        )
        page = browser.new_page(viewport={"width": 1360, "height": 1200})
        page.set_default_timeout(20_000)
        result = Opened(page, lab)
        page.on("pageerror", lambda error: result.errors.append(str(error)))
        yield result
        browser.close()


@pytest.fixture
def changed() -> Callable[[Any, str | None, Callable[[], Any]], str]:
    """Do something and wait until a picture's `src` differs from `before`; returns the new one."""

    def wait(image: Any, before: str | None, act: Callable[[], Any]) -> str:
        act()
        end = time.monotonic() + 20
        while time.monotonic() < end:
            source = image.get_attribute("src")
            if source and source != before:
                return str(source)
            image.page.wait_for_timeout(50)
        raise AssertionError("the picture did not change within 20 s")

    return wait
