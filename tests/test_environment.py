"""environment.yml, requirements.txt and pyproject.toml say the same; torch and torchvision fit each other."""

import subprocess
import sys
import tomllib
from importlib.metadata import requires, version
from pathlib import Path

import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
NEEDED = {canonicalize_name(r.name): r for r in map(Requirement, PROJECT["dependencies"])}
FOR_DEVELOPMENT = [Requirement(line) for line in PROJECT["optional-dependencies"]["dev"]]
# What conda-forge calls differently.
CONDA_NAMES = {"pytorch": "torch", "matplotlib-base": "matplotlib"}


def environment() -> dict:
    """The content of environment.yml."""
    return yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))


def conda_packages() -> dict[str, SpecifierSet]:
    """The packages of environment.yml under their PyPI names."""
    lines = [line for line in environment()["dependencies"] if isinstance(line, str)]
    # conda's `python=3.12` means 3.12.*
    lines = [line.replace("=", "==") + ".*" if line.startswith("python=") else line for line in lines]
    packages = map(Requirement, lines)
    return {CONDA_NAMES.get(package.name, package.name): package.specifier for package in packages}


def pinned() -> dict[str, list[Requirement]]:
    """The pins of requirements.txt; a package can have several, for different systems."""
    pins: dict[str, list[Requirement]] = {}
    for line in (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines():
        if line.strip() and not line.startswith("#"):
            pin = Requirement(line)
            pins.setdefault(canonicalize_name(pin.name), []).append(pin)
    return pins


def test_conda_installs_exactly_what_the_package_needs() -> None:
    packages = conda_packages()
    assert packages.keys() - {"python", "pip"} == NEEDED.keys()
    for name, requirement in NEEDED.items():
        assert packages[name] == requirement.specifier, (
            f"{name} differs between environment.yml and pyproject.toml"
        )


def test_conda_uses_one_channel_and_installs_the_package_itself() -> None:
    content = environment()
    assert content["channels"] == ["conda-forge"]
    assert {"pip": ["-e ."]} in content["dependencies"] and "pip" in content["dependencies"]


def test_conda_s_python_is_one_the_package_allows() -> None:
    python = conda_packages()["python"]
    allowed = SpecifierSet(PROJECT["requires-python"])
    tried = [f"3.{minor}" for minor in range(8, 15)]
    assert list(python.filter(tried)) and all(allowed.contains(v) for v in python.filter(tried))


def test_every_need_is_pinned_within_its_range() -> None:
    pins = pinned()
    for requirement in [*NEEDED.values(), *FOR_DEVELOPMENT]:
        found = pins.get(canonicalize_name(requirement.name), [])
        assert found, (
            f"{requirement.name} is missing in requirements.txt; compile it again (see CONTRIBUTING.md)"
        )
        for pin in found:
            (specifier,) = pin.specifier
            assert specifier.operator == "==" and requirement.specifier.contains(specifier.version), str(pin)


def test_pins_hold_no_addresses() -> None:
    text = (ROOT / "requirements.txt").read_text(encoding="utf-8")
    assert "://" not in text and "--" not in text


def test_torch_and_torchvision_are_a_matching_pair() -> None:
    found = subprocess.run(
        [sys.executable, "-c", "import torch, torchvision; torchvision.ops.nms"],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert found.returncode == 0, (
        f"torch {version('torch')} and torchvision {version('torchvision')} do not work together "
        f"({found.stderr.strip().splitlines()[-1]}): install both from one index, "
        "as requirements.txt pins them."
    )
    wanted = [Requirement(line) for line in requires("torchvision") or []]
    for requirement in (r for r in wanted if r.name == "torch"):
        assert requirement.specifier.contains(version("torch").split("+")[0], prereleases=True), (
            f"torchvision {version('torchvision')} wants {requirement}, "
            f"but torch {version('torch')} is installed."
        )
