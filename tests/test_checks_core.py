"""checks.core: stubs, wrong answers and right answers are told apart, and wrong ones are taught."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from IPython.core.interactiveshell import InteractiveShell

from cnnvis_helpers.checks.core import NOT_ATTEMPTED, WrongAnswer, compare, exercise, run


@exercise("you double")
def check_double(student: Callable[..., Any]) -> None:
    assert student(2) == 4, "twice two is four"


def stub_raises(x: float) -> float:
    """Double a number."""
    raise NotImplementedError  # your code here


def stub_raises_with_text(x: float) -> float:
    raise NotImplementedError("your code here")


def stub_passes(x: float) -> None:
    """Double a number."""


def stub_dots(x: float) -> None: ...


def stub_returns_dots(x: float) -> Any:
    y = x + 1
    return ... if y else None


@pytest.mark.parametrize(
    "stub", [stub_raises, stub_raises_with_text, stub_passes, stub_dots, stub_returns_dots, lambda x: None]
)
def test_a_stub_is_not_attempted(stub: Callable[..., Any], capsys: pytest.CaptureFixture[str]) -> None:
    check_double(stub)
    assert capsys.readouterr().out == f"{NOT_ATTEMPTED}\n" == "not attempted yet\n"


def test_a_right_answer_passes(capsys: pytest.CaptureFixture[str]) -> None:
    check_double(lambda x: 2 * x)
    assert capsys.readouterr().out == "passed: you double\n"


def test_a_wrong_answer_raises_the_teaching_sentence() -> None:
    with pytest.raises(WrongAnswer, match="twice two is four") as caught:
        check_double(lambda x: x)
    assert isinstance(caught.value, AssertionError) and caught.value.__suppress_context__


def test_a_lost_return_is_not_a_stub() -> None:
    def student(x: float) -> None:
        x = 2 * x

    with pytest.raises(WrongAnswer, match="without a `return`"):
        check_double(student)


def test_errors_of_the_student_s_own_code_come_through() -> None:
    def missing_operation(x: float) -> float:
        raise NotImplementedError("\"slow_conv2d_cpu\" not implemented for 'Half'")

    def own_assert(x: float) -> float:
        assert x == 0, "mine"
        return x

    with pytest.raises(NotImplementedError, match="Half"):
        check_double(missing_operation)
    with pytest.raises(ZeroDivisionError):
        check_double(lambda x: x / 0)
    with pytest.raises(AssertionError, match="mine") as caught:
        check_double(own_assert)
    assert not isinstance(caught.value, WrongAnswer)


def test_a_check_wants_the_function_itself() -> None:
    with pytest.raises(WrongAnswer, match="it got an int: pass its name, without brackets"):
        check_double(4)  # type: ignore[arg-type]


def test_a_notebook_shows_the_sentence_alone(capsys: pytest.CaptureFixture[str]) -> None:
    shell = InteractiveShell()
    shell.user_ns.update(check=check_double)
    shell.run_cell("check(lambda x: x)")
    captured = capsys.readouterr()
    shown = captured.out + captured.err
    assert "Not yet: twice two is four" in shown and "Traceback" not in shown and "core.py" not in shown


VALUES = torch.arange(6.0).reshape(2, 3)


@pytest.mark.parametrize(
    ("actual", "expected", "sentence"),
    [
        ("five", 5, "your result is a str, but an int is expected."),
        ([0.0, 1.0], torch.tensor([0.0, 1.0]), "is a list, but a torch tensor is expected"),
        (object(), VALUES, "is an object, but a Tensor is expected"),
        (VALUES.T, VALUES, r"has shape (3, 2), but (2, 3) is expected (the axes are in another order)"),
        (VALUES[None], VALUES, "(only axes of length 1 are too many or missing)"),
        (VALUES[:, :2], VALUES, "(axis 1 has 2 entries instead of 3)"),
        (VALUES.flatten(), VALUES, "(it has 1 axes instead of 2)"),
        (VALUES.long(), VALUES, "holds whole numbers (int64), but real numbers (float32) are expected"),
        (VALUES, VALUES > 1, "holds real numbers (float32), but True/False values (bool) are expected"),
        (VALUES + (VALUES > 3), VALUES, "is 5 at [1, 1], but 4 is right (2 of 6 values are wrong)"),
        (VALUES / (VALUES != 2) * 1, VALUES, "is inf at [0, 2], but 2 is right (1 of 6"),
        (VALUES * float("nan"), VALUES, "holds NaN; the first stands at [0, 0], where 0 is right (6 of 6"),
        (0.25, 0.5, "is 0.25, but 0.5 is right"),
        ("relu1", "relu2", "is 'relu1', but 'relu2' is right"),
    ],
)
def test_compare_says_how_results_differ(actual: Any, expected: Any, sentence: str) -> None:
    with pytest.raises(WrongAnswer) as caught:
        compare(actual, expected)
    assert sentence in str(caught.value)


@pytest.mark.parametrize(
    ("actual", "expected"),
    [
        (VALUES.requires_grad_(), VALUES.detach()),
        (VALUES.double() + 1e-6, VALUES),
        (VALUES.detach().numpy(), VALUES.detach().numpy()),
        ([1, 2], np.array([1, 2])),
        (torch.tensor(288), 288),
        (2, 2.0),
        (np.float32(0.5), 0.5),
        (torch.ones(2, dtype=torch.bfloat16), torch.ones(2)),
        (torch.tensor([float("nan")]), torch.tensor([float("nan")])),
        (["a", "b"], ["a", "b"]),
    ],
)
def test_compare_accepts_what_is_right(actual: Any, expected: Any) -> None:
    compare(actual, expected)


def test_compare_names_the_mistake_only_when_it_is_that_one() -> None:
    mistakes = {"Did you flip?": VALUES.flip(0), "Never said: it equals the right answer.": VALUES}
    with pytest.raises(WrongAnswer, match=r"4 of 6|6 of 6.*Did you flip\?$"):
        compare(VALUES.flip(0), VALUES, mistakes=mistakes, hint="Look at the order.")
    with pytest.raises(WrongAnswer, match=r"Look at the order\.$"):
        compare(VALUES * 2, VALUES, mistakes=mistakes, hint="Look at the order.")


def test_run_goes_through_the_cases(capsys: pytest.CaptureFixture[str]) -> None:
    cases = [(torch.tensor([1.0, 2.0]),), (torch.tensor([-1.0, 2.0]),)]
    mistakes = {"A ReLU keeps what is positive; you took |x|.": torch.abs}

    def check(student: Callable[..., Any]) -> None:
        run(student, cases, torch.relu, passed="a ReLU", mistakes=mistakes)

    check(torch.relu)
    check(stub_raises)
    assert capsys.readouterr().out == "passed: a ReLU\nnot attempted yet\n"
    with pytest.raises(
        WrongAnswer, match=r"^case 2: your result is 1 at \[0\], but 0 is right .* you took \|x\|\.$"
    ):
        check(torch.abs)
    with pytest.raises(WrongAnswer, match="changes its argument 1 in place"):
        check(torch.relu_)
    assert cases[1][0].tolist() == [-1.0, 2.0]
