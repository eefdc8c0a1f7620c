"""claims: a claim shows itself, travels in output metadata, and comes back from the ledger."""

import json
from pathlib import Path

import pytest
from IPython.core.formatters import DisplayFormatter

from cnnvis_helpers import claims

ROW = {
    "statement": "noisy filters mean an unconverged net",
    "source": "CS231n",
    "measured": "smoothness 0.91 | 0.02",
    "verdict": "reproduced",
}


def test_a_claim_is_one_line_of_text_and_one_row_of_markdown() -> None:
    data, metadata = DisplayFormatter().format(claims.claim("01-noisy-filters", **ROW))
    assert data["text/plain"] == (
        "✓ reproduced: noisy filters mean an unconverged net [CS231n] – smoothness 0.91 | 0.02"
    )
    assert data["text/markdown"].splitlines()[2:] == [
        "| noisy filters mean an unconverged net | CS231n | smoothness 0.91 \\| 0.02 | ✓ **reproduced** |"
    ]
    assert metadata == {"claim": {"id": "01-noisy-filters", **ROW}}


@pytest.mark.parametrize(
    ("identifier", "changed", "sentence"),
    [
        ("01-a", {"verdict": "proved"}, "verdict 'proved' is unknown"),
        ("Noisy filters", {}, "lower-case words joined by hyphens"),
        ("01-a", {"measured": " "}, "measured of claim '01-a' is empty"),
    ],
)
def test_a_faulty_claim_is_refused(identifier: str, changed: dict[str, str], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        claims.claim(identifier, **{**ROW, **changed})


def test_the_ledger_reads_lectures_in_order(tmp_path: Path) -> None:
    path = tmp_path / "claims.json"
    rows = {"02_codes": [{"id": "02-b", **ROW}, {"id": "02-a", **ROW}], "01_weights": [{"id": "01-c", **ROW}]}
    path.write_text(json.dumps(rows), encoding="utf-8")
    found = claims.ledger(path)
    assert [(c.lecture, c.id) for c in found] == [
        ("01_weights", "01-c"),
        ("02_codes", "02-b"),
        ("02_codes", "02-a"),
    ]
    table = claims.table(found)
    assert table.summary() == "3 claims: 3 reproduced, 0 contradicted, 0 cannot be tested here"
    assert len(str(table).splitlines()) == 4
    assert (
        table._repr_mimebundle_()["text/markdown"]
        .splitlines()[4]
        .startswith("| [01](01_weights.ipynb) | noisy")
    )


def test_a_missing_ledger_is_empty_and_a_damaged_one_says_so(tmp_path: Path) -> None:
    path = tmp_path / "claims.json"
    assert claims.ledger(path) == []
    assert str(claims.table([])) == "no claims have been tested yet"
    for text in (
        "{",
        "[1]",
        '{"01": [{"id": "x"}]}',
        json.dumps({"01": [{"id": "x", **ROW, "verdict": "no"}]}),
    ):
        path.write_text(text, encoding="utf-8")
        with pytest.raises(ValueError, match=r"claims.json is not a claim ledger"):
            claims.ledger(path)


def test_the_course_s_own_ledger_can_be_read() -> None:
    found = claims.ledger()
    assert len({c.id for c in found}) == len(found)
