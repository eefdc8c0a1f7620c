"""build_notebooks: small sources in a temporary course become the right notebooks; stale ones are found."""

import json
import re
from pathlib import Path

import build_notebooks
import nbformat
import pytest
from build_notebooks import Course, build, gather_claims, main, stale
from notebook_source import STUB, SourceError, convert

SOURCE = '''# ---
# jupyter:
#   kernelspec:
#     display_name: Else
#     language: python
#     name: something-else
# ---

# %% [markdown]
# # 01 Small
# What is a sum?

# %% tags=["setup"]
import math

# %%
print("pi", round(math.pi, 2))

# %%
print("pi", round(math.pi, 2))

# %% [markdown] tags=["exercise"]
# **Exercise 1.** Add.

# %% tags=["exercise"]
def add(a, b):
    """Add two numbers."""
    if a is None:
        ### BEGIN SOLUTION
        return b
        ### END SOLUTION
    ### BEGIN SOLUTION
    secret = a + b
    return secret
    ### END SOLUTION


# %% tags=["check"]
try:
    print("passed" if add(1, 2) == 3 else "wrong")
except NotImplementedError:
    print("not attempted yet")

# %% [markdown] tags=["solution"]
# Why it works.
'''


@pytest.fixture
def course(tmp_path: Path) -> Course:
    """A course of one lecture."""
    (tmp_path / "solutions").mkdir()
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "cnnvis_helpers").mkdir()
    (tmp_path / "solutions" / "01_small.py").write_text(SOURCE, encoding="utf-8")
    return Course(tmp_path)


def source(course: Course, text: str, name: str = "01_small") -> Path:
    path = course.root / "solutions" / f"{name}.py"
    path.write_text(text, encoding="utf-8")
    return path


def store(path: Path, notebook: nbformat.NotebookNode) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(nbformat.writes(notebook), encoding="utf-8")


def pretend_executed(course: Course) -> None:
    """Store both notebooks with counts but without a kernel, which is enough for --check."""
    for path in course.sources():
        for role, target in course.targets(path).items():
            notebook = convert(path, role)
            for count, cell in enumerate((c for c in notebook.cells if c.cell_type == "code"), start=1):
                cell.execution_count = count
            store(target, notebook)


def test_students_get_stubs_at_the_same_indentation(course: Course) -> None:
    cells = convert(course.sources()[0], "student").cells
    add = next(cell.source for cell in cells if "def add" in cell.source)
    assert add == (
        f'def add(a, b):\n    """Add two numbers."""\n    if a is None:\n        {STUB}\n    {STUB}'
    )
    assert not any("secret" in cell.source or "Why it works" in cell.source for cell in cells)


def test_solutions_hold_setup_exercises_checks_and_remarks_only(course: Course) -> None:
    cells = convert(course.sources()[0], "solutions").cells
    assert [cell.metadata.get("tags") for cell in cells] == [
        None,
        ["setup"],
        ["exercise"],
        ["exercise"],
        ["check"],
        ["solution"],
    ]
    assert "    secret = a + b\n    return secret" in cells[3].source
    assert not any("SOLUTION" in cell.source for cell in cells)


def test_generated_notebooks_name_their_source_and_a_plain_kernel(course: Course) -> None:
    for role in ("student", "solutions"):
        notebook = convert(course.sources()[0], role)
        assert notebook.metadata.cnnvis.source == "solutions/01_small.py"
        assert "solutions/01_small.py" in notebook.cells[0].source
        assert notebook.metadata.kernelspec.name == "python3"
        assert "version" not in notebook.metadata.language_info


def test_ids_come_from_content_and_are_unique(course: Course) -> None:
    path = course.sources()[0]
    first = [cell.id for cell in convert(path, "student").cells]
    assert len(set(first)) == len(first)
    assert [i for i in first if i.endswith("-2")] and first == [c.id for c in convert(path, "student").cells]
    source(course, SOURCE.replace("import math", "import math\nimport os"))
    assert sum(a != c.id for a, c in zip(first, convert(path, "student").cells, strict=True)) == 1


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ('tags=["check"]', 'tags=["cheque"]', "'cheque' is unknown"),
        ("    ### END SOLUTION\n\n\n", "\n\n", "without ### END SOLUTION"),
        ("        ### BEGIN SOLUTION\n", "", "END SOLUTION without"),
        ("    ### BEGIN SOLUTION\n    secret", "### BEGIN SOLUTION\n    secret", "inside a function"),
        ('# %% tags=["exercise"]\ndef', "# %%\ndef", "tag 'exercise'"),
    ],
)
def test_a_faulty_source_gets_a_sentence(course: Course, old: str, new: str, sentence: str) -> None:
    assert old in SOURCE
    path = source(course, SOURCE.replace(old, new))
    with pytest.raises(SourceError, match=re.escape(sentence)):
        convert(path, "student")


def test_a_lecture_without_exercises_has_no_solutions_notebook(course: Course) -> None:
    path = source(course, "# %%\nprint(1)\n", "02_plain")
    assert list(course.targets(path)) == ["student"]


def test_lectures_are_chosen_by_prefix_and_the_ledger_comes_last(course: Course) -> None:
    source(course, "# %%\n1\n", "00_start")
    source(course, "# %%\n1\n", "02_more")
    assert [path.stem for path in course.sources()] == ["01_small", "02_more", "00_start"]
    assert [path.stem for path in course.sources(["02"])] == ["02_more"]
    with pytest.raises(SourceError, match="no lecture begins with '07'"):
        course.sources(["07"])


def test_check_accepts_what_fits(course: Course, capsys: pytest.CaptureFixture[str]) -> None:
    pretend_executed(course)
    assert stale(course) == []
    assert main(["--check"], root=course.root) == 0
    assert "2 notebooks are up to date" in capsys.readouterr().out


def test_check_finds_missing_stale_orphaned_and_stripped(
    course: Course, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--check"], root=course.root) == 1
    assert "notebooks/01_small.ipynb: missing" in capsys.readouterr().err.replace("\\", "/")
    pretend_executed(course)
    store(course.root / "notebooks" / "09_gone.ipynb", nbformat.v4.new_notebook())
    source(course, SOURCE.replace("What is a sum", "What is a product"))
    notebook = nbformat.read(course.root / "solutions" / "01_small.ipynb", as_version=4)
    notebook.cells[1].execution_count = None
    store(course.root / "solutions" / "01_small.ipynb", notebook)
    lines = "\n".join(stale(course))
    assert "01_small.ipynb: stale" in lines
    assert "09_gone.ipynb: no source makes it" in lines
    assert "01_small.ipynb: not executed from top to bottom: the counts are [None, 2, 3]" in lines


def test_check_finds_a_changed_tag(course: Course) -> None:
    pretend_executed(course)
    source(course, SOURCE.replace("# %%\nprint", '# %% tags=["nbval-ignore-output"]\nprint', 1))
    assert [line.split("; ")[0][-5:] for line in stale(course)] == ["stale"]


def test_claims_are_gathered_in_order_and_must_be_unique(course: Course) -> None:
    def notebook(*ids: str) -> nbformat.NotebookNode:
        outputs = [
            nbformat.v4.new_output("display_data", {"text/plain": i}, metadata={"claim": {"id": i}})
            for i in ids
        ]
        return nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("x", outputs=outputs)])

    store(course.root / "notebooks" / "02_b.ipynb", notebook("z", "a"))
    store(course.root / "notebooks" / "01_a.ipynb", notebook("m"))
    assert gather_claims(course) and not gather_claims(course)
    content = json.loads(course.ledger.read_text(encoding="utf-8"))
    assert list(content) == ["01_a", "02_b"]
    assert [claim["id"] for claim in content["02_b"]] == ["z", "a"]
    store(course.root / "notebooks" / "03_c.ipynb", notebook("a"))
    with pytest.raises(SourceError, match="'a' is used in 02_b too"):
        gather_claims(course)


def test_nbval_hides_exactly_what_the_build_replaces() -> None:
    text = (Path(__file__).parent / "nbval_sanitize.cfg").read_text(encoding="utf-8")
    rules = dict(re.findall(r"^regex: (.*)$\n^replace: (.*)$", text, flags=re.MULTILINE))
    assert rules[build_notebooks.WIDGET_REPR] == build_notebooks.WIDGET_TEXT
    for rule in rules:
        assert re.sub(rule, "", "accuracy 0.953, Result(value=0.9)") == "accuracy 0.953, Result(value=0.9)"


@pytest.mark.slow
def test_building_executes_gathers_claims_and_repeats_itself(course: Course) -> None:
    source(
        course,
        SOURCE.replace(
            '# %% [markdown] tags=["exercise"]',
            "# %%\nfrom cnnvis_helpers.claims import claim\n\n"
            'claim("01-sum", statement="1+1=2", source="Peano", measured="2", verdict="reproduced")\n\n'
            "# %%\nimport ipywidgets\n\nipywidgets.VBox([ipywidgets.IntSlider()])\n\n"
            "# %%\nfrom tqdm.auto import tqdm\n\nfor _ in tqdm(range(3)):\n    print('step')\n\n"
            '# %% [markdown] tags=["exercise"]',
            1,
        ),
    )
    source(course, "# %%\nprint(open('../cnnvis_helpers/claims.json').read().count('01-sum'))\n", "00_start")
    assert build(course) == []
    assert stale(course) == []
    student = course.root / "notebooks" / "01_small.ipynb"
    outputs = [c.outputs for c in nbformat.read(student, as_version=4).cells if c.cell_type == "code"]
    assert outputs[1][0].text == "pi 3.14\n"
    assert outputs[4][0].data == {"text/plain": build_notebooks.WIDGET_TEXT}
    assert [o.output_type for o in outputs[5]] == ["stream"], "a progress bar is not stored"
    assert outputs[-1][0].text == "not attempted yet\n"
    solved = nbformat.read(course.root / "solutions" / "01_small.ipynb", as_version=4)
    assert [c.outputs[0].text for c in solved.cells if "check" in c.metadata.get("tags", [])] == ["passed\n"]
    start = nbformat.read(course.root / "notebooks" / "00_start.ipynb", as_version=4)
    assert start.cells[-1].outputs[0].text == "1\n"
    before = student.read_bytes()
    assert build(course, ["01"]) == [] and student.read_bytes() == before


@pytest.mark.slow
def test_a_failing_lecture_is_reported_and_not_stored(course: Course) -> None:
    source(course, "# %%\n1 / 0\n")
    wrong = build(course)
    assert len(wrong) == 1 and "ZeroDivisionError" in wrong[0]
    assert not (course.root / "notebooks" / "01_small.ipynb").exists()
