"""The documents at the top of the repository agree with it."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml

import cnnvis_helpers
from cnnvis_helpers import zoo

ROOT = Path(__file__).resolve().parent.parent
LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")  # not to other sites, not within the page


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"])
def test_links_lead_somewhere(name: str) -> None:
    for target in LINK.findall((ROOT / name).read_text(encoding="utf-8")):
        assert (ROOT / target).exists(), f"{name} links to {target}, which does not exist"


def test_one_version_everywhere() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert project["version"] == citation["version"] == cnnvis_helpers.__version__
    assert f"## {project['version']}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_make_knows_every_command_that_the_documents_name() -> None:
    targets = set(
        re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE)
    )
    for name in ("README.md", "CONTRIBUTING.md"):
        text = (ROOT / name).read_text(encoding="utf-8")
        named = {
            word for line in re.findall(r"\bmake ((?:[a-z-]+ ?)+)[`#=\n]", text) for word in line.split()
        }
        named |= set(re.findall(r"^make ([a-z-]+)", text, flags=re.MULTILINE))
        assert named <= targets


def test_the_readme_lists_every_shipped_network_with_its_accuracy() -> None:
    rows = re.findall(
        r"^\| `((?:diorama|photos)/[^`]+)` \|(.*)$", (ROOT / "README.md").read_text(), re.MULTILINE
    )
    assert [name for name, _ in rows] == list(zoo.EMBEDDED)
    for name, row in rows:
        accuracy = zoo.describe(name)["accuracy"]
        for share in () if accuracy is None else (accuracy["test"], accuracy.get("projected_gradient")):
            assert share is None or f"{100 * share:.1f} %" in row, f"{name}: README does not say {share:.1%}"
