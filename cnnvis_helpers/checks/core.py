"""What the exercise checks are made of.

Public names:

- `exercise`       decorator: turns a function that asserts things about the student's function into a check
- `run`            a whole check in one call: cases, a reference, the usual mistakes
- `compare`        two results: type, shape, kind of number, values, with the first place where they differ
- `WrongAnswer`    the AssertionError that a check raises; notebooks show its sentence without a traceback
- `NOT_ATTEMPTED`  what a check prints while the function is still a stub

    @exercise("your convolution equals conv2d")
    def check_convolution(student):
        x, w = example()
        compare(student(x, w), conv2d(x, w), mistakes={"Did you flip the kernel?": conv2d(x, w.flip(-1, -2))})

    check_convolution(my_convolution)      # prints: passed: your convolution equals conv2d

Only the stub is caught (`raise NotImplementedError`, or a body that does nothing). An error that the
student's own code raises comes through as it is, with its traceback.
"""

from __future__ import annotations

import copy
import dis
import functools
import types
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import torch

__all__ = ["NOT_ATTEMPTED", "WrongAnswer", "compare", "exercise", "run"]

NOT_ATTEMPTED = "not attempted yet"

_KINDS = {"b": "True/False values", "i": "whole numbers", "u": "whole numbers", "f": "real numbers"}


class WrongAnswer(AssertionError):
    """A wrong answer to an exercise; in a notebook only its sentence is shown."""

    def _render_traceback_(self) -> list[str]:
        """IPython prints these lines in place of the traceback, which would only show the check's code."""
        return [f"Not yet: {self}"]


class _NotAttempted(Exception):
    """The student's function is still a stub."""


class _Guarded:
    """The student's function, watched: stubs are told from answers, and its own errors from the check's."""

    def __init__(self, function: Callable[..., Any]) -> None:
        if not callable(function):
            raise WrongAnswer(
                f"The check takes your function itself, but it got {_a(type(function).__name__)}: "
                "pass its name, without brackets behind it."
            )
        self.function = function
        self.error: BaseException | None = None
        functools.update_wrapper(self, function, updated=())

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        try:
            result = self.function(*args, **kwargs)
        except NotImplementedError as error:
            # torch raises NotImplementedError too, with a message, for an operation that it lacks.
            if not error.args or "your code" in str(error).lower():
                raise _NotAttempted from None
            self.error = error
            raise
        except BaseException as error:
            self.error = error
            raise
        if result is Ellipsis or (result is None and _does_nothing(self.function)):
            raise _NotAttempted
        if result is None:
            raise WrongAnswer("Your function returns None: does it end without a `return`?")
        return result


def exercise(
    passed: str,
) -> Callable[[Callable[[Callable[..., Any]], None]], Callable[[Callable[..., Any]], None]]:
    """Turn a function that asserts things about the student's function into a check.

    Args:
        passed: what the right answer has shown, printed after `passed: `.

    Returns:
        A decorator. The decorated check prints `not attempted yet` for a stub and `passed: …` for a right
        answer, and raises `WrongAnswer` where the body's `assert` (or `compare`) fails.
    """

    def decorate(body: Callable[[Callable[..., Any]], None]) -> Callable[[Callable[..., Any]], None]:
        @functools.wraps(body)
        def check(student: Callable[..., Any]) -> None:
            guarded = _Guarded(student)
            try:
                body(guarded)
            except _NotAttempted:
                print(NOT_ATTEMPTED)
            except AssertionError as error:
                if error is guarded.error:  # an assert in the student's own code: show where
                    raise
                raise WrongAnswer(str(error)) from None
            else:
                print(f"passed: {passed}")

        return check

    return decorate


def run(
    student: Callable[..., Any],
    cases: Iterable[tuple[Any, ...]],
    reference: Callable[..., Any],
    *,
    passed: str,
    mistakes: Mapping[str, Callable[..., Any]] | None = None,
    hint: str = "",
    rtol: float = 1e-4,
    atol: float = 1e-5,
) -> None:
    """Check a function against a reference on several cases.

    Args:
        student: the function to check.
        cases: tuples of positional arguments, the simplest first. Every call gets copies of its own.
        reference: computes the right result from the same arguments.
        passed: what a right answer has shown, printed after `passed: `.
        mistakes: sentence → the wrong function that the sentence is about. When the student's result equals
            that of a wrong function, the message ends with its sentence.
        hint: said with every other wrong result.
        rtol, atol: relative and absolute tolerance of `compare`.

    Raises:
        WrongAnswer: a result differs, or the function changes its arguments.
    """

    @exercise(passed)
    def check(guarded: Callable[..., Any]) -> None:
        for number, case in enumerate(cases, start=1):
            expected = reference(*_copies(case))
            wrong = {sentence: function(*_copies(case)) for sentence, function in (mistakes or {}).items()}
            given = _copies(case)
            result = guarded(*given)
            compare(
                result,
                expected,
                what=f"case {number}: your result",
                mistakes=wrong,
                hint=hint,
                rtol=rtol,
                atol=atol,
            )
            for position, (before, after) in enumerate(zip(case, given, strict=True), start=1):
                changed = _is_array(before) and not np.array_equal(
                    _array(before), _array(after), equal_nan=True
                )
                assert not changed, (
                    f"case {number}: the result is right, but your function changes its argument {position} "
                    "in place; work on a copy, or make a new tensor."
                )

    check(student)


def compare(
    actual: Any,
    expected: Any,
    *,
    what: str = "your result",
    mistakes: Mapping[str, Any] | None = None,
    hint: str = "",
    rtol: float = 1e-4,
    atol: float = 1e-5,
) -> None:
    """Compare a result with the right one and say in a sentence how they differ.

    Looks at the type, the shape, the kind of number (real, whole, true/false), NaN, and at last the values:
    |actual - expected| ≤ atol + rtol·|expected|. Tensors, arrays and numbers are compared as arrays (lists
    too, where numbers are expected); everything else with `==`.

    Args:
        actual: the student's result.
        expected: the right result.
        what: what to call the result in the message.
        mistakes: sentence → the result of a usual mistake; if `actual` equals it, the message ends so.
        hint: said after every other message.
        rtol, atol: tolerances.

    Raises:
        WrongAnswer: the results differ.
    """
    problem = _difference(actual, expected, rtol, atol)
    if problem is None:
        return
    for sentence, wrong in (mistakes or {}).items():
        told_apart = _difference(wrong, expected, rtol, atol) is not None
        if told_apart and _difference(actual, wrong, rtol, atol) is None:
            raise WrongAnswer(f"{what} {problem}. {sentence}")
    raise WrongAnswer(f"{what} {problem}." + (f" {hint}" if hint else ""))


def _difference(actual: Any, expected: Any, rtol: float, atol: float) -> str | None:
    """The first thing that differs, as the end of a sentence that begins with the result's name."""
    if not _is_array(expected):
        return None if actual == expected else f"is {actual!r}, but {expected!r} is right"
    right = _array(expected)
    try:
        mine = _array(actual)
    except (TypeError, ValueError, RuntimeError):
        mine = None
    if mine is None or mine.dtype.kind not in "biuf":
        return f"is {_a(type(actual).__name__)}, but {_a(type(expected).__name__)} is expected"
    if isinstance(expected, torch.Tensor) and not isinstance(actual, torch.Tensor) and right.ndim:
        return f"is {_a(type(actual).__name__)}, but a torch tensor is expected"
    if mine.shape != right.shape:
        return (
            f"has shape {mine.shape}, but {right.shape} is expected{_shape_reason(mine.shape, right.shape)}"
        )
    # A plain 2 is as good as 2.0.
    counts_as_real = not right.ndim and right.dtype.kind == "f" and mine.dtype.kind in "iu"
    has, needs = _KINDS[mine.dtype.kind], _KINDS[right.dtype.kind]
    if has != needs and not counts_as_real:
        return f"holds {has} ({mine.dtype}), but {needs} ({right.dtype}) are expected"
    mine, right = (a.astype(np.float64) if a.dtype.kind == "f" else a for a in (mine, right))
    wrong = ~np.isclose(mine, right, rtol=rtol, atol=atol, equal_nan=True)
    if not wrong.any():
        return None
    if not mine.ndim:
        return f"is {_number(mine)}, but {_number(right)} is right"
    place = tuple(int(i) for i in np.argwhere(wrong)[0])
    share = f"{int(wrong.sum())} of {wrong.size} values are wrong"
    if np.isnan(mine[place]):
        return (
            f"holds NaN; the first stands at {list(place)}, where {_number(right[place])} is right ({share})"
        )
    return f"is {_number(mine[place])} at {list(place)}, but {_number(right[place])} is right ({share})"


def _shape_reason(mine: tuple[int, ...], right: tuple[int, ...]) -> str:
    """The likely cause of a wrong shape, where the shapes tell it."""
    if [n for n in mine if n != 1] == [n for n in right if n != 1]:
        return " (only axes of length 1 are too many or missing)"
    if sorted(mine) == sorted(right):
        return " (the axes are in another order)"
    if len(mine) == len(right):
        axes = [axis for axis, (a, b) in enumerate(zip(mine, right, strict=True)) if a != b]
        return f" (axis {axes[0]} has {mine[axes[0]]} entries instead of {right[axes[0]]})"
    return f" (it has {len(mine)} axes instead of {len(right)})"


def _is_array(value: Any) -> bool:
    return isinstance(value, torch.Tensor | np.ndarray | np.generic | bool | int | float)


def _array(value: Any) -> np.ndarray:
    """A tensor, array, number or list of them as an array; gradients and devices do not matter here."""
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu()
        return value.float().numpy() if value.dtype is torch.bfloat16 else value.numpy()
    if isinstance(value, list | tuple):
        return np.array([_array(item) for item in value])
    return np.asarray(value)


def _copies(arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    """Fresh arrays and tensors, so that one call cannot spoil the next; everything else is handed on."""

    def fresh(value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            return value.detach().clone().requires_grad_(value.requires_grad)
        return copy.copy(value) if isinstance(value, np.ndarray | list | dict) else value

    return tuple(fresh(value) for value in arguments)


def _does_nothing(function: Callable[..., Any]) -> bool:
    """Whether the body is only `pass`, `...`, a docstring or `return None`.

    A body that computes something and returns None has lost its `return`, and deserves a message.
    """
    if not isinstance(function, types.FunctionType | types.MethodType):
        return True
    idle = {
        "RESUME",
        "NOP",
        "CACHE",
        "LOAD_CONST",
        "POP_TOP",
        "RETURN_VALUE",
        "RETURN_CONST",
        "COPY_FREE_VARS",
    }
    return {instruction.opname for instruction in dis.get_instructions(function)} <= idle


def _number(value: Any) -> str:
    value = value.item() if hasattr(value, "item") else value
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _a(name: str) -> str:
    return f"{'an' if name[0].lower() in 'aeiou' else 'a'} {name}"
