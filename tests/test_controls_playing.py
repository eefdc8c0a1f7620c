"""The labelling game: scores by hand, answers that outlive the kernel, and the widgets moved by code."""

import io
import json
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from cnnvis_helpers import figures
from cnnvis_helpers.controls import playing as games

CLASSES = ["cat", "<dog>", "bird"]


def net(said=(0, 1, 1, 2, 0)):
    """A network that gives these answers, one a picture, with probability 0.9."""
    table = torch.full((len(said), 3), 0.05)
    table[range(len(said)), list(said)] = 0.9
    return SimpleNamespace(name="tiny", classes=CLASSES, probabilities=lambda x: table[: len(x)])


@pytest.fixture
def pictures():
    return torch.rand(5, 3, 8, 8, generator=torch.Generator().manual_seed(0))


LABELS = [0, 1, 2, 2, 1]


def make(pictures, folder, **changes):
    return games.game(net(), pictures, LABELS, folder=folder, **changes)


# --- numbers ---


def test_a_score_by_hand():
    found = games.score([1, 2, 2, 0], [1, 2, 0, 0])
    z = 1.959964
    middle, half = (3 + z * z / 2) / (4 + z * z), z / (4 + z * z) * (3 / 4 + z * z / 4) ** 0.5
    assert found[:3] == (3, 4, 0.75) and found[3:] == pytest.approx((middle - half, middle + half), abs=1e-6)
    assert str(found) == "3 of 4 (75 %, 95 % interval 30 to 95 %)"
    for said, truth in [([], []), ([1], [1, 2])]:
        with pytest.raises(ValueError, match="cannot be scored"):
            games.score(said, truth)


def test_mistakes_and_their_table():
    said, truth = [0, 0, 1, 2, 0], [1, 1, 1, 0, 0]
    assert games.mistakes(said, truth, CLASSES) == "cat for <dog> (2), bird for cat (1)"
    assert games.mistakes(said, truth, CLASSES, most=1) == "cat for <dog> (2)"
    assert games.mistakes([1], [1], CLASSES) == "none"
    table = games.confusion_table(said, truth, CLASSES, "You")
    rows = [row.split("<td")[1:] for row in table.split("<tr>")[2:]]
    numbers = [[cell.split(">")[1].split("<")[0] for cell in row] for row in rows]
    assert numbers == [["1", "", "1"], ["2", "1", ""], ["", "", ""]]
    assert "&lt;dog&gt;" in table and "<dog>" not in table
    few = games.confusion_table([0, 1], [0, 0], CLASSES, "You")
    assert "bird" not in few, "only classes that occur"


# --- the file ---


def test_answers_are_kept_and_the_first_counts(tmp_path):
    file = games.Answers(tmp_path / "new" / "a.json")
    assert file.read() == {}
    assert file.add("x", "cat") == {"x": "cat"}
    assert file.add("x", "dog") == {"x": "cat"}
    assert games.Answers(file.path).add("y", "dog") == file.read() == {"x": "cat", "y": "dog"}
    assert file.forget(["x", "unknown"]) == file.read() == {"y": "dog"}
    assert not list(file.path.parent.glob("*.tmp"))


def test_kernels_at_once_lose_nothing(tmp_path):
    path = tmp_path / "a.json"
    code = (
        "import sys; from pathlib import Path; from cnnvis_helpers.controls.playing import Answers\n"
        "for i in range(40): Answers(Path(sys.argv[1])).add(f'{sys.argv[2]} {i}', 'cat')"
    )
    kernels = [subprocess.Popen([sys.executable, "-c", code, str(path), name]) for name in "ab"]
    assert [kernel.wait(120) for kernel in kernels] == [0, 0]
    assert set(json.loads(path.read_text())) == {f"{name} {i}" for name in "ab" for i in range(40)}


@pytest.mark.parametrize("content", ["", "{", "[1]", '{"a": 1}'])
def test_a_damaged_file_is_left_alone(tmp_path, pictures, content):
    path = tmp_path / "game.json"
    path.write_text(content)
    for ask in (games.Answers(path).read, lambda: games.Answers(path).add("x", "cat")):
        with pytest.raises(games.AnswersError, match=r"cannot be kept .* move the file away"):
            ask()
    control = make(pictures, tmp_path)
    assert "Please note" in control.message.value
    control.choices[0].click()
    assert len(control.answered) == 1 and "Please note" in control.message.value, "the game goes on"
    assert path.read_text() == content


def test_a_folder_that_cannot_be_written_and_a_lock_that_is_held(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    with pytest.raises(games.AnswersError, match="CNNVIS_DATA"):
        games.Answers(tmp_path / "file" / "a.json").add("x", "cat")
    monkeypatch.setattr(games, "WAIT", 0.01)
    file = games.Answers(tmp_path / "a.json")
    with games.FileLock(tmp_path / ".a.json.lock"), pytest.raises(games.AnswersError, match="Another kernel"):
        file.add("x", "cat")
    assert file.read() == {}


def test_the_folder_can_be_chosen(tmp_path, monkeypatch):
    monkeypatch.setenv("CNNVIS_DATA", str(tmp_path))
    assert games.answers_folder() == tmp_path
    monkeypatch.delenv("CNNVIS_DATA")
    assert games.answers_folder().name == "cnnvis_helpers"


# --- the control ---


def test_a_game_from_the_first_picture_to_the_last(tmp_path, pictures):
    control = make(pictures, tmp_path)
    asked = []
    assert "No answer yet" in control.text.value and control.table.value == ""
    while control.current is not None:
        i = control.current
        asked.append(i)
        shown = np.asarray(Image.open(io.BytesIO(control.picture.value)))
        assert (shown == figures.enlarge(pictures[i], (games.SIDE, games.SIDE), smooth=True)).all()
        assert control.next.disabled and not control.choices[0].disabled
        control.choices[1].click()  # the reader takes everything for a dog
        assert f"it is: {CLASSES[LABELS[i]]}".replace("<dog>", "&lt;dog&gt;") in control.message.value
        control.choices[0].click()  # too late
        assert not control.next.disabled and control.choices[0].disabled
        control.next.click()
    assert sorted(asked) == list(range(5)) and "last picture" in control.message.value
    assert (
        "You: 2 of 5 (40 %, 95 % interval 12 to 77 %); mistakes: &lt;dog&gt; for bird (2), &lt;dog&gt; for cat (1)"
        in (control.text.value)
    )
    assert (
        "tiny: 3 of 5" in control.text.value
        and "You alone are right 1 times, tiny alone 2 times" in control.text.value
    )
    assert control.table.value.count("<caption>") == 2
    assert str(control).startswith("A control that needs a running kernel: name what 5 pictures show")


def test_answers_outlive_the_kernel_and_the_order(tmp_path, pictures):
    first = make(pictures, tmp_path)
    for _ in range(2):
        first.choices[2].click()
        first.next.click()
    again = make(pictures, tmp_path, seed=3)
    assert again.answered == first.answered and again.text.value == first.text.value
    assert again.current not in first.answered
    turned = games.game(net(), pictures.flip(0), LABELS[::-1], folder=tmp_path)
    assert sorted(4 - i for i in turned.answered) == first.answered
    assert make(pictures, tmp_path, name="another").answered == []


def test_two_kernels_play_on_together(tmp_path, pictures):
    one, other = make(pictures, tmp_path), make(pictures, tmp_path)
    assert one.current == other.current
    one.choices[0].click()
    other.next.disabled = False
    other.choices[1].click()  # the same picture: the first answer counts
    assert other.known == one.known
    other.next.click()
    other.choices[1].click()
    one.next.click()
    one.choices[1].click()
    assert len(one.answered) == 2, "the picture that the other kernel has answered meanwhile keeps its answer"


def test_forgetting_asks_twice(tmp_path, pictures):
    control = make(pictures, tmp_path)
    control.choices[0].click()
    games.Answers(tmp_path / "game.json").add("of other pictures", "cat")
    control.forget.click()
    assert len(control.answered) == 1 and "Click again" in control.message.value
    control.forget.click()
    assert (
        control.answered == [] and control.current == control.order[0] and "No answer" in control.text.value
    )
    assert games.Answers(tmp_path / "game.json").read() == {"of other pictures": "cat"}


def test_answers_that_are_no_classes_are_left_out(tmp_path, pictures):
    control = make(pictures, tmp_path)
    games.Answers(tmp_path / "game.json").add(control.keys[0], "aeroplane")
    assert make(pictures, tmp_path).answered == []


def test_what_a_game_refuses(tmp_path, pictures):
    for bad, labels in [(pictures, LABELS[:4]), (pictures[0], [0]), (pictures[:0], [])]:
        with pytest.raises(ValueError):
            games.game(net(), bad, labels, folder=tmp_path)
    with pytest.raises(ValueError, match="3 classes of tiny"):
        games.game(net(), pictures, [0, 1, 2, 3, 0], folder=tmp_path)
    with pytest.raises(ValueError, match="there twice"):
        games.game(net(), pictures[[0, 0]], [0, 0], folder=tmp_path)
