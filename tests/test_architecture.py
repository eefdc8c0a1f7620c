"""The layering of the package, read from its imports; and what every module must have."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "cnnvis_helpers"
# A module or subpackage imports from its own layer and from those below, never upward. A new module gets its
# layer here.
LAYERS = {
    0: "images device seeding layout hooks scores weight_files",
    1: "diorama photos networks zoo",
    2: "filters activations receptive_field patches codes occlusion rise saliency class_activation "
    "faithfulness sanity segmentation attribution backward_rules deconvnet objectives image_params synthesis "
    "facets inversion deep_inversion dreams adversarial evolution dissection survey memorisation generator "
    "style correspondence attributes incremental patch_layers",
    3: "figures",
    4: "controls claims checks selftest",
}
LAYER = {name: layer for layer, names in LAYERS.items() for name in names.split()}
# Methods take models and tensors as arguments; they know neither their origin nor how results are shown.
FORBIDDEN_IN_METHODS = {f"{PACKAGE}.zoo", "matplotlib", "ipywidgets", "IPython"}
MOST_LINES = 400

SOURCES = sorted((ROOT / PACKAGE).rglob("*.py"))
SCRIPTS = sorted((ROOT / "data_scripts").rglob("*.py"))


def module_name(path: Path) -> str:
    """`cnnvis_helpers/checks/core.py` → `cnnvis_helpers.checks.core`."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(source: str, module: str, *, is_package: bool = False) -> Iterator[str]:
    """Every module that a source may import, wherever in the file; `from a import b` gives `a.b` and `a`."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = module.split(".") + (["x"] if is_package else [])
            origin = ".".join(base[: -node.level]) if node.level else ""
            origin = ".".join(part for part in (origin, node.module) if part)
            yield origin
            yield from (f"{origin}.{alias.name}" for alias in node.names)


def upward(source: str, module: str, *, is_package: bool = False) -> list[str]:
    """The imports that break the layering."""
    own = component(module)
    if own is None:  # the package's own __init__ may list everything
        return []
    wrong = []
    for target in imports(source, module, is_package=is_package):
        other = component(target)
        if other in LAYER and LAYER[other] > LAYER[own]:
            wrong.append(f"{module} (layer {LAYER[own]}) imports {target} (layer {LAYER[other]})")
        banned = {name for name in FORBIDDEN_IN_METHODS if f"{target}.".startswith(f"{name}.")}
        if LAYER[own] <= 2 and own != "zoo" and banned:
            wrong.append(f"{module} (layer {LAYER[own]}) imports {target}")
    return wrong


def component(module: str) -> str | None:
    """The part of a module's name that has a layer: `cnnvis_helpers.checks.core` → `checks`."""
    parts = module.split(".")
    return parts[1] if parts[0] == PACKAGE and len(parts) > 1 else None


def public_functions(tree: ast.Module) -> Iterator[tuple[str, ast.FunctionDef]]:
    """Functions and methods whose names, and whose class's name, begin without an underscore."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            yield node.name, node
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            for inner in node.body:
                if isinstance(inner, ast.FunctionDef) and not inner.name.startswith("_"):
                    yield f"{node.name}.{inner.name}", inner


def unhinted(function: ast.FunctionDef) -> list[str]:
    """The parameters without a type hint, and `return`."""
    given = function.args
    every = [*given.posonlyargs, *given.args, *given.kwonlyargs, given.vararg, given.kwarg]
    names = [a.arg for a in every if a is not None and a.annotation is None and a.arg not in ("self", "cls")]
    return names + ([] if function.returns is not None else ["return"])


def unsafe_loading(source: str) -> list[str]:
    """Imports of pickle and its kind, and loading calls that would unpickle."""
    tree = ast.parse(source)
    wrong = [
        name
        for name in imports(source, "x")
        if name.split(".")[0] in ("pickle", "dill", "cloudpickle", "joblib")
    ]
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            keywords = {k.arg: getattr(k.value, "value", None) for k in node.keywords}
            if ast.unparse(node.func) == "torch.load" and keywords.get("weights_only") is not True:
                wrong.append("torch.load without weights_only=True")
            if keywords.get("allow_pickle"):
                wrong.append("allow_pickle=True")
    return wrong


def test_there_is_a_package_to_look_at() -> None:
    assert len(SOURCES) > 10


@pytest.mark.parametrize("path", SOURCES, ids=module_name)
def test_imports_point_downward(path: Path) -> None:
    module = module_name(path)
    name = component(module)
    assert name is None or name in LAYER, (
        f"{name} has no layer yet; give it one in tests/test_architecture.py"
    )
    assert upward(path.read_text(encoding="utf-8"), module, is_package=path.stem == "__init__") == []


def test_modules_do_not_import_each_other_in_a_circle() -> None:
    names = {module_name(path): path for path in SOURCES if component(module_name(path))}
    graph = {
        name: {
            target
            for target in imports(path.read_text(encoding="utf-8"), name, is_package=path.stem == "__init__")
            # A package's __init__ collects its parts, and a part that names its package means a sibling.
            if target in names and target != name and not f"{name}.".startswith(f"{target}.")
        }
        for name, path in names.items()
    }
    while free := [name for name, targets in graph.items() if not targets & graph.keys()]:
        for name in free:
            del graph[name]
    assert not graph, f"these import each other: {sorted(graph)}"


@pytest.mark.parametrize("path", SOURCES + SCRIPTS, ids=module_name)
def test_a_module_is_short_and_says_what_it_is(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    assert len(source.splitlines()) <= MOST_LINES
    assert not source.strip() or ast.get_docstring(ast.parse(source)), "no docstring at the top"


@pytest.mark.parametrize("path", SOURCES + SCRIPTS, ids=module_name)
def test_public_functions_have_docstrings_and_hints(path: Path) -> None:
    for name, function in public_functions(ast.parse(path.read_text(encoding="utf-8"))):
        assert ast.get_docstring(function), f"{name} has no docstring"
        assert unhinted(function) == [], f"{name} lacks type hints"


@pytest.mark.parametrize("path", SOURCES + SCRIPTS, ids=module_name)
def test_nothing_is_unpickled(path: Path) -> None:
    assert unsafe_loading(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("source", "module"),
    [
        ("from cnnvis_helpers import figures", "cnnvis_helpers.filters"),
        ("def f():\n    from .figures import grids", "cnnvis_helpers.filters"),
        ("from ..claims import claim", "cnnvis_helpers.diorama.render"),
        ("from cnnvis_helpers.zoo import load", "cnnvis_helpers.filters"),
        ("import matplotlib.pyplot as plt", "cnnvis_helpers.activations"),
        ("from IPython.display import display", "cnnvis_helpers.hooks"),
    ],
)
def test_this_test_sees_an_upward_import(source: str, module: str) -> None:
    assert upward(source, module)


def test_this_test_allows_what_is_meant() -> None:
    assert upward("from . import networks\nfrom .hooks import find\nimport torch", "cnnvis_helpers.zoo") == []
    assert (
        upward("import ipywidgets\nfrom cnnvis_helpers import zoo, figures", "cnnvis_helpers.controls") == []
    )


def test_this_test_sees_unpickling() -> None:
    assert unsafe_loading("import pickle") and unsafe_loading("import torch\ntorch.load('x')")
    assert unsafe_loading("import numpy as np\nnp.load('x', allow_pickle=True)")
    assert unsafe_loading("import torch\ntorch.load('x', weights_only=True)") == []
