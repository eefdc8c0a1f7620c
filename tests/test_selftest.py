from __future__ import annotations

from pathlib import Path

import pytest

from cnnvis_helpers import selftest


def test_all_is_well_here(capsys: pytest.CaptureFixture[str]) -> None:
    assert selftest.run()
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(selftest.TRIALS) and all(line.endswith("ok") for line in lines)


def test_a_fault_is_said_in_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("CNNVIS_CACHE", str(tmp_path / "file"))
    assert not selftest.run()
    assert "image cache             the cache folder cannot be written" in capsys.readouterr().out


def test_a_trial_that_breaks_does_not_hide_the_others(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken() -> str | None:
        raise RuntimeError("no such thing")

    monkeypatch.setitem(selftest.TRIALS, "sample images", broken)
    assert not selftest.run()
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(selftest.TRIALS)
    assert "sample images           failed (RuntimeError: no such thing)" in lines[2]
